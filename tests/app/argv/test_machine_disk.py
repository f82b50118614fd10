"""Which disks a machine gets from an upstream that has some already: looked at, made, and started as far as argv."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from pathlib import Path

import pytest

from machine.images import MIB, OPENCORE, OTHER, mac, with_esp
from pommel.app.argv import commandline
from pommel.app.machine import making
from pommel.app.workspace import Workspace
from pommel.errors import ConfigError, PommelError, StateError, UpstreamError
from pommel.machine import disk, own_disks, record
from pommel.paths import Home
from pommel.process import run
from pommel.progress import ignore

OVMF = Path("/usr/share/OVMF")
LINE = (
    "-machine q35 -m 1G -drive if=pflash,format=raw,readonly=on,file=OVMF_CODE.fd "
    "-drive if=pflash,format=raw,file=OVMF_VARS.fd -device ich9-ahci,id=sata "
    "-drive id=OpenCoreBoot,if=none,snapshot=on,format=qcow2,file=OpenCore.qcow2 -device ide-hd,bus=sata.2,drive=OpenCoreBoot "
    "-drive id=InstallMedia,if=none,file=BaseSystem.img,format=raw -device ide-hd,bus=sata.3,drive=InstallMedia "
    "-netdev user,id=net0 -device virtio-net-pci,netdev=net0 "
)
DISK = "-drive id=MacHDD,if=none,file=mac_hdd_ng.img,format={} -device ide-hd,bus=sata.4,drive=MacHDD "
DATA = "-drive id=Data,if=none,file={},format=raw -device ide-hd,bus=sata.5,drive=Data "


class Place:
    """A folder with an upstream of the user's own, a pommel.toml, and a home."""

    def __init__(self, root: Path) -> None:
        self.root, self.upstream = root, root / "up"
        self.upstream.mkdir()
        for name in ("OVMF_CODE.fd", "OVMF_VARS.fd"):
            shutil.copy(OVMF / name, self.upstream / name)
        run(["qemu-img", "create", "-q", "-f", "qcow2", self.upstream / "OpenCore.qcow2", "8M"])
        (self.upstream / "BaseSystem.img").write_bytes(bytes(MIB))
        self.script(LINE + DISK.format("qcow2"))

    def script(self, line: str) -> None:
        path = self.upstream / "OpenCore-Boot.sh"
        path.write_text(f"#!/bin/sh\nqemu-system-x86_64 {line}\n")
        path.chmod(0o755)

    def workspace(self, *settings: str) -> Workspace:
        text = "\n".join(['[machine.mac]\nupstream = "up"\naccel = "tcg"', *settings])
        (self.root / "pommel.toml").write_text(text + "\n")
        return Workspace(Home(self.root / "h", self.root / "r", self.root / "c"), self.root, {})

    def disk(self, used: bool = True, form: str = "qcow2") -> Path:
        path = self.upstream / "mac_hdd_ng.img"
        run(["qemu-img", "create", "-q", "-f", form, path, "50G"])
        if used:
            run(["qemu-io", "-f", form, "-c", "write -P 7 0 64k", path])
        return path

    def sums(self) -> dict[str, str]:
        return {
            p.name: hashlib.sha256(p.read_bytes()).hexdigest()
            for p in self.upstream.iterdir()
            if p.stat().st_size < 1 << 30
        }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def made(workspace: Workspace) -> record.MachineRecord:
    making.make(workspace, workspace.spec("mac"), report=ignore)
    return record.load(workspace.paths("mac").record)


def value(workspace: Workspace, name: str) -> str:
    """The finished value of the drive called `name`."""
    words = commandline.command_line(workspace, "mac").overlaid.command_line.words
    return next(b for a, b in itertools.pairwise(words) if a == "-drive" and f"id={name}," in b)


@pytest.mark.parametrize("form", ["qcow2", "raw"])
def test_a_used_disk_is_not_passed_over(form: str, place: Place) -> None:
    place.script(LINE + DISK.format(form))
    used = place.disk(form=form)
    workspace = place.workspace()
    spec = workspace.spec("mac")
    for what in (lambda: making.steps(workspace, spec), lambda: making.make(workspace, spec, report=ignore)):
        with pytest.raises(
            StateError, match=rf"{used} \(50 GiB, there is data on it\), but mac would get an empty"
        ) as told:
            what()
        hint = told.value.hint or ""
        assert f"pommel adopt {used}" in hint and 'disk_file = "upstream"' in hint and 'disk_file = "own"' in hint
    assert not workspace.paths("mac").directory.exists()
    planned = commandline.command_line(workspace, "mac")
    assert any("there is data on it" in line for line in planned.warnings)


