"""Measure a guest's clock against this host's, and set it over SSH. Band: app.

QEMU's clock chip always has the host's time, but a guest reads it only when it boots, and then counts by itself. So
time is missing after a pause: its vCPUs were paused, it slept on disk, the host was suspended, or it was put back to a
snapshot. Then `date` sets the clock in the guest, which needs root there.

A user may have set the clock to another time on purpose. So after a pause the clock is only set if the pause explains
the difference (`lost_s`). `clock_rest` calls this after a pause, in a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pommel import json_file
from pommel.app.guest import root
from pommel.app.workspace import Workspace
from pommel.child import Child, running
from pommel.errors import CommandFailed, DeadlineError, NotPermitted, PommelError, ProtocolError, StateError
from pommel.foreign import printable
from pommel.machine import state
from pommel.machine.events import note_event
from pommel.machine.runstate import MachineState
from pommel.paths import MachinePaths
from pommel.ssh import SshTarget, ssh_argv

OFF_S = 1.0  # a smaller difference is not worth setting: `date` sets whole seconds
_SLACK_S = 120.0  # time that a pause may add to its length: saving and loading of a large memory, a slow login
_LOGIN_S = 60.0  # for an emulated guest on a busy host
_MARK = "pommel-clock"
_LINES_MAX = 200  # a login shell may write lines before; the guest is not trusted to stop writing
_KEPT = "clock.json"  # the last measurement, beside the machine's sockets: only valid for the running QEMU
_SCRIPT = f"""
{root.PATHS}
now() {{
    t=$(date +%s.%N 2>/dev/null)
    case $t in *[!0-9.]*|"") t=$(perl -MTime::HiRes=time -e 'printf "%.6f", time' 2>/dev/null) ;; esac
    case $t in *[!0-9.]*|"") t=$(date +%s) ;; esac
    echo "{_MARK} time $t"
}}
{root.AS_ROOT}
loop() {{
    echo "{_MARK} ready $(uname -s) $(id -un)"
    while read -r word epoch stamp; do
        case $word in
        time) now ;;
        set)
            case $(uname -s) in
            Darwin) said=$(as_root date -u "$stamp" 2>&1) ;;
            *) said=$(as_root date -u -s "@$epoch" 2>&1) ;;
            esac
            echo "{_MARK} set $? $(echo "$said" | tail -n 1)" ;;
        esac
    done
}}
loop
"""
Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Clock:
    """A guest's clock: `offset_s` seconds ahead of this host's (negative: behind), with an error of at most `sure_s`.

    `after_s` is the offset after the clock was set; None: it was not set, and `why` has the reason if it is wrong.
    """

    name: str
    offset_s: float
    sure_s: float
    time: str  # when that was measured, ISO 8601 in UTC
    after_s: float | None = None
    why: str = ""

    @property
    def off(self) -> bool:
        """Whether it is wrong by more than the error and the whole seconds of `date`."""
        last = self.offset_s if self.after_s is None else self.after_s
        return abs(last) > OFF_S + self.sure_s

    def as_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        return asdict(self)


def look(name: str, *, workspace: Workspace | None = None, timeout_s: float = _LOGIN_S) -> Clock:
    """Measure how far the clock of the running machine `name` is from this host's.

    Raises:
        StateError: it does not run, or is paused, or its address is unknown.
        CommandFailed, DeadlineError: the login in the guest failed.
    """
    return _talk(workspace or Workspace.current(), name, False, None, timeout_s)


def put_right(
    name: str, *, lost_s: float | None = None, workspace: Workspace | None = None, timeout_s: float = _LOGIN_S
) -> Clock:
    """Set the clock of the running machine `name` to this host's, if it is off.

    With `lost_s`, the clock is only set if it is behind by at most that: a larger difference was there before the
    pause.

    Raises:
        StateError, CommandFailed, DeadlineError: as `look`.
        NotPermitted: the SSH user of the guest may not set its clock.
    """
    workspace = workspace or Workspace.current()
    found = _talk(workspace, name, True, lost_s, timeout_s)
    if found.why.startswith(_REFUSED):
        raise NotPermitted(
            f"{name}: its clock is {spell(found.offset_s)}, and {found.why}", hint=_right(workspace, name)
        )
    return found


def last_known(paths: MachinePaths) -> Clock | None:
    """The last measurement for the running machine's guest; None: there is none."""
    pid = state.observe(paths).pid
    return json_file.read_or(
        paths.runtime / _KEPT, lambda told: Clock(**told) if told.pop("pid") == pid else None, None
    )


def checks(workspace: Workspace, name: str) -> Iterator[tuple[str, Level, str, str | None]]:
    """For the doctor: the clock of a guest that answers SSH."""
    try:
        found = look(name, workspace=workspace, timeout_s=20)
    except PommelError as unknown:
        yield "clock", "warn", f"not known: {unknown.message}", f"pommel clock {name}"
        return
    yield "clock", "warn" if found.off else "ok", spell(found.offset_s), f"pommel clock {name} --set"


def spell(offset_s: float) -> str:
    """A clock's offset, in words."""
    if abs(offset_s) < OFF_S:
        return f"right, within {max(abs(offset_s), 0.1):.1f} s"
    return f"{abs(offset_s):.1f} s {'ahead' if offset_s > 0 else 'behind'}"


