"""What is Pommel's is for this user alone, whatever the umask says; another user's is refused."""

from __future__ import annotations

import ast
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pommel import marks, private, process
from pommel.app.workspace import Workspace
from pommel.errors import NotPermitted
from pommel.files import build_aside, users_mode, write_atomic
from pommel.locks import hold
from pommel.machine import disk
from pommel.paths import Home

STRANGER = 65534
SOURCE = Path(__file__).parents[1] / "src" / "pommel"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "tightened", [])


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "h", tmp_path / "h" / "run", tmp_path / "c")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def open_ones(top: Path) -> list[Path]:
    return [path for path in (top, *top.rglob("*")) if not path.is_symlink() and mode(path) & 0o077]


def old_home(home: Home) -> Path:
    """A home as an earlier version made it under umask 0."""
    machine = home.machine("m").directory
    for folder in (home.root, home.machines, machine, machine / "snapshots", home.trial, home.upstream("trial")):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
    files = ("machine.json", "mac_hdd_ng.img", "snapshots/a.json")
    for file in (*(machine / name for name in files), home.trial / "root.img", home.upstream("trial") / "boot.sh"):
        file.touch()
        file.chmod(0o755 if file.suffix == ".sh" else 0o666)
    return machine


def test_whatever_the_umask_says(tmp_path: Path, umask: int) -> None:
    top = tmp_path / "home"
    write_atomic(top / "a" / "record.json", "{}")
    disk.create(top / "b" / "disk.qcow2", 1 << 20)
    disk.create(top / "b" / "over.qcow2", backing=top / "b" / "disk.qcow2")
    with hold(top / "c" / "lock", busy=""), build_aside(top / "d" / "built") as aside:
        subprocess.run(["sh", "-c", "umask 0; mkdir x; echo > x/y"], cwd=aside, check=True)
    private.make_folder(top / "e" / "f")
    with private.appended(top / "log"), private.written(top / "other"):
        pass
    child = process.spawn_detached(["sh", "-c", "mkdir x; echo > x/y"], top / "out", cwd=top / "e")
    child._child.wait()
    child.release()
    assert (top / "e" / "x" / "y").exists() and (top / "d" / "built" / "x" / "y").exists()
    assert open_ones(top) == []


def test_what_is_made_for_the_user_is_as_their_umask_says(tmp_path: Path, umask: int) -> None:
    write_atomic(tmp_path / "shot.png", b"", mode=users_mode())
    assert mode(tmp_path / "shot.png") == 0o666 & ~umask
    child = process.spawn_detached(["sh", "-c", "echo > theirs"], Path("/dev/null"), cwd=tmp_path, umask=-1)
    child._child.wait()
    child.release()
    assert mode(tmp_path / "theirs") == 0o666 & ~umask


def test_the_mode_that_others_need_is_kept(tmp_path: Path, umask: int) -> None:
    write_atomic(tmp_path / "unit", "", mode=0o644)
    assert mode(tmp_path / "unit") == 0o644


