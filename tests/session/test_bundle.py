"""The one file that goes into a guest."""

from __future__ import annotations

import hashlib
import io
import platform
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from pommel.process import run
from pommel.session import bundle as module
from pommel.session.bundle import make_bundle
from pommel.session.guest_system import PREFIX, GuestSystem, Python
from pommel.session.wheelhouse import WheelTarget

GLIBC = (2, 40)
OWN = Python(sys.executable, sys.version_info[:2], GLIBC)
GUEST = GuestSystem("linux", platform.machine(), "6", "ann", "sudo", "", (OWN,))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> module.Bundle:
    return make_bundle(GUEST, tmp_path_factory.mktemp("bundle"), {})


def names(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as archive:
        return {member.name: member for member in archive}


def test_what_is_in_it(bundle: module.Bundle) -> None:
    found = names(bundle.path)
    assert bundle.sha256 == hashlib.sha256(bundle.path.read_bytes()).hexdigest()
    assert {"VERSION", "bin/pommel", "lib/pommel/app/session/kvm_agent.py", "lib/numpy/__init__.py"} <= set(found)
    assert not [name for name in found if name.startswith(("lib/pommel/machine", "lib/pommel/trial", "bin/uv"))]
    assert all(member.isfile() and (member.uid, member.gid, member.mtime) == (0, 0, 0) for member in found.values())
    assert {name for name, member in found.items() if member.mode & 0o111} == {"bin/pommel"}
    assert bundle.path.stat().st_size < 30 << 20


def test_the_same_again_is_the_same(bundle: module.Bundle, tmp_path: Path) -> None:
    again = make_bundle(GUEST, tmp_path, {})
    assert (again.version, again.sha256) == (bundle.version, bundle.sha256)
    assert list(tmp_path.iterdir()) == [again.path]


def test_all_that_runs_in_a_guest_runs_from_it_alone(bundle: module.Bundle, tmp_path: Path) -> None:
    with tarfile.open(bundle.path) as archive:
        archive.extractall(tmp_path, filter="data")
    launcher = (tmp_path / "bin/pommel").read_text()
    assert launcher.startswith(f"#!{sys.executable} -I\n") and f"{PREFIX}/lib" in launcher
    here = launcher.replace(f"{PREFIX}/lib", f"{tmp_path}/lib")
    # Without what is installed here: as bare as a guest's Python.
    bare = (
        "import sys\nsys.path = [p for p in sys.path if 'site-packages' not in p]\nsys.meta_path = sys.meta_path[-3:]\n"
    )
    (tmp_path / "run.py").write_text(bare + here)
    program = [sys.executable, "-I", "-S", "-B", str(tmp_path / "run.py")]
    assert run([*program, "--version"], timeout_s=60).text.startswith("pommel ")
    for words in (["daemon"], ["agent"], ["install"], ["uninstall"], ["status"], ["selftest"]):
        assert "Usage: pommel kvm" in run([*program, "kvm", *words, "--help"], timeout_s=60).text
    assert run([*program, "kvm", "status", "--json"], timeout_s=60).text.startswith("{")
    assert "ExecStart=" in run([*program, "kvm", "install", "-n", "--program", "/opt/p"], timeout_s=60).text
    told = "from pommel.app.session import kvm_install, kvm_daemon; kvm_install.check_libraries(kvm_daemon.places_of())"
    (tmp_path / "check.py").write_text(f"{bare}sys.path.insert(0, {str(tmp_path / 'lib')!r})\n{told}\n")
    run([sys.executable, "-I", "-S", "-B", str(tmp_path / "check.py")], timeout_s=60)


def test_a_guest_without_a_python_gets_what_fetches_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[WheelTarget] = []

    def download(packages: Sequence[str], target: WheelTarget, into: Path, env: object) -> None:
        asked.append(target)
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w") as archive:
            archive.writestr("uv-1.data/scripts/uv", "uv itself")
        (into / "uv-1-py3-none-macosx_11_0_arm64.whl").write_bytes(held.getvalue())

    monkeypatch.setattr(module, "download", download)
    monkeypatch.setattr(module, "gather", lambda packages, target, into, env: asked.append(target) or ["x 1"])
    mac = GuestSystem("macos", "arm64", "15.1", "ann", "sudo", "", (Python("/usr/local/bin/python3", (3, 9)),))
    found = names(make_bundle(mac, tmp_path, {}).path)
    assert {"bin/uv", "bin/pommel"} <= {name for name, member in found.items() if member.mode & 0o111}
    assert set(asked) == {WheelTarget((3, 12), ("macosx_15_0_arm64",))}
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        launcher = archive.extractfile("bin/pommel")
        assert launcher is not None and launcher.readline() == b"#!/opt/pommel-session/python/this -I\n"
