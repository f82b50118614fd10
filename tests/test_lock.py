"""What is installed is what lock/ says, byte by byte, wherever it comes from and whatever pip was told elsewhere."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {"run.txt": (), "test.txt": ("test", "macos"), "bench.txt": ("bench",)}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SYSTEMS = ("linux", "darwin")


def entries(text: str) -> list[tuple[Requirement, list[str]]]:
    """Each locked library and its hashes."""
    lines = (" ".join(line.split()) for line in text.replace("\\\n", " ").splitlines() if not line.startswith("#"))
    split = [line.partition(" --hash=") for line in lines if line]
    return [(Requirement(name), re.findall(r"sha256:([0-9a-f]{64})(?: |$)", rest)) for name, _, rest in split]


def versions(name: str, python: str, system: str) -> dict[str, Version]:
    """What a lock has installed there."""
    place = default_environment() | {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": system,
    }
    found = {}
    for locked, _ in entries((ROOT / "lock" / name).read_text()):
        if locked.marker is None or locked.marker.evaluate(dict(place)):
            (exact,) = locked.specifier
            assert exact.operator == "==" and canonicalize_name(locked.name) not in found
            found[canonicalize_name(locked.name)] = Version(exact.version)
    return found


def wanted(extras: tuple[str, ...]) -> list[Requirement]:
    texts = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"], "editables"]
    texts += [text for extra in extras for text in PROJECT["project"]["optional-dependencies"][extra]]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", LOCKS)
def test_it_has_all_that_pyproject_asks_for(name: str, python: str, system: str) -> None:
    found = versions(name, python, system)
    place = default_environment() | {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": system,
    }
    for each in wanted(LOCKS[name]):
        if each.marker is None or each.marker.evaluate(dict(place)):
            assert each.specifier.contains(found[canonicalize_name(each.name)]), f"{each}: python3 tools/lock.py"


@pytest.mark.parametrize("name", LOCKS)
def test_and_all_that_those_ask_for(name: str) -> None:
    """As far as it is installed here."""
    found = versions(name, "{}.{}".format(*sys.version_info[:2]), sys.platform)
    for library, version in found.items():
        try:
            asked = metadata.distribution(library)
        except metadata.PackageNotFoundError:
            continue
        if Version(asked.version) != version:
            continue
        for each in map(Requirement, asked.requires or ()):
            if each.marker is None or each.marker.evaluate({"extra": ""}):
                assert each.specifier.contains(found[canonicalize_name(each.name)], prereleases=True), (
                    f"{library}: {each}"
                )


@pytest.mark.parametrize("name", LOCKS)
def test_every_file_of_every_library_has_its_hash_and_no_place(name: str) -> None:
    text = (ROOT / "lock" / name).read_text()
    found = entries(text)
    assert len(found) > 20 and all(hashes for _, hashes in found)
    wheels = {canonicalize_name(locked.name): len(hashes) for locked, hashes in found}
    assert wheels["aiohttp"] > 20 and wheels["pillow"] > 20 and wheels["numpy"] > 20, "not this system's alone"
    assert not re.search(r"://|^-|\s@\s|--(?:index|extra|find|trusted)", text, re.MULTILINE)


def test_they_say_the_same() -> None:
    for python in PYTHONS:
        run, test, bench = (versions(name, python, "linux") for name in LOCKS)
        assert run.items() <= test.items() and run.items() <= bench.items()
        assert all(bench[name] == version for name, version in test.items() if name in bench)


def test_what_guests_get_is_what_was_tried_and_its_lock_ships_with_pommel(tmp_path: Path) -> None:
    """Of the versions of lock/test.txt, by the same hashes; in the wheel too."""
    guest = entries((ROOT / "src/pommel/session/guest.lock").read_text())
    tried = {f"{one.name}{one.specifier}": hashes for one, hashes in entries((ROOT / "lock/test.txt").read_text())}
    same = {f"{one.name}{one.specifier}": hashes for one, hashes in guest if one.name != "uv"}
    assert len(same) > 12 and same.items() <= tried.items()
    build = [sys.executable, "-P", "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = tmp_path.glob("*.whl")
    assert "pommel/session/guest.lock" in zipfile.ZipFile(built).namelist()


# --- pip, and what it was told ---


def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pip_kept", ROOT / "tools" / "pip_kept.py")
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_where_packages_come_from_is_kept_and_where_they_go_is_not() -> None:
    listed = (
        "global.index-url='https://a/simple'\nglobal.user='true'\nglobal.find-links='/w'\ninstall.target='/t'\n"
        "install.index-url='https://b/simple'\ninstall.no_index='false'\n:env:.extra-index-url='x\\ny'\n:env:.no-deps='1'\n"
        "download.index-url='https://c/simple'\n\nfreeze.timeout='10'\n:env:.require-virtualenv='true'"
    )
    assert module().kept(listed) == {
        "index-url": "https://b/simple", "find-links": "/w", "no-index": "false", "extra-index-url": "x\ny"
    }  # fmt: skip


# A checkout with a library, and a project that builds itself without one.
BACKEND = """
import zipfile
def build_editable(wheels, config_settings=None, metadata_directory=None):
    name = "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(wheels + "/" + name, "w") as made:
        made.writestr("tiny.py", "")
        made.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\nRequires-Dist: absent\\n")
        made.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        made.writestr("tiny-1.dist-info/RECORD", "")
    return name
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    here = tmp_path / "here"
    for folder in ("lock", "tools", "wheels"):
        (here / folder).mkdir(parents=True)
    for file in ("venv.sh", "pip_kept.py"):
        (here / "tools" / file).write_bytes((ROOT / "tools" / file).read_bytes())
    (here / "backend.py").write_text(BACKEND)
    (here / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["absent"]\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "tiny"\nversion = "1"\n'
    )
    wheel = here / "wheels" / "lib-2-py3-none-any.whl"
    record = "lib.py,sha256=" + base64.urlsafe_b64encode(hashlib.sha256(b"").digest()).decode().rstrip("=") + ",0\n"
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr("lib.py", "")
        made.writestr("lib-2.dist-info/METADATA", "Metadata-Version: 2.1\nName: lib\nVersion: 2\n")
        made.writestr("lib-2.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr("lib-2.dist-info/RECORD", record)
    (here / "lock" / "run.txt").write_text(
        f"lib==2 \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    )
    return here


def install(here: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """As ./pommel does, for a user who has told pip a lot, in a folder where somebody else has put modules."""
    config = tmp_path / "user" / ".config" / "pip"
    config.mkdir(parents=True)
    config.joinpath("pip.conf").write_text(
        f"[global]\nno-index = true\nfind-links = {here / 'wheels'}\nuser = true\n[install]\ntarget = {tmp_path / 'target'}\n"
    )
    (tmp_path / "cwd").mkdir()
    for trap in ("pip", "venv", "ensurepip"):
        (tmp_path / "cwd" / f"{trap}.py").write_text(f"open({str(tmp_path / 'taken')!r}, 'w')\n")
    (tmp_path / "constraints").write_text("lib==1\n")
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "XDG_", "PYTHON"))}
    env |= {"HOME": str(tmp_path / "user"), "PIP_USER": "1", "PIP_PREFIX": str(tmp_path / "prefix"), "PIP_NO_DEPS": "0"}
    env |= {"PIP_CONSTRAINT": str(tmp_path / "constraints"), "PIP_DRY_RUN": "1", "PIP_REQUIRE_VIRTUALENV": "1"}
    env |= {"POMMEL_PYTHON": sys.executable, "PIP_ROOT": str(tmp_path / "root"), "PYTHONPATH": str(tmp_path / "cwd")}
    script = f'. "{here}/tools/venv.sh"; make_venv "{here}" "{here}/.venv" run'
    return subprocess.run(
        ["sh", "-euc", script], cwd=tmp_path / "cwd", env=env, capture_output=True, text=True, check=False
    )


def test_what_pip_was_told_elsewhere_does_not_matter(checkout: Path, tmp_path: Path) -> None:
    done = install(checkout, tmp_path)
    assert done.returncode == 0, done.stderr
    python = checkout / ".venv" / "bin" / "python"
    told = subprocess.run(
        [python, "-I", "-c", "import lib, tiny; print(lib.__file__)"], capture_output=True, text=True, check=True
    )
    assert told.stdout.startswith(str(checkout / ".venv"))
    assert (checkout / ".venv" / ".pommel-lock").read_text() == (checkout / "lock" / "run.txt").read_text()
    assert not any((tmp_path / name).exists() for name in ("taken", "target", "prefix", "root"))


def test_a_file_that_is_another_than_the_lock_says_is_refused(checkout: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(checkout / "wheels" / "lib-2-py3-none-any.whl", "a") as made:
        made.writestr("lib_more.py", "")
    done = install(checkout, tmp_path)
    assert done.returncode == 1 and "HASH" in done.stderr.upper() and "pip could not install Pommel" in done.stderr
    assert not (checkout / ".venv" / ".pommel-installed").exists()
