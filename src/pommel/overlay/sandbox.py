"""A place to run an upstream's script where it can do no harm. Band: shell.

With bubblewrap: the disk read-only, a /tmp of its own, no network, no other processes, and the stand-in laid over every
QEMU of the host, so that a script that names one by its path is recorded too. Where bubblewrap is missing or the kernel
forbids user namespaces (containers), the script runs as it is, found by PATH alone; what would then start a real
QEMU is refused beforehand.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from pommel.errors import CommandFailed, DeadlineError, MissingProgram
from pommel.overlay.standin import NAMES
from pommel.process import run, which

_PROBE_TIMEOUT_S = 5.0
_ROUNDS = 200  # some fork while we look; one that hangs in the kernel is not waited for longer than a second
_USUAL_FOLDERS = ("/usr/bin", "/usr/local/bin", "/usr/libexec", "/bin")
_ISOLATED = ("--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp")  # noqa: S108
# A path that ends in one of QEMU's names, and what would take our folder off the front of PATH.
_BY_PATH = re.compile(r"(/[\w./+-]*)?/qemu-(?:system-x86_64|kvm)\b")
_OTHER_PATH = re.compile(r"(?:^|[\s;&|(])(?:PATH=|env\s+-i\b|env\s+-\s|command\s+-p\b)")


@functools.cache
def bubblewrap() -> str | None:
    """Where a bubblewrap is that works here, or None. Asked once a process: it takes some 10 ms."""
    try:
        found = which("bwrap")
        run([found, *_ISOLATED, "true"], timeout_s=_PROBE_TIMEOUT_S)
    except (MissingProgram, CommandFailed, DeadlineError):
        return None
    return found


def isolated(bwrap: str, command: Iterable[str], *, upstream: Path, scratch: Path, text: str) -> list[str]:
    """The command that runs `command` isolated; `text` is the script's, searched for QEMUs by path."""
    words = [bwrap, *_ISOLATED, "--dev-bind-try", "/dev/kvm", "/dev/kvm"]
    # After the empty /tmp: both may lie below it.
    words += ["--ro-bind", str(upstream), str(upstream), "--bind", str(scratch), str(scratch)]
    for real in _real_qemus(text, upstream):
        words += ["--ro-bind", str(scratch / "bin" / NAMES[0]), str(real)]
    return [*words, "--chdir", str(upstream), "--", *command]


def what_escapes(text: str) -> str | None:
    """The first line of a script that would pass by a stand-in on PATH, or None. Comments do not count."""
    for line in text.splitlines():
        code = line if not line.lstrip().startswith("#") else ""
        if _BY_PATH.search(code) or _OTHER_PATH.search(code):
            return line.strip()
    return None


def end_leftovers(scratch: Path) -> int:
    """Kill every process that was started with `scratch` in its environment, and say how many there were.

    That finds what a script left in the background, in a session of its own or in a namespace, by the one thing they
    all inherited: a PATH with our folder in it.
    """
    ended = 0
    for _ in range(_ROUNDS):
        found = _inheritors(scratch)
        for handle in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)
        if not found:
            break
        ended += len(found)
        time.sleep(0.005)
    return ended


def any_left(scratch: Path) -> bool:
    """Whether a process that the script started is still there."""
    found = _inheritors(scratch)
    for handle in found:
        os.close(handle)
    return bool(found)


def _inheritors(scratch: Path) -> list[int]:
    """Handles (pidfds) of the processes that inherited `scratch`; the caller closes them."""
    mark = os.fsencode(scratch)
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            # The handle first: what it names cannot become another process while we look.
            handle = os.pidfd_open(int(entry.name))
        except OSError:
            continue
        if _has_mark(entry, mark):
            found.append(handle)
        else:
            os.close(handle)
    return found


def _has_mark(process: Path, mark: bytes) -> bool:
    try:
        return mark in (process / "environ").read_bytes()
    except OSError:  # gone, or another user's
        return False


def _real_qemus(text: str, upstream: Path) -> set[Path]:
    """Every QEMU that the script might reach by a path: the host's usual ones, and those that it names."""
    folders = [*os.environ.get("PATH", os.defpath).split(":"), *_USUAL_FOLDERS]
    named = [match[0] for match in _BY_PATH.finditer(text) if match[0].startswith("/")]
    paths = [Path(folder, name) for folder in folders if folder for name in NAMES]
    paths += [path for word in named for path in (Path(word), upstream / word.lstrip("/"))]
    return {path.resolve() for path in paths if path.is_file()}
