"""The source and the wheel hold every file that git has, and no other."""

from __future__ import annotations

import subprocess
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pommel import __version__

ROOT = Path(__file__).parents[2]


def tracked(*below: str) -> set[str]:
    """What git has or would take, as it lies here."""
    words = ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "ls-files", "-z", "--cached", "--others"]
    listed = subprocess.run([*words, "--exclude-standard", "--", *below], capture_output=True, check=True).stdout
    return {name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()}


def test_the_source_is_all_that_git_has(built: Path) -> None:
    """And nothing that lies about in a checkout, such as somebody's pommel.toml."""
    (path,) = built.glob("*.tar.gz")
    assert path.name == f"pommel-{__version__}.tar.gz"
    with tarfile.open(path) as whole:
        names = {name.removeprefix(f"pommel-{__version__}/") for name in whole.getnames()}
    known = {name.partition("/")[0] for name in tracked_by_git()}
    assert names - {"PKG-INFO"} == {name for name in tracked() if name.partition("/")[0] in known}


def tracked_by_git() -> set[str]:
    words = ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "ls-files", "-z"]
    return set(subprocess.run(words, capture_output=True, check=True).stdout.decode().split("\0")) - {""}


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as whole:
        names = {name for name in whole.namelist() if not name.startswith(f"pommel-{__version__}.dist-info/")}
        sizes = {entry.filename: entry.file_size for entry in whole.infolist()}
    assert names == {name.removeprefix("src/") for name in tracked("src/pommel")}
    for name in ("console/static/index.html", "trial/data/guest/setup.sh", "session/guest.lock", "menu/menu.tcss"):
        assert sizes[f"pommel/{name}"] == (ROOT / "src/pommel" / name).stat().st_size > 0


def test_the_wheel_says_what_the_project_does(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as whole:
        told = message_from_bytes(whole.read(f"pommel-{__version__}.dist-info/METADATA"))
        scripts = whole.read(f"pommel-{__version__}.dist-info/entry_points.txt").decode()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = [Requirement(line) for line in told.get_all("Requires-Dist", [])]
    wanted = [Requirement(line) for line in project["dependencies"]]
    found = {(canonicalize_name(need.name), need.specifier) for need in needs if "extra" not in str(need.marker or "")}
    assert found == {(canonicalize_name(need.name), need.specifier) for need in wanted}
    assert told["Version"] == __version__ and told["Requires-Python"] == project["requires-python"]
    assert scripts.split("\n")[:2] == ["[console_scripts]", "pommel = pommel.cli:main"]
