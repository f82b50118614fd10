"""Display adapters of QEMU: the abilities of each, and how it gets a picture's size. Band: core, no I/O.

A guest without a driver for its adapter shows the firmware's picture; the firmware and OpenCore choose its size. The
firmware (EDK2, OvmfPkg) has a fixed list of sizes, and adds the size in the adapter's EDID to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pommel.machine.commandline import Argument, CommandLine
from pommel.machine.keyed import Keyed

MOST_OUTPUTS = 16  # VIRTIO_GPU_MAX_SCANOUTS
_SIZE = re.compile(r"([1-9]\d{2,4})x([1-9]\d{2,4})\Z")
_LEAST, _MOST = (640, 480), (8192, 4320)  # the firmware shows no picture on a smaller size, and has no larger one
_PIXEL_BYTES = 4
_MIB = 1 << 20
# hw/display/vmware_vga.c, SVGA_MAX_WIDTH and SVGA_MAX_HEIGHT: the maximum that its registers report to a driver.
VMWARE_MOST = (2368, 1770)
# The largest picture that QEMU 7.2's VNC server shows (ui/vnc.h, VNC_MAX_WIDTH and VNC_MAX_HEIGHT).
VNC_MOST = (2560, 2048)
# OvmfPkg/QemuVideoDxe/Initialize.c, QemuVideoBochsModes, without 1366x768, because QEMU makes it 1360 wide.
FIRMWARE_SIZES = frozenset({
    (640, 480), (800, 480), (800, 600), (832, 624), (960, 640), (1024, 600), (1024, 768), (1152, 864), (1152, 870),
    (1280, 720), (1280, 760), (1280, 768), (1280, 800), (1280, 960), (1280, 1024), (1360, 768),
    (1400, 1050), (1440, 900), (1600, 900), (1600, 1200), (1680, 1050), (1920, 1080), (1920, 1200), (1920, 1440),
    (2000, 2000), (2048, 1536), (2048, 2048), (2560, 1440), (2560, 1600), (2560, 2048), (2800, 2100), (3200, 2400),
    (3840, 2160), (4096, 2160), (7680, 4320), (8192, 4320),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Adapter:
    """One of QEMU's display devices.

    `memory` is the property for the picture's memory, in MiB (`vgamem_mb`) or bytes (`vgamem`); "" if the picture is in
    the guest's own memory. `sized`: it has `xres` and `yres`, which it reports to the guest's driver. `any_size`: the
    firmware uses them too. `step`: QEMU cuts the width to a multiple of it (hw/display/vga.c, vbe_fixup_regs).
    """

    driver: str
    memory: str = ""
    sized: bool = False
    any_size: bool = False
    step: int = 8
    outputs: int = 1


ADAPTERS: dict[str, Adapter] = {
    each.driver: each
    for each in (
        Adapter("vmware-svga", "vgamem_mb"),
        Adapter("VGA", "vgamem_mb", sized=True, any_size=True),
        Adapter("secondary-vga", "vgamem_mb", sized=True, any_size=True),
        Adapter("bochs-display", "vgamem", sized=True, any_size=True, step=1),
        Adapter("qxl-vga", "vgamem_mb", sized=True),
        Adapter("qxl", "vgamem_mb", sized=True),
        Adapter("cirrus-vga", "vgamem_mb"),
        Adapter("ati-vga", "vgamem_mb"),
        Adapter("ramfb", step=1),
        Adapter("virtio-vga", sized=True, outputs=MOST_OUTPUTS),
        Adapter("virtio-vga-gl", sized=True, outputs=MOST_OUTPUTS),
        *(
            Adapter(name, sized=True, any_size=True, step=1, outputs=MOST_OUTPUTS)
            for name in ("virtio-gpu-pci", "virtio-gpu", "virtio-gpu-gl-pci", "virtio-gpu-gl", "virtio-gpu-device")
        ),
    )
}
# Their names in the setting `display`.
CHOICES = {
    "vmware": "vmware-svga",
    "vga": "VGA",
    "virtio-gpu": "virtio-vga",
    "qxl": "qxl-vga",
    "bochs": "bochs-display",
}
# With one of these, QEMU adds no adapter of its own (softmmu/vl.c, default_list).
_FIRST = {"VGA", "cirrus-vga", "vmware-svga", "qxl-vga", "virtio-vga", "virtio-vga-gl", "ati-vga"}
# Their names in -vga (softmmu/vl.c, vga_interfaces).
_VGA = {"std": "VGA", "cirrus": "cirrus-vga", "vmware": "vmware-svga", "qxl": "qxl-vga", "virtio": "virtio-vga"}


@dataclass(frozen=True, slots=True)
class FoundAdapter:
    """An adapter on a command line: from a `-device`, from `-vga`, or QEMU's default if both are missing."""

    adapter: Adapter
    device: Argument | None = None
    vga: Argument | None = None

    @property
    def keyed(self) -> Keyed:
        """The parsed device option."""
        return Keyed.parse("device", (self.device.value if self.device else None) or "")


