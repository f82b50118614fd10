"""Kill `adopt` at each step that changes a file, and see what is left. Run as a program by test_adopt; no tests here.

Usage: adopt_kills.py MODE SOURCE-FOLDER HOME. Prints one JSON object: how many kills, and what went wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pommel.app.adopt import adopting as adopt
from pommel.app.workspace import Workspace
from pommel.machine import disk
from pommel.paths import Home

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.chmod", "os.truncate"}
_STEPS_MAX = 200


def main() -> None:
    mode, folder, root = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    source = folder / "disk.qcow2"
    original = source.read_bytes()
    home = Home(root / "h", root / "r", root / "c")
    workspace = Workspace(home, root)
    wrong: list[str] = []
    for step in range(1, _STEPS_MAX):
        source.write_bytes(original)
        shutil.rmtree(home.root, ignore_errors=True)
        killed = _forked(_adopt, source, mode, workspace, str(root), step) == -signal.SIGKILL
        wrong += [f"step {step}: {each}" for each in _judged(workspace, source, original, mode)]
        if killed and mode == "copy" and workspace.names() != ["trial"]:
            shutil.rmtree(home.machines / "mac")  # it had come to be: the next is a first again
        again = _forked(_adopt, source, mode, workspace, str(root), 0) if killed else 0
        if killed and again != 0 and not _whole(home, original):
            wrong.append(f"step {step}: adopting again does not finish ({again})")
        if not _whole(home, original) or (mode == "move" and source.exists()):
            wrong.append(f"step {step}: the machine is not whole in the end")
        if left := [path.name for path in home.machines.iterdir() if ".building." in path.name]:
            wrong.append(f"step {step}: {left} is left")
        if not killed:
            print(json.dumps({"kills": step - 1, "wrong": wrong}))
            return
    print(json.dumps({"kills": _STEPS_MAX, "wrong": ["it never came to an end"]}))


def _judged(workspace: Workspace, source: Path, original: bytes, mode: str) -> list[str]:
    """Right after a kill: the data are there whole, and what is called a machine is one."""
    made = workspace.home.machine("mac")
    there = source.exists() and source.read_bytes() == original
    if not made.directory.exists():
        return [] if there else ["no machine, and the source is not whole"]
    if not made.record.is_file() or not made.disk.exists():
        return ["half a machine"]
    if made.disk.read_bytes() != original:
        return ["the machine's disk is another"]
    if mode == "copy" and not there:
        return ["a copy took the source away"]
    return [] if disk.check(made.disk).sound else ["the disk is damaged"]


def _whole(home: Home, original: bytes) -> bool:
    made = home.machine("mac")
    return made.record.is_file() and not made.disk.is_symlink() and made.disk.read_bytes() == original


def _adopt(source: Path, mode: str, workspace: Workspace, root: str, kill_at: int) -> None:
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open":
            flags = arguments[2]
            if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event not in _CHANGES:
            return
        if not any(str(path).startswith((root, str(source.parent))) for path in arguments[:2]):
            return
        count += 1
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    if kill_at:
        sys.addaudithook(hook)
    adopt.adopt(source, name="mac", mode=mode, workspace=workspace)


def _forked(work: Callable[..., None], *arguments: Any) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work(*arguments)
        except BaseException as failure:
            print(repr(failure), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    main()
