"""Parses a recipe's TOML file into a `Recipe`, or refuses it with the place of the error. Band: core, no I/O.

Everything is checked before any action: keys and kinds, that each named state exists, that each chord and text can be
pressed and typed, and that the host knows each call.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pommel.errors import ConfigError, UsageError
from pommel.recipe import values
from pommel.recipe.model import (
    END,
    VISITS_MAX,
    Action,
    Branch,
    CallAction,
    ClickAction,
    Condition,
    PauseAction,
    PressAction,
    Recipe,
    RecipeState,
    TypeAction,
)
from pommel.recipe.tables import Table

STATES_MAX = 200
_DAY_S = 86400.0
_WITHIN_S = 60.0
_PAUSE_S = 0.15  # after each key: firmware and Apple's Recovery lose some of the faster keys
_STATE = re.compile(r"^\s*\[\[\s*state\s*\]\]", re.MULTILINE)
_STATE_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}\Z")


@dataclass(frozen=True, slots=True)
class RecipeRules:
    """Checks of other rooms: `check_chord` raises UsageError; `untypable` lists characters that no key types."""

    check_chord: Callable[[str], object]
    untypable: Callable[[str], Collection[str]]
    calls: Collection[str]


def parse(text: str, where: str, rules: RecipeRules) -> Recipe:
    """Parse the text of a recipe; `where` is the file's name in errors.

    Raises:
        ConfigError: it is not TOML or not a recipe; the message has file, line and state.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as failure:
        raise ConfigError(f"{where} is not valid TOML: {failure}") from failure
    top = Table(where, document)
    title = top.text("title")
    macos = top.texts("macos")
    given = _values(top)
    raw = top.tables("state")
    top.finish()
    if not raw or len(raw) > STATES_MAX:
        raise ConfigError(f"{where}: a recipe has 1 to {STATES_MAX} states", hint="write each as [[state]]")
    lines = [text.count("\n", 0, found.start() + len(found[0])) + 1 for found in _STATE.finditer(text)]
    places = [f"{where}:{lines[i]}" if len(lines) == len(raw) else where for i in range(len(raw))]
    states = _states(raw, places, rules)
    _check_ways(states, places)
    recipe = Recipe(title, macos, given, states)
    _check_texts(recipe, places, rules)
    return recipe


def _values(top: Table) -> Mapping[str, str | None]:
    table = top.table("values")
    found: dict[str, str | None] = dict.fromkeys(top.texts("needs"))
    if table is not None:
        found |= {name: table.text(name) for name in table.keys}
    for name in found:
        if not values.NAME.match(name):
            raise ConfigError(f"{top.where}: {name!r} cannot be a value's name", hint="use a-z, 0-9 and _")
    return found


def _states(raw: list[dict[str, Any]], places: list[str], rules: RecipeRules) -> tuple[RecipeState, ...]:
    made: list[RecipeState] = []
    for number, document in enumerate(raw):
        table = Table(places[number], document)
        name = table.text("name")
        if not _STATE_NAME.match(name) or name == END:
            raise ConfigError(
                f"{table.where}: {name!r} cannot be a state's name", hint=f'use a-z, 0-9 and "-"; {END!r} is taken'
            )
        if any(other.name == name for other in made):
            raise ConfigError(f"{table.where}: there are two states called {name!r}", hint="rename one of them")
        following = str(raw[number + 1].get("name", "")) if number + 1 < len(raw) else END
        made.append(_state(table.inside(f"state {name!r}"), name, following, rules))
    return tuple(made)


def _state(table: Table, name: str, following: str, rules: RecipeRules) -> RecipeState:
    made = RecipeState(
        name=name,
        says=table.text("says"),
        first=_condition(table.table("first")),
        first_within_s=table.number("first_within_s", _WITHIN_S, most=_DAY_S),
        do=_actions(table, "do", rules),
        until=_condition(table.table("until")),
        within_s=table.number("within_s", _WITHIN_S, most=_DAY_S),
        tries=int(table.number("tries", 1, least=1, most=100, whole=True)),
        before_retry=_actions(table, "before_retry", rules),
        branches=tuple(_branch(branch) for branch in table.inner_tables("branch")),
        then=table.text("then", following),
        otherwise=table.maybe_text("otherwise"),
        resume=table.maybe_text("resume"),
        by_hand=table.text("by_hand", ""),
        most=int(table.number("most", VISITS_MAX, least=1, most=VISITS_MAX, whole=True)),
    )
    table.finish()
    return made


