"""Installing on this system, as far as that goes without a systemd to take it."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from pommel import proxies
from pommel.app.session import kvm_install
from pommel.app.session.kvm_install import ServiceWish, install, install_plan, uninstall, uninstall_plan
from pommel.errors import CommandFailed, MissingProgram, NotPermitted, StateError, UsageError
from pommel.progress import Progress
from pommel.session.installation import Command, LiveUser, RemoveDirectory, RemoveFile, WriteFile
from pommel.session.places import Places

from driver import Shell  # isort: skip


def test_a_dry_run_shows_every_file_and_command_and_does_nothing(shell: Shell) -> None:
    done = shell.run("kvm", "install", "--dry-run", "--socket", "/run/x", "--socket-user", "root")
    for line in (
        "write /etc/systemd/system/pommel-kvm.service",
        "write /etc/systemd/user/pommel-kvm-agent.path",
        "    DirectoryNotEmpty=/run/pommel-kvm",
        "systemctl --global enable pommel-kvm-agent.path",
    ):
        assert line in done.stdout.splitlines()
    assert '"--socket" "/run/x" "--socket-user" "root"' in done.stdout
    assert not Path("/etc/systemd/system/pommel-kvm.service").exists()
    steps = shell.json("kvm", "uninstall", "-n", "--id", "other")["actions"]
    assert "rm -f /etc/systemd/user/other-kvm-agent.service" in steps
    told = shell.json("kvm", "status", "--id", "other")
    assert (told["installed"], told["running"], len(told["missing"])) == (False, False, 3)
    assert "not running" in shell.run("kvm", "status", "--id", "other").stdout
    assert "cannot be a service id" in shell.run("kvm", "status", "--id", "../x", status=2).stderr


def test_a_service_is_not_called_in_anybodys_folder() -> None:
    units = [step.data.decode() for step in install_plan(ServiceWish()) if isinstance(step, WriteFile)]
    (daemon,) = [unit for unit in units if '"daemon"' in unit]
    assert '"-P" "-m" "pommel" "kvm" "daemon" "--id" "pommel"' in daemon
    with pytest.raises(UsageError):
        install_plan(ServiceWish(program=("pommel",)))


def test_the_daemons_unit_carries_the_proxies_that_are_set_and_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd tells the environment of a system's unit to everybody. The agents have no need of a network."""
    for name in proxies.NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "a.example, 100%")
    monkeypatch.setenv("ALL_PROXY", "http://ann:geheim@proxy.example:3128")
    steps = [step for step in install_plan(ServiceWish(ticket=b"x")) if isinstance(step, WriteFile)]
    units = [step.data.decode() for step in steps if step.path.suffix == ".service"]
    (daemon,) = [unit for unit in units if '"daemon"' in unit]
    assert (
        'Environment="NO_PROXY=a.example, 100%%"\nEnvironment="https_proxy=http://proxy.example:3128"\nExecStart='
        in daemon
    )
    assert not any("geheim" in unit or "ALL_PROXY" in unit for unit in units)
    assert sum("Environment=" in unit for unit in units) == 1
    said: list[Progress] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(kvm_install, "systemd_runs", lambda: True)
    monkeypatch.setattr(kvm_install, "_carry_out", lambda *_: None)
    install(ServiceWish(program=("/bin/true",)), report=said.append)
    assert [each.text for each in said if "ALL_PROXY" in each.text] == [
        "ALL_PROXY contains a password, and every user can read a system unit, so it was left out of the unit"
    ]


@pytest.mark.parametrize("what", [lambda: install(ServiceWish()), lambda: uninstall()])
def test_root_alone(what: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(NotPermitted) as refusal:
        what()  # type: ignore[operator]
    assert (refusal.value.hint or "").startswith("sudo pommel kvm ")


def test_without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm_install, "systemd_runs", lambda: False)
    with pytest.raises(StateError, match="no systemd") as refusal:
        install(ServiceWish())
    assert "--uid" in (refusal.value.hint or "")


def test_a_pommel_that_users_cannot_run(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    program = closed / "pommel"
    program.touch(mode=0o755)
    with pytest.raises(StateError, match=f"{tmp_path.parents[1]}|closed") as refusal:
        kvm_install._check_reachable(program, print)
    assert "/opt/pommel" in (refusal.value.hint or "")


def test_a_missing_library_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kvm_install.check_libraries(Places.of("linux"))
    monkeypatch.setitem(kvm_install.PACKAGES["linux"], "no-such-package", "no_such_module")  # type: ignore[arg-type]
    with pytest.raises(MissingProgram, match="no-such-package") as failure:
        kvm_install.check_libraries(Places.of("linux"))
    assert (failure.value.hint or "").endswith("-m pip install no-such-package")


def test_steps_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm_install, "_TRY_AGAIN_S", 0.0)
    where, told = PurePosixPath(tmp_path), list[Progress]()
    steps = (
        WriteFile(where / "d" / "unit", b"[Unit]\n"),
        Command(("sh", "-c", f"echo x >> {where}/runs; exit 1"), lenient=True, advice="log in again"),
        Command(("sh", "-c", f"echo x >> {where}/runs; [ $(wc -l < {where}/runs) = 3 ]"), tries=5),
    )
    kvm_install._carry_out(steps, told.append)
    assert (tmp_path / "d" / "unit").read_bytes() == b"[Unit]\n"
    assert (tmp_path / "d" / "unit").stat().st_mode & 0o777 == 0o644
    assert [event.text for event in told if event.warning] == ["log in again"]
    with pytest.raises(CommandFailed):
        kvm_install._carry_out([Command(("false",), tries=2)], told.append)
    gone = (RemoveFile(where / "d" / "unit"), RemoveDirectory(where / "d"), RemoveDirectory(where / "d"))
    kvm_install._carry_out(gone, told.append)
    assert not (tmp_path / "d").exists()
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "somebodys").touch()
    kvm_install._carry_out([RemoveDirectory(where / "e"), RemoveFile(where / "nothing")], told.append)
    assert "not Pommel's: somebodys" in told[-1].text
    assert (tmp_path / "e" / "somebodys").exists()


def test_removing_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm_install, "live_users", lambda _: (LiveUser(0, "root"),))
    assert uninstall("no-such-service") == uninstall_plan("no-such-service")
    assert os.geteuid() == 0
