"""Wait until a machine shows its screen, answers SSH, or has its desktop. Band: app.

All waits for a guest use this module. It collects the signs: QMP shows the machine's state and picture, and the guest
is asked over SSH. `desktop_signs` decides from these whether the wait is over. A wait also ends at its time limit, and
when the machine ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from pommel.app.guest import answer as guest_answer
from pommel.app.guest import shell as guest
from pommel.app.guest.answer import GuestAnswer, SshOutcome
from pommel.app.machine import power
from pommel.app.machine.desktop_signs import Case, DesktopSigns, Until, judge
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import AddressError, DeadlineError, MachineError, PommelError, StateError, UsageError
from pommel.machine import installation, lifecycle, logs, record, state
from pommel.machine.glance import glance
from pommel.machine.kernel_words import KernelWords
from pommel.machine.runstate import MachineState, read_status
from pommel.paths import MachinePaths, write_atomic
from pommel.progress import Progress, Report, ignore, note, warn
from pommel.screen.sights import WatchedScreen, look_at, parse_ppm
from pommel.tasks import background

__all__ = ["Until", "Waited", "ended", "for_guest", "must_run", "try_wait", "wait", "wait_ssh"]

# Seconds from power-on, not from the call: a machine that has been up for longer will hardly reach the goal any more.
TIMEOUT_S = {Until.SCREEN: 120.0, Until.SSH: 300.0, Until.DESKTOP: 300.0}
_AT_LEAST_S = 20.0
_LOOK_S, _TICK_S = 0.5, 0.25
# For one look: a QEMU that does not answer must not delay the wait's limit or the SSH answer.
_LOOK_MAX_S = 10.0
# Seconds between two logins, which take an emulated guest a second each. After a refusal the pause is long: too many
# refused logins make sshd drop all connections (MaxStartups).
_AGAIN_S = {SshOutcome.SILENT: 0.7, SshOutcome.LETS_IN: 2.0, SshOutcome.REFUSES: 20.0, SshOutcome.NO_WAY: 0.0}
_LET_IN = "let-in"  # a file beside the machine's sockets: a login has worked since this QEMU started
_PAUSED_S = 3.0  # a shorter pause may be a snapshot, and ends by itself
_QUIET_S = 3.0  # a guest that is up has answered by then, so a shorter wait reports no progress
_STEPS = {Until.SCREEN: "the screen", Until.SSH: "SSH", Until.DESKTOP: "the desktop"}


@dataclass(frozen=True, slots=True)
class Waited:
    """The result of a wait: what was seen, whether that is known or inferred, and the seconds that it took.

    `short`: the goal will not be reached or cannot be recognised, and something less ended the wait.
    """

    until: str  # an `Until`, or another goal, such as "port 80"
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

    Without `timeout_s`, the limit is two minutes from power-on for the screen and five for the others, but at least
    20 s from now. Without `patient`, a still picture also ends a wait for the desktop, because it may be a prompt for a
    key. Ctrl-C ends only the wait; the machine keeps running.

    Raises:
        UsageError: `until` is not a valid goal.
        StateError: it is not running, is paused, or has no network for SSH.
        MachineError: it ended meanwhile, or its kernel reported a fatal error on the serial port; the message has the
            last lines of its log.
        DeadlineError: the goal was not reached in time; the message says what was seen last.
    """
    workspace = workspace or Workspace.current()
    until = _until(until)
    paths = must_run(workspace, name)
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
    """As `wait`, not patient; but if the goal is not reached, that is a warning, and the result is None.

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
    """Before a call over SSH: wait for a guest that is just starting. If it is up, this is quick and reports nothing.

    Raises:
        StateError, MachineError, DeadlineError: as `wait`.
    """
    with contextlib.suppress(AddressError):  # its address is unknown until the guest has sent packets
        guest.ssh_target(workspace, name)
    paths = workspace.paths(name)
    # After an earlier login, or a long uptime, the banner is enough: a login would take a second or more.
    young = _uptime_s(paths) < TIMEOUT_S[Until.SSH] and not _has_let_in(paths)
    step = f"waiting for {name} to answer SSH"
    with _step(step, report, at_once=False) as said:
        wait_s = _time_left(paths, Until.SSH) if timeout_s is None else timeout_s
        _run(_Wait(workspace, paths, Case(Until.SSH), step, said, login=young), wait_s)


class _CalledOff(Exception):
    """Carries a KeyboardInterrupt from the progress callback out of the event loop, which would report it itself."""

    def __init__(self, by: KeyboardInterrupt) -> None:
        super().__init__()
        self.by = by


def _run(waiting: _Wait, timeout_s: float) -> Waited:
    try:
        return asyncio.run(waiting.run(timeout_s))
    except _CalledOff as off:
        raise off.by from None


class _Wait:
    """One wait: collects signs until `judge` ends it."""

    def __init__(
        self, workspace: Workspace, paths: MachinePaths, case: Case, step: str, report: Report, *, login: bool = True
    ) -> None:
        self._workspace, self._paths, self._case = workspace, paths, case
        self._step, self._report, self._login = step, report, login
        self._screen, self._signs = WatchedScreen(), DesktopSigns()
        self._told_at = self._paused_at = 0.0
        self._no_way: StateError | None = None
        self._serial, self._kernel = logs.Serial(paths), KernelWords()
        self._kernel.hear_of_before(self._serial.before)
        self._news = asyncio.Event()  # the guest's answer has changed

    async def run(self, timeout_s: float) -> Waited:
        began = time.monotonic()
        async with self._asking() as asking:
            while True:
                waited = time.monotonic() - began
                if self._case.until is not Until.SSH or waited >= _QUIET_S:
                    await self._look(max(_LOOK_S, timeout_s - waited))
                if asking is not None and asking.done():
                    asking.result()  # raises its error
                if (verdict := judge(self._signs, self._case)) is not None:
                    if self._login and self._signs.heard.answer is SshOutcome.LETS_IN:
                        _note_let_in(self._paths)
                    took_s = round(time.monotonic() - began, 1)
                    return Waited(self._case.until, verdict.seen, verdict.known, verdict.short, took_s)
                self._must_go_on(timeout_s, waited)
                await self._pass_time(began, timeout_s)

    def _must_go_on(self, timeout_s: float, waited: float) -> None:
        """Raise an error if the goal cannot be reached any more, or the time is over."""
        name, what = self._paths.name, _STEPS[self._case.until]
        if not state.observe(self._paths).alive:
            raise ended(self._paths)
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
        """Look at the machine once, by QMP, if its QEMU answers in time."""
        now = time.monotonic()
        with contextlib.suppress(PommelError, TimeoutError):  # QEMU is busy or gone: the next look shows which
            async with asyncio.timeout(min(within_s, _LOOK_MAX_S)):
                seen = await glance(self._paths)
            frame = parse_ppm(seen.picture) if seen.picture is not None else None
            if frame is not None:
                self._screen.see(now, look_at(frame, self._screen.now))
            held = read_status(seen.status)[0] is MachineState.PAUSED
            # While a machine wakes up, its vCPUs are paused until its memory is loaded: that is no suspension.
            begun = state.observe(self._paths).state is not MachineState.STARTING
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
        """Ask the guest over SSH repeatedly during the block."""
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

    async def _heard(self, asking: guest_answer.Asking, script: str) -> GuestAnswer:
        try:
            target = guest.ssh_target(self._workspace, self._paths.name)
            if self._login:
                return await asking.ask(target, script)
            return GuestAnswer(
                SshOutcome.LETS_IN if await asking.knock(target.host, target.port) else SshOutcome.SILENT
            )
        except AddressError as unknown:  # its address is unknown until the guest has sent packets
            return GuestAnswer(SshOutcome.SILENT, unknown.message)
        except StateError as no_way:
            self._no_way = no_way
            return GuestAnswer(SshOutcome.NO_WAY, no_way.message)


@contextlib.contextmanager
def _step(step: str, report: Report, *, at_once: bool) -> Iterator[Report]:
    """Yield a report function for a step. Without `at_once`, nothing is reported in the first `_QUIET_S`."""
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
    """Record that a login in the guest has worked; valid for this QEMU's pid only."""
    with contextlib.suppress(OSError):  # it only saves a second later
        write_atomic(paths.runtime / _LET_IN, str(state.observe(paths).pid))


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


def must_run(workspace: Workspace, name: str) -> MachinePaths:
    """The paths of machine `name`, after a check that it runs.

    Raises:
        StateError: it is not, or has not been made.
        MachineError: it crashed.
    """
    paths = workspace.made(name)
    if not (seen := state.observe(paths)).alive:
        raise ended(paths) if seen.state is MachineState.CRASHED else _not_running(name)
    return paths


def ended(paths: MachinePaths) -> MachineError:
    """The error for a machine that has ended, with the last lines of its log."""
    how = lifecycle.how_it_ended(paths)
    said = logs.tail(paths, 10)
    return MachineError(
        f"{paths.name} ended while Pommel waited for it: {how.detail}" + (f"\n{said}" if said else ""),
        hint=f"pommel log {paths.name}",
    )


def _kind(workspace: Workspace, paths: MachinePaths, until: Until) -> tuple[bool, bool]:
    """Whether the guest surely reports its desktop, and whether the machine has only an installer."""
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