def test_an_empty_disk_or_none_is_passed_over(place: Place) -> None:
    workspace = place.workspace()
    assert making.steps(workspace, workspace.spec("mac"))
    place.disk(used=False)
    assert made(workspace).disk_format is None
    assert disk.info(workspace.paths("mac").disk).virtual_bytes == 80 << 30
    place.disk(used=True)  # an installation with the upstream's own script, later: the machine keeps what it has
    assert not commandline.command_line(workspace, "mac").warnings


def test_own_is_an_empty_one_by_the_users_word(place: Place) -> None:
    place.disk()
    workspace = place.workspace('disk_file = "own"')
    assert made(workspace).disk_format is None
    assert not workspace.paths("mac").disk.is_symlink()


@pytest.mark.parametrize("word", ["upstream", "up/mac_hdd_ng.img", "elsewhere.raw"])
def test_a_disk_is_used_where_it_lies_by_the_users_word(word: str, place: Place) -> None:
    target, form = place.disk(), "qcow2"
    if word == "elsewhere.raw":
        target, form = mac(place.root / word), "raw"
    workspace = place.workspace(f'disk_file = "{word}"', 'macos = "14"' if form == "raw" else "")
    steps = making.steps(workspace, workspace.spec("mac"))
    assert any(f"make mac with the disk {target}" in what for what, _, _ in steps)
    assert not any("recovery" in what for what, _, _ in steps)
    kept = made(workspace)
    paths = workspace.paths("mac")
    assert (kept.disk_format, paths.disk.is_symlink(), paths.disk.resolve()) == (form, True, target.resolve())
    drive = value(workspace, "MacHDD")
    assert f"file={target.resolve()},format={form}," in drive
    assert making.steps(workspace, workspace.spec("mac"))[-1][2] is False, "made"
    for other in ("own", "another.img"):
        with pytest.raises(StateError, match="was created with the disk"):
            commandline.command_line(place.workspace(f'disk_file = "{other}"'), "mac")
    target.unlink()
    with pytest.raises(StateError, match="in place, but it does not exist"):
        commandline.command_line(place.workspace(), "mac")


def test_a_relative_backing_file_is_found_from_where_the_disk_lies(place: Place) -> None:
    base = place.upstream / "base.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", base, "50G"])
    run(
        [
            "qemu-img",
            "create",
            "-q",
            "-f",
            "qcow2",
            "-b",
            "base.qcow2",
            "-F",
            "qcow2",
            place.upstream / "mac_hdd_ng.img",
        ]
    )
    workspace = place.workspace('disk_file = "upstream"')
    made(workspace)
    assert f"file={place.upstream / 'mac_hdd_ng.img'}," in value(workspace, "MacHDD")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("nowhere.img", "there is no such disk"),
        ("upstream", "there is no such disk"),
        ("own:Nobody", "names the drive Nobody"),
    ],
)
def test_a_disk_that_is_not_there(word: str, said: str, place: Place) -> None:
    workspace = place.workspace(f'disk_file = "{word}"')
    for what in (
        lambda: making.steps(workspace, workspace.spec("mac")),
        lambda: commandline.command_line(workspace, "mac"),
    ):
        with pytest.raises(PommelError, match=said):
            what()


@pytest.mark.parametrize(
    ("file", "said"), [("/dev/null", "a disk of this host"), ("nbd://h/x", "not a file of this host")]
)
def test_a_disk_of_the_host_is_never_passed_over(file: str, said: str, place: Place) -> None:
    place.script(LINE + DISK.format("raw").replace("mac_hdd_ng.img", file))
    workspace = place.workspace()
    with pytest.raises(StateError, match=said) as told:
        making.steps(workspace, workspace.spec("mac"))
    assert ("adopt" in (told.value.hint or "")) == file.startswith("/")
    if not file.startswith("/"):
        with pytest.raises(StateError, match="not a file of this host"):
            commandline.command_line(place.workspace('disk_file = "upstream"'), "mac")


def test_further_drives_are_copied_once_and_the_upstream_is_left_as_it_is(place: Place) -> None:
    place.script(LINE + DISK.format("qcow2") + DATA.format("data.raw"))
    with_esp(place.upstream / "data.raw", OTHER)
    before = place.sums()
    workspace = place.workspace()
    paths = workspace.paths("mac")
    assert making.steps(workspace, workspace.spec("mac"))[-1] == (
        f"copy the upstream's drive {place.upstream / 'data.raw'}", str(paths.directory / "disk-upstream-data.qcow2"), True,
    )  # fmt: skip
    made(workspace)
    commandline.prepare(workspace, "mac", None, report=ignore)
    copy = own_disks.data_disks(paths)["upstream-data"]
    assert f"file={copy},format=qcow2" in value(workspace, "Data")
    assert "own-data" not in " ".join(commandline.command_line(workspace, "mac").overlaid.command_line.words)
    stamp = copy.stat().st_mtime_ns
    commandline.prepare(workspace, "mac", None, report=ignore)
    assert copy.stat().st_mtime_ns == stamp and place.sums() == before
    assert making.steps(workspace, workspace.spec("mac"))[-1][2] is False


