"""The table of a machine's keys, and the spec that it makes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from pommel.config import read_file
from pommel.errors import ConfigError
from pommel.machine.spec import SETTINGS, MachineSpec
from pommel.settings import ConfigFile, resolve

FULL = """
[machine.sonoma]
upstream = "/src/OSX-KVM"
boot_script = "boot-macOS-headless.sh"
accel = "kvm"
cpu = "Haswell-noTSX"
cpu_flags = ["+avx2", "-hle"]
memory = "16G"
sockets = 1
cores = 6
threads = 12
disk = "128G"
ssh_port = 2222
ssh_user = "me"
console_port = 8080
stop_timeout = 90
qemu_args = ["-device", "usb-mouse"]
"""


def spec_of(file: ConfigFile, name: str = "sonoma", **rest: Any) -> MachineSpec:
    found = resolve(SETTINGS, file, name, env=rest.get("env", {}), flags=rest.get("flags"))
    return MachineSpec.from_values(name, {key: value.value for key, value in found.items()})


def test_defaults_leave_the_upstreams_own_choices() -> None:
    spec = spec_of(read_file(None))
    assert (spec.cpu, spec.memory_bytes, spec.sockets, spec.cores, spec.threads) == (None,) * 5
    assert (spec.cpu_flags, spec.qemu_args) == ((), ())
    assert (spec.name, spec.upstream, spec.boot_script, spec.accel) == ("sonoma", "osx-kvm", "OpenCore-Boot.sh", "auto")
    assert (spec.disk_bytes, spec.stop_timeout_s) == (80 << 30, 60.0)
    assert (spec.ssh_port, spec.ssh_user, spec.console_port) == (None, None, None)
    assert (spec.macos, spec.boot_disk, spec.topology) == (None, None, "checked")


def test_every_key_arrives(tmp_path: Path) -> None:
    path = tmp_path / "pommel.toml"
    path.write_text(FULL)
    assert spec_of(read_file(path)) == MachineSpec(
        name="sonoma",
        upstream="/src/OSX-KVM",
        boot_script="boot-macOS-headless.sh",
        accel="kvm",
        cpu="Haswell-noTSX",
        cpu_flags=("+avx2", "-hle"),
        memory_bytes=16 << 30,
        sockets=1,
        cores=6,
        threads=12,
        disk_bytes=128 << 30,
        ssh_port=2222,
        ssh_user="me",
        console_port=8080,
        stop_timeout_s=90.0,
        qemu_args=("-device", "usb-mouse"),
    )


def test_every_key_can_come_from_the_environment_and_from_a_flag() -> None:
    texts = {
        "upstream": "/u", "boot_script": "b.sh", "accel": "tcg", "cpu": "Penryn", "cpu_flags": "+avx,-hle", "memory": "1G",
        "sockets": "2", "cores": "2", "threads": "4", "disk": "9G", "ssh_port": "23", "ssh_user": "u", "console_port": "24",
        "stop_timeout": "1.5", "qemu_args": "-S -s", "macos": "14", "boot_disk": "/b", "topology": "as-asked", "clipboard": "yes",
        "qemu": "/q", "boot_args": "-i", "boot_env": "RAM=1", "boot_input": "y", "boot_timeout": "3", "disk_file": "own",
        "upstream_drives": "none", "network": "tap:t0", "mac": "52:54:00:12:34:56", "ssh_host": "h", "keep": "gdb vnc",
        "forwards": "8080:80 5353:53/udp", "reverse": "5432",
        "identity": "own", "apple_services": "yes", "vfio": "01:00.0", "usb": "05ac:12a8",
        "snapshots": "every=1d keep=7", "set_clock": "no", "balloon": "yes", "console_tls": "yes", "console_tls_cert": "/c.pem", "console_tls_key": "/c.key",
        "shares": "~/work by 9p; /srv/m as songs read-only",
        "encrypt": "yes", "passphrase_file": "/p",
        "display": "virtio-gpu", "resolution": "1920x1080", "displays": "2",
    }  # fmt: skip
    assert set(texts) == {setting.key for setting in SETTINGS}
    none = read_file(None)
    by_env = spec_of(none, env={setting.env: texts[setting.key] for setting in SETTINGS})
    assert by_env == spec_of(none, flags=texts)
    assert by_env.qemu_args == ("-S", "-s")
    assert by_env.cpu_flags == ("+avx", "-hle")


def test_the_table_and_the_spec_name_the_same_things() -> None:
    renamed = {"memory": "memory_bytes", "disk": "disk_bytes", "stop_timeout": "stop_timeout_s"}
    renamed["boot_timeout"] = "boot_timeout_s"
    keys = {renamed.get(setting.key, setting.key) for setting in SETTINGS}
    assert keys | {"name", "reasons"} == {field.name for field in dataclasses.fields(MachineSpec)}
    assert all(setting.help and setting.help[-1] != "." for setting in SETTINGS)


@pytest.mark.parametrize("model", ["Haswell-noTSX,+avx2", "", " host", "-host", "a b", "host\n"])
def test_a_cpu_model_is_a_name_without_flags(model: str) -> None:
    with pytest.raises(ConfigError, match="--cpu must be a CPU model's name without flags"):
        spec_of(read_file(None), flags={"cpu": model})


@pytest.mark.parametrize("mac", ["52:54:00:12:34", "53:54:00:12:34:56", "52-54-00-12-34-56", "52:54:00:12:34:5g", ""])
def test_a_mac_address_is_six_bytes_of_one_card(mac: str) -> None:
    with pytest.raises(ConfigError, match="--mac must be a MAC address of one card"):
        spec_of(read_file(None), flags={"mac": mac})


@pytest.mark.parametrize(
    "network", ["bridge", "bridge:", "tap:a/b", "bridge:a,b", "bridge:abcdefghijklmnop", "slirp", "user:x"]
)
def test_a_network_is_a_known_word_or_a_device(network: str) -> None:
    with pytest.raises(ConfigError, match="--network must be"):
        spec_of(read_file(None), flags={"network": network})


@pytest.mark.parametrize("env", [{"1A": "x"}, {"A": 1}, {"A B": "x"}, ["A=1"], {"A": "\0"}])
def test_variables_of_the_boot_script_are_a_table_of_texts(env: object) -> None:
    with pytest.raises(ConfigError, match="--boot-env must be a table"):
        spec_of(read_file(None), flags={"boot_env": env})


def test_what_is_kept_open_is_named_by_known_words() -> None:
    assert spec_of(read_file(None), flags={"keep": "gdb, gdb vnc"}).keep == ("gdb", "vnc")
    with pytest.raises(ConfigError, match="--keep must be a list of gdb"):
        spec_of(read_file(None), flags={"keep": "gdb ssh"})
