"""Copy a file or folder out of a guest to this host, completely or not at all. Band: app.

The copy is first written to a temporary folder beside its target. The path of this folder is noted in the machine's
folder before it is created. So the command that deletes the machine of a killed command also deletes this folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from pommel import json_file, process, trees
from pommel.app.throwaway import archives, starting
from pommel.app.throwaway.job import CopyOut, sending
from pommel.app.workspace import Workspace
from pommel.errors import BuildError, ProtocolError, StateError
from pommel.paths import MachinePaths
from pommel.progress import Report

_SLACK_BYTES = 256 << 20  # of the host's disk that must stay free when a guest's files are copied out
_NOTE = "copy-out.json"
_RANDOM_BYTES = 8
_ASIDE = re.compile(r"\.pommel-copy-out\.[0-9a-f]{16}\Z")


def bring(workspace: Workspace, paths: MachinePaths, wanted: CopyOut, report: Report) -> None:
    """Copy a file or folder out of the guest, completely or not at all.

    Raises:
        StateError: the target exists already.
        CommandFailed, ProtocolError, BuildError: the guest does not send it, or it cannot be written.
    """
    argv = starting.call(workspace, paths, sending(wanted.path))
    try:
        wanted.into.mkdir(parents=True, exist_ok=True)
        room = max(0, shutil.disk_usage(wanted.into).free - _SLACK_BYTES)
        with _aside(paths, wanted.into) as aside:
            unpack = partial(archives.unpack, into=aside, most_bytes=room, report=report)
            process.drain(argv, unpack, timeout_s=starting.COPY_S)
            made = aside / PurePosixPath(wanted.path).name
            if not os.path.lexists(made):
                raise ProtocolError(f"the guest did not send {wanted.path}")
            refuse_taken(wanted)
            made.rename(wanted.target)
    except OSError as failure:
        raise BuildError(f"{wanted.target} cannot be written: {failure}") from failure


def refuse_taken(wanted: CopyOut) -> None:
    """Check that no file of the user would be overwritten.

    Raises:
        StateError: the target exists already.
    """
    if os.path.lexists(wanted.target):
        raise StateError(
            f"{wanted.target} exists already, and would be overwritten",
            hint=f"move it away, or give another folder: --copy-out {wanted.path}=FOLDER",
        )


def sweep(paths: MachinePaths) -> None:
    """Delete the incomplete copy of a killed command."""
    folder = json_file.read_or(paths.directory / _NOTE, lambda told: Path(told["folder"]), None)
    if folder is not None and folder.is_absolute() and _ASIDE.match(folder.name):
        trees.drop(folder)


@contextlib.contextmanager
def _aside(paths: MachinePaths, into: Path) -> Iterator[Path]:
    """Create an empty folder in `into`, and delete it after the block."""
    folder = into.absolute() / f".pommel-copy-out.{os.urandom(_RANDOM_BYTES).hex()}"
    note = paths.directory / _NOTE
    json_file.write(note, {"folder": str(folder)})
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        note.unlink(missing_ok=True)
