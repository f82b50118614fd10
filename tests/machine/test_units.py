"""The unit file, judged by systemd itself."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pommel.errors import UsageError
from pommel.machine.units import (
    MESH_UNIT,
    SNAPSHOTS_TIMER,
    SNAPSHOTS_UNIT,
    DueService,
    MachineService,
    MeshService,
    SyncService,
    mesh_unit_text,
    snapshots_timer_text,
    snapshots_unit_text,
    sync_unit_name,
    sync_unit_text,
    unit_name,
    unit_text,
)
from pommel.process import run

ODD = [
    "with blank",
    'with "quotes"',
    "with'apostrophe",
    "100%n",
    "back\\slash",
    "semi;colon",
    "ünïcode",
    "dollar$x",
    "#",
]


def program(folder: Path, name: str) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def verified(folder: Path, service: MachineService | SyncService | MeshService | DueService) -> str:
    """What systemd has to say against the unit."""
    if isinstance(service, DueService):
        unit, text = folder / SNAPSHOTS_UNIT, snapshots_unit_text(service)
    elif isinstance(service, MeshService):
        unit, text = folder / MESH_UNIT, mesh_unit_text(service)
    elif isinstance(service, MachineService):
        unit, text = folder / unit_name(service.machine), unit_text(service)
    else:
        unit, text = folder / sync_unit_name("_mac-1a2b3c4d"), sync_unit_text(service)
    unit.write_text(text)
    env = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
    done = run(["systemd-analyze", "--user", "--man=no", "verify", unit], env=env, check=False, timeout_s=60)
    about = [line for line in done.output.splitlines() if unit.name in line or str(folder) in line]
    return "\n".join(about) + ("" if done.returncode == 0 else f"\nexit status {done.returncode}: {done.output}")


def service(folder: Path, name: str = "pommel", **more: object) -> MachineService:
    path = program(folder, name)
    usual = {"start": [path, "start", "mac", "--foreground"], "stop": [path, "stop", "mac"], "stop_timeout_s": 60.0}
    return MachineService("mac", **(usual | more))  # type: ignore[arg-type]


def test_systemd_has_nothing_against_it(tmp_path: Path) -> None:
    given = service(tmp_path, environment={"POMMEL_HOME": "/home/user/vms", "PATH": "/usr/bin:/bin"})
    assert verified(tmp_path, given) == ""


def test_systemd_has_nothing_against_a_clipboards_sync_of_any_guest(tmp_path: Path) -> None:
    words = ("--host", "ada@[fe80::1%eth0]:2200")
    start = [program(tmp_path, "pommel"), "clip", "sync", "--foreground", *words]
    given = SyncService(words[1], words, start, {"POMMEL_HOME": "/home/user/vms", "PATH": "/usr/bin:/bin"})
    assert verified(tmp_path, given) == ""
    lines = sync_unit_text(given).splitlines()
    assert {"PartOf=graphical-session.target", "WantedBy=graphical-session.target", "KillMode=mixed"} <= set(lines)
    (line,) = (line for line in lines if line.startswith("ExecStart="))
    assert unquoted(line.removeprefix("ExecStart=")) == start
    with pytest.raises(UsageError):
        sync_unit_text(SyncService("x", (), ["pommel"]))


def test_systemd_has_nothing_against_what_keeps_machines_online(tmp_path: Path) -> None:
    start = [program(tmp_path, "pommel"), "mesh", "run"]
    given = MeshService(start, {"POMMEL_HOME": "/home/user/vms", "PATH": "/usr/bin:/bin"})
    assert verified(tmp_path, given) == ""
    lines = mesh_unit_text(given).splitlines()
    assert {"KillMode=process", "WantedBy=default.target", "Restart=on-failure"} <= set(lines)
    (line,) = (line for line in lines if line.startswith("ExecStart="))
    assert unquoted(line.removeprefix("ExecStart=")) == start
    assert MESH_UNIT not in (unit_name("mesh"), sync_unit_name("mesh"))
    with pytest.raises(UsageError):
        mesh_unit_text(MeshService(["pommel"]))


def test_systemd_has_nothing_against_the_timer_and_what_it_starts(tmp_path: Path) -> None:
    start = [program(tmp_path, "pommel"), "snapshot", "due"]
    given = DueService(start, {"POMMEL_HOME": "/home/user/vms", "PATH": "/usr/bin:/bin"})
    assert verified(tmp_path, given) == ""
    (tmp_path / SNAPSHOTS_TIMER).write_text(snapshots_timer_text())
    env = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    verify = ["systemd-analyze", "--user", "--man=no", "verify", tmp_path / SNAPSHOTS_TIMER]
    assert SNAPSHOTS_TIMER not in run(verify, env=env, timeout_s=60).output
    (line,) = (line for line in snapshots_unit_text(given).splitlines() if line.startswith("ExecStart="))
    assert unquoted(line.removeprefix("ExecStart=")) == start
    lines = snapshots_timer_text().splitlines()
    assert {"Persistent=true", "WantedBy=timers.target"} <= set(lines)
    (when,) = (line.removeprefix("OnCalendar=") for line in lines if line.startswith("OnCalendar="))
    assert "*-*-* *:00:00" in run(["systemd-analyze", "calendar", when], timeout_s=60).text
    assert Path(SNAPSHOTS_TIMER).stem == Path(SNAPSHOTS_UNIT).stem not in (unit_name("snapshots"), MESH_UNIT)
    assert "not executable" in verified(tmp_path, DueService(["/nowhere/pommel"]))
    with pytest.raises(UsageError):
        snapshots_unit_text(DueService(["pommel"]))


def test_systemd_would_have_something_against_a_wrong_one(tmp_path: Path) -> None:
    assert "not executable" in verified(tmp_path, service(tmp_path, start=["/nowhere/pommel"]))


@pytest.mark.parametrize("odd", [odd for odd in ODD if not set(odd) & set("\"'\\")])
def test_a_program_anywhere(tmp_path: Path, odd: str) -> None:
    given = service(tmp_path, f"{odd}/pommel", environment={"POMMEL_HOME": f"/{odd}"})
    assert verified(tmp_path, given) == ""


def test_the_words_arrive_as_they_were(tmp_path: Path) -> None:
    words = [*ODD, "", " ", "a  b", "$HOME", "${HOME}", "$$", "%%h", "tab\tnew\nline", "\\n", "-x", "="]
    text = unit_text(service(tmp_path, start=["/bin/pommel", *words]))
    (line,) = (line for line in text.splitlines() if line.startswith("ExecStart="))
    assert unquoted(line.removeprefix("ExecStart=")) == ["/bin/pommel", *words]


def unquoted(text: str) -> list[str]:
    """What systemd makes of quoted words (systemd.syntax(7), "Quoting"), then of `%%` and `$$`."""
    words: list[str] = []
    while text:
        assert text[0] == '"'
        word, at = "", 1
        while text[at] != '"':
            if text[at] == "\\":
                at += 1
                word += {"n": "\n", "t": "\t", "r": "\r"}.get(text[at], text[at])
            else:
                word += text[at]
            at += 1
        words.append(word.replace("%%", "%"))
        text = text[at + 1 :].removeprefix(" ")
    return [words[0], *(word.replace("$$", "$") for word in words[1:])]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=8), max_size=5))
def test_any_words_arrive(tmp_path: Path, words: list[str]) -> None:
    text = unit_text(service(tmp_path, start=["/bin/x", *words]))
    line = text.split("ExecStart=", 1)[1].split("\n", 1)[0]
    assert unquoted(line) == ["/bin/x", *words]


def test_the_guest_has_its_time(tmp_path: Path) -> None:
    lines = unit_text(service(tmp_path, stop_timeout_s=90.0)).splitlines()
    assert "TimeoutStopSec=150" in lines and "Restart=on-failure" in lines and "KillMode=control-group" in lines
    assert unit_name("mac") == "pommel-mac.service"


@pytest.mark.parametrize(
    "start",
    [
        [],
        ["pommel"],
        ["./pommel", "start"],
        ["/bin/pommel", "nul\0"],
        *([f"/{odd}/pommel"] for odd in ODD[1:3]),
        ["/bin/x", "\x1b["],
    ],
)
def test_what_no_unit_can_hold(tmp_path: Path, start: list[str]) -> None:
    with pytest.raises(UsageError):
        unit_text(service(tmp_path, start=start))