def test_a_home_of_an_earlier_version_is_closed_when_it_is_used(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    old_home(home)
    monkeypatch.setenv("POMMEL_HOME", str(home.root))
    Workspace.current()
    assert open_ones(home.root) == [] and mode(home.upstream("trial") / "boot.sh") == 0o700
    assert {home.root, home.machines, home.trial} <= set(private.tightened)
    private.tightened.clear()
    Workspace.current()
    assert private.tightened == [], "once"


def test_only_what_is_pommels_is_closed(home: Home, tmp_path: Path) -> None:
    """In a folder that holds other things too, and was there before."""
    (home.root / "recovery").mkdir(parents=True)
    (home.root / "recovery").chmod(0o755)
    home.root.chmod(0o755)
    (home.root / "thesis.tex").touch()
    marks.mark(home)
    machine = old_home(home)
    elsewhere = tmp_path / "disk.img"
    elsewhere.touch(0o644)
    (machine / "more.img").symlink_to(elsewhere)
    home.root.chmod(0o755)
    marks.guard(home)
    assert open_ones(machine) == [] and mode(home.machines) == 0o700
    assert mode(home.root) == mode(home.root / "recovery") == 0o755
    assert mode(elsewhere) == 0o644, "the user's own, wherever it is linked from"


def test_a_home_without_a_mark_and_with_other_things(home: Home) -> None:
    machine = old_home(home)
    (home.root / "thesis.tex").touch()
    marks.guard(home)
    assert open_ones(machine) == [] and mode(home.machines) == mode(home.root) == 0o777


def test_a_machine_on_another_drive(home: Home, tmp_path: Path) -> None:
    marks.mark(home)
    there = old_home(home).rename(tmp_path / "big")
    home.machine("m").directory.symlink_to(there)
    marks.guard(home)
    assert open_ones(there) == []
    (tmp_path / "big").rename(tmp_path / "not there now")
    assert marks.guard(home) == []


def test_a_new_home_is_private_from_the_first_moment(home: Home, umask: int) -> None:
    home.root.mkdir()
    marks.mark(home)
    assert mode(home.root) == 0o700 and mode(marks.marker(home.root)) == 0o600
    assert marks.guard(home) == [] and private.tightened == []


@as_root
@pytest.mark.parametrize("which", ["home", "machines", "machine", "disk", "script", "link"])
def test_what_belongs_to_another_user_is_refused_each_time(home: Home, which: str) -> None:
    machine = old_home(home)
    link = machine / "disk-x.qcow2"
    link.symlink_to("mac_hdd_ng.img")
    places = {"home": home.root, "machines": home.machines, "machine": machine, "disk": machine / "mac_hdd_ng.img"}
    places |= {"script": home.upstream("trial") / "boot.sh", "link": link}
    os.chown(places[which], STRANGER, -1, follow_symlinks=False)
    for _ in range(2):
        with pytest.raises(NotPermitted, match=str(places[which])) as refusal:
            marks.guard(home)
        assert refusal.value.hint
    os.chown(places[which], 0, -1, follow_symlinks=False)
    assert marks.guard(home) == []


@as_root
def test_what_is_roots_is_no_strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a `sudo pommel`, say: the user cannot change it, and it is no attack."""
    (tmp_path / "log").touch(0o644)
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    private.must_be_ours(tmp_path / "log")
    os.chown(tmp_path / "log", STRANGER - 1, -1)
    with pytest.raises(NotPermitted):
        private.must_be_ours(tmp_path / "log")


def test_a_second_name_of_a_file_elsewhere_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "theirs").touch(0o644)
    (tmp_path / "top").mkdir(0o755)
    os.link(tmp_path / "theirs", tmp_path / "top" / "object")
    private.close(tmp_path / "top")
    assert mode(tmp_path / "theirs") == 0o644 and mode(tmp_path / "top") == 0o700


# Those that make folders in the user's or an upstream's tree, or in a folder of their own that is private already.
_AS_THE_UMASK_SAYS = {
    "files.py", "overlay/patches.py", "overlay/layer.py", "overlay/capture.py", "session/bundle.py",
    "session/wheelhouse.py",
    "app/throwaway/archives.py", "app/throwaway/bringing.py",  # what is copied out is the user's own
}  # fmt: skip


def test_no_folder_in_between_is_made_as_the_umask_says() -> None:
    """`mkdir(parents=True)` gives the parents that mode, whatever is said for the folder."""
    found = set()
    in_guests = set((SOURCE / "trial" / "data").rglob("*.py"))
    for path in set(SOURCE.rglob("*.py")) - in_guests:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                makes = node.func.attr == "makedirs" or (
                    node.func.attr == "mkdir" and any(word.arg == "parents" for word in node.keywords)
                )
                found |= {str(path.relative_to(SOURCE))} if makes else set()
    assert found == _AS_THE_UMASK_SAYS
