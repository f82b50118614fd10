"""Paths: where things are, and how a file comes to be."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import ConfigError, NotPermitted, UsageError
from pommel.paths import ClipPaths, Home, MachinePaths, build_aside, check_name, is_aside, sweep_aside, write_atomic


@pytest.mark.parametrize("name", ["a", "trial", "sonoma-2", "14.6_x", "0" * 40])
def test_names_that_will_do(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "-x", ".hidden", "A", "a b", "a\n", "ä", "a\0", "0" * 41, "~", "$x"]
)
def test_names_that_will_not(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a machine's name") as refusal:
        check_name(name)
    assert refusal.value.hint


@given(st.text(max_size=60))
def test_a_name_never_leaves_its_folder(name: str) -> None:
    home = Home(Path("/h"), Path("/r"), Path("/c"))
    try:
        made = home.machine(name)
    except UsageError:
        return
    assert made.directory.parent == Path("/h/machines") and made.runtime.parent == Path("/r")
    assert os.path.normpath(made.directory) == str(made.directory)


def test_all_paths_of_a_machine_are_different_and_its_own() -> None:
    machine = Home(Path("/h"), Path("/r"), Path("/c")).machine("m")
    told = {name: getattr(machine, name) for name, value in vars(MachinePaths).items() if isinstance(value, property)}
    found = {name: path for name, path in told.items() if isinstance(path, Path)}
    assert len(set(found.values())) == len(found) >= 10
    assert machine.session.console_lock not in found.values(), "the session's console is another one"
    for path in found.values():
        inside = path.is_relative_to(machine.directory) or path.is_relative_to(machine.runtime)
        assert inside or path == machine.lock
    assert machine.pidfile.is_relative_to(machine.directory)  # it must outlive the login session


def test_what_keeps_machines_online_has_a_folder_that_nobody_else_may_enter(tmp_path: Path) -> None:
    mesh = Home(tmp_path / "h", tmp_path / "r", tmp_path / "c").mesh
    mesh.make()
    assert mesh.directory == tmp_path / "h" / "mesh" and mesh.directory.stat().st_mode & 0o777 == 0o700
    inside = (mesh.lock, mesh.record, mesh.log)
    assert {path.parent for path in inside} == {mesh.directory} and len(set(inside)) == 3
    mesh.directory.chmod(0o777)
    with pytest.raises(NotPermitted):
        mesh.make()


def test_a_clipboard_sync_has_folders_of_its_own_that_nobody_else_may_enter(tmp_path: Path) -> None:
    home = Home(tmp_path / "h", tmp_path / "r", tmp_path / "c")
    clip = home.clip("m")
    found = {name: getattr(clip, name) for name, value in vars(ClipPaths).items() if isinstance(value, property)}
    assert len(set(found.values())) == len(found) == 7
    assert not any(path.is_relative_to(home.machine("m").directory) for path in found.values())
    clip.make()
    clip.make()
    assert clip.directory.stat().st_mode & 0o777 == clip.runtime.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ConfigError, match="socket paths under"):
        ClipPaths("m", tmp_path / "h", tmp_path / ("r" * 90)).make()


def test_no_machine_is_called_as_the_folder_of_the_syncs_sockets() -> None:
    with pytest.raises(UsageError):
        check_name(Home(Path("/h"), Path("/r"), Path("/c")).clip("m").runtime.name)


def test_homes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}
    usual = Home.find(env)
    assert usual == Home(tmp_path / "data/pommel", tmp_path / "data/pommel/run", tmp_path / "cache/pommel")
    other = Home.find(env | {"POMMEL_HOME": str(tmp_path / "other")})
    another = Home.find(env | {"POMMEL_HOME": str(tmp_path / "another")})
    assert other.root == tmp_path / "other"
    assert len({usual.runtime, other.runtime, another.runtime}) == 3  # no two homes share sockets
    monkeypatch.chdir(tmp_path)
    assert Home.find(env | {"POMMEL_HOME": "other"}) == other
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Home.find(env | {"POMMEL_HOME": "~/other"}) == other
    assert Home.find(env | {"POMMEL_HOME": ""}) == usual
    assert Home.find({}) == Home.find({"XDG_RUNTIME_DIR": str(tmp_path / "none")}) == usual  # cron has none


def test_a_home_is_one_home_however_its_path_is_spelled(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    (tmp_path / "link").symlink_to("big")
    ways = (tmp_path / "big", tmp_path / "link", tmp_path / "link" / ".." / "big")
    assert len({Home.find({"POMMEL_HOME": str(way)}) for way in ways}) == 1


def test_the_folder_is_the_list_of_machines(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path, tmp_path)
    assert home.names() == []
    for name in ("b", "a"):
        home.machine(name).directory.mkdir(parents=True)
        home.machine(name).record.touch()
    (home.machines / "leftover").mkdir()
    (home.machines / ".a.building.x").mkdir()
    (home.machines / ".a.building.x" / "machine.json").touch()
    (home.machines / "file").touch()
    assert home.names() == ["a", "b"]


@pytest.fixture
def machine(tmp_path: Path) -> MachinePaths:
    return MachinePaths("m", tmp_path / "m", tmp_path / "r" / "m")


def test_the_sockets_folder_is_private(machine: MachinePaths) -> None:
    old = os.umask(0)
    try:
        machine.make_runtime()
    finally:
        os.umask(old)
    assert machine.runtime.stat().st_mode & 0o777 == machine.runtime.parent.stat().st_mode & 0o777 == 0o700
    machine.runtime.chmod(0o755)  # others may look, nobody may write: ours, and made private again
    machine.make_runtime()
    assert machine.runtime.stat().st_mode & 0o777 == 0o700


def test_a_sockets_folder_that_others_may_write_to_is_refused(machine: MachinePaths, tmp_path: Path) -> None:
    machine.runtime.mkdir(parents=True)
    machine.runtime.chmod(0o770)
    with pytest.raises(NotPermitted, match="only you can write to"):
        machine.make_runtime()
    machine.runtime.rmdir()
    (tmp_path / "elsewhere").mkdir()
    machine.runtime.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotPermitted):
        machine.make_runtime()


def test_a_sockets_folder_with_too_long_a_name(tmp_path: Path) -> None:
    deep = MachinePaths("m", tmp_path, tmp_path / ("x" * 100))
    with pytest.raises(ConfigError, match="107 are allowed") as refusal:
        deep.make_runtime()
    assert refusal.value.hint and "POMMEL_HOME" in refusal.value.hint
    assert not deep.runtime.exists()


@pytest.mark.parametrize("data", [b"\xff\0bytes", "text: ä", ""])
def test_a_file_is_written_whole(tmp_path: Path, data: bytes | str) -> None:
    path = tmp_path / "new" / "file"
    write_atomic(path, "old")
    write_atomic(path, data, mode=0o600)
    assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_renamed_into_place_is_synced_and_then_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut may not undo: the file's bytes, then its name."""
    synced: list[tuple[bool, bool]] = []
    target = tmp_path / "file"
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(fd).st_mode), target.exists()))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic(target, "text")
    assert synced == [(False, False), (True, True)]
    synced.clear()
    target.unlink()
    with build_aside(target):
        pass
    assert synced == [(True, True)]


