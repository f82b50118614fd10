"""A short run of every fuzzer, the same each time; and the engine itself."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from waits import wait_until

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz import engine, rooms, tally

ALL = [sys.executable, "-P", str(Path(__file__).parents[1] / "fuzz" / "all.py")]


@pytest.mark.parametrize("name", rooms.FUZZERS)
def test_its_law_holds(name: str) -> None:
    one = rooms.FUZZERS[name]
    assert engine.run(one, seed=20, count=one.short).count == one.short


def fuzzer(check: object, **limits: int) -> engine.Fuzzer:
    return engine.Fuzzer("it", "a law", engine.mixed([b"ab"]), check, **limits)  # type: ignore[arg-type]


def test_a_broken_law_is_told_with_what_it_takes_to_see_it_again() -> None:
    def check(data: bytes) -> None:
        engine.expect(b"z" not in data, "a z")

    one = engine.Fuzzer("it", "a law", lambda chance: b"z" if chance.random() > 0.9 else b"a", check)
    with pytest.raises(engine.Broken, match=r"it, seed 7, input \d+: 7a\n.*a z"):
        engine.run(one, seed=7, count=1000)


def test_time_and_memory_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_CPU_S", 0.05)

    def hangs(_: bytes) -> None:
        while True:
            try:
                sum(range(1000))
            except Exception:
                continue

    with pytest.raises(engine.Broken, match="TooSlow"):
        engine.run(fuzzer(hangs), seed=1, count=5)
    with pytest.raises(AssertionError, match="bytes of memory"):
        engine.weighed(fuzzer(lambda _: bytearray(1 << 21)), b"ab")


GROWS = """
import sys
sys.path.insert(0, sys.argv[1])
from fuzz import engine

engine._GROWTH_BYTES = 64 << 20
make = lambda chance: bytes([int(chance.random() * 200)])
check = lambda data: (b"x" * (200 << 20)) and None if data == b"*" else None  # freed at once
try:
    engine.run(engine.Fuzzer("it", "a law", make, check), seed=3, count=2000)
except engine.Broken as broken:
    print(broken)
"""


def test_an_input_that_makes_the_process_grow_is_found() -> None:
    """In a process of its own: the peak of this one may be higher by what other tests did, and is made so here."""
    bytearray(b"x" * (300 << 20))
    argv = [sys.executable, "-P", "-c", GROWS, str(Path(__file__).parents[1])]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    assert re.match(r"it, seed 3, up to input \d+, one of: 2a\n.*grew by more than 64 MiB", said), said


def test_the_same_seed_gives_the_same_inputs_and_some_are_long() -> None:
    make = engine.mixed([b"abc", b"=1,2"], tokens=[b"token"])
    chances = random.Random(3), random.Random(3)
    first = [make(chances[0]) for _ in range(5000)]
    assert first == [make(chances[1]) for _ in range(5000)]
    assert any(len(data) >= engine.LONG - 64 for data in first)
    assert len(set(first)) > 2000


def test_pieces_are_the_whole() -> None:
    data = bytes(range(256)) * 20
    assert b"".join(engine.pieces(data)) == data
    assert list(engine.pieces(data)) == list(engine.pieces(data))


def test_a_tally_grows_over_runs_with_fresh_seeds_and_is_no_two_runs_at_once(tmp_path: Path) -> None:
    path = tmp_path / "tally.json"
    for seed, count in ((5, 300), (6, 300), (7, 900)):  # the second has nothing to do
        with tally.opened(path) as book:
            assert tally.run(tally.Plan(book, ["agent"], seed, count, None), 2)
            with pytest.raises(SystemExit, match="another run writes to"), tally.opened(path):
                pass
    said = json.loads(path.read_text())["agent"]
    assert [(part["seed"], part["inputs"]) for part in said["parts"]] == [(5, 300), (7, 600)]
    assert (said["inputs"], said["broken"]) == (900, []) and all(len(part["commit"]) >= 40 for part in said["parts"])
    path.write_text("[]")
    with pytest.raises(SystemExit, match="is no tally"), tally.opened(path):
        pass
    assert path.read_text() == "[]"


def is_trying(group: int, pid: str) -> bool:
    """Whether a process of the group has begun to try inputs: it watches its own time then (SIGVTALRM)."""
    try:
        if os.getpgid(int(pid)) != group:
            return False
        told = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = next(int(line.split()[1], 16) for line in told.splitlines() if line.startswith("SigCgt:"))
    return bool(caught >> (signal.SIGVTALRM - 1) & 1)


def test_ctrl_c_ends_a_run_and_what_was_tried_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "tally.json"
    words = [*ALL, "--tally", str(path), "--count", "100000000", "--only"]
    run = subprocess.Popen([*words, "agent"], stdout=subprocess.PIPE, start_new_session=True)
    wait_until(lambda: any(is_trying(run.pid, name) for name in os.listdir("/proc") if name.isdigit()), 20)
    os.killpg(run.pid, signal.SIGINT)
    assert run.communicate()[0] and run.returncode == 0
    assert json.loads(path.read_text())["agent"]["inputs"] > 0


def test_a_broken_law_is_noted_and_ends_the_parser_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = """import sys, json
if sys.argv[2] == "a": sys.exit(3)
if sys.argv[2] == "b": print(json.dumps({"parser": "b", "broken": "b, seed 1, input 2: ff"})); sys.exit(1)
print(json.dumps({"parser": "c", "inputs": 10, "seconds": 1.0, "seed": int(sys.argv[4])}))"""
    with tally.opened(tmp_path / "t") as book:
        plan = tally.Plan(book, ["a", "b", "c"], 1, 25, None)
        assert not tally.Run(plan, 2, [sys.executable, "-c", told]).run()
        assert (book.of("a")["inputs"], book.of("b")["inputs"], book.of("c")["inputs"]) == (0, 0, 30)
        assert book.of("b")["broken"][0]["text"] == "b, seed 1, input 2: ff"
        assert "ended with 3" in book.of("a")["broken"][0]["text"]
    assert "input 2: ff" in capsys.readouterr().err
