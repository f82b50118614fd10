"""The screen path of Pommel beside its rivals', in turn on one display, in one run.

    python bench/screen [--mesh FOLDER] [--runs 3] [--seconds 8] [--cases look,slow,bytes,crowd,input,idle]

It takes Xvfb, and what of the rivals is there: TigerVNC's X0tigervnc, and with --mesh the real MeshAgent through its
server, and Pommel through the same one (FOLDER is where `npm install meshcentral` was run). Python packages:
pip install -e '.[bench]'.
Every figure is the median over the runs; the servers take turns, so that the machine's noise hits all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from rivals import Rival, display, mesh_agent, pommel, relayed, tigervnc

HERE = Path(__file__).parent
CASES = ("look", "slow", "crowd", "input", "idle")
SCENES = ("type", "scroll", "video")
Row = dict[str, Any]


def ask(rival: Rival, *words: object, quality: int = 50, rate: float = 0, timer: int = 20) -> Row:
    """Have the rival's viewer measure; return its figures."""
    argv = [sys.executable, str(HERE / rival.viewer), rival.where, *map(str, words), "--quality", str(quality)]
    argv += [word for pid in rival.pids for word in ("--pid", str(pid))] + [*rival.options, "--rate", str(rate)]
    argv += ["--timer", str(timer)] if rival.viewer == "kvm.py" else []
    done = subprocess.run(argv, capture_output=True, text=True, timeout=180)
    if done.returncode:
        sys.exit(f"{rival.name}, {words}: {done.stderr[-1500:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def play(rival: Rival, scene: str, seconds: float, fps: float = 30, **options: Any) -> Row:
    words = ("play",) if rival.viewer == "kvm.py" else ()
    return ask(rival, *words, scene, seconds, fps, **options)


def middle(rows: list[Row]) -> Row:
    """The median of each figure."""
    keys = [key for key, value in rows[0].items() if isinstance(value, int | float)]
    figures = {key: [row[key] for row in rows if row.get(key) is not None] for key in keys}
    return {key: median(values) for key, values in figures.items() if values}


def table(title: str, rows: list[tuple[str, Row]], columns: dict[str, str]) -> None:
    print(f"\n{title}\n\n| | {' | '.join(columns.values())} |\n|---|{'---|' * len(columns)}")
    for name, row in rows:
        cells = [f"{row[key]:.3g}" if row.get(key) is not None else "–" for key in columns]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


LOOK = {
    "seen_fps": "seen fps", "age_p50": "age p50 ms", "age_p95": "p95", "MB_s": "MB/s", "cpu_percent": "CPU %",
    "cpu_ms_frame": "CPU ms per frame", "first_ms": "first whole frame ms",
}  # fmt: skip


def look(rivals: list[Rival], runs: int, seconds: float) -> None:
    """Frames seen, their age, bytes and CPU, at quality 50."""
    for scene in SCENES:
        taken = [[play(rival, scene, seconds) for rival in rivals] for _ in range(runs)]
        rows = [(rival.name, middle([run[n] for run in taken])) for n, rival in enumerate(rivals)]
        table(f"{scene}, 30 fps", rows, LOOK)


def slow(rivals: list[Rival], runs: int, seconds: float) -> None:
    """A reader of 500 kB/s while the whole screen changes."""
    page = replace(rivals[0], name="Pommel, told and acknowledged as its page", options=("--ack", "--moves"))
    rivals = [rivals[0], page, *rivals[1:]]
    taken = [[play(rival, "full", seconds * 1.5, rate=500_000) for rival in rivals] for _ in range(runs)]
    rows = [(rival.name, middle([run[n] for run in taken])) for n, rival in enumerate(rivals)]
    columns = {"seen_fps": "seen fps", "age_p50": "age p50 ms", "age_p95": "p95", "age_end": "p50 of the last fifth"}
    table("all of the screen changes, a reader of 500 kB/s", rows, columns)


def crowd(rivals: list[Rival], runs: int, seconds: float) -> None:
    """What 20 viewers cost."""
    ours = rivals[0]
    taken = [[ask(ours, "crowd", n, "type", seconds, 30) for n in (1, 20)] for _ in range(runs)]
    rows = [(f"{n} viewers", middle([run[i] for run in taken])) for i, n in enumerate((1, 20))]
    table("Pommel, viewers of one screen (type)", rows, LOOK)


def hands(rivals: list[Rival], runs: int, seconds: float) -> None:
    """Mouse sent → the pointer has moved."""
    can = [rival for rival in rivals if rival.viewer == "kvm.py"]
    taken = [[ask(rival, "input", int(seconds * 10)) for rival in can] for _ in range(runs)]
    rows = [(rival.name, middle([run[n] for run in taken])) for n, rival in enumerate(can)]
    table("Mouse sent → pointer moved, ms", rows, {"p50": "p50", "p95": "p95", "lost": "lost"})


def idle(rivals: list[Rival], runs: int, seconds: float) -> None:
    """Nothing moves, somebody looks."""
    taken = [[play(rival, "idle", seconds) for rival in rivals] for _ in range(runs)]
    rows = [(rival.name, middle([run[n] for run in taken])) for n, rival in enumerate(rivals)]
    table("nothing moves", rows, {"cpu_percent": "CPU %", "MB_s": "MB/s", "first_ms": "first whole frame ms"})


@contextlib.contextmanager
def all_there(mesh: Path | None) -> Iterator[list[Rival]]:
    with contextlib.ExitStack() as stack:
        stack.enter_context(display())
        found = [stack.enter_context(pommel())]
        if shutil.which("X0tigervnc"):
            found.append(stack.enter_context(tigervnc()))
        if mesh is not None:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            agent = stack.enter_context(mesh_agent(mesh, work))
            found += [stack.enter_context(relayed(agent, work)), agent]
        yield found


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the screen path beside its rivals.")
    parser.add_argument("--mesh", type=Path, help="where `npm install meshcentral` was run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--cases", default=",".join(CASES))
    options = parser.parse_args()
    cases = {"look": look, "slow": slow, "crowd": crowd, "input": hands, "idle": idle}
    with all_there(options.mesh) as rivals:
        print(f"side by side: {', '.join(rival.name for rival in rivals)}; medians of {options.runs} runs")
        for case in options.cases.split(","):
            cases[case](rivals, options.runs, options.seconds)


if __name__ == "__main__":
    main()
