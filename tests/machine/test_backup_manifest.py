"""Manifests of backups: any bytes are read or refused, and no chain loses what it needs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.machine import backup_manifest
from pommel.machine.backup_manifest import BackedDisk, BackedFile, BackupPoint, Folder

SUM = "0" * 64
UUID = "a0b1c2d3-0000-4000-8000-000000000000"


def ident(number: int) -> str:
    return backup_manifest.point_id(number, "20260131T120000Z")


def point(number: int, parent: int | None = None) -> BackupPoint:
    disk = BackedDisk("mac_hdd_ng.img", 8 << 20, 1 << 20, SUM, ident(parent) if parent else None)
    files = (BackedFile("machine.json", 3, SUM),)
    return BackupPoint(
        ident(number), number, "m", UUID, "2026-01-31T12:00:00+00:00", "running", (disk,), files, {"a": [1]}, ("n",)
    )


def test_a_manifest_is_read_as_it_was_written() -> None:
    for made in (point(1), point(2, 1)):
        assert backup_manifest.parse(backup_manifest.render(made)) == made
    folder = Folder("0123456789abcdef", "m", UUID)
    assert backup_manifest.parse_folder(backup_manifest.render_folder(folder)) == folder


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), lambda each: st.lists(each)).map(json.dumps))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (backup_manifest.parse, backup_manifest.parse_folder):
        with pytest.raises(ValueError, match=r"."):
            parse(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id", "../up"),
        ("uuid", "x"),
        ("number", True),
        ("created", "\x1b[2J"),
        ("notes", ["\n"]),
        ("settings", []),
        ("disks", []),
        (
            "disks",
            [{"slot": "../x", "virtual_bytes": 1, "size_bytes": 1, "sha256": SUM, "parent": None, "why_full": ""}],
        ),
        (
            "disks",
            [
                {
                    "slot": "disk-a.qcow2",
                    "virtual_bytes": 1,
                    "size_bytes": 1,
                    "sha256": SUM,
                    "parent": "/",
                    "why_full": "",
                }
            ],
        ),
        ("files", [{"name": "../../.bashrc", "size_bytes": 1, "sha256": SUM}]),
        ("files", [{"name": "snapshots/x", "size_bytes": 1, "sha256": SUM}]),
        ("files", [{"name": "nvram.fd", "size_bytes": 1, "sha256": "x"}]),
        ("files", [{"name": "nvram.fd", "size_bytes": 1, "sha256": SUM}] * 2),
    ],
)
def test_what_does_not_belong_in_a_manifest(key: str, value: object) -> None:
    told = json.loads(backup_manifest.render(point(1)))
    with pytest.raises(ValueError, match=r"."):
        backup_manifest.parse(json.dumps({**told, key: value}))


def test_a_chain() -> None:
    points = {each.id: each for each in (point(1), point(2, 1), point(3, 2))}
    assert backup_manifest.chain(points, ident(3), "mac_hdd_ng.img") == [ident(1), ident(2), ident(3)]
    assert backup_manifest.depth(points, ident(3)) == 3
    with pytest.raises(ValueError, match="needs the disk"):
        backup_manifest.chain({ident(3): points[ident(3)]}, ident(3), "mac_hdd_ng.img")
    circle = {ident(1): replace(point(1, 2)), ident(2): point(2, 1)}
    with pytest.raises(ValueError, match="on itself"):
        backup_manifest.chain(circle, ident(2), "mac_hdd_ng.img")


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.integers(1, 8))
def test_what_may_go_is_needed_by_nobody_that_stays(full: list[bool], keep: int) -> None:
    made = [point(n, None if whole or n == 1 else n - 1) for n, whole in enumerate(full, 1)]
    doomed = backup_manifest.may_go(made, keep)
    left = {each.id: each for each in made if each.id not in doomed}
    assert {each.id for each in made[-keep:]} <= set(left)
    for each in left:
        assert backup_manifest.chain(left, each, "mac_hdd_ng.img")
    gone = {each.id: each for each in made}
    for each in doomed:  # one after another: what is cut off between two leaves no point without what it needs
        del gone[each]
        assert all(backup_manifest.chain(gone, rest, "mac_hdd_ng.img") for rest in gone)


@given(st.text(max_size=80))
def test_bitmaps_names(name: str) -> None:
    assert backup_manifest.bitmap_parts(name) is None
    assert backup_manifest.bitmap_parts(backup_manifest.bitmap_name("0" * 16, ident(7))) == ("0" * 16, ident(7))
