"""Commands in a folder that has been deleted, and locks that a process of another container holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from driver import Shell
from pommel import locks

# Holds a lock from inside a pid namespace of its own (unshare(2), CLONE_NEWPID), and says when it does.
HOLD = """
import ctypes, fcntl, os, sys, time
if ctypes.CDLL(None, use_errno=True).unshare(0x20000000):
    sys.exit(77)
if child := os.fork():
    os.write(1, b"%d\\n" % child); os.waitpid(child, 0); sys.exit(0)
f = open(sys.argv[1], "w"); fcntl.lockf(f, fcntl.LOCK_EX); os.write(1, b"held\\n"); time.sleep(60)
"""
# Asks from inside another one: there the holder has no pid at all.
ASK = """
import ctypes, os, sys
if ctypes.CDLL(None, use_errno=True).unshare(0x20000000):
    sys.exit(77)
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.parametrize(
    "words",
    ["list", "status trial", "up trial --dry-run", "config trial", "stop trial", "init", "init x", "doctor", "clip status",
     "screenshot trial x.png", "adopt disk.img", "recovery where", "opencore build -o x.qcow2 y", "argv trial", "trust ."],
)  # fmt: skip
@pytest.mark.parametrize("json", [[], ["--json"]], ids=["plain", "json"])
def test_a_deleted_folder_is_told(shell: Shell, words: str, json: list[str]) -> None:
    gone = shell.root / "gone"
    gone.mkdir()
    line = f'cd {gone} && rmdir {gone} && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", line, "sh", sys.executable, "-m", "pommel", *words.split(), *json],
        env=shell.env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    if done.returncode == 2 and "No such option" in done.stderr:
        pytest.skip("it has no --json")
    assert "error: the current folder has been deleted\nhint: go to an existing folder: cd\n" in done.stderr
    assert done.returncode == 3


def test_what_asks_for_no_folder_works_in_a_deleted_one(shell: Shell) -> None:
    gone = shell.root / "gone"
    gone.mkdir()
    for words in (["--version"], ["--help"], ["up", "--help"]):
        line = f'mkdir -p {gone} && cd {gone} && rmdir {gone} && exec "$@"'
        done = subprocess.run(
            ["sh", "-c", line, "sh", sys.executable, "-m", "pommel", *words],
            env=shell.env,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")


def test_a_relative_home_in_a_deleted_folder_is_told(shell: Shell) -> None:
    gone = shell.root / "gone"
    gone.mkdir()
    line = f'cd {gone} && rmdir {gone} && POMMEL_HOME=here exec "$@"'
    done = subprocess.run(
        ["sh", "-c", line, "sh", sys.executable, "-m", "pommel", "list"],
        env=shell.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "error: the current folder has been deleted" in done.stderr


def test_a_holder_in_another_pid_namespace_is_named_as_such(shell: Shell) -> None:
    paths = shell.machine("m")
    paths.mkdir(parents=True)
    lock = paths.parent / ".m.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, lock], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        said = {holder.stdout.readline().strip(), holder.stdout.readline().strip()}  # in either order
        if holder.poll() == 77:
            pytest.skip("no pid namespace is to be had")
        pid = b"".join(said - {b"held"})
        assert locks.holder(lock) == int(pid), "from outside it has a pid"
        code = f"""
from pathlib import Path
from pommel import locks
from pommel.errors import BusyError
assert locks.holder(Path({str(lock)!r})) <= 0
try:
    with locks.hold(Path({str(lock)!r}), busy="at work"): pass
except BusyError as error:
    print(error.message)
"""
        done = subprocess.run([sys.executable, "-c", ASK, "-c", code], capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("at work (a process of another container)\n", "")
        os.kill(int(pid), signal.SIGKILL)
    finally:
        holder.communicate()


@pytest.mark.parametrize(
    ("pid", "said"),
    [
        (7, "pid 7"),
        (0, "a process of another container"),
        (-1, "a process of another container"),
        (None, "a process of another container"),
    ],
)
def test_whom(pid: int | None, said: str) -> None:
    assert locks.whom(pid) == said
