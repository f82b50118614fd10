"""Nothing is lost over kills at random moments: a short run of bench/endurance.py."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest

from endurance import judge, operations
from endurance.walk import walks
from endurance.world import world
from pommel.app.machine import machines
from pommel.app.machine.machines import Status
from waits import wait_until

_FIXED = 2611
_KILLS, _SECONDS = 10, 40.0  # whichever comes first: a host may be busy


@pytest.mark.parametrize("seed", [_FIXED, random.SystemRandom().randrange(10**6)], ids=["fixed seed", "random seed"])
def test_nothing_is_lost_whatever_is_killed(seed: int) -> None:
    print(f"again: python bench/endurance.py --seed {seed}")
    told: list[str] = []
    tally = walks(seed, kills=_KILLS, seconds=_SECONDS, tell=told.append)
    assert not tally.losses, f"{tally.losses}; again: python bench/endurance.py --seed {seed}"
    assert tally.steps >= 1


def test_the_judge_sees_a_list_that_lies_and_no_lie_in_a_qemu_that_ends_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = machines.list_machines

    def told(change: Callable[[Status], Status]) -> None:
        def lists(**named: object) -> list[Status]:
            return [change(each) for each in real(**named)]  # type: ignore[arg-type]

        monkeypatch.setattr(machines, "list_machines", lists)

    def ends(each: Status) -> Status:
        if each.pid is not None:
            os.kill(each.pid, signal.SIGKILL)
            wait_until(lambda: here.qemu(each.name) is None, 20)
        return each

    with world() as here:
        first = operations.adopt(here, {}, random.Random(1))
        assert first is not None
        for words in (first.words, ("start", first.name)):
            assert here.run(words).status == 0, (here.root / "said").read_text()
        judge.told_truth(here)
        told(lambda each: replace(each, state="stopped", pid=None))
        with pytest.raises(judge.Loss, match="is said to be stopped"):
            judge.told_truth(here)
        told(ends)
        judge.told_truth(here)
        told(lambda each: replace(each, state="running", pid=1))
        with pytest.raises(judge.Loss, match="is said to be running"):
            judge.told_truth(here)
