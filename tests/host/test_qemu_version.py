"""The version of the installed QEMU, asked once."""

from __future__ import annotations

import shutil
from pathlib import Path

from pommel.host.qemu_version import qemu_version


def program(path: Path, says: str) -> str:
    path.write_text(f"#!/bin/sh\necho asked >> {path}.asked\necho '{says}'\n")
    path.chmod(0o755)
    return str(path)


def asked(path: str) -> int:
    return len(Path(f"{path}.asked").read_text().splitlines())


def test_the_real_one(tmp_path: Path) -> None:
    found = shutil.which("qemu-system-x86_64")
    assert found is not None
    version = qemu_version(found, tmp_path)
    assert version[0] >= 7 and len(version) >= 2
    assert qemu_version(found, tmp_path) == version


def test_it_is_asked_once_for_each_binary(tmp_path: Path) -> None:
    qemu = program(tmp_path / "qemu", "QEMU emulator version 9.1.0 (Debian 1:9.1)")
    assert qemu_version(qemu, tmp_path / "cache") == (9, 1, 0)
    assert qemu_version(qemu, tmp_path / "cache") == (9, 1, 0)
    assert asked(qemu) == 1
    program(tmp_path / "qemu", "QEMU emulator version 10.0.2 and more")
    assert qemu_version(qemu, tmp_path / "cache") == (10, 0, 2)


def test_what_is_remembered_badly_is_asked_again(tmp_path: Path) -> None:
    qemu = program(tmp_path / "qemu", "no number at all")
    for damage in ("", "[]", '{"key": 1}', "null"):
        (tmp_path / "qemu-version.json").write_text(damage)
        assert qemu_version(qemu, tmp_path) == ()
    assert asked(qemu) == 4
