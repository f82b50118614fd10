from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from pommel.host.neighbours import addresses, arp_table, leases, neighbours

MAC = "52:54:00:0a:0b:0c"
DNSMASQ = f"1764392000 {MAC} 192.168.122.57 mac 01:52:54:00:0a:0b:0c\n1764392001 52:54:00:ff:ff:ff 192.168.122.58 * *\n"
LIBVIRT = """[
  {"ip-address": "192.168.122.10", "mac-address": "52:54:00:0A:0B:0C", "hostname": "mac", "expiry-time": 1},
  {"ip-address": "192.168.122.11", "mac-address": "52:54:00:0a:0b:0c", "expiry-time": 2},
  {"ip-address": "192.168.122.12", "mac-address": "52:54:00:00:00:01"}
]"""
ISC = """\
# The format of this file is documented in the dhcpd.leases(5) manual page.
lease 10.0.3.7 {
  starts 6 2026/11/28 10:00:00;
  hardware ethernet 52:54:00:0a:0b:0c;
  client-hostname "mac";
}
lease 10.0.3.9 {
  hardware ethernet 52:54:00:0a:0b:0c;
}
"""
NEIGH = """[{"dst":"fe80::1","dev":"br0","lladdr":"52:54:00:0a:0b:0c","state":["REACHABLE"]},
{"dst":"10.0.0.7","dev":"br0","lladdr":"52:54:00:0A:0B:0C","state":["STALE"]},
{"dst":"10.0.0.8","dev":"br0","lladdr":"52:54:00:0a:0b:0c","state":["REACHABLE"]},
{"dst":"10.0.0.9","dev":"br0","lladdr":"52:54:00:0a:0b:0c","state":["FAILED"]},
{"dst":"10.0.0.1","dev":"br0","state":["FAILED"]}]"""
ARP = """\
IP address       HW type     Flags       HW address            Mask     Device
192.168.122.5    0x1         0x2         52:54:00:0a:0b:0c     *        virbr0
192.168.122.6    0x1         0x0         52:54:00:0a:0b:0c     *        virbr0
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [(DNSMASQ, ["192.168.122.57"]), (LIBVIRT, ["192.168.122.11", "192.168.122.10"]), (ISC, ["10.0.3.9", "10.0.3.7"])],
)
def test_leases_of_each_server_the_newest_first(text: str, found: list[str]) -> None:
    assert leases(text, MAC) == found
    assert leases(text, MAC.upper()) == found
    assert leases(text, "52:54:00:99:99:99") == []


@pytest.mark.parametrize(
    "text", ["", "[", "[[]]", '[{"mac-address": 1}]', '{"a": 1}', "lease x {", f"1 {MAC} -oProxyCommand=x y"]
)
def test_what_is_no_lease_gives_nothing(text: str) -> None:
    assert leases(text, MAC) == []


def test_neighbours_that_answer_come_first() -> None:
    assert neighbours(NEIGH, MAC) == ["10.0.0.8", "fe80::1%br0", "10.0.0.7"]
    assert neighbours("{", MAC) == neighbours("[1]", MAC) == []


def test_the_kernels_table() -> None:
    assert arp_table(ARP, MAC) == ["192.168.122.5"]


def test_all_places_are_looked_at(tmp_path: Path) -> None:
    for name, text in {
        "proc/net/arp": ARP,
        "var/lib/misc/dnsmasq.leases": DNSMASQ,
        "var/lib/libvirt/dnsmasq/virbr0.status": LIBVIRT,
        "var/lib/dhcp/dhcpd.leases": ISC,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = [address for address, _ in addresses(MAC, root=tmp_path)]
    assert found == ["192.168.122.5", "192.168.122.57", "192.168.122.11", "192.168.122.10", "10.0.3.9", "10.0.3.7"]


def test_a_lease_that_is_never_closed_takes_no_time() -> None:
    begun = time.process_time()
    assert leases("lease 10.0.0.1 {" * 100_000, MAC) == []
    assert time.process_time() - begun < 10


@pytest.mark.parametrize("zone", ["%$(touch /tmp/x)", "%a b", "%-o", "%", "%\n"])
def test_an_address_has_no_zone_that_somebody_else_wrote(zone: str) -> None:
    assert leases(json.dumps([{"ip-address": f"fe80::1{zone}", "mac-address": MAC}]), MAC) == []
    assert leases(f"1 {MAC} fe80::1{zone} x", MAC) == []
    table = [{"dst": f"fe80::1{zone}", "dev": "br0", "lladdr": MAC}, {"dst": "fe80::2", "dev": zone[1:], "lladdr": MAC}]
    assert neighbours(json.dumps(table), MAC) == []


@pytest.mark.parametrize("state", [7, True, 1.5, {"a": 1}, "STALE", None, [], [7, None]])
def test_a_state_of_any_kind_is_no_fault_of_ours(state: object) -> None:
    assert neighbours(json.dumps([{"dst": "10.0.0.9", "dev": "br0", "lladdr": MAC, "state": state}]), MAC) == [
        "10.0.0.9"
    ]
