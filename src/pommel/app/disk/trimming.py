"""Free unused space of a running machine's disk: the guest trims, and QEMU punches holes into the file. Band: app.

The guest's `fstrim` says which blocks are unused. Pommel's disks have `discard=unmap`, so QEMU frees these blocks in
the qcow2 and on the host at once. Nothing is copied, so no extra space is needed. Snapshots stay, and dirty bitmaps
record the trim like any write. A kill at any time leaves a good disk that is trimmed in part.

Not done: to rewrite the disk under a running guest (`blockdev-mirror` and a pivot). That needs the space a second time,
and the copy has no snapshots and no bitmaps.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from pommel import locks
from pommel.app.guest import root as guest_root
from pommel.app.workspace import Workspace
from pommel.child import running
from pommel.errors import CommandFailed, DeadlineError, NotPermitted, PommelError, StateError
from pommel.foreign import printable
from pommel.machine import disk, state, trims
from pommel.machine.copying import Compacted
from pommel.machine.runstate import MachineState
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report, ignore, note
from pommel.ssh import ssh_argv
from pommel.tasks import start_task

_POLL_S = 0.5
# far more than a trim takes; without a limit, a guest that stops answering would block the command
_MOST_S = 3600.0
_LINES_MAX = 64 << 10  # bytes; the guest is not trusted to stop writing
_MARK = "pommel-trim"
_SCRIPT = f"""
{guest_root.PATHS}
{guest_root.AS_ROOT}
work() {{
    case $(uname -s) in Linux) ;; *) echo "{_MARK} system $(uname -s)"; return ;; esac
    command -v fstrim >/dev/null || {{ echo "{_MARK} lacks fstrim"; return; }}
    said=$(as_root fstrim -a -v 2>&1)
    status=$?
    echo "$said"
    echo "{_MARK} status $status"
}}
work </dev/null
"""


def why_not(paths: MachinePaths, path: Path) -> StateError | None:
    """Why the disk `path` of the running machine cannot be trimmed now; None: no reason is known on this side."""
    seen = state.observe(paths, ask_s=1.0)
    if seen.state is MachineState.PAUSED:
        why = seen.detail or "its vCPUs are paused"
        return StateError(f"{paths.name} cannot trim: {why}", hint=f"pommel resume {paths.name}")
    if seen.pid is None:
        return None
    file = os.path.realpath(path)
    told = trims.refusal(_argv(seen.pid), lambda name: os.path.realpath(paths.directory / name) == file)
    if told is None:
        return None
    anew = f"pommel stop {paths.name}, then: pommel disk compact {paths.name}"
    return StateError(f"{path.name} of {paths.name} cannot shrink while it runs: {told}", hint=anew)


def trim(workspace: Workspace, paths: MachinePaths, path: Path, *, report: Report = ignore) -> Compacted:
    """Make the guest of the running machine trim all its file systems.

    Return the size of the disk `path` before and after.

    Raises:
        StateError: it is paused, its QEMU ignores trims, or its guest has no command for it.
        NotPermitted: the SSH user of the guest may not call `fstrim` as root.
        CommandFailed, DeadlineError: the guest cannot be reached, or its `fstrim` fails.
    """
    if (refusal := why_not(paths, path)) is not None:
        raise refusal
    from pommel.app.machine import waiting  # with numpy, for pictures, which most work on disks does without

    waiting.for_guest(workspace, paths.name, report=report)
    before = _bytes(path)
    said = asyncio.run(_in_guest(workspace, paths, path, before, report))
    _judge(workspace, paths, said)
    after = _bytes(path)
    report(Progress("trim", f"{path.name} now uses only what its guest uses", finished=True))
    if kept := disk.header(path).snapshots if _is_qcow2(path) else 0:
        note(report, f"{path.name} contains {kept} snapshot{'s'[: kept > 1]}: data that they contain stays")
    return Compacted(before, after, "trim")


async def _in_guest(workspace: Workspace, paths: MachinePaths, path: Path, before: int, report: Report) -> str:
    argv = ssh_argv(guest_root.target(workspace, paths.name), ["sh", "-s"], batch=True, shared={"ControlPath": "none"})
    out = b""
    try:
        async with asyncio.timeout(_MOST_S), running(argv) as child:
            with contextlib.suppress(ConnectionError):  # ssh ended without reading the script; its exit status says why
                await child.write(_SCRIPT.encode())
            child.close_input()
            reading = start_task(child.read())
            try:
                while True:
                    done, _ = await asyncio.wait({reading}, timeout=_POLL_S)
                    freed = max(0, before - _bytes(path))
                    report(Progress("trim", f"the guest of {paths.name} trims", freed, before, "B"))
                    if not done:
                        continue
                    if not (part := reading.result()) or len(out) > _LINES_MAX:
                        break
                    out += part
                    reading = start_task(child.read())
            finally:
                reading.cancel()
            # ssh itself exits with 255; other values come from the guest, and `_judge` reads them.
            if (status := await child.wait()) == 255:
                raise CommandFailed(argv[:1], status, child.complaints)
    except TimeoutError:
        raise DeadlineError(f"the guest of {paths.name} has not trimmed its disks in {_MOST_S:.0f} s") from None
    return out.decode(errors="replace")


def _judge(workspace: Workspace, paths: MachinePaths, said: str) -> None:
    """Raise the error for the guest's answer, if it is not a success."""
    lines = [printable(line.strip()[:200]) for line in said.splitlines() if line.strip()]
    answer = next((line.removeprefix(_MARK).split() for line in reversed(lines) if line.startswith(_MARK)), [])
    anew = f"pommel stop {paths.name}, then: pommel disk compact {paths.name}"
    match answer:
        case ["status", "0"]:
            return
        case ["system", system]:
            own = "macOS trims automatically (sudo trimforce enable), and has no command for it"
            why = own if system == "Darwin" else f"Pommel does not know how to trim {system}"
            raise StateError(f"{paths.name}: {why}", hint=anew)
        case ["lacks", program]:
            raise StateError(f"the guest of {paths.name} has no {program}", hint=f"install it there; or {anew}")
    words = next((line for line in reversed(lines) if not line.startswith(_MARK)), "it gives no reason")
    if "sudo" in words or "not permitted" in words.lower() or "permission denied" in words.lower():
        hint = guest_root.leave(workspace, paths.name, "trim", ["/usr/sbin/fstrim", "/sbin/fstrim"])
        raise NotPermitted(f"trimming needs root in the guest of {paths.name} ({words})", hint=f"{hint}; or {anew}")
    raise StateError(f"the guest of {paths.name} could not trim: {words}", hint=anew)


def _argv(pid: int) -> list[str]:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return []
    return [os.fsdecode(word) for word in words]


def _bytes(path: Path) -> int:
    return path.stat().st_blocks * 512  # the space on the host: unlike st_size, it does not count holes


def _is_qcow2(path: Path) -> bool:
    with contextlib.suppress(PommelError, OSError, ValueError):
        disk.header(path)
        return True
    return False


def runs(paths: MachinePaths) -> bool:
    """Whether a QEMU has the machine's disks open."""
    return locks.holder(paths.pidfile) is not None
