"""Read a .msh file from a path or an address. Band: app. It imports little: a guest's daemon needs it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from pommel import account, texts
from pommel.errors import MissingProgram, UsageError


@dataclass(frozen=True, slots=True)
class Ticket:
    """A .msh file: its bytes, its group, and its servers' addresses in the order in which they are tried."""

    data: bytes
    group: str
    servers: tuple[str, ...]


def read_ticket(where: str) -> Ticket:
    """Read a .msh file from a path or an https address.

    Raises:
        UsageError: there is no such file, or the address is not valid.
        FetchError: it could not be downloaded, or not securely.
        ProtocolError: it is not a .msh file.
        MissingProgram: this is the reduced Pommel that `guest install` puts into a guest.
    """
    try:
        from pommel.mesh.fetching import fetch_msh
        from pommel.mesh.msh import parse_msh
    except ModuleNotFoundError:  # the reduced Pommel of `guest install`
        raise MissingProgram(
            "this Pommel lacks a part that MeshCentral needs", hint="install the full Pommel on this system"
        ) from None
    data = asyncio.run(fetch_msh(where)) if "://" in where else _file(where)
    msh = parse_msh(data)
    return Ticket(data, msh.mesh_name, tuple(server.url for server in msh.servers))


def _file(where: str) -> bytes:
    from pommel.mesh.msh import MOST_BYTES

    hint = "give the .msh file, which you can download from the server's page: My Devices, the device group, Add Agent"
    return texts.read_bytes(account.expand(where), error=UsageError, hint=hint, most=MOST_BYTES, pipes=True)
