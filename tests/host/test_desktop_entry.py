"""Entries as text: words come out of an Exec line as they went in, by the eyes of a real shell."""

from __future__ import annotations

import re
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.errors import UsageError
from pommel.host.desktop_entry import complaints, escape, exec_line, render

WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=12) | st.text(
    " \"`$\\%;|&<>~*?#()'=n", max_size=9
)
UNESCAPES = {"s": " ", "n": "\n", "t": "\t", "r": "\r", "\\": "\\"}


def value_of(text: str, key: str) -> str:
    """A key's value as a reader of the file gets it."""
    raw = next(line.partition("=")[2] for line in text.split("\n") if line.startswith(f"{key}="))
    return re.sub(r"\\(.)", lambda found: UNESCAPES[found[1]], raw)


@given(st.lists(WORDS, max_size=5))
@settings(max_examples=60, deadline=None)
def test_words_come_out_of_an_exec_line_as_they_went_in(words: list[str]) -> None:
    text = render(
        {"Desktop Entry": {"Type": "Application", "Name": "x", "Exec": exec_line(["printf", "%s\\0", *words])}}
    )
    assert complaints(text) == []
    # Quoted as the format has it, a word is one to a shell too; only %% is the format's own.
    line = value_of(text, "Exec").replace("%%", "%")
    shown = subprocess.run(["sh", "-c", line], capture_output=True, check=True).stdout
    assert shown == b"".join(word.encode() + b"\0" for word in words or [""])


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=20))
def test_a_value_stays_on_its_line(text: str) -> None:
    assert "\n" not in escape(text)
    assert value_of(f"K={escape(text)}", "K") == text


@pytest.mark.parametrize("argv", [[], [""], ["/a=b/pommel"], ["a", "b\nc"], ["a", "\x7f"], ["a", "\udcff"]])
def test_what_an_exec_line_cannot_hold_is_refused(argv: list[str]) -> None:
    with pytest.raises(UsageError, match="a desktop entry cannot"):
        exec_line(argv)


GOOD = "[Desktop Entry]\nType=Application\nName=x\nExec=x\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the first group is not [Desktop Entry]"),
        (GOOD.replace("Exec=x\n", ""), "[Desktop Entry] has no Exec"),
        (GOOD + "nonsense\n", "line 5 is neither"),
        (GOOD + "Comment=a\x01b\n", "line 5 is neither"),
        (GOOD + "Name=y\n", "line 5: the key Name is there twice"),
        (GOOD + "[Desktop Entry]\n", "the group [Desktop Entry] is there twice"),
        (GOOD + "Actions=Stop;\n", "the action Stop has no Name"),
        (GOOD + "[Desktop Action Stop]\nName=s\nExec=s\n", "is not an action that Actions names"),
        (GOOD.replace("Exec=x", "Exec=x 50%"), "unknown field code %"),
        (GOOD.replace("Exec=x", "Exec=x $HOME"), "reserved character that is not quoted"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    assert complaints(GOOD) == []
    assert any(said in complaint for complaint in complaints(text)), complaints(text)
