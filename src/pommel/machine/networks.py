"""The networks of a command line, in all of QEMU's spellings. Band: core, no I/O.

A link is a backend (-netdev, or -nic, which is both) and the card that is connected to it. -net, the older spelling, is
first written as these (`spelled_out`). This module does not decide which network a machine has; `rules.network` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pommel.machine.commandline import Argument, CommandLine
from pommel.machine.forwards import Forward, parse_hostfwd
from pommel.machine.keyed import Keyed
from pommel.machine.suboptions import Pair, SubOptions

CARD = "virtio-net-pci"  # as in OSX-KVM; macOS has a driver for it since version 11
# The models of -net nic,model= that have another name in -device (net/net.c, hw/virtio).
_MODELS = {"virtio": CARD, "virtio-net": CARD}
_LISTED = re.compile(r"\.\d+(\.str)?\Z")
_OF_CARD = ("model", "mac", "addr", "vectors", "id")  # the options of -nic that belong to the card, not to the backend


@dataclass(frozen=True, slots=True)
class MachineNetwork:
    """One network of the machine. `backend` and `card` are the same argument for -nic; either may be missing."""

    backend: Argument | None
    card: Argument | None

    @property
    def kind(self) -> str:
        """The backend's type: user, tap, bridge …; empty if there is no backend."""
        return kind_of(self.backend) if self.backend is not None else ""


def kind_of(backend: Argument) -> str:
    """The type of a -netdev or -nic."""
    if backend.name == "netdev":
        return Keyed.parse("netdev", backend.value or "").get("type") or ""
    return backend.sub.head or ""


def id_of(backend: Argument) -> str:
    """The id of a -netdev."""
    return Keyed.parse("netdev", backend.value or "").get("id") or ""


def links(line: CommandLine) -> tuple[MachineNetwork, ...]:
    """The networks in the order of their backends; last the cards without a backend."""
    found = []
    plugged: list[Argument] = []
    for backend in line.find("netdev", "nic"):
        if backend.name == "nic":
            if kind_of(backend) != "none":
                found.append(MachineNetwork(backend, backend))
            continue
        cards = cards_of(line, id_of(backend))
        plugged += cards
        found += [MachineNetwork(backend, card) for card in cards] or [MachineNetwork(backend, None)]
    loose = (card for card in line.find("device") if netdev_of(card) is not None and card not in plugged)
    return (*found, *(MachineNetwork(None, card) for card in loose))


def cards_of(line: CommandLine, backend: str) -> list[Argument]:
    """The cards that are connected to the backend with this id."""
    return [card for card in line.find("device") if netdev_of(card) == backend]


def netdev_of(card: Argument) -> str | None:
    """The id of the backend that a -device names; None: it is not a network card."""
    return Keyed.parse("device", card.value or "").get("netdev")


def wants_none(line: CommandLine) -> bool:
    """Whether the line turns the network off."""
    return bool(line.find("nic", "net", where=lambda a: a.sub.head == "none")) and not links(line)


def spelled_out(line: CommandLine) -> Iterator[tuple[Argument, tuple[str, str] | None]]:
    """The replacement of each -net: an option and its value, or None if another one already covers it.

    All of -net is one hub. Cards and backends are paired in their order, as if each pair had its own hub; a card
    without a backend gets a user-mode network, and a backend without a card is left out.
    """
    said = line.find("net", where=lambda a: a.sub.head != "none")
    cards = [a for a in said if a.sub.head == "nic"]
    backends = [a for a in said if a.sub.head != "nic"]
    free = [card for card in cards if not card.sub.has("netdev")]
    names = [f"legacy{number}" for number in range(max(len(free), len(backends)))]
    named = dict(zip(map(id, free), names, strict=False))
    for card in cards:
        yield card, ("-device", _device(card.sub, card.sub.get("netdev") or named[id(card)]))
    for number, backend in enumerate(backends):
        pairs = [pair for pair in backend.sub.pairs if pair[0] not in ("vlan", "name", "id")]
        value = SubOptions(backend.sub.head, (("id", names[number]), *pairs))
        yield backend, ("-netdev", value.render()) if number < max(len(free), 1) else None


def lacking(line: CommandLine) -> list[str]:
    """The ids of missing backends that cards name."""
    there = {id_of(backend) for backend in line.find("netdev")}
    return list(dict.fromkeys(name for card in line.find("device") if (name := netdev_of(card)) and name not in there))


def _device(card: SubOptions, backend: str) -> str:
    model = card.get("model") or CARD
    kept: list[Pair] = [pair for pair in card.pairs if pair[0] in ("addr", "vectors")]
    if (mac := card.get("macaddr")) is not None:
        kept.append(("mac", mac))
    return SubOptions(_MODELS.get(model, model), (("netdev", backend), *kept)).render()


def with_kind(backend: Argument, kind: str, pairs: tuple[Pair, ...] = ()) -> str:
    """The backend's value with another type and these keys; it keeps its id and the options of the card."""
    if backend.name == "netdev":
        return SubOptions(kind, (("id", id_of(backend)), *pairs)).render()
    return SubOptions(kind, (*(pair for pair in backend.sub.pairs if pair[0] in _OF_CARD), *pairs)).render()


def with_forwards(backend: Argument) -> SubOptions:
    """The backend's value as plain options, for forwards: in JSON, a list has each forward as `{"str": …}`."""
    said = Keyed.parse("netdev", backend.value or "") if backend.name == "netdev" else None
    if said is None or said.plain is not None:
        return backend.sub
    pairs = ((_LISTED.sub("", key), value) for key, value in said.pairs() if key != "type")
    return SubOptions(kind_of(backend), tuple(pairs))


def forwards_of(backend: Argument) -> tuple[str, ...]:
    """The forwards of a user-mode network, each as the value after `hostfwd=`."""
    return with_forwards(backend).all("hostfwd")


def host_forwards(line: CommandLine) -> tuple[Forward, ...]:
    """The forwards of the user-mode networks, except those in a form that only QEMU knows."""
    backends = line.find("netdev", "nic", where=lambda a: kind_of(a) == "user")
    said = (parse_hostfwd(text) for backend in backends for text in forwards_of(backend))
    return tuple(forward for forward in said if forward is not None)


def reverse_ports(line: CommandLine, program: str) -> tuple[int, ...]:
    """The guest's ports whose connections `program` forwards to services of this host."""
    found = []
    for backend in line.find("netdev", "nic", where=lambda a: kind_of(a) == "user"):
        for rule in with_forwards(backend).all("guestfwd"):
            where, _, how = rule.partition("-")
            if how.startswith("cmd:") and program in how:
                found.append(int(where.rpartition(":")[2]))
    return tuple(found)
