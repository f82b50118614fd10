"""The only place that starts a process. Band: shared ground.

Every child is started in its own process group, so that a deadline, an error or Ctrl-C in Pommel
ends the child with all that it started: no orphans. The one exception is `spawn_detached`, whose
whole point is a child that outlives us.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pommel import private
from pommel.errors import CommandFailed, DeadlineError, MissingProgram, StateError

if TYPE_CHECKING:
    import asyncio.subprocess

_TERM_GRACE_S = 3.0
_PIPE_MOST = 4096  # of any pipe: a page (pipe(7))


def this_python(*words: str) -> list[str]:
    """How to start this Python with `words`, such as `-m pommel`: -P, so that nothing comes from the current folder.

    `python -m` looks there first, and in /tmp anybody can put a module (sys.path, "Python Documentation").
    """
    return [sys.executable, "-P", *words]


@dataclass(frozen=True, slots=True)
class Completed:
    """What a program did: exit status and what it printed."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode(errors="replace")

    @property
    def output(self) -> str:
        """Both streams as text, standard error last."""
        return (self.stdout + self.stderr).decode(errors="replace")


def which(program: str, *, hint: str | None = None, path: str | None = None) -> str:
    """Find `program` on PATH, and in the sbin folders that a user's PATH often lacks.

    Raises:
        MissingProgram: it is in none of them.
    """
    search = path if path is not None else os.environ.get("PATH", os.defpath)
    found = shutil.which(program, path=f"{search}:/usr/local/sbin:/usr/sbin:/sbin")
    if found is None:
        raise MissingProgram(f"{program} is not installed", hint=hint)
    return found


def run(
    argv: Sequence[str | Path],
    *,
    timeout_s: float | None = None,
    input: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
    hint: str | None = None,
) -> Completed:
    """Run a program to its end, without a terminal, and keep what it prints.

    Raises:
        MissingProgram: the program is not there.
        DeadlineError: `timeout_s` passed; the process group was killed. Output so far is in the message.
        CommandFailed: it exited non-zero and `check` is true.
    """
    words = [str(word) for word in argv]
    with _started(
        words,
        stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
    ) as child:
        try:
            out, err = child.communicate(input, timeout=timeout_s)
        except subprocess.TimeoutExpired as stop:
            end_group(child.pid, signal.SIGKILL)
            out, err = child.communicate()
            tail = (out + err).decode(errors="replace").strip()[-2000:]
            raise DeadlineError(
                f"{words[0]} did not finish in {timeout_s:g} s" + (f":\n{tail}" if tail else ""), hint=hint
            ) from stop
    done = Completed(tuple(words), child.returncode, out, err)
    if check and done.returncode != 0:
        raise CommandFailed(words, done.returncode, done.output, hint=hint)
    return done


def stream(
    argv: Sequence[str | Path],
    on_line: Callable[[str], None],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    hint: str | None = None,
) -> None:
    """Run a program to its end and hand each line it prints (both streams) to `on_line`.

    Raises:
        MissingProgram: the program is not there.
        CommandFailed: it exited non-zero; the error carries the last 200 lines.
    """
    words = [str(word) for word in argv]
    tail: list[str] = []
    with _started(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, cwd=cwd
    ) as child:
        for raw in child.stdout or ():
            line = raw.decode(errors="replace").rstrip("\n")
            tail = [*tail[-199:], line]
            on_line(line)
        returncode = child.wait()
    if returncode != 0:
        raise CommandFailed(words, returncode, "\n".join(tail), hint=hint)


