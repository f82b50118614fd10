"""Removing everything: what is Pommel's, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pommel import marks, sockets
from pommel.app.clip.target import find_guest
from pommel.app.disk import snapshot_timer
from pommel.app.host import service, uninstall
from pommel.app.workspace import Workspace
from pommel.paths import Home, write_atomic

RECORD = json.dumps({"format": 1, "uuid": "u", "ssh_port": 1})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "h", tmp_path / "h" / "run", tmp_path / "c")


def remove(home: Home) -> list[str]:
    told: list[str] = []
    uninstall.uninstall(
        Workspace(home, home.root.parent, {"XDG_DATA_HOME": str(home.root.parent)}),
        report=lambda event: told.append(event.text),
    )
    return told


def test_the_timer_of_this_home_goes_and_that_of_another_stays(home: Home, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    env = {"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config"), "PATH": "/nowhere"}
    units = tmp_path / "config" / "systemd" / "user"
    other = Workspace(Home(tmp_path / "o", tmp_path / "o" / "run", tmp_path / "c"), tmp_path, env)
    for installed, left in ((other, 2), (Workspace(home, tmp_path, env), 0)):
        snapshot_timer.install(enable=False, workspace=installed)
        fill(home)
        uninstall.uninstall(Workspace(home, tmp_path, env))
        assert len([each for each in units.iterdir() if each.is_file()]) == left


@pytest.mark.parametrize("named", ["POMMEL_HOME", "XDG_DATA_HOME", "HOME"])
def test_units_that_start_things_of_this_home_go_and_others_stay(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "PATH": "/nowhere", "HOME": str(tmp_path / "ada")}
    env |= {"POMMEL_HOME": str(tmp_path / 'h "%h\\')} if named == "POMMEL_HOME" else {}
    env |= {"XDG_DATA_HOME": str(tmp_path / "data")} if named == "XDG_DATA_HOME" else {}
    units = tmp_path / "config" / "systemd" / "user"
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    for name in env.keys() - {"PATH"}:
        monkeypatch.setenv(name, env[name])
    own = Home.find(env)
    other = {**env, "POMMEL_HOME": str(tmp_path / "o")}
    write_atomic(units / "ada.service", "[Service]\nExecStart=/bin/true\n")
    service.install_mesh(Workspace(Home.find(other), tmp_path, other), enable=False)
    (units / "pommel_mesh.service").rename(units / "of-another-home.service")
    workspace = Workspace(own, tmp_path, env)
    service.install_mesh(workspace, enable=False)
    service.install_clip(workspace, find_guest(workspace, None, "ada@studio"), enable=False)
    fill(own)
    assert len(list(units.iterdir())) == 4
    uninstall.uninstall(workspace)
    assert {each.name for each in units.iterdir()} == {"ada.service", "of-another-home.service"}


def fill(home: Home) -> None:
    """What a home holds that has been at work."""
    made = home.machine("blue")
    write_atomic(made.record, RECORD)
    made.lock.touch()
    (home.machines / ".red.building.q_1").mkdir()
    write_atomic(home.trial / ("0" * 16) / "root.img", "")
    write_atomic(home.trial / "build.log", "")
    write_atomic(home.upstream("trial") / ".made-from", "")
    (home.upstream("osx-kvm") / ".git").mkdir(parents=True)
    (home.upstream("my-repo-01234567") / ".git").mkdir(parents=True)
    write_atomic(home.recovery / f"sha256-{'0' * 64}" / "image.json", "")
    write_atomic(home.recovery / "incoming" / ".sonoma.lock", "")
    write_atomic(home.recovery / "incoming" / "asked" / "BaseSystem.dmg.part", "")
    write_atomic(home.installers / "042-22222" / "installer.json", "{}")
    write_atomic(home.installers / "incoming" / ".042-22222.lock", "")
    write_atomic(home.installers / "incoming" / "042-11111" / "InstallAssistant.pkg.part", "")
    write_atomic(home.opencore / ("a" * 16) / "OpenCore.qcow2", "")
    write_atomic(home.clip("blue").lock, "")
    write_atomic(home.mesh.lock, "")
    write_atomic(home.root / "ports.lock", "")
    made.make_runtime()
    write_atomic(home.cache / "kvm.json", "{}")


def theirs(home: Home) -> list[Path]:
    """Things of the same plain names as Pommel's folders, which are somebody else's."""
    found = [
        *(home.root / name / "notes.txt" for name in marks.FOLDERS),
        home.root / "thesis.tex",
        home.root / "upstream" / "linux" / "README",
        home.root / "upstream" / "trial" / "README",
        home.root / "machines" / "lathe" / "machine.json",
        home.root / "run" / "db" / "db.pid",
        home.root / "recovery" / "incoming" / "mail" / "1",
        home.root / "clip" / "art" / "lock",
        home.cache / "x",
    ]
    for path in found:
        write_atomic(path, "precious")
    return found


@pytest.mark.parametrize("marked", [True, False])
def test_everything_of_ours_goes_and_nothing_else(home: Home, tmp_path: Path, marked: bool) -> None:
    if marked:
        marks.mark(home)
    fill(home)  # unmarked: by an earlier version
    (tmp_path / "kept").touch()
    sizes = dict(uninstall.plan(Workspace(home, tmp_path, {})))
    assert sum(sizes.values()) > 0 and (home.machines in sizes) == marked
    remove(home)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]


def test_a_folder_that_was_never_a_home_is_left_alone(home: Home) -> None:
    kept = theirs(home)
    assert uninstall.plan(Workspace(home, home.root.parent, {})) == []
    remove(home)
    assert all(path.read_text() == "precious" for path in kept)


@pytest.mark.parametrize("marked", [True, False])
def test_a_home_in_a_folder_that_holds_other_things(home: Home, marked: bool) -> None:
    kept = theirs(home)
    kept.remove(taken := home.upstream("trial") / "README")  # a name that Pommel would take for itself
    taken.unlink()
    if marked:
        marks.mark(home)
    fill(home)
    remove(home)
    left = [path for path in (*home.root.rglob("*"), *home.cache.rglob("*")) if path.is_file()]
    assert sorted(left) == sorted(kept)


def test_what_somebody_puts_into_a_home_later_is_not_in_a_folder_of_ours(home: Home) -> None:
    marks.mark(home)
    fill(home)
    write_atomic(home.root / "thesis.tex", "")
    remove(home)
    assert [path.name for path in home.root.iterdir()] == ["thesis.tex"]


def test_the_cache_stays_while_another_home_uses_it(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "o", tmp_path / "o" / "run", home.cache)
    for each in (home, other):
        marks.mark(each)
        fill(each)
    assert remove(home) == [f"{home.cache} is not removed: {other.root} uses it"]
    assert (home.cache / "kvm.json").exists() and other.machine("blue").record.exists()
    assert remove(other) == [] and not home.cache.exists()


def test_sockets_of_an_earlier_version_go_with_their_machine(home: Home, tmp_path: Path) -> None:
    old = Home(home.root, home.runtime, home.cache, (tmp_path / "xdg" / "pommel",))
    fill(old)
    for name in ("blue", "of-another-home"):
        (tmp_path / "xdg" / "pommel" / name).mkdir(parents=True)
    sockets.spare(home.root).mkdir(parents=True)
    remove(old)
    assert [path.name for path in (tmp_path / "xdg" / "pommel").iterdir()] == ["of-another-home"]
    assert not sockets.spare(home.root).exists()


def test_of_a_link_only_the_link_goes_and_that_is_said(home: Home, tmp_path: Path) -> None:
    big = tmp_path / "big-disk"
    big.mkdir()
    marks.mark(home)
    home.trial.symlink_to(big)
    assert remove(home) == [f"{home.trial} was a link: {big} stays"]
    assert big.is_dir() and not home.root.exists()
