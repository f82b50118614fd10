"""USB devices of the host in a command line: how they are written, and which controller they go to."""

from __future__ import annotations

from pathlib import Path

import pytest

from pommel.errors import ConfigError, MachineError
from pommel.machine import usb_added
from pommel.machine.commandline import CommandLine
from pommel.machine.rules import usb as rule
from pommel.machine.rules.sheet import RuleInput, Sheet
from pommel.machine.usb import Match, asked_by, fastest, in_pci, on_line, parse_device, parse_devices
from pommel.paths import Home

from .given import TCG, placement, spec, upstream_line

PHONE, PLACE = Match(0x05AC, 0x12A8), Match(bus=1, port="2.3")
FOLLOWED = Match(vendor=0x05AC, bus=1, port="2.3")


def laid(line: CommandLine, *wanted: tuple[Match, Match], notes: tuple[str, ...] = ()) -> Sheet:
    given = RuleInput(spec(), TCG, placement(usb=wanted, usb_notes=notes))
    return rule.usb(Sheet(line), given)


def parsed(*words: str) -> CommandLine:
    return CommandLine.parse("qemu-system-x86_64", words)


def added(sheet: Sheet) -> list[str]:
    return [change.after or "" for change in sheet.changes]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("05ac:12a8", PHONE),
        (" 05AC:12A8 ", PHONE),
        ("1-2.3", PLACE),
        ("12-10", Match(bus=12, port="10")),
        ("1-2.3.4.5.6.7.8", Match(bus=1, port="2.3.4.5.6.7.8")),
    ],
)
def test_what_a_person_writes_is_read_and_spelled_back(text: str, match: Match) -> None:
    assert parse_device(text) == match
    assert parse_device(str(match)) == match
    assert asked_by(match.device_id) == match, "QEMU's name of it says who asked"


@pytest.mark.parametrize("text", ["", "iphone", "05ac", "05ac:", "5ac:12a8", "05ac:0000", "0000:1234", "1-", "1-0",
                                  "0-1", "1-2.", "1-2:1.0", "usb1", "1-2.3.4.5.6.7.8.9", "05ac:12a8\n,id=x"])  # fmt: skip
def test_what_is_no_device_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as 05ac:12a8|which QEMU treats as any"):
        parse_device(text)


def test_the_setting_is_a_list_and_the_environment_a_text() -> None:
    assert parse_devices(["05AC:12a8", "1-2.3", "05ac:12a8"]) == ("05ac:12a8", "1-2.3")
    assert parse_devices("05ac:12a8, 1-2.3") == ("05ac:12a8", "1-2.3")
    for wrong in (5, [5], {"a": "b"}):
        with pytest.raises(ValueError, match="a list of texts"):
            parse_devices(wrong)


def test_only_pommels_own_devices_are_asked_for_by_it() -> None:
    assert asked_by("mouse") is None and asked_by("pommel-usb-") is None and asked_by("pommel-usb-0000-0000") is None


def test_each_goes_to_the_fastest_controller_of_the_upstream() -> None:
    sheet = laid(upstream_line(), (PHONE, FOLLOWED), (PLACE, PLACE), notes=("you have no permission to open it",))
    assert added(sheet) == [
        "-device usb-host,id=pommel-usb-05ac-12a8,vendorid=0x05ac,hostbus=1,hostport=2.3,bus=xhci.0",
        "-device usb-host,id=pommel-usb-1-2.3,hostbus=1,hostport=2.3,bus=xhci.0",
    ]
    assert sheet.warnings == ("you have no permission to open it",)
    assert added(laid(upstream_line())) == []


def test_what_the_boot_script_gives_to_the_guest_is_not_given_twice() -> None:
    line = parsed("-device", "qemu-xhci", "-device", "usb-host,vendorid=0x05ac,productid=0x12a8", "-device",
                  '{"driver":"usb-host","hostbus":1,"hostport":"2.3"}')  # fmt: skip
    assert added(laid(line, (PHONE, PHONE), (PLACE, PLACE))) == []
    assert added(laid(line, (Match(0x1050, 0x0407),) * 2)) == [
        "-device usb-host,id=pommel-usb-1050-0407,vendorid=0x1050,productid=0x0407"
    ], "a controller without an id has a bus that only QEMU knows"


def test_a_machine_without_a_controller_is_refused_by_name() -> None:
    for words in ((), ("-M", "q35,usb=off"), ("-device", "virtio-net-pci")):
        with pytest.raises(ConfigError, match="usb 05ac:12a8: sonoma has no USB controller") as refused:
            laid(parsed(*words), (PHONE, PHONE))
        assert "qemu-xhci,id=xhci" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("-usb",), ("piix3-usb-uhci", 12.0)),
        (("-M", "q35", "-usb"), ("ich9-usb-ehci1", 480.0)),
        (("-machine", "pc-q35-8.2,usb=on"), ("ich9-usb-ehci1", 480.0)),
        (("-usb", "-device", "nec-usb-xhci,id=x"), ("nec-usb-xhci", 5000.0)),
        (("-device", "nec-usb-xhci", "-device", "qemu-xhci,id=more"), ("qemu-xhci", 5000.0)),
        (("-device", '{"driver":"usb-ehci","id":"e"}', "-device", "pci-ohci"), ("usb-ehci", 480.0)),
    ],
)
def test_controllers_are_told_by_name_and_speed(words: tuple[str, ...], found: tuple[str, float]) -> None:
    controller = fastest(on_line(parsed(*words)))
    assert controller is not None and (controller.name, controller.mbps) == found


def test_controllers_of_a_running_machine_behind_bridges_too() -> None:
    def device(number: int, ids: tuple[int, int], kind: int, **more: object) -> dict[str, object]:
        said = {"vendor": ids[0], "device": ids[1]}
        return {"slot": number, "class_info": {"class": kind}, "id": said, "qdev_id": "", **more}

    behind = device(0, (0x1B36, 0x000D), 0x0C03, qdev_id="xhci")
    bridge = device(1, (0x1B36, 0x000C), 0x0604, pci_bridge={"bus": {}, "devices": [behind]})
    told = [{"bus": 0, "devices": [bridge, device(2, (0x8086, 0x7020), 0x0C03), device(3, (1, 2), 0x0300)]}]
    assert [(each.name, each.bus) for each in in_pci(told)] == [("piix3-usb-uhci", ""), ("qemu-xhci", "xhci.0")]
    assert in_pci([{"bus": 0, "devices": [device(4, (9, 9), 0x0C03)]}])[0].name == "a USB controller"
    assert fastest(()) is None


def test_what_was_attached_is_kept_and_a_damaged_file_is_refused(tmp_path: Path) -> None:
    paths = Home(tmp_path, tmp_path / "r", tmp_path / "c").machine("m")
    paths.directory.mkdir(parents=True)
    assert usb_added.load(paths) == ()
    usb_added.save(paths, (PHONE, PLACE))
    assert usb_added.load(paths) == (PHONE, PLACE)
    for wrong in ("", "[]", '{"format": 2, "usb": []}', '{"format": 1, "usb": ["x"]}', '{"format": 1}', "[" * 100000):
        (paths.directory / usb_added.FILE).write_text(wrong)
        with pytest.raises(MachineError, match=r"usb\.json cannot be used") as damaged:
            usb_added.load(paths)
        assert "attach the devices of m again" in (damaged.value.hint or "")
