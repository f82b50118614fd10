"""The folders of this host that are shared with machines. Band: app.

They are in pommel.toml (`shares`) or were added by command (`pommel share`). At each start, QEMU gets the address of
the file server for its guest. The server reads the list of folders at each connection, so folders can be added and
removed while the machine runs. A folder by 9p is a device of QEMU, which changes only at a start.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pommel import trust
from pommel.app.network import reach
from pommel.app.share import folder as share_folder
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import ConfigError, MachineError, PommelError
from pommel.host import samba
from pommel.machine import share_connections, shares, shares_added, state
from pommel.machine.rules.shares import NinePDevice
from pommel.machine.shares import NINE_P, Share
from pommel.machine.shares import SMB as SMB
from pommel.machine.shares import WAYS as WAYS
from pommel.machine.spec import MachineSpec
from pommel.paths import MachinePaths

SETTINGS, ADDED = "settings", "added"
TAKEN_BACK = "taken back"  # a folder by 9p that is not wanted any more, but the running QEMU still has it


@dataclass(frozen=True, slots=True)
class RequestedShares:
    """The wanted shares, those of the settings first. `origins` says where each is from."""

    shares: tuple[Share, ...] = ()
    origins: Mapping[Share, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShareRow:
    """One folder.

    `live`: the running guest can use it now; `problem`: why it cannot be shared, if there is a reason.
    """

    share: str  # its name in the guest
    host_folder: str
    guest_folder: str
    by: str  # smb or 9p
    read_only: bool
    origin: str  # settings, added or taken back
    live: bool
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Shares:
    """The folders of a machine, and the number of its guest's connections to them."""

    name: str
    state: str
    shares: tuple[ShareRow, ...]
    connections: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The folders as one JSON object."""
        return {**asdict(self), "shares": list(map(asdict, self.shares))}


def requested(workspace: Workspace, spec: MachineSpec) -> RequestedShares:
    """The shares wanted for machine `spec.name`, by its settings and by command.

    Raises:
        ConfigError: two have the same name.
        MachineError: the file of those added by command cannot be read.
    """
    more, said = shares_added.load(workspace.paths(spec.name)), tuple(map(shares.parse_share, spec.shares))
    found = RequestedShares(
        tuple(dict.fromkeys((*said, *more))), dict.fromkeys(more, ADDED) | dict.fromkeys(said, SETTINGS)
    )
    by_name: dict[str, Share] = {}
    for each in found.shares:
        if by_name.setdefault(each.key, each) != each:
            raise ConfigError(
                f"{by_name[each.key].folder} and {each.folder} are both shared with {spec.name} as {each.name}"
                + ("; the second by command" if found.origins[each] == ADDED else ""),
                hint=give_up(spec.name, found.origins[each], each),
            )
    return found


def placed(workspace: Workspace, spec: MachineSpec) -> dict[str, Any]:
    """The values for the share rules, by the field names of `Placement`.

    Raises:
        ConfigError, MachineError: as `asked`.
    """
    wanted = requested(workspace, spec).shares
    problems = _problems(workspace, spec, wanted)
    told: dict[str, Any] = {"nine": tuple(_by_device(workspace, spec, wanted, problems))}
    by_smb = tuple(each for each in wanted if each.by == SMB)
    if not samba.is_there():
        problems |= {each: f"smbd or bubblewrap is missing; {samba.how_to_install()}" for each in by_smb[:1]}
        problems = {each: why for each, why in problems.items() if each not in by_smb[1:]}
    else:
        live = workspace.paths(spec.name).directory / shares_added.LIVE
        told["shares"] = by_smb
        told["share_command"] = (sys.executable, "-I", "-S", str(shares_added.PROGRAM), str(live))
    return {**told, "share_notes": tuple(f"share {each}: {problem}" for each, problem in problems.items())}


def serve(workspace: Workspace, spec: MachineSpec) -> tuple[Share, ...]:
    """Write the list of SMB shares for the guest's next connection, without those that have a problem; return it.

    Folders that a guest may write to by 9p are marked: Pommel then trusts no file in them.

    Raises:
        ConfigError, MachineError: as `asked`; or the disk is full, or a folder cannot be marked.
        MissingProgram: a share by SMB is wanted, and Samba is not installed.
    """
    paths, wanted = workspace.paths(spec.name), requested(workspace, spec).shares
    problems = _problems(workspace, spec, wanted)
    for share, folder in _by_device(workspace, spec, wanted, problems):
        if not share.read_only:
            mark(folder)
    told = [(each, _folder(workspace, spec, each)) for each in wanted if each.by == SMB and each not in problems]
    if not told:
        shares_added.serve(paths, [])
        return ()
    smbd = samba.find()
    served = [share for share, _ in told]
    shares_added.serve(
        paths,
        told,
        sandbox=shares.sandbox(smbd.bwrap, samba.roots()),
        smbd=[smbd.path, "-s", shares.CONF, "-l", shares.STATE],
        files={
            "/etc/passwd": shares.PASSWD,
            "/etc/group": shares.GROUP,
            "/etc/nsswitch.conf": shares.NSSWITCH,
            shares.CONF: shares.smb_conf(served, for_macs=smbd.for_macs),
        },
    )
    return tuple(served)


def in_qemu(workspace: Workspace, spec: MachineSpec) -> tuple[Share, ...]:
    """The wanted shares by 9p that the running QEMU has in the same form."""
    there = devices(workspace, spec.name)
    return tuple(each for each in requested(workspace, spec).shares if _device(workspace, spec, each) in there)


def devices(workspace: Workspace, name: str) -> tuple[NinePDevice, ...]:
    """The folders that the QEMU of machine `name` serves by 9p; none if it does not run."""
    paths = workspace.paths(name)
    return reach.kept(paths).nine if state.observe(paths).alive else ()


def listed(name: str, *, workspace: Workspace | None = None) -> Shares:
    """The folders of machine `name`.

    Raises:
        StateError: it has not been made.
        ConfigError, MachineError: as `asked`.
    """
    workspace = workspace or Workspace.current()
    spec, paths = workspace.spec(name), workspace.made(name)
    seen, wanted = state.observe(paths), requested(workspace, spec)
    nine = devices(workspace, name)
    if not wanted.shares and not nine:
        return Shares(name, str(seen.state), ())
    problems, served = _problems(workspace, spec, wanted.shares), shares_added.served(paths)
    way = seen.alive and bool(reach.kept(paths).shares)
    rows = [
        ShareRow(
            each.name,
            str(workspace.beside(name, each.folder)),
            folder_in_guest(spec, each),
            each.by,
            each.read_only,
            wanted.origins[each],
            (_device(workspace, spec, each) in nine if each.by == NINE_P else way and each in served)
            and each not in problems,
            problems.get(each),
        )
        for each in wanted.shares
    ]
    still = [_device(workspace, spec, each) for each in wanted.shares]
    rows += [_left(each, name) for each in nine if each not in still]
    open_ = len(share_connections.sandboxes(paths)) if way else 0
    return Shares(name, str(seen.state), tuple(rows), open_)


def folder_in_guest(spec: MachineSpec, each: Share) -> str:
    """The mount point in the guest. A Mac mounts by 9p only by hand, so there it is a guess."""
    return f"{'/mnt' if spec.upstream == TRIAL or each.by == NINE_P else '/Volumes'}/{each.name}"


def give_up(name: str, origin: str, each: Share) -> str:
    """What to type or change so that a wanted folder is not shared any more."""
    if origin == ADDED:
        return f"pommel unshare {name} {each.name}"
    return f"change shares in [machine.{name}] (pommel config {name} says where that is)"


def _folder(workspace: Workspace, spec: MachineSpec, each: Share) -> str:
    return str(share_folder.had(workspace, spec, each))


def _by_device(
    workspace: Workspace, spec: MachineSpec, wanted: tuple[Share, ...], problems: Mapping[Share, str]
) -> Iterator[tuple[Share, str]]:
    """The wanted shares by 9p without a problem, each with its real path."""
    for each in wanted:
        if each.by == NINE_P and each not in problems:
            yield each, _folder(workspace, spec, each)


def mark(folder: str) -> None:
    """Mark a folder as writable for a guest by 9p, so that `trust` refuses files in it.

    Raises:
        MachineError: it cannot be marked.
    """
    try:
        trust.mark_as_guests(Path(folder))
    except OSError as failure:
        raise MachineError(
            f"{folder} is not shared by 9p: it cannot be marked as a guest's: {failure.strerror}",
            hint="share it by SMB, or --read-only",
        ) from failure


def _device(workspace: Workspace, spec: MachineSpec, each: Share) -> NinePDevice | None:
    """The QEMU device of a share by 9p; None: the share is by SMB."""
    if each.by != NINE_P:
        return None
    return NinePDevice(each.name, os.path.realpath(workspace.beside(spec.name, each.folder)), each.read_only)


def _left(each: NinePDevice, name: str) -> ShareRow:
    """A folder by 9p that was removed or changed, but that QEMU serves until it ends."""
    why = f"its guest can use it until: pommel restart {name}"
    return ShareRow(each.name, each.folder, f"/mnt/{each.name}", NINE_P, each.read_only, TAKEN_BACK, True, why)


def _problems(workspace: Workspace, spec: MachineSpec, wanted: tuple[Share, ...]) -> dict[Share, str]:
    """The shares that cannot be used now, each with the reason."""
    found = {}
    for each in wanted:
        try:
            _folder(workspace, spec, each)
        except PommelError as why:
            found[each] = why.message
    return found


def checks(workspace: Workspace, spec: MachineSpec) -> Iterator[tuple[str, Literal["ok", "warn"], str, str | None]]:
    """For the doctor: whether this host can share folders, and whether each wanted folder can be used and is live."""
    paths = workspace.paths(spec.name)
    wanted = requested(workspace, spec).shares
    yield from _server_checks(spec, any(each.by == SMB for each in wanted))
    told = listed(spec.name, workspace=workspace).shares if paths.record.exists() else ()
    alive = paths.record.exists() and state.observe(paths).alive
    for row in told:
        if row.problem is not None:
            fix = f"pommel restart {spec.name}" if row.origin == TAKEN_BACK else f"pommel share {spec.name}"
            yield "shares", "warn", f"share {row.share}: {row.problem}", fix
        elif alive and not row.live:
            yield "shares", "warn", f"share {row.share} is set, but does not work yet", f"pommel restart {spec.name}"
        else:
            by = ", by 9p" if row.by == NINE_P else ""
            yield "shares", "ok", f"share {row.share}: {row.host_folder}" + by + (", live" if row.live else ""), None


def _server_checks(spec: MachineSpec, wanted: bool) -> Iterator[tuple[str, Literal["ok", "warn"], str, str | None]]:
    """For the doctor: whether this host has the programs for SMB."""
    try:
        smbd = samba.find()
    except PommelError as missing:
        if wanted:
            yield "shares", "warn", missing.message, missing.hint
        else:
            yield "shares", "ok", f"none by SMB; {missing.message} (pommel share needs it)", None
        return
    yield "shares", "ok", f"smbd {smbd.version}, in a sandbox of its own for each connection", None
    if not smbd.for_macs and spec.upstream != TRIAL:
        text = "smbd has no vfs_fruit: a Mac leaves ._ files in what it shares"
        yield "shares", "warn", text, "install Samba's modules (samba-vfs-modules on Debian and Ubuntu)"


def way_of(paths: MachinePaths) -> str:
    """The address of the file server for the running guest; empty: its QEMU was started without one."""
    return reach.kept(paths).shares


def has_way(paths: MachinePaths) -> bool:
    """Whether the running guest can mount folders: from a file server, or from 9p devices."""
    return bool(way_of(paths) or reach.kept(paths).nine)
