"""One viewer's terminal with a real shell: both directions, sizes, floods, and every way to end."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest

from pommel.errors import MissingProgram, ProtocolError
from pommel.terminal import serving
from pommel.terminal.pty import ShellPlan
from pommel.terminal.serving import LEFT, serve_shell
from pommel.wire.terminal import TerminalSize, encode_processed, encode_size
from terminal.viewers import Viewer
from waits import until

ENV = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "xterm-256color", "PS1": "ready$ "}


def shell(*words: str) -> ShellPlan:
    return ShellPlan(words or ("sh",), ENV, lambda status, _: f"it ended with {status}")


def serve(viewer: Viewer, plan: ShellPlan | None = None) -> asyncio.Task[str]:
    return asyncio.ensure_future(serve_shell(viewer, plan or shell()))


async def number(viewer: Viewer, name: str) -> int:
    """What a program wrote as NAME=NUMBER= (and not what was typed to have it so)."""
    found = await until(lambda: re.search(rf"{name}=(\d+)=".encode(), viewer.seen))
    return int(found[1])


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").exists()


async def test_a_shell_of_the_viewers_size_in_utf8_and_its_end_is_told() -> None:
    viewer = Viewer(TerminalSize(100, 30))
    serving_it = serve(viewer)
    viewer.types("stty size; echo é日本 | tr é x\n")
    await viewer.shows("30 100")
    viewer.types("exit 3\n")
    assert await serving_it == "it ended with 3"
    assert viewer.ended == "It ended with 3."
    assert viewer.closed == (1000, "")


async def test_it_is_resized_and_of_a_storm_of_sizes_the_last_one_counts() -> None:
    viewer = Viewer(TerminalSize(80, 24))
    serving_it = serve(viewer, shell("sh", "-c", "trap 'stty size' WINCH; echo begun; while :; do sleep 0.01; done"))
    await viewer.shows("begun")
    for columns in range(1, 1000):
        viewer.says(encode_size(TerminalSize(columns, 40)))
    viewer.says(encode_size(TerminalSize(0, 65535)))
    await viewer.shows("500 1\r\n")  # within what a program can have
    assert viewer.seen.count(b"\r\n") < 100
    viewer.leaves()
    assert await serving_it == LEFT


async def test_a_viewer_that_leaves_ends_its_shell_and_what_it_runs() -> None:
    viewer = Viewer(TerminalSize())
    serving_it = serve(viewer)
    viewer.types("echo shell=$$=; sh -c 'echo child=$$=; exec sleep 1000'\n")
    pids = [await number(viewer, name) for name in ("shell", "child")]
    viewer.leaves()
    assert await serving_it == LEFT
    await until(lambda: not any(map(is_alive, pids)))
    assert viewer.ended == ""


async def test_a_shell_that_ignores_the_hangup_is_killed() -> None:
    viewer = Viewer(TerminalSize())
    serving_it = serve(viewer, shell("sh", "-c", "trap '' HUP; echo pid=$$=; while :; do sleep 1; done"))
    pid = await number(viewer, "pid")
    serving_it.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving_it
    assert not is_alive(pid)


async def test_a_background_job_does_not_keep_a_terminal_open() -> None:
    viewer = Viewer(TerminalSize())
    serving_it = serve(viewer, shell("sh", "-c", "trap '' HUP; yes & echo job=$!=; exit 0"))
    assert await serving_it == "it ended with 0"
    assert b"job=" in viewer.seen


async def test_a_flood_waits_for_the_viewer() -> None:
    viewer = Viewer(TerminalSize())
    viewer.reads = False
    serving_it = serve(viewer, shell("yes"))
    await until(lambda: viewer.waiting >= serving.WINDOW_BYTES)
    await asyncio.sleep(0.2)  # would be megabytes
    assert viewer.waiting < serving.WINDOW_BYTES + (64 << 10)
    viewer.leaves()
    assert await serving_it == LEFT


async def test_a_flood_waits_until_the_viewer_has_processed_it() -> None:
    viewer = Viewer(TerminalSize())
    viewer.says(encode_processed(0))
    serving_it = serve(viewer, shell("yes"))
    await until(lambda: len(viewer.seen) >= serving.WINDOW_BYTES)
    await asyncio.sleep(0.2)
    stopped_at = len(viewer.seen)
    assert stopped_at < serving.WINDOW_BYTES + (64 << 10)
    viewer.says(encode_processed(stopped_at))
    await until(lambda: len(viewer.seen) > stopped_at)
    viewer.leaves()
    assert await serving_it == LEFT


async def test_a_long_paste_arrives_whole() -> None:
    viewer = Viewer(TerminalSize())
    serving_it = serve(viewer, shell("sh", "-c", "stty raw -echo; echo begun; head -c 1000000 | wc -c"))
    await viewer.shows("begun")
    viewer.types("x" * 1_000_000)
    await viewer.shows("1000000")
    assert await serving_it == "it ended with 0"


async def test_input_that_nobody_reads_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_TYPED", 1 << 20)
    viewer = Viewer(TerminalSize())
    serving_it = serve(viewer, shell("sh", "-c", "stty raw -echo; exec sleep 1000"))
    viewer.types("x" * (3 << 20))
    with pytest.raises(ProtocolError):
        await serving_it
    assert viewer.ended == "The program has not read 1 MiB that were typed."


async def test_what_is_no_message_ends_the_terminal() -> None:
    viewer = Viewer(TerminalSize())
    serving_it = serve(viewer)
    viewer.says(b"\xff")
    with pytest.raises(ProtocolError):
        await serving_it
    assert viewer.ended == "Not a message for a terminal: ff."


async def test_no_shell_without_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "FIRST_SIZE_S", 0.05)
    viewer = Viewer()
    with pytest.raises(serving.DeadlineError):
        await serve(viewer)
    assert viewer.ended == "The viewer sent no size within 0.05 s."


async def test_a_missing_program_is_told() -> None:
    viewer = Viewer(TerminalSize())
    with pytest.raises(MissingProgram):
        await serve(viewer, shell("no-such-shell"))
    assert "is not installed" in viewer.ended