@pytest.mark.parametrize(("number", "told"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_file_system_that_syncs_no_folders_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, told: bool
) -> None:
    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="error") if told else contextlib.nullcontext():
        write_atomic(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"


def test_build_aside_then_there(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    for content in ("first", "second"):
        with build_aside(target) as aside:
            assert aside.parent == target.parent
            (aside / "file").write_text(content)
            if content == "second":
                assert (target / "file").read_text() == "first"
        assert (target / "file").read_text() == content
    assert list(target.parent.iterdir()) == [target]
    assert target.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_build_that_fails_leaves_what_was(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "precious").touch()
    with pytest.raises(error), build_aside(target) as aside:
        (aside / "half").touch()
        raise error
    assert [entry.name for entry in tmp_path.iterdir()] == ["target"]
    assert [entry.name for entry in target.iterdir()] == ["precious"]


BUILD = """
import sys, time
from pathlib import Path
from pommel.paths import build_aside
with build_aside(Path(sys.argv[1])) as aside:
    (aside / "half").touch()
    print("building", flush=True)
    time.sleep(60)
"""


def test_a_build_that_is_killed_is_swept_up(tmp_path: Path) -> None:
    target = tmp_path / "target"
    child = subprocess.Popen([sys.executable, "-c", BUILD, target], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert not target.exists()
    (left,) = tmp_path.iterdir()
    (tmp_path / ".other.building.x").mkdir()
    sweep_aside(target)
    assert not left.exists()
    assert (tmp_path / ".other.building.x").exists()  # not ours to sweep


def test_a_sweep_takes_nothing_of_a_machine_whose_name_looks_like_a_build(tmp_path: Path) -> None:
    """`a.building.x` is a machine's name: its lock and its own builds are not what a build of `a` left."""
    check_name("a.building.x")
    theirs = Home(tmp_path, tmp_path, tmp_path).machine("a.building.x")
    kept = theirs.lock.with_name(".a.building.x.building.q_1")
    for path in (theirs.directory, kept, kept.with_name(kept.name + ".old"), tmp_path / "machines" / ".a.building.A"):
        path.mkdir(parents=True)
    theirs.lock.touch()
    before = sorted(path.name for path in theirs.directory.parent.iterdir())
    gone = theirs.lock.with_name(".a.building.q_1")
    gone.mkdir()
    sweep_aside(theirs.directory.with_name("a"))
    assert sorted(path.name for path in theirs.directory.parent.iterdir()) == before
    assert is_aside(kept) and not is_aside(theirs.lock) and not is_aside(theirs.directory)


def test_what_a_kill_left_of_an_old_target_is_no_obstacle(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / ".target.building.old").mkdir()
    (tmp_path / ".target.building.old" / "left").touch()
    with build_aside(target) as aside:
        (aside / "file").touch()
    assert (target / "file").exists()
    sweep_aside(target)
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for target in (pipe, link):
        with pytest.raises(FileExistsError, match="is not replaced"):
            write_atomic(target, "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]
    assert pipe.is_fifo()
