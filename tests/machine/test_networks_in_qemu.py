"""Networks in every spelling, laid over by the rule and given to the real QEMU, which says what it made of them."""

from __future__ import annotations

import shlex

import pytest

from free_ports import free_port
from pommel.machine.commandline import CommandLine
from pommel.machine.rules import network
from pommel.machine.rules.sheet import RuleInput, Sheet
from pommel.process import run

from .given import TCG, placement, spec

MAC = placement().mac
_BARE = "-S -display none -machine q35 -m 64 -serial none -monitor stdio"


def made_of(words: str, port: int, **values: object) -> str:
    """What QEMU says of its networks, in one line."""
    line = CommandLine.parse("qemu-system-x86_64", [*_BARE.split(), *shlex.split(words)])
    done = network.network(Sheet(line), RuleInput(spec(**values), TCG, placement(ssh_port=port)))
    said = run(done.line.argv, input=b"info network\ninfo usernet\nquit\n", timeout_s=60).text
    return " ".join(said.split())


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.mark.parametrize(
    ("words", "model"),
    [
        ("-netdev user,id=n,hostfwd=tcp::2222-:22 -device virtio-net-pci,netdev=n,mac=52:54:00:c9:18:27", "virtio-net-pci"),
        ("-net nic,model=vmxnet3 -net user,hostfwd=tcp::2222-:22", "vmxnet3"),
        ("-net nic,model=virtio,macaddr=52:54:00:c9:18:27 -net tap,ifname=tap0,script=no", "virtio-net-pci"),
        ("-net nic,netdev=x,model=e1000 -netdev bridge,id=x,br=br0", "e1000"),
        ("-nic user,model=e1000-82545em", "e1000-82545em"),
        ("-nic tap,ifname=tap0,script=no,downscript=no,model=virtio-net-pci", "virtio-net-pci"),
        ("-nic bridge,br=virbr0", "e1000e"),
        ("-netdev tap,id=n,ifname=t,vhost=on,queues=4 -device virtio-net-pci,netdev=n,id=n,mq=on,vectors=10,addr=5", "virtio-net-pci"),
        ("-netdev socket,id=s,listen=:1234 -device vmxnet3,netdev=s", "vmxnet3"),
        ("""-netdev '{"type":"user","id":"n","hostfwd":[{"str":"tcp::2222-:22"}],"dnssearch":[{"str":"a.b"}]}' """
         """-device '{"driver":"e1000","netdev":"n"}'""", "e1000"),
        ("", "virtio-net-pci"),
        ("-nodefaults", "virtio-net-pci"),
        ("-net none -netdev user,id=a -device e1000,netdev=a", "e1000"),
    ],
)  # fmt: skip
def test_every_spelling_starts_with_a_card_and_a_forward(words: str, model: str, port: int) -> None:
    said = made_of(words, port)
    assert f"model={model},macaddr={MAC}" in said
    assert f"127.0.0.1 {port}" in said
    assert said.count("type=user") == 1


def test_what_qemu_adds_by_itself_has_no_shared_address(port: int) -> None:
    said = made_of("", port, network="upstream")
    assert f"model=e1000e,macaddr={MAC}" in said and "52:54:00:12:34:56" not in said


@pytest.mark.parametrize(("words", "values"), [("-nic none", {}), ("-nic user,model=e1000", {"network": "none"})])
def test_no_network_is_none(words: str, values: dict[str, str], port: int) -> None:
    assert "macaddr" not in made_of(words, port, **values)


def test_two_cards_have_two_addresses_and_no_forward_is_open_to_others() -> None:
    port, second = free_port(), free_port()
    said = made_of(f"-nic user,hostfwd=tcp::2222-:22 -nic user,hostfwd=tcp::{second}-:80", port)
    assert f"macaddr={MAC}" in said and f"macaddr={network.derived_mac(MAC, 1)}" in said
    assert f"127.0.0.1 {second}" in said and f"* {second}" not in said
