"""Rules for the network card: its address, and the way in by SSH. Band: core, no I/O."""

from __future__ import annotations

import re

from pommel.machine.commandline import Argument
from pommel.machine.rules.sheet import Given, Sheet
from pommel.machine.suboptions import Pair
from pommel.machine.upstream_files import devices_of, unreadable

_FORWARD = re.compile(r"(?P<proto>tcp|udp|):(?P<host>[^:]*|\[.*\]):(?P<port>\d+)-(?P<guest>.*):(?P<to>\d+)")
_LOOPBACK = "127.0.0.1"
_SSH = "22"


def network(sheet: Sheet, given: Given) -> Sheet:
    """Give the machine's network card its own address, and forward SSH to it from 127.0.0.1 only."""
    backend = _user_network(sheet)
    cards = (backend,) if backend.name == "nic" else devices_of(sheet.line, backend, "netdev")
    if len(cards) != 1:
        raise unreadable(
            sheet.line,
            "no network card" if not cards else "more than one network card on one network",
            f"one -device with netdev={backend.sub.get('id')}",
            "device",
            "netdev",
            "nic",
        )
    mac = given.placement.mac
    reason = "an address of its own: upstream gives every machine the same"
    sheet = sheet.change(cards[0], cards[0].sub.with_value("mac", mac), reason)
    return _forwards(sheet, _user_network(sheet), given.placement.ssh_port)


def _user_network(sheet: Sheet) -> Argument:
    found = sheet.line.find("netdev", "nic", where=lambda a: a.sub.head == "user")
    if not found:
        raise unreadable(sheet.line, "no user-mode network", "-netdev user,id=… or -nic user", "netdev", "nic", "net")
    return found[0]


def _forwards(sheet: Sheet, backend: Argument, port: int) -> Sheet:
    pairs: list[Pair] = []
    ssh: Pair = ("hostfwd", f"tcp:{_LOOPBACK}:{port}-:{_SSH}")
    for key, value in backend.sub.pairs:
        if key != "hostfwd":
            pairs.append((key, value))
            continue
        rule = _FORWARD.fullmatch(value or "")
        if rule is None:
            raise unreadable(sheet.line, f"a port forward that cannot be read ({value})", "hostfwd", "netdev")
        if rule["to"] == _SSH and rule["proto"] != "udp":
            pairs += [] if ssh in pairs else [ssh]
        else:
            pairs.append((key, f"{rule['proto']}:{_LOOPBACK}:{rule['port']}-{rule['guest']}:{rule['to']}"))
    if ssh not in pairs:
        pairs.append(ssh)
    reason = f"the guest's SSH on {_LOOPBACK}:{port}; no forward is open to other hosts"
    return sheet.change(backend, backend.sub.with_pairs(pairs), reason)
