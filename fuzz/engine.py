"""What every fuzzer shares: inputs made from real ones, a law for each, a limit on time and memory for each.

A fuzzer is a name, what makes an input, and a check that raises if the law does not hold for it. The check depends on
the input alone, so that an input that broke it breaks it again (`python fuzz/all.py --only NAME --replay HEX`).
"""

from __future__ import annotations

import contextlib
import itertools
import random
import re
import signal
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pommel.errors import PommelError

LONG = 64 << 10  # bytes of the inputs that are long on purpose: work that grows with the square shows in them
_LONG_EVERY = 2000
_WEIGHED_EVERY = 512  # memory is measured for one input in so many, since that takes long; the process's peak for all
_CPU_S = 5.0  # of the processor's time, so that a busy host counts for nothing; an input gets at most twice as much
_GROWTH_BYTES = 512 << 20
_PEAK_EVERY = 64  # to ask for the process's peak takes longer than most inputs
_NOTABLE = (0, 1, 2, 3, 4, 5, 7, 8, 0x0A, 0x0D, 0x0E, 0x10, 0x20, 0x22, 0x2C, 0x3C, 0x3D, 0x7B, 0x7F, 0x80, 0xC8, 0xFF)
_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, 1 << 63)
_NUMBERS += (0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
_EDITS = (1, 1, 1, 2, 2, 3, 4, 8)

# The control characters C0 and C1 (ECMA-48), but for tabs and line ends. A no-break space or a soft hyphen is text.
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Make = Callable[[random.Random], bytes]


@dataclass(frozen=True, slots=True)
class Fuzzer:
    """One parser under one law. `room_bytes` is how much memory an input of no bytes may take, `per_byte` what each
    byte of it adds.
    """

    name: str
    law: str
    make: Make
    check: Callable[[bytes], None]
    room_bytes: int = 1 << 20
    per_byte: int = 400
    short: int = 300  # inputs of a short run, as the tests have it


@dataclass(frozen=True, slots=True)
class Tally:
    """How many inputs were tried, in how many seconds, and whether somebody ended it by Ctrl-C."""

    count: int
    seconds: float
    interrupted: bool = False


class Broken(Exception):
    """An input for which a law does not hold; the text has what is needed to try it again."""


class TooSlow(BaseException):
    """An input took too much of the processor's time. No `except Exception` of a parser's takes it."""


class _Grew(Exception):
    """The process took much more memory, for one of some inputs."""

    def __init__(self, inputs: list[bytes]) -> None:
        super().__init__(f"the process grew by more than {_GROWTH_BYTES >> 20} MiB")
        self.inputs = inputs


@dataclass(slots=True)
class _Watch:
    number: int = 0
    seen: int = -1
    peak: int = field(default_factory=lambda: _peak_bytes() + _GROWTH_BYTES)
    recent: list[bytes] = field(default_factory=list)  # since the peak was asked for

    def look(self, *_: object) -> None:
        if self.seen == self.number:
            raise TooSlow(f"it took more than {_CPU_S:g} s of the processor's time")
        self.seen = self.number


def run(fuzzer: Fuzzer, *, seed: int, count: int | None = None, seconds: float | None = None) -> Tally:
    """Try inputs until there were so many, the time is over, or somebody types Ctrl-C.

    Raises:
        Broken: the law does not hold.
    """
    chance, begun, done = random.Random(seed), time.monotonic(), 0  # noqa: S311 - nothing secret
    until = begun + seconds if seconds is not None else None
    interrupted = True
    with contextlib.suppress(KeyboardInterrupt), _watched() as watch:
        for number in itertools.count(1) if count is None else range(1, count + 1):
            watch.number = number
            data = fuzzer.make(chance)
            try:
                _try(fuzzer, data, watch)
            except _Grew as grew:
                told = "\n".join(each.hex() for each in grew.inputs)
                raise Broken(f"{fuzzer.name}, seed {seed}, up to input {number}, one of: {told}\n{grew!r}") from grew
            except (Exception, TooSlow) as broken:
                raise Broken(f"{fuzzer.name}, seed {seed}, input {number}: {data.hex()}\n{broken!r}") from broken
            done = number
            if until is not None and not number & 15 and time.monotonic() >= until:
                break
        interrupted = False
    return Tally(done, time.monotonic() - begun, interrupted)


def _try(fuzzer: Fuzzer, data: bytes, watch: _Watch) -> None:
    if watch.number % _WEIGHED_EVERY:
        fuzzer.check(data)
    else:
        weighed(fuzzer, data)
    watch.recent.append(data)
    if len(watch.recent) >= _PEAK_EVERY:
        if _peak_bytes() > watch.peak:
            raise _Grew(_heaviest(fuzzer, watch.recent))
        watch.recent.clear()


def _heaviest(fuzzer: Fuzzer, inputs: list[bytes]) -> list[bytes]:
    """Of inputs among which one made the process grow: that one, if it does so again; else all."""
    for data in inputs:
        try:
            weighed(fuzzer, data)
        except AssertionError:
            return [data]
    return inputs


def weighed(fuzzer: Fuzzer, data: bytes) -> None:
    """Check one input, and that it takes no more memory than its length allows."""
    tracemalloc.start()
    try:
        fuzzer.check(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    most = fuzzer.room_bytes + fuzzer.per_byte * len(data)
    expect(peak <= most, f"{len(data)} bytes took {peak} bytes of memory; {most} are allowed")


@contextlib.contextmanager
def _watched() -> Iterator[_Watch]:
    watch = _Watch()
    before = signal.signal(signal.SIGVTALRM, watch.look)
    signal.setitimer(signal.ITIMER_VIRTUAL, _CPU_S, _CPU_S)
    try:
        yield watch
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _peak_bytes() -> int:
    """The most memory that this program has had resident (proc_pid_status(5), VmHWM).

    getrusage(2) would not do: its ru_maxrss outlives execve(2), so that a child begins with its parent's peak.
    """
    with Path("/proc/self/status").open("rb") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith(b"VmHWM:"))


# --- laws ---


def expect(holds: bool, otherwise: str) -> None:
    """Raise an AssertionError that says `otherwise`, unless it holds."""
    if not holds:
        raise AssertionError(otherwise)


def expect_words(failure: PommelError) -> None:
    """See that an error has words that can be printed on one line, and not too many."""
    text = failure.message + (failure.hint or "")
    expect(len(failure.message) > 0 and len(text) <= 9000, f"an error of {len(text)} characters")
    expect(_OBEYED.search(text) is None, "an error that a terminal obeys")
    text.encode()


def pieces(data: bytes) -> Iterator[bytes]:
    """Cut `data` anywhere, always in the same way for the same bytes."""
    at, turn = 0, zlib.crc32(data)
    while at < len(data):
        turn = (turn * 1103515245 + 12345) & 0x7FFFFFFF
        size = (1, 1, 2, 3, 7, 50, 1000)[(turn >> 16) % 7]
        yield data[at : at + size]
        at += size


# --- inputs ---


def mixed(corpus: Sequence[bytes], *, tokens: Sequence[bytes] = (), joined: int = 1) -> Make:
    """Make inputs out of real ones: some of `corpus` (up to `joined` after one another), changed.

    `tokens` are what the format makes much of; they are put in, among other changes.
    """
    corpus, tokens = tuple(corpus), tuple(tokens)

    def make(chance: random.Random) -> bytes:
        pick = chance.random
        data = bytearray(corpus[int(pick() * len(corpus))])
        if joined > 1:
            for _ in range(int(pick() * joined)):
                data += corpus[int(pick() * len(corpus))]
        if pick() < 0.02:
            return bytes(data)
        return bytes(mutated(chance, data, corpus, tokens))

    return make


def mutated(
    chance: random.Random, data: bytearray, corpus: Sequence[bytes], tokens: Sequence[bytes] = (), low: int = 0
) -> bytearray:
    """Change `data` in a few places, none of them before `low`."""
    pick = chance.random
    for _ in range(_EDITS[int(pick() * len(_EDITS))]):
        span = len(data) - low
        at = low + int(pick() * (span + 1)) if span > 0 else len(data)
        _CHANGES[int(pick() * len(_CHANGES))](chance, data, at, corpus, tokens)
    if pick() * _LONG_EVERY < 1:
        _stretch(chance, data, low)
    return data


_Some = Sequence[bytes]


def _set(chance: random.Random, data: bytearray, at: int, _: _Some, __: _Some) -> None:
    if at < len(data):
        data[at] = _NOTABLE[int(chance.random() * len(_NOTABLE))]


def _flip(chance: random.Random, data: bytearray, at: int, _: _Some, __: _Some) -> None:
    if at < len(data):
        data[at] ^= 1 << int(chance.random() * 8)


def _delete(chance: random.Random, data: bytearray, at: int, _: _Some, __: _Some) -> None:
    del data[at : at + 1 + int(chance.random() * (6 if chance.random() < 0.8 else 200))]


def _insert(chance: random.Random, data: bytearray, at: int, _: _Some, __: _Some) -> None:
    data[at:at] = chance.randbytes(1 + int(chance.random() * 6))


def _double(chance: random.Random, data: bytearray, at: int, _: _Some, __: _Some) -> None:
    data[at:at] = data[at : at + 1 + int(chance.random() * 40)] * (1 if chance.random() < 0.9 else 20)


def _splice(chance: random.Random, data: bytearray, at: int, corpus: _Some, _: _Some) -> None:
    other = corpus[int(chance.random() * len(corpus))]
    data[at:] = other[int(chance.random() * len(other)) :]


def _cut(chance: random.Random, data: bytearray, at: int, _: _Some, __: _Some) -> None:
    if chance.random() < 0.3:
        del data[at:]


def _number(chance: random.Random, data: bytearray, at: int, _: _Some, __: _Some) -> None:
    size = (1, 2, 4, 8)[int(chance.random() * 4)]
    if at + size > len(data):
        return
    number = _NUMBERS[int(chance.random() * len(_NUMBERS))] if chance.random() < 0.7 else len(data) - at - size
    number += int(chance.random() * 3) - 1
    order = ("little", "big")[int(chance.random() * 2)]
    data[at : at + size] = (number & ((1 << 8 * size) - 1)).to_bytes(size, order)  # type: ignore[arg-type]


def _token(chance: random.Random, data: bytearray, at: int, _: _Some, tokens: _Some) -> None:
    if tokens:
        data[at : at + int(chance.random() * 3)] = tokens[int(chance.random() * len(tokens))]


_CHANGES = (_set, _set, _flip, _flip, _delete, _insert, _double, _splice, _cut, _number, _number, _token, _token)


def _stretch(chance: random.Random, data: bytearray, low: int) -> None:
    """Repeat a part of `data` until it is long."""
    at = low + int(chance.random() * max(1, len(data) - low))
    part = bytes(data[at : at + 1 + int(chance.random() * (4 if chance.random() < 0.5 else 64))]) or b"x"
    data[at:at] = part * (LONG // len(part))
