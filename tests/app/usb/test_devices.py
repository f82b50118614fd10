"""USB devices of a host given to machines and taken back. The host is a tree of the test's own; QEMU is real.

No test has a USB device of the real host: QEMU takes the test's for ones that are not plugged in. That a guest can use a
device that QEMU plugs into it is shown by devices that QEMU emulates.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from host.usb_trees import IPHONE, KEY, STICK, Plugged, tree, unplug
from json_keys import offences
from machine import bare
from pommel.app.usb import devices as usb
from pommel.app.usb import plugging as usb_plugging
from pommel.app.usb.devices import Devices, UsbRow
from pommel.app.workspace import Workspace
from pommel.errors import MachineError, NotPermitted, StateError, UsageError
from pommel.machine import lifecycle, qmp, record, usb_added, usb_plug
from pommel.machine.record import MachineRecord
from pommel.machine.usb import Match
from pommel.paths import MachinePaths
from pommel.progress import Progress

PHONE = "05ac:12a8"


class Bench:
    """A machine m of a home, and a host whose USB devices are files."""

    def __init__(self, workspace: Workspace, root: Path) -> None:
        self.workspace, self.root = workspace, root
        self.said: list[str] = []
        paths = bare.make(workspace.home)
        paths.make_runtime()
        uuid = "00000000-0000-4000-8000-000000000000"
        made = MachineRecord("m", "osx-kvm", uuid, "52:54:00:00:00:01", 24900, "2026-01-01T00:00:00+00:00")
        record.save(paths.record, made)

    @property
    def paths(self) -> MachinePaths:
        return self.workspace.paths("m")

    def start(self, *words: str) -> None:
        lifecycle.start(self.paths, bare.argv(self.paths, *words), accel="tcg")

    def settings(self, text: str) -> None:
        (self.workspace.cwd / "pommel.toml").write_text(f"[machine.m]\n{text}\n")
        self.workspace = Workspace(self.workspace.home, self.workspace.cwd, {})

    def attach(self, *texts: str, once: bool = False) -> dict[str, UsbRow]:
        self.said.clear()
        return rows(
            usb_plugging.attach("m", texts, once=once, workspace=self.workspace, report=self.hear, root=self.root)
        )

    def detach(self, *texts: str, once: bool = False) -> dict[str, UsbRow]:
        return rows(usb_plugging.detach("m", texts, once=once, workspace=self.workspace, root=self.root))

    def listed(self) -> dict[str, UsbRow]:
        return rows(usb.listed("m", workspace=self.workspace, root=self.root))

    def hear(self, event: Progress) -> None:
        self.said.append(event.text)

    def placed(self) -> list[str]:
        told = usb.placed(self.workspace, self.workspace.spec("m"), root=self.root)
        return [f"{wanted} as {match}" for wanted, match in told.get("usb", ())]

    def notes(self) -> tuple[str, ...]:
        notes: tuple[str, ...] = usb.placed(self.workspace, self.workspace.spec("m"), root=self.root)["usb_notes"]
        return notes


def rows(told: Devices) -> dict[str, UsbRow]:
    """The machine's devices, and proof that `--json` prints them by its table."""
    assert list(offences(told.as_dict())) == []
    return {row.usb_device: row for row in told.usb}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bare.short_home() as home:
        (tmp_path / "pommel.toml").write_text("[machine.m]\n")
        yield Bench(Workspace(home, tmp_path, {}), tree(tmp_path / "host"))


def test_of_a_stopped_machine_it_is_kept_and_given_at_each_start_until_it_is_detached(bench: Bench) -> None:
    there = bench.attach(PHONE, "1-10", "yubi", "1234:5678")
    assert list(map(str, usb_added.load(bench.paths))) == [PHONE, "1-10", "1050:0407", "1234:5678"]
    phone, absent = there[PHONE], there["1234:5678"]
    assert (phone.origin, phone.live, phone.in_guest, phone.usb_path) == ("added", False, False, "1-2.3")
    assert phone.description == "Apple Inc. iPhone" and absent.usb_path is None
    assert any("1234:5678 is not plugged in; it is attached when it is plugged in" in text for text in bench.said)
    assert any(f"{PHONE} is followed at 1-2.3 when it changes its mode" in text for text in bench.said)
    assert any("keyboard or mouse of this host" in text for text in bench.said)
    assert bench.placed() == [f"{PHONE} as 05ac:* in 1-2.3", "1-10 as 1-10", "1050:0407 as 1050:0407",
                              "1234:5678 as 1234:5678"]  # fmt: skip
    assert bench.attach(PHONE).keys() == there.keys(), "the same again changes nothing"
    assert bench.detach("iphone", "1-10", "1234:5678").keys() == {"1050:0407"}
    assert bench.detach("1050:0407") == {} and bench.placed() == []
    with pytest.raises(StateError, match=f"m has no USB device {PHONE}") as gone:
        bench.detach(PHONE)
    assert "pommel usb list m" in (gone.value.hint or "")
    with pytest.raises(StateError, match="m is not running"):
        bench.attach(PHONE, once=True)


