from __future__ import annotations

from pommel.machine.commandline import CommandLine
from pommel.machine.upstream_files import UpstreamFiles, absolute, upstream_files

from .given import line_with, upstream_line


def test_files_of_both_layouts() -> None:
    assert upstream_files(upstream_line("code_4m"), "/up") == UpstreamFiles(
        firmware_code="/up/OVMF_CODE_4M.fd",
        firmware_variables="/up/OVMF_VARS-1920x1080.fd",
        disk="/up/mac_hdd_ng.img",
        boot_disk="/up/OpenCore/OpenCore.qcow2",
        installer="/up/BaseSystem.img",
        disk_format="qcow2",
        disk_drive="MacHDD",
        boot_disk_format="qcow2",
    )
    assert upstream_files(upstream_line("code_2m"), "/up").firmware_code == "/up/OVMF_CODE.fd"


def test_files_that_are_not_there() -> None:
    without = ("-drive id=OpenCoreBoot", "-drive id=InstallMedia")
    found = upstream_files(line_with(without=without), "/up")
    assert found.boot_disk is found.installer is None


def test_an_empty_line_names_nothing() -> None:
    found = upstream_files(CommandLine.parse("qemu", []), "/up")
    assert found == UpstreamFiles(None, None, None, None, None)


def test_absolute() -> None:
    assert absolute("././a/../b", "/up") == "/up/b"
    assert absolute("/b", "/up") == "/b"
    assert absolute("fat:rw:dir", "/up") == "fat:rw:dir"
