"""QEMU's configuration files as arguments; the real QEMU says whether they mean the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pommel.errors import UpstreamError
from pommel.machine.commandline import CommandLine
from pommel.machine.readconfig import arguments_in, expanded
from pommel.process import run

TEXT = """
# made by hand
[drive "MacHDD"]
  if = "none"
  file = "mac,hdd.img"
  format = "qcow2"

[device]
  driver = "ide-hd"
  drive = "MacHDD"
[device "nic"]
  driver = "virtio-net-pci"
[machine]
  type = "q35"
  accel = "tcg"
[memory]
  size = "4G"
[smp-opts]
  cpus = "2"
[global]
  driver = "ICH9-LPC"
  property = "disable_s3"
  value = "1"
[object "o"]
  qom-type = "throttle-group"
"""
WORDS = [
    "-drive id=MacHDD,if=none,file=mac,,hdd.img,format=qcow2",
    "-device ide-hd,drive=MacHDD",
    "-device virtio-net-pci,id=nic",
    "-machine q35,accel=tcg",
    "-m 4G",
    "-smp 2",
    "-global driver=ICH9-LPC,property=disable_s3,value=1",
    "-object throttle-group,id=o",
]


def test_groups_become_options() -> None:
    made = arguments_in(TEXT, "mac.cfg")
    assert [argument.text for argument in made] == WORDS
    assert {argument.reason for argument in made} == {"read from mac.cfg"}


def test_they_stand_where_the_file_was_named() -> None:
    line = CommandLine.parse("qemu", ["-enable-kvm", "-readconfig", "a.cfg", "-vga", "none"])
    found = expanded(line, lambda name: '[name]\nguest = "x"' if name == "a.cfg" else "")
    assert found.words == ("-enable-kvm", "-name", "x", "-vga", "none")


@pytest.mark.parametrize("text", ['[nonsense]\na = "b"', 'a = "b"', "[drive]\nfile = x", "[drive", "junk"])
def test_what_is_not_known_is_refused_by_name(text: str) -> None:
    with pytest.raises(UpstreamError, match=r"-readconfig a.cfg: line \d cannot be read") as told:
        arguments_in(text, "a.cfg")
    assert "-readconfig" in (told.value.hint or "")


def test_the_real_qemu_takes_the_options(tmp_path: Path) -> None:
    run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "mac,hdd.img", "1M"])
    given = [word for argument in arguments_in(TEXT, "c") for word in argument.words]
    qemu = shutil.which("qemu-system-x86_64") or ""
    log = tmp_path / "log"
    code = tmp_path / "quit"
    code.write_text("info block\nquit\n")
    shell = f'cd "$1"; shift; exec "$@" < {code} > {log} 2>&1'
    words = ["-nodefaults", "-S", "-display", "none", "-monitor", "stdio"]
    run(["sh", "-c", shell, "sh", str(tmp_path), qemu, *given, *words], timeout_s=60)
    assert "MacHDD" in log.read_text() and "mac,hdd.img" in log.read_text()
