"""How long `pommel` takes from nothing to its answer: whole processes, medians, beside a bare interpreter in the same run.

    python bench/cold_start.py [RUNS]

The peer is what any Python command pays: `python -c pass`, and click's own `--help`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLICK = "import click; click.group()(lambda: None).main(['--help'], standalone_mode=False)"


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "POMMEL_HOME": home}
        cases = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "click --help": [sys.executable, "-c", CLICK],
            "pommel --help": [sys.executable, "-m", "pommel", "--help"],
            "pommel status trial": [sys.executable, "-m", "pommel", "status", "trial"],
            "pommel list": [sys.executable, "-m", "pommel", "list"],
        }
        if (ROOT / ".venv" / ".pommel-installed").exists():
            cases["./pommel --help"] = [str(ROOT / "pommel"), "--help"]
        taken: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(runs):  # in turn, so that a busy moment hits all alike
            for name, argv in cases.items():
                began = time.perf_counter()
                subprocess.run(argv, env=env, stdout=subprocess.DEVNULL, check=True)
                taken[name].append((time.perf_counter() - began) * 1000)
    print(f"{'command':22} median ms  worst ms   ({runs} runs)")
    for name, times in taken.items():
        print(f"{name:22} {statistics.median(times):9.0f} {max(times):9.0f}")


if __name__ == "__main__":
    main()
