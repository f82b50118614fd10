"""A machine that starts with the host: the unit that root writes for another user, and that user's start and stop by it.

No systemd boots here, as one does in `test_with_the_host`: systemd itself judges the unit, and its own words are run as it would run them, as the unit's
user, in the unit's environment and no other.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driver import Shell
from isolation import patient
from machine.test_units import ODD, program, unquoted
from pommel.app.host import system_service
from pommel.errors import StateError, UsageError
from pommel.machine.units import SystemService, system_unit_name, system_unit_text
from pommel.process import run
from waits import wait_until

NOBODY = pwd.getpwnam("nobody")
AS_NOBODY = ["setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups", "--"]
BOOT = """#!/bin/bash
qemu-system-x86_64 -m 16 -machine pc -smp 1 -device ich9-ahci,id=sata \\
  -drive id=MacHDD,if=none,file=./mac_hdd_ng.img,format=qcow2 -device ide-hd,bus=sata.4,drive=MacHDD \\
  -drive id=InstallMedia,if=none,file=./BaseSystem.img,format=raw -device ide-hd,bus=sata.3,drive=InstallMedia \\
  -netdev user,id=net0 -device e1000,netdev=net0,id=net0 -monitor stdio
"""
SETTINGS = """[machine.m]
upstream = "../up"
boot_script = "boot.sh"
disk = "64M"
memory = "16M"
cores = 1
threads = 1
accel = "tcg"
stop_timeout = 2
"""


def verified(folder: Path, text: str) -> str:
    """What the host's systemd has to say against the unit."""
    unit = folder / system_unit_name("ada", "mac")
    unit.write_text(text)
    done = run(["systemd-analyze", "--man=no", "verify", unit], check=False, timeout_s=patient(60))
    lines = [line for line in done.output.splitlines() if "Special user nobody" not in line]  # who is only the test's
    about = [line for line in lines if unit.name in line or str(folder) in line]
    return "\n".join(about) + ("" if done.returncode == 0 else f"\nexit status {done.returncode}: {done.output}")


def text_of(folder: Path, **more: object) -> str:
    path = program(folder, "pommel")
    usual = {"start": [path, "start", "mac", "--foreground"], "stop": [path, "stop", "mac"], "stop_timeout_s": 60.0}
    return system_unit_text(SystemService("mac", **(usual | {"user": "root", "mounts": ["/srv"]} | more)))  # type: ignore[arg-type]


def test_systemd_has_nothing_against_it_and_orders_it(tmp_path: Path) -> None:
    text = text_of(tmp_path, environment={"POMMEL_HOME": "/srv/vms", "PATH": "/usr/bin:/bin"})
    assert verified(tmp_path, text) == ""
    assert {
        "User=root", "After=network-online.target", "Wants=network-online.target", 'RequiresMountsFor="/srv"',
        "WantedBy=multi-user.target", "TimeoutStopSec=120", "KillMode=control-group",
    } <= set(text.splitlines())  # fmt: skip
    assert "not executable" in verified(tmp_path, text_of(tmp_path, start=["/nowhere/pommel"]))


@pytest.mark.parametrize("odd", ODD)
def test_folders_and_values_of_any_name(tmp_path: Path, odd: str) -> None:
    text = text_of(tmp_path, mounts=[f"/srv/{odd}", "/srv"], environment={"POMMEL_HOME": f"/srv/{odd}"})
    assert verified(tmp_path, text) == ""
    mounts = next(line for line in text.splitlines() if line.startswith("RequiresMountsFor="))
    assert [word.replace("$$", "$") for word in unquoted(mounts.partition("=")[2])] == [
        f"/srv/{odd}".replace("$$", "$"),
        "/srv",
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8))
def test_no_word_begins_a_line_of_its_own(tmp_path: Path, odd: str) -> None:
    text = text_of(tmp_path, mounts=[f"/{odd}\nUser=root"], environment={"A": f"{odd}\nExecStartPre=/bin/x"})
    keys = [line.partition("=")[0] for line in text.splitlines() if line and line[0] not in "#["]
    assert keys.count("User") == 1 and "ExecStartPre" not in keys


def test_two_users_have_units_of_their_own() -> None:
    assert system_unit_name("ada", "mac") == "pommel-ada-mac.service"
    names = {
        system_unit_name(user, machine) for user, machine in (("a-b", "c"), ("a", "b-c"), ("a.b", "c"), ("ü", "c"))
    }
    assert len(names) == 4 and all(name.isascii() for name in names)


