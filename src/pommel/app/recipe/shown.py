"""A recipe in words and as JSON, for `--dry-run` and `check`. Band: app."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from pommel.recipe.model import (
    Action,
    CallAction,
    ClickAction,
    Condition,
    PauseAction,
    PressAction,
    Recipe,
    RecipeState,
    TypeAction,
)
from pommel.settings import format_size


def as_dict(state: RecipeState) -> dict[str, Any]:
    """A state as one JSON object: its texts, and its conditions and actions in words."""
    return {
        "name": state.name,
        "says": state.says,
        "actions": [action_text(action) for action in state.do],
        "conditions": [] if state.until is None else condition_texts(state.until),
        "tries": state.tries,
        "within_s": state.within_s,
        "then": state.then,
    }


def lines(recipe: Recipe) -> Iterator[str]:
    """The recipe for people, one line for each step."""
    for state in recipe.states:
        yield f"{state.name}: {state.says}"
        if state.first is not None:
            first = " and ".join(condition_texts(state.first))
            yield f"    first wait until {first} (at most {state.first_within_s:g} s)"
        for action in state.do:
            yield f"    {action_text(action)}"
        if state.until is not None:
            tries = f", {state.tries} tries" if state.tries > 1 else ""
            yield f"    wait until {' and '.join(condition_texts(state.until))} (at most {state.within_s:g} s{tries})"
        for branch in state.branches:
            goes = f"go to {branch.go}" if branch.go is not None else f"stop: {branch.why}"
            yield f"    if {' and '.join(condition_texts(branch.when))}: {goes}"
        if state.otherwise is not None:
            yield f"    else go to {state.otherwise}"


def action_text(action: Action) -> str:
    """An action in words."""
    match action:
        case PressAction(chord):
            return f"press {chord}"
        case TypeAction(text):
            return f"type {text!r}"
        case ClickAction(x, y):
            return f"click at {x}, {y}"
        case PauseAction(seconds):
            return f"do nothing for {seconds:g} s"
        case CallAction(name):
            return f"call {name}"


_WORDS = {
    "rest_s": "the picture has been at rest for {} s",
    "changed": "more than {} of the picture has changed",
    "text": "tesseract reads {!r}",
    "serial": "the serial port has a line with {!r}",
    "told": "the guest reports {!r}",
    "silent_s": "the guest has reported nothing new for {} s",
    "disk_rest_s": "the disk has grown by less than 5 MiB a minute for {} s",
    "after_s": "{} s have passed",
}


def condition_texts(condition: Condition) -> list[str]:
    """The parts of a condition in words."""
    found = [
        _WORDS[key].format(value) for key, value in asdict(condition).items() if value is not None and key in _WORDS
    ]
    if condition.bright is not None:
        found.append(f"the brightness is from {condition.bright[0]:g} to {condition.bright[1]:g}")
    if condition.like is not None:
        found.append(f"the picture looks like {condition.like.file}")
    if condition.running is not None:
        found.append("the machine runs" if condition.running else "the machine has stopped")
    if condition.ssh is not None:
        found.append("the guest answers SSH" if condition.ssh else "the guest does not answer SSH")
    if condition.disk_bytes is not None:
        found.append(f"the disk holds {format_size(condition.disk_bytes)}")
    return found
