"""Copies of disks out of a running QEMU whose guest writes all the time, onto drives that fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pommel.errors import BuildError, MachineError, StateError
from pommel.machine import backup_bitmaps, backup_manifest, backup_store, backup_taking, lifecycle, qmp, snapshot_live
from pommel.machine.backup_taking import DiskCopy, DiskSource
from pommel.paths import Home, MachinePaths
from pommel.process import run
from pommel.progress import Progress
from waits import wait_until

from .bare import argv, make
from .guests import FILLS, MIB, NVRAM, ask, drives, is_running, make_disk

BITMAP = backup_manifest.bitmap_name("0" * 16, backup_manifest.point_id(1, "20260131T120000Z"))


@pytest.fixture
def paths(home: Home) -> MachinePaths:
    """A machine whose guest writes one part of its disk after another."""
    made = make(home)
    make_disk(made.disk, FILLS)
    run(["qemu-img", "resize", "-q", made.disk, "64M"])
    run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 32M 32M", made.disk])
    made.nvram.write_bytes(NVRAM)
    lifecycle.start(made, argv(made, *drives(made)))
    wait_until(lambda: written(made) > 0)
    return made


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A drive of 24 MiB with a folder on it."""
    run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", tmp_path])
    yield tmp_path
    run(["umount", tmp_path])


def written(paths: MachinePaths) -> int:
    found = ask(paths, "query-blockstats")
    assert isinstance(found, list)
    return sum(int(each["stats"]["wr_operations"]) for each in found if each.get("device") == "MacHDD")


def failed(paths: MachinePaths) -> int:
    found = ask(paths, "query-blockstats")
    assert isinstance(found, list)
    return sum(int(each["stats"]["failed_wr_operations"]) for each in found)


def sources(paths: MachinePaths) -> list[DiskSource]:
    return backup_taking.sources(paths.qmp, [(paths.disk.name, paths.disk, "qcow2", "MacHDD", True)])


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    """The drive by the name that QEMU gives its node, as `snapshot_live.drives` finds it."""
    real = backup_taking.sources

    def named(socket: Path, disks: list[tuple[str, Path, str, str, bool]]) -> list[DiskSource]:
        async def work() -> str:
            async with snapshot_live.monitor_of(machine) as monitor:
                blocks = await monitor.execute("query-block")
                return next(str(each["inserted"]["node-name"]) for each in blocks if each["device"] == "MacHDD")

        machine = MachinePaths("m", Path("/nowhere"), socket.parent)
        name = qmp.run(work())
        return real(socket, [(*each[:3], name, each[4]) for each in disks])

    monkeypatch.setattr(backup_taking, "sources", named)


def take(paths: MachinePaths, copies: list[DiskCopy], into: Path, told: list[Progress] | None = None) -> bytes | None:
    seen = told if told is not None else []
    return backup_taking.take(paths.qmp, copies, into, BITMAP, paths.nvram.read_bytes, seen.append)


def test_a_copy_is_of_the_moment_at_which_it_began(paths: MachinePaths, tmp_path: Path) -> None:
    (source,) = sources(paths)
    assert source.remembers and source.virtual_bytes == 64 * MIB
    told: list[Progress] = []
    assert take(paths, [DiskCopy(source)], tmp_path, told) == NVRAM
    assert told[-1].finished and is_running(paths) and failed(paths) == 0
    (after,) = sources(paths)
    assert set(after.bitmaps) == {BITMAP} and after.bitmaps[BITMAP].usable
    copied = tmp_path / paths.disk.name
    run(["qemu-io", "-f", "qcow2", "-c", "read -P 7 32M 32M", copied])
    assert copied.stat().st_blocks * 512 < 64 * MIB  # what was reserved and not used is given back


def test_a_drive_that_fills_up_fails_the_backup_and_never_the_guest(
    paths: MachinePaths, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that cannot set room aside, as many network drives."""
    monkeypatch.setattr(backup_store, "reserve", lambda *_: False)
    (source,) = sources(paths)
    with pytest.raises(BuildError, match=r"not all of mac_hdd_ng\.img could be written"):
        take(paths, [DiskCopy(source)], small)
    before = written(paths)
    wait_until(lambda: written(paths) > before)
    assert is_running(paths) and failed(paths) == 0


def test_room_is_set_aside_before_the_guest_has_to_wait_for_it(paths: MachinePaths, small: Path) -> None:
    (source,) = sources(paths)
    assert DiskCopy(source).room_bytes() > 24 * MIB
    with pytest.raises(BuildError, match="MiB left"):
        take(paths, [DiskCopy(source)], small)
    assert sources(paths)[0].bitmaps == {} and is_running(paths)


def test_a_guest_that_keeps_changing_its_variables(paths: MachinePaths, tmp_path: Path) -> None:
    numbers = iter(range(100))
    with pytest.raises(MachineError, match="keeps changing"):
        backup_taking.take(
            paths.qmp, [DiskCopy(sources(paths)[0])], tmp_path, BITMAP, lambda: bytes([next(numbers)]), lambda _: None
        )
    assert sources(paths)[0].bitmaps == {} and ask(paths, "query-jobs") == []


def test_what_a_killed_backup_left_at_work_is_called_off(
    paths: MachinePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = sources(paths)

    class Killed(BaseException):
        pass

    def at_once(_: Progress) -> None:
        raise Killed

    async def nothing(*_: object, **__: object) -> None:
        return None

    monkeypatch.setattr(backup_taking, "_take_back", nothing)  # as after a kill -9
    with pytest.raises(Killed):
        backup_taking.take(paths.qmp, [DiskCopy(source)], tmp_path, BITMAP, paths.nvram.read_bytes, at_once)
    assert ask(paths, "query-jobs") != []
    (after,) = sources(paths)  # the next backup's first look
    assert ask(paths, "query-jobs") == [] and BITMAP in after.bitmaps
    nodes = ask(paths, "query-named-block-nodes", flat=True)
    assert isinstance(nodes, list) and not [each for each in nodes if each["node-name"].startswith("pommel-backup")]
    backup_taking.settle(paths.qmp, [DiskCopy(after)], [])
    assert sources(paths)[0].bitmaps == {}


def test_bitmaps_that_are_laid_aside_come_back(paths: MachinePaths, tmp_path: Path) -> None:
    (source,) = sources(paths)
    take(paths, [DiskCopy(source)], tmp_path)
    before = written(paths)
    wait_until(lambda: written(paths) > before)
    ask(paths, "stop")
    (known,) = sources(paths)

    async def work(monitor: qmp.Qmp) -> None:
        async with backup_bitmaps.laid_aside(monitor, [source.node]):
            assert await backup_bitmaps.of(monitor, source.node) == {}
        assert await backup_bitmaps.of(monitor, source.node) == known.bitmaps

    qmp.run(qmp.within(paths.qmp, 20, work))
    assert known.bitmaps[BITMAP].dirty_bytes > 0


def test_an_encrypted_disk_is_not_written_out_in_clear(home: Home, tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("secret")
    made = make(home, "e")
    said = ["--object", f"secret,id=s,file={secret}"]
    luks = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
    words = ["qemu-img", "create", "-q", *said, "-f", "qcow2", "-o", luks, made.disk, "8M"]
    wait_until(lambda: run(words, check=False).returncode == 0)  # on a busy host: "Unable to get accurate CPU usage"
    drive = f"id=MacHDD,if=ide,format=qcow2,encrypt.key-secret=s,file={made.disk}"
    lifecycle.start(made, argv(made, "-object", said[1], "-drive", drive))
    with pytest.raises(StateError, match="is encrypted, but its backup would not be encrypted"):
        sources(made)
