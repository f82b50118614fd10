"""How long `pommel run MACHINE -- true` takes, and what it leaves. `python bench/throwaway.py MACHINE [--runs N]`.

MACHINE is a stopped machine of POMMEL_HOME; with saved memory (`pommel golden MACHINE --memory`) it goes on from there.
With `--pool N` it keeps N warm machines meanwhile. Exit 1: something is left that was not there before.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pommel.app.workspace import Workspace
from pommel.process import this_python

GONE_S = 20.0  # for what ends by itself after the command, such as a shared ssh connection


def main() -> int:
    """Print the median and the worst wall time, and what is left."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("machine")
    words.add_argument("--runs", type=int, default=5)
    words.add_argument("--pool", type=int, default=0)
    asked = words.parse_args()
    home = Workspace.current().home
    before = seen(home.root)
    if asked.pool:
        pommel("pool", asked.machine, "--size", str(asked.pool), "--wait")
    walls, told = [], []
    for _ in range(asked.runs):
        if asked.pool:  # what is measured is a warm one
            pommel("pool", asked.machine, "--size", str(asked.pool), "--wait")
        began = time.monotonic()
        said = pommel("run", asked.machine, "--json", "--", "true")
        walls.append(time.monotonic() - began)
        told.append(json.loads(said))
    if asked.pool:
        pommel("pool", "--stop")
    left = what_is_left(home.root, before)
    print(f"wall s: median {statistics.median(walls):.1f}, worst {max(walls):.1f}, of {asked.runs}")
    for key in ("made_s", "ready_s", "command_s"):
        print(f"{key}: median {statistics.median(each[key] for each in told):.2f}")
    print(f"from memory: {sum(each['from_memory'] for each in told)}, warm: {sum(each['from_pool'] for each in told)}")
    for kind, names in left.items():
        print(f"{kind} left: {len(names)} {sorted(names)[:10] if names else ''}")
    return 1 if any(left.values()) else 0


def pommel(*words: str) -> bytes:
    return subprocess.run(this_python("-m", "pommel", *words), stdout=subprocess.PIPE, check=True).stdout


def seen(root: Path) -> dict[str, set[str]]:
    """Files and folders of the home, but for what is kept on purpose; machines; processes of it; listening ports."""
    files = {str(path) for path in root.rglob("*")}
    kept = {str(path) for path in (root / "pool", *(root / "pool").glob("*"), root / "run" / ".pool")}
    machines = {path.name for path in (root / "machines").iterdir() if (path / "machine.json").exists()}
    return {"files": files - kept, "machines": machines, "processes": set(processes(root)), "ports": set(ports())}


def what_is_left(root: Path, before: dict[str, set[str]]) -> dict[str, set[str]]:
    deadline = time.monotonic() + GONE_S
    while True:
        left = {kind: now - before[kind] for kind, now in seen(root).items()}
        if not any(left.values()) or time.monotonic() > deadline:
            return left
        time.sleep(0.2)


def processes(root: Path) -> Iterator[str]:
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            words = (proc / "cmdline").read_bytes() + b"\0" + (proc / "environ").read_bytes()
            state = (proc / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if os.fsencode(root) in words and state not in "ZX" and int(proc.name) not in (os.getpid(), os.getppid()):
            yield f"{proc.name} {words.split(chr(0).encode())[0].decode(errors='replace')}"


def ports() -> Iterator[str]:
    """TCP ports that somebody of this user listens at (proc(5), /proc/net/tcp)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and int(fields[7]) == os.getuid():
            yield str(int(fields[1].rpartition(":")[2], 16))


if __name__ == "__main__":
    sys.exit(main())
