"""Forwards as a person writes them, as QEMU does, and as QEMU tells them; and the rule that lays them."""

from __future__ import annotations

import socket

import pytest

from pommel.errors import ConfigError
from pommel.machine import added, forwards, networks
from pommel.machine.forwards import Forward, Reverse, parse_forward, parse_reverse, parse_usernet
from pommel.machine.rules import Overlaid
from pommel.process import run

from .given import line_with, overlaid, placement

TAP = ("-netdev", "tap,id=n,ifname=t0", "-device", "e1000,netdev=n")
NO_NET = ("-netdev", "-device virtio-net")


@pytest.mark.parametrize(
    ("text", "whole", "hostfwd"),
    [
        ("8080:80", "127.0.0.1:8080:80/tcp", "tcp:127.0.0.1:8080-:80"),
        ("8080", "127.0.0.1:8080:8080/tcp", "tcp:127.0.0.1:8080-:8080"),
        ("53/udp", "127.0.0.1:53:53/udp", "udp:127.0.0.1:53-:53"),
        (" 127.0.0.1:5432:5432/TCP ", "127.0.0.1:5432:5432/tcp", "tcp:127.0.0.1:5432-:5432"),
        ("*:80:8080", "0.0.0.0:80:8080/tcp", "tcp:0.0.0.0:80-:8080"),
        ("[::1]:8080:80", "[::1]:8080:80/tcp", "tcp:[::1]:8080-:80"),
        ("[0:0:0:0:0:0:0:1]:1:2/udp", "[::1]:1:2/udp", "udp:[::1]:1-:2"),
    ],
)
def test_a_forward_has_one_spelling_that_reads_back(text: str, whole: str, hostfwd: str) -> None:
    found = parse_forward(text)
    assert (str(found), found.hostfwd) == (whole, hostfwd)
    assert parse_forward(whole) == found
    assert ":" in found.host or forwards.parse_hostfwd(hostfwd) == found


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("5432", "5432:127.0.0.1:5432"),
        ("80:8080", "80:127.0.0.1:8080"),
        ("80:[::1]:8080/tcp", "80:[::1]:8080"),
        ("80:db.example-1.com:8080", "80:db.example-1.com:8080"),
        ("1:/run/my app.sock", "1:/run/my app.sock"),
        ("1:/run/tcp", "1:/run/tcp"),
    ],
)
def test_a_reverse_forward_reads_back(text: str, whole: str) -> None:
    assert str(parse_reverse(text)) == whole
    assert parse_reverse(whole) == parse_reverse(text)


@pytest.mark.parametrize("text", ["", "x", "0:80", "80:65536", "a:80:80", "1.2.3:80:80", "::1:80:80", "1:2/sctp",
                                  "1-2:1-2", "1:2,hostfwd=tcp::3-:4", "-1:80", "127.0.0.1::80"])  # fmt: skip
