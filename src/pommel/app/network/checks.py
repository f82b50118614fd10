"""Check that the host can provide a machine's network; each problem has the command that solves it. Band: app."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from pommel.app.network.passt import HINT as PASST_HINT
from pommel.errors import MachineError, MissingProgram, NotPermitted
from pommel.host import listeners
from pommel.machine import networks, ports
from pommel.machine.commandline import CommandLine
from pommel.machine.forwards import Forward
from pommel.machine.keyed import Keyed
from pommel.process import which

# The path on Debian; on Fedora and Arch; on openSUSE.
_HELPERS = ("usr/lib/qemu/qemu-bridge-helper", "usr/libexec/qemu-bridge-helper", "usr/local/libexec/qemu-bridge-helper")
_CONFIGS = ("etc/qemu/bridge.conf", "etc/qemu-kvm/bridge.conf")
_CAPABILITY = "security.capability"


def problems(line: CommandLine, *, root: Path = Path("/")) -> Iterator[tuple[str, str]]:
    """The problems of the networks on a finished command line, each with what to type."""
    for link in networks.links(line):
        backend = link.backend
        if backend is None:
            continue
        said = Keyed.parse("netdev", backend.value or "") if backend.name == "netdev" else None

        def value(key: str, said: Keyed | None = said, backend: object = backend) -> str:
            return (said.get(key) if said else backend.sub.get(key)) or ""  # type: ignore[attr-defined]

        if link.kind == "bridge":
            yield from _bridge(value("br") or "br0", root)
        elif link.kind == "tap" and not value("fd") and not value("helper"):
            yield from _tap(value("ifname"), root)
        elif link.kind == "stream" and value("addr.path").endswith("passt.sock"):
            yield from _passt()


def refuse(
    line: CommandLine,
    holder: Callable[[Forward], str | None] = lambda _: None,
    *,
    allotted: int = 0,
    asked: Mapping[Forward, str] = MappingProxyType({}),
) -> None:
    """Refuse networks that the host cannot provide, and forwards whose ports are busy.

    `holder` returns the machine that uses a port. `allotted` is a TCP port that is not checked, because the start
    replaces it if it is busy. `asked` are the forwards that are not from the boot script, each with the command that
    removes it.

    Raises:
        MachineError, NotPermitted, UsageError: there is such a network or forward; the hint is what to type.
    """
    for problem, mended in problems(line):
        raise NotPermitted(problem, hint=f'{mended}; or set network = "user"')
    for forward in dict.fromkeys((*networks.host_forwards(line), *asked)):
        if forward.protocol == "tcp" and forward.port == allotted:
            continue
        what = f"port {forward.port}, which the boot script forwards to the guest,"
        if forward in asked:
            what = f"forward {forward}: port {forward.port}"
        refuse_busy(forward, what, holder, asked.get(forward, "change the forward in the boot script, or with a patch"))


def refuse_busy(forward: Forward, what: str, holder: Callable[[Forward], str | None], instead: str) -> None:
    """Refuse a forward whose port is busy; `what` is its text for the message, and `instead` how to remove it.

    Raises:
        MachineError: the port is busy; the message names its user, if that is known.
        NotPermitted, UsageError: only root may use it, or this host has no such address.
    """
    if ports.is_free(forward.port, forward.host, forward.protocol):
        return
    if (machine := holder(forward)) is not None:
        text, hint = f"{what} is the machine {machine}'s, which is running", f"pommel stop {machine}"
    else:
        there = listeners.on_port(forward.port, forward.protocol)
        text = f"{what} is in use on this host" + (f" by {there}" if there else "")
        hint = f"ss -l{forward.protocol[0]}np 'sport = :{forward.port}' shows which program uses it"
    raise MachineError(text, hint=f"{hint}; or {instead}")


def _bridge(name: str, root: Path) -> Iterator[tuple[str, str]]:
    if not (root / "sys/class/net" / name).exists():
        yield (
            f"there is no bridge {name} on this host",
            f"sudo ip link add {name} type bridge && sudo ip link set {name} up",
        )
    helper = next((root / place for place in _HELPERS if (root / place).exists()), None)
    if helper is None:
        yield (
            "qemu-bridge-helper is not installed",
            "install it: it is in QEMU's package, in qemu-system-common on Debian and Ubuntu, in qemu-common on Fedora",
        )
        return
    if os.geteuid() != 0 and not _privileged(helper):
        yield f"{helper} has no permission to join a bridge", f"sudo chmod u+s {helper}"
    config = next((root / place for place in _CONFIGS if (root / place).exists()), root / _CONFIGS[0])
    if not _allows(config, name):
        yield f"{config} does not allow the bridge {name}", f"echo 'allow {name}' | sudo tee -a {config}"


def _privileged(helper: Path) -> bool:
    try:
        return bool(helper.stat().st_mode & stat.S_ISUID) or _CAPABILITY in os.listxattr(helper)
    except OSError:
        return False


def _allows(config: Path, name: str) -> bool:
    try:
        rules = [line.split() for line in config.read_text(errors="replace").splitlines()]
    except OSError:
        return False
    allowed = {rule[1] for rule in rules if len(rule) == 2 and rule[0] == "allow"}
    denied = {rule[1] for rule in rules if len(rule) == 2 and rule[0] == "deny"}
    return bool({name, "all"} & allowed) and not {name, "all"} & denied


def _tap(name: str, root: Path) -> Iterator[tuple[str, str]]:
    make = f"sudo ip tuntap add dev {name or 'tap0'} mode tap user $USER"
    if not name:
        if os.geteuid() != 0:
            yield "a tap device without a name needs root", make
        return
    owner = root / "sys/class/net" / name / "owner"
    if not (root / "sys/class/net" / name).exists():
        if os.geteuid() != 0:
            yield f"there is no tap device {name} on this host", f"{make} && sudo ip link set {name} up"
        return
    try:
        whose = int(owner.read_text())
    except (OSError, ValueError):
        yield f"{name} is not a tap device", make
        return
    if os.geteuid() != 0 and whose != os.geteuid():
        yield f"the tap device {name} belongs to another user (uid {whose})", f"sudo ip link delete {name} && {make}"


def _passt() -> Iterator[tuple[str, str]]:
    try:
        which("passt")
    except MissingProgram:
        yield "passt is not installed", PASST_HINT
