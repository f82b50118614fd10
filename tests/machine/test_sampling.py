"""Real guests, watched for a second or two: one that hangs, one that sleeps, those that work."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pommel.errors import StateError
from pommel.machine import lifecycle, qmp, sampling
from pommel.machine.qmp import Qmp
from pommel.machine.stuck import Activity, MachineSample, judge
from pommel.paths import MachinePaths
from pommel.progress import Progress
from waits import wait_until

from .bare import argv, make, short_home
from .guests import COUNTS, PAINTS, ROAMS, SLEEPS, SPINS, ask, drives, make_disk


@pytest.fixture
def paths() -> Iterator[MachinePaths]:
    with short_home() as home:
        yield make(home)


def start(paths: MachinePaths, code: bytes, *extra: str) -> None:
    make_disk(paths.disk, code)
    lifecycle.start(paths, argv(paths, *drives(paths), "-vga", "std", *extra))
    wait_until(lambda: in_the_guest(paths))


def in_the_guest(paths: MachinePaths) -> bool:
    """Whether the BIOS has made way for the guest, which lives in low memory that the BIOS does not run in."""
    (vcpu,) = sampling.parse_registers(
        str(ask(paths, "human-monitor-command", **{"command-line": "info registers -a"}))
    )
    return 0x7C00 <= vcpu.address < 0xA0000


def watch(paths: MachinePaths) -> list[MachineSample]:
    def screen() -> str:
        picture = paths.directory / "picture"

        async def dump(monitor: Qmp) -> None:
            await monitor.execute("screendump", {"filename": str(picture)})

        qmp.run(qmp.within(paths.qmp_watch, 20, dump))
        return hashlib.sha256(picture.read_bytes()).hexdigest()

    return sampling.sample(paths, seconds=1.5, every_s=0.15, screen=screen)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (SPINS, Activity.HUNG),
        (SLEEPS, Activity.IDLE),
        (PAINTS, Activity.WORKING),
        (COUNTS, Activity.WORKING),
        (ROAMS, Activity.WORKING),
    ],
    ids=["spins", "sleeps", "paints", "counts", "roams"],
)
def test_what_a_guest_does(paths: MachinePaths, code: bytes, kind: Activity) -> None:
    start(paths, code)
    seen = watch(paths)
    verdict = judge(seen)
    assert verdict.kind is kind, (verdict, seen)


def test_a_paused_guest(paths: MachinePaths) -> None:
    start(paths, SPINS)
    ask(paths, "stop")
    assert judge(sampling.sample(paths, seconds=0.2, every_s=0.05)).kind is Activity.PAUSED


def test_every_vcpu_is_looked_at(paths: MachinePaths) -> None:
    make_disk(paths.disk, SPINS)
    lifecycle.start(paths, argv(paths, *drives(paths), "-smp", "3"))
    events: list[Progress] = []
    seen = sampling.sample(paths, seconds=0.1, every_s=0.05, report=events.append)
    assert [vcpu.index for vcpu in seen[0].vcpus] == [0, 1, 2]
    assert len(seen) >= 4 and events[0].total == 0.1 and events[-1].finished
    assert seen[-1].cpu_s is not None and seen[0].screen is None


def test_a_machine_that_does_not_run(paths: MachinePaths) -> None:
    with pytest.raises(StateError, match="m is not running"):
        sampling.sample(paths)


def test_the_picture_is_a_file(paths: MachinePaths) -> None:
    start(paths, PAINTS)
    assert len({sample.screen for sample in watch(paths)}) > 2
    assert Path(paths.directory / "picture").stat().st_size > 0
