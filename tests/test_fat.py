"""FAT images: what goes in comes out, by the eyes of mtools and fsck; what FAT cannot hold is refused by name."""

from __future__ import annotations

import os
import re
import shutil
import string
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pommel.errors import BuildError, MissingProgram
from pommel.fat import make_fat

ENV = {**os.environ, "MTOOLSRC": os.devnull}


def listed(image: Path) -> list[str]:
    done = subprocess.run(["mdir", "-i", image, "-/", "-b", "-a", "::/"], env=ENV, capture_output=True)
    assert done.returncode == 0, done.stderr
    found = [line.removeprefix("::/") for line in done.stdout.decode().splitlines()]
    return sorted(name for name in found if not name.endswith("/"))


def contents(image: Path, name: str) -> bytes:
    return subprocess.run(["mtype", "-i", image, f"::/{name}"], env=ENV, capture_output=True, check=True).stdout


def sound(image: Path) -> bool:
    return subprocess.run(["/usr/sbin/fsck.vfat", "-n", image], capture_output=True).returncode == 0


def test_files_folders_case_and_long_names_come_out_as_they_went_in(tmp_path: Path) -> None:
    lying = tmp_path / "of another name"
    lying.write_bytes(b"\0\xff" * 5000)
    files: dict[str, Path | bytes] = {
        "EFI/BOOT/BOOTx64.efi": lying,
        "EFI/OC/config.plist": b"<plist/>",
        "EFI/OC/Kexts/CryptexFixup.kext/Contents/_CodeSignature/CodeResources": b"",
        "EFI/OC/Resources/a name with blanks, and [1].txt": b"u",
        "-option": b"o",
    }
    image = tmp_path / "new" / "boot.img"
    make_fat(image, files, label="OPENCORE")
    assert listed(image) == sorted(files)
    for name, content in files.items():
        if "[" not in name:  # mtype would take it for a pattern
            assert contents(image, name) == (content if isinstance(content, bytes) else content.read_bytes())
    assert sound(image)
    assert image.read_bytes()[43:54] == b"OPENCORE   "  # fatgen103: BS_VolLab of FAT12 and FAT16
    assert os.listdir(image.parent) == ["boot.img"]


def trees(letters: str) -> st.SearchStrategy[dict[str, bytes]]:
    part = st.text(st.sampled_from(letters), min_size=1, max_size=40)
    return st.dictionaries(
        st.lists(part, min_size=1, max_size=3).map("/".join), st.binary(max_size=200), min_size=1, max_size=12
    )


def made(files: dict[str, bytes]) -> list[str] | None:
    """The names in an image of `files`, once it is sound and holds them; None when it was refused, and left nothing."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "i"
        try:
            make_fat(image, files, label="T")
        except BuildError as refusal:
            assert re.search("cannot be a file's name|FAT cannot tell|mtools cannot", refusal.message), refusal.message
            assert os.listdir(folder) == []
            return None
        assert sound(image)
        assert os.listdir(folder) == ["i"]
        return listed(image)


@given(trees(string.ascii_letters + string.digits + "_-"))
@settings(max_examples=15, deadline=None)
def test_ordinary_names_are_kept(files: dict[str, bytes]) -> None:
    every = {"/".join(name.split("/")[:depth]) for name in files for depth in range(1, 4)}
    assume(len({name.upper() for name in every}) == len(every))
    assume(not any(name.startswith(other + "/") for name in files for other in files))
    assume(not any(re.search(r"(^|/)(con|prn|aux|nul|com\d|lpt\d)(/|$)", name, re.I) for name in files))
    assert made(files) == sorted(files)


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    files: dict[str, Path | bytes] = {f"EFI/{n % 7}/file {n}": bytes([n]) * n * 100 for n in range(150)}
    make_fat(tmp_path / "a", files, label="T")
    make_fat(tmp_path / "b", dict(reversed(files.items())), label="T")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert listed(tmp_path / "a") == sorted(files)


def test_many_long_names_in_the_root_and_large_files_have_room(tmp_path: Path) -> None:
    files: dict[str, Path | bytes] = {f"{n:03}{'x' * 230}": b"1" for n in range(200)}
    files["large"] = bytes(40 << 20)
    make_fat(tmp_path / "i", files, label="T")
    assert listed(tmp_path / "i") == sorted(files)


def test_a_size_that_is_asked_for_is_kept(tmp_path: Path) -> None:
    make_fat(tmp_path / "i", {"a": b"1"}, label="T", size_bytes=600 << 20)  # FAT32, which has no fixed root folder
    assert (tmp_path / "i").stat().st_size == 600 << 20
    assert (tmp_path / "i").stat().st_blocks * 512 < 8 << 20
    assert sound(tmp_path / "i")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"EFI/a": b"", "efi/A": b""}, "FAT cannot tell EFI/a from efi/A"),
        ({"EFI": b"", "EFI/a": b""}, "FAT cannot tell EFI from EFI"),
        ({"a/../b": b""}, "an empty part, or one that begins"),
        ({"/a": b""}, "an empty part, or one that begins"),
        ({"a:b": b""}, "one of :"),
        ({"ÿ/a": b""}, "letters that are not ASCII"),
        ({"EFI/aux.kext": b""}, "a device of DOS"),
        ({"x" * 256: b""}, "more than 255"),
        ({"a": Path("/nothing/there")}, "No such file"),
        ({"a": Path("/tmp")}, "/tmp is not a file"),
        ({"a": bytes(9 << 20)}, "do not fit"),
    ],
)
def test_what_cannot_be_is_refused_and_an_older_image_stays(
    files: dict[str, Path | bytes], said: str, tmp_path: Path
) -> None:
    image = tmp_path / "i"
    image.write_bytes(b"older")
    with pytest.raises(BuildError, match=said):
        make_fat(image, files, label="T", size_bytes=8 << 20)
    assert image.read_bytes() == b"older"
    assert os.listdir(tmp_path) == ["i"]


@pytest.mark.parametrize(("gone", "package"), [("mkfs.vfat", "dosfstools"), ("mcopy", "mtools")])
def test_a_missing_program_is_named_with_its_package(
    gone: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None if name == gone else which(name, path=path))
    with pytest.raises(MissingProgram, match=gone) as refusal:
        make_fat(tmp_path / "i", {}, label="T")
    assert package in (refusal.value.hint or "")


def test_a_full_disk_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))
    with pytest.raises(BuildError, match="1 MiB left, and 2 MiB are needed"):
        make_fat(tmp_path / "i", {"a": b"1"}, label="T")
    assert os.listdir(tmp_path) == []


@given(trees("".join(map(chr, range(33, 127)))))
@settings(max_examples=15, deadline=None)
def test_any_tree_is_whole_or_refused(files: dict[str, bytes]) -> None:
    assert made(files) in (None, sorted(files))
