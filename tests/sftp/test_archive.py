"""The archive of a folder, unpacked by tar programs as people have them."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel import process
from pommel.sftp.archive import Archive, padding, top_name
from pommel.sftp.tree import NAME_MAX, CopyPlan, EntryKind, TreeEntry, plain_name
from pommel.sftp.trees import look_through_host

NOW = 1_700_000_000


def whole(archive: Archive, contents: bytes | None = None) -> bytes:
    """All of it; a file's contents are this host's, or so many of these bytes."""
    made = b""
    for head, entry in archive.parts():
        made += head
        if entry is not None:
            data = Path(os.fsdecode(entry.source)).read_bytes() if contents is None else contents * entry.size
            made += data + padding(entry.size)
    assert len(made) == archive.length
    return made


def test_a_folder_comes_out_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "größe"
    inner = folder / ("long" * 60) / ("er" * 100)
    inner.mkdir(parents=True)
    (folder / "empty").mkdir(mode=0o500)
    (folder / "run").write_bytes(b"#!/bin/sh\n")
    (folder / "run").chmod(0o4755)
    (inner / "512").write_bytes(os.urandom(512))
    (inner / "new\nline").write_bytes(os.urandom(70_000))
    (folder / os.fsdecode(b"\xff\xfe")).write_bytes(b"no UTF-8")
    (folder / "inside").symlink_to("run")
    (folder / "outside").symlink_to("/etc/passwd")
    (folder / "up").symlink_to("../up")
    os.mkfifo(folder / "pipe")
    (folder / "..\\..\\windows").write_bytes(b"a path elsewhere")
    os.utime(folder / "run", (1_000_000_000, 1_000_000_000))
    archive = Archive(look_through_host([os.fsencode(folder)]), "größe", NOW)
    assert archive.left_out == 4
    (tmp_path / "it.tar").write_bytes(whole(archive))
    (out := tmp_path / "out").mkdir()
    process.run(["tar", "xf", tmp_path / "it.tar", "-C", out])
    assert {path.name for path in out.iterdir()} == {"größe", "größe (left out).txt"}
    assert "Not included in this archive: 4." in (out / "größe (left out).txt").read_text()
    got = {path.relative_to(out / "größe"): path for path in (out / "größe").rglob("*")}
    left = {"outside", "up", "pipe", "..\\..\\windows"}
    assert set(got) == {path.relative_to(folder) for path in folder.rglob("*") if path.name not in left}
    for path, there in got.items():
        if there.is_file() and not there.is_symlink():
            assert there.read_bytes() == (folder / path).read_bytes()
    run = (out / "größe/run").stat()
    assert (run.st_mode & 0o7777, run.st_mtime, run.st_uid) == (0o755, 1_000_000_000, os.geteuid())
    assert (out / "größe/inside").readlink() == Path("run")
    assert (out / "größe/empty").stat().st_mode & 0o700 == 0o700, "so that it can be thrown away"


names = st.binary(min_size=1, max_size=40).filter(lambda name: plain_name(name) and b"\\" not in name)


@given(names, names, st.integers(0, 1 << 40), st.integers(0, (1 << 32) - 1), st.sampled_from((0, 0o7777, 0o644)))
def test_any_names_sizes_and_dates(name: bytes, target: bytes, size: int, mtime: int, mode: int) -> None:
    path = b"top/" + name
    entries = (
        TreeEntry(EntryKind.LINK, b"", b"top/l", target=target),
        TreeEntry(EntryKind.FILE, b"", path, size, mode, mtime),
    )
    archive = Archive(CopyPlan((b"top",), entries), "top", NOW)
    (head, entry), (link, _), (end, _) = archive.parts()
    assert entry == entries[1] and len(head) % 512 == len(link) % 512 == 0 and end == bytes(1024)
    with tarfile.open(fileobj=io.BytesIO(link + end), errors="surrogateescape") as made:
        (only,) = made.getmembers()
        assert os.fsencode(only.linkname) == target
    with tarfile.open(fileobj=io.BytesIO(head), errors="surrogateescape") as made:
        told = made.next()
        assert told is not None and (os.fsencode(told.name), told.size) == (path, size)
        assert (told.mtime, told.mode, told.uid, told.uname) == (mtime or NOW, mode & 0o777 | 0o600, 0, "")


@pytest.mark.parametrize(
    ("shown", "named"),
    [
        ("photos", "photos"), ("größe 🍎", "größe 🍎"), ("..", "folder"), ("/", "_"), ("C:", "C_"), ("a\\..\\b", "a_.._b"),
        ("  .x. ", "x"), ("é" * 150, "é" * 100), ("x" * (NAME_MAX + 1), "x" * 200), ("\ufffd\ufffd", "\ufffd\ufffd"),
    ],
)  # fmt: skip
def test_the_folders_own_name_is_a_name_on_any_system(shown: str, named: str) -> None:
    assert top_name(shown) == named
