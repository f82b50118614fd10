"""What a relay makes of how its machine is: one that cannot be looked at has not gone, one that stood hears what went up."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from pommel.app.console import relay
from pommel.machine import qmp, state
from pommel.paths import MachinePaths
from pommel.wire import messages as m
from screen.bare_qemu import bare_qemu
from screen.doubles import Onlooker
from waits import until


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_machine_that_cannot_be_looked_at_has_not_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def observe(_: MachinePaths) -> state.Observed:
        raise OSError(number, "no")

    monkeypatch.setattr(state, "observe", observe)
    assert relay.seems_alive(MachinePaths("m", tmp_path, tmp_path))


def test_another_failure_is_none_of_these(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def observe(_: MachinePaths) -> state.Observed:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(state, "observe", observe)
    with pytest.raises(PermissionError):
        relay.seems_alive(MachinePaths("m", tmp_path, tmp_path))


def test_a_machine_that_is_not_there_does_not_live(tmp_path: Path) -> None:
    assert not relay.seems_alive(MachinePaths("m", tmp_path, tmp_path))


@pytest.mark.asyncio
async def test_keys_that_go_up_before_a_pause_is_noticed_do_not_stay_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "shown_state", lambda _: state.MachineState.RUNNING)
    with bare_qemu() as qemu:
        paths = MachinePaths("m", tmp_path, tmp_path)
        for ours, theirs in ((paths.vnc, qemu.vnc), (paths.qmp, qemu.qmp)):
            ours.parent.mkdir(parents=True, exist_ok=True)
            ours.symlink_to(theirs)

        async def command(word: str) -> None:
            await qmp.within(qemu.qmp, 10, lambda monitor: monitor.execute(word))

        async def reads(told: str) -> None:
            await until(lambda: told in qemu.input_log())

        monkeypatch.setattr(relay, "seems_alive", lambda _: True)
        one = relay.MachineRelay(paths, linger_s=0)
        running = asyncio.ensure_future(one.run())
        viewer = Onlooker()
        viewer.say(m.Key(0x10, True))
        serving = asyncio.ensure_future(one.serve(viewer))
        await reads("key shift +")
        await command("stop")
        viewer.say(m.Key(0x10, False))
        while (await one.status())["state"] != "paused":
            pass
        await command("cont")
        await reads("key shift -")  # though nobody asks how it is: MeshCentral's page does not
        for task in (serving, running):
            task.cancel()
        await asyncio.gather(serving, running, return_exceptions=True)
