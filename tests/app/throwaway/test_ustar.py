"""Archives that a guest writes: by the real tar, and by somebody who means harm."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.app.throwaway import archives
from pommel.app.throwaway.ustar import BLOCK, Kind, parse_header
from pommel.errors import ProtocolError
from pommel.progress import Progress

MOST = 1 << 20


def unpacked(data: bytes, into: Path, most: int = MOST) -> list[Progress]:
    told: list[Progress] = []
    archives.unpack(io.BytesIO(data), into, most_bytes=most, report=told.append)
    return told


def archive(*entries: tarfile.TarInfo, data: bytes = b"") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for entry in entries:
            tar.addfile(entry, io.BytesIO(data[: entry.size]))
    return made.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, *, size: int = 0, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.size, made.linkname = kind, size, target
    return made


def test_what_the_real_tar_writes_is_unpacked_as_it_was(tmp_path: Path) -> None:
    folder, into = tmp_path / "there" / ("deep " * 15) / ("er" * 40), tmp_path / "here"
    folder.mkdir(parents=True)
    into.mkdir()
    (folder / "dätä").write_bytes(b"x" * 700)
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    (folder / "link").symlink_to("dätä")
    words = ["tar", "--format=ustar", "-cf", "-", "-C", str(tmp_path), "./there"]
    assert unpacked(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout, into) == []
    made = into / folder.relative_to(tmp_path)
    assert (made / "dätä").read_bytes() == b"x" * 700 and (made / "link").readlink() == Path("dätä")
    assert os.access(made / "run", os.X_OK) and not os.access(made / "dätä", os.X_OK)


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "a/../x"])
def test_a_name_that_leads_outside_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProtocolError, match="leads outside"):
        unpacked(archive(entry(name)), tmp_path)


@pytest.mark.parametrize("target", ["/etc/passwd", "../x", "a/../../x", ""])
def test_a_link_that_leads_outside_is_left_out_and_told(tmp_path: Path, target: str) -> None:
    told = unpacked(archive(entry("link", tarfile.SYMTYPE, target=target)), tmp_path)
    assert list(tmp_path.iterdir()) == [] and "not copied out: 1" in told[0].text


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    outside, into = tmp_path / "outside", tmp_path / "into"
    outside.mkdir()
    into.mkdir()
    links = (entry("a", tarfile.SYMTYPE, target="b"), entry("b", tarfile.SYMTYPE, target="."))
    unpacked(archive(*links, entry("a/file", size=1), data=b"x"), into)
    assert (into / "a" / "file").read_bytes() == b"x" and not (into / "a").is_symlink()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_hard_links_and_devices_are_left_out(tmp_path: Path, kind: bytes) -> None:
    assert unpacked(archive(entry("x", kind, target="y")), tmp_path) and list(tmp_path.iterdir()) == []


def test_more_than_there_is_room_for_is_refused_before_it_comes(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="more than this host has room"):
        unpacked(entry("x", size=MOST + 1).tobuf(tarfile.USTAR_FORMAT), tmp_path)


@pytest.mark.parametrize("cut", [1, BLOCK, BLOCK + 5])
def test_an_archive_that_ends_early_is_not_taken_for_whole(tmp_path: Path, cut: int) -> None:
    whole = archive(entry("x", size=600), data=b"y" * 600)
    with pytest.raises(ProtocolError, match="ends early"):
        unpacked(whole[:cut], tmp_path)


@given(st.binary(min_size=BLOCK, max_size=BLOCK))
def test_any_block_is_read_or_refused(block: bytes) -> None:
    try:
        found = parse_header(block)
    except ProtocolError:
        return
    assert found is None or ".." not in found.parts


@given(st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_a_name_comes_through(name: str) -> None:
    found = parse_header(entry(f"./{name}").tobuf(tarfile.USTAR_FORMAT)) if name != ".." else None
    assert found is None or (found.kind is Kind.FILE and found.parts == (() if name == "." else (name,)))
