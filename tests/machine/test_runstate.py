"""QEMU's words and ours."""

from __future__ import annotations

import pytest

from pommel.machine.runstate import MachineState, Observed, can_power_down, let_go_command, read_status, standing

# qapi/run-state.json, RunState, QEMU 7.2
RUN_STATES = [
    "debug",
    "inmigrate",
    "internal-error",
    "io-error",
    "paused",
    "postmigrate",
    "prelaunch",
    "finish-migrate",
    "restore-vm",
    "running",
    "save-vm",
    "shutdown",
    "suspended",
    "watchdog",
    "guest-panicked",
    "colo",
]


@pytest.mark.parametrize("status", RUN_STATES)
def test_every_run_state_is_a_living_machine(status: str) -> None:
    state, detail = read_status(status)
    assert Observed("m", state, detail=detail).alive
    if let_go_command(status):
        assert state is MachineState.PAUSED


def test_what_they_mean() -> None:
    assert read_status("running") == (MachineState.RUNNING, "")
    assert read_status("paused") == (MachineState.PAUSED, "")
    assert "df -h" in read_status("io-error")[1]
    assert read_status("save-vm") == (MachineState.RUNNING, "QEMU says: save-vm")
    assert read_status("something-new") == (MachineState.RUNNING, "QEMU says: something-new")


def test_the_power_button() -> None:
    assert [status for status in RUN_STATES if not can_power_down(status)] == [
        "internal-error",
        "io-error",
        "shutdown",
        "guest-panicked",
    ]
    assert let_go_command("running") is None
    assert let_go_command("paused") == "cont"
    assert let_go_command("suspended") == "system_wakeup"


def test_what_stands_still_and_hears_nothing() -> None:
    found = {status: how for status in RUN_STATES if (how := standing(status))}
    assert found == {
        "debug": "paused",
        "internal-error": "stuck",
        "io-error": "no-room",
        "paused": "paused",
        "prelaunch": "paused",
        "shutdown": "stuck",
        "watchdog": "paused",
        "guest-panicked": "stuck",
    }


@pytest.mark.parametrize(("state", "alive"), [("stopped", False), ("crashed", False), ("starting", True)])
def test_alive_is_a_disk_in_use(state: str, alive: bool) -> None:
    assert Observed("m", MachineState(state)).alive is alive
    assert f"{MachineState(state)}" == state