class Watched:
    """A program that is looked at while it runs. Made by `watched`, which also ends it."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self.pid = child.pid

    def exit_status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._child.poll()


@contextlib.contextmanager
def watched(
    argv: Sequence[str | Path], *, stdin: int, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Watched]:
    """Run a program for the time of the block, its input from the descriptor `stdin` and its output dropped.

    At the block's end it is killed with its process group, whatever it is doing.

    Raises:
        MissingProgram: the program is not there.
    """
    words = [str(word) for word in argv]
    null = subprocess.DEVNULL
    with _started(words, stdin=stdin, stdout=null, stderr=null, env=env, cwd=cwd) as child:
        try:
            yield Watched(child)
        finally:
            end_group(child.pid, signal.SIGKILL)
            child.wait()


def attach(argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> int:
    """Run a program on our own terminal (ssh, sudo) and return its exit status.

    It stays in our process group: the terminal's Ctrl-C is the program's to handle, so we ignore it meanwhile.
    """
    words = [str(word) for word in argv]
    words[0] = which(words[0])
    # A handler that does nothing, not SIG_IGN: the child would inherit that over exec.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.call(words, env=env)
    finally:
        signal.signal(signal.SIGINT, before)


def spawn_detached(
    argv: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    umask: int = private.UMASK,
    ends_with_us: bool = False,
    input: bytes | None = None,
) -> Detached:
    """Start a program in a session of its own, both streams appended to `log`, so that it outlives us.

    One that `ends_with_us` does not, even where we are killed: the kernel kills it when the calling thread ends
    (prctl(2), PR_SET_PDEATHSIG), which util-linux's setpriv asks for; without that program it outlives a kill -9.

    What it makes is for this user alone; a program that is no part of Pommel's work is given the umask -1, the user's.
    `input` is all that it can read, of at most 4096 bytes: more may not fit into a pipe that is not read yet (pipe(7)).

    Raises:
        MissingProgram: the program is not there.
    """
    words = [str(word) for word in argv]
    words[0] = which(words[0])
    if ends_with_us and (setpriv := shutil.which("setpriv")) is not None:
        words = [setpriv, "--pdeathsig", "KILL", *words]
    with private.appended(log) as out, _readable(input) as stdin:
        child = subprocess.Popen(
            words,
            stdin=stdin,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=env,
            cwd=cwd,
            umask=umask,
        )
    return Detached(child)


@contextlib.contextmanager
def _readable(data: bytes | None) -> Iterator[int]:
    """What a program is to read, whose end nobody waits for: a pipe that holds `data` and then ends."""
    if data is None:
        yield subprocess.DEVNULL
        return
    if len(data) > _PIPE_MOST:
        raise ValueError(f"{len(data)} bytes may not fit into a pipe")
    read, write = os.pipe()
    try:
        try:
            os.write(write, data)
        finally:
            os.close(write)
        yield read
    finally:
        os.close(read)


async def spawn_piped(
    argv: Sequence[str], *, stderr: int, env: Mapping[str, str] | None = None, limit: int = 64 << 10
) -> asyncio.subprocess.Process:
    """Start a program that is talked to from a running loop: both ends piped, complaints to the descriptor `stderr`.

    It leads a process group; whoever called ends that with `end_group`, however its own work ends. `limit` bounds what
    is read ahead of it, in bytes.

    Raises:
        MissingProgram: the program is not there.
    """
    import asyncio  # not at the top: a tenth of a second that commands without a loop need not pay

    program = which(argv[0])
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        program, *argv[1:], stdin=pipe, stdout=pipe, stderr=stderr, env=env, start_new_session=True, limit=limit
    )


class Detached:
    """A program that outlives us. While we live we can still ask whether it has died at start."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self.pid = child.pid

    def exit_status(self) -> int | None:
        """Its exit status, or None while it runs. Reaps it."""
        status = self._child.poll()
        # We never wait for the ones that live on; tell Popen so that it does not warn about them.
        if status is None:
            self._child.returncode = None
        return status

    def kill(self) -> None:
        """Kill it with all that it started, and reap it."""
        end_group(self.pid, signal.SIGKILL)
        self._child.wait()

    def release(self) -> None:
        """Forget it: from here on it is nobody's child."""
        self._child.returncode = 0


def _must_be(folder: Path | None) -> None:
    """A program that is there is not to be blamed for the folder it was to start in."""
    if folder is not None and not folder.is_dir():
        raise StateError(f"{folder} has been deleted, or is not a folder", hint="go to an existing folder: cd")


def end_group(pid: int, how: signal.Signals) -> None:
    """Signal the process group that `pid` leads; one that is gone is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, how)


@contextlib.contextmanager
def _started(
    words: list[str], *, stdin: int, stdout: int, stderr: int, env: Mapping[str, str] | None, cwd: Path | None
) -> Iterator[subprocess.Popen[bytes]]:
    words = [which(words[0]), *words[1:]] if cwd is None else words
    try:
        child = subprocess.Popen(
            words, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True, env=env, cwd=cwd
        )
    except FileNotFoundError as gone:
        _must_be(cwd)
        raise MissingProgram(f"{words[0]} is not installed") from gone
    try:
        yield child
    except BaseException:  # Ctrl-C too: what we started must not outlive the call
        _end(child)
        raise
    finally:
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()


def _end(child: subprocess.Popen[bytes]) -> None:
    """SIGTERM, a grace period, SIGKILL: a build may need a moment to unmount what it mounted."""
    end_group(child.pid, signal.SIGTERM)
    stop = time.monotonic() + _TERM_GRACE_S
    while child.poll() is None and time.monotonic() < stop:
        time.sleep(0.02)
    end_group(child.pid, signal.SIGKILL)
    child.wait()
