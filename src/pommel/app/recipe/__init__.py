"""Recipes, run against a machine: its screen, keys, serial port, disk and SSH."""
