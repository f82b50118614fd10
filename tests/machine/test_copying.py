"""Disks written anew: what they hold stays, what they waste goes, and a failure leaves the old one."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pommel import locks, sockets
from pommel.errors import BuildError, StateError
from pommel.machine import copying, disk, lifecycle
from pommel.paths import MachinePaths
from pommel.process import run
from pommel.progress import Progress
from waits import wait_until

from .bare import argv, finish, make, pommel, short_home

MIB = 1 << 20


@pytest.fixture
def paths() -> Iterator[MachinePaths]:
    with short_home() as home:
        yield make(home)


def wasteful(path: Path, *, backing: Path | None = None) -> Path:
    """A disk with 2 MiB that are in use, and 20 MiB that were once."""
    disk.create(path, 64 * MIB, backing=backing, relative=True)
    run(["qemu-io", "-c", "write -P 7 0 22M", "-c", "write -P 9 0 2M", "-c", "write -z 2M 20M", path])
    return path


def contents(path: Path) -> bytes:
    raw = path.with_suffix(".raw")
    run(["qemu-img", "convert", "-O", "raw", path, raw])
    try:
        return raw.read_bytes()
    finally:
        raw.unlink()


def marked(path: Path, bitmap: str) -> list[tuple[int, int]]:
    """What a bitmap says has changed: where, and how many bytes, as an NBD client sees it."""
    socket = path.with_suffix(".nbd")
    server = subprocess.Popen(["qemu-nbd", "-r", "-f", "qcow2", "-B", bitmap, "-k", socket, path])
    try:
        wait_until(lambda: sockets.listens(socket))
        words = f"driver=nbd,server.type=unix,server.path={socket},x-dirty-bitmap=qemu:dirty-bitmap:{bitmap}"
        told = json.loads(run(["qemu-img", "map", "--output=json", "--image-opts", words]).text)
        return [(each["start"], each["length"]) for each in told if not each["data"]]
    finally:
        server.wait(20)


def test_compact_gives_back_room(tmp_path: Path) -> None:
    path = wasteful(tmp_path / "a.img")
    path.chmod(0o600)
    before = contents(path)
    events: list[Progress] = []
    done = copying.compact(path, report=events.append)
    assert done.before_bytes > 20 * MIB and done.after_bytes < 4 * MIB
    assert contents(path) == before and disk.check(path).sound
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.img"]
    assert any(event.unit == "B" and event.total == done.before_bytes for event in events) and events[-1].finished


def test_compact_keeps_what_it_lies_over_and_its_clusters(tmp_path: Path) -> None:
    base = disk.create(tmp_path / "base.img", 64 * MIB).path
    run(["qemu-io", "-c", "write -P 5 40M 1M", base])
    path = wasteful(tmp_path / "a.img", backing=base)
    before = contents(path)
    copying.compact(path)
    assert disk.header(path).backing == "base.img" and disk.header(path).backing_format == "qcow2"
    assert contents(path) == before
    assert disk.info(path).actual_bytes < 4 * MIB


def test_compact_keeps_the_size_of_clusters(tmp_path: Path) -> None:
    path = tmp_path / "a.img"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=1M", path, "8M"])
    copying.compact(path)
    assert disk.header(path).cluster_bytes == MIB


def test_dirty_bitmaps_go_along_and_still_say_what_has_changed(tmp_path: Path) -> None:
    """Else the next backup by them would be said to be whole, and would not be."""
    base = disk.create(tmp_path / "base.img", 64 * MIB).path
    path = wasteful(tmp_path / "a.img", backing=base)
    run(["qemu-img", "bitmap", "--add", path, "backup"])
    run(["qemu-io", "-c", "write -P 3 1M 64k", path])

    assert marked(path, "backup") == [(MIB, 65536)]
    copying.compact(path)
    assert disk.bitmaps(path) == {"backup": True} and marked(path, "backup") == [(MIB, 65536)]


def test_bitmaps_that_a_crash_has_spoilt_are_told_and_left_out(paths: MachinePaths) -> None:
    wasteful(paths.disk)
    run(["qemu-img", "bitmap", "--add", paths.disk, "spoilt"])
    lifecycle.start(paths, argv(paths, "-drive", f"file={paths.disk},format=qcow2,if=ide"))
    pid = locks.holder(paths.pidfile)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: locks.holder(paths.pidfile) is None)
    assert disk.bitmaps(paths.disk) == {"spoilt": False}
    events: list[Progress] = []
    copying.compact(paths.disk, report=events.append)
    assert disk.bitmaps(paths.disk) == {}
    assert any(
        event.warning and "(spoilt): the next backup that uses them will be a full backup" in event.text
        for event in events
    )


def test_snapshots_are_not_lost(tmp_path: Path) -> None:
    path = wasteful(tmp_path / "a.img")
    run(["qemu-img", "snapshot", "-c", "one", path])
    with pytest.raises(StateError, match=r"contains snapshots \(one\)"):
        copying.compact(path)
    assert set(disk.snapshot_tags(path)) == {"one"}


def test_a_raw_disk_is_none_to_compact(tmp_path: Path) -> None:
    (tmp_path / "a.img").write_bytes(bytes(MIB))
    with pytest.raises(StateError, match=r"a\.img is raw"):
        copying.compact(tmp_path / "a.img")


def test_too_little_room_leaves_it_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = wasteful(tmp_path / "a.img")
    before = path.read_bytes()
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 5 * MIB)
    with pytest.raises(BuildError, match="5 MiB left, and 3"):
        copying.compact(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_a_copy_that_is_not_equal_is_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = wasteful(tmp_path / "a.img")
    ran = disk.qemu_img

    def spoils(*words: str, timeout_s: float = 60.0) -> str:
        if words[0] == "compare":
            run(["qemu-io", "-c", "write -P 1 0 512", words[-1]])
        return ran(*words, timeout_s=timeout_s)

    monkeypatch.setattr(disk, "qemu_img", spoils)
    before = path.read_bytes()
    with pytest.raises(BuildError, match="not equal"):
        copying.compact(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_a_disk_in_use_is_left_alone(paths: MachinePaths) -> None:
    wasteful(paths.disk)
    lifecycle.start(paths, argv(paths, "-drive", f"format=qcow2,file={paths.disk}"))
    with pytest.raises(BuildError, match="another process using the image"):
        copying.compact(paths.disk)
    with pytest.raises(BuildError, match="another process using the image"):
        copying.copy_whole(paths.disk, paths.directory / "copy.img")
    assert sorted(path.name for path in paths.directory.glob("*copy*")) == []


def test_killed_it_leaves_the_old_disk_and_the_next_one_tidies_up(paths: MachinePaths) -> None:
    wasteful(paths.disk)
    before = paths.disk.read_bytes()
    code = """
    from pommel.machine import copying
    import signal
    copying.compact(paths.disk, report=lambda event: os.kill(os.getpid(), signal.SIGKILL))
    """
    assert finish(pommel(code, paths))[0] == -signal.SIGKILL
    assert paths.disk.read_bytes() == before
    wait_until(lambda: not any(b"convert" in words for words in commands_in(paths.directory)))
    copying.compact(paths.disk)
    assert [path.name for path in paths.directory.iterdir()] == [paths.disk.name]


def commands_in(folder: Path) -> Iterator[bytes]:
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in words:
            yield words


def test_ctrl_c_leaves_no_program_behind(tmp_path: Path) -> None:
    path = wasteful(tmp_path / "a.img")

    def interrupts(event: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copying.compact(path, report=interrupts)
    assert list(commands_in(tmp_path)) == [] and [p.name for p in tmp_path.iterdir()] == ["a.img"]


def test_a_whole_copy_stands_alone(tmp_path: Path) -> None:
    base = disk.create(tmp_path / "base.img", 64 * MIB).path
    run(["qemu-io", "-c", "write -P 5 40M 1M", base])
    source = wasteful(tmp_path / "a.img", backing=base)
    run(["qemu-img", "snapshot", "-c", "one", source])
    copy = tmp_path / "new" / "copy.img"
    assert copying.copy_whole(source, copy) is False
    found = disk.info(copy)
    assert (found.format, found.backing, found.virtual_bytes) == ("qcow2", None, 64 * MIB)
    assert disk.snapshot_tags(copy) == {} and contents(copy) == contents(source)


def test_a_copy_never_takes_anothers_place(tmp_path: Path) -> None:
    source = wasteful(tmp_path / "a.img")
    (tmp_path / "b.img").write_bytes(b"precious")
    with pytest.raises(StateError, match="already exists"):
        copying.copy_whole(source, tmp_path / "b.img")
    with pytest.raises(StateError, match="there is no disk"):
        copying.copy_whole(tmp_path / "nowhere.img", tmp_path / "c.img")


def test_a_reflink_where_the_file_system_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = wasteful(tmp_path / "a.img")

    def clones(fd: int, request: int, old: int) -> int:  # what FICLONE does on btrfs and XFS
        assert request == 0x40049409
        with open(old, "rb", closefd=False) as there, open(fd, "wb", closefd=False) as here:
            shutil.copyfileobj(there, here)
        return 0

    monkeypatch.setattr(fcntl, "ioctl", clones)
    assert copying.copy_whole(source, tmp_path / "b.img") is True
    assert contents(tmp_path / "b.img") == contents(source)
    run(["qemu-img", "snapshot", "-c", "one", source])
    assert copying.copy_whole(source, tmp_path / "c.img") is False  # its snapshots would come along


def test_a_reflink_that_fails_otherwise_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = wasteful(tmp_path / "a.img")

    def full(fd: int, request: int, old: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fcntl, "ioctl", full)
    with pytest.raises(BuildError, match="No space left"):
        copying.copy_whole(source, tmp_path / "b.img")
    assert [path.name for path in tmp_path.iterdir()] == ["a.img"]


def test_a_disk_that_lies_elsewhere_is_compacted_there(tmp_path: Path) -> None:
    path = wasteful(tmp_path / "elsewhere.img")
    link = tmp_path / "a.img"
    link.symlink_to(path)
    done = copying.compact(link)
    assert link.is_symlink() and done.after_bytes < done.before_bytes
    assert disk.info(path).actual_bytes == done.after_bytes


def test_a_copy_is_read_in_the_format_that_is_said(tmp_path: Path) -> None:
    """What a guest wrote to the start of its raw disk may look like another image."""
    secret, source = tmp_path / "secret", tmp_path / "raw"
    secret.write_bytes(b"s" * 65536)
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", source])
    whole = source.read_bytes()
    assert copying.copy_whole(source, tmp_path / "copy", form="raw") is False
    run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", tmp_path / "copy", tmp_path / "back"])
    assert (tmp_path / "back").read_bytes()[: len(whole)] == whole