def parse_size(text: str) -> tuple[int, int]:
    """Parse `WIDTHxHEIGHT`.

    Raises:
        ValueError: with a phrase that completes "… must be".
    """
    found = _SIZE.match(text)
    size = (int(found[1]), int(found[2])) if found else (0, 0)
    if not all(low <= each <= high for low, each, high in zip(_LEAST, size, _MOST, strict=True)):
        least, most = ("x".join(map(str, each)) for each in (_LEAST, _MOST))
        raise ValueError(f"a size from {least} to {most}, such as 1920x1080")
    return size


def parse_resolution(raw: Any) -> str:
    """The setting `resolution`: a size, as a text."""
    if not isinstance(raw, str):
        raise ValueError("a size in quotes, such as 1920x1080")
    return "x".join(map(str, parse_size(raw.strip())))


def parse_outputs(raw: Any) -> int:
    """The setting `displays`: the number of displays."""
    number = int(raw) if isinstance(raw, str) and raw.isascii() and raw.isdigit() else raw
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MOST_OUTPUTS:
        raise ValueError(f"a number from 1 to {MOST_OUTPUTS}")
    return number


def on_line(line: CommandLine) -> tuple[FoundAdapter, ...]:
    """The display adapters of a command line, in order, with the one that QEMU adds if there is no first adapter."""
    devices = [(Keyed.parse("device", argument.value or ""), argument) for argument in line.find("device")]
    found = [
        FoundAdapter(ADAPTERS[name], argument) for each, argument in devices if (name := each.get("driver")) in ADAPTERS
    ]
    words = line.find("vga")
    word = words[-1].value if words else None
    if words:
        named = _VGA.get((word or "").partition(",")[0])
        return (*([FoundAdapter(ADAPTERS[named], vga=words[-1])] if named else []), *found)
    if line.find("nodefaults") or any(each.adapter.driver in _FIRST for each in found):
        return tuple(found)
    return (FoundAdapter(ADAPTERS["VGA"]), *found)


def room_mib(size: tuple[int, int]) -> int:
    """The MiB of picture memory that an adapter needs for this size: a power of two, as QEMU rounds it up anyway."""
    bytes_needed = size[0] * size[1] * _PIXEL_BYTES
    mib = 1
    while mib * _MIB < bytes_needed:
        mib *= 2
    return mib


def firmware_size(adapter: Adapter | None, size: tuple[int, int]) -> tuple[int, int]:
    """The size that the firmware shows for `size`; for a size that it does not have, it would show 800x600."""
    width, height = size
    if adapter is not None and adapter.any_size:
        return width - width % adapter.step, height
    return size if size in FIRMWARE_SIZES else min(sorted(FIRMWARE_SIZES), key=lambda each: _apart(each, size))


def _apart(one: tuple[int, int], other: tuple[int, int]) -> int:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def spelled(size: tuple[int, int]) -> str:
    """A size as text: WIDTHxHEIGHT."""
    return f"{size[0]}x{size[1]}"


def notes(adapter: Adapter, size: tuple[int, int]) -> Iterator[str]:
    """The limits of this adapter for a picture's size, one line each."""
    wanted = f"resolution {spelled(size)}"
    if (shown := firmware_size(adapter, size)) != size:
        yield (
            f"{wanted}: the firmware shows {spelled(shown)} on {adapter.driver}, which is the nearest that it supports"
        )
    if adapter.driver == "vmware-svga" and (size[0] > VMWARE_MOST[0] or size[1] > VMWARE_MOST[1]):
        yield f"{wanted}: the maximum of vmware-svga is {spelled(VMWARE_MOST)}"
    if size[0] > VNC_MOST[0] or size[1] > VNC_MOST[1]:
        yield (
            f"{wanted}: QEMU 7.2 shows {spelled(VNC_MOST)} on its VNC server, which the page shows; the rest cannot "
            "be seen"
        )
