"""An image's description: an OCI manifest, and its configuration. Band: core, no I/O.

The manifest is that of the OCI image specification 1.1 ("Image Manifest"), with the artifact type below; its layers are
the pieces of the disks and a few small files, described by annotations. The configuration describes the machine,
without the data that identifies it. Anybody may have written both, so each name and number is checked, and a text must
be printable, because it may be shown on a terminal.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pommel.foreign import parse_json
from pommel.image.names import is_digest
from pommel.image.pieces import MIB, PIECE_MAX, piece_length

FORMAT = 1
ARTIFACT = "application/vnd.pommel.machine.v1"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.pommel.machine.config.v1+json"
PIECE = "application/vnd.pommel.machine.piece.v1+zstd"
FILE = "application/vnd.pommel.machine.file.v1+zstd"
MANIFEST_MAX, CONFIG_MAX = 4 * MIB, 1 * MIB  # the first is the limit of Distribution's registry
FILE_MAX = 256 * MIB
# The names of a machine's disks in its folder, and the small files that are part of an image.
SLOT = re.compile(r"(mac_hdd_ng\.img|disk-[a-z0-9][a-z0-9_-]{0,31}\.qcow2)\Z")
FILES = ("nvram.fd", "firmware.fd", "OpenCore.qcow2", "ssh/known_hosts", "ssh/id_ed25519", "ssh/id_ed25519.pub")
UPSTREAMS = ("trial", "osx-kvm", "own")  # own: a folder of the image's author, which is not in the image
_DISK, _OFFSET, _CONTENT = "vnd.pommel.disk", "vnd.pommel.offset", "vnd.pommel.content"
_NAME, _SIZE = "org.opencontainers.image.title", "vnd.pommel.size"
_CREATED, _VERSION = "org.opencontainers.image.created", "vnd.pommel.version"
_HEX = re.compile(r"[0-9a-f]{64}\Z")
_MODEL = re.compile(r"[A-Za-z]+\d+,\d+\Z")
_VIRTUAL_MAX = 64 << 40
_LAYERS_MAX = 20_000
_TEXT_MAX = 1000
_TOLD = ("created", "pommel", "upstream", "macos", "model", "base", "installed")


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes by their SHA-256 ("sha256:HEX"), as they are stored and sent."""

    digest: str
    size: int

    @property
    def hex(self) -> str:
        """The digest's hexadecimal digits."""
        return self.digest.removeprefix("sha256:")


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the disk `slot` at `offset`; `content` is the SHA-256 of its unpacked data, in hexadecimal digits."""

    blob: Blob
    slot: str
    offset: int
    content: str


@dataclass(frozen=True, slots=True)
class SmallFile:
    """A file of a machine's folder; `size_bytes` and `content` are of the unpacked data."""

    blob: Blob
    name: str
    size_bytes: int
    content: str


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk as the guest sees it, and the size of its pieces."""

    slot: str
    virtual_bytes: int
    piece_bytes: int


@dataclass(frozen=True, slots=True)
class ImagedMachine:
    """The facts of the machine. `model` is its Mac model, `base` the trial image that it was made from.

    `settings` are those for its size and speed; `pommel` is the version that made the image.
    """

    created: str
    pommel: str
    upstream: str
    disks: tuple[Disk, ...]
    macos: str | None = None
    model: str | None = None
    base: str | None = None
    installed: bool | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_mac(self) -> bool:
        """Whether Apple's licence applies to it: to everything except the trial machine."""
        return self.upstream != "trial"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of a manifest: the configuration's blob, pieces and files. `blob` is the manifest itself."""

    blob: Blob
    config: Blob
    pieces: tuple[Piece, ...]
    files: tuple[SmallFile, ...]
    created: str = ""

    @property
    def blobs(self) -> list[Blob]:
        """All blobs that it needs except itself, each once: the configuration first."""
        found = [self.config, *(piece.blob for piece in self.pieces), *(file.blob for file in self.files)]
        return list({blob.digest: blob for blob in found}.values())

    @property
    def packed_bytes(self) -> int:
        """Its size in the store."""
        return self.blob.size + sum(blob.size for blob in self.blobs)

    @property
    def has_key(self) -> bool:
        """Whether it contains the key for the guest's SSH."""
        return any(file.name == "ssh/id_ed25519" for file in self.files)


