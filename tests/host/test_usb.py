"""USB devices of this host: trees such as /sys has on real hosts, and what is said of them."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from pommel.host import usb_devices
from pommel.host.usb import UsbDevice, UsbFinding, findings, followed, is_mobile, named, rule, with_rules

from .usb_trees import IPHONE, Plugged, tree, unplug


def by_path(root: Path) -> dict[str, UsbDevice]:
    return {each.path: each for each in usb_devices.read_devices(root)}


def told(device: UsbDevice, *muxers: str) -> dict[str, UsbFinding]:
    return {each.name: each for each in findings(device, muxers)}


def test_devices_are_read_in_the_order_of_their_places_and_hubs_are_left_out(tmp_path: Path) -> None:
    found = by_path(tree(tmp_path))
    assert list(found) == ["1-2.3", "1-10", "2-1"]
    phone, stick = found["1-2.3"], found["2-1"]
    assert (phone.ids, phone.bus, phone.port, phone.node) == ("05ac:12a8", 1, "2.3", "/dev/bus/usb/001/007")
    assert (phone.name, phone.serial, phone.speed_mbps) == ("Apple Inc. iPhone", "00008030001", 480.0)
    assert stick.name == "SanDisk Ultra", "the maker is not said twice"
    assert (stick.drivers, stick.speed_mbps) == (("usb-storage",), 5000.0)
    assert phone.may_open and phone.is_mobile and not stick.is_mobile
    unplug(tmp_path, IPHONE)
    assert list(by_path(tmp_path)) == ["1-10", "2-1"], "one that goes while it is read is gone"


def test_a_host_without_usb_and_a_device_that_says_terminal_codes(tmp_path: Path) -> None:
    assert usb_devices.read_devices(tmp_path) == () == usb_devices.muxers(tmp_path)
    tree(tmp_path, (Plugged("1-1", 2, "1234:5678", product="evil\x1b[2J\u202ename", speed="unknown"),))
    (evil,) = usb_devices.read_devices(tmp_path)
    assert evil.name == "evil\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}name"
    assert evil.speed_mbps == 0.0


def test_a_mounted_disk_a_missing_right_and_a_keyboard_are_told_with_the_way_out(tmp_path: Path) -> None:
    tree(tmp_path, mounts="/dev/sdb1 /media/ada/My\\040Stick vfat rw 0 0\n/dev/sda1 / ext4 rw 0 0\n")
    (tmp_path / "dev/bus/usb/002/002").unlink()
    found = by_path(tmp_path)
    stick = told(found["2-1"])
    assert found["2-1"].mounted == ("/media/ada/My Stick",)
    assert (stick["disk"].level, stick["disk"].fix) == ("fail", "umount '/media/ada/My Stick'")
    assert (stick["rights"].level, stick["rights"].fix) == ("fail", "pommel usb permit 0781:5581")
    assert "/dev/bus/usb/002/002" in stick["rights"].text
    assert list(told(found["1-10"])) == ["input"]
    assert told(found["1-2.3"]) == {}


def test_a_volume_on_an_encrypted_partition_counts_as_its_disk(tmp_path: Path) -> None:
    tree(tmp_path, mounts="/dev/mapper/backup /mnt ext4 rw 0 0\n")
    holder = "sys/bus/usb/devices/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb/sdb1/holders/dm-0/dm"
    (tmp_path / holder).mkdir(parents=True)
    (tmp_path / holder / "name").write_text("backup\n")
    assert by_path(tmp_path)["2-1"].mounted == ("/mnt",)


def test_usbmuxd_and_usbfluxd_are_named_for_iphones_only(tmp_path: Path) -> None:
    tree(tmp_path, running=("bash", "usbmuxd", "usbfluxd"))
    assert usb_devices.muxers(tmp_path) == ("usbmuxd", "usbfluxd")
    found = by_path(tmp_path)
    phone = told(found["1-2.3"], "usbmuxd", "usbfluxd")
    assert "systemctl mask --now usbmuxd" in (phone["usbmuxd"].fix or "")
    assert "usbfluxd" in (phone["usbfluxd"].fix or "")
    assert told(found["1-10"], "usbmuxd").keys() == {"input"}


def test_the_program_that_has_a_device_open_is_named(tmp_path: Path) -> None:
    tree(tmp_path)
    shutil.rmtree(tmp_path / "proc")
    (tmp_path / "proc").symlink_to("/proc")  # this test's own process is the holder
    with (tmp_path / "dev/bus/usb/001/007").open("rb"):
        phone = by_path(tmp_path)["1-2.3"]
        assert [holder.pid for holder in phone.holders] == [os.getpid()]
        assert f"(pid {os.getpid()}) has it open" in told(phone)["program"].text
        assert list(findings(phone, ours=os.getpid())) == [], "the guest's own QEMU is in nobody's way"
    assert by_path(tmp_path)["1-2.3"].holders == ()


def test_an_iphone_is_followed_through_its_modes_and_no_other_device_of_apple_is(tmp_path: Path) -> None:
    assert all(is_mobile(0x05AC, product) for product in (0x12A8, 0x12AB, 0x1290, 0x1281, 0x1227))
    assert not any(is_mobile(0x05AC, product) for product in (0x024F, 0x12B0, 0x1284)) and not is_mobile(0x1050, 0x12A8)
    tree(tmp_path)
    there = usb_devices.read_devices(tmp_path)
    phone = followed(there, 0x05AC, 0x12A8)
    assert phone is not None and phone.path == "1-2.3"
    recovery = tuple(replace(each, product=0x1281) if each.is_mobile else each for each in there)
    again = followed(recovery, 0x05AC, 0x12A8)
    assert again is not None and again.path == "1-2.3", "it restores"
    assert followed((phone, replace(phone, path="1-4", port="4")), 0x05AC, 0x12A8) is None, "which of two is not known"
    ipad = replace(phone, product=0x12AB)
    assert followed((ipad,), 0x05AC, 0x12A8) is None
    assert followed(there, 0x1050, 0x0407) is None


def test_a_device_is_found_by_a_part_of_its_name_or_its_serial_number(tmp_path: Path) -> None:
    there = usb_devices.read_devices(tree(tmp_path))
    assert [each.path for each in named(there, "yubi")] == ["1-10"]
    assert [each.path for each in named(there, "4c53")] == ["2-1"]
    assert [each.path for each in named(there, "4c5")] == [], "a serial number counts whole"
    assert named(there, " ") == ()


def test_a_rule_is_for_one_user_and_keeps_what_the_file_has() -> None:
    key = rule(0x1050, 0x0407, 0, "", 1000)
    assert key == (
        'ACTION!="remove", SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_device", ATTR{idVendor}=="1050", '
        'ATTR{idProduct}=="0407", OWNER="1000"'
    )
    assert 'ATTR{idProduct}=="12[289a][0-9a-f]"' in rule(0x05AC, 0x12A8, 0, "", 1000), "in every mode"
    assert 'KERNEL=="1-2.3", OWNER="1000"' in rule(0, 0, 1, "2.3", 1000)
    once = with_rules("", [key])
    assert once.startswith("# Written by `pommel usb permit`") and once.endswith(key + "\n")
    assert with_rules(once, [key, key]) == once
    assert with_rules('mine, OWNER="0"\n', [key]) == f'mine, OWNER="0"\n{key}\n'