def test_what_the_users_pommel_says_is_not_trusted() -> None:
    good = {"name": "m", "stop_timeout_s": 2, "mounts": ["/a"], "variables": {"A": "b"}, "user_unit": None}
    assert system_service.parse(json.dumps(good).encode(), "m").mounts == ("/a",)
    for wrong in (
        {"name": "other"}, {"mounts": ["a"]}, {"mounts": [1]}, {"variables": {"A B": "c"}}, {"variables": {"A": 1}},
        {"variables": {'A"\nUser': "root"}}, {"stop_timeout_s": -1}, {"stop_timeout_s": "1"}, {"variables": []},
    ):  # fmt: skip
        with pytest.raises((ValueError, AttributeError)):
            system_service.parse(json.dumps(good | wrong).encode(), "m")


@pytest.fixture
def shell() -> Iterator[Shell]:
    """A home of nobody's, with a machine m in it."""
    made = Shell()
    up = made.root / "up"
    up.mkdir()
    (up / "boot.sh").write_text(BOOT)
    (up / "boot.sh").chmod(0o755)
    (up / "BaseSystem.img").write_bytes(bytes(1 << 20))
    made.config(SETTINGS)
    run(["chown", "-R", f"{NOBODY.pw_uid}:{NOBODY.pw_gid}", made.root])
    made.command, made.env["PATH"] = [*AS_NOBODY, *made.command], "/usr/bin:/bin"  # the rest is root's
    try:
        told = made.run("up", "m", "--detach", "--headless", "--yes", "--wait-timeout", "1", status=None)
        assert made.machine("m").is_dir(), told.stderr
        made.run("stop", "m", "--force")
        yield made
    finally:
        made.close()


def words_of(text: str, key: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"{key}="))
    return unquoted(line.partition("=")[2])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes a unit for another user")
def test_root_writes_it_and_the_user_is_started_and_stopped_by_it(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without root: the unit can be seen, and the line to type is named.
    shown = shell.run("service", "install", "m", "--system", "--dry-run").stdout
    assert "User=nobody" in shown and str(shell.home) in shown
    refused = shell.run("service", "install", "m", "--system", status=1).stderr
    assert f"sudo env POMMEL_CONFIG={shell.cwd}/pommel.toml POMMEL_HOME={shell.home}" in refused
    assert "service install m --system --user nobody" in refused
    assert "only root" in shell.run("service", "install", "m", "--system", "--user", "root", status=1).stderr
    assert "needs --system" in shell.run("service", "install", "m", "--user", "root", status=2).stderr
    assert {each["scope"] for each in shell.json("service", "status", "m")["service_units"]} == {"user", "system"}

    # As root: what that line does, but for the folder.
    monkeypatch.chdir(shell.cwd)
    monkeypatch.setenv("POMMEL_HOME", str(shell.home))
    monkeypatch.setenv("POMMEL_CONFIG", str(shell.cwd / "pommel.toml"))
    said: list[str] = []
    made = system_service.install("m", user="nobody", folder=tmp_path, report=lambda event: said.append(event.text))
    assert made.path.name == "pommel-nobody-m.service" and made.path.stat().st_uid == 0
    assert verified(tmp_path, made.text) == ""
    with pytest.raises(UsageError, match="there is no user"):
        system_service.install("m", user="who-is-this", folder=tmp_path)
    with pytest.raises(StateError, match="nobody cannot start n: there is no machine called"):
        system_service.install("n", user="nobody", folder=tmp_path)

    # As systemd would: the unit's words, its user, its environment and no more.
    env = {"HOME": NOBODY.pw_dir, "USER": "nobody"}
    for line in made.text.splitlines():
        if line.startswith("Environment="):
            key, _, value = unquoted(line.partition("=")[2])[0].partition("=")
            env[key] = value
    running = subprocess.Popen(
        [*AS_NOBODY, *words_of(made.text, "ExecStart")], env=env, cwd="/", start_new_session=True
    )
    try:
        wait_until(lambda: shell.json("status", "m")["state"] == "running", patient(60), 0.5)
        pid = shell.json("status", "m")["pid"]
        assert Path(f"/proc/{pid}").stat().st_uid == NOBODY.pw_uid
        stopped = subprocess.run([*AS_NOBODY, *words_of(made.text, "ExecStop")], env=env, cwd="/", timeout=patient(60))
        assert stopped.returncode == 0 and running.wait(patient(30)) == 0
    finally:
        running.kill()
    assert shell.json("status", "m")["state"] == "stopped"

    # Taken away; what is not Pommel's stays.
    assert system_service.remove("m", user="nobody", folder=tmp_path) == made.path and not made.path.exists()
    made.path.write_text("[Service]\n")
    for act in (system_service.install, system_service.remove):
        with pytest.raises(StateError, match="not Pommel's"):
            act("m", user="nobody", folder=tmp_path)