def test_what_is_no_forward(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_forward(text)


@pytest.mark.parametrize("text", ["", "x", "0", "1:0", "1:2/udp", "1:a b:2", "1:-x:2", "1:1.2.3:4", f"1:/{'x' * 107}"])
def test_what_is_no_reverse_forward(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_reverse(text)


def test_what_the_real_qemu_says_of_its_forwards_is_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        tcp, udp = one.getsockname()[1], other.getsockname()[1]
    words = ["qemu-system-x86_64", "-M", "none", "-display", "none", "-monitor", "stdio"]
    words += [
        "-netdev",
        f"user,id=my.net,hostfwd=tcp::{tcp}-:80",
        "-netdev",
        f"user,id=b,hostfwd=udp:127.0.0.1:{udp}-:53",
    ]
    said = run(words, input=b"info usernet\nquit\n", timeout_s=60).text
    assert parse_usernet(said) == {
        "b": (Forward("udp", "127.0.0.1", udp, 53, "10.0.2.15"),),
        "my.net": (Forward("tcp", "0.0.0.0", tcp, 80, "10.0.2.15"),),
    }


def laid(line: object = None, *, reverse: tuple[str, ...] = (), network: str | None = None, ways: str = "") -> Overlaid:
    place = placement(
        forwards=tuple(map(parse_forward, ways.split())),
        reverse=tuple(map(parse_reverse, reverse)),
        reverse_command=("/a python", "-I", str(added.PROGRAM), "/m,1/reverse.json"),
        passt="/run/passt.sock",
    )
    return overlaid(line, place=place, network=network)


def test_they_stand_on_the_first_user_network_beside_ssh() -> None:
    line = line_with("-netdev", "user,id=b", "-device", "e1000,netdev=b")
    made = laid(line, ways="8080:80 *:53:53/udp", reverse=("7000:80",)).command_line
    backends = made.find("netdev")
    assert backends[0].value == (
        "user,id=net0,hostfwd=tcp:127.0.0.1:2201-:22,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=udp:0.0.0.0:53-:53,"
        f"guestfwd=tcp:10.0.2.100:7000-cmd:'/a python' -I {added.PROGRAM} /m,,1/reverse.json 7000"
    )
    assert backends[1].value == "user,id=b"
    assert "asked for: forward 127.0.0.1:8080:80/tcp" in backends[0].notes[-1].reason
    assert networks.reverse_ports(made, added.PROGRAM.name) == (7000,)


def test_a_forward_of_the_boot_script_gives_way_to_one_that_is_asked_for() -> None:
    said = "user,id=n,hostfwd=tcp::2222-:22,hostfwd=tcp::8080-:8000,hostfwd=tcp::9090-:90,hostfwd=udp::8080-:1"
    made = laid(line_with("-netdev", said, "-device", "e1000,netdev=n", without=NO_NET), ways="8080:80 9090:90")
    assert [str(each) for each in networks.host_forwards(made.command_line)] == [
        "127.0.0.1:2201:22/tcp", "127.0.0.1:8080:1/udp", "127.0.0.1:8080:80/tcp", "127.0.0.1:9090:90/tcp"
    ]  # fmt: skip
    told = [text for text in made.warnings if text.startswith("left out")]
    assert told == [
        "left out: hostfwd=tcp:127.0.0.1:8080-:8000 of the boot script; the forward 127.0.0.1:8080:80/tcp uses that port"
    ]


@pytest.mark.parametrize(
    ("net", "address"),
    [("net=192.168.7.0/24", "192.168.7.100"), ("host=10.1.1.9", "10.1.1.100"), ("net=10.9.0.0/16", "10.9.0.100")],
)
def test_the_guest_finds_services_in_the_network_that_the_script_has(net: str, address: str) -> None:
    made = laid(line_with("-nic", f"user,{net}", without=NO_NET), reverse=("1:2",)).command_line
    assert f"guestfwd=tcp:{address}:1-cmd:" in (made.find("nic")[0].value or "")


@pytest.mark.parametrize(
    ("network", "ways", "reverse", "said"),
    [
        (
            "none",
            "8080:80",
            (),
            "forward 127.0.0.1:8080:80/tcp needs a user-mode network, but sonoma has network = none",
        ),
        ("tap:t0", "", ("1:2",), "reverse 1:127.0.0.1:2 needs a user-mode network, but sonoma has network = tap:t0"),
        ("upstream", "8080:80", (), "needs a user-mode network, but sonoma has network = upstream"),
        (
            "passt",
            "8080:80",
            ("1:2",),
            "reverse 1:127.0.0.1:2 needs QEMU's own user-mode network, but sonoma has passt",
        ),
        (None, "2201:80", (), "port 2201 of this host is sonoma's port for SSH"),
        (None, "*:2201:80", (), "port 2201 of this host is sonoma's port for SSH"),
    ],
)
def test_what_cannot_be_is_refused_by_name(network: str | None, ways: str, reverse: tuple[str, ...], said: str) -> None:
    line = line_with(*TAP, without=NO_NET) if network == "upstream" else None
    with pytest.raises(ConfigError) as told:
        laid(line, network=network, ways=ways, reverse=reverse)
    assert said in told.value.message and told.value.hint


def test_a_guestfwd_of_the_script_for_the_same_port_is_refused() -> None:
    line = line_with("-nic", "user,guestfwd=tcp:10.0.2.100:80-cmd:cat", without=NO_NET)
    with pytest.raises(ConfigError, match=r"guestfwd for 10\.0\.2\.100:80 already"):
        laid(line, reverse=("80:8080",))
    kept = laid(line, reverse=("81:8080",)).command_line.find("nic")[0].value or ""
    assert "guestfwd=tcp:10.0.2.100:80-cmd:cat," in kept


def test_passt_is_left_to_forward_by_itself() -> None:
    assert not networks.host_forwards(laid(network="passt", ways="8080:80").command_line)


def test_two_for_one_port_are_found() -> None:
    ways = [parse_forward(text) for text in ("1:2", "1:2/udp", "127.0.0.2:1:2", "*:1:2")]
    assert forwards.double(ways[:3]) is None
    assert forwards.double(ways) == (ways[0], ways[3])
    assert Reverse(1, "/x", 0).target == "/x"
