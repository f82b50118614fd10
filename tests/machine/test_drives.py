"""The drives of a command line: hostile lines are refused in time."""

from __future__ import annotations

import time

import pytest

from pommel.errors import UpstreamError
from pommel.machine.commandline import CommandLine
from pommel.machine.drives import drives_in, inlined

QEMU = "qemu-system-x86_64"


def test_a_chain_of_nodes_is_written_as_one_drive() -> None:
    words = ["-blockdev", "driver=file,node-name=f,filename=/a", "-blockdev", "driver=qcow2,node-name=q,file=f"]
    line = CommandLine.parse(QEMU, [*words, "-device", "virtio-blk-pci,drive=q"])
    (drive,) = drives_in(line)
    said = inlined(line, drive).render()
    assert said == "id=q,if=none,driver=qcow2,file.driver=file,file.node-name=f,file.filename=/a"


def test_nodes_that_name_one_another_over_and_over_are_refused() -> None:
    words = ["-blockdev", "driver=file,node-name=n14,filename=/a"]
    for number in range(14):
        below = f"n{number + 1}"
        words += ["-blockdev", f"driver=qcow2,node-name=n{number},file={below},backing={below},x.file={below}"]
    line, begun = CommandLine.parse(QEMU, words), time.process_time()
    (drive,) = drives_in(line)
    with pytest.raises(UpstreamError, match="in a loop"):
        inlined(line, drive)
    assert time.process_time() - begun < 10


@pytest.mark.parametrize("unit", ["²", "9" * 5000, "٣"])
def test_a_unit_of_flash_that_is_no_number(unit: str) -> None:
    line = CommandLine.parse(QEMU, ["-drive", f"if=pflash,unit={unit},file=a.fd"])
    assert [drive.flash for drive in drives_in(line)] == [0]
