"""Manifests and configurations: read as they were written, and refused where they do not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pommel.image import manifest as m
from pommel.image.manifest import Blob, Disk, ImagedMachine, Piece, SmallFile
from pommel.image.pieces import MIB
from pommel.machine import backup_manifest

HEX = "a" * 64
BLOB = Blob(f"sha256:{HEX}", 100)
DISK = Disk("mac_hdd_ng.img", 10 * MIB, 4 * MIB)
MACHINE = ImagedMachine(
    "2026-01-01T00:00:00+00:00", "0.3.0", "osx-kvm", (DISK,), "14", "iMac20,1", None, True, {"memory": "4G"}
)
PIECES = (Piece(BLOB, DISK.slot, 0, HEX), Piece(Blob(f"sha256:{'b' * 64}", 7), DISK.slot, 8 * MIB, HEX))
FILES = (SmallFile(Blob(f"sha256:{'c' * 64}", 9), "nvram.fd", 12, HEX),)


def text(**more: Any) -> bytes:
    config = m.blob_of(m.render_config(MACHINE))
    told = json.loads(m.render(config, PIECES, FILES, created=MACHINE.created, pommel="0.3.0"))
    return json.dumps(told | more).encode()


def test_what_was_written_is_read() -> None:
    data = m.render(m.blob_of(m.render_config(MACHINE)), PIECES, FILES, created=MACHINE.created, pommel="0.3.0")
    found = m.parse(data)
    assert (found.pieces, found.files, found.blob) == (PIECES, FILES, m.blob_of(data))
    assert m.parse_config(m.render_config(MACHINE)) == MACHINE and MACHINE.is_mac
    m.check(found, MACHINE)
    assert found.packed_bytes == len(data) + found.config.size + 116


def test_a_disk_of_the_largest_size_fits_into_a_manifest_that_registries_take() -> None:
    pieces = [replace(PIECES[0], offset=n << 37) for n in range(8192)]
    assert len(m.render(BLOB, pieces, FILES, created="x", pommel="y")) < m.MANIFEST_MAX


def test_the_names_are_those_of_a_machines_files() -> None:
    assert m.SLOT.pattern == backup_manifest._SLOT.pattern
    assert set(m.FILES) < set(backup_manifest.FILES)


def layers(**more: Any) -> list[Any]:
    told = json.loads(text())["layers"]
    return [{**told[0], **more}, *told[1:]]


def notes(**more: str) -> list[Any]:
    told = json.loads(text())["layers"]
    return [{**told[0], "annotations": {**told[0]["annotations"], **more}}, *told[1:]]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"artifactType": "application/x"}, "not the image of a machine"),
        ({"schemaVersion": 1}, "not the image of a machine"),
        ({"layers": "x"}, "a list"),
        ({"layers": layers(mediaType="application/x")}, "does not know"),
        ({"layers": layers(digest="sha256:12")}, "not a SHA-256"),
        ({"layers": layers(digest="md5:" + HEX)}, "not a SHA-256"),
        ({"layers": layers(size=-1)}, "wrong type"),
        ({"layers": layers(size=1 << 40)}, "too large"),
        ({"layers": notes(**{"vnd.pommel.disk": "../x"})}, "not a disk's name"),
        ({"layers": notes(**{"vnd.pommel.offset": "-4"})}, "wrong type"),
        ({"layers": notes(**{"vnd.pommel.content": "zz"})}, "not a SHA-256"),
        ({"layers": notes(**{"vnd.pommel.offset": str(8 * MIB)})}, "twice"),
    ],
)
def test_what_is_no_manifest(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        m.parse(text(**more))


@pytest.mark.parametrize("offset", [10 * MIB, 12 * MIB, 4096])
def test_a_piece_outside_its_disk(offset: int) -> None:
    data = text(layers=notes(**{"vnd.pommel.offset": str(offset)}))
    with pytest.raises(ValueError, match=r"lies outside|twice"):
        m.check(m.parse(data), MACHINE)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"format": 2}, "supports 1"),
        ({"upstream": "/home/x"}, "none of trial"),
        ({"model": "x; rm"}, "no model"),
        ({"disks": []}, "none of its own"),
        ({"disks": [{"slot": "mac_hdd_ng.img", "virtual_bytes": 511, "piece_bytes": 1 << 22}]}, "511 bytes"),
        ({"disks": [{"slot": "mac_hdd_ng.img", "virtual_bytes": 512, "piece_bytes": 3 << 20}]}, "pieces of"),
        ({"macos": "\x1b[2J"}, "wrong type"),
        ({"settings": []}, "wrong type"),
    ],
)
def test_what_is_no_configuration(more: dict[str, Any], said: str) -> None:
    told = json.loads(m.render_config(MACHINE))
    with pytest.raises(ValueError, match=said):
        m.parse_config(json.dumps(told | more).encode())
