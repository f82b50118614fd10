"""What is said of a command that did not end, or ended otherwise than it should: its own words, where it stands, its
machines, and what processes live."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from isolation import time_left

if TYPE_CHECKING:
    from driver import Shell

_TAIL = 4000  # characters of each text that are shown
_ASK_S = 25.0  # at most, for each question to Pommel
_GUEST_S = 4  # how long a guest is looked at
_LOGS = ("serial.log", "qemu.log", "events.log", "console.log")


def account(shell: Shell, child: subprocess.Popen[bytes], before: tuple[bytes, bytes]) -> str:
    """Tell all that is known, and end `child`. `before` is what it wrote so far, to stdout and to stderr."""
    around = home(shell)  # as it stands, before anything is done to it
    out, err = _ended(child, before)
    return _written([("its stdout", out), ("its stderr, and where it stood", err)]) + "\n" + around


def home(shell: Shell) -> str:
    """Tell what processes live in a home, and how each of its machines is."""
    parts = [("processes", _processes(shell))]
    for folder in sorted((shell.home / "machines").glob("[!.]*")):
        parts += _machine(shell, folder)
    return _written(parts)


def _ended(child: subprocess.Popen[bytes], before: tuple[bytes, bytes]) -> tuple[str, str]:
    """End it by SIGABRT, upon which Python's faulthandler writes its stack; return all that it wrote."""
    out, err = before
    try:
        child.send_signal(signal.SIGABRT)
        out, err = child.communicate(timeout=max(0.5, min(5.0, time_left() / 4)))
    except (subprocess.TimeoutExpired, ValueError) as late:  # another process holds its pipes; they are closed already
        if isinstance(late, subprocess.TimeoutExpired):
            out, err = late.output or out, late.stderr or err
    finally:
        child.kill()
        child.wait()
    return (out or b"").decode(errors="replace"), (err or b"").decode(errors="replace")


def _processes(shell: Shell) -> str:
    lines = []
    for pid in shell.processes():
        with contextlib.suppress(OSError, IndexError):  # gone since
            proc = Path(f"/proc/{pid}")
            stat = (proc / "stat").read_text().rpartition(")")[2].split()
            command = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            waits = (proc / "wchan").read_text() or "-"
            used_s = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
            lines.append(f"{pid} parent {stat[1]} state {stat[0]} in {waits} used {used_s:.1f} s: {command[:300]}")
    return "\n".join(lines)


def _machine(shell: Shell, folder: Path) -> list[tuple[str, str]]:
    name = folder.name
    asked = (("status", name, "--json"), ("doctor", name, "--stuck", "--seconds", str(_GUEST_S)))
    told = [(f"pommel {' '.join(words)}", _asked(shell, words)) for words in asked]
    for log in _LOGS:
        with contextlib.suppress(OSError):
            told.append((f"{name}/{log}", (folder / log).read_text(errors="replace")))
    return told


def _asked(shell: Shell, words: tuple[str, ...]) -> str:
    limit_s = max(1.0, min(_ASK_S, time_left() / 4))
    try:
        done = subprocess.run(
            [*shell.command, *words], env=shell.env, cwd=shell.cwd, timeout=limit_s, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"did not end in {limit_s:.0f} s"
    return done.stdout.decode(errors="replace")


def _written(parts: list[tuple[str, str]]) -> str:
    return "\n".join(f"--- {title}:\n{text[-_TAIL:].strip() or '(nothing)'}" for title, text in parts)