def test_further_drives_that_cannot_be_copied_are_refused_with_the_setting(place: Place) -> None:
    place.script(LINE + DISK.format("qcow2") + DATA.format("/dev/null"))
    with pytest.raises(StateError, match="/dev/null, a disk of this host, which is not copied") as told:
        commandline.command_line(place.workspace(), "mac")
    assert 'upstream_drives = "upstream"' in (told.value.hint or "")
    for word in ("upstream", "none"):
        assert commandline.command_line(place.workspace(f'upstream_drives = "{word}"'), "mac")
    place.script(LINE + DISK.format("qcow2") + DATA.format("gone.raw"))
    workspace = place.workspace()
    made(workspace)
    with pytest.raises(StateError, match="which does not exist"):
        commandline.prepare(workspace, "mac", None, report=ignore)


def test_a_raw_boot_disk_is_as_good_as_a_qcow2(place: Place) -> None:
    place.script(LINE.replace("format=qcow2,file=OpenCore.qcow2", "format=raw,file=my.raw") + DISK.format("qcow2"))
    with_esp(place.upstream / "my.raw", OPENCORE)
    (place.upstream / "OpenCore" / "EFI").mkdir(parents=True)  # there is something to pack, and it is not packed
    assert f"format=raw,file={place.upstream}/my.raw" in value(place.workspace(), "OpenCoreBoot")


def test_a_boot_disk_elsewhere_is_not_swapped_for_one_that_is_packed(place: Place) -> None:
    (place.upstream / "OpenCore" / "EFI").mkdir(parents=True)
    place.script(LINE.replace("file=OpenCore.qcow2", "file=/elsewhere/OpenCore.qcow2") + DISK.format("qcow2"))
    with pytest.raises(StateError, match=r"boots from /elsewhere/OpenCore.qcow2, but there is no such file") as told:
        commandline.command_line(place.workspace(), "mac")
    assert "boot_disk" in (told.value.hint or "")


def test_a_configuration_file_is_read(place: Place) -> None:
    (place.upstream / "mac.cfg").write_text('[drive "MacHDD"]\nif = "none"\nfile = "mac_hdd_ng.img"\n')
    place.script(LINE + "-readconfig mac.cfg -device ide-hd,bus=sata.4,drive=MacHDD")
    workspace = place.workspace()
    assert f"file={workspace.paths('mac').disk}," in value(workspace, "MacHDD")
    place.script(LINE + "-readconfig gone.cfg")
    with pytest.raises(UpstreamError, match=r"-readconfig gone.cfg: .* cannot be read: No such file"):
        commandline.command_line(workspace, "mac")


@pytest.mark.parametrize(
    ("firmware", "warned"),
    [
        ("-bios x.fd", "-bios x.fd, without its own variables"),
        ("", "names no firmware"),
        ("-pflash OVMF_CODE.fd", None),
    ],
)
def test_firmware_in_one_piece_says_what_follows(firmware: str, warned: str | None, place: Place) -> None:
    words = LINE[LINE.index("-device ich9") :]
    place.script(f"-machine q35 {firmware} {words}" + DISK.format("qcow2"))
    workspace = place.workspace()
    made(workspace)
    planned = commandline.prepare(workspace, "mac", None, report=ignore)
    assert any(warned in line for line in planned.warnings) if warned else not planned.warnings
    assert workspace.paths("mac").nvram.exists() == (warned is None)


def test_the_installer_that_is_not_there_says_so(place: Place) -> None:
    (place.upstream / "BaseSystem.img").unlink()
    planned = commandline.command_line(place.workspace(), "mac")
    reasons = [c.reason for c in planned.overlaid.changes if c.kind == "removed" and "InstallMedia" in (c.before or "")]
    assert reasons and all("no recovery image" in reason for reason in reasons)


def test_a_disk_too_small_for_macos_is_told_only_where_one_is_made(place: Place) -> None:
    workspace = place.workspace('macos = "14"', 'disk = "20G"')
    with pytest.raises(ConfigError, match="too small"):
        making.make(workspace, workspace.spec("mac"), report=ignore)
    assert os.listdir(place.root / "h" / "machines") == [] if (place.root / "h" / "machines").exists() else True