def blob_of(data: bytes) -> Blob:
    """The blob for `data`."""
    return Blob(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))


def render_config(machine: ImagedMachine) -> bytes:
    """The configuration as JSON."""
    told = {
        "format": FORMAT,
        **{key: getattr(machine, key) for key in _TOLD},
        "settings": dict(machine.settings),
        "disks": [
            {"slot": each.slot, "virtual_bytes": each.virtual_bytes, "piece_bytes": each.piece_bytes}
            for each in machine.disks
        ],
    }
    return (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode()


def parse_config(data: bytes) -> ImagedMachine:
    """Parse a configuration.

    Raises:
        ValueError: it cannot be used; the text says why.
    """
    told = _object(data, CONFIG_MAX)
    if told.get("format") != FORMAT or isinstance(told["format"], bool):
        raise ValueError(f"its format is {str(told.get('format'))[:20]!r}, but this Pommel supports {FORMAT}")
    try:
        disks = tuple(_disk(each) for each in _list(told["disks"]))
        made = ImagedMachine(
            created=_text(told["created"]),
            pommel=_text(told["pommel"]),
            upstream=_text(told["upstream"]),
            disks=disks,
            macos=_maybe(told["macos"]),
            model=_maybe(told["model"]),
            base=_maybe(told["base"]),
            installed=told["installed"] if isinstance(told["installed"], bool) else None,
            settings=_table(told["settings"]),
        )
    except (KeyError, TypeError, AttributeError) as wrong:
        raise ValueError(f"{wrong} is missing or has the wrong type") from wrong
    if made.upstream not in UPSTREAMS:
        raise ValueError(f"its upstream is {made.upstream!r}, none of {', '.join(UPSTREAMS)}")
    if made.model is not None and not _MODEL.match(made.model):
        raise ValueError(f"its model is {made.model!r}, no model such as iMacPro1,1")
    slots = [disk.slot for disk in disks]
    if "mac_hdd_ng.img" not in slots or len(set(slots)) < len(slots):
        raise ValueError("it has not each of its disks once, or none of its own")
    return made


def render(config: Blob, pieces: Iterable[Piece], files: Iterable[SmallFile], *, created: str, pommel: str) -> bytes:
    """The manifest as JSON: the same bytes for the same image."""
    layers = [
        _descriptor(PIECE, each.blob, {_DISK: each.slot, _OFFSET: str(each.offset), _CONTENT: each.content})
        for each in pieces
    ]
    layers += [
        _descriptor(FILE, each.blob, {_NAME: each.name, _SIZE: str(each.size_bytes), _CONTENT: each.content})
        for each in files
    ]
    told = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": ARTIFACT,
        "config": _descriptor(CONFIG, config),
        "layers": layers,
        "annotations": {_CREATED: created, _VERSION: pommel},
    }
    return json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()


def parse(data: bytes) -> Manifest:
    """Parse a manifest.

    Raises:
        ValueError: it is not one of a machine's image, or cannot be used; the text says why.
    """
    told = _object(data, MANIFEST_MAX)
    kind = told.get("artifactType") or (told["config"].get("mediaType") if isinstance(told.get("config"), dict) else "")
    if told.get("schemaVersion") != 2 or kind not in (ARTIFACT, CONFIG):
        raise ValueError("it is not the image of a machine that Pommel saved")
    try:
        config, layers = told["config"], _list(told["layers"])
        if config["mediaType"] != CONFIG or len(layers) > _LAYERS_MAX:
            raise ValueError("its configuration is of another kind, or it has too many layers")
        pieces = tuple(_piece(each) for each in layers if each["mediaType"] == PIECE)
        files = tuple(_file(each) for each in layers if each["mediaType"] == FILE)
        notes = told.get("annotations") or {}
        made = Manifest(blob_of(data), _blob(config, CONFIG_MAX), pieces, files, _text(notes.get(_CREATED, "")))
    except (KeyError, TypeError, AttributeError) as wrong:
        raise ValueError(f"{wrong} is missing or has the wrong type") from wrong
    if len(pieces) + len(files) < len(layers):
        raise ValueError("it has layers that this Pommel does not know: update this Pommel")
    places = [(piece.slot, piece.offset) for piece in pieces]
    if len(set(places)) < len(places) or len({file.name for file in files}) < len(files):
        raise ValueError("it lists a piece or a file twice")
    return made


