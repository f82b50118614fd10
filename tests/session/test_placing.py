"""Root's part in a guest, by this system's own sh."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from pommel.errors import CommandFailed
from pommel.process import run
from pommel.session.placing import place_script, remove_script

POMMEL = '#!/bin/sh\necho "$@" >> "{log}"\n'


def bundle(folder: Path, version: str, **more: str) -> tuple[str, str]:
    """Make a bundle; return its path and its hash."""
    path = folder / f"{version}.tar.gz"
    files = {"VERSION": version, "bin/pommel": POMMEL.format(log=folder / "log"), **more}
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size, info.mode, info.uid = len(text.encode()), 0o755, 4711
            archive.addfile(info, io.BytesIO(text.encode()))
    return str(path), hashlib.sha256(path.read_bytes()).hexdigest()


def sh(script: str) -> str:
    return run(["sh", "-s"], input=script.encode(), timeout_s=60).output


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_placed_replaced_and_removed(tmp_path: Path) -> None:
    prefix = tmp_path / "opt" / "it's here"
    for version in ("1", "2"):
        old_only = {"lib__old.py": ""} if version == "1" else {}
        assert sh(place_script(*bundle(tmp_path, version, **old_only), "3.12", prefix=str(prefix))) == ""
        assert (prefix / "VERSION").read_text() == version
        assert {path.stat().st_uid for path in prefix.rglob("*")} == {0}
    assert tree(prefix.parent) == ["it's here/VERSION", "it's here/bin/pommel"]
    sh(remove_script(["--id", "x"], prefix=str(prefix)))
    assert (tmp_path / "log").read_text() == "kvm uninstall --id x\n"
    assert list(prefix.parent.iterdir()) == []
    assert sh(remove_script(prefix=str(prefix))) == ""


def test_what_did_not_arrive_whole_changes_nothing(tmp_path: Path) -> None:
    prefix = tmp_path / "opt" / "p"
    sh(place_script(*bundle(tmp_path, "1"), "3.12", prefix=str(prefix)))
    path, sha256 = bundle(tmp_path, "2")
    with Path(path).open("r+b") as cut:
        cut.truncate(100)
    with pytest.raises(CommandFailed, match="did not arrive whole"):
        sh(place_script(path, sha256, "3.12", prefix=str(prefix)))
    assert (prefix / "VERSION").read_text() == "1"
    assert [entry.name for entry in prefix.parent.iterdir()] == ["p"]


def test_what_a_killed_one_left_goes_with_the_next(tmp_path: Path) -> None:
    prefix = tmp_path / "opt" / "p"
    left = tmp_path / "opt" / "p.new.77" / "tree"
    left.mkdir(parents=True)
    sh(place_script(*bundle(tmp_path, "1"), "3.12", prefix=str(prefix)))
    assert [entry.name for entry in prefix.parent.iterdir()] == ["p"]


def test_a_python_is_fetched_where_there_is_none(tmp_path: Path) -> None:
    uv = (
        '#!/bin/sh\n[ "$*" = "python install --quiet --no-bin 3.12" ] || exit 1\n'
        'mkdir -p "$UV_PYTHON_INSTALL_DIR/cpython-3.12.1/bin" && echo py > "$UV_PYTHON_INSTALL_DIR/cpython-3.12.1/bin/python3"\n'
    )
    prefix = tmp_path / "opt" / "p"
    sh(place_script(*bundle(tmp_path, "1", bin__uv=uv), "3.12", prefix=str(prefix)))
    assert (prefix / "python" / "this").read_text() == "py\n"
    assert not (prefix / "bin" / "uv").exists()
    failing = bundle(tmp_path, "2", bin__uv="#!/bin/sh\nexit 1\n")
    with pytest.raises(CommandFailed, match="no Python could be fetched"):
        sh(place_script(*failing, "3.12", prefix=str(prefix)))
    assert (prefix / "VERSION").read_text() == "1"


def test_a_service_that_cannot_be_removed_keeps_its_program(tmp_path: Path) -> None:
    prefix = tmp_path / "opt" / "p"
    sh(place_script(*bundle(tmp_path, "1"), "3.12", prefix=str(prefix)))
    (prefix / "bin" / "pommel").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(CommandFailed):
        sh(remove_script(prefix=str(prefix)))
    assert (prefix / "VERSION").exists()
