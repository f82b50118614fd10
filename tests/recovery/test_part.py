"""The part and its journal: what is on disk counts only when its hash does."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pommel.errors import RecoveryError
from pommel.recovery.chunklist import parse
from pommel.recovery.part import PartialImage

from .apple import make_chunklist, split, test_key

IMAGE = bytes(range(256)) * 10
PARTS = split(IMAGE, 500)
RAW = make_chunklist(IMAGE, 500)
LIST = parse(RAW, test_key().public)


@contextlib.contextmanager
def opened(target: Path) -> Iterator[PartialImage]:
    part = PartialImage(target, LIST)
    try:
        part.recover()
        yield part
    finally:
        part.close()


def test_written_in_any_order_and_finished(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.dmg"
    with opened(target) as part:
        assert part.missing == [0, 1, 2, 3, 4, 5]
        for index in (5, 0, 3, 1, 2, 4):
            part.write(index, PARTS[index])
        assert part.good_size == len(IMAGE)
        part.finish(RAW)
    assert target.read_bytes() == IMAGE
    assert sorted(path.name for path in target.parent.iterdir()) == ["a.chunklist", "a.dmg"]


def test_unfinished_is_refused_and_kept(tmp_path: Path) -> None:
    target = tmp_path / "a.dmg"
    with opened(target) as part:
        part.write(2, PARTS[2])
        with pytest.raises(RecoveryError, match="lacks 5 chunks"):
            part.finish(RAW)
    assert not target.exists()
    with opened(target) as part:
        assert part.missing == [0, 1, 3, 4, 5]


def test_what_the_journal_says_is_hashed_again(tmp_path: Path) -> None:
    target = tmp_path / "a.dmg"
    with opened(target) as part:
        for index in (0, 1, 2):
            part.write(index, PARTS[index])
    data = bytearray((tmp_path / "a.dmg.part").read_bytes())
    data[700] ^= 1
    (tmp_path / "a.dmg.part").write_bytes(data)
    with opened(target) as part:
        assert part.good == {0, 2}


@pytest.mark.parametrize(
    ("tail", "good"),
    [("1", {0}), ("1\n", {0, 1}), ("99\n", {0}), ("x\n-1\n1\n", {0, 1}), ("²\n", {0}), ("\0\0\0", {0})],
)
def test_torn_and_odd_journals(tmp_path: Path, tail: str, good: set[int]) -> None:
    target = tmp_path / "a.dmg"
    with opened(target) as part:
        for index in (0, 1):
            part.write(index, PARTS[index])
    journal = tmp_path / "a.dmg.journal"
    journal.write_text(journal.read_text().removesuffix("1\n") + tail)
    with opened(target) as part:
        assert part.good == good


def test_the_part_of_another_image_is_not_looked_at(tmp_path: Path) -> None:
    target = tmp_path / "a.dmg"
    with opened(target) as part:
        part.write(0, PARTS[0])
    part = PartialImage(target, parse(make_chunklist(IMAGE[:-1], 500), test_key().public))
    part.recover()
    part.close()
    assert part.good == set()
    assert (tmp_path / "a.dmg.part").stat().st_size == len(IMAGE) - 1


def test_a_full_disk_is_told_before_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, len(IMAGE) - 1))  # type: ignore[attr-defined]
    with pytest.raises(RecoveryError, match="MB free"), opened(tmp_path / "a.dmg"):
        pass
