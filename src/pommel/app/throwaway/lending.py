"""A throw-away machine for a block of Python. Band: app; part of the Python API."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pommel import process
from pommel.app.machine import hands
from pommel.app.throwaway import base, bringing, holding, obtaining, starting
from pommel.app.throwaway.job import WORK, parse_copy_out, parse_variables
from pommel.app.workspace import Workspace
from pommel.errors import CommandFailed, MachineError, UsageError
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore

_RUN_S = 600.0
_NOTE = ".pommel-status"
_NOTED = re.compile(rb"\.pommel-status (\d{1,3})\n")


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The result of a command in the guest: its exit status, and its output."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text, without the newlines at the end."""
        return self.stdout.decode(errors="replace").rstrip("\n")


@dataclass(frozen=True, slots=True)
class ThrowawayMachine:
    """A running machine that is deleted at the end of its block. Commands run in a folder that is empty at first."""

    name: str
    from_memory: bool
    _workspace: Workspace
    _paths: MachinePaths

    def run(
        self,
        *words: str,
        input: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = _RUN_S,
        check: bool = True,
    ) -> CommandResult:
        """Run a command in the guest's work folder. No shell interprets its words.

        Raises:
            CommandFailed: it exited with another status than 0, and `check` is true.
            DeadlineError: it took longer than `timeout_s`; it may still run in the guest.
            MachineError: the connection was lost, so its result is unknown.
            UsageError: there is no command, or the name of a variable is not valid.
        """
        if not words or any("\0" in word for word in words):
            raise UsageError("give the words of a command, without null bytes")
        variables = parse_variables([f"{name}={value}" for name, value in (env or {}).items()], {})
        exports = "".join(f"export {name}={shlex.quote(value)}; " for name, value in variables.items())
        # ssh's status 255 may mean a lost connection or the command's own 255. So the script writes the status to
        # stderr.
        script = f"cd {WORK} && {{ {exports}{shlex.join(words)}; status=$?; echo {_NOTE} $status >&2; exit $status; }}"
        argv = starting.call(self._workspace, self._paths, f"exec sh -c {shlex.quote(script)}")
        done = process.run(argv, input=input, timeout_s=timeout_s, check=False)
        notes = list(_NOTED.finditer(done.stderr))
        if not notes:
            said = done.stderr.decode(errors="replace").strip()[-500:]
            raise MachineError(f"{self.name} did not report the result of {words[0]}: {said or done.returncode}")
        stderr = done.stderr[: notes[-1].start()] + done.stderr[notes[-1].end() :]
        ran = CommandResult(int(notes[-1][1]), done.stdout, stderr)
        if check and ran.status:
            raise CommandFailed(list(words), ran.status, (ran.stdout + ran.stderr).decode(errors="replace"))
        return ran

    def copy_in(self, folder: Path) -> None:
        """Replace the work folder by a new one with the content of `folder` on this host.

        Raises:
            UsageError: it is not a folder.
            CommandFailed, DeadlineError: the guest could not write it.
        """
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder")
        starting.send(self._workspace, self._paths, {}, folder)

    def copy_out(self, path: str, into: Path, *, report: Report = ignore) -> Path:
        """Copy a file or folder of the guest, relative to the work folder, into the folder `into`; return its new path.

        Raises:
            StateError: that path exists already.
            CommandFailed, ProtocolError, BuildError: it cannot be copied.
        """
        wanted = parse_copy_out(path, into)
        bringing.bring(self._workspace, self._paths, wanted, report)
        return wanted.target

    def screenshot(self, path: Path) -> tuple[int, int]:
        """Save the machine's screen as a PNG file; return its width and height. Raises as `pommel.screenshot`."""
        return hands.screenshot(self.name, path, workspace=self._workspace)


@contextlib.contextmanager
def throwaway(
    image: str,
    *,
    memory: str | None = None,
    pooled: bool = True,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> Iterator[ThrowawayMachine]:
    """A new linked clone of `image` (a stopped machine, or NAME:TAG) that runs and answers SSH during the block.

    With `pooled`, a warm machine of the pool is used if there is one. The clone ends with this process, even after a
    kill; then the next such call, `pommel run` or `pommel list` deletes its files.

    Raises:
        UsageError, StateError: `image` does not exist, runs, or cannot have linked clones.
        MachineError, DeadlineError: the clone does not start, or its SSH does not answer.
    """
    workspace = workspace or Workspace.current()
    holding.sweep(workspace, report=report)
    made = base.resolve(workspace, image, report=report)
    flags = {"memory": memory} if memory is not None else None
    with obtaining.machine(workspace, made, flags, pooled=pooled, report=report) as found:
        found.start()
        starting.send(workspace, found.paths, {})
        yield ThrowawayMachine(found.paths.name, found.from_memory, workspace, found.paths)
