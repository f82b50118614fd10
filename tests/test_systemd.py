"""Words as systemd reads them back."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import UsageError
from pommel.systemd import command_line, environment_of, literal, quoted

WORDS = st.text(st.characters(blacklist_categories=("Cs", "Cc")) | st.sampled_from("\n\t\r\"'\\%$ "))


@given(WORDS)
def test_a_word_comes_back_as_it_was(word: str) -> None:
    # systemd.syntax(7) knows the escapes of C, as Python does; %% is one %.
    assert ast.literal_eval(quoted(word).replace("%%", "%")) == word


@given(st.dictionaries(st.from_regex(r"[A-Z_]{1,8}", fullmatch=True), WORDS))
def test_the_variables_of_a_unit_come_back(variables: dict[str, str]) -> None:
    lines = [f"Environment={quoted(f'{name}={value}')}" for name, value in variables.items()]
    unit = "\n".join(["[Service]", *lines, "ExecStart=/bin/true", ""])
    assert environment_of(unit) == variables


@given(WORDS)
def test_no_word_breaks_out_of_its_line(word: str) -> None:
    line = command_line(["/bin/x", word])
    assert "\n" not in line and line.startswith('"/bin/x" "') and line.endswith('"')
    assert line.replace("%%", "").count("%") == 0
    assert line.replace("$$", "").count("$") == 0


def test_a_program_keeps_its_dollar() -> None:
    assert command_line(["/opt/$x/y", "$x"]) == '"/opt/$x/y" "$$x"'
    assert literal("a%b%%") == "a%%b%%%%"


@pytest.mark.parametrize(
    "words", [[], ["x"], ["", "y"], ['/a"b'], ["/a'b"], ["/a\\b"], ["/a", "\0"], ["/a", "\x7f"], ["/a", "\udcff"]]
)
def test_what_no_unit_holds(words: list[str]) -> None:
    with pytest.raises(UsageError):
        command_line(words)
