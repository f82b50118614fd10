"""The only module that starts a process. Band: shared ground.

Every child is started in its own process group, so that a deadline, an error or Ctrl-C in Pommel
ends the child with all its children. The only exception is `spawn_detached`, whose purpose is a child
that outlives us.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from pommel import private
from pommel.errors import CommandFailed, DeadlineError, MissingProgram, StateError

if TYPE_CHECKING:
    import asyncio.subprocess

T = TypeVar("T")
_TERM_GRACE_S = 3.0
_LAST_WORDS_S = 3.0
_SAID_MOST = 4000  # bytes of a program's standard error that are kept for the message
_PIPE_MOST = 4096  # of any pipe: a page (pipe(7))


def this_python(*words: str) -> list[str]:
    """The command for this Python with `words`, such as `-m pommel`: with -P, so that it imports nothing from here.

    `python -m` searches the current folder first, and in /tmp any user can put a module (Python's docs, sys.path).
    """
    return [sys.executable, "-P", *words]


@dataclass(frozen=True, slots=True)
class Completed:
    """The result of a program: its exit status and output."""

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
        MissingProgram: it is not in any of them.
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
            out, err = _what_came(child)
            tail = (out + err).decode(errors="replace").strip()[-2000:]
            raise DeadlineError(
                f"{words[0]} did not finish in {timeout_s:g} s" + (f":\n{tail}" if tail else ""), hint=hint
            ) from stop
    done = Completed(tuple(words), child.returncode, out, err)
    if check and done.returncode != 0:
        raise CommandFailed(words, done.returncode, done.output, hint=hint)
    return done


def _what_came(child: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """The output of a killed child.

    Its pipes may stay open in another process, such as the master of an ssh connection.
    """
    try:
        return child.communicate(timeout=_LAST_WORDS_S)
    except subprocess.TimeoutExpired as held:
        return held.output or b"", held.stderr or b""


def stream(
    argv: Sequence[str | Path],
    on_line: Callable[[str], None],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    hint: str | None = None,
) -> None:
    """Run a program to its end and call `on_line` with each line of its output (both streams).

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


class WatchedProcess:
    """A running program. Made by `watched`, which also ends it."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self.pid = child.pid

    def exit_status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._child.poll()


@contextlib.contextmanager
def watched(
    argv: Sequence[str | Path], *, stdin: int, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[WatchedProcess]:
    """Run a program for the time of the block, its input from the descriptor `stdin` and its output dropped.

    At the block's end it is killed with its process group, even if it is busy.

    Raises:
        MissingProgram: the program is not there.
    """
    words = [str(word) for word in argv]
    null = subprocess.DEVNULL
    with _started(words, stdin=stdin, stdout=null, stderr=null, env=env, cwd=cwd) as child:
        try:
            yield WatchedProcess(child)
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


def follow(argv: Sequence[str | Path], *, timeout_s: float | None = None, to_stderr: bool = False) -> int | None:
    """Run a program on our own standard streams; return its exit status, negative for a signal.

    None: it had not ended after `timeout_s` seconds, and was ended. Ctrl-C ends it too. With `to_stderr` what it writes
    to its standard output goes to our standard error.

    Raises:
        MissingProgram: the program is not there.
    """
    with _started([str(word) for word in argv], stdin=0, stdout=2 if to_stderr else 1, stderr=2) as child:
        try:
            return child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            _end(child)
            return None


def feed(argv: Sequence[str | Path], write: Callable[[IO[bytes]], None], *, timeout_s: float) -> None:
    """Run a program to its end; `write` writes its input.

    Raises:
        MissingProgram: the program is not there.
        CommandFailed: it exited non-zero; the error has the end of its standard error.
        DeadlineError: it had not ended after `timeout_s` seconds, and was killed.
    """

    def work(pipe: IO[bytes]) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended; its exit status is checked below
            write(pipe)
            pipe.close()

    _piped(argv, work, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, timeout_s=timeout_s)


def drain(argv: Sequence[str | Path], read: Callable[[IO[bytes]], T], *, timeout_s: float) -> T:
    """Run a program without input; `read` reads its output. Return the result of `read`.

    Raises the errors of `feed`.
    """

    return _piped(argv, read, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout_s=timeout_s)


def _piped(
    argv: Sequence[str | Path],
    work: Callable[[IO[bytes]], T],
    *,
    stdin: int,
    stdout: int,
    timeout_s: float,
) -> T:
    """Run a program with a pipe for its input or output, which `work` gets, and read its standard error meanwhile."""
    words, late, said = [str(word) for word in argv], threading.Event(), bytearray()
    with _started(words, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE) as child:

        def kill() -> None:
            late.set()
            end_group(child.pid, signal.SIGKILL)

        def listen() -> None:
            while child.stderr is not None and (part := child.stderr.read1(_SAID_MOST)):  # type: ignore[attr-defined]
                said[:] = (said + part)[-_SAID_MOST:]

        clock, ear = threading.Timer(timeout_s, kill), threading.Thread(target=listen, daemon=True)
        clock.start()
        ear.start()
        try:
            for pipe in filter(None, (child.stdin, child.stdout)):
                done = work(pipe)
            status = child.wait()
            ear.join(_TERM_GRACE_S)  # limited, because a child of the program may keep that pipe open
        except Exception:
            if not late.is_set():  # else the error of `work` is only a result of our kill
                raise
        finally:
            clock.cancel()
    if late.is_set():
        raise DeadlineError(f"{words[0]} did not finish in {timeout_s:g} s")
    if status != 0:
        raise CommandFailed(words, status, said.decode(errors="replace"))
    return done


# If the parent dies before the child asks the kernel for the signal, no signal comes; so the child checks its parent.
_TETHER = '[ "$PPID" = "$0" ] || exit 1; exec "$@"'


def tethered(argv: Sequence[str], sign: str) -> list[str]:
    """The command that runs `argv` as a child of this process, and gets the signal `sign` when the calling thread ends.

    The kernel sends it, even where we are killed (prctl(2), PR_SET_PDEATHSIG). util-linux's setpriv asks for it;
    without that program nothing is sent.
    """
    if (setpriv := shutil.which("setpriv")) is None:
        return list(argv)
    return [setpriv, "--pdeathsig", sign, "sh", "-c", _TETHER, str(os.getpid()), *argv]


def spawn_detached(
    argv: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    umask: int = private.UMASK,
    ends_with_us: bool = False,
    input: bytes | None = None,
    passed: Sequence[int] = (),
) -> Detached:
    """Start a program in a session of its own, both streams appended to `log`, so that it outlives us.

    One that `ends_with_us` does not, even where we are killed (`tethered`). It gets the descriptors in `passed` too.

    Its files are private to this user; a program that is not part of Pommel gets the umask -1, the user's own.
    `input` is all that it can read, of at most 4096 bytes: more may not fit into a pipe that is not read yet (pipe(7)).

    Raises:
        MissingProgram: the program is not there.
    """
    words = [str(word) for word in argv]
    words[0] = which(words[0])
    if ends_with_us:
        words = tethered(words, "KILL")
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
            pass_fds=passed,
        )
    return Detached(child)


@contextlib.contextmanager
def _readable(data: bytes | None) -> Iterator[int]:
    """The input for a detached program: a pipe with `data`, which then ends."""
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
    """Start a program with pipes for a running loop; its standard error goes to the descriptor `stderr`.

    It leads a process group; whoever called ends that with `end_group`, however its own work ends. `limit` bounds what
    is read ahead of it, in bytes.

    Raises:
        MissingProgram: the program is not there.
    """
    import asyncio  # not at the top: it takes a tenth of a second, which commands without a loop save

    program = which(argv[0])
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        program, *argv[1:], stdin=pipe, stdout=pipe, stderr=stderr, env=env, start_new_session=True, limit=limit
    )


# Only by this call does a terminal become the controlling one of a session's leader on every system (ioctl_tty(2)).
# argv[1] is the program, the rest its arguments from the zeroth on.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[2:])"
)


async def spawn_on_terminal(
    argv: Sequence[str],
    terminal: int,
    *,
    stderr: int | None = None,
    env: Mapping[str, str] | None = None,
) -> asyncio.subprocess.Process:
    """Start a program on the terminal whose slave end is the descriptor `terminal`, for a running loop.

    It leads a session with this controlling terminal. So the kernel sends it SIGHUP when the last descriptor of the
    master end is closed, even if we are killed. Its standard error goes to `stderr` (None: the terminal).

    Raises:
        MissingProgram: the program is not there.
    """
    import asyncio  # see spawn_piped

    program = which(argv[0])
    words = [sys.executable, "-I", "-S", "-c", _TAKE_TERMINAL, program, program, *argv[1:]]
    return await asyncio.create_subprocess_exec(
        *words,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal if stderr is None else stderr,
        env=env,
        start_new_session=True,
    )


class Detached:
    """A program that outlives us. While we run, we can still check whether it ended at its start."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self.pid = child.pid

    def exit_status(self, within_s: float = 0.0) -> int | None:
        """Wait for its exit status and reap it; None if it still runs after the wait."""
        status = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._child.wait(within_s)
        # We never wait for the ones that live on; tell Popen so that it does not warn about them.
        if status is None:
            self._child.returncode = None
        return status

    def kill(self) -> None:
        """Kill it with its process group, and reap it."""
        end_group(self.pid, signal.SIGKILL)
        self._child.wait()

    def release(self) -> None:
        """Stop tracking it: from here on we do not reap it."""
        self._child.returncode = 0


def _must_be(folder: Path | None) -> None:
    """Raise for a missing folder and not for a missing program, if the program exists."""
    if folder is not None and not folder.is_dir():
        raise StateError(f"{folder} has been deleted, or is not a folder", hint="go to an existing folder: cd")


def end_group(pid: int, how: signal.Signals) -> None:
    """Signal the process group that `pid` leads; it is no error if it has ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, how)


@contextlib.contextmanager
def _started(
    words: list[str],
    *,
    stdin: int,
    stdout: int,
    stderr: int,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
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
    except BaseException:  # also Ctrl-C: the child must not outlive the call
        _end(child)
        raise
    finally:
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()


def _end(child: subprocess.Popen[bytes]) -> None:
    """SIGTERM, a grace period, SIGKILL: a build may need a moment to unmount its mounts."""
    end_group(child.pid, signal.SIGTERM)
    stop = time.monotonic() + _TERM_GRACE_S
    while child.poll() is None and time.monotonic() < stop:
        time.sleep(0.02)
    end_group(child.pid, signal.SIGKILL)
    child.wait()
