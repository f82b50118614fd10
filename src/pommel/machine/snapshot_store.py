"""The folder of a machine's snapshots: records, NVRAM copies, and the note of an unfinished load. Band: shell.

    snapshots/TAG/snapshot.json, nvram.fd    a complete snapshot
    snapshots/.TAG.building.*                an incomplete one, or one being deleted; after a kill it is removed
    snapshots/.loading.json                  a load that has begun and not ended

A snapshot exists once its folder has its name, whatever the disks contain.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pommel import json_file
from pommel.errors import MachineError, StateError
from pommel.machine.snapshot_record import Snapshot, parse, render
from pommel.paths import MachinePaths, build_aside, write_atomic

_RECORD = "snapshot.json"
_MARK = ".building."


@dataclass(frozen=True, slots=True)
class Loading:
    """An unfinished load of `tag`; `safety` is the snapshot of the state before. `live`: by a running QEMU.

    `ran`: whether the guest of a live one ran before. The guest is paused from before this note until after it, so that
    it cannot have written anything meanwhile. None: it was not paused (a note of an earlier version).
    """

    tag: str
    safety: str
    live: bool
    ran: bool | None = None


def folder(paths: MachinePaths) -> Path:
    """The folder of the machine's snapshots."""
    return paths.directory / "snapshots"


def tags(paths: MachinePaths) -> list[str]:
    """The tags of the complete snapshots, in order."""
    return sorted(path.parent.name for path in folder(paths).glob(f"[!.]*/{_RECORD}"))


def read(paths: MachinePaths, tag: str) -> Snapshot:
    """Read the record of snapshot `tag`.

    Raises:
        StateError: it does not exist.
        MachineError: it cannot be used.
    """
    path = folder(paths) / tag / _RECORD
    try:
        return parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError as gone:
        raise StateError(
            f"{paths.name} has no snapshot {tag}", hint=f"to list them: pommel snapshot list {paths.name}"
        ) from gone
    except (OSError, ValueError) as wrong:
        raise MachineError(f"{path} cannot be used: {wrong}") from wrong


def nvram_of(paths: MachinePaths, tag: str) -> Path:
    """The path of the firmware's variables of snapshot `tag`."""
    return folder(paths) / tag / paths.nvram.name


@contextlib.contextmanager
def making(paths: MachinePaths, tag: str) -> Iterator[Path]:
    """An empty folder that becomes the one of snapshot `tag` if the block succeeds; write the record into it."""
    with build_aside(folder(paths) / tag) as aside:
        yield aside


def write_record(into: Path, snapshot: Snapshot) -> None:
    """Write the record into the folder of an incomplete snapshot."""
    write_atomic(into / _RECORD, render(snapshot))


def condemn(paths: MachinePaths, tag: str) -> None:
    """Remove the name of snapshot `tag` in one step; `half_made` lists it until `forget`."""
    doomed = folder(paths) / f".{tag}{_MARK}deleted"
    shutil.rmtree(doomed, ignore_errors=True)
    (folder(paths) / tag).rename(doomed)


def half_made(paths: MachinePaths) -> set[str]:
    """The tags that the disks may contain without a complete snapshot: their making or deletion was interrupted."""
    found = {path.name[1:].rpartition(_MARK)[0] for path in folder(paths).glob(f".*{_MARK}*")}
    return found - set(tags(paths))


def forget(paths: MachinePaths) -> None:
    """Remove the folders of the tags in `half_made`, once the disks do not contain these tags."""
    for left in folder(paths).glob(f".*{_MARK}*"):
        shutil.rmtree(left, ignore_errors=True)


def begin_load(paths: MachinePaths, loading: Loading) -> None:
    """Note that a load begins."""
    json_file.write(_journal(paths), asdict(loading))


def loading(paths: MachinePaths) -> Loading | None:
    """The load that has begun and not ended, if there is one.

    Raises:
        MachineError: the note cannot be read.
    """
    try:
        return Loading(**json.loads(_journal(paths).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as wrong:
        raise MachineError(f"{_journal(paths)} cannot be used: {wrong}") from wrong


def end_load(paths: MachinePaths) -> None:
    """Note that the load has ended, with or without success."""
    _journal(paths).unlink(missing_ok=True)


def _journal(paths: MachinePaths) -> Path:
    return folder(paths) / ".loading.json"
