"""Folders of this host that machines see: which are asked for, and what of them the guest gets. Band: app.

They are asked for in pommel.toml (`shares`) or by command (`pommel share`). QEMU is told at each start where its
guest's file server is to be; what that serves is read at each connection, so that a folder is added and taken back
while the machine runs. A folder by 9p is a device of QEMU's, which comes and goes with a start.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pommel import trust
from pommel.app import reach, share_folder
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import ConfigError, MachineError, PommelError
from pommel.host import samba
from pommel.machine import share_connections, shares, shares_added, state
from pommel.machine.rules.shares import Device
from pommel.machine.shares import NINE_P, Share
from pommel.machine.shares import SMB as SMB
from pommel.machine.shares import WAYS as WAYS
from pommel.machine.spec import MachineSpec
from pommel.paths import MachinePaths

SETTINGS, ADDED = "settings", "added"
TAKEN_BACK = "taken back"  # of a folder by 9p that nobody asks for, and that the running QEMU has


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for, settings first; `origins` says of each by whom."""

    shares: tuple[Share, ...] = ()
    origins: Mapping[Share, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One folder. `live`: the running guest can have it now; `problem`: why it cannot be had, if so."""

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
    """The folders of a machine, and how many connections its guest has to them."""

    name: str
    state: str
    shares: tuple[Row, ...]
    connections: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The folders as one JSON object."""
        return {**asdict(self), "shares": list(map(asdict, self.shares))}


def asked(workspace: Workspace, spec: MachineSpec) -> Asked:
    """What is asked for machine `spec.name`, by its settings and by command.

    Raises:
        ConfigError: two have one name.
        MachineError: what was shared cannot be read.
    """
    more, said = shares_added.load(workspace.paths(spec.name)), tuple(map(shares.parse_share, spec.shares))
    found = Asked(tuple(dict.fromkeys((*said, *more))), dict.fromkeys(more, ADDED) | dict.fromkeys(said, SETTINGS))
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
    """What the rules are told of it, by the placement's names.

    Raises:
        ConfigError, MachineError: as `asked`.
    """
    wanted = asked(workspace, spec).shares
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
    """Have the guest's next connection get what is asked for by SMB, as far as it can be had; return that.

    Of what a guest may write in by 9p is said on this host that it may: nothing in it decides what Pommel does.

    Raises:
        ConfigError, MachineError: as `asked`; or the disk is full, or takes no mark.
        MissingProgram: something is asked for, and Samba is not installed.
    """
    paths, wanted = workspace.paths(spec.name), asked(workspace, spec).shares
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
    """What is asked for by 9p and the running QEMU has just so."""
    there = devices(workspace, spec.name)
    return tuple(each for each in asked(workspace, spec).shares if _device(workspace, spec, each) in there)


def devices(workspace: Workspace, name: str) -> tuple[Device, ...]:
    """The folders that the QEMU of machine `name` serves by 9p; none where it does not run."""
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
    seen, wanted = state.observe(paths), asked(workspace, spec)
    nine = devices(workspace, name)
    if not wanted.shares and not nine:
        return Shares(name, str(seen.state), ())
    problems, served = _problems(workspace, spec, wanted.shares), shares_added.served(paths)
    way = seen.alive and bool(reach.kept(paths).shares)
    rows = [
        Row(
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
    """Where the guest has it mounted. What a Mac mounts by 9p is mounted by hand, wherever that is."""
    return f"{'/mnt' if spec.upstream == TRIAL or each.by == NINE_P else '/Volumes'}/{each.name}"


def give_up(name: str, origin: str, each: Share) -> str:
    """What to do to be rid of a folder that was asked for."""
    if origin == ADDED:
        return f"pommel unshare {name} {each.name}"
    return f"change shares in [machine.{name}] (pommel config {name} says where that is)"


def _folder(workspace: Workspace, spec: MachineSpec, each: Share) -> str:
    return str(share_folder.had(workspace, spec, each))


def _by_device(
    workspace: Workspace, spec: MachineSpec, wanted: tuple[Share, ...], problems: Mapping[Share, str]
) -> Iterator[tuple[Share, str]]:
    """What is asked for by 9p and can be had, with its real path."""
    for each in wanted:
        if each.by == NINE_P and each not in problems:
            yield each, _folder(workspace, spec, each)


def mark(folder: str) -> None:
    """Say of a folder that a guest may write in it by 9p, for `trust` to know.

    Raises:
        MachineError: it takes no mark.
    """
    try:
        trust.mark_as_guests(Path(folder))
    except OSError as failure:
        raise MachineError(
            f"{folder} is not shared by 9p: it cannot be marked as a guest's: {failure.strerror}",
            hint="share it by SMB, or --read-only",
        ) from failure


def _device(workspace: Workspace, spec: MachineSpec, each: Share) -> Device | None:
    """How QEMU has a folder that is asked for by 9p."""
    if each.by != NINE_P:
        return None
    return Device(each.name, os.path.realpath(workspace.beside(spec.name, each.folder)), each.read_only)


def _left(each: Device, name: str) -> Row:
    """A folder that was taken back, or is asked for otherwise by now, and that QEMU cannot give up while it runs."""
    why = f"its guest can have it until: pommel restart {name}"
    return Row(each.name, each.folder, f"/mnt/{each.name}", NINE_P, each.read_only, TAKEN_BACK, True, why)


def _problems(workspace: Workspace, spec: MachineSpec, wanted: tuple[Share, ...]) -> dict[Share, str]:
    """Which of them cannot be had now, and why."""
    found = {}
    for each in wanted:
        try:
            _folder(workspace, spec, each)
        except PommelError as why:
            found[each] = why.message
    return found


def checks(workspace: Workspace, spec: MachineSpec) -> Iterator[tuple[str, Literal["ok", "warn"], str, str | None]]:
    """For the doctor: whether this host can share, and whether each folder that is asked for can be had and is live."""
    paths = workspace.paths(spec.name)
    wanted = asked(workspace, spec).shares
    yield from _server_checks(spec, any(each.by == SMB for each in wanted))
    told = listed(spec.name, workspace=workspace).shares if paths.record.exists() else ()
    alive = paths.record.exists() and state.observe(paths).alive
    for row in told:
        if row.problem is not None:
            fix = f"pommel restart {spec.name}" if row.origin == TAKEN_BACK else f"pommel share {spec.name}"
            yield "shares", "warn", f"share {row.share}: {row.problem}", fix
        elif alive and not row.live:
            yield "shares", "warn", f"share {row.share} is asked for, and not live", f"pommel restart {spec.name}"
        else:
            by = ", by 9p" if row.by == NINE_P else ""
            yield "shares", "ok", f"share {row.share}: {row.host_folder}" + by + (", live" if row.live else ""), None


def _server_checks(spec: MachineSpec, wanted: bool) -> Iterator[tuple[str, Literal["ok", "warn"], str, str | None]]:
    """Whether this host has what SMB takes."""
    try:
        smbd = samba.find()
    except PommelError as missing:
        if wanted:
            yield "shares", "warn", missing.message, missing.hint
        else:
            yield "shares", "ok", f"none by SMB; {missing.message} (pommel share takes it)", None
        return
    yield "shares", "ok", f"smbd {smbd.version}, in a sandbox of its own for each connection", None
    if not smbd.for_macs and spec.upstream != TRIAL:
        text = "smbd has no vfs_fruit: a Mac leaves ._ files in what it shares"
        yield "shares", "warn", text, "install Samba's modules (samba-vfs-modules on Debian and Ubuntu)"


def way_of(paths: MachinePaths) -> str:
    """The address at which the running guest finds its folders; empty: its QEMU was not told of any."""
    return reach.kept(paths).shares


def has_way(paths: MachinePaths) -> bool:
    """Whether the running guest could have folders mounted: by a file server, or by 9p devices."""
    return bool(way_of(paths) or reach.kept(paths).nine)
