"""Encrypted disks by the real qemu-img and QEMU: nothing in plain text, the key in no argument, and refusals by name."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pommel import locks, process
from pommel.errors import MachineError, StateError
from pommel.machine import copying, disk, lifecycle, luks, own_disks, passphrase, record, resizing, savestate, snapshots
from pommel.machine.passphrase import Passphrase
from pommel.machine.record import MachineRecord
from pommel.paths import Home, MachinePaths
from pommel.process import run
from waits import wait_until

from .bare import argv, make, short_home
from .guests import DISK_BYTES, SPINS, count_in_ram, is_running, make_disk

MIB = 1 << 20
PHRASE = b"open, sesame"
KEY = Passphrase(PHRASE, "the test's own", "type another", 10)
PATTERN = b"what the guest wrote, and nobody else may read. "
KEPT = MachineRecord("m", "trial", "a0b1c2d3-0000-4000-8000-000000000000", "52:54:00:00:00:01", 2222, "2026-01-01")


@pytest.fixture
def paths(home: Home) -> MachinePaths:
    made = make(home)
    record.save(made.record, replace(KEPT, encrypted=KEPT.uuid))
    return made


@pytest.fixture
def opened() -> Iterator[None]:
    with passphrase.with_key(lambda: KEY):
        yield


def raw(folder: Path, mib: int = 4) -> Path:
    path = folder / "plain"
    path.write_bytes((PATTERN * (mib * MIB // len(PATTERN) + 1))[: mib * MIB])
    return path


def seal(paths: MachinePaths) -> Path:
    """Make the machine's disk an encrypted one, with the pattern in it. QEMU times its hashing for two seconds."""
    copying.copy_whole(raw(paths.directory), paths.disk, form="raw", encrypted=True)
    return paths.disk


@pytest.fixture(scope="module")
def once() -> Iterator[MachinePaths]:
    """A machine with such a disk, to copy from."""
    with short_home() as home:
        made = make(home)
        with passphrase.with_key(lambda: KEY):
            seal(made)
        yield made


@pytest.fixture
def sealed(once: MachinePaths, paths: MachinePaths) -> Path:
    """The machine's disk, encrypted, with the pattern in it; and the pattern in `plain` beside it."""
    for name in ("plain", paths.disk.name):
        shutil.copyfile(once.directory / name, paths.directory / name)
    return paths.disk


def contents(path: Path) -> bytes:
    plain = path.with_suffix(".out")
    disk.qemu_img("convert", "-O", "raw", disk.image(path), str(plain))
    try:
        return plain.read_bytes()
    finally:
        plain.unlink()


class Watch:
    """Looks at all processes' arguments and environments, again and again, for the passphrase."""

    def __enter__(self) -> Watch:
        self.seen, self.looks, self.given_away = set[str](), 0, list[bytes]()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.is_set():
            self.looks += 1
            for each in Path("/proc").glob("[0-9]*"):
                try:
                    words, env = (each / "cmdline").read_bytes(), (each / "environ").read_bytes()
                except OSError:
                    continue
                if words.startswith(b"qemu") or b"qemu-img\0" in words:
                    self.seen.add(words.split(b"\0")[0].decode())
                if PHRASE in words + env:
                    self.given_away.append(words)


def test_nothing_is_in_plain_text_and_all_can_be_read_by_the_key(paths: MachinePaths, opened: None) -> None:
    path, wanted = seal(paths), (paths.directory / "plain").read_bytes()
    assert PATTERN not in path.read_bytes() and disk.is_encrypted(path)
    assert disk.header(path).crypt == 2  # LUKS (docs/interop/qcow2.txt)
    assert contents(path) == wanted
    assert disk.info(path).virtual_bytes == len(wanted)


def test_each_work_on_a_stopped_machines_disk(paths: MachinePaths, sealed: Path, opened: None) -> None:
    path, wanted = sealed, (paths.directory / "plain").read_bytes()
    assert disk.check(path).sound and disk.repair(path) is False
    snapshots.save(paths, "one")
    with passphrase.with_key(lambda: KEY):
        other = own_disks.add(paths, "more", 8 * MIB, encrypted=True)
    assert disk.is_encrypted(other.path)
    resizing.resize(paths, path, 8 * MIB)
    snapshots.save(paths, "two")
    snapshots.load(paths, "one")
    assert contents(path)[: len(wanted)] == wanted
    for tag in ("one", "two"):
        snapshots.delete(paths, tag)
    assert disk.snapshot_tags(path) == {}
    copying.compact(path)
    assert disk.is_encrypted(path) and contents(path)[: len(wanted)] == wanted and PATTERN not in path.read_bytes()
    snapshots.save(paths, "three")  # one that cannot share its blocks
    copying.copy_whole(path, paths.directory / "copy.qcow2")
    copy = paths.directory / "copy.qcow2"
    assert disk.is_encrypted(copy) and contents(copy) == contents(path) and PATTERN not in copy.read_bytes()


def test_a_wrong_passphrase_is_told_and_changes_nothing(paths: MachinePaths, sealed: Path, opened: None) -> None:
    path, before = sealed, sealed.read_bytes()
    wrong = Passphrase(b"open barley", "another place", "type the right one", 10)
    with passphrase.with_key(lambda: wrong):
        for act in (
            lambda: disk.must_open(path),
            lambda: disk.check(path),
            lambda: snapshots.save(paths, "one"),
            lambda: resizing.resize(paths, path, 8 * MIB),
            lambda: copying.compact(path),
            lambda: own_disks.add(paths, "more", MIB, encrypted=True),
        ):
            with pytest.raises(StateError, match="passphrase from another place does not open") as refusal:
                act()
            assert refusal.value.hint == "type the right one"
    assert path.read_bytes() == before and list(own_disks.data_disks(paths)) == []
    assert not list((paths.directory / "snapshots").glob("one*"))