def test_what_cannot_be_meant_or_had_is_refused_with_what_to_type(bench: Bench) -> None:
    tree(bench.root / "two", (STICK, Plugged("2-4", 5, STICK.ids, "SanDisk", "Other"), IPHONE, KEY))
    bench.root = bench.root / "two"
    for text, said in (("nothing", "this host has no USB device 'nothing'"), ("sandisk", "may be 2-1 .* or 2-4"),
                       (STICK.ids, "2 devices are 0781:5581: 2-1, 2-4")):  # fmt: skip
        with pytest.raises(UsageError, match=said) as refused:
            bench.attach(text)
        assert refused.value.hint
    assert bench.attach("other").keys() == {"2-4"}, "where two have its ids, it is meant by its place"
    (bench.root / "proc/self/mounts").write_text("/dev/sdb1 /mnt vfat rw 0 0\n")
    with pytest.raises(StateError, match="has its disk mounted at /mnt") as mounted:
        bench.attach("2-1")
    assert mounted.value.hint == "umount /mnt"
    (bench.root / "dev/bus/usb/001/009").unlink()
    with pytest.raises(NotPermitted, match="you have no permission to open /dev/bus/usb/001/009") as right:
        bench.attach("1050:0407")
    assert right.value.hint == "pommel usb permit 1050:0407"
    assert list(map(str, usb_added.load(bench.paths))) == ["2-4"], "what is refused is not kept"


def test_a_setting_stands_until_it_is_changed_there_and_a_start_and_the_doctor_say_what_is_in_its_way(
    bench: Bench,
) -> None:
    bench.settings(f'usb = ["{PHONE}", "1-10"]')
    (bench.root / "proc/7").mkdir()
    (bench.root / "proc/7/comm").write_text("usbmuxd\n")
    (bench.root / "dev/bus/usb/001/009").unlink()
    usb_added.save(bench.paths, [Match(0x1234, 0x5678)])
    assert {key: row.origin for key, row in bench.listed().items()} == {
        PHONE: "settings", "1-10": "settings", "1234:5678": "added"
    }  # fmt: skip
    notes = " ".join(bench.notes())
    assert "usbmuxd" in notes and "systemctl mask --now usbmuxd" in notes and "pommel usb permit" in notes
    with pytest.raises(UsageError, match="is set in the settings of m") as stands:
        bench.detach(PHONE)
    assert "change usb in [machine.m]" in (stands.value.hint or "")
    found = list(usb.checks(bench.workspace, bench.workspace.spec("m"), root=bench.root))
    told = {text: fix for _, _, text, fix in found}
    assert "usb 1234:5678 is not plugged in; it is attached when it is plugged in" in told
    assert told["usb 1-10: you have no permission to open /dev/bus/usb/001/009"] == "pommel usb permit 1050:0407"


