"""What killed commands left goes with the next command, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from pommel import locks
from pommel.machine import permission
from pommel.machine.leftovers import sweep_unfinished
from pommel.machine.permission import working_on
from pommel.paths import Home, MachinePaths

from .bare import finish, make, pommel
from .guests import make_disk

LEFT = (
    ".machine.json.gks_n4c7",
    ".run.json.a1b2c3d4",
    ".started.json.a1b2c3d4",
    ".nvram.fd.a1b2c3d4",
    ".mac_hdd_ng.img.5xa9npz4",
    ".mac_hdd_ng.img.aside.l09wt4ji",
    ".mac_hdd_ng.img.aside.l09wt4ji.log",
    ".disk-more.qcow2.am4e4p4x",
    ".disk-upstream-data.qcow2.aside.am4e4p4x",
    "ssh/.known_hosts.a1b2c3d4",
    "snapshots/..loading.json.a1b2c3d4",
)
KEPT = (
    ".console.json.a1b2c3d4",  # the console's, which holds another lock
    ".mac_hdd_ng.img",
    ".mac_hdd_ng.img.before-update",
    "disk-more.qcow2",
    ".disk-more.qcow2.backup.img",
    "notes",
)


@pytest.fixture
def paths(home: Home) -> MachinePaths:
    made = make(home)
    make_disk(made.disk)
    for folder in ("ssh", "snapshots"):
        (made.directory / folder).mkdir()
    return made


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("x")


def there(folder: Path, *names: str) -> list[str]:
    return [name for name in names if (folder / name).exists()]


def test_the_next_work_takes_away_what_is_nobodys(paths: MachinePaths) -> None:
    put(paths.directory, *LEFT, *KEPT)
    paths.make_runtime()
    put(paths.runtime, "qmp.sock", "vnc.sock")
    with working_on(paths, permission.SNAPSHOT_DELETED):
        assert there(paths.directory, *LEFT, *KEPT) == list(KEPT)
        assert not paths.qmp.exists() and not paths.vnc.exists()


def test_work_within_work_takes_nothing_away(paths: MachinePaths) -> None:
    with working_on(paths, permission.RESIZED):
        put(paths.directory, LEFT[0])
        with working_on(paths, permission.RESIZED):
            assert there(paths.directory, LEFT[0])


def test_beside_a_disk_on_another_drive_too(home: Home, paths: MachinePaths) -> None:
    big = home.root / "big"
    big.mkdir()
    paths.disk.rename(big / "Mac [1].img")
    paths.disk.symlink_to(big / "Mac [1].img")
    put(big, ".Mac [1].img.aside.a1b2c3d4", ".Mac 1.img.aside.a1b2c3d4", ".Mac [1].img.mine")
    with working_on(paths, permission.SAVED):
        assert sorted(path.name for path in big.iterdir()) == [
            ".Mac 1.img.aside.a1b2c3d4",
            ".Mac [1].img.mine",
            "Mac [1].img",
        ]


def test_machines_that_came_to_nothing_go_unless_somebody_is_at_them(home: Home, paths: MachinePaths) -> None:
    for name in (
        ".c.building.o9xw3eea",
        ".gone.building.deleted",
        ".busy.building.abcdefgh",
        ".mine.building.abcdefgh",
    ):
        (home.machines / name).mkdir()
        put(home.machines / name, "mac_hdd_ng.img")
    (home.machines / "a.building.x").mkdir()  # a machine may be called so
    code = """
    from pommel import locks
    with locks.hold(home.machine("busy").lock, busy=""):
        print("held", flush=True)
        sys.stdin.read()
    """
    import subprocess

    other = pommel(code, paths, stdin=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    with locks.hold(home.machine("mine").lock, busy=""), working_on(paths, permission.SAVED):
        left = sorted(path.name for path in home.machines.iterdir() if ".building." in path.name)
        assert left == [".busy.building.abcdefgh", ".mine.building.abcdefgh", "a.building.x"]
    finish(other)
    sweep_unfinished(home.machines)
    assert [path.name for path in home.machines.iterdir() if ".building." in path.name] == ["a.building.x"]
    # Nor are there locks of machines that never came about, or have gone.
    assert not home.machine("busy").lock.exists() and not home.machine("mine").lock.exists()