def test_without_a_key_an_encrypted_disk_is_not_opened(paths: MachinePaths, sealed: Path) -> None:
    for act in (lambda: disk.check(sealed), lambda: copying.compact(sealed), lambda: snapshots.save(paths, "one")):
        with pytest.raises(StateError, match="encrypted"):
            act()
    assert disk.info(sealed).virtual_bytes == 4 * MIB  # a look needs none


def test_a_raw_disk_that_the_guest_made_look_encrypted_is_raw(paths: MachinePaths, sealed: Path, opened: None) -> None:
    assert disk.image(sealed, "raw") == str(sealed)
    copying.copy_whole(sealed, paths.directory / "copy.qcow2", form="raw")
    assert contents(paths.directory / "copy.qcow2")[: sealed.stat().st_size] == sealed.read_bytes()
    assert not disk.is_encrypted(paths.directory / "copy.qcow2")


def test_no_program_is_given_the_passphrase_where_others_see_it(paths: MachinePaths, opened: None) -> None:
    with Watch() as watch:
        seal(paths)
        copying.compact(paths.disk)
        snapshots.save(paths, "one")
    assert watch.looks > 3 and any("qemu-img" in name for name in watch.seen)
    assert watch.given_away == []


def drives(paths: MachinePaths) -> list[str]:
    value = f"id=MacHDD,if=ide,format=qcow2,file={paths.disk},{luks.FORMAT}=luks,{luks.KEY}={luks.NAME}"
    return ["-object", luks.OBJECT, "-drive", value]


def test_a_guest_runs_from_it_and_its_memory_goes_nowhere(paths: MachinePaths, opened: None) -> None:
    plain = make_disk(paths.directory / "plain.qcow2")
    copying.copy_whole(plain, paths.disk, encrypted=True)
    lifecycle.start(paths, argv(paths, *drives(paths)), secret=PHRASE)
    wait_until(lambda: count_in_ram(paths) > 3)
    pid = locks.holder(paths.pidfile)
    for name in ("cmdline", "environ"):
        assert PHRASE not in Path(f"/proc/{pid}/{name}").read_bytes()
    assert os.read(os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK), 99) == b""  # read, and gone
    for path in paths.directory.rglob("*"):
        assert not path.is_file() or PHRASE not in path.read_bytes(), path

    saved = snapshots.save(paths, "running")
    assert not saved.ram and "encrypted, and QEMU cannot write memory into it" in saved.note
    with pytest.raises(MachineError, match="cannot write memory into it"):
        snapshots.save(paths, "with", live=True)
    with pytest.raises(StateError, match="m is encrypted and cannot be put to sleep") as refusal:
        savestate.sleep(paths)
    assert "pommel suspend m" in str(refusal.value.hint) and is_running(paths)
    resizing.resize(paths, paths.disk, 2 * DISK_BYTES)
    snapshots.delete(paths, "running")
    lifecycle.stop(paths, force=True)
    assert int.from_bytes(contents(paths.disk)[512:516], "little") > 3


def test_qemu_without_the_key_or_with_another_does_not_start(paths: MachinePaths, opened: None) -> None:
    copying.copy_whole(make_disk(paths.directory / "plain.qcow2", SPINS), paths.disk, encrypted=True)
    for secret in (None, b"open barley"):
        with pytest.raises(MachineError, match="did not start"):
            lifecycle.start(paths, argv(paths, *drives(paths)), secret=secret)


def test_what_is_too_long_for_a_pipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="may not fit"):
        process.spawn_detached(["cat"], tmp_path / "log", input=bytes(4097))
    child = process.spawn_detached(["cat"], tmp_path / "log", input=b"x" * 4096)
    wait_until(lambda: child.exit_status() == 0)
    assert (tmp_path / "log").read_bytes() == b"x" * 4096


def test_the_documented_command_opens_it(paths: MachinePaths, sealed: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(PHRASE + b"\n")
    plain = tmp_path / "plain.img"
    words = f"driver=qcow2,encrypt.key-secret=k,file.filename={sealed}"
    command = f'printf %s "$(cat {tmp_path}/key)" | qemu-img convert --object secret,id=k,file=/dev/stdin --image-opts {words} -O raw {plain}'
    run(["sh", "-c", command])
    assert plain.read_bytes() == (paths.directory / "plain").read_bytes()


@pytest.mark.parametrize(("first", "further"), [(10, 10), (500, None)])
def test_a_further_disk_is_as_hard_to_open_as_the_first(paths: MachinePaths, first: int, further: int | None) -> None:
    with passphrase.with_key(lambda: Passphrase(PHRASE, "the test's own", "type another", first)):
        disk.create(paths.disk, MIB, encrypted=True)
    with passphrase.with_key(lambda: Passphrase(PHRASE, "the test's own", "type another", opens=paths.disk)):
        assert disk.creation_words(True) == ["-o", luks.creation(further)]


def test_one_whose_first_disk_is_not_encrypted_yet_is_hard_to_open(paths: MachinePaths) -> None:
    with passphrase.with_key(lambda: Passphrase(PHRASE, "the test's own", "type another", opens=paths.disk)):
        assert disk.creation_words(True) == ["-o", luks.creation(None)]
        disk.create(paths.disk, MIB)
        assert disk.creation_words(True) == ["-o", luks.creation(None)]
