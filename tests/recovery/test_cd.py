"""The disk with the installer's package, read by two programs that are not ours: GRUB's ISO 9660 and libblkid."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pommel import process
from pommel.recovery import cd

LABEL = "POMMELPKG"


def raw_disk(folder: Path, size: int, marks: tuple[int, ...]) -> Path:
    """The disk as a file, with holes; `marks` are where in the package it is not zero."""
    disk = folder / "disk.raw"
    with disk.open("wb") as out:
        out.write(cd.header(size, LABEL))
        for at in marks:
            out.seek(cd.HEADER_BYTES + at)
            out.write(b"%d" % at)
        out.truncate(cd.HEADER_BYTES + cd.blocks(size) * cd.BLOCK)
    return disk


def listed(disk: Path) -> str:
    return process.run(["grub-fstest", "--", disk, "ls", "-l", "(loop0)/"]).stdout.decode()


@pytest.mark.parametrize("size", [1, 2048, 2049, 123457])
def test_a_small_file_is_one_piece(tmp_path: Path, size: int) -> None:
    disk = raw_disk(tmp_path, size, (0,) if size > 1 else ())
    assert cd.pieces(size) == 1
    assert f"{size} " in listed(disk) and "part00.pkg" in listed(disk)
    process.run(["grub-fstest", disk, "cp", "(loop0)/part00.pkg", tmp_path / "back"])
    assert (tmp_path / "back").read_bytes() == disk.read_bytes()[cd.HEADER_BYTES :][:size]


def test_another_program_reads_the_pieces_of_a_large_file_as_they_were(tmp_path: Path) -> None:
    size = cd.PIECE_BYTES + 4097
    disk = raw_disk(tmp_path, size, (0, cd.PIECE_BYTES - 3, size - 20))
    assert 'LABEL="POMMELPKG"' in process.run(["blkid", "-p", disk]).output
    said = listed(disk)
    assert f"{cd.PIECE_BYTES} " in said and "4097 " in said and "part01.pkg" in said and "part02" not in said
    last = tmp_path / "last"
    process.run(["grub-fstest", disk, "cp", "(loop0)/part01.pkg", last])
    with disk.open("rb") as file:
        file.seek(cd.HEADER_BYTES + cd.PIECE_BYTES)
        assert hashlib.sha256(last.read_bytes()).digest() == hashlib.sha256(file.read(4097)).digest()


def test_the_largest_has_all_its_pieces_in_the_folder(tmp_path: Path) -> None:
    said = listed(raw_disk(tmp_path, cd.SIZE_MAX, ()))
    assert [f"part{number:02}.pkg" in said for number in range(65)] == [True] * 64 + [False]


@pytest.mark.parametrize(
    ("size", "label"), [(0, LABEL), (cd.SIZE_MAX + 1, LABEL), (1, ""), (1, "small"), (1, "A" * 33)]
)
def test_what_cannot_be_is_refused(size: int, label: str) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        cd.header(size, label)
