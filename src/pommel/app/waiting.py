"""Waiting until a machine is as far as somebody wants it: its screen, its SSH, its desktop. Band: app.

Everybody who waits for a guest does it here. What ends a wait, `desktop_signs` decides; here its signs are gathered:
the machine is glanced at by QMP, and its guest asked over SSH, until it is so far, time is up, or it has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from pommel.app import guest, guest_answer, power
from pommel.app.desktop_signs import Case, Signs, Until, judge
from pommel.app.guest_answer import Answer, Heard
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import AddressError, DeadlineError, MachineError, PommelError, StateError, UsageError
from pommel.machine import installation, lifecycle, logs, record, state
from pommel.machine.glance import glance
from pommel.machine.kernel_words import KernelWords
from pommel.machine.runstate import State, read_status
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report, ignore, note, warn
from pommel.screen.sights import Watched, look_at, parse_ppm
from pommel.tasks import background

__all__ = ["Until", "Waited", "for_guest", "try_wait", "wait", "wait_ssh"]

# From power-on. A machine that has been up for longer has had its time: what is not there now will hardly come.
TIMEOUT_S = {Until.SCREEN: 120.0, Until.SSH: 300.0, Until.DESKTOP: 300.0}
_AT_LEAST_S = 20.0
_LOOK_S, _TICK_S = 0.5, 0.25
_LOOK_MAX_S = (
    10.0  # of one look: a QEMU that does not answer must hold up neither the end of the wait nor what it is for
)
# A login costs an emulated guest a second. One that is refused is not worth much, and too many make sshd refuse us all.
_AGAIN_S = {Answer.SILENT: 0.7, Answer.LETS_IN: 2.0, Answer.REFUSES: 20.0, Answer.NO_WAY: 0.0}
_LET_IN = "let-in"  # beside the machine's sockets
_PAUSED_S = 3.0  # a snapshot holds a guest for a moment
_QUIET_S = 3.0  # a guest that answers has done so by then, and there is nothing to say
_STEPS = {Until.SCREEN: "the screen", Until.SSH: "SSH", Until.DESKTOP: "the desktop"}


@dataclass(frozen=True, slots=True)
class Waited:
    """How a wait ended: what was seen, whether that is known or inferred, and how many seconds it took.

    `short`: what was waited for will not come, or cannot be told, and something less was taken for it.
    """

    until: Until
    seen: str
    known: bool
    short: bool
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        return asdict(self)


def wait(
    name: str,
    until: Until | str,
    *,
    timeout_s: float | None = None,
    patient: bool = True,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> Waited:
    """Wait until the running machine `name` shows its screen, answers SSH, or has its desktop ("screen", "ssh", …).

    Without `timeout_s` it has two minutes from power-on for its screen, five for all else, and 20 s from now at least.
    Unless `patient`, a picture that stands still ends a wait for a desktop too, as it may want a key. Ctrl-C ends the
    wait, and leaves the machine as it is.

    Raises:
        UsageError: there is nothing called `until` to wait for.
        StateError: it is not running, is suspended, or has no network to answer SSH on.
        MachineError: it ended meanwhile, or its kernel said on the serial port that it cannot go on; the message says
            how, with the last lines of its log.
        DeadlineError: it was not so far in time; the message says what was seen last.
    """
    workspace = workspace or Workspace.current()
    paths, until = workspace.made(name), _until(until)
    if not (seen := state.observe(paths)).alive:
        raise _ended(paths) if seen.state is State.CRASHED else _not_running(name)
    case = Case(until, *_kind(workspace, paths, until), patient=patient)
    step = f"waiting for {_STEPS[until]} of {name}"
    with _step(step, report, at_once=True) as said:
        wait_s = _time_left(paths, until) if timeout_s is None else timeout_s
        waited = _run(_Wait(workspace, paths, case, step, said), wait_s)
    if not waited.known or waited.short:
        how = "" if waited.known else " (inferred: its guest does not report it)"
        note(report, f"{name}: {waited.seen}{how}")
    return waited


def try_wait(
    name: str,
    until: Until | str,
    *,
    timeout_s: float | None = None,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> Waited | None:
    """The same for who only wishes to know: what does not come is told as a warning, and is None. Not patient.

    Raises:
        MachineError: it ended meanwhile.
    """
    try:
        return wait(name, until, timeout_s=timeout_s, patient=False, workspace=workspace, report=report)
    except (StateError, DeadlineError) as failure:
        warn(report, failure.message)
        return None


def wait_ssh(
    name: str, *, workspace: Workspace | None = None, timeout_s: float | None = None, report: Report = ignore
) -> None:
    """Wait until the guest of machine `name` answers SSH. Raises as `wait`."""
    wait(name, Until.SSH, workspace=workspace, timeout_s=timeout_s, report=report)


def for_guest(workspace: Workspace, name: str, *, timeout_s: float | None = None, report: Report = ignore) -> None:
    """Before a call over SSH: wait for a guest that is just coming up. Says nothing when it is there, and costs little.

    Raises:
        StateError, MachineError, DeadlineError: as `wait`.
    """
    with contextlib.suppress(AddressError):  # the host will know it once the guest has asked for one
        guest.ssh_target(workspace, name)
    paths = workspace.paths(name)
    # One that has let us in, or has been up for long, is not logged into first: a login takes it a second or more.
    young = _uptime_s(paths) < TIMEOUT_S[Until.SSH] and not _has_let_in(paths)
    step = f"waiting for {name} to answer SSH"
    with _step(step, report, at_once=False) as said:
        wait_s = _time_left(paths, Until.SSH) if timeout_s is None else timeout_s
        _run(_Wait(workspace, paths, Case(Until.SSH), step, said, login=young), wait_s)


class _CalledOff(Exception):
    """Whoever is told of progress calls the wait off, by what it raised; a loop would complain of that one itself."""

    def __init__(self, by: KeyboardInterrupt) -> None:
        super().__init__()
        self.by = by


def _run(waiting: _Wait, timeout_s: float) -> Waited:
    try:
        return asyncio.run(waiting.run(timeout_s))
    except _CalledOff as off:
        raise off.by from None


class _Wait:
    """One wait: gathers signs until they are judged to be enough."""

    def __init__(
        self, workspace: Workspace, paths: MachinePaths, case: Case, step: str, report: Report, *, login: bool = True
    ) -> None:
        self._workspace, self._paths, self._case = workspace, paths, case
        self._step, self._report, self._login = step, report, login
        self._screen, self._signs = Watched(), Signs()
        self._told_at = self._paused_at = 0.0
        self._no_way: StateError | None = None
        self._serial, self._kernel = logs.Serial(paths), KernelWords()
        self._kernel.hear_of_before(self._serial.before)
        self._news = asyncio.Event()  # the guest has answered something else than before

    async def run(self, timeout_s: float) -> Waited:
        began = time.monotonic()
        async with self._asking() as asking:
            while True:
                waited = time.monotonic() - began
                if self._case.until is not Until.SSH or waited >= _QUIET_S:
                    await self._look(max(_LOOK_S, timeout_s - waited))
                if asking is not None and asking.done():
                    asking.result()  # raises what went wrong with it
                if (verdict := judge(self._signs, self._case)) is not None:
                    if self._login and self._signs.heard.answer is Answer.LETS_IN:
                        _note_let_in(self._paths)
                    took_s = round(time.monotonic() - began, 1)
                    return Waited(self._case.until, verdict.seen, verdict.known, verdict.short, took_s)
                self._must_go_on(timeout_s, waited)
                await self._pass_time(began, timeout_s)

    def _must_go_on(self, timeout_s: float, waited: float) -> None:
        """Raise what makes the wait pointless."""
        name, what = self._paths.name, _STEPS[self._case.until]
        if not state.observe(self._paths).alive:
            raise _ended(self._paths)
        if self._no_way is not None and self._case.until is Until.SSH:
            raise self._no_way
        if self._paused_at and time.monotonic() - self._paused_at > _PAUSED_S:
            raise StateError(f"{name} is suspended, so {what} will not come", hint=f"pommel resume {name}")
        self._kernel.hear(self._serial.read())
        if self._kernel.end and self._case.until is not Until.SCREEN:
            raise MachineError(
                f"{what} of {name} will not come: its kernel reports on the serial port: {self._kernel.end}",
                hint=f"start it again: pommel restart {name} --force; to read its whole log: pommel log {name}",
            )
        if waited >= timeout_s:
            raise DeadlineError(
                f"{what} of {name} did not come in {timeout_s:.0f} s; last seen: {self._signs}",
                hint=f"to see its screen: pommel console {name}",
            )

    async def _pass_time(self, began: float, timeout_s: float) -> None:
        until = time.monotonic() + _LOOK_S
        while (now := time.monotonic()) < until and not self._news.is_set():
            try:
                self._report(Progress(self._step, str(self._signs), now - began, timeout_s, "s"))
            except KeyboardInterrupt as by:
                raise _CalledOff(by) from None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._news.wait()
        self._news.clear()

    async def _look(self, within_s: float) -> None:
        """Take one look at the machine, if its QEMU has time for it."""
        now = time.monotonic()
        with contextlib.suppress(PommelError, TimeoutError):  # busy, or gone: the next look tells
            async with asyncio.timeout(min(within_s, _LOOK_MAX_S)):
                seen = await glance(self._paths)
            frame = parse_ppm(seen.picture) if seen.picture is not None else None
            if frame is not None:
                self._screen.see(now, look_at(frame, self._screen.now))
            held = read_status(seen.status)[0] is State.PAUSED
            begun = state.observe(self._paths).state is not State.STARTING  # one that wakes up is held for a while
            self._paused_at = (self._paused_at or now) if held and begun else 0.0
            self._signs = replace(
                self._signs,
                sight=self._screen.now,
                still_s=self._screen.still_s(now),
                changed=self._screen.changed,
                driven=seen.driven,
            )
        self._signs = replace(self._signs, told_s=now - self._told_at if self._told_at else 0.0)

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[asyncio.Task[None] | None]:
        """Have the guest asked over SSH for as long as the block takes."""
        if self._case.until is Until.SCREEN:
            yield None
            return
        async with background(self._ask()) as (asking,):
            yield asking

    async def _ask(self) -> None:
        script = guest_answer.DESKTOP if self._case.until is Until.DESKTOP else guest_answer.NOTHING
        async with contextlib.aclosing(guest_answer.Asking()) as asking:
            while self._no_way is None:
                heard = await self._heard(asking, script)
                before = self._signs.heard
                if (heard.answer, heard.desktop) != (before.answer, before.desktop):
                    self._told_at = time.monotonic()
                    self._news.set()
                self._signs = replace(self._signs, heard=heard)
                await asyncio.sleep(_AGAIN_S[heard.answer])

    async def _heard(self, asking: guest_answer.Asking, script: str) -> Heard:
        try:
            target = guest.ssh_target(self._workspace, self._paths.name)
            if self._login:
                return await asking.ask(target, script)
            return Heard(Answer.LETS_IN if await asking.knock(target.host, target.port) else Answer.SILENT)
        except AddressError as unknown:  # until its guest has asked for one
            return Heard(Answer.SILENT, unknown.message)
        except StateError as no_way:
            self._no_way = no_way
            return Heard(Answer.NO_WAY, no_way.message)


@contextlib.contextmanager
def _step(step: str, report: Report, *, at_once: bool) -> Iterator[Report]:
    """Report a step; one that is not told `at_once` is told when it has lasted for a while."""
    began, told = time.monotonic(), False

    def tell(event: Progress) -> None:
        nonlocal told
        if told or at_once or time.monotonic() - began >= _QUIET_S:
            told = True
            report(event)

    if at_once:
        tell(Progress(step, unit="s"))
    yield tell
    if told:
        report(Progress(step, unit="s", finished=True))


def _note_let_in(paths: MachinePaths) -> None:
    """Keep, for as long as this QEMU lives, that its guest has let us in."""
    with contextlib.suppress(OSError):  # it saves a second, no more
        (paths.runtime / _LET_IN).write_text(str(state.observe(paths).pid))


def _has_let_in(paths: MachinePaths) -> bool:
    with contextlib.suppress(OSError):
        return (paths.runtime / _LET_IN).read_text() == str(state.observe(paths).pid)
    return False


def _until(word: Until | str) -> Until:
    try:
        return Until(word)
    except ValueError:
        raise UsageError(f"it is not possible to wait for {str(word)!r}", hint=f"one of {', '.join(Until)}") from None


def _not_running(name: str) -> StateError:
    return StateError(f"{name} is not running", hint=f"pommel start {name}")


def _ended(paths: MachinePaths) -> MachineError:
    how = lifecycle.how_it_ended(paths)
    said = logs.tail(paths, 10)
    return MachineError(
        f"{paths.name} ended while Pommel waited for it: {how.detail}" + (f"\n{said}" if said else ""),
        hint=f"pommel log {paths.name}",
    )


def _kind(workspace: Workspace, paths: MachinePaths, until: Until) -> tuple[bool, bool]:
    """Whether its guest tells of its desktop for sure, and whether it has an installer and nothing else."""
    if until is not Until.DESKTOP:
        return False, False
    kept, asked = record.load(paths.record), power.last_choice(paths).installer
    macos = kept.macos is not None and not installation.installed(paths, kept)[0]
    says = workspace.spec(paths.name).upstream == TRIAL
    return says, not says and (asked == "yes" or (asked == "auto" and macos))


def _uptime_s(paths: MachinePaths) -> float:
    return state.observe(paths).uptime_s or 0.0


def _time_left(paths: MachinePaths, until: Until) -> float:
    return max(_AT_LEAST_S, TIMEOUT_S[until] - _uptime_s(paths))