def _branch(table: Table) -> Branch:
    when = _condition(table.table("when"))
    go, why, resume = table.maybe_text("go"), table.text("why", ""), table.maybe_text("resume")
    table.finish()
    if when is None:
        raise ConfigError(f"{table.where}: `when` is missing", hint='such as when = { told = "failed" }')
    if (go is None) == (not why):
        raise ConfigError(
            f"{table.where}: a branch has either `go` or `why`",
            hint="`go` names the state that comes next; `why` ends the recipe with this sentence",
        )
    if go is not None and resume is not None:
        raise ConfigError(f"{table.where}: `resume` is for a branch with `why`, which ends the recipe")
    return Branch(when, go, why, resume)


def _condition(table: Table | None) -> Condition | None:
    if table is None:
        return None
    made = Condition(
        rest_s=table.maybe_number("rest_s", most=_DAY_S),
        changed=table.maybe_number("changed", most=1.0),
        bright=table.maybe_span("bright"),
        like=table.likeness("like"),
        text=table.maybe_pattern("text"),
        region=table.maybe_area("region"),
        serial=table.maybe_pattern("serial"),
        told=table.maybe_text("told"),
        silent_s=table.maybe_number("silent_s", most=_DAY_S),
        running=table.maybe_bool("running"),
        ssh=table.maybe_bool("ssh"),
        disk_bytes=table.maybe_size("disk"),
        disk_rest_s=table.maybe_number("disk_rest_s", most=_DAY_S),
        after_s=table.maybe_number("after_s", most=_DAY_S),
    )
    table.finish()
    if made == Condition(region=made.region):
        raise ConfigError(f"{table.where}: it is empty", hint="such as { rest_s = 5 } or { changed = 0.01 }")
    if made.region is not None and not made.looks:
        raise ConfigError(f"{table.where}: `region` without anything that looks at the screen")
    return made


def _actions(table: Table, key: str, rules: RecipeRules) -> tuple[Action, ...]:
    return tuple(_action(one, rules) for one in table.inner_tables(key))


def _action(table: Table, rules: RecipeRules) -> Action:
    kinds = {"press", "type", "click", "pause_s", "call"} & set(table.keys)
    if len(kinds - ({"pause_s"} if "type" in kinds else set())) != 1:
        raise ConfigError(
            f"{table.where}: an action is one of press, type, click, pause_s or call",
            hint='such as { press = "cmd-q" } or { type = "ls\\n" }',
        )
    action: Action
    if "type" in kinds:
        action = TypeAction(table.text("type"), table.number("pause_s", _PAUSE_S, most=10.0))
    elif "press" in kinds:
        action = PressAction(_chord(table, rules))
    elif "click" in kinds:
        action = ClickAction(*table.point("click"))
    elif "pause_s" in kinds:
        action = PauseAction(table.number("pause_s", 0.0, most=3600.0))
    else:
        action = CallAction(table.text("call"))
        if action.name not in rules.calls:
            known = ", ".join(sorted(rules.calls))
            raise ConfigError(f"{table.where}: there is nothing called {action.name!r} to call", hint=f"known: {known}")
    table.finish()
    return action


def _chord(table: Table, rules: RecipeRules) -> str:
    chord = table.text("press")
    try:
        rules.check_chord(chord)
    except UsageError as wrong:
        raise ConfigError(f"{table.where}: {wrong.message}", hint=wrong.hint) from None
    return chord


def _check_ways(states: tuple[RecipeState, ...], places: list[str]) -> None:
    """Check that every named state exists."""
    names = {state.name for state in states}
    for state, place in zip(states, places, strict=True):
        ways = [("then", state.then), ("otherwise", state.otherwise), ("resume", state.resume)]
        ways += [("go", branch.go) for branch in state.branches]
        ways += [("resume", branch.resume) for branch in state.branches]
        for key, name in ways:
            if name is not None and name not in names and (name != END or key == "resume"):
                raise ConfigError(
                    f"{place}: state {state.name!r}: `{key}` names {name!r}, and there is no such state",
                    hint=f"states: {', '.join(s.name for s in states)}",
                )


def _check_texts(recipe: Recipe, places: list[str], rules: RecipeRules) -> None:
    """Check that each text can be typed, and that each {name} in it is one of the values."""
    for state, place in zip(recipe.states, places, strict=True):
        for text in values.texts_of(state):
            if unknown := sorted(values.names_in(text) - recipe.values.keys()):
                raise ConfigError(
                    f"{place}: state {state.name!r}: there is no value called {unknown[0]!r}",
                    hint=f'write {unknown[0]} = "…" into [values], or needs = ["{unknown[0]}"] above it',
                )
        for action in (*state.do, *state.before_retry):
            if isinstance(action, TypeAction) and (cannot := rules.untypable(action.text)):
                raise ConfigError(
                    f"{place}: state {state.name!r}: a US keyboard cannot type {' '.join(map(repr, cannot))}"
                )
