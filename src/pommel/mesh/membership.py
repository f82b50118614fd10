"""The files of a device that has joined a server. Band: shell.

    FOLDER/                 0700
      identity.pem          key and certificate (`identity`)
      joined.json           the .msh file's text and what was chosen; written last, so a folder without it is no member

With a .msh file, anyone can add a device to the group, so other users must not read these files.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pommel import json_file, private
from pommel.errors import PommelError, StateError
from pommel.mesh.identity import keep_identity, read_identity
from pommel.mesh.keys import DeviceIdentity
from pommel.mesh.mesh_agent import MACOS_UNIVERSAL, check_agent_id
from pommel.mesh.msh import Msh, parse_msh

_RECORD, _IDENTITY = "joined.json", "identity.pem"


@dataclass(frozen=True, slots=True)
class _Record:
    msh: str
    agent_id: int = MACOS_UNIVERSAL
    name: str | None = None  # the last name that the server got


@dataclass(frozen=True, slots=True)
class Membership:
    """A device that has joined. `name` is the last name that its server got; None before the first time."""

    folder: Path
    msh: Msh
    identity: DeviceIdentity
    agent_id: int
    name: str | None

    def store_name(self, name: str) -> Membership:
        """Store the name that the server was told."""
        if name != self.name:
            _write(self.folder, replace(_read(self.folder), name=name))
        return replace(self, name=name)


def has_joined(folder: Path) -> bool:
    """Whether there is a membership in `folder`."""
    return (folder / _RECORD).is_file()


def join(folder: Path, msh: bytes, *, agent_id: int = MACOS_UNIVERSAL) -> Membership:
    """Join with a .msh file; nothing is connected yet. A device that has joined before keeps its identity;
    making one takes a second.

    Raises:
        ProtocolError: it is not a .msh file.
        UsageError: a device cannot use this agent id.
        StateError, NotPermitted: the earlier identity cannot be used.
    """
    parse_msh(msh)
    check_agent_id(agent_id)
    private.make_folder(folder)
    folder.chmod(0o700)
    keep_identity(folder / _IDENTITY)
    _write(folder, _Record(msh.decode("utf-8-sig"), agent_id))
    return load(folder)


def load(folder: Path) -> Membership:
    """The membership in `folder`.

    Raises:
        StateError: it does not exist, or it is damaged.
        NotPermitted: other users may read its key.
    """
    record = _read(folder)
    identity = read_identity(folder / _IDENTITY)
    try:
        msh = parse_msh(record.msh.encode())
        return Membership(folder, msh, identity, check_agent_id(record.agent_id), record.name)
    except PommelError as wrong:
        raise StateError(f"{folder / _RECORD} is damaged: {wrong.message}", hint="join again") from None


def leave(folder: Path) -> None:
    """Delete everything, the identity too. The server lists the device as offline until somebody removes it there.

    Raises:
        StateError: there is no membership.
    """
    if not has_joined(folder):
        raise StateError(f"no machine in {folder} has joined a MeshCentral server")
    (folder / _RECORD).unlink()
    (folder / _IDENTITY).unlink(missing_ok=True)
    for name in (_RECORD, _IDENTITY):
        for left in folder.glob(f".{name}.*"):  # left by a join that was killed while it wrote
            left.unlink()


def _read(folder: Path) -> _Record:
    try:
        said = json.loads((folder / _RECORD).read_text())
        record = _Record(str(said["msh"]), int(said["agent_id"]), said["name"])
    except FileNotFoundError:
        raise StateError("this has not joined a MeshCentral server", hint="pommel mesh join NAME --msh FILE") from None
    except (ValueError, KeyError, TypeError):
        raise StateError(f"{folder / _RECORD} is damaged", hint="join again") from None
    return record if isinstance(record.name, str) else replace(record, name=None)


def _write(folder: Path, record: _Record) -> None:
    json_file.write(folder / _RECORD, asdict(record))
