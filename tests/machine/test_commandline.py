from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import UpstreamError
from pommel.machine.commandline import Argument, CommandLine, Note
from pommel.machine.qemu_options import NO_VALUE, TAKES_VALUE

from .given import LAYOUTS, upstream_words

options = st.sampled_from(sorted(f"-{name}" for name in NO_VALUE | TAKES_VALUE))
words = (
    options | st.sampled_from(["--accel", "-unheard-of", "-", "--", "", "disk.img", "-device"]) | st.text(max_size=9)
)


@given(st.lists(words, max_size=20))
def test_any_words_come_back_as_they_were(line: list[str]) -> None:
    try:
        parsed = CommandLine.parse("qemu", line)
    except UpstreamError:
        assert line[-1].lstrip("-") in TAKES_VALUE, "refused only for a value that is missing at the end"
        return
    assert list(parsed.words) == line
    assert parsed.argv == ("qemu", *line)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_upstreams_words_come_back_as_they_were(layout: str) -> None:
    line = CommandLine.parse("qemu-system-x86_64", upstream_words(layout))
    assert line.words == upstream_words(layout)
    for argument in line.arguments:
        assert argument.value is None or argument.sub.render() == argument.value
        assert (argument.origin, argument.reason) == ("upstream", "")


def test_which_words_are_values() -> None:
    line = CommandLine.parse(
        "qemu",
        ["-enable-kvm", "-append", "-v quiet", "--accel", "tcg", "-M", "q35", "-new-flag", "-new", "x", "hd.img", "-s"],
    )
    assert [(a.name, a.option, a.value) for a in line.arguments] == [
        ("enable-kvm", "-enable-kvm", None),
        ("append", "-append", "-v quiet"),
        ("accel", "--accel", "tcg"),
        ("machine", "-M", "q35"),
        ("new-flag", "-new-flag", None),
        ("new", "-new", "x"),
        ("", "", "hd.img"),
        ("s", "-s", None),
    ]


def test_a_value_that_is_missing() -> None:
    with pytest.raises(UpstreamError, match="ends at -device, which needs a value"):
        CommandLine.parse("qemu", ["-S", "-device"])


def test_find() -> None:
    line = CommandLine.parse("qemu", ["-device", "a,id=1", "-drive", "if=none", "-device", "b,id=2"])
    assert [a.value for a in line.find("device")] == ["a,id=1", "b,id=2"]
    assert [a.value for a in line.find("device", "drive", where=lambda a: a.sub.head != "a")] == ["if=none", "b,id=2"]
    assert line.find("nic") == ()


def test_edits_take_one_of_two_that_read_alike_and_leave_the_line_as_it_was() -> None:
    line = CommandLine.parse("qemu", ["-device", "x", "-S", "-device", "x"])
    second = line.find("device")[1]
    assert line.replace(second, Argument("-a"), Argument("-b", "1")).words == ("-device", "x", "-S", "-a", "-b", "1")
    assert line.remove(second).words == ("-device", "x", "-S")
    assert line.append(Argument("-s")).words == (*line.words, "-s")
    assert line.words == ("-device", "x", "-S", "-device", "x")


def test_origin_tells_birth_and_changes_once_each() -> None:
    notes = (Note("disks", "one"), Note("paths", "two"), Note("disks", "one"))
    assert Argument("-drive", "x", notes=notes).origin == "upstream + disks + paths"
    assert Argument("-drive", "x", notes=notes).reason == "one; two"
    assert Argument("-qmp", "x", "monitor", (Note("monitor", "why"),)).origin == "monitor"
