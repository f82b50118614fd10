"""Rules for the network: its backend, the card's address, and the forward for SSH. Band: core, no I/O.

By default a machine has QEMU's user-mode network, which needs no permissions and is reached by a forward. If the boot
script had another network, a message says so and names the setting that keeps it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from pommel.errors import ConfigError
from pommel.machine.commandline import Argument
from pommel.machine.keyed import Keyed
from pommel.machine.networks import (
    CARD,
    cards_of,
    forwards_of,
    id_of,
    kind_of,
    lacking,
    links,
    netdev_of,
    spelled_out,
    wants_none,
    with_forwards,
    with_kind,
)
from pommel.machine.rules.sheet import RuleInput, Sheet
from pommel.machine.suboptions import Pair, SubOptions, escape
from pommel.machine.upstream_files import unreadable

_FORWARD = re.compile(r"(?P<proto>tcp|udp|):(?P<host>[^:]*|\[.*\]):(?P<port>\d+)-(?P<guest>.*):(?P<to>\d+)")
_LOOPBACK = "127.0.0.1"
_SSH = "22"
_OWN = "net-own"
_MODERN = "-net in the form that supports forwards"
_NO_WAY_IN = "ssh, clip and guest cannot connect to it"


def network(sheet: Sheet, given: RuleInput) -> Sheet:
    """Give the machine the configured network, by default user-mode, and each of its cards an own address."""
    asked = given.spec.network
    if asked == "none":
        return _none(sheet)
    _refuse_taken(given)
    if wants_none(sheet.line):
        if asked in (None, "upstream"):
            return sheet.warn(
                f'the boot script gives the machine no network: {_NO_WAY_IN}; to change that: network = "user"'
            )
        sheet = sheet.remove_all(sheet.line.find("nic", "net"), f"asked for: network = {asked}")
    sheet = _without_doubles(_spelled_out(sheet))
    sheet = _first(sheet, given) if links(sheet.line) else _added(sheet, given)
    sheet = _others(sheet, asked)
    return _addresses(_forwards(sheet, given), given)


def derived_mac(mac: str, number: int) -> str:
    """The address of a machine's further card: the same at every start, unique, and never `mac` itself."""
    if number == 0:
        return mac
    digest = hashlib.sha256(f"{mac}/{number}".encode()).digest()
    # 0x52 has the bit of a locally administered address and not that of a multicast one.
    return ":".join(f"{byte:02x}" for byte in (0x52, 0x54, *digest[:4]))


def _refuse_taken(given: RuleInput) -> None:
    mac = given.spec.mac
    if mac is not None and (owner := given.placement.taken_macs.get(mac)) is not None:
        raise ConfigError(
            f"mac = {mac} is the address of a network card of the machine {owner}",
            hint=f"set another mac, or remove the setting: then {given.placement.guest_name} gets its own address",
        )


def _none(sheet: Sheet) -> Sheet:
    reason = "asked for: network = none"
    cards = [card for card in sheet.line.find("device") if netdev_of(card) is not None]
    sheet = sheet.remove_all([*cards, *sheet.line.find("netdev", "nic", "net")], reason)
    return sheet.add("-nic", "none", reason)


def _spelled_out(sheet: Sheet) -> Sheet:
    for old, new in spelled_out(sheet.line):
        if new is None:
            sheet = sheet.remove(old, "one network per card").warn(f"left out: {old.text} has no network card")
        else:
            sheet = sheet.change(old, new[1], _MODERN, option=new[0])
    return sheet


def _without_doubles(sheet: Sheet) -> Sheet:
    """Remove backends with the same id, because QEMU refuses them: the user-mode one stays, or else the first."""
    by_id: dict[str, list[Argument]] = {}
    for backend in sheet.line.find("netdev"):
        by_id.setdefault(id_of(backend), []).append(backend)
    for name, same in by_id.items():
        keep = next((each for each in same if kind_of(each) == "user"), same[0])
        for each in same:
            if each is not keep:
                sheet = sheet.remove(each, f"QEMU accepts only one backend with the id {name}")
                sheet = sheet.warn(f"left out: {each.text}; QEMU refuses two backends with the id {name}")
        if len(cards_of(sheet.line, name)) > 1:
            what, wanted = "more than one network card on one network", f"one -device with netdev={name}"
            raise unreadable(sheet.line, what, wanted, "device", "netdev", "nic")
    return sheet


