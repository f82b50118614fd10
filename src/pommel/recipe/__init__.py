"""Recipes: what is done to a machine step by step, as data in a TOML file.

model       states, conditions and actions (core)
reading     a TOML file -> a recipe, or an error with its place (core)
values      the {names} in a recipe's texts (core)
interpreter which order comes next, by what has been seen (core)
data/       the recipes that come with Pommel

It knows no machine: `app/recipe` looks at screens, presses keys and keeps the position on disk.
"""
