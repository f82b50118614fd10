"""What another tool's command line says of its machine."""

from __future__ import annotations

import pytest

from pommel.machine.commandline import CommandLine
from pommel.machine.taken_line import TakenSettings, said


def read(text: str) -> TakenSettings:
    return said(CommandLine.parse("qemu-system-x86_64", text.split()))


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("-m 4096", {"memory": "4G"}),
        ("-m 7192", {"memory": "7192M"}),
        ("-m 16G", {"memory": "16G"}),
        ("-m size=6G,slots=2", {"memory": "6G"}),
        ("-cpu Penryn", {"cpu": "Penryn"}),
        ("-cpu Skylake-Client,-hle,kvm=on,+avx2,check", {"cpu": "Skylake-Client", "cpu_flags": ["-hle", "+avx2"]}),
        ("-smp 4,cores=2,sockets=1", {"threads": 4, "cores": 2, "sockets": 1, "topology": "as-asked"}),
        ("-smp cores=3,threads=2,sockets=1", {"threads": 6, "cores": 3, "sockets": 1, "topology": "as-asked"}),
        ("-smp cpus=2", {"threads": 2, "topology": "as-asked"}),
        ("-S", {}),
        ("-m lots -smp many", {}),
    ],
)
def test_settings(text: str, settings: dict[str, object]) -> None:
    assert read(text).settings == settings


@pytest.mark.parametrize(
    ("text", "mac", "card"),
    [
        ("-netdev user,id=n -device vmxnet3,netdev=n,mac=52:54:00:c9:18:27", "52:54:00:c9:18:27", "vmxnet3"),
        ("-device virtio-net,netdev=nic -netdev user,id=nic", None, "virtio-net"),
        ("-nic bridge,br=br0,model=e1000,mac=02:00:00:00:00:01", "02:00:00:00:00:01", "e1000"),
        ("-nic none", None, None),
    ],
)
def test_network(text: str, mac: str | None, card: str | None) -> None:
    assert (read(text).mac, read(text).card) == (mac, card)


def test_uuid() -> None:
    assert read("-uuid A -smbios type=1,uuid=B").uuid == "A"
    assert read("-smbios type=2 -smbios type=1,uuid=B").uuid == "B"
    assert read("-smbios type=2").uuid is None
