from __future__ import annotations

import functools
import os
import socket
from pathlib import Path

import pytest

from pommel.overlay import layer


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    folder = tmp_path / "u"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "boot.sh").write_text("x\n")
    (folder / "boot.sh").chmod(0o644)
    (folder / "a" / "b" / "c").write_bytes(b"c" * 1000)
    (folder / "link").symlink_to("a/b/c")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").touch()
    with (folder / "big.img").open("wb") as big:
        big.write(b"QFI\xfb")
        big.truncate(9 << 20)
    return folder


def test_small_files_are_whole_and_large_ones_are_a_beginning_and_a_hole(upstream: Path, tmp_path: Path) -> None:
    made = layer.lay(upstream, tmp_path / "copy", "boot.sh")
    copy = made.folder
    assert (copy / "a/b/c").read_bytes() == b"c" * 1000
    assert (copy / "link").readlink() == Path("a/b/c")
    assert (copy / "big.img").stat().st_size == 9 << 20
    assert (copy / "big.img").stat().st_blocks * 512 <= 128 << 10
    with (copy / "big.img").open("rb") as big:
        assert big.read(4) == b"QFI\xfb"
    assert (copy / ".git").is_dir() and not list((copy / ".git").iterdir())
    assert os.access(copy / "boot.sh", os.X_OK) and not (upstream / "boot.sh").stat().st_mode & 0o111
    assert made.created() == ()


def test_what_is_made_in_it_is_told_and_the_original_stays(upstream: Path, tmp_path: Path) -> None:
    made = layer.lay(upstream, tmp_path / "copy", "boot.sh")
    (made.folder / "a/b/c").write_text("changed")
    (made.folder / "new").mkdir()
    (made.folder / "new" / "file").touch()
    (made.folder / "big.img").unlink()
    assert made.created() == ("new", "new/file")
    assert (upstream / "a/b/c").read_bytes() == b"c" * 1000
    assert (upstream / "big.img").exists()


def test_what_is_no_file_is_left_out(upstream: Path, tmp_path: Path) -> None:
    os.mkfifo(upstream / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(upstream / "sock"))
        made = layer.lay(upstream, tmp_path / "copy", "boot.sh")
    assert not (made.folder / "pipe").exists() and not (made.folder / "sock").exists()


def test_a_folder_of_too_many_files_still_has_its_script(
    upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer, "_Budget", functools.partial(layer._Budget, entries_left=2))
    made = layer.lay(upstream, tmp_path / "copy", "a/b/c")
    assert (made.folder / "a/b/c").exists()
