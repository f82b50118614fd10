"""Property lists by plistlib and a schema, units by systemd itself."""

from __future__ import annotations

import os
import plistlib
import stat
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from pommel.errors import UsageError
from pommel.process import run
from pommel.session.places import Places
from pommel.session.service_files import agent_unit, daemon_unit, files

# launchd.plist(5): the keys that we use and what they hold
SCHEMA: dict[str, type] = {
    "Label": str,
    "ProgramArguments": list,
    "RunAtLoad": bool,
    "KeepAlive": bool,
    "ThrottleInterval": int,
    "ProcessType": str,
    "Umask": int,
    "WorkingDirectory": str,
    "StandardErrorPath": str,
    "LimitLoadToSessionType": list,
    "QueueDirectories": list,
}
COMMAND = ["/opt/pommel/bin/pommel", "kvm", "agent"]


def plists(service_id: str) -> tuple[Places, dict[str, Any], dict[str, Any]]:
    places = Places.of("macos", service_id)
    made = files(places, ["/opt/pommel/bin/pommel", "kvm", "daemon"], COMMAND)
    return places, plistlib.loads(made[places.daemon_plist]), plistlib.loads(made[places.agent_plist])


@pytest.mark.parametrize("service_id", ["pommel", "meshagent"])
def test_property_lists(service_id: str) -> None:
    _, daemon, agent = plists(service_id)
    for job in (daemon, agent):
        assert {key: type(value) for key, value in job.items()} == {key: SCHEMA[key] for key in job}
        assert all(isinstance(word, str) for word in job["ProgramArguments"])
    assert daemon["Label"] == service_id
    assert daemon["KeepAlive"] is True
    assert daemon["RunAtLoad"] is True
    assert agent["Label"] == f"{service_id}-kvm1"
    assert agent["ProgramArguments"] == [*COMMAND, "-kvm1"]
    assert agent["LimitLoadToSessionType"] == ["Aqua", "LoginWindow"]
    assert agent["QueueDirectories"] == [f"/var/run/{service_id}"]
    assert agent["KeepAlive"] is False


def test_a_plist_is_named_after_its_label() -> None:
    places, daemon, agent = plists("meshagent")
    assert places.daemon_plist.stem == daemon["Label"]
    assert places.agent_plist.stem == agent["Label"]


def units(folder: Path, program: str = "pommel") -> list[Path]:
    """The units as files, their commands ones that are there."""
    path = folder / program
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    words = [str(path), "kvm", "x y", "100%", "$HOME"]
    made = files(Places.of("linux"), words, words, {"https_proxy": "http://[::1]:3128/a%20b", "NO_PROXY": 'a "b" c'})
    for where, data in made.items():
        (folder / where.name).write_bytes(data)
    return [folder / where.name for where in made]


def verified(folder: Path, unit: Path) -> str:
    env = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
    whose = "--system" if unit.name == Places.of("linux").daemon_unit else "--user"
    done = run(["systemd-analyze", whose, "--man=no", "verify", unit], env=env, check=False, timeout_s=60)
    about = [line for line in done.output.splitlines() if "pommel" in line or str(folder) in line]
    return "\n".join(about) + ("" if done.returncode == 0 else f"\nexit status {done.returncode}: {done.output}")


def test_systemd_has_nothing_against_the_units(tmp_path: Path) -> None:
    made = units(tmp_path)
    assert [unit.suffix for unit in made] == [".service", ".path", ".service"]
    assert [verified(tmp_path, unit) for unit in made] == ["", "", ""]


def test_systemd_would_have_something_against_wrong_ones(tmp_path: Path) -> None:
    for unit in units(tmp_path):
        unit.write_text(unit.read_text().replace("DirectoryNotEmpty=/", "DirectoryNotEmpty=").replace("Exec", "Exce"))
        assert verified(tmp_path, unit) != ""


def test_what_units_hold() -> None:
    made = files(Places.of("linux", "meshagent"), COMMAND, COMMAND)
    assert set(made) == {
        PurePosixPath("/etc/systemd/system/meshagent-kvm.service"),
        PurePosixPath("/etc/systemd/user/meshagent-kvm-agent.path"),
        PurePosixPath("/etc/systemd/user/meshagent-kvm-agent.service"),
    }
    path = made[PurePosixPath("/etc/systemd/user/meshagent-kvm-agent.path")].decode()
    assert "DirectoryNotEmpty=/run/meshagent-kvm\n" in path
    assert "Unit=meshagent-kvm-agent.service\n" in path


@pytest.mark.parametrize("words", [[], ["pommel"], ["", "x"], ["/bin/x", "a\0b"], ["/bin/x", "\x1b"]])
def test_commands_that_no_service_has(words: list[str]) -> None:
    for system in ("linux", "macos"):
        with pytest.raises(UsageError):
            files(Places.of(system), words, words)


def test_words_arrive_quoted() -> None:
    words = ["/opt/a b/pommel", 'say "hi"', "100%", "$HOME", "back\\slash", "new\nline"]
    wanted = 'ExecStart="/opt/a b/pommel" "say \\"hi\\"" "100%%" "$$HOME" "back\\\\slash" "new\\nline"\n'
    for unit in (daemon_unit(Places.of("linux"), words), agent_unit(Places.of("linux"), words)):
        assert wanted in unit
    with pytest.raises(UsageError, match="quotes"):
        agent_unit(Places.of("linux"), ['/opt/"/pommel'])
