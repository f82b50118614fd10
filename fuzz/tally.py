"""What was tried over many runs: a file that says, for each parser, how many inputs kept its law, from which seeds.

10⁷ inputs for each of 50 parsers take a night or more, and no night is quiet from end to end. So a long run is made of
parts of at most a minute: each has a seed of its own and runs in a process of its own, and is noted when it is over.
Whatever ends the run, Ctrl-C or `kill -9`, the next one goes on from what is noted; the seeds are others each time.

    {"rfb": {"inputs": 900000, "seconds": 180.2, "parts": [{"commit": "f5c0acf…", "seed": 17, "inputs": 300000}, …],
             "broken": [{"commit": "…", "text": "rfb, seed 17, input 5: 00ff…"}]}}

A parser's code may have changed since a part: its commit tells.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pommel.files import users_mode, write_atomic
from pommel.process import this_python

_ROOT = Path(__file__).parents[1]
_PART_S, _PART_INPUTS = 60.0, 500_000
_NOTHING: dict[str, Any] = {"inputs": 0, "seconds": 0.0, "parts": [], "broken": []}


@dataclass(slots=True)
class Book:
    """The file. One run at a time writes to it."""

    path: Path
    parsers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of(self, name: str) -> dict[str, Any]:
        """What is noted of a parser."""
        return self.parsers.setdefault(name, json.loads(json.dumps(_NOTHING)))

    def note(self, name: str, part: dict[str, Any], seconds: float) -> None:
        """Add a part that kept the law; the file is whole at any moment."""
        said = self.of(name)
        said["parts"].append(part)
        said["inputs"] += part["inputs"]
        said["seconds"] = round(said["seconds"] + seconds, 1)
        self._write()

    def note_broken(self, name: str, commit: str, text: str) -> None:
        """Add an input that broke the law, with what it takes to see it again."""
        self.of(name)["broken"].append({"commit": commit, "text": text})
        self._write()

    def _write(self) -> None:
        write_atomic(self.path, json.dumps(self.parsers, indent=1), mode=users_mode())


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Book]:
    """Hold a tally for one run.

    Raises:
        SystemExit: another run holds it, it cannot be written, or it is no tally.
    """
    path = path.absolute()
    try:
        with path.with_name(f".{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Book(path, read(path))
    except BlockingIOError:
        raise SystemExit(f"another run writes to {path}; give this one another --tally") from None
    except OSError as failure:
        raise SystemExit(f"{path} cannot be written: {failure.strerror}") from failure


def read(path: Path) -> dict[str, dict[str, Any]]:
    """What a tally says, by parser; nothing where there is none yet.

    Raises:
        SystemExit: it is no tally.
    """
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        found = None
    if isinstance(found, dict) and all(
        isinstance(one, dict) and one.keys() == _NOTHING.keys() for one in found.values()
    ):
        return found
    raise SystemExit(f"{path} is no tally of fuzzers; give another --tally, or move the file away")


@dataclass(frozen=True, slots=True)
class Part:
    """What one process tries."""

    name: str
    seed: int
    count: int | None
    seconds: float | None

    @property
    def words(self) -> list[str]:
        """The part as words for `fuzz/all.py`."""
        words = ["--only", self.name, "--seed", str(self.seed)]
        words += [] if self.count is None else ["--count", str(self.count)]
        return words if self.seconds is None else [*words, "--seconds", f"{self.seconds:g}"]


@dataclass(slots=True)
class Plan:
    """What is still to be tried: `count` inputs for each parser, with a book in all runs, or `seconds` in this one.

    Without a book each parser is one part.
    """

    book: Book | None
    names: Sequence[str]
    seed: int
    count: int | None
    seconds: float | None
    _used: dict[str, float] = field(default_factory=dict)
    _begun: dict[str, int] = field(default_factory=dict)  # inputs of parts that run
    _over: set[str] = field(default_factory=set)
    _made: int = 0

    def next(self) -> Part | None:
        """The next part, of the parser that has got the least; None: there is nothing left to begin."""
        left = [name for name in self.names if self._is_left(name)]
        if not left:
            return None
        name = min(left, key=lambda one: (one in self._begun, self._tried(one)))
        self._made += 1
        seed = self.seed + self._made - 1
        if self.book is None:
            self._over.add(name)
            return Part(name, seed, self.count, self.seconds)
        used = self._used.get(name, 0.0)
        seconds = _PART_S if self.seconds is None else min(_PART_S, self.seconds - used)
        count = _PART_INPUTS if self.count is None else min(_PART_INPUTS, self.count - self._tried(name))
        self._used[name] = used + seconds
        self._begun[name] = self._begun.get(name, 0) + count
        return Part(name, seed, count, seconds)

    def ended(self, part: Part, *, holds: bool) -> None:
        """Take note that a part is over; a parser whose law is broken gets no further one."""
        if not holds:
            self._over.add(part.name)
        if self.book is not None:
            self._begun[part.name] -= part.count or 0
            if not self._begun[part.name]:
                del self._begun[part.name]

    def _tried(self, name: str) -> int:
        return (int(self.book.of(name)["inputs"]) if self.book else 0) + self._begun.get(name, 0)

    def _is_left(self, name: str) -> bool:
        timed_out = self.seconds is not None and self._used.get(name, 0.0) >= self.seconds
        return name not in self._over and not timed_out and (self.count is None or self._tried(name) < self.count)


class Run:
    """A run of a plan's parts, `jobs` side by side. `program` is what is started for a part, with the part's words."""

    def __init__(self, plan: Plan, jobs: int, program: Sequence[str]) -> None:
        self._plan, self._jobs, self._program = plan, jobs, program
        self._commit = _commit()
        self._changed = threading.Condition()
        self._running, self._stop = 0, False
        self._laws_hold = True
        self._failure: OSError | None = None

    def run(self) -> bool:
        """Run until the plan is done or somebody types Ctrl-C; return whether every law held.

        Ctrl-C reaches the parts too: each ends with what it has, and that is noted.

        Raises:
            OSError: the book cannot be written any more.
        """
        threads = [threading.Thread(target=self._work) for _ in range(self._jobs)]
        # A handler and no exception: one that breaks into Thread.join makes Python take the thread for ended.
        before = signal.signal(signal.SIGINT, self._end)
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            signal.signal(signal.SIGINT, before)
        if self._failure is not None:
            raise self._failure
        return self._laws_hold

    def _end(self, *_: object) -> None:
        self._stop = True

    def _work(self) -> None:
        while (part := self._next()) is not None:
            done = subprocess.run([*self._program, *part.words, "--json"], capture_output=True, text=True, check=False)
            with self._changed:
                self._running -= 1
                try:
                    holds = _noted(self._plan.book, part.name, self._commit, done)
                    self._laws_hold = self._laws_hold and holds
                    self._plan.ended(part, holds=holds)
                except OSError as failure:
                    self._failure, self._stop = failure, True
                self._changed.notify_all()

    def _next(self) -> Part | None:
        """The next part. What runs may come to less than it was given, so there may be one later on."""
        with self._changed:
            while not self._stop:
                if (part := self._plan.next()) is not None:
                    self._running += 1
                    return part
                if not self._running:
                    return None
                self._changed.wait()
        return None


def run(plan: Plan, jobs: int) -> bool:
    """Run a plan with this checkout's fuzzers; whether every law held."""
    return Run(plan, jobs, this_python(str(_ROOT / "fuzz" / "all.py"))).run()


def _noted(book: Book | None, name: str, commit: str, done: subprocess.CompletedProcess[str]) -> bool:
    """Note what came of a part, and say it; whether the law held."""
    if done.returncode == -signal.SIGINT:  # Ctrl-C before it had begun
        return True
    try:
        said = json.loads(done.stdout)
    except ValueError:
        text = f"{name}: its process ended with {done.returncode}: {done.stderr.strip()[-2000:]}"
        said = {"broken": text}
    if "broken" in said:
        print(said["broken"], file=sys.stderr, flush=True)
        if book is not None:
            book.note_broken(name, commit, said["broken"])
        return False
    part = {"commit": commit, "seed": said["seed"], "inputs": said["inputs"]}
    total = ""
    if book is not None and said["inputs"]:
        book.note(name, part, said["seconds"])
        total = f", {book.of(name)['inputs']} in all"
    pace = said["inputs"] / max(said["seconds"], 1e-9)
    print(
        f"{name:<18}{said['inputs']:>10} inputs, {pace:>8.0f}/s, the law holds (seed {said['seed']}){total}", flush=True
    )
    return True


def _commit() -> str:
    """The commit that is tried, with a "+" if something of it was changed since; "" outside a checkout."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(_ROOT), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--", "src", "fuzz") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
