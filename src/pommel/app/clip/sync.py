"""One clipboard for this desktop and a guest: sync, push, pull, stop, history. Band: app.

Each synced guest has one process (`app.clip.running`), which holds a lock. The functions here are called in other
processes.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from pommel import json_file, locks
from pommel.app import own_process
from pommel.app.clip import control
from pommel.app.clip import history as clip_history
from pommel.app.clip import status as clip_status
from pommel.app.clip.history import HistoryEntry
from pommel.app.clip.options import HAND_OVER_S, ClipOptions
from pommel.app.clip.status import ClipStatus
from pommel.app.clip.target import Guest, find_guest
from pommel.app.workspace import Workspace
from pommel.errors import BusyError, DeadlineError, PommelError, StateError
from pommel.machine.spec import MachineSpec
from pommel.process import Detached
from pommel.progress import Progress, Report, ignore, warn
from pommel.settings import format_size

if TYPE_CHECKING:
    from pommel.app.clip.once import Transferred
START_S = 40.0  # for ssh's connection and the guest's first answer on a slow host
STOP_S = 5.0
_ASK_AGAIN_S = 3.0


def sync(workspace: Workspace, guest: Guest, options: ClipOptions, *, report: Report = ignore) -> ClipStatus:
    """Start a sync in the background. Return its status when it syncs, or when it waits for something.

    Raises:
        BusyError: this guest is synced already; the message has the pid.
        StateError: there is no desktop here.
        PommelError: it ended at once; the message says why.
    """
    from pommel.clipboard.host import find_desktop

    refuse_second(guest)
    find_desktop(workspace.env)
    step = f"connecting to the clipboard of {guest.label}"
    report(Progress(step))
    child = _spawn(workspace, guest, "sync", options)
    try:
        status = _await(guest, child, lambda waited: report(Progress(step, done=waited, unit="s")))
    except BaseException:
        child.kill()
        raise
    finally:
        child.release()
    report(Progress(step, finished=True))
    return status


def refuse_second(guest: Guest) -> None:
    """Refuse a second sync of a guest.

    Raises:
        BusyError: the guest is synced already.
    """
    if (pid := locks.holder(guest.paths.lock)) is not None:
        raise BusyError(
            f"the clipboard of {guest.label} is already synced ({locks.whom(pid)})",
            hint=f"pommel clip status {' '.join(guest.words)}; end it with: pommel clip stop {' '.join(guest.words)}",
        )


def begin_with(workspace: Workspace, spec: MachineSpec, *, report: Report = ignore) -> None:
    """Start a sync that ends with the machine. It does not wait, and an error is only a warning: the start goes on."""
    from pommel.clipboard.host import find_desktop

    try:
        guest = find_guest(workspace, spec.name)
        if locks.holder(guest.paths.lock) is not None:
            return
        find_desktop(workspace.env)
        _spawn(workspace, guest, "sync", ClipOptions(with_machine=True)).release()
    except (PommelError, OSError) as why:
        warn(report, f"the clipboard of {spec.name} is not synced: {why}")


def push(workspace: Workspace, guest: Guest, options: ClipOptions, *, report: Report = ignore) -> str:
    """Copy this desktop's clipboard to the guest's, by the running sync or without one; return what was done, in words.

    Raises:
        StateError: there is nothing that may be sent, or the running sync has no connection.
        PommelError: the guest cannot be reached, or does not accept it.
    """
    if locks.holder(guest.paths.lock) is not None:
        return _ordered(guest, "push")
    from pommel.app.clip import once

    return _moved(asyncio.run(once.push(workspace, guest, options, report)))


def pull(workspace: Workspace, guest: Guest, options: ClipOptions, *, report: Report = ignore) -> str:
    """Copy the guest's clipboard to this desktop's; return what was done, in words. Raises as `push`.

    Without a sync, a small process serves the content until something else is copied.
    """
    if locks.holder(guest.paths.lock) is not None:
        return _ordered(guest, "pull")
    guest.paths.make()
    child = _spawn(workspace, guest, "pull", options)
    try:
        return _await_pulled(guest, child, report)
    except BaseException:
        child.kill()
        raise
    finally:
        child.release()


def pull_here(workspace: Workspace, guest: Guest, options: ClipOptions) -> None:
    """Pull in this process, write the result to a file, and serve the content until the next copy."""
    from pommel.app.clip import once

    def tell(document: dict[str, Any]) -> None:
        json_file.write(guest.paths.pulled, {"pid": os.getpid(), **document})

    try:
        keeping = once.pull_and_keep(
            workspace,
            guest,
            options,
            lambda moved: tell({"told": _moved(moved)}),
            lambda progress: tell({"progress": asdict(progress)}),
        )
        asyncio.run(keeping)
    except PommelError as error:
        tell(control.told_of(error))


def stop(guest: Guest) -> bool:
    """End the sync of a guest; return whether there was one. The guest keeps running."""
    ask = partial(control.order, guest.paths.socket, {"do": "stop"}, timeout_s=STOP_S)
    if own_process.end(guest.paths.lock, within_s=STOP_S, ask=ask):
        return True
    clip_status.forget(guest.paths)  # there is no process: the user has seen the last error, so it is removed
    return False


def running(workspace: Workspace) -> list[Guest]:
    """The guests with a running sync."""
    seen = [status for status in clip_status.all_of(workspace) if status.running]
    return [guest_called(workspace, status) for status in seen]


def guest_called(workspace: Workspace, status: ClipStatus) -> Guest:
    """The guest of a running sync, even if its machine has been renamed or deleted since."""
    return Guest(status.guest, workspace.home.clip(status.key), tuple(status.words), status.keys, "", status.machine)


def history(guest: Guest) -> list[HistoryEntry]:
    """The copies that lost against a simultaneous copy on the other side, the oldest first.

    Raises:
        StateError: this guest is not synced.
    """
    _refuse_none(guest)
    return clip_history.entries_of(control.order(guest.paths.socket, {"do": "history"}))


def history_text(guest: Guest, number: int) -> str:
    """The whole text of entry `number` of the history.

    Raises:
        StateError: this guest is not synced.
        UsageError: there is no such copy, or it has no text.
    """
    _refuse_none(guest)
    return str(control.order(guest.paths.socket, {"do": "history", "entry": number})["text"])


def try_again(guest: Guest) -> None:
    """Make a waiting sync connect now. Nothing happens if there is no sync."""
    if locks.holder(guest.paths.lock) is not None:
        control.order(guest.paths.socket, {"do": "connect"})


def settle(guest: Guest, *, timeout_s: float = START_S) -> None:
    """Make a waiting sync connect now, and wait until it has connected. Nothing happens if there is no sync."""
    until, asked = time.monotonic() + timeout_s, 0.0
    while locks.holder(guest.paths.lock) is not None and (now := time.monotonic()) < until:
        if clip_status.look(guest.paths, guest.label).state not in ("connecting", "guest asleep"):
            return
        if now - asked >= _ASK_AGAIN_S:
            asked = now
            try_again(guest)
        time.sleep(0.1)


def _refuse_none(guest: Guest) -> None:
    if locks.holder(guest.paths.lock) is None:
        raise StateError(
            f"the clipboard of {guest.label} is not synced", hint=f"pommel clip sync {' '.join(guest.words)}"
        )


def _ordered(guest: Guest, way: str) -> str:
    told = control.order(guest.paths.socket, {"do": way}, timeout_s=HAND_OVER_S + 5)
    return "by the running sync" if told["moved"] else "both sides already have it"


def _moved(moved: Transferred) -> str:
    if moved.files:
        return f"{moved.files} file{'' if moved.files == 1 else 's'}, {format_size(moved.size_bytes)}"
    words = {"text/plain;charset=utf-8": "text", "text/html": "HTML", "text/rtf": "RTF"}
    kinds = dict.fromkeys(words.get(form, "a picture") for form in moved.forms)
    return f"{', '.join(kinds)}, {moved.size_bytes} bytes"


def _spawn(workspace: Workspace, guest: Guest, verb: str, options: ClipOptions) -> Detached:
    workspace.mark()
    guest.paths.make()
    words = ["clip", verb, "--serve", json.dumps(asdict(options)), *guest.words]
    words += ["--accept-new"] if guest.accept_new else []
    return own_process.spawn(workspace, *words, log=guest.paths.log)


def _await(guest: Guest, child: Detached, tick: Callable[[float], None]) -> ClipStatus:
    """Wait until a sync that was just started has left the state "connecting"."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < START_S:
        status = clip_status.look(guest.paths, guest.label)
        if status.pid == child.pid and status.state != "connecting":
            return status
        if child.exit_status() is not None:
            refuse_second(guest)  # another command started a sync at the same time
            raise _failure(guest, clip_status.look(guest.paths, guest.label))
        tick(waited)
        time.sleep(0.02)
    return clip_status.look(guest.paths, guest.label)