def _added(sheet: Sheet, given: RuleInput) -> Sheet:
    """Add a network if the script does not mention one: QEMU would add a card of its own choice."""
    kind, pairs, reason = _first_network(given)
    if given.spec.network == "upstream":
        if sheet.line.find("nodefaults"):
            return sheet
        return sheet.add("-nic", "user", "QEMU's default network card, written out so that it has its own address")
    sheet = sheet.add("-netdev", SubOptions(kind, (("id", _OWN), *pairs)).render(), reason)
    return sheet.add("-device", f"{CARD},netdev={_OWN}", "a network card that macOS has a driver for")


def _first(sheet: Sheet, given: RuleInput) -> Sheet:
    """Change the first network to the configured one. If the script already has it so, it is not changed."""
    for name in lacking(sheet.line):  # QEMU does not start with a card without a backend
        if given.spec.network != "upstream":
            sheet = sheet.add("-netdev", f"user,id={escape(name)}", "the card's backend is not in the script")
    link = next((each for each in links(sheet.line) if each.kind == "user" and each.card), links(sheet.line)[0])
    if link.card is None and link.backend is not None:
        sheet = sheet.add("-device", f"{CARD},netdev={escape(id_of(link.backend))}", "a network needs a card")
    kind, pairs, reason = _first_network(given)
    backend = link.backend
    if given.spec.network == "upstream" or backend is None or (kind == "user" and link.kind == "user"):
        return sheet
    if kind == "user":
        sheet = sheet.warn(_instead(backend))
    for forward in _lost(backend):
        sheet = sheet.warn(f"left out: hostfwd={forward}; network = {given.spec.network} has none")
    return sheet.change(backend, with_kind(backend, kind, pairs), reason)


def _lost(backend: Argument) -> list[str]:
    """The forwards of a user-mode network except SSH's, for which there is another warning."""
    said = forwards_of(backend) if kind_of(backend) == "user" else ()
    rules = [(text, _FORWARD.fullmatch(text)) for text in said]
    return [text for text, rule in rules if rule is None or rule["to"] != _SSH or rule["proto"] == "udp"]


def _first_network(given: RuleInput) -> tuple[str, tuple[Pair, ...], str]:
    """Type, keys and reason of the first network."""
    asked = given.spec.network
    if asked is None or asked in ("user", "upstream"):
        return "user", (), "asked for: network = user" if asked else "user-mode: it needs no permissions on the host"
    kind, _, name = asked.partition(":")
    reason = f"asked for: network = {asked}"
    if kind == "bridge":
        return "bridge", (("br", name),), reason
    if kind == "tap":
        return "tap", (("ifname", name), ("script", "no"), ("downscript", "no")), reason
    if given.placement.passt is None:
        raise ConfigError("network = passt is not possible here", hint='set network = "user"')
    pairs = (("server", "off"), ("addr.type", "unix"), ("addr.path", given.placement.passt))
    return "stream", pairs, reason


def _others(sheet: Sheet, asked: str | None) -> Sheet:
    """Change the further networks to user-mode, unless the setting is `upstream`."""
    if asked == "upstream":
        return sheet
    for link in links(sheet.line):
        backend = link.backend
        if backend is None or link.kind == "user" or any(note.reason.startswith("asked for") for note in backend.notes):
            continue
        reason = "user-mode: it needs no permissions on the host"
        sheet = sheet.warn(_instead(backend)).change(backend, with_kind(backend, "user"), reason)
    return sheet


