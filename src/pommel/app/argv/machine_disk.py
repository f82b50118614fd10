"""Choose a machine's disks: its own or an existing one, and copies of the upstream's other drives. Band: app.

An empty disk never takes the place of a disk with data unless the user says so; and without the user's word nothing is
copied from or written to a disk of the host. For a disk that is used in place, the machine's folder has a link, so that
all code that handles the machine's disks finds it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pommel import texts
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import StateError, UpstreamError
from pommel.machine import moved, own_disks, readconfig
from pommel.machine.commandline import CommandLine
from pommel.machine.copying import copy_whole
from pommel.machine.disk_choice import WantedDisk, wanted_disk
from pommel.machine.disk_contents import facts_of
from pommel.machine.disk_facts import DiskFacts
from pommel.machine.record import MachineRecord
from pommel.machine.spec import MachineSpec
from pommel.machine.upstream_files import Named, UpstreamFiles, files_in
from pommel.paths import MachinePaths
from pommel.progress import Report
from pommel.settings import format_size

_CONFIG_MAX = 1 << 20  # bytes of a -readconfig file
_NO_COPY = 'set upstream_drives = "upstream" to use it in place, or "none" to leave it out'


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """A machine's disk. `target` is a disk that is used in place; None: the machine has a file of its own.

    `refusal` is set if no machine can be made like this: the upstream's disk has data, and no setting says what to do.
    """

    path: str
    format: str = "qcow2"
    reason: str = ""
    target: Path | None = None
    has_macos: bool = False
    refusal: StateError | None = None


def read_configs(line: CommandLine, folder: Path) -> CommandLine:
    """Put the contents of -readconfig files into the line; relative ones are relative to `folder`.

    Raises:
        UpstreamError: one cannot be read or understood.
    """

    def read(name: str) -> str:
        path = folder / name
        try:
            return texts.read_text(path, error=UpstreamError, most=_CONFIG_MAX)
        except UpstreamError as failure:
            raise UpstreamError(f"-readconfig {name}: {failure.message}", hint=failure.hint) from failure

    return readconfig.expanded(line, read)


def look(line: CommandLine, folder: str) -> dict[str, DiskFacts]:
    """The facts about the files that the command line's drives name, by path."""
    return {path: facts_of(path, form) for path, form in files_in(line, folder).items() if path}


def drive_named(workspace: Workspace, spec: MachineSpec, line: CommandLine, folder: str) -> str | None:
    """The upstream's drive that `disk_file` names as the machine's, by id or file; None: it names none."""
    wanted = wanted_disk(spec.disk_file)
    if wanted.kind == "path" and (path := str(_path(workspace, spec, wanted))) in files_in(line, folder):
        return path
    return wanted.drive


def plan(
    workspace: Workspace,
    spec: MachineSpec,
    files: UpstreamFiles,
    facts: Mapping[str, DiskFacts],
    kept: MachineRecord | None,
) -> DiskPlan:
    """The disk that machine `spec.name` has, or will have when it is made. `kept` is the record of an existing machine.

    Raises:
        StateError: `disk_file` names a disk that does not exist, or another disk than the machine was made with.
    """
    paths, wanted = workspace.paths(spec.name), wanted_disk(spec.disk_file)
    if spec.upstream == TRIAL and wanted.kind in ("unsaid", "own"):
        return DiskPlan(str(paths.disk))
    target = _target(workspace, spec, wanted, files)
    if kept is not None:
        return _of_made(paths, kept, wanted, target)
    if target is not None:
        return _in_place(target, wanted, files, facts)
    refusal = None
    if wanted.kind == "unsaid" and files.disk and (seen := facts.get(files.disk)):
        refusal = _used(spec.name, files.disk, seen)
    return DiskPlan(str(paths.disk), refusal=refusal)


def copies(spec: MachineSpec, paths: MachinePaths, files: UpstreamFiles, facts: Mapping[str, DiskFacts]) -> list[Named]:
    """The upstream's other drives of which the machine has copies, or gets copies at the next start.

    Raises:
        StateError: one of them is not a file, and no setting allows to use it in place.
    """
    found = [each for each in files.further if each.needs_copy] if spec.upstream_drives == "copy" else []
    for each in found:
        seen = facts.get(each.file)
        if seen is not None and seen.kind in ("device", "network") and not _is_copied(paths, each):
            what = "a disk of this host" if seen.kind == "device" else "not a file of this host"
            raise StateError(
                f"the boot script's drive {each.text} is {each.file}, {what}, which is not copied", hint=_NO_COPY
            )
    return found


def copy_missing(paths: MachinePaths, wanted: Sequence[Named], *, encrypted: bool = False, report: Report) -> None:
    """Make the missing copies of the upstream's other drives. The caller holds the machine's lock.

    The copies of an `encrypted` machine are encrypted too, with the key of `passphrase.with_key`.

    Raises:
        StateError: one does not exist.
        BuildError: there is too little room, or it is in use.
    """
    for each in wanted:
        if _is_copied(paths, each):
            continue
        if not each.file or not Path(each.file).exists():
            hint = 'put it there, or set upstream_drives = "none" to leave it out'
            raise StateError(
                f"the boot script's drive {each.text} is {each.file or 'empty'}, which does not exist", hint=hint
            )
        target = own_disks.data_path(paths, each.key)
        copy_whole(Path(each.file), target, form=each.format, encrypted=encrypted, report=report)


