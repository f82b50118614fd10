"""A recipe's file: what it says is read, and what it says wrong is refused with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.app.recipe import files
from pommel.errors import ConfigError
from pommel.recipe.model import (
    CallAction,
    ClickAction,
    Condition,
    Likeness,
    PauseAction,
    PressAction,
    Recipe,
    TypeAction,
)
from pommel.recipe.reading import RecipeRules, parse
from pommel.wire import keymap

RULES = RecipeRules(keymap.parse_chord, keymap.untypable, files.CALLS)
WHOLE = """
title = "All there is"
macos = ["14"]
needs = ["line"]

[values]
label = "POMMEL"

[[state]]
name = "one"
says = "the first, with {label}"
first = { rest_s = 1.5, bright = [0.1, 1], region = [0, 10, 640, 380] }
first_within_s = 7
do = [
    { press = "shift-cmd-t" },
    { type = "{line}\\n", pause_s = 0.2 },
    { click = [3, 4] },
    { pause_s = 2 },
    { call = "stop" },
]
until = { changed = 0.01, serial = "a+b", told = "started", silent_s = 3, running = true, disk = "15G", disk_rest_s = 60 }
within_s = 90
tries = 3
before_retry = [{ press = "esc" }]
branch = [{ when = { told = "failed" }, why = "it failed" }, { when = { running = false }, go = "two" }]
otherwise = "two"
resume = "one"
by_hand = "type {line}"

[[state]]
name = "two"
says = "the second"
until = { like = { picture = "a.png", tolerance = 0.1 }, text = "Hello", after_s = 1, ssh = false }
"""


def read(text: str) -> Recipe:
    return parse(text, "r.toml", RULES)


def one(more: str = "", **keys: str) -> str:
    lines = {"name": '"a"', "says": '"b"', **keys}
    body = "\n".join(f"{key} = {value}" for key, value in lines.items())
    return f'title = "t"\n{more}\n[[state]]\n{body}\n'


def test_all_that_a_recipe_can_say_is_read() -> None:
    recipe = read(WHOLE)
    first, second = recipe.states
    assert (recipe.title, recipe.macos, recipe.names) == ("All there is", ("14",), ("one", "two"))
    assert recipe.values == {"line": None, "label": "POMMEL"}
    assert first.first == Condition(rest_s=1.5, bright=(0.1, 1.0), region=(0, 10, 640, 380))
    assert first.do == (
        PressAction("shift-cmd-t"),
        TypeAction("{line}\n", 0.2),
        ClickAction(3, 4),
        PauseAction(2.0),
        CallAction("stop"),
    )
    assert first.until == Condition(
        changed=0.01, serial="a+b", told="started", silent_s=3, running=True, disk_bytes=15 << 30, disk_rest_s=60
    )
    assert (first.first_within_s, first.within_s, first.tries, first.then) == (7, 90, 3, "two")
    assert [(branch.go, branch.why) for branch in first.branches] == [(None, "it failed"), ("two", "")]
    assert (first.otherwise, first.resume, first.by_hand) == ("two", "one", "type {line}")
    assert second.until == Condition(like=Likeness("a.png", 0.1), text="Hello", after_s=1, ssh=False)
    assert (second.then, second.tries, second.otherwise) == ("end", 1, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title = ", "r.toml is not valid TOML"),
        ('title = "t"', "1 to 200 states"),
        (one(more='colour = "red"'), "unknown key 'colour'"),
        (one(name='"End"'), "'End' cannot be a state's name"),
        (one(name='"end"'), "'end' cannot be a state's name"),
        (one() + '[[state]]\nname = "a"\nsays = "c"\n', r"r.toml:6: there are two states called 'a'"),
        (one(untill="{ rest_s = 1 }"), r"r.toml:3: state 'a': unknown key 'untill'"),
        (one(until="{ rest = 1 }"), r"r.toml:3: state 'a': until: unknown key 'rest'"),
        (one(until="{}"), "until: it is empty"),
        (one(until="{ region = [0, 0, 1, 1] }"), "until: it is empty"),
        (one(until="{ region = [0, 0, 1, 1], after_s = 1 }"), "`region` without anything that looks"),
        (one(until="{ region = [0, 0, 0, 1], rest_s = 1 }"), "an area with a width and a height"),
        (one(until="{ region = [0, inf, 1, 1], rest_s = 1 }"), r"\[x, y, width, height\] in pixels"),
        (one(until="{ region = [0, nan, 1, 1], rest_s = 1 }"), r"\[x, y, width, height\] in pixels"),
        (one(until="{ rest_s = true }"), "`rest_s` must be a number from 0 to 86400, not True"),
        (one(until="{ rest_s = nan }"), "`rest_s` must be a number"),
        (one(until="{ changed = 2 }"), "`changed` must be a number from 0 to 1, not 2"),
        (one(until="{ bright = [0.5, 0.1] }"), "`bright` must be two numbers from 0 to 1"),
        (one(until='{ serial = "(" }'), "`serial` is not a regular expression"),
        (one(until='{ disk = "15" }'), "`disk` must be a size with a unit"),
        (one(until="3"), "`until` must be a table"),
        (one(tries="0"), "`tries` must be a whole number from 1 to 100, not 0"),
        (one(tries="1.5"), "`tries` must be a whole number"),
        (one(do='[{ press = "cmd-retrun" }]'), "do 1: there is no key called 'retrun'"),
        (one(do='[{ press = "a" }, { type = "é" }]'), "a US keyboard cannot type 'é'"),
        (one(do='[{ call = "format" }]'), "do 1: there is nothing called 'format' to call"),
        (one(do='[{ press = "a", type = "b" }]'), "an action is one of press, type"),
        (one(do="[{ click = [1, -1] }]"), r"`click` must be \[x, y\] in pixels"),
        (one(do='[{ type = "{nothing}" }]'), "there is no value called 'nothing'"),
        (one(more='needs = ["A"]'), "'A' cannot be a value's name"),
        (one(then='"b"'), r"r.toml:3: state 'a': `then` names 'b', and there is no such state"),
        (one(resume='"end"'), "`resume` names 'end'"),
        (one(branch='[{ when = { ssh = true }, go = "c" }]'), "`go` names 'c'"),
        (one(branch='[{ when = { ssh = true } }]'), "either `go` or `why`"),
        (one(branch='[{ go = "a" }]'), "branch 1: `when` is missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refusal:
        read(text)
    assert "r.toml" in refusal.value.message


@given(st.text(max_size=300))
def test_any_text_is_a_recipe_or_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        read(text)


@given(st.sampled_from(sorted(Condition.__slots__)), st.sampled_from(["nan", "inf", "-1", '""', "[]", "[inf, 1]", "{}", "1e400", "[1, 1, 1, nan]", "true", "2020-01-01"]))  # fmt: skip
def test_any_value_of_a_condition_is_read_or_refused(key: str, value: str) -> None:
    try:
        assert read(one(until=f"{{ {key.removesuffix('_bytes')} = {value} }}")).states
    except ConfigError as refusal:
        assert "r.toml" in refusal.message


def test_what_comes_with_pommel_is_without_fault() -> None:
    assert "recovery-terminal" in files.bundled()
    for name in files.bundled():
        recipe = files.load(name).recipe
        assert all(state.by_hand or state.otherwise or state.until is None for state in recipe.states), name