def test_permission_is_shown_before_it_is_written_and_written_once(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    wanted = usb_plugging.permission(["yubikey", PHONE], root=bench.root)
    assert len(wanted.lines) == 3 and not wanted.path.exists(), "only shown"
    done: list[list[str]] = []
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/udevadm").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/udev\n')
    (tmp_path / "bin/udevadm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    def as_root(words: object) -> None:
        done.append(list(words))  # type: ignore[call-overload]
        usb_plugging.run(done[-1])

    usb_plugging.permit(wanted, run_as_root=as_root)
    assert wanted.path.read_text() == wanted.after and wanted.path.stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "udev").read_text().split("\n")[0] == "control --reload"
    again = usb_plugging.permission([PHONE], root=bench.root)
    assert again.lines == []
    usb_plugging.permit(again, run_as_root=as_root)
    assert len(done) == 1
    usb_plugging.withdraw(run_as_root=as_root, root=bench.root)
    assert not wanted.path.exists()
    wanted.path.write_text("# somebody's own\n")
    usb_plugging.withdraw(run_as_root=as_root, root=bench.root)
    assert wanted.path.exists(), "a file that is not ours stays"


def test_the_list_of_the_host_says_which_machine_has_a_device(bench: Bench) -> None:
    bench.start()
    shutil.rmtree(bench.root / "proc")
    pid = next(iter(usb.pids(bench.workspace)))
    (bench.root / f"proc/{pid}/fd").mkdir(parents=True)
    (bench.root / f"proc/{pid}/fd/9").symlink_to(os.path.realpath(bench.root / "dev/bus/usb/001/007"))
    found = usb.on_host(workspace=bench.workspace, root=bench.root)
    assert [offence for each in found for offence in offences(each.as_dict())] == []
    told = {each.device.path: each.machine for each in found}
    assert told == {"1-2.3": "m", "1-10": None, "2-1": None}
    with pytest.raises(StateError, match=r"1-2\.3 Apple Inc\. iPhone is attached to m, which is running") as taken:
        usb_plugging.refuse_taken(bench.workspace, "n", Match(0x05AC, 0x12A8), bench.root)
    assert taken.value.hint == f"pommel usb detach m {PHONE}"


def test_on_the_running_machine_qemu_takes_it_and_gives_it_back(bench: Bench) -> None:
    bench.start("-device", "qemu-xhci,id=xhci", "-device", "usb-host,id=own,vendorid=0x1111,productid=0x2222")
    there = bench.attach(PHONE, "1234:5678")
    assert (there[PHONE].live, there[PHONE].in_guest) == (True, False)
    assert there["1111:2222"].origin == "boot script"
    held = {each.device_id: each.match for each in usb_plug.look(bench.paths).held}
    assert held["pommel-usb-05ac-12a8"] == Match(vendor=0x05AC, bus=1, port="2.3"), "followed by its place"
    assert held["pommel-usb-1234-5678"] == Match(0x1234, 0x5678)
    assert bench.attach(PHONE, "1234:5678") == there, "the same again changes nothing"
    assert bench.attach("1-10", once=True)["1-10"].origin == "once"
    with pytest.raises(StateError, match="m already has 1050:0407, by 1-10"):
        bench.attach("1050:0407")
    with pytest.raises(UsageError, match="usb 1111:2222 is set in the boot script"):
        bench.detach("1111:2222")
    usb_added.save(bench.paths, (*usb_added.load(bench.paths), Match(0x1111, 0x2222)))
    assert bench.detach("1111:2222")["1111:2222"].origin == "boot script", "no more asked for, and still the script's"
    assert bench.detach("1234:5678", once=True)["1234:5678"].live is False
    assert bench.detach("1-10", PHONE).keys() == {"1111:2222", "1234:5678"}
    assert {each.device_id for each in usb_plug.look(bench.paths).held} == {"own"}
    unplug(bench.root, IPHONE)
    bench.attach(PHONE)
    bare.end(bench.paths.pidfile)
    assert {key: (row.origin, row.live) for key, row in bench.listed().items()} == {
        PHONE: ("added", False), "1234:5678": ("added", False)
    }, "kill -9: what was attached is kept"  # fmt: skip


def test_without_a_controller_it_is_refused_by_name_and_a_slow_one_is_told(bench: Bench) -> None:
    bench.start()
    with pytest.raises(StateError, match=f"m has no USB controller for {PHONE}") as refused:
        bench.attach(PHONE)
    assert "qemu-xhci" in (refused.value.hint or "") and usb_added.load(bench.paths) == ()
    bare.end(bench.paths.pidfile)
    bench.start("-usb")
    assert usb.listed("m", workspace=bench.workspace, root=bench.root).controllers == ("piix3-usb-uhci",)
    assert bench.attach("2-1")["2-1"].live
    assert any("piix3-usb-uhci of m supports 12 Mb/s at most" in text for text in bench.said)


def test_an_emulated_device_comes_and_goes_while_the_guest_runs(bench: Bench) -> None:
    disk = bench.paths.directory / "stick"
    disk.write_bytes(b"\0" * 65536)
    bench.start("-device", "nec-usb-xhci,id=usb3", "-drive", f"if=none,id=d,format=raw,file={disk}",
                "-chardev", "null,id=c")  # fmt: skip
    plugs = {"stick": ("usb-storage", {"drive": "d"}), "serial": ("usb-serial", {"chardev": "c"}),
             "mouse": ("usb-mouse", {})}  # fmt: skip
    for device_id, (driver, more) in plugs.items():
        usb_plug.add(bench.paths, device_id, {"bus": "usb3.0", **more}, driver=driver)
    told = _info_usb(bench.paths)
    assert all(f"ID: {device_id}" in told for device_id in plugs)
    with pytest.raises(MachineError, match="QEMU refuses device_add"):
        usb_plug.add(bench.paths, "mouse", {}, driver="usb-mouse")
    for device_id in plugs:
        usb_plug.remove(bench.paths, device_id)
    assert "ID: " not in _info_usb(bench.paths)
    with pytest.raises(MachineError, match="QEMU refuses device_del"):
        usb_plug.remove(bench.paths, "mouse")


def _info_usb(paths: MachinePaths) -> str:
    async def ask(monitor: qmp.Qmp) -> str:
        return str(await monitor.execute("human-monitor-command", {"command-line": "info usb"}))

    return qmp.run(qmp.within(paths.qmp, 10, ask))