def _failure(guest: Guest, status: ClipStatus) -> PommelError:
    if status.why:
        return StateError(status.why, hint=status.hint)
    return PommelError(f"the sync of {guest.label} ended at once", hint=f"look at {guest.paths.log}")


def _await_pulled(guest: Guest, child: Detached, report: Report) -> str:
    heard: dict[str, Any] = {}
    deadline = time.monotonic() + HAND_OVER_S + START_S
    while time.monotonic() < deadline:
        gone = child.exit_status() is not None
        told = _told_by(guest, child)
        if "progress" in told and told != heard:
            report(Progress(**told["progress"]))
            heard, deadline = told, time.monotonic() + HAND_OVER_S
        elif told and "progress" not in told:
            guest.paths.pulled.unlink(missing_ok=True)
            return str(control.answer_of(told)["told"])
        elif gone:
            raise PommelError(f"the pull from {guest.label} ended at once", hint=f"look at {guest.paths.log}")
        time.sleep(0.02)
    raise DeadlineError(f"{guest.label} did not send its clipboard in time", hint=f"look at {guest.paths.log}")


def _told_by(guest: Guest, child: Detached) -> dict[str, Any]:
    """The result file of the process `child`; {}: nothing yet, or the file is from another process."""
    told = json_file.read_object(guest.paths.pulled)
    return told if told.get("pid") == child.pid else {}
