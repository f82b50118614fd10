"""The addresses of a guest, by its card's: from the host's neighbours and the leases of its DHCP servers. Band: shell.

The readers of files are pure. Anybody on the network can influence these files, so only an address is taken from
them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pommel.errors import PommelError
from pommel.foreign import parse_json
from pommel.process import run

_ASK_S = 3.0
_FILE_MAX = 4 << 20  # bytes of a lease file
# dnsmasq's own, libvirt's, NetworkManager's; ISC's dhcpd; LXD and Incus have databases that are not readable files.
_LEASES = (
    "var/lib/misc/dnsmasq*.leases",
    "var/lib/dnsmasq/*.leases",
    "var/lib/libvirt/dnsmasq/*.leases",
    "var/lib/libvirt/dnsmasq/*.status",
    "var/lib/NetworkManager/dnsmasq-*.leases",
    "var/lib/dhcp/dhcpd.leases",
    "var/lib/dhcpd/dhcpd.leases",
)
_ISC = re.compile(r"lease\s+([0-9A-Fa-f.:]+)\s*\{")
_LINK = re.compile(r"[A-Za-z0-9][\w.@-]{0,14}", re.ASCII)  # a network interface (IFNAMSIZ)
_ISC_CARD = re.compile(r"hardware\s+ethernet\s+([0-9A-Fa-f:]{17})\s*;")


def addresses(mac: str, *, root: Path = Path("/")) -> list[tuple[str, str]]:
    """The known addresses of the card `mac`, each with its source; the most reliable first."""
    found = [(address, "the host's neighbours") for address in _neighbours(mac, root)]
    for pattern in _LEASES:
        for path in sorted(root.glob(pattern)):
            found += [(address, str(path)) for address in leases(_text(path), mac)]
    return list(dict.fromkeys(found))


def leases(text: str, mac: str) -> list[str]:
    """The addresses of the card `mac` in a lease file, the newest first."""
    found = _libvirt(text, mac) if text.lstrip().startswith(("[", "{")) else [*_dnsmasq(text, mac), *_isc(text, mac)]
    return list(dict.fromkeys(reversed([address for address in found if _is_address(address)])))


def neighbours(text: str, mac: str) -> list[str]:
    """The addresses of the card `mac` in the output of `ip -j neigh`: reachable ones first, IPv4 before IPv6."""
    try:
        table = parse_json(text)
    except ValueError:
        return []
    entries = [entry for entry in table if isinstance(entry, dict)] if isinstance(table, list) else []
    same = [entry for entry in entries if str(entry.get("lladdr", "")).lower() == mac.lower()]
    live = [entry for entry in same if "FAILED" not in _states(entry)]
    live.sort(key=lambda entry: ("REACHABLE" not in _states(entry), ":" in str(entry.get("dst"))))
    found = []
    for entry in live:
        address, link = str(entry.get("dst")), str(entry.get("dev"))
        if not _is_address(address):
            continue
        if not ipaddress.ip_address(address).is_link_local:
            found.append(address)
        elif _LINK.fullmatch(link):  # such an address is only valid on its link
            found.append(f"{address}%{link}")
    return found


def _states(entry: dict[str, Any]) -> list[Any]:
    said = entry.get("state")
    return said if isinstance(said, list) else [said]


def arp_table(text: str, mac: str) -> list[str]:
    """The addresses of the card `mac` in /proc/net/arp (proc(5)); a flag of 0 is an entry without an answer."""
    rows = (line.split() for line in text.splitlines()[1:])
    same = (row for row in rows if len(row) >= 4 and row[3].lower() == mac.lower() and row[2] != "0x0")
    return [row[0] for row in same if _is_address(row[0])]


def _neighbours(mac: str, root: Path) -> list[str]:
    if root != Path("/"):
        return arp_table(_text(root / "proc/net/arp"), mac)
    try:
        return neighbours(run(["ip", "-j", "neigh"], timeout_s=_ASK_S).text, mac)
    except PommelError:
        return arp_table(_text(root / "proc/net/arp"), mac)


def _dnsmasq(text: str, mac: str) -> Iterator[str]:
    """`EXPIRY MAC ADDRESS NAME CLIENT-ID` a line (dnsmasq(8), --dhcp-leasefile)."""
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 4 and words[1].lower() == mac.lower():
            yield words[2]


def _libvirt(text: str, mac: str) -> list[str]:
    """A list of objects with `mac-address` and `ip-address` (libvirt, src/network/leaseshelper.c)."""
    try:
        found = parse_json(text)
    except ValueError:
        return []
    entries = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    same = (entry for entry in entries if str(entry.get("mac-address", "")).lower() == mac.lower())
    return [str(entry.get("ip-address")) for entry in same]


def _isc(text: str, mac: str) -> Iterator[str]:
    """`lease ADDRESS { … hardware ethernet MAC; … }` (dhcpd.leases(5)); a later one has priority."""
    for part in text.split("}"):  # part by part, or else unclosed blocks would be searched again and again
        found = _ISC.search(part)
        card = _ISC_CARD.search(part, found.end()) if found else None
        if found is not None and card is not None and card[1].lower() == mac.lower():
            yield found[1]


def _is_address(text: str) -> bool:
    """Whether it is an address without a zone: Python accepts any text as a zone's name."""
    try:
        return "%" not in text and not ipaddress.ip_address(text).is_unspecified
    except ValueError:
        return False


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_MAX).decode(errors="replace")
    except OSError:
        return ""