def check(manifest: Manifest, machine: ImagedMachine) -> None:
    """Check that the pieces fit into the disks.

    Raises:
        ValueError: one does not; the text says which.
    """
    disks = {disk.slot: disk for disk in machine.disks}
    for piece in manifest.pieces:
        disk = disks.get(piece.slot)
        if disk is None or piece.offset >= disk.virtual_bytes or piece.offset % disk.piece_bytes:
            raise ValueError(f"its piece at {piece.offset} of {piece.slot} lies outside that disk")
        if piece.blob.size > packed_max(piece_length(piece.offset, disk.piece_bytes, disk.virtual_bytes)):
            raise ValueError(f"its piece at {piece.offset} of {piece.slot} is larger than what it would unpack to")


def packed_max(length: int) -> int:
    """The maximum packed size of `length` bytes (zstd.h, ZSTD_COMPRESSBOUND, and a little)."""
    return length + (length >> 8) + 1024


def _descriptor(kind: str, blob: Blob, notes: Mapping[str, str] | None = None) -> dict[str, Any]:
    told: dict[str, Any] = {"mediaType": kind, "digest": blob.digest, "size": blob.size}
    return {**told, "annotations": dict(notes)} if notes else told


def _object(data: bytes, most: int) -> dict[str, Any]:
    if len(data) > most:
        raise ValueError(f"it is larger than {most} bytes")
    told = parse_json(data)
    if not isinstance(told, dict):
        raise ValueError("it is not a JSON object")
    return told


def _blob(told: Any, most: int) -> Blob:
    digest, size = told["digest"], _count(told["size"])
    if not isinstance(digest, str) or not is_digest(digest) or size > most:
        raise ValueError("a digest in it is not a SHA-256, or a size is too large")
    return Blob(digest, size)


def _piece(told: Any) -> Piece:
    notes = told["annotations"]
    slot, offset = _slot(notes[_DISK]), _number(notes[_OFFSET])
    return Piece(_blob(told, packed_max(PIECE_MAX)), slot, offset, _hex(notes[_CONTENT]))


def _file(told: Any) -> SmallFile:
    notes = told["annotations"]
    name, size = _text(notes[_NAME]), _number(notes[_SIZE])
    if name not in FILES or size > FILE_MAX:
        raise ValueError(f"{name!r} is not a file of a machine, or is too large")
    return SmallFile(_blob(told, packed_max(size)), name, size, _hex(notes[_CONTENT]))


def _disk(told: Any) -> Disk:
    made = Disk(_slot(told["slot"]), _count(told["virtual_bytes"]), _count(told["piece_bytes"]))
    if not 0 < made.virtual_bytes <= _VIRTUAL_MAX or made.virtual_bytes % 512:
        raise ValueError(f"the disk {made.slot} has {made.virtual_bytes} bytes")
    if not 1 << 16 <= made.piece_bytes <= PIECE_MAX or made.piece_bytes & (made.piece_bytes - 1):
        raise ValueError(f"the pieces of {made.slot} have {made.piece_bytes} bytes")
    return made


def _slot(told: Any) -> str:
    if not isinstance(told, str) or not SLOT.match(told):
        raise ValueError(f"{str(told)[:80]!r} is not a disk's name")
    return told


def _hex(told: Any) -> str:
    if not isinstance(told, str) or not _HEX.match(told):
        raise ValueError(f"{str(told)[:80]!r} is not a SHA-256")
    return told


def _number(told: Any) -> int:
    if not isinstance(told, str) or not told.isascii() or not told.isdigit() or len(told) > 18:
        raise TypeError(repr(told)[:80])
    return int(told)


def _count(told: Any) -> int:
    if not isinstance(told, int) or isinstance(told, bool) or told < 0:
        raise TypeError(repr(told)[:80])
    return told


def _list(told: Any) -> list[Any]:
    if not isinstance(told, list):
        raise TypeError("a list")
    return told


def _table(told: Any) -> dict[str, Any]:
    if not isinstance(told, dict):
        raise TypeError("a table")
    return told


def _text(told: Any) -> str:
    if not isinstance(told, str) or len(told) > _TEXT_MAX or not told.isprintable():  # it may be printed on a terminal
        raise TypeError("a text")
    return told


def _maybe(told: Any) -> str | None:
    return None if told is None else _text(told)
