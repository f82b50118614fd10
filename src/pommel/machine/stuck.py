"""Determines whether a machine works, idles or hangs, from a series of samples. Band: core, no I/O.

`sampling` takes the samples. Certainty is not possible: a guest that computes in one short loop looks the same as one
that waits in it forever. So the verdict includes the observed numbers.

Reported for macOS: an installation that progresses writes about 500 MiB a minute, one that hangs about 16 KB; in one
that hung for hours all vCPUs were busy at addresses that never changed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

_MIB = 1 << 20
WORKING_WRITES = 1 * _MIB  # bytes a minute; from this value on the guest works
_SHOWS_LIFE = 64 * 1024  # bytes a minute; below it there are only the writes of a clock and a log
_BUSY = 0.8  # of one core
_AT_REST = 0.3
_HALTED = 0.5  # of all samples of a vCPU
_SAME_PLACES = 0.9
_GRAIN = 8  # bits: addresses within 256 bytes count as one place
FEWEST = 4  # the minimum number of samples for a verdict

_CPU = re.compile(r"^CPU#(\d+)", re.MULTILINE)
_POINTER = re.compile(r"\b[RE]?IP=([0-9a-f]+)")
_CODE_BASE = re.compile(r"^CS =[0-9a-f]{4} ([0-9a-f]+)", re.MULTILINE)
_HALT = re.compile(r"\bHLT=1\b")


class Activity(StrEnum):
    """What a machine is doing."""

    WORKING = "working"
    IDLE = "idle"
    HUNG = "hung"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Vcpu:
    """One sample of a vCPU: its index, its address, and whether it has halted."""

    index: int
    address: int
    halted: bool


@dataclass(frozen=True, slots=True)
class MachineSample:
    """One sample of a machine. `cpu_s` is the CPU time of all vCPUs; `screen` a picture's hash; None: not sampled."""

    at_s: float
    status: str  # QMP's word, as "running"
    vcpus: tuple[Vcpu, ...]
    written_bytes: int
    cpu_s: float | None = None
    screen: str | None = None


@dataclass(frozen=True, slots=True)
class StuckVerdict:
    """The activity, the observed numbers, and the usual remedy ("": nothing is wrong)."""

    kind: Activity
    evidence: tuple[str, ...]
    advice: str = ""


@dataclass(frozen=True, slots=True)
class _Seen:
    """The samples in numbers. Rates per minute; shares from 0 to 1; `cores`: the number of busy ones, None: unknown."""

    seconds: float
    writes: float
    cores: float | None
    halted: float
    same_places: float
    places: int
    moving: bool | None


def parse_registers(text: str) -> tuple[Vcpu, ...]:
    """Parse the monitor's `info registers -a` for an x86 machine; vCPUs without an address are left out."""
    parts = _CPU.split(text)[1:]
    found = []
    for index, body in zip(parts[::2], parts[1::2], strict=True):
        if pointer := _POINTER.search(body):
            base = _CODE_BASE.search(body)
            address = int(pointer[1], 16) + (int(base[1], 16) if base else 0)
            found.append(Vcpu(int(index), address, _HALT.search(body) is not None))
    return tuple(found)


def judge(samples: Sequence[MachineSample], *, installing: bool = False) -> StuckVerdict:
    """Judge a series of at least four samples. `installing`: an idle machine is then suspicious too.

    Raises:
        ValueError: there are too few, or they are not in order of time.
    """
    if len(samples) < FEWEST or any(b.at_s <= a.at_s for a, b in pairwise(samples)):
        raise ValueError(f"a verdict takes at least {FEWEST} samples in order of time")
    status = samples[-1].status
    if status != "running":
        return StuckVerdict(
            Activity.PAUSED, (f"QEMU says that the guest does not run: {status}",), "pommel resume NAME"
        )
    seen = _see(samples)
    kind = _kind(seen)
    return StuckVerdict(kind, _evidence(seen), _advice(kind, seen, installing))


def _kind(seen: _Seen) -> Activity:
    if seen.moving or seen.writes >= WORKING_WRITES:
        return Activity.WORKING
    busy = seen.cores if seen.cores is not None else 1 - seen.halted
    if busy < _AT_REST or (seen.halted >= _HALTED and busy < _BUSY):
        return Activity.IDLE
    if busy >= _BUSY and seen.same_places >= _SAME_PLACES and seen.writes < _SHOWS_LIFE:
        return Activity.HUNG
    return Activity.WORKING


def _see(samples: Sequence[MachineSample]) -> _Seen:
    first, last = samples[0], samples[-1]
    seconds = last.at_s - first.at_s
    looks = [vcpu for sample in samples for vcpu in sample.vcpus]
    cores = (last.cpu_s - first.cpu_s) / seconds if first.cpu_s is not None and last.cpu_s is not None else None
    half = len(samples) // 2
    known = _places(samples[:half])
    later = [place for sample in samples[half:] for place in _places([sample])]
    return _Seen(
        seconds=seconds,
        writes=max(0, last.written_bytes - first.written_bytes) * 60 / seconds,
        cores=cores,
        halted=sum(vcpu.halted for vcpu in looks) / len(looks) if looks else 0.0,
        same_places=sum(place in known for place in later) / len(later) if later else 0.0,
        places=len(_places(samples)),
        moving=_moves([sample.screen for sample in samples if sample.screen is not None]),
    )


def _places(samples: Sequence[MachineSample]) -> set[tuple[int, int]]:
    """The addresses of vCPUs that have not halted."""
    return {(vcpu.index, vcpu.address >> _GRAIN) for sample in samples for vcpu in sample.vcpus if not vcpu.halted}


def _moves(screens: Sequence[str]) -> bool | None:
    """Whether the picture changed, except by a blinking cursor; None: it was not sampled."""
    if len(screens) < 2:
        return None
    changes = [b for a, b in pairwise(screens) if a != b]
    blinks = len(set(screens)) == 2 and len(changes) > 1
    return bool(changes) and not blinks


def _evidence(seen: _Seen) -> tuple[str, ...]:
    found = [f"its disks were written at {_spell_rate(seen.writes)}, over {seen.seconds:.0f} s"]
    if seen.cores is not None:
        found.append(f"its vCPUs had work for {seen.cores * 100:.0f} % of one core")
    found.append(f"they were halted in {seen.halted * 100:.0f} % of all samples")
    if seen.places:
        found.append(
            f"the others were seen at {seen.places} places, in the second half {seen.same_places * 100:.0f} % at the "
            "same as in the first"
        )
    screen = {True: "the picture changed", False: "the picture did not change", None: "the picture was not checked"}
    return (*found, screen[seen.moving])


def _advice(kind: Activity, seen: _Seen, installing: bool) -> str:
    if kind is Activity.HUNG:
        return (
            "it seems to hang. If its screen does not change for ten minutes: pommel restart NAME --force. If it "
            "hangs again, set fewer vCPUs (1, 2 or 4), another CPU model, or at least 4 GB of RAM"
        )
    if kind is Activity.IDLE and installing:
        return "it is idle: an installer may be waiting for an answer on its screen, or for the network"
    if kind is Activity.WORKING and installing and seen.writes < WORKING_WRITES:
        return (
            "it is busy but does not write; a working installation writes about 500 MiB per minute. Check again later"
        )
    return ""


def _spell_rate(by_minute: float) -> str:
    if by_minute >= _MIB:
        return f"{by_minute / _MIB:.0f} MiB/min"
    return f"{by_minute / 1024:.0f} KiB/min"
