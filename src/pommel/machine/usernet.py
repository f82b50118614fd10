"""The forwards of a running QEMU's user-mode networks: lists, adds and removes them. Band: shell.

QEMU has no QMP command for them: its human monitor is used through QMP, and answers in text, also with an error.
"""

from __future__ import annotations

from pommel.errors import MachineError
from pommel.machine import qmp
from pommel.machine.forwards import Forward, parse_usernet
from pommel.paths import MachinePaths

_ASK_S = 5.0


def look(paths: MachinePaths) -> dict[str, tuple[Forward, ...]]:
    """The forwards of each user-mode network, by its id; other networks are left out.

    Raises:
        StateError, MachineError, DeadlineError: QEMU cannot be asked.
    """
    return parse_usernet(_ask(paths, "info usernet"))


def add(paths: MachinePaths, network: str, forward: Forward) -> None:
    """Add a forward to the network `network`; it works at the return.

    Raises:
        MachineError: QEMU refuses it; the message is QEMU's.
        StateError, DeadlineError: QEMU cannot be asked.
    """
    if said := _ask(paths, f"hostfwd_add {network} {forward.hostfwd}").strip():
        raise MachineError(f"QEMU does not accept the forward {forward}: {said}")


def remove(paths: MachinePaths, network: str, forward: Forward) -> None:
    """Remove a forward from the network `network`. Existing connections stay open.

    Raises:
        MachineError: QEMU refuses it; the message is QEMU's.
        StateError, DeadlineError: QEMU cannot be asked.
    """
    said = _ask(paths, f"hostfwd_remove {network} {forward.source}").strip()
    if not said.endswith(("removed", "not found")):
        raise MachineError(f"QEMU does not remove the forward {forward}: {said}")


def _ask(paths: MachinePaths, line: str) -> str:
    async def ask(monitor: qmp.Qmp) -> str:
        return str(await monitor.execute("human-monitor-command", {"command-line": line}))

    return qmp.run(qmp.within(paths.qmp, _ASK_S, ask))
