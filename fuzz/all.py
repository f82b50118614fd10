"""Run the fuzzers.

python fuzz/all.py --list [--tally FILE]
python fuzz/all.py [--only NAME]… [--count N] [--seconds S] [--seed S] [--jobs N]     one after another, or N side by side
python fuzz/all.py --tally FILE --count 10000000 [--jobs N]                           over many runs, as often as it takes
python fuzz/all.py --only NAME --replay HEX                                           tries one input

Where a law is broken, the input is told, and the run ends with 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz import engine, rooms, tally


def _words() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--list", action="store_true", help="the parsers with their laws; with --tally: what was tried")
    words.add_argument("--only", action="append", choices=sorted(rooms.FUZZERS), metavar="NAME")
    words.add_argument("--count", type=int, help="inputs for each; with --tally: in all runs together")
    words.add_argument("--seconds", type=float, help="for each in this run; without either: 10")
    words.add_argument("--seed", type=int, default=time.time_ns())
    words.add_argument("--tally", type=Path, metavar="FILE", help="where what was tried is noted, and found again")
    words.add_argument("--jobs", type=int, default=1, metavar="N", help="so many processes side by side")
    words.add_argument("--json", action="store_true", help="one line of JSON for each")
    words.add_argument("--replay", metavar="HEX")
    return words


def main() -> int:
    """Run what the command line says; 1 if a law was broken."""
    given = _words().parse_args()
    names = given.only or list(rooms.FUZZERS)
    if given.list:
        return _list(names, given.tally)
    if given.replay is not None:
        for name in names:
            engine.weighed(rooms.FUZZERS[name], bytes.fromhex(given.replay))
        return 0
    seconds = 10.0 if given.count is None and given.seconds is None else given.seconds
    if given.tally is not None:
        with tally.opened(given.tally) as book:
            return int(not tally.run(tally.Plan(book, names, given.seed, given.count, seconds), max(1, given.jobs)))
    if given.jobs > 1:
        return int(not tally.run(tally.Plan(None, names, given.seed, given.count, seconds), given.jobs))
    return _in_turn(names, given.seed, given.count, seconds, as_json=given.json)


def _list(names: list[str], path: Path | None) -> int:
    tried = {}
    if path is not None:
        book = tally.Book(path, tally.read(path))  # a run that goes on may be looked at
        tried = {name: book.of(name) for name in names}
    for name in names:
        so_far = f"{tried[name]['inputs']:>12} {len(tried[name]['broken'])} broken  " if tried else ""
        print(f"{name:<18}{so_far}{rooms.FUZZERS[name].law}")
    return 0


def _in_turn(names: list[str], seed: int, count: int | None, seconds: float | None, *, as_json: bool) -> int:
    for name in names:
        try:
            done = engine.run(rooms.FUZZERS[name], seed=seed, count=count, seconds=seconds)
        except engine.Broken as broken:
            if as_json:
                print(json.dumps({"parser": name, "broken": str(broken)}))
            else:
                print(broken, file=sys.stderr)
            return 1
        if as_json:
            print(json.dumps({"parser": name, "inputs": done.count, "seconds": done.seconds, "seed": seed}), flush=True)
        else:
            pace = done.count / max(done.seconds, 1e-9)
            print(f"{name:<18}{done.count:>10} inputs, {pace:>8.0f}/s, the law holds (seed {seed})", flush=True)
        if done.interrupted:
            break
    return 0


if __name__ == "__main__":
    sys.exit(main())
