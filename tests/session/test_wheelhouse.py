"""Libraries for another system: ours where they fit, else wheels that pip finds; here it finds them in a folder."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import zipfile
from pathlib import Path

import pytest

from pommel.errors import CommandFailed, MissingProgram, StateError
from pommel.process import run
from pommel.session.libraries import FETCHER, PACKAGES
from pommel.session.places import System
from pommel.session.wheelhouse import LOCK, WheelTarget, gather, locked, unpack

HERE = WheelTarget(
    sys.version_info[:2],
    tuple(f"manylinux_2_{minor}_{platform.machine()}" for minor in range(40, 16, -1)),
)
ELSEWHERE = WheelTarget((3, 12), ("macosx_14_0_arm64",))
OURS = ("click", "numpy", "simplejpeg", "python-xlib", "six")


def wheel(folder: Path, name: str, version: str, tag: str, files: dict[str, str], needs: str = "") -> Path:
    """Make a wheel."""
    path = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (
        f"Requires-Dist: {needs}\n" if needs else ""
    )
    with zipfile.ZipFile(path, "w") as archive:
        for place, text in files.items():
            archive.writestr(place, text)
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def locking(shop: Path, *wheels: str) -> Path:
    """A lock of wheels of a shop, by name-version."""
    path = shop / "guest.lock"
    path.write_text("".join(
        f"{name.replace('-', '==')} \\\n    --hash=sha256:{hashlib.sha256(next(shop.glob(f'{name}-*')).read_bytes()).hexdigest()}\n"
        for name in wheels
    ))  # fmt: skip
    return path


def offline(folder: Path) -> dict[str, str]:
    return {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull}


def test_ours_are_copied_and_work_alone(tmp_path: Path) -> None:
    into = tmp_path / "lib"
    into.mkdir()
    # No index and no folder: nothing could be fetched.
    names = gather(OURS, HERE, into, offline(tmp_path))
    assert [name.split()[0].lower() for name in names] == sorted(OURS)
    assert not list(into.rglob("tests")) and not list(into.rglob("*.pyi")) and not list(into.rglob("*.pyc"))
    alone = (
        "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]; sys.path.insert(0, sys.argv[1])"
    )
    told = f"{alone}; import numpy, simplejpeg, Xlib.display, click; print(numpy.ones((3, 3)).sum(), numpy.__file__)"
    done = run([sys.executable, "-I", "-S", "-B", "-c", told, into], timeout_s=60)
    assert done.text.startswith(f"9.0 {into}")


def test_wheels_for_another_system_are_fetched_with_what_they_need(tmp_path: Path) -> None:
    shop, into = tmp_path / "shop", tmp_path / "lib"
    shop.mkdir()
    into.mkdir()
    wheel(shop, "alpha", "1.0", "cp312-cp312-macosx_11_0_universal2", {"alpha.py": "a = 1\n"}, needs="beta>=2")
    wheel(shop, "alpha", "1.1", "cp312-cp312-win_amd64", {"alpha.py": "a = 2\n"})
    wheel(shop, "beta", "2.1", "py3-none-any", {"beta/__init__.py": "", "beta/tests/x.py": ""})
    lock = locking(shop, "alpha-1.0", "beta-2.1")
    wheel(shop, "beta", "2.2", "py3-none-any", {"beta/new.py": ""})
    assert gather(["alpha"], ELSEWHERE, into, offline(shop), lock) == ["alpha 1.0", "beta 2.1"]
    assert (into / "alpha.py").read_text() == "a = 1\n"
    assert (into / "beta/__init__.py").exists() and not (into / "beta/tests").exists()
    assert not (tmp_path / "lib.wheels").exists()


def test_a_file_that_is_not_the_locks_is_refused(tmp_path: Path) -> None:
    """Another file of the same name and version, from whatever index pip was told of."""
    first = wheel(tmp_path, "alpha", "1.0", "py3-none-any", {"alpha.py": "a = 1\n"})
    lock = locking(tmp_path, "alpha-1.0")
    first.unlink()
    wheel(tmp_path, "alpha", "1.0", "py3-none-any", {"alpha.py": "a = 666\n"})
    (tmp_path / "lib").mkdir()
    with pytest.raises(StateError, match=r"alpha==1\.0 for the guest is not the file"):
        gather(["alpha"], ELSEWHERE, tmp_path / "lib", offline(tmp_path), lock)
    assert not list((tmp_path / "lib").iterdir())
    with pytest.raises(StateError, match="lock for guests has no gamma"):
        gather(["gamma"], ELSEWHERE, tmp_path / "lib2", offline(tmp_path), lock)


@pytest.mark.parametrize("system", PACKAGES)
def test_the_lock_has_all_that_an_agent_needs_on_each_python(system: System) -> None:
    platform = {"linux": "manylinux_2_28_x86_64", "macos": "macosx_14_0_arm64"}[system]
    for minor in range(11, 15):
        target = WheelTarget((3, minor), (platform,))
        lines = locked(PACKAGES[system], target, LOCK.read_text())
        names = {line.partition("==")[0] for line in lines}
        assert {name.lower() for name in PACKAGES[system]} <= names and "uv" not in names
        assert all(line.count("--hash=sha256:") >= 1 for line in lines)
        assert ("pyobjc-core" in names) == (system == "macos") and len(names) == len(lines)
        assert "uv" in [line.partition("==")[0] for line in locked([FETCHER], target, LOCK.read_text())]


def test_what_is_not_made_for_that_system(tmp_path: Path) -> None:
    wheel(tmp_path, "alpha", "1.1", "cp312-cp312-win_amd64", {"alpha.py": ""})
    (tmp_path / "lib").mkdir()
    with pytest.raises(StateError, match=r"not available for Python 3\.12 on macosx_14_0_arm64"):
        gather(["alpha"], ELSEWHERE, tmp_path / "lib", offline(tmp_path), locking(tmp_path, "alpha-1.1"))


def test_no_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\necho "{sys.executable}: No module named pip" >&2\nexit 1\n')
    bare.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(bare))
    (tmp_path / "lib").mkdir()
    with pytest.raises(MissingProgram, match="no pip") as failure:
        gather(["numpy"], ELSEWHERE, tmp_path / "lib", {})
    assert "ensurepip" in str(failure.value.hint)


def test_a_registry_that_is_out_of_reach_is_no_missing_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "WARNING: Retrying: Connection refused\nERROR: No matching distribution found for alpha"
    pip = tmp_path / "python"
    pip.write_text(f"#!/bin/sh\ncat >&2 <<end\n{said}\nend\nexit 1\n")
    pip.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(pip))
    (tmp_path / "lib").mkdir()
    with pytest.raises(CommandFailed, match="No matching distribution"):
        gather(["numpy"], ELSEWHERE, tmp_path / "lib", {})


def test_what_goes_where_in_a_wheel(tmp_path: Path) -> None:
    files = {
        "x/__init__.py": "", "x/y.pyi": "", "x-1.data/purelib/z.py": "z", "x-1.data/platlib/w.so": "w",
        "x-1.data/scripts/tool": "#!", "x-1.data/data/etc/passwd": "no",
    }  # fmt: skip
    unpack(wheel(tmp_path, "x", "1", "py3-none-any", files), tmp_path / "lib")
    found = {str(path.relative_to(tmp_path / "lib")) for path in (tmp_path / "lib").rglob("*") if path.is_file()}
    assert {name for name in found if "dist-info" not in name} == {"x/__init__.py", "z.py", "w.so"}


@pytest.mark.parametrize("path", ["../out", "/out", "x/../../out", "x-1.data/purelib/../../../out"])
def test_a_wheel_that_would_lead_out(tmp_path: Path, path: str) -> None:
    into = tmp_path / "a" / "lib"
    into.mkdir(parents=True)
    with pytest.raises(StateError, match="leads out"):
        unpack(wheel(tmp_path, "x", "1", "py3-none-any", {path: "!"}), into)
    assert not list(tmp_path.rglob("out"))
