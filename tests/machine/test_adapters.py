"""Display adapters on command lines: which there are, how one is changed, told a size, given further outputs."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from machine.given import line_with, overlaid, placement
from pommel.errors import ConfigError
from pommel.machine.adapters import (
    ADAPTERS,
    CHOICES,
    FIRMWARE_SIZES,
    firmware_size,
    notes,
    on_line,
    parse_outputs,
    parse_resolution,
    room_mib,
)
from pommel.machine.commandline import Argument, CommandLine
from pommel.machine.rules import Overlaid

OWN = "-device vmware-svga"  # the upstream's


def line(*words: str) -> CommandLine:
    """The upstream's line with other adapters than its own."""
    return line_with(*words, without=(OWN,))


def added(done: Overlaid, *names: str) -> list[str]:
    kinds = ("vga", "global", "vnc")
    found = [a for a in done.command_line.arguments if a.name in kinds or a.sub.head in ADAPTERS or "pommel" in a.text]
    return [a.text for a in found if not a.text.startswith("-name") and (not names or a.name in names)]


def devices(done: Overlaid) -> list[Argument]:
    return [each.device for each in on_line(done.command_line) if each.device is not None]


def drivers(*words: str) -> list[str]:
    return [each.adapter.driver for each in on_line(CommandLine.parse("q", words))]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), ["VGA"]),
        (("-nodefaults",), []),
        (("-vga", "none"), []),
        (("-vga", "std"), ["VGA"]),
        (("-vga", "qxl", "-device", "qxl"), ["qxl-vga", "qxl"]),
        (("-device", "vmware-svga,vgamem_mb=64"), ["vmware-svga"]),
        (("-device", '{"driver":"virtio-vga","id":"v"}'), ["virtio-vga"]),
        (("-device", "bochs-display"), ["VGA", "bochs-display"]),
        (("-vga", "none", "-device", "bochs-display"), ["bochs-display"]),
        (("-device", "VGA", "-device", "secondary-vga"), ["VGA", "secondary-vga"]),
    ],
)
def test_which_adapters_a_line_has_is_what_qemu_makes_of_it(words: tuple[str, ...], found: list[str]) -> None:
    assert drivers(*words) == found
    asked = ["qemu-system-x86_64", "-M", "q35", "-display", "none", "-S", "-monitor", "stdio", "-m", "64", *words]
    told = subprocess.run(asked, input=b"info qtree\nquit\n", capture_output=True, check=True, timeout=120).stdout
    text = told.decode(errors="replace")
    names = [name for name in ADAPTERS if name != "virtio-gpu-device"]  # it is a part of each of the virtio kind
    assert sorted(name for name in names for _ in range(text.count(f'dev: {name}, id "'))) == sorted(found)


def test_nothing_is_changed_where_nothing_is_asked_for() -> None:
    assert "-device vmware-svga" in added(overlaid())
    assert [change for change in overlaid().changes if change.rule == "adapter"] == []


@pytest.mark.parametrize("name", CHOICES)
def test_an_adapter_takes_the_place_of_the_boot_scripts(name: str) -> None:
    done = overlaid(line("-device", "VGA,id=v,bus=pcie.0,addr=0x1f,vgamem_mb=128"), display=name)
    (device,) = (a for a in done.command_line.find("device") if a.sub.head in ADAPTERS)
    want = CHOICES[name]
    more = ",vgamem_mb=128" if want == "VGA" else ""
    assert device.value == f"{want},id=v,bus=pcie.0,addr=0x1f{more}"
    assert [each.adapter.driver for each in on_line(done.command_line)] == [want]


@pytest.mark.parametrize("words", [(), ("-vga", "std"), ("-vga", "none"), ("-vga", "qxl")])
def test_where_the_boot_script_names_no_device_one_is_added(words: tuple[str, ...]) -> None:
    done = overlaid(line(*words), display="bochs")
    assert added(done, "vga", "device") == ["-vga none", "-device bochs-display"] or added(done, "vga", "device") == [
        "-device bochs-display",
        "-vga none",
    ]


