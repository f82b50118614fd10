"""What the tests of packages share: the source and the wheel, and the package for this Debian or Ubuntu, built once."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from driver import cache_folder
from isolation import patient
from pommel import locks

ROOT = Path(__file__).parents[2]
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source, and the wheel that was made of that source, as `python -m build` has it."""
    folder = tmp_path_factory.mktemp("dist")
    # What builds them is hatchling of lock/test.txt: nothing is fetched.
    words = [sys.executable, "-P", "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(words, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def deb(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = subprocess.run(["/usr/bin/python3", "-I", "--version"], capture_output=True, text=True, check=True).stdout
    if not here.startswith(f"Python {PYTHON}."):
        pytest.skip(f"a package is for the system's Python, which is {here.strip()}; these tests run on {PYTHON}")
    folder = tmp_path_factory.mktemp("deb")
    env = {**os.environ, "DPKG_DEB_COMPRESSOR_TYPE": "none", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(_libraries())}
    words = [sys.executable, "-P", ROOT / "tools" / "deb.py", wheel, folder]
    subprocess.run(words, env=env, check=True, timeout=patient(200))
    (made,) = folder.glob("*.deb")
    return made.rename(folder / "pommel.deb")


def dependencies(deb: Path) -> list[str]:
    """The names in a package's Depends."""
    told = subprocess.run(["dpkg-deb", "--field", deb, "Depends"], check=True, capture_output=True, text=True).stdout
    return [re.split(r"[ (]", each.strip())[0] for each in told.split(",")]


def _libraries() -> Path:
    """The wheels of lock/run.txt, fetched once: a release fetches them each time."""
    lock = ROOT / "lock" / "run.txt"
    key = hashlib.sha256(f"{PYTHON} {os.uname().machine} {lock.read_text()}".encode()).hexdigest()[:16]
    kept = cache_folder() / "wheels" / key
    kept.parent.mkdir(parents=True, exist_ok=True)
    with locks.hold(kept.parent / "lock", busy="another test fetches them", wait_s=patient(200)):
        if not kept.exists():
            for other in kept.parent.iterdir():
                if other.is_dir():
                    shutil.rmtree(other)
            aside = kept.with_name(f"{key}.part")
            words = ["download", "--quiet", "--require-hashes", "--only-binary=:all:", "--dest", aside, "-r", lock]
            pip = [sys.executable, "-I", ROOT / "tools" / "pip_kept.py", *words]
            subprocess.run(pip, check=True, capture_output=True, timeout=patient(200))
            aside.rename(kept)
    return kept
