"""Logs: the end of one, and one that grows, is turned over, or vanishes while it is followed."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.machine import lifecycle, logs, tailing
from pommel.machine.events import Word, note_event
from pommel.paths import MachinePaths

from .bare import argv, make, short_home
from .guests import ask


@pytest.fixture
def paths(tmp_path: Path) -> MachinePaths:
    return MachinePaths("m", tmp_path, tmp_path)


def test_a_run_begins_with_a_dated_line(paths: MachinePaths) -> None:
    offset = logs.begin(paths, "m starts")
    assert offset == paths.log.stat().st_size
    with paths.log.open("a") as log:
        log.write("hello\n")
    assert logs.last(paths, 5, since=offset) == ["hello"]
    assert logs.tail(paths, 5, since=offset) == "hello"
    first, second = logs.last(paths, 5)
    assert first.startswith("=== 20") and first.endswith("Z m starts")
    assert second == "hello"


def test_a_large_log_is_put_aside(paths: MachinePaths) -> None:
    paths.log.write_bytes(b"old\n" * (logs.ROTATE_BYTES // 4))
    logs.begin(paths, "at the limit")
    assert not logs.older(paths).exists()
    logs.begin(paths, "beyond")
    assert logs.older(paths).read_bytes().startswith(b"old\n")
    assert len(logs.last(paths, 9)) == 1
    paths.log.write_bytes(b"new\n" * (logs.ROTATE_BYTES // 2))
    logs.begin(paths, "again")  # one old log is kept, no more
    assert logs.older(paths).read_bytes().startswith(b"new\n")


def test_no_log(paths: MachinePaths) -> None:
    assert logs.last(paths, 5) == []
    assert logs.tail(paths) == ""


@settings(deadline=None, max_examples=60)
@given(
    lines=st.lists(
        st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=9), max_size=9
    ),
    ended=st.booleans(),
    count=st.integers(0, 12),
    block=st.integers(1, 20),
)
def test_last_is_the_last_lines(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], ended: bool, count: int, block: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    paths = MachinePaths("m", folder, folder)
    text = "\n".join(lines) + ("\n" if ended and lines else "")
    paths.log.write_bytes(text.encode())
    whole = text.removesuffix("\n").split("\n") if text else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tailing, "_BLOCK", block)
        assert logs.last(paths, count) == (whole[-count:] if count else [])
        assert "".join(logs.follow(paths, 0, done=lambda: True)) == ""


def test_a_log_of_one_endless_line_takes_bounded_memory(paths: MachinePaths) -> None:
    paths.log.write_bytes(b"x" * (3 << 20))
    (line,) = logs.last(paths, 10)
    assert len(line) == 1 << 20


def test_bytes_that_are_no_text(paths: MachinePaths) -> None:
    paths.log.write_bytes(b"\xff\xfe ok\r\n")
    assert logs.last(paths, 1) == ["\ufffd\ufffd ok"]


def followed(paths: MachinePaths, steps: list[object], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Follow; at each quiet moment the next step is taken, and after the last one it ends."""
    todo = iter(steps)
    left = len(steps)

    def sleep(_: float) -> None:
        nonlocal left
        left -= 1
        step = next(todo)
        assert callable(step)
        step()

    monkeypatch.setattr(logs.time, "sleep", sleep)
    return logs.follow(paths, 2, done=lambda: left == 0)


def append(paths: MachinePaths, data: bytes) -> None:
    with paths.log.open("ab") as log:
        log.write(data)


