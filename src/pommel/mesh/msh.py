"""The .msh file: the server and the device group. Band: core, no I/O.

MeshCentral offers one for each device group (`/meshsettings?id=…`). It has `Key=Value` lines in UTF-8, and may contain
more than a connection needs: branding, and one line of translations of about 40 kB.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from pommel.errors import ProtocolError

MOST_BYTES = 1 << 20
ID_BYTES = 48  # SHA-384; old servers had 32 and padded them
_HEX = re.compile(r"(?:0[xX])?([0-9A-Fa-f]+)\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_FETCH = "download it from the server's page: My Devices, the device group, Add Agent, then the settings file (.msh)"


@dataclass(frozen=True, slots=True)
class Server:
    """One server: the address for its agents (wss://…/agent.ashx), and the hash that identifies it."""

    url: str
    server_id: bytes

    @property
    def base(self) -> str:
        """The base of the server's other paths, with a slash at its end."""
        return self.url.rpartition("/")[0] + "/"


@dataclass(frozen=True, slots=True)
class Msh:
    """The contents of a .msh file: the group (48 bytes, and its name if given) and its servers, in order."""

    mesh_id: bytes
    mesh_name: str
    servers: tuple[Server, ...]
    tag: str = ""


def parse_msh(data: bytes) -> Msh:
    """Parse a .msh file, with any line ends, order and further keys.

    Raises:
        ProtocolError: it is not one, or cannot be used to join.
    """
    values = _values(data)
    mesh_id = _hash(values, "MeshID")
    if values.get("MeshType", "2") != "2":
        raise _refused(f"its device group is of MeshType {values['MeshType'][:8]!r}, which accepts no agents")
    return Msh(mesh_id, _line(values.get("MeshName", "")), _servers(values), _line(values.get("Tag", "")))


def _values(data: bytes) -> Mapping[str, str]:
    if len(data) > MOST_BYTES:
        raise _refused(f"it has {len(data)} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _refused("it is not a text in UTF-8") from None
    if text.lstrip()[:1] == "<":
        raise _refused("it is a web page, perhaps the login page")
    pairs = (line.partition("=") for line in re.split(r"[\r\n]+", text))
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def _servers(values: Mapping[str, str]) -> tuple[Server, ...]:
    if "MeshServer" not in values:
        raise _refused("it contains no MeshServer")
    urls = [one.strip() for one in values["MeshServer"].split(",") if one.strip()]
    if "local" in urls:
        raise _refused(
            "it tells the agent to search for the server on the local network",
            "set an address in the file: MeshServer=wss://SERVER/agent.ashx",
        )
    ids = [one.strip() for one in values.get("ServerID", "").split(",") if one.strip()]
    if not urls or not ids or (len(ids) != 1 and len(ids) != len(urls)):
        raise _refused(f"it names {len(urls)} servers and {len(ids)} server hashes")
    hashes = [_bytes(one, "ServerID") for one in ids] * (len(urls) if len(ids) == 1 else 1)
    return tuple(Server(_url(url), server_id) for url, server_id in zip(urls, hashes, strict=True))


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = bool(parts.scheme == "wss" and parts.hostname and parts.port != 0 and parts.path.count("/") >= 1)
    except ValueError:
        good = False
    if not good or not text.isprintable() or " " in text or "@" in text:
        raise _refused(f"its MeshServer is {_shown(text)}, not an address like wss://HOST:PORT/agent.ashx")
    return text


def _hash(values: Mapping[str, str], key: str) -> bytes:
    if key not in values:
        raise _refused(f"it contains no {key}")
    return _bytes(values[key], key)


def _bytes(text: str, key: str) -> bytes:
    match = _HEX.match(text)
    if match is None or len(match[1]) not in (2 * 32, 2 * ID_BYTES):
        raise _refused(f"its {key} is {_shown(text)}, not {2 * ID_BYTES} hexadecimal digits")
    return bytes.fromhex(match[1]).ljust(ID_BYTES, b"\0")


def _line(text: str) -> str:
    return _CONTROL.sub(" ", text).strip()[:256].strip()


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")


def _refused(why: str, hint: str = _FETCH) -> ProtocolError:
    return ProtocolError(f"this .msh file cannot be used to join: {why}", hint=hint)
