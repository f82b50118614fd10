"""A file against its chunklist."""

from __future__ import annotations

from pathlib import Path

import pytest

from pommel.errors import RecoveryError
from pommel.progress import Progress
from pommel.recovery.chunklist import ChunklistError
from pommel.recovery.verify import read_chunklist, verify_file

from .apple import make_chunklist, test_key

IMAGE = bytes(range(256)) * 20000  # chunks larger than one read, and a last one that is short
KEY = test_key().public


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    image, listed = tmp_path / "a.dmg", tmp_path / "a.chunklist"
    image.write_bytes(IMAGE)
    listed.write_bytes(make_chunklist(IMAGE, 1_500_000))
    return image, listed


def test_a_good_image_is_told_chunk_by_chunk(files: tuple[Path, Path]) -> None:
    told: list[Progress] = []
    verify_file(files[0], read_chunklist(files[1], KEY), told.append)
    assert [event.done for event in told] == [1_500_000, 3_000_000, 4_500_000, len(IMAGE), len(IMAGE)]
    assert [event.finished for event in told] == [False] * 4 + [True]


@pytest.mark.parametrize("at", [0, 1_499_999, 1_500_000, len(IMAGE) - 1])
def test_one_byte_differs(files: tuple[Path, Path], at: int) -> None:
    with files[0].open("r+b") as file:
        file.seek(at)
        file.write(bytes([IMAGE[at] ^ 1]))
    with pytest.raises(RecoveryError, match=f"chunk {at // 1_500_000} "):
        verify_file(files[0], read_chunklist(files[1], KEY))


@pytest.mark.parametrize("data", [b"", IMAGE[:-1], IMAGE + b"\0"], ids=["empty", "short", "long"])
def test_another_size(files: tuple[Path, Path], data: bytes) -> None:
    files[0].write_bytes(data)
    with pytest.raises(RecoveryError, match=f"it has {len(data)} bytes, not {len(IMAGE)}"):
        verify_file(files[0], read_chunklist(files[1], KEY))


def test_files_that_cannot_be_read(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(RecoveryError, match="No such file"):
        read_chunklist(tmp_path / "none", KEY)
    with pytest.raises(RecoveryError, match="directory"):
        verify_file(tmp_path, read_chunklist(files[1], KEY))


def test_only_apples_key_counts_by_default(files: tuple[Path, Path]) -> None:
    with pytest.raises(ChunklistError, match="signature"):
        read_chunklist(files[1])