def _instead(backend: Argument) -> str:
    """The script's network, and the setting that keeps it."""
    said = Keyed.parse(backend.name, backend.value or "") if backend.name == "netdev" else None
    kind = kind_of(backend)
    key = {"bridge": "br", "tap": "ifname"}.get(kind, "")
    device = (said.get(key) if said else backend.sub.get(key)) if key else None
    setting = f'network = "{kind}:{device}" or network = "upstream"' if device else 'network = "upstream"'
    return f"user-mode network in place of {backend.text}; {setting} keeps it"


def _forwards(sheet: Sheet, given: RuleInput) -> Sheet:
    """Forward SSH to the first user-mode network, from 127.0.0.1 only; other forwards stay, on 127.0.0.1 too."""
    found = [each.backend for each in links(sheet.line) if each.kind == "user" and each.backend is not None]
    if not found:
        if given.spec.network == "passt":  # passt forwards ports itself
            return sheet
        return sheet.warn(
            f"no forward leads into this network: {_NO_WAY_IN}, except at the guest's own address (pommel ip, ssh_host)"
        )
    for number, backend in enumerate(found):
        sheet = _forwarding(sheet, backend, given, first=number == 0)
    return sheet


def _forwarding(sheet: Sheet, backend: Argument, given: RuleInput, *, first: bool) -> Sheet:
    """Put one user-mode network's forwards on 127.0.0.1, SSH's on the first."""
    upstream, port = given.spec.network == "upstream", given.placement.ssh_port
    before = with_forwards(backend)
    pairs, moved = _forwarded(before.pairs, port if first else None, keep_hosts=upstream)
    for forward in moved if backend.written else []:
        sheet = sheet.warn(f'hostfwd={forward} is limited to {_LOOPBACK}; network = "upstream" keeps it as written')
    closed = "no forward is open to other hosts"
    reason = f"the guest's SSH on {_LOOPBACK}:{port}" + ("" if upstream else f"; {closed}") if first else closed
    return sheet.change(backend, before.with_pairs(pairs), reason) if first or moved else sheet


def _forwarded(before: Iterable[Pair], port: int | None, *, keep_hosts: bool) -> tuple[list[Pair], list[str]]:
    """The pairs with one SSH forward (from `port`, if any), and the forwards that were open to other hosts."""
    pairs: list[Pair] = []
    moved: list[str] = []
    ssh: Pair = ("hostfwd", f"tcp:{_LOOPBACK}:{port}-:{_SSH}")
    for key, value in before:
        rule = _FORWARD.fullmatch(value or "") if key == "hostfwd" else None
        if rule is None:
            pairs.append((key, value))
        elif port is not None and rule["to"] == _SSH and rule["proto"] != "udp":
            pairs += [] if ssh in pairs else [ssh]
        elif keep_hosts or rule["host"] == _LOOPBACK:
            pairs.append((key, value))
        else:
            moved.append(value or "")
            pairs.append((key, f"{rule['proto']}:{_LOOPBACK}:{rule['port']}-{rule['guest']}:{rule['to']}"))
    return (pairs if ssh in pairs or port is None else [*pairs, ssh]), moved


def _addresses(sheet: Sheet, given: RuleInput) -> Sheet:
    """Give each card its address: the setting's, that of the user's own text, or the machine's own."""
    place, taken = given.placement, set[str]()
    for number, link in enumerate(each for each in links(sheet.line) if each.card is not None):
        card = link.card
        if card is None:
            continue
        said = Keyed.parse("device", card.value or "") if card.name == "device" else None
        before = (said.get("mac") if said else card.sub.get("mac")) or ""
        mac, reason = (
            derived_mac(place.mac, number),
            "its own address: the upstream gives all machines the same address",
        )
        if number == 0 and given.spec.mac:
            mac, reason = given.spec.mac, f"asked for: mac = {given.spec.mac}"
        elif before and card.written and before.lower() not in taken:
            if (owner := place.taken_macs.get(before.lower())) is None:
                taken.add(before.lower())
                continue
            sheet = sheet.warn(f"mac={before} of the boot script belongs to the machine {owner}: this one has {mac}")
        taken.add(mac)
        value = said.with_value("mac", mac).render() if said else card.sub.with_value("mac", mac).render()
        sheet = sheet.change(card, value, reason)
    return sheet
