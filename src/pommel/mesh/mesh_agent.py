"""What a device reports about itself, and its answers about parts that only MeshAgent has. Band: core, no I/O.

It reports that it is a virtual machine with a desktop, and only what is true: it never claims to run a JavaScript core.
If the server asks for the hash of a program or a core, it answers with zeros; then the server sends no update.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

from pommel.errors import UsageError

VIRTUAL_MACHINE = 8  # the platform type; the server derives the device's icon from it
MACOS_UNIVERSAL, MACOS_X86, MACOS_ARM = 10005, 16, 29
AGENT_IDS = (MACOS_UNIVERSAL, MACOS_X86, MACOS_ARM)
MOST_NAME_BYTES = 255
_INTRODUCTION = struct.Struct(">HIIII48sIH")  # then the name
_REQUEST = struct.Struct(">HH")
_ZEROS = bytes(48)


class Caps(IntFlag):
    """The abilities of a device, in the server's bits. There are more, which do not apply to us."""

    DESKTOP = 1
    FILES = 4
    CONSOLE = 8


class ServerRequest(IntEnum):
    """Binary commands from the server, after the handshake."""

    SET_CORE = 10
    CORE_HASH = 11
    PROGRAM_HASH = 12
    PROGRAM_UPDATE = 13
    PROGRAM_BLOCK = 14
    CORE_IS_FINE = 16


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """The facts of a device for the server. `macs` are its network cards', for requests to wake it up."""

    name: str
    description: str  # of the operating system: "macOS 15.1"
    version: str  # of Pommel
    has_console: bool = False
    macs: tuple[str, ...] = ()
    has_files: bool = False

    @property
    def caps(self) -> Caps:
        """Its abilities."""
        console, files = (Caps.CONSOLE if self.has_console else 0), (Caps.FILES if self.has_files else 0)
        return Caps.DESKTOP | console | files


def check_agent_id(agent_id: int) -> int:
    """Return `agent_id` if a device of Pommel can use it.

    Raises:
        UsageError: the server would treat it as something that it is not.
    """
    if agent_id not in AGENT_IDS:
        raise UsageError(
            f"a device cannot use the agent id {agent_id}",
            hint=f"possible ids: {MACOS_UNIVERSAL} (has a Clipboard button), {MACOS_X86} (Intel), {MACOS_ARM} (ARM)",
        )
    return agent_id


def introduction(facts: DeviceFacts, mesh_id: bytes, agent_id: int) -> bytes:
    """The handshake's message 3: the device's identity, and its group."""
    name = _clipped(facts.name or "pommel", MOST_NAME_BYTES)
    return _INTRODUCTION.pack(3, 1, agent_id, 0, VIRTUAL_MACHINE, mesh_id, facts.caps, len(name)) + name


def coreinfo(facts: DeviceFacts, *, rename: bool) -> str:
    """Describe the device. With `rename`, the server uses this name from now on, whatever name it has now."""
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
    """Answer a binary command: zeros if it asks for a hash, nothing for any other."""
    if len(message) < _REQUEST.size:
        return None
    command, request_id = _REQUEST.unpack_from(message)
    if command in (ServerRequest.PROGRAM_HASH, ServerRequest.CORE_HASH):
        return _REQUEST.pack(command, request_id) + _ZEROS
    return None


def _clipped(text: str, most: int) -> bytes:
    return text.encode(errors="replace")[:most].decode(errors="ignore").encode()
