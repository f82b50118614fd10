"""Add and remove a machine's forwards: in the running QEMU, and in a file for its next starts. Band: app.

QEMU comes first, and the file after it. So a killed command never stores a forward that QEMU has refused, which would
hinder the next start. It may leave a forward that works until the machine stops; the same command again stores it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pommel.app.network import forwards as ways
from pommel.app.network import reach
from pommel.app.workspace import Workspace
from pommel.errors import MachineError, StateError, UsageError
from pommel.host import qemu_binary
from pommel.machine import added, record, state, usernet
from pommel.machine.exclusive import serialised
from pommel.machine.forwards import LOOPBACK, Forward, Reverse, parse_forward, parse_reverse
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore, note

_LOCK_WAIT_S = 30.0  # enough for a running start or stop to finish


def add(
    name: str,
    texts: Sequence[str],
    *,
    once: bool = False,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> ways.Ways:
    """Forward ports of this host to machine `name`: now if it runs, and at each start unless `once`.

    Raises:
        UsageError: a text is not a forward, or a port is the machine's SSH port.
        StateError: it has not been made; or with `once`: it does not run, or its network has no forwards.
        MachineError: a port is in use, or QEMU refuses; the forwards before it in `texts` stay.
    """
    workspace = workspace or Workspace.current()
    paths, wanted = workspace.made(name), [_forward(text) for text in texts]
    with serialised(paths, wait_s=_LOCK_WAIT_S):
        for each in wanted:
            _refuse_own(workspace, name, each)
            _put(workspace, name, each, once=once, report=report)
            kept = added.load(paths)
            if not once and each not in kept.forwards and not _is_set(workspace, name, each):
                added.save(paths, replace(kept, forwards=(*kept.forwards, each)))
    return ways.listed(name, workspace=workspace)


def remove(
    name: str,
    texts: Sequence[str],
    *,
    once: bool = False,
    workspace: Workspace | None = None,
) -> ways.Ways:
    """Remove forwards: now if the machine runs, and for all later starts. With `once`, the next start has them again.

    Raises:
        UsageError: a text is not a forward; or it is in the settings or the boot script, without `once`.
        StateError: the machine has no such forward.
    """
    workspace = workspace or Workspace.current()
    paths, wanted = workspace.made(name), [_forward(text) for text in texts]
    with serialised(paths, wait_s=_LOCK_WAIT_S):
        for each in wanted:
            there = _must_have(ways.listed(name, workspace=workspace), each)
            if there.origin == ways.SSH:
                raise UsageError(
                    f"forward {each} is used by {name} for SSH", hint="change the port for SSH with ssh_port"
                )
            if there.origin in (ways.SETTINGS, ways.SCRIPT) and not once:
                raise _stands(name, f"forward {each}", there.origin, each, runs=there.live)
            if there.live:
                _take(paths, each)
            kept = added.load(paths)
            if not once and each in kept.forwards:
                added.save(paths, replace(kept, forwards=tuple(f for f in kept.forwards if f != each)))
    return ways.listed(name, workspace=workspace)


def add_reverse(
    name: str, texts: Sequence[str], *, workspace: Workspace | None = None, report: Report = ignore
) -> ways.Ways:
    """Let the guest of machine `name` reach services of this host, at each start.

    QEMU can open a new port for the guest only when it starts. The target of an open port changes at once.

    Raises:
        UsageError: a text is not a reverse forward.
        StateError: it has not been made, or the setting `reverse` uses that port.
    """
    workspace = workspace or Workspace.current()
    paths, wanted = workspace.made(name), [_reverse(text) for text in texts]
    with serialised(paths, wait_s=_LOCK_WAIT_S):
        spec = workspace.spec(name)
        for each in wanted:
            said = ways.requested(workspace, spec)
            same = next((r for r in said.reverse if r.guest_port == each.guest_port and r != each), None)
            if same is not None and said.origins[same] == ways.SETTINGS:
                raise _stands(name, f"reverse {same}", ways.SETTINGS, same, runs=False)
            kept = added.load(paths)
            if each not in said.reverse:
                added.save(paths, replace(kept, reverse=(*(r for r in kept.reverse if r != same), each)))
        _lead(workspace, name, wanted, report)
    return ways.listed(name, workspace=workspace)


def remove_reverse(name: str, texts: Sequence[str], *, workspace: Workspace | None = None) -> ways.Ways:
    """Remove reverse forwards, from now on; open connections stay open.

    Raises:
        UsageError: a text is not a reverse forward, or is in the settings.
        StateError: the machine has no such reverse forward.
    """
    workspace = workspace or Workspace.current()
    paths, wanted = workspace.made(name), [_reverse(text) for text in texts]
    with serialised(paths, wait_s=_LOCK_WAIT_S):
        for each in wanted:
            said, kept = ways.requested(workspace, workspace.spec(name)), added.load(paths)
            if each not in said.reverse:
                raise _unknown(name, f"reverse {each}", [str(r) for r in said.reverse])
            if said.origins[each] == ways.SETTINGS:
                raise _stands(name, f"reverse {each}", ways.SETTINGS, each, runs=False)
            added.save(paths, replace(kept, reverse=tuple(r for r in kept.reverse if r != each)))
            added.lead(paths, (r for r in added.leads(paths) if r != each))
    return ways.listed(name, workspace=workspace)


def _put(workspace: Workspace, name: str, forward: Forward, *, once: bool, report: Report) -> None:
    """Add a forward to the running machine. If it cannot have it now, check it for the next start, and note that."""
    paths, spec = workspace.paths(name), workspace.spec(name)
    refused = _why_not_now(workspace, name, forward)
    if refused is not None and once:
        raise refused
    other = next((f for f in ways.requested(workspace, spec).forwards if f.meets(forward) and f != forward), None)
    if other is not None and not once:
        origin = ways.requested(workspace, spec).origins[other]
        raise StateError(
            f"forward {forward}: {name} already uses this port for the forward {other}",
            hint=ways.give_up(name, origin, other),
        )
    network = None if refused is not None else _network(paths)
    if network is not None and forward in network[1]:
        return
    ways.refuse_busy(workspace, name, forward)
    if network is None:
        if ":" in forward.host and spec.network != "passt":
            ways.refuse_version_6(qemu_binary.installed(), forward)
        if state.observe(paths).alive and refused is not None:
            note(report, f"{refused.message}: {forward} works from the next start")
        return
    try:
        usernet.add(paths, network[0], forward)
    except MachineError as said:
        if ":" in forward.host:
            ways.refuse_version_6(qemu_binary.installed(), forward, said.message)
        raise


def _why_not_now(workspace: Workspace, name: str, forward: Forward) -> StateError | None:
    """Why the machine cannot add the forward now; None: it can. If its network can never have it, raise."""
    paths, spec = workspace.paths(name), workspace.spec(name)
    alive, start = state.observe(paths).alive, reach.kept(paths)
    if not alive:
        if spec.network not in (None, "user", "upstream", "passt"):
            raise _no_network(name, forward, spec.network)
        return StateError(f"{name} is not running", hint=f"pommel start {name}")
    if start.passt:
        return StateError(
            f"{name} uses passt, which can add forwards only when it starts", hint=f"pommel restart {name}"
        )
    if _network(paths) is None:
        raise _no_network(name, forward, spec.network)
    return None


def _no_network(name: str, forward: Forward, network: str | None) -> StateError:
    return StateError(
        f"forward {forward} needs a user-mode network, but {name} has {network or 'none'}",
        hint=f'there, the guest has its own address (pommel ip {name}); or set network = "user", and restart it',
    )


def _network(paths: MachinePaths) -> tuple[str, tuple[Forward, ...]] | None:
    """The user-mode network with the forward for SSH, or else the first one, with its forwards; None: there is none."""
    found = usernet.look(paths)
    ssh = Forward("tcp", LOOPBACK, record.load(paths.record).ssh_port, 22)
    bare = {name: tuple(replace(each, guest="") for each in rows) for name, rows in found.items()}
    return next(((name, rows) for name, rows in bare.items() if ssh in rows), None) or next(iter(bare.items()), None)


def _take(paths: MachinePaths, forward: Forward) -> None:
    for network, rows in usernet.look(paths).items():
        if any(replace(each, guest="") == forward for each in rows):
            usernet.remove(paths, network, forward)
            return
    if reach.kept(paths).passt:
        raise StateError(
            f"{paths.name} uses passt, which can remove a forward only when it ends",
            hint=f"pommel stop {paths.name}, then run this command again",
        )


def _lead(workspace: Workspace, name: str, wanted: Sequence[Reverse], report: Report) -> None:
    """Set the targets of the ports that QEMU has opened; note for the others that they need the next start."""
    paths = workspace.paths(name)
    if not state.observe(paths).alive:
        return
    start = reach.kept(paths)
    added.lead(paths, ways.requested(workspace, workspace.spec(name)).reverse)
    for each in wanted:
        if each.guest_port in start.reverse:
            continue
        known = each.on_loopback and start.services == ways.SERVICES
        now = f"; until then the guest finds it at {ways.HOST}:{each.port}" if known else ""
        note(report, f"QEMU opens reverse {each} only at the next start of {name} (pommel restart {name}){now}")


def _refuse_own(workspace: Workspace, name: str, forward: Forward) -> None:
    ssh = Forward("tcp", LOOPBACK, record.load(workspace.paths(name).record).ssh_port, 22)
    if forward.meets(ssh):
        raise UsageError(
            f"forward {forward}: port {forward.port} of this host is used by {name} for SSH",
            hint=f"choose another port, or change the port for SSH: ssh_port = {forward.port + 1} in [machine.{name}]",
        )


def _is_set(workspace: Workspace, name: str, forward: Forward) -> bool:
    return str(forward) in workspace.spec(name).forwards


def _must_have(there: ways.Ways, forward: Forward) -> ways.ForwardRow:
    found = next((way for way in there.forwards if way.forward == str(forward)), None)
    if found is None:
        raise _unknown(there.name, f"forward {forward}", [way.forward for way in there.forwards])
    return found


def _unknown(name: str, what: str, known: Sequence[str]) -> StateError:
    return StateError(f"{name} has no {what}", hint=f"it has {', '.join(known) or 'none'}: pommel forward {name} list")


def _stands(name: str, what: str, origin: str, each: Forward | Reverse, *, runs: bool) -> UsageError:
    now = f"; --once removes it from the running {name}" if runs else ""
    if origin == ways.SCRIPT:
        return UsageError(f"{what} is set in the boot script", hint=f"change it with a patch{now}")
    return UsageError(f"{what} is set in the settings of {name}", hint=f"{ways.give_up(name, origin, each)}{now}")


def _forward(text: str) -> Forward:
    try:
        return parse_forward(text)
    except ValueError as wanted:
        raise UsageError(f"a forward must be {wanted}, not {text!r}") from None


def _reverse(text: str) -> Reverse:
    try:
        return parse_reverse(text)
    except ValueError as wanted:
        raise UsageError(f"a reverse forward must be {wanted}, not {text!r}") from None