def copy_paths(paths: MachinePaths, wanted: Sequence[Named]) -> dict[str, str]:
    """The paths of the machine's copies of the upstream's other drives, by key."""
    return {each.key: str(own_disks.data_path(paths, each.key)) for each in wanted}


def steps(paths: MachinePaths, wanted: Sequence[Named]) -> list[tuple[str, str, bool]]:
    """The steps of `copy_missing`: the action, the target, and whether it is still to be done."""
    found = []
    for each in wanted:
        target = own_disks.data_path(paths, each.key)
        found.append((f"copy the upstream's drive {each.file}", str(target), not target.exists()))
    return found


def link(aside: Path, paths: MachinePaths, target: Path) -> None:
    """In the new machine's folder `aside`, make a link to the disk `target`, which is used in place."""
    (aside / paths.disk.name).symlink_to(target)


def _is_copied(paths: MachinePaths, each: Named) -> bool:
    return own_disks.data_path(paths, each.key).exists()


def _path(workspace: Workspace, spec: MachineSpec, wanted: WantedDisk) -> Path:
    return Path(os.path.normpath(workspace.beside(spec.name, wanted.path or "")))


def _target(workspace: Workspace, spec: MachineSpec, wanted: WantedDisk, files: UpstreamFiles) -> Path | None:
    if wanted.kind == "path":
        return _path(workspace, spec, wanted)
    if wanted.kind != "upstream":
        return None
    if not files.disk:
        raise StateError('disk_file is "upstream", but the boot script has no disk for the machine')
    if not files.disk.startswith("/"):
        raise StateError(
            f'disk_file is "upstream", and the boot script\'s disk is {files.disk}, which is not a file of this host',
            hint='mount it or map it to a device, and set disk_file to its path; or set disk_file = "own"',
        )
    return Path(files.disk)


def _of_made(paths: MachinePaths, kept: MachineRecord, wanted: WantedDisk, target: Path | None) -> DiskPlan:
    """The disk that an existing machine was made with, which it keeps."""
    linked = paths.disk.is_symlink()
    there = Path(os.path.realpath(paths.disk))
    was_moved = there in moved.own_files(paths.directory)  # `disk move` put it on another drive; it is still its own
    other = wanted.kind == "own" and linked and not was_moved
    if target is not None:
        other = not (linked and there == Path(os.path.realpath(target)))
    if other:
        said = target or "a new one"
        raise StateError(
            f"{paths.name} was created with the disk {there}, but disk_file now says {said}",
            hint="remove disk_file from pommel.toml, or create a new machine from the other disk: pommel adopt",
        )
    if linked and not there.exists():
        raise StateError(
            f"{paths.name} uses the disk {there} in place, but it does not exist",
            hint=f"connect the drive or put the file back; or delete the machine: pommel delete {paths.name}",
        )
    reason = f"the disk {there}, used in place" if linked else ""
    # The real path and not the link: QEMU resolves a backing file's relative name from the folder of the path it gets.
    return DiskPlan(
        str(there if linked else paths.disk), kept.disk_format or "qcow2", reason, there if linked else None
    )


def _in_place(target: Path, wanted: WantedDisk, files: UpstreamFiles, facts: Mapping[str, DiskFacts]) -> DiskPlan:
    is_upstreams = str(target) == files.disk
    seen = facts.get(str(target)) or facts_of(str(target), files.disk_format if is_upstreams else None)
    if seen.kind == "missing" or not target.exists():
        raise StateError(
            f"disk_file is {target}, but there is no such disk", hint='to create a new disk: disk_file = "own"'
        )
    if not os.access(target, os.R_OK | os.W_OK):
        raise StateError(
            f"disk_file is {target}, but you have no permission to write to it",
            hint=f"sudo chown {os.geteuid()} {shlex.quote(str(target))}" if target.is_file() else "join the group disk",
        )
    word = "upstream" if wanted.kind == "upstream" else wanted.path
    reason = f'asked for: disk_file = "{word}"; the disk {target}, used in place'
    return DiskPlan(str(target), seen.format or "raw", reason, target, seen.apple)


def _used(name: str, path: str, seen: DiskFacts) -> StateError | None:
    """Why the upstream's disk must not be replaced by an empty one; None: it has no data."""
    if seen.kind == "missing" or (seen.kind == "file" and not seen.holds_data):
        return None
    size = f"{format_size(seen.virtual_bytes)}, " if seen.virtual_bytes else ""
    what = "macOS is on it" if seen.apple else "there is data on it"
    if seen.kind == "device":
        what = "a disk of this host"
    elif seen.kind == "network":
        what = "not a file of this host"
    elif seen.problem:
        what = seen.problem
    ways = ['disk_file = "own" gives the machine an empty disk']
    if seen.kind != "network":
        ways = [f"pommel adopt {path} --name {name}", 'disk_file = "upstream" uses it in place', *ways]
    return StateError(
        f"the boot script's disk is {path} ({size}{what}), but {name} would get an empty disk instead",
        hint=f"choose one: {'; or '.join(ways)}",
    )
