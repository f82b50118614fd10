"""Manifests, configurations, indexes and signatures of images, which come from registries and files of strangers."""

from __future__ import annotations

import json

from fuzz.engine import Fuzzer, expect, mixed
from pommel.errors import UsageError
from pommel.image import challenge, layout, manifest, names, signature

_HEX = "0" * 64
_BLOB = manifest.Blob(f"sha256:{_HEX}", 100)
_DISK = manifest.Disk("mac_hdd_ng.img", 10 << 20, 4 << 20)
_MACHINE = manifest.ImagedMachine(
    "2026-01-31T12:00:00+00:00", "0.3.0", "osx-kvm", (_DISK,), "14", "iMac20,1", None, True, {"memory": "4G"}
)
_PIECES = [manifest.Piece(_BLOB, _DISK.slot, at << 22, _HEX) for at in range(2)]
_FILES = [manifest.SmallFile(_BLOB, "nvram.fd", 12, _HEX)]
_MANIFEST = manifest.render(_BLOB, _PIECES, _FILES, created=_MACHINE.created, pommel="0.3.0")
_CONFIG = manifest.render_config(_MACHINE)
_ENTRIES = [
    layout.ManifestEntry("m:1", _BLOB, "machine m", "", "2026-01-31"),
    layout.ManifestEntry("sha256-x.minisig", _BLOB, is_signature=True),
]
_KEY = signature.new_secret(bytes(range(40)))
_SIGNED = signature.sign(_KEY, b"data", "sha256:00 m:1").encode()
_TOKENS = (
    b"../", b"/etc/passwd", b"\\u001b[2J", b"\\ud800", b"null", b"true", b"-1", b"1e999", b"NaN", b"9" * 5000,
    b"[" * 2000, b'{"a":' * 2000, b"\xff", b"ssh/id_ed25519", b'"annotations"', b"\n", b"sha256:", b"4194304", b"mac_hdd_ng.img",
)  # fmt: skip


def check_manifest(data: bytes) -> None:
    """A manifest is refused in words, or names only what a machine has, and places each piece once."""
    try:
        found = manifest.parse(data)
    except ValueError as refusal:
        expect(bool(str(refusal)), "a refusal without words")
        return
    places = [(piece.slot, piece.offset) for piece in found.pieces]
    expect(len(set(places)) == len(places), "a piece twice")
    expect(found.created.isprintable(), "a terminal may obey it")
    for file in found.files:
        expect(file.name in manifest.FILES and file.size_bytes <= manifest.FILE_MAX, "a file that no machine has")
    for blob in found.blobs:
        expect(names.is_digest(blob.digest) and "/" not in blob.hex, "a blob that leads elsewhere")
    again = manifest.parse(manifest.render(found.config, found.pieces, found.files, created=found.created, pommel="x"))
    expect((again.pieces, again.files) == (found.pieces, found.files), "it is read otherwise again")
    try:
        manifest.check(found, _MACHINE)
    except ValueError as refusal:
        expect(bool(str(refusal)), "a refusal without words")
        return
    expect(all(piece.offset < _DISK.virtual_bytes for piece in found.pieces), "a piece outside its disk")


def check_config(data: bytes) -> None:
    """A configuration is refused in words, or read again as it was."""
    try:
        found = manifest.parse_config(data)
    except ValueError as refusal:
        expect(bool(str(refusal)), "a refusal without words")
        return
    expect(found.upstream in manifest.UPSTREAMS, "an upstream of a stranger's")
    expect(all(manifest.SLOT.match(disk.slot) is not None for disk in found.disks), "a disk that leads elsewhere")
    expect(manifest.parse_config(manifest.render_config(found)).disks == found.disks, "it is read otherwise again")


def check_index(data: bytes) -> None:
    """An index is refused in words, or its names can be shown."""
    try:
        found = layout.parse(data)
    except ValueError as refusal:
        expect(bool(str(refusal)), "a refusal without words")
        return
    expect(all(each.name.isprintable() and each.source.isprintable() for each in found), "a terminal may obey it")
    expect(layout.parse(layout.render(found)) == found, "it is read otherwise again")


def check_signature(data: bytes) -> None:
    """A signature is refused in words, and only the one that was made is one of these bytes."""
    for parse in (signature.parse, signature.parse_public, signature.parse_secret, signature.blobs):
        try:
            found = parse(data)
        except ValueError as refusal:
            expect(bool(str(refusal)), "a refusal without words")
            continue
        if isinstance(found, signature.Signature) and signature.verify(_KEY.public, found, b"data"):
            expect(found.comment == "sha256:00 m:1" and found.prehashed, "a signature that nobody made")


def check_words(data: bytes) -> None:
    """A registry's challenge and an image's name are read or refused; a place for tokens is one of HTTP."""
    text = data.decode(errors="replace")
    if (asked := challenge.parse([text])) is not None:
        try:
            expect(asked.token_url("repository:a:pull").startswith(("http://", "https://")), "no place of HTTP")
        except ValueError as refusal:
            expect(bool(str(refusal)), "a refusal without words")
    for parse in (names.parse_name, names.parse_remote):
        try:
            parse(text)
        except UsageError:
            continue
    try:
        expect(challenge.token_in(data).isascii(), "a token that is no header")
    except ValueError as refusal:
        expect(bool(str(refusal)), "a refusal without words")


_WORDS = (
    b'Bearer realm="https://auth.lan/token",service="reg",scope="repository:a:pull"', b"Basic realm=here",
    b"oci://reg.lan:5000/a/b:1", b"m:1", json.dumps({"token": "abc"}).encode(),
)  # fmt: skip

FUZZERS = [
    Fuzzer(
        "image", "names only what a machine has, each piece once, or is refused in words",
        mixed((_MANIFEST,), tokens=_TOKENS), check_manifest, room_bytes=4 << 20, per_byte=2000, short=300,
    ),
    Fuzzer(
        "image-config", "read again as it was, or refused in words",
        mixed((_CONFIG,), tokens=_TOKENS), check_config, room_bytes=4 << 20, per_byte=2000, short=300,
    ),
    Fuzzer(
        "image-index", "read again as it was, or refused in words",
        mixed((layout.render(_ENTRIES),), tokens=_TOKENS), check_index, room_bytes=4 << 20, per_byte=2000, short=300,
    ),
    Fuzzer(
        "image-signature", "only the signature that was made is one",
        mixed((_SIGNED, _KEY.text.encode(), _KEY.public.text.encode()), tokens=(b"\n", b"=", b"RWQ")), check_signature,
        room_bytes=4 << 20, per_byte=2000, short=300,
    ),
    Fuzzer(
        "image-words", "what a registry asks, and names, are read or refused",
        mixed(_WORDS, tokens=(b'"', b"\\", b",", b"=", b"://", b"@", b"..", b"\r\n")), check_words,
        room_bytes=4 << 20, per_byte=2000, short=300,
    ),
]  # fmt: skip
