"""What installs and removes a service, as a list."""

from __future__ import annotations

import plistlib

import pytest

from pommel.errors import UsageError
from pommel.session.installation import (
    Command,
    LiveUser,
    RemoveDirectory,
    RemoveFile,
    Step,
    WriteFile,
    designated_requirement,
    install_steps,
    uninstall_steps,
)
from pommel.session.places import Places, System

DAEMON, AGENT = ["/opt/p", "kvm", "daemon"], ["/opt/p", "kvm", "agent"]
LIVE = (LiveUser(1000, "ann"), LiveUser(1001, "bob"))
SYSTEMS: tuple[System, ...] = ("linux", "macos")


def commands(steps: tuple[Step, ...]) -> list[str]:
    return [str(step) for step in steps if isinstance(step, Command)]


def test_on_linux() -> None:
    steps = install_steps(Places.of("linux"), DAEMON, AGENT, LIVE[:1])
    assert [type(step) for step in steps[:3]] == [WriteFile] * 3, "files first, then who reads them"
    ann = "runuser -u ann -- env XDG_RUNTIME_DIR=/run/user/1000 systemctl --user"
    assert commands(steps) == [
        "systemctl daemon-reload",
        f"{ann} daemon-reload",
        "systemctl enable pommel-kvm.service",
        "systemctl restart pommel-kvm.service",
        "systemctl --global enable pommel-kvm-agent.path",
        f"{ann} restart pommel-kvm-agent.path",
    ]
    (last,) = [step for step in steps if isinstance(step, Command) and step.advice]
    assert last.lenient and "log out and log in again" in last.advice


def test_on_macos() -> None:
    steps = install_steps(Places.of("macos", "meshagent"), DAEMON, AGENT, (LiveUser(501, "ann"),))
    assert commands(steps) == [
        "launchctl bootout gui/501/meshagent-kvm1",
        "launchctl bootout system/meshagent",
        "launchctl bootstrap system /Library/LaunchDaemons/meshagent.plist",
        "launchctl bootstrap gui/501 /Library/LaunchAgents/meshagent-kvm1.plist",
    ]
    assert [step.lenient for step in steps if isinstance(step, Command)] == [True, True, False, False]
    written = {str(step.path): plistlib.loads(step.data) for step in steps if isinstance(step, WriteFile)}
    assert written["/Library/LaunchAgents/meshagent-kvm1.plist"]["ProgramArguments"] == [*AGENT, "-kvm1"]


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("live", [(), LIVE])
def test_all_that_is_written_is_removed_and_nobody_is_left_running(system: System, live: tuple[LiveUser, ...]) -> None:
    places = Places.of(system, "x.y")
    written = {step.path for step in install_steps(places, DAEMON, AGENT, live) if isinstance(step, WriteFile)}
    steps = uninstall_steps(places, live)
    removed = [step.path for step in steps if isinstance(step, RemoveFile)]
    assert written <= set(removed)
    assert {places.signal, places.viewers, places.record, places.lock} <= set(removed)
    assert [step.path for step in steps if isinstance(step, RemoveDirectory)] == [places.signals, places.sockets]
    first_file = next(index for index, step in enumerate(steps) if isinstance(step, RemoveFile))
    stopping = [str(step) for step in steps[:first_file]]
    assert len(stopping) == len(live) + (2 if system == "linux" else 1), "all is stopped before its files go"
    assert all(step.lenient for step in steps[:first_file] if isinstance(step, Command))


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_command_that_is_none(system: System) -> None:
    with pytest.raises(UsageError):
        install_steps(Places.of(system), ["pommel"], AGENT, ())


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (
            'Executable=/usr/bin/python3\n# designated => identifier "org.python.python" and anchor apple generic\n',
            'identifier "org.python.python" and anchor apple generic',
        ),
        ('designated => cdhash H"0011"\n', 'cdhash H"0011"'),
        ("Executable=/x\nhost => anchor apple\n", ""),
        ("", ""),
    ],
)
def test_the_requirement_that_codesign_prints(said: str, found: str) -> None:
    assert designated_requirement(said) == found
