from __future__ import annotations

from pathlib import Path

import pytest

from pommel.errors import MissingProgram
from pommel.host.qemu_binary import QEMU, choose, host_qemu


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host that has one QEMU."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return program(tmp_path / "bin" / QEMU)


def test_the_scripts_own_by_name(host: Path, tmp_path: Path) -> None:
    found = choose(QEMU, tmp_path)
    assert (found.program, found.path, found.warning) == (QEMU, host, "")


def test_the_scripts_own_build(tmp_path: Path) -> None:
    own = program(tmp_path / "up" / "build" / QEMU)
    for named in (str(own), f"./build/{QEMU}"):
        found = choose(named, tmp_path / "up")
        assert (Path(found.program), found.path, found.warning) == (own, own, "")


@pytest.mark.parametrize("named", ["/usr/libexec/no-such/qemu-kvm", "./build/qemu-system-x86_64", "qemu-kvm-of-mine"])
def test_one_that_is_not_there_is_told(named: str, host: Path, tmp_path: Path) -> None:
    found = choose(named, tmp_path)
    assert found.path == host
    assert found.program == QEMU
    assert named in found.warning
    assert "set qemu" in found.warning


def test_a_setting_stands_before_the_script(tmp_path: Path) -> None:
    mine = program(tmp_path / "mine" / "qemu")
    found = choose(QEMU, tmp_path, str(mine))
    assert (found.program, found.path) == (str(mine), mine)
    with pytest.raises(MissingProgram, match="qemu is /no/qemu"):
        choose(QEMU, tmp_path, "/no/qemu")


def test_a_host_without_any(host: Path, tmp_path: Path) -> None:
    host.unlink()
    assert host_qemu("no-such-qemu") is None
    with pytest.raises(MissingProgram, match="no-such-qemu"):
        choose(QEMU, tmp_path, "no-such-qemu")
