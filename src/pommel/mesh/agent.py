"""What a device says of itself, and to requests that are for MeshAgent's insides. Band: core, no I/O.

It says that it is a virtual machine with a desktop, and nothing that is not so: never that it runs a JavaScript core,
and to whoever asks for the hash of a program or a core it answers with zeros, which has the server leave it alone.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

from pommel.errors import UsageError

VIRTUAL_MACHINE = 8  # the platform type; the server makes it the device's icon
MACOS_UNIVERSAL, MACOS_X86, MACOS_ARM = 10005, 16, 29
AGENT_IDS = (MACOS_UNIVERSAL, MACOS_X86, MACOS_ARM)
MOST_NAME_BYTES = 255
_INTRODUCTION = struct.Struct(">HIIII48sIH")  # then the name
_REQUEST = struct.Struct(">HH")
_ZEROS = bytes(48)


class Caps(IntFlag):
    """What a device can do, as the server counts it. There are more; those are not ours to claim."""

    DESKTOP = 1
    CONSOLE = 8


class Request(IntEnum):
    """Binary commands from the server, after the handshake."""

    SET_CORE = 10
    CORE_HASH = 11
    PROGRAM_HASH = 12
    PROGRAM_UPDATE = 13
    PROGRAM_BLOCK = 14
    CORE_IS_FINE = 16


@dataclass(frozen=True, slots=True)
class Facts:
    """A device as the server shows it. `macs` are its network cards', by which it can be asked to wake."""

    name: str
    description: str  # of the operating system: "macOS 15.1"
    version: str  # of Pommel
    has_console: bool = False
    macs: tuple[str, ...] = ()

    @property
    def caps(self) -> Caps:
        """What it can do."""
        return Caps.DESKTOP | Caps.CONSOLE if self.has_console else Caps.DESKTOP


def check_agent_id(agent_id: int) -> int:
    """Return `agent_id` if a device of ours may pass for it.

    Raises:
        UsageError: the server would treat it as something that it is not.
    """
    if agent_id not in AGENT_IDS:
        raise UsageError(
            f"a device cannot use the agent id {agent_id}",
            hint=f"possible ids: {MACOS_UNIVERSAL} (has a Clipboard button), {MACOS_X86} (Intel), {MACOS_ARM} (ARM)",
        )
    return agent_id


def introduction(facts: Facts, mesh_id: bytes, agent_id: int) -> bytes:
    """Return the handshake's message 3: who we are, and which group we belong to."""
    name = _clipped(facts.name or "pommel", MOST_NAME_BYTES)
    return _INTRODUCTION.pack(3, 1, agent_id, 0, VIRTUAL_MACHINE, mesh_id, facts.caps, len(name)) + name


def coreinfo(facts: Facts, *, rename: bool) -> str:
    """Describe the device. With `rename` the server is to call it by our name from now on, whatever it has now."""
    said: dict[str, Any] = {
        "action": "coreinfo",
        "value": f"Pommel {facts.version}",
        "caps": int(facts.caps),
        "osdesc": facts.description,
        "root": True,
    }
    return json.dumps(said | {"name": facts.name} if rename else said)


def netinfo(macs: Iterable[str]) -> str | None:
    """Describe the network cards, so that the server can ask for a wake-up by them; None if there are none."""
    cards = {f"en{n}": [{"mac": mac, "status": "up", "type": "ethernet"}] for n, mac in enumerate(macs)}
    return json.dumps({"action": "netinfo", "netif2": cards}) if cards else None


def answer_request(message: bytes) -> bytes | None:
    """Answer a binary command: zeros to who asks for a hash, nothing to any other."""
    if len(message) < _REQUEST.size:
        return None
    command, request_id = _REQUEST.unpack_from(message)
    if command in (Request.PROGRAM_HASH, Request.CORE_HASH):
        return _REQUEST.pack(command, request_id) + _ZEROS
    return None


def _clipped(text: str, most: int) -> bytes:
    return text.encode(errors="replace")[:most].decode(errors="ignore").encode()
