"""The job of a throw-away machine: checks of its arguments, and the script for its guest. Band: core, no I/O."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pommel.errors import UsageError

WORK = "pommel-run"  # the command's working folder, in the guest's home folder
OURS = ".pommel-run"  # the folder for Pommel's own files, also there
SCRIPT, STATUS = f"{OURS}/script", f"{OURS}/status"
FAILED = 125  # exit status for a failure of Pommel itself, as in docker-run(1)
TIMED_OUT = 124  # exit status as in timeout(1)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class CopyOut:
    """A file or folder to copy out: its path in the guest, relative to the work folder, and the folder on this host."""

    path: str
    into: Path

    @property
    def target(self) -> Path:
        """Its path on this host."""
        return self.into / PurePosixPath(self.path).name


@dataclass(frozen=True, slots=True)
class Job:
    """A command for a throw-away machine. Times in seconds; None: no limit."""

    command: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    copy_in: Path | None = None
    copy_out: tuple[CopyOut, ...] = ()
    timeout_s: float | None = None
    memory: str | None = None
    keep_on_failure: bool = False
    pooled: bool = True  # a warm machine may be taken

    @property
    def flags(self) -> dict[str, str] | None:
        """The settings for its machine from the command line."""
        return {"memory": self.memory} if self.memory is not None else None


def parse_variables(words: Sequence[str], present: Mapping[str, str]) -> dict[str, str]:
    """Read NAME=VALUE, or NAME for a variable that is `present` here.

    Raises:
        UsageError: a name is not valid for a variable, a value has a null byte, or NAME is not set here.
    """
    found = {}
    for word in words:
        name, given, value = word.partition("=")
        if not _NAME.match(name):
            raise UsageError(f"{name!r} is not a valid name of a variable", hint="--env NAME=VALUE")
        if not given and name not in present:
            raise UsageError(f"the variable {name} is not set here", hint=f"--env {name}=VALUE")
        found[name] = value if given else present[name]
        if "\0" in found[name]:
            raise UsageError(f"the value of {name} has a null byte")
    return found


def parse_copy_out(word: str, here: Path) -> CopyOut:
    """Read PATH or PATH=FOLDER: PATH in the guest is copied into FOLDER on this host, or into `here`.

    Raises:
        UsageError: PATH cannot be the path of a file or folder.
    """
    path, _, folder = word.partition("=")
    if not PurePosixPath(path).name or PurePosixPath(path).name == ".." or "\0" in path:
        raise UsageError(f"{path!r} does not name a file or a folder of the guest", hint="--copy-out build/app.dmg")
    return CopyOut(path, here / folder)


def script(job: Job) -> str:
    """The script for the guest's sh: it runs the command in the work folder, and writes its status to a file.

    The file is needed because ssh's status 255 may mean a lost connection or the command's own 255 (ssh(1)).
    """
    lines = [f'cd "$HOME/{WORK}" || exit {FAILED}']
    lines += [f"export {name}={shlex.quote(value)}" for name, value in job.variables.items()]
    lines += [
        shlex.join(job.command),
        "status=$?",
        f'echo "$status" >"$HOME/{STATUS}.new" && mv "$HOME/{STATUS}.new" "$HOME/{STATUS}"',
        'exit "$status"',
    ]
    return "\n".join(lines) + "\n"


def sending(path: str) -> str:
    """The guest's command that writes an archive of `path`, relative to the work folder."""
    where, name = PurePosixPath(path).parent, shlex.quote(f"./{PurePosixPath(path).name}")
    return f"cd {WORK} && cd -- {shlex.quote(str(where))} && exec tar --format=ustar -cf - {name}"