def test_of_two_adapters_none_is_changed() -> None:
    with pytest.raises(ConfigError, match="boot script has VGA and secondary-vga") as refused:
        overlaid(line("-device", "VGA", "-device", "secondary-vga"), display="vmware")
    assert "remove the display setting" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("words", "size", "found"),
    [
        (("-device", "vmware-svga"), "1920x1080", ["-device vmware-svga"]),
        (("-device", "vmware-svga"), "2560x1600", ["-device vmware-svga"]),
        (("-device", "vmware-svga"), "2560x2048", ["-device vmware-svga,vgamem_mb=32"]),
        (("-device", "vmware-svga,vgamem_mb=64"), "2560x2048", ["-device vmware-svga,vgamem_mb=64"]),
        (("-device", "VGA,xres=800,yres=600"), "1920x1080", ["-device VGA,xres=1920,yres=1080"]),
        (("-vga", "std"), "2560x2048", ["-vga std", "-global VGA.xres=2560", "-global VGA.yres=2048", "-global VGA.vgamem_mb=32"]),
        ((), "1280x720", ["-global VGA.xres=1280", "-global VGA.yres=720"]),
        (("-vga", "none"), "1280x720", ["-vga none"]),
        (("-vga", "none", "-device", "bochs-display"), "2560x2048", ["-vga none", "-device bochs-display,xres=2560,yres=2048,vgamem=33554432"]),
        (("-device", '{"driver":"virtio-vga","id":"v"}'), "1280x720", ['-device {"driver":"virtio-vga","id":"v","xres":1280,"yres":720}']),
    ],
)  # fmt: skip
def test_every_adapter_is_told_the_size_in_its_own_way(words: tuple[str, ...], size: str, found: list[str]) -> None:
    done = overlaid(line(*words), resolution=size)
    assert [a.text for a in done.command_line.arguments if a.name in ("vga", "global") or a in devices(done)] == found


def test_what_a_size_lacks_is_told() -> None:
    told = {name: list(notes(ADAPTERS[name], (1500, 860))) for name in ("vmware-svga", "VGA", "bochs-display")}
    assert told["bochs-display"] == []
    assert "the firmware shows 1496x860 on VGA" in told["VGA"][0]
    assert "the firmware shows 1440x900 on vmware-svga" in told["vmware-svga"][0]
    large = overlaid(line("-device", "vmware-svga"), resolution="3840x2160").warnings
    assert any("vmware-svga is 2368x1770" in each for each in large) and any("2560x2048" in each for each in large)
    assert not overlaid(line("-device", "vmware-svga"), resolution="1920x1080").warnings


def test_the_firmware_is_told_a_size_that_it_has() -> None:
    assert firmware_size(ADAPTERS["vmware-svga"], (1920, 1080)) == (1920, 1080)
    assert firmware_size(ADAPTERS["vmware-svga"], (1366, 768)) == (1360, 768)
    assert firmware_size(ADAPTERS["virtio-gpu-pci"], (1501, 861)) == (1501, 861)
    assert firmware_size(None, (641, 481)) == (640, 480)
    assert all(width % 8 == 0 for width, _ in FIRMWARE_SIZES)


def test_further_displays_have_a_socket_each() -> None:
    done = overlaid(line("-device", "virtio-vga,id=g"), place=placement("/m,1"), displays=3)
    assert "-device virtio-vga,id=g,max_outputs=3" in added(done)
    assert added(done, "vnc")[1:] == [
        f"-vnc unix:/m,,1/vnc-{n + 1}.sock,display=g,head={n},share=ignore,lock-key-sync=off" for n in (1, 2)
    ]
    done = overlaid(line("-vga", "virtio"), displays=2)
    assert {"-vga none", "-device virtio-vga,id=pommel-display,max_outputs=2"} <= set(added(done))
    assert overlaid(display="virtio-gpu", displays=2).command_line.find("vnc")


@pytest.mark.parametrize(
    ("words", "more", "why"),
    [
        (("-device", "vmware-svga"), {}, r"vmware-svga \(one output\)"),
        (("-device", "qxl-vga,max_outputs=4"), {}, r"qxl-vga \(one output\)"),
        (("-vga", "none"), {}, "no adapter"),
        (("-device", "virtio-vga", "-device", "VGA"), {}, r"virtio-vga \(one output\) and VGA"),
        (("-device", "virtio-vga"), {"macos": "14"}, "macOS has no driver"),
    ],
)
def test_displays_that_cannot_be_are_refused_by_name(words: tuple[str, ...], more: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=f"displays = 2.*{why}"):
        overlaid(line(*words), displays=2, **more)


def test_values_as_a_person_writes_them() -> None:
    assert (parse_resolution(" 1920x1080 "), parse_outputs("2"), parse_outputs(16)) == ("1920x1080", 2, 16)
    for wrong in (
        "",
        "1920",
        "1920x",
        "1920x1080@32",
        "Max",
        "0640x480",
        "639x480",
        "8193x4320",
        "９20x1080",
        1920,
        None,
        "-1x5",
    ):
        with pytest.raises(ValueError):
            parse_resolution(wrong)
    for odd in (0, 17, True, "0", "x", "²", 1.5, None):
        with pytest.raises(ValueError):
            parse_outputs(odd)


def test_room_for_a_picture() -> None:
    assert [room_mib(size) for size in ((640, 480), (1920, 1080), (2560, 1600), (3840, 2160))] == [2, 8, 16, 32]
