"""Adopting what other tools have installed: real images, real boot scripts, real locks, real kills."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import macs
from machine.guests import count_on_disk, make_disk, set_count
from pommel.app.adopt import adopting as adopt
from pommel.app.disk import disks
from pommel.app.machine import clones, machines
from pommel.app.workspace import Workspace
from pommel.errors import PommelError, StateError, UsageError
from pommel.machine import cloning, disk, record
from pommel.opencore import reading
from pommel.paths import Home


@pytest.fixture
def root() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="pm-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def workspace(root: Path) -> Workspace:
    return Workspace(Home(root / "h", root / "r", root / "c"), root)


@pytest.fixture
def folder(root: Path) -> Path:
    return macs.osx_kvm(root / "OSX-KVM")


def test_a_copy_takes_all_and_leaves_all(workspace: Workspace, folder: Path) -> None:
    set_count(folder / "mac_hdd_ng.img", 5)
    disk.qemu_img("snapshot", "-c", "kept", str(folder / "mac_hdd_ng.img"))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    made = adopt.adopt(folder, name="mac", workspace=workspace)
    paths = workspace.paths("mac")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert count_on_disk(paths.disk) == 5 and list(disk.snapshot_tags(paths.disk)) == ["kept"]
    assert paths.nvram.read_bytes() == before[folder / "OVMF_VARS.fd"]
    assert (paths.directory / "firmware.fd").read_bytes() == before[folder / "OVMF_CODE.fd"]
    assert (paths.directory / "OpenCore.qcow2").read_bytes() == before[folder / "OpenCore" / "OpenCore.qcow2"]
    assert (made.mac, made.uuid, made.apple) == (macs.MAC, macs.UUID, macs.APPLE)
    assert (made.upstream, made.adopted, made.installed) == ("osx-kvm", str(folder), True)
    assert all(
        path.stat().st_mode & 0o077 == 0 for path in (paths.disk, paths.nvram, paths.directory / "OpenCore.qcow2")
    )


def test_the_settings_are_shown_with_their_source_and_give_way(workspace: Workspace, folder: Path) -> None:
    adopt.adopt(folder, name="mac", workspace=workspace)
    found = workspace.settings("mac")
    assert {key: value.value for key, value in found.items() if value.source == "record"} == {
        "memory": 512 << 20,
        "cpu": "Penryn",
        "cpu_flags": ("+invtsc", "+ssse3"),
        "cores": 2,
        "sockets": 1,
        "threads": 4,
        "topology": "as-asked",
    }
    assert found["memory"].where == str(workspace.paths("mac").record)
    assert found["macos"].value is None  # not known, so tuned for none
    assert workspace.settings("mac", {"memory": "2G"})["memory"].value == 2 << 30


def test_in_place_leaves_the_disk_and_its_script(workspace: Workspace, folder: Path) -> None:
    made = adopt.adopt(folder, name="mac", mode="in-place", workspace=workspace)
    own = workspace.paths("mac").disk
    assert own.is_symlink() and own.resolve() == (folder / "mac_hdd_ng.img").resolve()
    assert made.upstream == str(folder) and workspace.spec("mac").boot_script == "OpenCore-Boot.sh"
    disks.resize("mac", 32 << 20, workspace=workspace)
    disks.compact("mac", workspace=workspace)
    assert own.is_symlink() and disk.info(folder / "mac_hdd_ng.img").virtual_bytes == 32 << 20
    with pytest.raises(StateError, match="is already the disk of the machine mac"):
        adopt.adopt(folder, name="other", mode="in-place", workspace=workspace)
    machines.delete("mac", workspace=workspace)
    assert (folder / "mac_hdd_ng.img").is_file() and not workspace.paths("mac").directory.exists()


def test_a_move_takes_the_disk_alone(workspace: Workspace, folder: Path) -> None:
    set_count(folder / "mac_hdd_ng.img", 8)
    before = {path.name for path in folder.rglob("*")}
    adopt.adopt(folder, name="mac", mode="move", workspace=workspace)
    paths = workspace.paths("mac")
    assert before - {path.name for path in folder.rglob("*")} == {"mac_hdd_ng.img"}
    assert not paths.disk.is_symlink() and count_on_disk(paths.disk) == 8
    assert adopt.unfinished(folder, workspace) is None and not (paths.directory / "adopt.json").exists()


def test_clones_keep_the_boot_disk_each_with_its_own_numbers_on_it(workspace: Workspace, folder: Path) -> None:
    adopt.adopt(folder, name="mac", mode="in-place", workspace=workspace)
    same = clones.clone("mac", "same", keep_identity=True, workspace=workspace)
    other = clones.clone("mac", "other", linked=True, workspace=workspace)
    assert same.apple == macs.APPLE and other.apple != macs.APPLE and other.mac != macs.MAC
    for clone in (same, other):
        own = reading.numbers(reading.read_config(workspace.paths(clone.name).directory / "OpenCore.qcow2"))
        assert (own["serial"], own["mlb"], own["rom"]) == (clone.serial, clone.mlb, clone.rom)
    assert (workspace.paths("other").directory / "firmware.fd").is_file()
    assert cloning.linked_clones(workspace.home.machines, "mac") == ["other"]
    with pytest.raises(StateError, match="linked clones"):
        machines.delete("mac", workspace=workspace)


def test_a_disk_in_use_is_refused_with_who_has_it(workspace: Workspace, folder: Path) -> None:
    words = ["-M", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"]
    drive = ["-drive", f"if=none,format=qcow2,file={folder / 'mac_hdd_ng.img'}"]
    with subprocess.Popen(
        ["qemu-system-x86_64", *words, *drive], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None and running.stdout.readline()
        for mode in ("copy", "move", "in-place"):
            with pytest.raises(StateError, match=rf"is in use by qemu.*pid {running.pid}"):
                adopt.adopt(folder, name="mac", mode=mode, workspace=workspace)
        running.kill()
    assert not workspace.home.machines.exists() or not workspace.home.names()


def test_a_quickemu_machine(workspace: Workspace, root: Path) -> None:
    vm = root / "vms" / "macos-sonoma"
    vm.mkdir(parents=True)
    make_disk(vm / "disk.qcow2")
    macs.boot_disk(vm / "OpenCore.qcow2")
    macs.firmware(vm)
    (vm / "OVMF_VARS.fd").rename(vm / "OVMF_VARS-1920x1080.fd")
    conf = vm.parent / "macos-sonoma.conf"
    conf.write_text('#!/usr/bin/quickemu --vm\nguest_os="macos"\ndisk_img="macos-sonoma/disk.qcow2"\nram=6G\n'
                    'macos_release="sonoma"\n')  # fmt: skip
    (vm / "macos-sonoma.sh").write_text(
        "#!/usr/bin/env bash\n/usr/bin/qemu-system-x86_64 \\\n    -name macos-sonoma,process=macos-sonoma \\\n"
        "    -smp cores=2,threads=2,sockets=1 -m 8G \\\n    -cpu Skylake-Client-v3,+avx2 \\\n"
        "    -device virtio-net,netdev=nic -netdev user,id=nic 2>/dev/null\n"
    )
    made = adopt.adopt(conf, workspace=workspace)
    assert (made.name, made.macos, made.mac) == ("macos-sonoma", "14", "52:54:00:12:34:56")
    spec = workspace.spec("macos-sonoma")
    assert (spec.memory_bytes, spec.cpu, spec.threads) == (6 << 30, "Skylake-Client-v3", 4)
    assert made.apple == macs.APPLE and workspace.paths(made.name).nvram.is_file()
    assert adopt.plan(vm, name="again", workspace=workspace).kind == "a quickemu machine"  # its folder will do too


def test_dockurs_storage_becomes_qcow2_and_keeps_its_identity(workspace: Workspace, root: Path) -> None:
    storage = root / "storage"
    storage.mkdir()
    disk.qemu_img("convert", "-O", "raw", str(make_disk(storage / "x.qcow2")), str(storage / "data.img"))
    (storage / "x.qcow2").unlink()
    for name, word in (
        ("id", macs.UUID.upper()),
        ("mac", macs.MAC),
        ("sn", macs.APPLE.serial),
        ("mlb", macs.APPLE.mlb),
    ):
        (storage / f"macos.{name}").write_text(word + "\n")
    shutil.copyfile(macs.OVMF / "OVMF_CODE.fd", storage / "macos.rom")
    shutil.copyfile(macs.OVMF / "OVMF_VARS.fd", storage / "macos.vars")
    made = adopt.adopt(storage, workspace=workspace)
    assert (made.uuid, made.mac, made.apple) == (macs.UUID, macs.MAC, macs.APPLE)
    assert disk.info(workspace.paths(made.name).disk).format == "qcow2" and made.disk_format is None
    moved = adopt.adopt(storage, name="raw", mode="move", workspace=workspace)
    assert moved.disk_format == "raw" and disk.info(workspace.paths("raw").disk).format == "raw"


def test_a_raw_disk_that_pretends_to_be_another_stays_raw(workspace: Workspace, root: Path) -> None:
    """A guest can write a header with a backing file into its raw disk; probing would hand that file to it."""
    storage = root / "storage"
    storage.mkdir()
    (root / "secret").write_bytes(b"secret" * 1000)
    disk.create(storage / "data.img", 1 << 20, backing=root / "secret", backing_format="raw")
    (storage / "macos.id").write_text(macs.UUID)
    made = adopt.adopt(storage, workspace=workspace)
    assert b"secretsecret" not in workspace.paths(made.name).disk.read_bytes()
    assert disk.info(workspace.paths(made.name).disk).backing is None


def test_a_libvirt_domain(workspace: Workspace, folder: Path) -> None:
    domain = folder / "mac.xml"
    domain.write_text(
        f"<domain type='kvm'><name>My Mac</name><uuid>{macs.UUID}</uuid><memory unit='GiB'>4</memory><vcpu>2</vcpu>"
        f"<os><loader readonly='yes' type='pflash'>{folder}/OVMF_CODE.fd</loader><nvram>{folder}/OVMF_VARS.fd</nvram></os>"
        f"<devices><disk type='file' device='disk'><source file='{folder}/OpenCore/OpenCore.qcow2'/></disk>"
        f"<disk type='file' device='disk'><driver type='qcow2'/><source file='{folder}/mac_hdd_ng.img'/></disk>"
        f"<interface type='user'><mac address='{macs.MAC}'/></interface></devices></domain>"
    )
    made = adopt.adopt(domain, mode="in-place", workspace=workspace)
    assert (made.name, made.uuid, made.mac, made.upstream) == ("my-mac", macs.UUID, macs.MAC, "osx-kvm")
    assert workspace.spec("my-mac").memory_bytes == 4 << 30


def test_a_bare_disk_over_another_is_flattened_or_stays(workspace: Workspace, root: Path) -> None:
    base = make_disk(root / "base.qcow2")
    set_count(base, 3)
    top = root / "top.qcow2"
    disk.create(top, backing=base)
    with pytest.raises(StateError, match=r"needs the backing file .*base.qcow2, and could not find it"):
        adopt.adopt(top, mode="move", workspace=workspace)
    adopt.adopt(top, name="flat", workspace=workspace)
    assert disk.info(workspace.paths("flat").disk).backing is None and count_on_disk(workspace.paths("flat").disk) == 3
    adopt.adopt(top, name="there", mode="in-place", workspace=workspace)
    assert count_on_disk(workspace.paths("there").disk) == 3
    base.rename(root / "gone.qcow2")
    with pytest.raises(StateError, match=r"needs the backing file .*base.qcow2, which does not exist"):
        adopt.adopt(top, name="x", workspace=workspace)


@pytest.mark.parametrize("kind", ["vmdk", "vdi", "vhdx"])
def test_other_formats_are_converted_and_otherwise_refused(workspace: Workspace, root: Path, kind: str) -> None:
    source = root / f"mac.{kind}"
    disk.qemu_img("convert", "-O", kind, str(make_disk(root / "x.qcow2")), str(source))
    with pytest.raises(StateError, match=f"is {kind}, but a machine's disk must be qcow2 or raw"):
        adopt.adopt(source, mode="in-place", workspace=workspace)
    made = adopt.adopt(source, workspace=workspace)
    assert disk.info(workspace.paths(made.name).disk).format == "qcow2"


def test_an_encrypted_disk_is_refused(workspace: Workspace, root: Path) -> None:
    with make_disk(root / "mac.qcow2").open("r+b") as file:
        file.seek(32)
        file.write((1).to_bytes(4, "big"))  # the header's crypt_method: AES, which needs no more in the header
    with pytest.raises(StateError, match="is encrypted"):
        adopt.adopt(root / "mac.qcow2", workspace=workspace)


def test_what_cannot_be_adopted_says_why(workspace: Workspace, root: Path, folder: Path) -> None:
    (root / "empty").mkdir()
    (root / "a.iso").write_bytes(b"")
    (root / "w.conf").write_text("guest_os=windows\ndisk_img=a\n")
    for path, error, said in (
        (root / "nothing", StateError, "there is no"),
        (root / "empty", StateError, "is not a known kind of folder"),
        (root / "a.iso", StateError, "is not the disk of an installed Mac"),
        (root / "w.conf", UsageError, "is for windows"),
    ):
        with pytest.raises(error, match=said):
            adopt.adopt(path, workspace=workspace)
    (folder / "mac_hdd_ng.img").unlink()
    with pytest.raises(StateError, match=r"names the disk .*mac_hdd_ng.img, but there is no such file"):
        adopt.adopt(folder, workspace=workspace)


def test_a_script_that_cannot_be_read_leaves_the_disk_by_its_name(workspace: Workspace, folder: Path) -> None:
    (folder / "OpenCore-Boot.sh").write_text("#!/bin/sh\nexit 3\n")
    chosen = adopt.plan(folder, workspace=workspace)
    assert "its boot script cannot be read" in chosen.warnings[0]
    assert [item.what for item in chosen.items] == ["disk", "boot disk"]


def test_an_existing_name_is_refused_and_nothing_is_left(workspace: Workspace, folder: Path) -> None:
    adopt.adopt(folder, name="mac", workspace=workspace)
    with pytest.raises(StateError, match="there is a machine called mac already"):
        adopt.adopt(folder, name="mac", workspace=workspace)
    with pytest.raises(PommelError, match="cannot be a machine's name"):
        adopt.adopt(folder, name="../x", workspace=workspace)


def test_a_record_keeps_what_was_taken(workspace: Workspace, folder: Path) -> None:
    made = adopt.adopt(folder, name="mac", workspace=workspace)
    assert record.parse(record.render(made)) == made


@pytest.mark.parametrize("mode", ["copy", "move", "across"])
def test_killed_at_any_step_nothing_is_lost_and_again_finishes(root: Path, mode: str) -> None:
    source = root / "old"
    if mode == "across":
        if not Path("/dev/shm").is_dir() or os.stat("/dev/shm").st_dev == os.stat(root).st_dev:
            pytest.skip("no second file system")
        source = Path("/dev/shm") / root.name
    source.mkdir()
    try:
        set_count(make_disk(source / "disk.qcow2"), 77)
        program = Path(__file__).with_name("adopt_kills.py")
        word = "move" if mode == "across" else mode
        done = subprocess.run(
            [sys.executable, program, word, source, root], capture_output=True, check=True, timeout=300
        )
        told = json.loads(done.stdout)
        assert told["wrong"] == [] and told["kills"] > 8, done.stderr.decode()
    finally:
        shutil.rmtree(source)
