"""Manifests of backups, which lie on drives that others can write to."""

from __future__ import annotations

import json

from fuzz.engine import Fuzzer, expect, mixed
from pommel.machine import backup_manifest

_SUM = "0" * 64
_DISKS = [
    {
        "slot": "mac_hdd_ng.img",
        "virtual_bytes": 8,
        "size_bytes": 4,
        "sha256": _SUM,
        "parent": "0001-20260131T120000Z",
        "why_full": "",
    },
    {
        "slot": "disk-a.qcow2",
        "virtual_bytes": 8,
        "size_bytes": 4,
        "sha256": _SUM,
        "parent": None,
        "why_full": "asked for",
    },
]
_POINT = {
    "format": 1,
    "id": "0002-20260131T120000Z",
    "number": 2,
    "machine": "sonoma",
    "uuid": "a0b1c2d3-0000-4000-8000-000000000000",
    "created": "2026-01-31T12:00:00+00:00",
    "state": "running",
    "disks": _DISKS,
    "files": [{"name": "nvram.fd", "size_bytes": 4, "sha256": _SUM}],
    "settings": {"memory": "4G"},
    "notes": ["as a power cut would leave it"],
}
_FOLDER = {"format": 1, "id": "0123456789abcdef", "machine": "sonoma", "uuid": _POINT["uuid"]}
_TOKENS = (
    b"../", b"/etc/passwd", b"\\u001b[2J", b"\\ud800", b"null", b"true", b"-1", b"1e999", b"NaN", b"9" * 5000,
    b"[" * 2000, b'{"a":' * 2000, b"\xff", b"ssh/id_ed25519", b"backup.json", b'"parent"', b"\n",
)  # fmt: skip


def check_manifest(data: bytes) -> None:
    """A manifest is refused in words, or names only what a machine has, and is read again as it was."""
    text = data.decode(errors="replace")
    try:
        point = backup_manifest.parse(text)
    except ValueError as refusal:
        expect(bool(str(refusal)), "a refusal without words")
        return
    for name in (*(each.slot for each in point.disks), *(each.name for each in point.files)):
        expect(not name.startswith("/") and ".." not in name.split("/"), "a name that leads elsewhere")
    for shown in (point.machine, point.created, point.state, *point.notes, *(each.why_full for each in point.disks)):
        expect(shown.isprintable(), "a terminal may obey it")
    expect(backup_manifest.parse(backup_manifest.render(point)).disks == point.disks, "it is read otherwise again")
    points = {point.id: point}
    expect(set(backup_manifest.may_go([point], 1)) == set(), "the newest may go")
    for each in point.disks:
        try:
            expect(backup_manifest.chain(points, point.id, each.slot) == [point.id], "a chain of others")
        except ValueError as broken:
            expect(bool(str(broken)), "a refusal without words")


def check_folder(data: bytes) -> None:
    """What says whose backups a folder holds is refused in words, or read again as it was."""
    try:
        folder = backup_manifest.parse_folder(data.decode(errors="replace"))
    except ValueError as refusal:
        expect(bool(str(refusal)), "a refusal without words")
        return
    expect(backup_manifest.parse_folder(backup_manifest.render_folder(folder)) == folder, "it is read otherwise again")


_TEXTS = tuple(json.dumps(each).encode() for each in (_POINT, {**_POINT, "notes": [], "settings": {}}))

FUZZERS = [
    Fuzzer(
        "backup", "names only what a machine has, or is refused in words",
        mixed(_TEXTS, tokens=_TOKENS), check_manifest, room_bytes=4 << 20, per_byte=2000, short=300,
    ),
    Fuzzer(
        "backup-folder", "read again as it was, or refused in words",
        mixed((json.dumps(_FOLDER).encode(),), tokens=_TOKENS), check_folder, room_bytes=4 << 20, per_byte=2000, short=300,
    ),
]  # fmt: skip
