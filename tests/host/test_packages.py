"""Packages: a real one is installed with the real apt; sudo, which must not depend on this host, is played."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pommel.errors import CommandFailed, MissingProgram, NotPermitted
from pommel.host import packages
from pommel.host.distribution import System
from pommel.host.needs import InstallPlan, Need
from pommel.progress import Progress

SH = Need(("sh",), {"apt": ("dash",)}, "is there")


def plan(
    *command: str, refresh: tuple[str, ...] = (), needs: tuple[Need, ...] = (SH,), root: bool = True
) -> InstallPlan:
    return InstallPlan("apt", needs, ("thing",), refresh, command, needs_root=not root)


def test_a_need_is_met_by_any_program_or_file(tmp_path: Path) -> None:
    (tmp_path / "OVMF_CODE_4M.fd").touch()
    absent = Need(("no-such-program", f"{tmp_path}/none*.fd"), {}, "")
    met = [
        Need(("sh",), {}, ""),
        Need(("no-such-program", "sh"), {}, ""),
        Need(("ldconfig",), {}, "sits in an sbin folder"),
        Need((f"{tmp_path}/OVMF_CODE*.fd",), {}, ""),
        Need((f"{tmp_path}/none", f"{tmp_path}/*/../OVMF_CODE_?M.fd", "sh"), {}, ""),
    ]
    assert packages.missing([*met, absent]) == [absent]


def test_what_runs_machines_here_is_there() -> None:
    assert packages.missing(packages.RUN_NEEDS) == []


def test_the_family_of_this_host_and_of_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert packages.read_system().family == "apt"
    assert packages.read_system(tmp_path).family == "apt"  # by the program
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/os-release").write_text("ID=fedora\nNAME=Fedora\n")
    assert packages.read_system(tmp_path) == System("Fedora", "dnf")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/ostree-booted").touch()
    assert "rpm-ostree install" in (packages.read_system(tmp_path).instead or "")
    (tmp_path / "usr/lib/os-release").unlink()
    (tmp_path / "run/ostree-booted").unlink()
    monkeypatch.setattr(packages, "_is_there", lambda what: what == "pacman")
    assert packages.read_system(tmp_path).family == "pacman"
    monkeypatch.setattr(packages, "_is_there", lambda what: False)
    assert packages.read_system(tmp_path).family is None


def test_stale_lists(tmp_path: Path) -> None:
    assert packages._is_stale("apt", tmp_path)
    lists = tmp_path / "var/lib/apt/lists"
    (lists / "partial").mkdir(parents=True)
    assert packages._is_stale("apt", tmp_path)
    (lists / "mirror_main_Packages.lz4").touch()
    assert not packages._is_stale("apt", tmp_path)
    old = time.time() - 2 * 24 * 3600
    os.utime(lists, (old, old))
    assert not packages._is_stale("apt", tmp_path)
    os.utime(lists / "partial", (old, old))
    assert packages._is_stale("apt", tmp_path)
    assert packages._is_stale("pacman", tmp_path)
    (tmp_path / "var/lib/pacman/sync").mkdir(parents=True)
    (tmp_path / "var/lib/pacman/sync/core.db").touch()
    assert not packages._is_stale("pacman", tmp_path)
    assert not packages._is_stale("dnf", tmp_path)


def test_a_plan_for_this_host() -> None:
    made = packages.install_plan([SH])
    assert made.family == "apt" and made.packages == ("dash",)
    assert made.needs_root == (os.geteuid() != 0)


@pytest.fixture
def deb(tmp_path: Path) -> Iterator[Path]:
    """A package of our own, with one program in it; gone afterwards."""
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/bin").mkdir(parents=True)
    program = tree / "usr/bin/pommel-test-hello"
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    (tree / "DEBIAN/control").write_text(
        "Package: pommel-test-hello\nVersion: 1\nArchitecture: all\nMaintainer: Pommel <pommel@invalid>\n"
        "Description: a package for a test\n"
    )
    for folder in tree.rglob("*"):
        if folder.is_dir():
            folder.chmod(0o755)
    path = tmp_path / "pommel-test-hello.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, path], check=True, capture_output=True)
    yield path
    subprocess.run(["dpkg", "--purge", "pommel-test-hello"], check=True, capture_output=True)


def test_a_real_package_is_really_installed(deb: Path) -> None:
    hello = Need(("pommel-test-hello",), {"apt": (str(deb),)}, "says hello")
    assert packages.missing([hello]) == [hello]
    made = replace(packages.install_plan([hello]), refresh=())  # the package is here: no network is needed
    events: list[Progress] = []
    packages.install(made, report=events.append)
    assert packages.missing([hello]) == []
    assert subprocess.run(["pommel-test-hello"], capture_output=True, text=True, check=True).stdout == "hello\n"
    assert any(event.text.startswith("Unpacking pommel-test-hello") for event in events)
    assert (events[-2].done, events[-2].total) == (1, 1)
    assert events[-1].finished and "installed" in events[-1].text


def test_a_package_that_does_not_exist() -> None:
    made = packages.install_plan([Need(("nope",), {"apt": ("no-such-package-of-any-kind",)}, "is not there")])
    with pytest.raises(CommandFailed, match="Unable to locate package") as failure:
        packages.install(replace(made, refresh=()))
    assert failure.value.hint and "by hand: " in failure.value.hint and failure.value.exit_code == 1


def test_lists_that_cannot_be_refreshed_are_a_warning() -> None:
    events: list[Progress] = []
    packages.install(plan("true", refresh=("sh", "-c", "echo no mirror; exit 100")), report=events.append)
    assert [event.text for event in events if event.warning] == [
        "the package lists could not be refreshed: sh failed with exit status 100: no mirror"
    ]


def test_a_success_that_brings_nothing() -> None:
    wanted = Need(("no-such-program",), {"apt": ("thing",)}, "is wanted")
    with pytest.raises(MissingProgram, match="still missing after the installation: no-such-program"):
        packages.install(plan("true", needs=(wanted,)))


def test_ctrl_c_waits_for_the_package_manager(tmp_path: Path) -> None:
    command = f"kill -INT {os.getpid()}; sleep 0.3; touch {tmp_path}/done"
    events: list[Progress] = []
    with pytest.raises(KeyboardInterrupt):
        packages.install(plan("sh", "-c", command), report=events.append)
    assert (tmp_path / "done").exists()
    assert any("finished first" in event.text for event in events)


def test_a_second_ctrl_c_gets_through(tmp_path: Path) -> None:
    command = f"kill -INT {os.getpid()}; sleep 0.3; kill -INT {os.getpid()}; sleep 30; touch {tmp_path}/done"
    with pytest.raises(KeyboardInterrupt):
        packages.install(plan("sh", "-c", command))
    assert not (tmp_path / "done").exists()


def test_ctrl_c_behaves_as_before_afterwards() -> None:
    packages.install(plan("true"))
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), 2)


def test_in_a_thread_it_leaves_signals_alone() -> None:
    import threading

    ends: list[object] = []
    worker = threading.Thread(target=lambda: ends.append(packages.install(plan("true"))))
    worker.start()
    worker.join()
    assert ends == [None]


@pytest.fixture
def sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that PATH begins with, for a sudo that is played; what it is asked stands in `asked`."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def play(sudo: Path, passwordless: bool) -> None:
    (sudo / "sudo").write_text(
        f'#!/bin/sh\necho "$*" >> {sudo}/asked\n'
        f'if [ "$1" = -n ]; then {"shift" if passwordless else "exit 1"}; fi\nexec "$@"\n'
    )
    (sudo / "sudo").chmod(0o755)


def test_sudo_without_a_password(sudo: Path) -> None:
    play(sudo, passwordless=True)
    events: list[Progress] = []
    packages.install(plan("echo", "hello", root=False), report=events.append)
    assert (sudo / "asked").read_text().splitlines() == ["-n true", "-n echo hello"]
    assert events[0].text == "hello"


def test_sudo_with_a_password_on_our_terminal(
    sudo: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    play(sudo, passwordless=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    packages.install(plan("echo", "hello", root=False))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "hello\n")  # standard output is for results
    with pytest.raises(CommandFailed, match="exit status 7"):
        packages.install(plan("sh", "-c", "exit 7", root=False))


def test_sudo_with_a_password_and_nobody_to_type_it(sudo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(sudo, passwordless=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(NotPermitted) as refusal:
        packages.install(plan("true", root=False))
    assert refusal.value.exit_code == 1
    assert refusal.value.hint == "sudo apt-get install --no-install-recommends thing"


def test_no_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_is_there", lambda what: False)
    with pytest.raises(NotPermitted, match="there is no sudo here") as refusal:
        packages.install(plan("true", root=False))
    assert refusal.value.hint == "as root: apt-get install --no-install-recommends thing"