def test_follow_tells_whole_lines_as_they_come(paths: MachinePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    paths.log.write_bytes(b"a\nb\nc\n")
    steps = [lambda: append(paths, b"one\nha"), lambda: append(paths, b"lf\n"), lambda: append(paths, b"x\ny\nz\n")]
    assert list(followed(paths, list(steps), monkeypatch)) == ["b", "c", "one", "half", "x", "y", "z"]


def test_follow_over_rotation_emptying_and_deletion(paths: MachinePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    paths.log.write_bytes(b"before\n")

    def rotate() -> None:
        paths.log.replace(logs.older(paths))
        append(paths, b"a much longer new beginning\n")

    def vanish() -> None:
        paths.log.unlink()

    steps = [
        rotate,
        lambda: paths.log.write_bytes(b"emptied\n"),
        vanish,
        lambda: append(paths, b"back\n"),
    ]
    told = list(followed(paths, list(steps), monkeypatch))
    assert told == ["before", "a much longer new beginning", "emptied", "back"]


def test_follow_waits_for_a_log_to_come(paths: MachinePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(followed(paths, [lambda: append(paths, b"first\n")], monkeypatch)) == ["first"]


def test_follow_breaks_an_endless_line(paths: MachinePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailing, "MOST", 100)
    told = "".join(followed(paths, [lambda: append(paths, b"y" * 250_000)], monkeypatch))
    assert told == "y" * 250_000


# --- three voices ----------------------------------------------------------------------------------------------------


def told(lines: list[logs.LogLine]) -> list[tuple[str, str]]:
    return [(line.source.value, line.text) for line in lines]


def test_three_voices_in_one_stream(paths: MachinePaths) -> None:
    assert logs.merged(paths) == []
    logs.begin(paths, "m starts")
    note_event(paths, Word.START, "qemu")
    append(paths, b"a warning\n")
    paths.serial_log.write_bytes(b"\x1b[2JBdsDxe: loading\r\n")
    note_event(paths, Word.RUNNING)
    with paths.serial_log.open("ab") as serial:
        serial.write(b"login: \xff")
    lines = logs.merged(paths)
    assert told(lines) == [
        ("pommel", "start: qemu"),
        ("qemu", "a warning"),
        ("serial", "BdsDxe: loading"),
        ("pommel", "running"),
        ("serial", "login: \ufffd"),
    ]
    assert lines[0].time == lines[1].time == lines[2].time and lines[3].time == lines[4].time
    assert told(logs.merged(paths, 2)) == told(lines)[-2:]


def test_what_was_turned_over_is_still_told(paths: MachinePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "ROTATE_BYTES", 40)
    note_event(paths, Word.START)
    append(paths, b"one\n" * 9)
    note_event(paths, "second")
    append(paths, b"two\n" * 2)
    logs.bound(paths)
    assert paths.log.read_bytes() == b""
    append(paths, b"three\n")
    assert told(logs.merged(paths, 5)) == [
        ("qemu", "one"),
        ("pommel", "second"),
        ("qemu", "two"),
        ("qemu", "two"),
        ("qemu", "three"),
    ]


def test_bound_is_harmless_where_there_is_nothing(paths: MachinePaths) -> None:
    logs.bound(paths)
    logs.bound(MachinePaths("m", paths.directory / "gone", paths.directory))
    assert list(paths.directory.iterdir()) == []


def test_follow_merged_stamps_what_comes(paths: MachinePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    note_event(paths, Word.START)
    steps = iter(
        [
            lambda: append(paths, b"ha"),
            lambda: append(paths, b"lf\n"),
            lambda: paths.serial_log.write_bytes(b"\x1b[1mhello\r\n"),
            lambda: note_event(paths, Word.STOPPED, "done"),
            lambda: damage(paths.events_log),
        ]
    )
    left = 5

    def sleep(_: float) -> None:
        nonlocal left
        left -= 1
        next(steps)()

    monkeypatch.setattr(logs.time, "sleep", sleep)
    before = datetime.datetime.now(datetime.UTC)
    lines = list(logs.follow_merged(paths, 5, done=lambda: left == 0))
    assert told(lines) == [
        ("pommel", "start"),
        ("qemu", "half"),
        ("serial", "hello"),
        ("pommel", "stopped: done"),
    ]
    assert all(line.time is not None and line.time >= before for line in lines[1:3])


def test_follow_merged_keeps_the_logs_bounded(paths: MachinePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "ROTATE_BYTES", 100)
    left, written = 50, 0

    def sleep(_: float) -> None:
        nonlocal left, written
        left -= 1
        append(paths, f"{written}\n".encode() * 10)
        written += 1

    monkeypatch.setattr(logs.time, "sleep", sleep)
    lines = list(logs.follow_merged(paths, 0, done=lambda: left == 0))
    assert [line.text for line in lines] == [str(n) for n in range(50) for _ in range(10)], "and no line is missed"
    assert paths.log.stat().st_size < 200


def test_a_real_qemu_goes_on_in_a_log_that_was_turned_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "ROTATE_BYTES", 10)
    with short_home() as home:
        paths = make(home)
        paths.serial_log.write_bytes(b"of the run before\n")
        serial = ["-chardev", f"file,id=s,path={paths.serial_log},append=on", "-serial", "chardev:s"]
        lifecycle.start(paths, argv(paths, *serial))
        assert tailing.older(paths.serial_log).read_bytes() == b"of the run before\n"
        say(paths, "the first words")
        logs.bound(paths)
        assert paths.serial_log.read_bytes() == b""
        say(paths, "more")
        assert paths.serial_log.read_bytes() == b"more"
        assert tailing.older(paths.serial_log).read_bytes() == b"the first words"


def damage(path: Path) -> None:
    with path.open("ab") as log:
        log.write(b"damaged\n")


def say(paths: MachinePaths, text: str) -> None:
    """Let the guest's first serial port say something: bytes to its data register, 0x3f8."""
    for char in text:
        ask(paths, "human-monitor-command", **{"command-line": f"o /b 0x3f8 {ord(char)}"})