_REFUSED = "setting the clock needs root in the guest"


def _right(workspace: Workspace, name: str) -> str:
    return root.leave(workspace, name, "clock", ["/bin/date", "/usr/bin/date"]) + "; or set_clock = false"


def _talk(workspace: Workspace, name: str, may_set: bool, lost_s: float | None, timeout_s: float) -> Clock:
    target, paths = root.target(workspace, name), workspace.paths(name)
    seen = state.observe(paths, ask_s=1.0)
    if seen.state is MachineState.PAUSED:
        raise StateError(f"{name} is paused, so its clock is stopped", hint=f"pommel resume {name}")
    found = asyncio.run(_timed(target, name, may_set, lost_s, timeout_s))
    if found.after_s is not None:
        note_event(paths, "clock set", f"it was {spell(found.offset_s)}; now it is {spell(found.after_s)}")
    with contextlib.suppress(OSError):  # the caller gets the result anyway
        json_file.write(paths.runtime / _KEPT, {**found.as_dict(), "pid": seen.pid})
    return found


async def _timed(target: SshTarget, name: str, may_set: bool, lost_s: float | None, timeout_s: float) -> Clock:
    argv = ssh_argv(
        target, ["sh", "-s"], batch=True, connect_timeout_s=int(timeout_s) + 1, shared={"ControlPath": "none"}
    )
    try:
        async with asyncio.timeout(timeout_s), running(argv) as child:
            talk = _Talk(child, argv)
            with contextlib.suppress(ConnectionError):  # ssh ended without reading the script; the next read says why
                await child.write(_SCRIPT.encode())
            await talk.answer("ready")
            return await _measured(talk, name, may_set, lost_s)
    except TimeoutError:
        raise DeadlineError(f"the guest of {name} did not answer about its clock within {timeout_s:.0f} s") from None
    except ConnectionError:
        raise CommandFailed(argv[:1], 255, "the guest closed the connection") from None


async def _measured(talk: _Talk, name: str, may_set: bool, lost_s: float | None) -> Clock:
    offset_s, sure_s = await talk.offset()
    found = Clock(name, round(offset_s, 3), round(sure_s, 3), _now())
    if not may_set or abs(offset_s) <= OFF_S:
        return found
    if lost_s is not None and not -lost_s - _SLACK_S <= offset_s < 0:
        return replace(
            found, why=f"it was wrong by more than the pause of {lost_s:.0f} s explains, so it was not changed"
        )
    status, said = await talk.set_clock(early_s=sure_s)
    if status != 0:
        return replace(found, why=f"{_REFUSED} ({said or 'it gives no reason'})")
    after_s, _ = await talk.offset()
    return replace(found, after_s=round(after_s, 3))


class _Talk:
    """The conversation with the script in the guest, whose answers are not trusted."""

    def __init__(self, child: Child, argv: list[str]) -> None:
        self._child, self._argv, self._buffer, self._lines = child, argv, b"", 0

    async def offset(self) -> tuple[float, float]:
        """The guest's offset and its error: the most exact of three measurements, because a busy host answers late."""
        found = [await self._once() for _ in range(3)]
        return min(found, key=lambda each: each[1])

    async def _once(self) -> tuple[float, float]:
        # As in NTP: the guest's time is assumed to be that of the middle between question and answer.
        began, began_s = time.monotonic(), time.time()
        await self._child.write(b"time\n")
        text = await self.answer("time")
        half_s = (time.monotonic() - began) / 2
        try:
            there_s = float(text)
        except ValueError:
            there_s = math.nan
        if not 0 <= there_s < 1e11:
            raise ProtocolError(f"the guest reports its clock as {printable(text[:40])!r}")
        return there_s - (began_s + half_s), half_s

    async def set_clock(self, *, early_s: float) -> tuple[int, str]:
        """Send the time so that it arrives at the start of a second; return `date`'s exit status and last line."""
        at_s = math.ceil(time.time() + early_s + 0.05)
        await asyncio.sleep(max(0.0, at_s - early_s - time.time()))
        stamp = datetime.datetime.fromtimestamp(at_s, datetime.UTC).strftime("%m%d%H%M%Y.%S")
        await self._child.write(f"set {at_s} {stamp}\n".encode())
        status, _, said = (await self.answer("set")).partition(" ")
        return int(status) if status.isdecimal() else 1, printable(said[:120])

    async def answer(self, word: str) -> str:
        """The text after `word` in the script's next line with this word.

        Raises:
            CommandFailed: ssh or the guest ended first.
        """
        while self._lines < _LINES_MAX and len(self._buffer) < 64 << 10:
            line, newline, rest = self._buffer.partition(b"\n")
            if not newline:
                more = await self._child.read()
                if not more:
                    status = await self._child.wait()
                    raise CommandFailed(self._argv[:1], status, self._child.complaints)
                self._buffer += more
                continue
            self._buffer, self._lines = rest, self._lines + 1
            said = line.decode(errors="replace").strip()
            if said.startswith(f"{_MARK} {word}"):
                return said.removeprefix(f"{_MARK} {word}").strip()
        raise ProtocolError("the guest sends too much output instead of the time")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
