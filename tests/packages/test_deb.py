"""The .deb: built as a release would, installed in a clean root, used by a plain user, and removed without a trace."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pommel import __version__
from pommel.host.needs import RUN_NEEDS

from .clean_root import AS_ADA, Step, run
from .conftest import PYTHON, dependencies

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(600)  # the first time, a root is made
HOME = "/usr/lib/pommel"
SITE = f"{HOME}/lib/python{PYTHON}/site-packages"
# What may change by any package's coming and going: the package manager's own memory, logs, and a user's files.
_MEMORY = (
    "/var/lib/dpkg",
    "/var/lib/apt",
    "/var/log",
    "/var/cache",
    "/home/ada",
    "/tmp",
    "/mnt",
    "/proc",
    "/dev",
    "/run",
)
FILES = "find / " + " -o ".join(f"-path {place} -prune" for place in _MEMORY) + " -o -print | sort"
# What any compiled library may ask for (PEP 600), by the Debian packages that have it.
FROM = {
    "zlib1g": r"libz\.so\.1$",
    "libc6": r"lib(c|m|dl|rt|pthread|util)\.so\.\d|ld-linux",
    "libstdc++6": r"lib(stdc\+\+|gcc_s)\.so\.\d",
}
IMPORTS = "import aiohttp, click, cryptography.x509, numpy, packaging, PIL.Image, platformdirs, Xlib.display, qemu.qmp, rich, simplejpeg, textual.app, yarl; print(numpy.__file__)"
STEPS = {
    "before": FILES,
    "install": "apt-get install -y --no-install-recommends /mnt/pommel.deb",
    "state": "dpkg-query -W -f '${Version} ${db:Status-Abbrev}' pommel; dpkg --verify pommel; dpkg --audit",
    "version": AS_ADA + "pommel --version",
    "dry run": AS_ADA + "pommel up trial --dry-run",
    "imports": AS_ADA + f"{HOME}/bin/python -P -c '{IMPORTS}'",
    "bytecode": AS_ADA
    + f"{HOME}/bin/python -P -v -c 'import click, numpy, pommel.cli.main' >/tmp/said 2>&1;"
    + f" grep -c 'code object from {HOME}' /tmp/said; grep -c 'matches {HOME}' /tmp/said",
    "strangers": "cd /tmp; echo 'raise SystemExit(7)' >click.py; pommel --version",
    "pages": AS_ADA + "man -w pommel; man -w 5 pommel.toml; man --warnings pommel >/dev/null",
    "completion": AS_ADA
    + "bash -c '. /usr/share/bash-completion/completions/pommel; COMP_WORDS=(pommel snap); COMP_CWORD=1;"
    + ' _pommel_completion pommel; echo "${COMPREPLY[@]}"\' pommel',
    "purge": "apt-get purge -y pommel",
    "after": FILES,
}


@pytest.fixture(scope="module")
def tree(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    unpacked = tmp_path_factory.mktemp("tree")
    subprocess.run(["dpkg-deb", "--raw-extract", deb, unpacked], check=True)
    return unpacked


@pytest.fixture(scope="module")
def ran(deb: Path) -> dict[str, Step]:
    return run([*dict.fromkeys(dependencies(deb)), "man-db"], deb.parent, STEPS)


def test_it_installs_in_a_clean_root(ran: dict[str, Step]) -> None:
    assert ran["install"].status == 0, ran["install"].output
    assert re.search(r"\b1 newly installed", ran["install"].output), "it has all that it depends on"
    assert ran["state"] == Step(0, f"{__version__}-1+py{PYTHON} ii ")


def test_a_plain_user_uses_it(ran: dict[str, Step]) -> None:
    assert ran["version"] == Step(0, f"pommel {__version__}\n")
    assert ran["dry run"].status == 0, ran["dry run"].output
    assert "would  start trial" in ran["dry run"].output
    assert "/home/ada/.local/share/pommel/machines/trial" in ran["dry run"].output
    assert ran["completion"] == Step(0, "snapshot\n")


def test_what_it_depends_on_is_all_that_a_machine_needs(ran: dict[str, Step], deb: Path) -> None:
    assert {name for need in RUN_NEEDS if not need.optional for name in need.packages["apt"]} <= set(dependencies(deb))
    assert ran["imports"] == Step(0, f"{SITE}/numpy/__init__.py\n")


def test_bytecode_is_taken_as_it_comes(ran: dict[str, Step], tree: Path) -> None:
    """It is read, and names the place where it is used, not the one where it was made."""
    compiled_anew, read = map(int, ran["bytecode"].output.split())
    assert compiled_anew == 0 and read > 50
    compiled = next((tree / SITE.lstrip("/") / "pommel" / "__pycache__").glob("paths.*.pyc")).read_bytes()
    assert f"{SITE}/pommel/paths.py".encode() in compiled
    assert compiled[4:8] == b"\x01\x00\x00\x00", "by hash, unchecked (PEP 552)"


def test_a_strangers_module_in_the_current_folder_is_not_imported(ran: dict[str, Step]) -> None:
    assert ran["strangers"] == Step(0, f"pommel {__version__}\n")


def test_its_pages_are_found(ran: dict[str, Step]) -> None:
    assert ran["pages"] == Step(0, "/usr/share/man/man1/pommel.1.gz\n/usr/share/man/man5/pommel.toml.5.gz\n")


def test_nothing_is_left_of_it(ran: dict[str, Step]) -> None:
    assert ran["purge"].status == 0, ran["purge"].output
    assert ran["before"].output.count("\n") > 1000
    before, after = (set(ran[when].output.splitlines()) for when in ("before", "after"))
    assert after - before == set()
    assert before - after == set()


def test_no_file_names_where_it_was_made(tree: Path, deb: Path) -> None:
    places = [f"{ROOT}/".encode(), b"pommel-deb.", f"{sys.prefix}/".encode()]
    for path in tree.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            assert [place for place in places if place in content] == [], path
    assert not list(tree.glob("DEBIAN/p*")), "no script that root runs"


def test_its_libraries_ask_for_nothing_else(tree: Path, deb: Path) -> None:
    """What is compiled takes its libraries from the package itself, or from one that it depends on."""
    compiled = [path for path in tree.rglob("*.so*") if path.is_file()]
    own = {path.name for path in compiled}
    told = subprocess.run(["readelf", "--dynamic", "--wide", *compiled], check=True, capture_output=True, text=True)
    wanted = set(re.findall(r"\(NEEDED\).*\[(.+)\]", told.stdout)) - own
    assert len(compiled) > 20 and wanted
    provided = "|".join(f"(?:{pattern})" for pattern in FROM.values())
    assert [name for name in sorted(wanted) if not re.match(provided, name)] == []
    assert set(FROM) <= set(dependencies(deb))


def test_it_carries_what_pommel_needs_and_no_tool_that_built_it(tree: Path) -> None:
    names = {path.name.partition("-")[0].lower() for path in (tree / SITE.lstrip("/")).glob("*.dist-info")}
    assert names >= {"pommel", "aiohttp", "textual", "linkify_it_py", "cffi"}
    assert names & {"hatchling", "editables", "pip", "setuptools", "pluggy"} == set()
