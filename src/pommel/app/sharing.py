"""Folders of this host that machines see: which are asked for, and what of them the guest gets. Band: app.

They are asked for in pommel.toml (`shares`) or by command (`pommel share`). QEMU is told at each start where its
guest's file server is to be; what that serves is read at each connection, so that a folder is added and taken back
while the machine runs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pommel.app import reach, share_folder
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import ConfigError, PommelError
from pommel.host import samba
from pommel.machine import share_connections, shares, shares_added, state
from pommel.machine.shares import Share
from pommel.machine.spec import MachineSpec
from pommel.paths import MachinePaths

SETTINGS, ADDED = "settings", "added"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for, settings first; `origins` says of each by whom."""

    shares: tuple[Share, ...] = ()
    origins: Mapping[Share, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One folder. `live`: a connection of the running guest gets it; `problem`: why it cannot be had, if so."""

    share: str  # its name in the guest
    host_folder: str
    guest_folder: str
    read_only: bool
    origin: str  # settings or added
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
    """What the rule is told of it, by the placement's names.

    Raises:
        ConfigError, MachineError: as `asked`.
    """
    wanted = asked(workspace, spec).shares
    if not samba.is_there():
        notes = [f"share {each}: smbd or bubblewrap is missing; {samba.how_to_install()}" for each in wanted[:1]]
        return {"share_notes": tuple(notes)}
    live = workspace.paths(spec.name).directory / shares_added.LIVE
    notes = [f"share {each}: {problem}" for each, problem in _problems(workspace, spec, wanted).items()]
    command = (sys.executable, "-I", "-S", str(shares_added.PROGRAM), str(live))
    return {"shares": wanted, "share_notes": tuple(notes), "share_command": command}


def serve(workspace: Workspace, spec: MachineSpec) -> tuple[Share, ...]:
    """Have the guest's next connection get what is asked for, as far as it can be had; return that.

    Raises:
        ConfigError, MachineError: as `asked`; or the disk is full.
        MissingProgram: something is asked for, and Samba is not installed.
    """
    paths, wanted = workspace.paths(spec.name), asked(workspace, spec).shares
    problems = _problems(workspace, spec, wanted)
    told = [(each, str(_folder(workspace, spec, each))) for each in wanted if each not in problems]
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


def listed(name: str, *, workspace: Workspace | None = None) -> Shares:
    """The folders of machine `name`.

    Raises:
        StateError: it has not been made.
        ConfigError, MachineError: as `asked`.
    """
    workspace = workspace or Workspace.current()
    spec, paths = workspace.spec(name), workspace.made(name)
    seen, wanted = state.observe(paths), asked(workspace, spec)
    if not wanted.shares:
        return Shares(name, str(seen.state), ())
    problems, served = _problems(workspace, spec, wanted.shares), shares_added.served(paths)
    way = seen.alive and bool(reach.kept(paths).shares)
    rows = tuple(
        Row(
            each.name,
            str(workspace.beside(name, each.folder)),
            f"{folder_in_guest(spec)}/{each.name}",
            each.read_only,
            wanted.origins[each],
            way and each in served and each not in problems,
            problems.get(each),
        )
        for each in wanted.shares
    )
    open_ = len(share_connections.sandboxes(paths)) if way else 0
    return Shares(name, str(seen.state), rows, open_)


def folder_in_guest(spec: MachineSpec) -> str:
    """Where guests of this kind have what is mounted."""
    return "/mnt" if spec.upstream == TRIAL else "/Volumes"


def give_up(name: str, origin: str, each: Share) -> str:
    """What to do to be rid of a folder that was asked for."""
    if origin == ADDED:
        return f"pommel unshare {name} {each.name}"
    return f"change shares in [machine.{name}] (pommel config {name} says where that is)"


def _folder(workspace: Workspace, spec: MachineSpec, each: Share) -> str:
    return str(share_folder.checked(workspace, spec, each.folder, read_only=each.read_only))


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
    try:
        smbd = samba.find()
    except PommelError as missing:
        if wanted:
            yield "shares", "warn", missing.message, missing.hint
        else:
            yield "shares", "ok", f"none; {missing.message} (pommel share takes it)", None
        return
    yield "shares", "ok", f"smbd {smbd.version}, in a sandbox of its own for each connection", None
    if not smbd.for_macs and spec.upstream != TRIAL:
        text = "smbd has no vfs_fruit: a Mac leaves ._ files in what it shares"
        yield "shares", "warn", text, "install Samba's modules (samba-vfs-modules on Debian and Ubuntu)"
    told = listed(spec.name, workspace=workspace).shares if paths.record.exists() else ()
    alive = paths.record.exists() and state.observe(paths).alive
    for row in told:
        if row.problem is not None:
            yield "shares", "warn", f"share {row.share}: {row.problem}", f"pommel share {spec.name}"
        elif alive and not row.live:
            yield "shares", "warn", f"share {row.share} is asked for, and not live", f"pommel restart {spec.name}"
        else:
            yield "shares", "ok", f"share {row.share}: {row.host_folder}" + (", live" if row.live else ""), None


def way_of(paths: MachinePaths) -> str:
    """The address at which the running guest finds its folders; empty: its QEMU was not told of any."""
    return reach.kept(paths).shares
