"""An upstream's boot script, read by running it: its QEMU arguments are data. Band: shell.

The script runs with a stand-in for QEMU first on PATH, in a clean environment, without a terminal. Nothing is parsed
here and nothing is judged but this: the script called QEMU exactly once, and ended well.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pommel.errors import DeadlineError, UpstreamError
from pommel.overlay import standin
from pommel.overlay.sandbox import any_left, bubblewrap, end_leftovers, isolated, what_escapes
from pommel.process import run

_KEPT = ("HOME", "USER", "LOGNAME")  # a script may build its paths from these; nothing else of ours is its business
_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHOWN = 2000  # characters of output in an error
_OUTPUT_MAX = 64 << 10  # bytes of output that are read back
_FILE_MAX_BLOCKS = 64 << 11  # 64 MiB in blocks of 512: a script that prints forever must not fill the disk
# Output goes to a file, since a pipe would stay open for as long as anything that the script left in the background.
# timeout(1) is for the case that Pommel itself is killed meanwhile: a script that loops ends all the same.
_SHELL = 'ulimit -f "$2"; out=$1 limit=$3; shift 3; exec timeout -s KILL "$limit" "$@" > "$out" 2>&1'
_GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class Captured:
    """What a boot script wanted to run. `argv` is without the program; `cwd` is where its relative paths start."""

    argv: tuple[str, ...]
    program: str
    cwd: Path
    output: str
    sandboxed: bool


def capture(upstream: Path, script: str, *, scratch: Path | None = None, timeout_s: float = 5.0) -> Captured:
    """Run the upstream's boot script and return the QEMU command line that it would have run.

    `scratch` is a folder to work in (default: the system's for temporary files); nothing stays in it.

    Raises:
        UpstreamError: the script is missing, cannot run, fails, loops, or does not call QEMU exactly once.
    """
    upstream = upstream.resolve()
    text = _checked(upstream, script)
    folder = Path(tempfile.mkdtemp(prefix="pommel-capture.", dir=scratch)).resolve()
    try:
        return _captured(upstream, script, text, folder, timeout_s)
    finally:
        end_leftovers(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _checked(upstream: Path, script: str) -> str:
    """The script's text, once it is certain that it could run at all."""
    path = upstream / script
    if PurePosixPath(script).is_absolute() or ".." in PurePosixPath(script).parts:
        raise UpstreamError(f"the boot script {script} is not inside {upstream}")
    if not path.is_file():
        others = sorted(p.name for p in upstream.glob("*.sh")) if upstream.is_dir() else []
        there = "it has " + ", ".join(others) if others else "is that the right folder?"
        raise UpstreamError(f"{upstream} has no boot script {script}", hint=f"set boot_script: {there}")
    try:
        data = path.read_bytes()
    except OSError as failure:
        raise UpstreamError(f"{path} cannot be read: {failure.strerror}") from failure
    if data.split(b"\n", 1)[0].endswith(b"\r"):
        raise UpstreamError(f"{path} has Windows line ends", hint=f"sed -i 's/\\r$//' {path}")
    if not os.access(path, os.X_OK):
        raise UpstreamError(f"{path} is not executable", hint=f"chmod +x {path}")
    return data.decode(errors="replace")


def _captured(upstream: Path, script: str, text: str, folder: Path, timeout_s: float) -> Captured:
    binaries = standin.plant(folder)
    bwrap = bubblewrap()
    if bwrap is None:
        _refuse_escapes(upstream / script, text, binaries)
    command = [str(upstream / script)]
    if bwrap is not None:
        command = isolated(bwrap, command, upstream=upstream, scratch=folder, text=text)
    limits = (str(_FILE_MAX_BLOCKS), f"{timeout_s + _GRACE_S:g}")
    command = ["/bin/sh", "-c", _SHELL, "sh", str(folder / "output"), *limits, *command]
    deadline = time.monotonic() + timeout_s
    status = None
    with contextlib.suppress(DeadlineError):
        env = _environment(binaries)
        status = run(command, cwd=upstream, env=env, timeout_s=timeout_s, check=False).returncode
    _wait_for_background(folder, status, deadline)
    calls, output = standin.calls(folder), _output(folder)
    _judge(script, calls, status, output, timeout_s)
    return Captured(calls[0].argv, calls[0].program, calls[0].cwd, output, bwrap is not None)


def _refuse_escapes(path: Path, text: str, binaries: Path) -> None:
    line = what_escapes(text)
    if line is not None:
        raise UpstreamError(
            f"{path} does not take QEMU from PATH, so running it could start a machine: {line}",
            hint="install bubblewrap, and allow user namespaces; then it can be run safely",
        )
    if not os.access(binaries / standin.NAMES[0], os.X_OK):
        raise UpstreamError(
            f"nothing can be run from {binaries.parent.parent}, which is mounted noexec",
            hint="set TMPDIR to a folder that programs may run from",
        )


def _environment(binaries: Path) -> Mapping[str, str]:
    kept = {key: value for key in _KEPT if (value := os.environ.get(key)) is not None}
    # The user's own PATH after ours: on NixOS, for one, there is nothing in the usual folders.
    users = [folder for folder in os.environ.get("PATH", "").split(":") if folder.startswith("/")]
    path = dict.fromkeys([str(binaries), *users, *_USUAL_PATH.split(":")])
    return {**kept, "PATH": ":".join(path), "LC_ALL": "C.UTF-8", "TERM": "dumb"}


def _wait_for_background(folder: Path, status: int | None, deadline: float) -> None:
    """A script may start QEMU in the background and end before the stand-in has written its record."""
    while status == 0 and not standin.calls(folder) and time.monotonic() < deadline and any_left(folder):
        time.sleep(0.01)


def _judge(script: str, calls: list[standin.Call], status: int | None, output: str, timeout_s: float) -> None:
    if len(calls) > 1:
        both = "".join(f"\n  {call.program} {' '.join(call.argv)[:200]}" for call in calls)
        raise UpstreamError(f"{script} calls QEMU more than once:{both}{_told(output)}")
    if status is None:
        raise UpstreamError(f"{script} did not end in {timeout_s:g} s{_told(output)}")
    if status != 0:
        raise UpstreamError(f"{script} {_ending(status)}{_told(output)}", hint=_why(output))
    if not calls:
        raise UpstreamError(
            f"{script} never calls {standin.NAMES[0]}{_told(output)}",
            hint="set boot_script to the upstream's script that starts the machine",
        )


def _why(output: str) -> str | None:
    if os.strerror(errno.EROFS) not in output:
        return None
    return "it is run on a read-only view of the disk: what it prepares, prepare by running it by hand once"


def _ending(status: int) -> str:
    # A shell, and bubblewrap, report a death by signal N as 128 + N.
    number = -status if status < 0 else status - 128
    if number in {known.value for known in signal.Signals}:
        return f"was killed by {signal.Signals(number).name}"
    return f"failed with exit status {status}"


def _output(folder: Path) -> str:
    try:
        with (folder / "output").open("rb") as out:
            out.seek(max(0, out.seek(0, os.SEEK_END) - _OUTPUT_MAX))
            return out.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def _told(output: str) -> str:
    text = output.strip()
    if not text:
        return "; it printed nothing"
    return "; it printed:\n" + (text if len(text) <= _SHOWN else "…" + text[-_SHOWN:])
