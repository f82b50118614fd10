"""Finds the {names} in a recipe's texts and replaces them by values. Band: core, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from pommel.errors import UsageError
from pommel.recipe.model import Action, CallAction, Recipe, RecipeState, TypeAction

NAME = re.compile(r"[a-z][a-z0-9_]{0,30}\Z")
_PLACE = re.compile(r"\{([a-z][a-z0-9_]{0,30})\}")
VALUE_MAX = 1000  # characters


def names_in(text: str) -> set[str]:
    """The names in braces in `text`; other braces are plain text."""
    return set(_PLACE.findall(text))


def texts_of(state: RecipeState) -> Iterator[str]:
    """The texts of a state in which names are replaced: what is typed, and what the person reads."""
    yield from (state.says, state.by_hand)
    yield from (action.text for action in (*state.do, *state.before_retry) if isinstance(action, TypeAction))


def filled(recipe: Recipe, given: Mapping[str, str]) -> Recipe:
    """The recipe with its names replaced.

    Raises:
        UsageError: a value is missing, too long, or the recipe has no such name.
    """
    if unknown := sorted(given.keys() - recipe.values.keys()):
        known = ", ".join(recipe.values) or "none"
        raise UsageError(f"the recipe has no value called {unknown[0]!r}", hint=f"its values: {known}")
    values = {**recipe.values, **given}
    if missing := sorted(name for name, value in values.items() if value is None):
        raise UsageError(f"the recipe needs a value for {missing[0]!r}", hint=f"--set {missing[0]}=VALUE")
    if long := sorted(name for name, value in values.items() if value is not None and len(value) > VALUE_MAX):
        raise UsageError(f"the value {long[0]!r} has more than {VALUE_MAX} characters")
    known_values = {name: value for name, value in values.items() if value is not None}
    return replace(recipe, states=tuple(_filled(state, known_values) for state in recipe.states))


def _filled(state: RecipeState, values: Mapping[str, str]) -> RecipeState:
    def put(text: str) -> str:
        return _PLACE.sub(lambda match: values.get(match[1], match[0]), text)

    def act(action: Action) -> Action:
        return TypeAction(put(action.text), action.pause_s) if isinstance(action, TypeAction) else action

    return replace(
        state,
        says=put(state.says),
        by_hand=put(state.by_hand),
        do=tuple(map(act, state.do)),
        before_retry=tuple(map(act, state.before_retry)),
    )


def calls_of(recipe: Recipe) -> set[str]:
    """The names of all host functions that the recipe calls."""
    actions = (action for state in recipe.states for action in (*state.do, *state.before_retry))
    return {action.name for action in actions if isinstance(action, CallAction)}
