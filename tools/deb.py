"""A package for Debian and Ubuntu:   PYTHON tools/deb.py WHEEL FOLDER   writes FOLDER/pommel_VERSION_ARCHITECTURE.deb

It is for distributions whose Python has PYTHON's version (3.11: Debian 12; 3.12: Ubuntu 24.04; 3.13: Debian 13), since
it carries compiled libraries, and says so in its version and in Depends. What it depends on beside Python is what
`pommel setup` would install (host/needs.py). It has no scripts that run as root: dpkg knows each of its files.
Needs dpkg-deb; see `package_tree` for the rest. DPKG_DEB_COMPRESSOR_TYPE and -LEVEL are dpkg-deb's (dpkg-deb(1)).
"""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import package_tree

_MAINTAINER = "The authors of Pommel <authors@pommel.invalid>"  # a distribution's own maintainer puts their name here
_REVISION = "1"
_GLIBC = "2.28"  # of the wheels (PEP 600, manylinux_2_28); of the libraries that it allows they ask for two more
_DESCRIPTION = """\
 Runs macOS virtual machines on Linux with QEMU, and gives you their screen,
 keyboard, mouse and clipboard in your browser, from the boot picker on.
 .
 The Python libraries that it uses are in the package."""
_COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: the authors of Pommel
License: Expat
{licence}
Files: usr/lib/pommel/lib/*
Copyright: see the .dist-info folder of each library
License: of each library
 This package carries Python libraries. The licence of each is in its folder
 NAME.dist-info in /{site}:
{libraries}
"""


def build(wheel: Path, into: Path) -> Path:
    """Build the package, and return where it is. Raises what `package_tree.make` does."""
    with tempfile.TemporaryDirectory(prefix="pommel-deb.") as scratch:
        tree = Path(scratch) / "tree"
        version = f"{package_tree.make(wheel, tree)}-{_REVISION}+py{package_tree.VERSION}"
        time_s = package_tree.made_at()
        _for_debian(tree)
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN" / "md5sums").write_text(_sums(tree))
        (tree / "DEBIAN" / "control").write_text(_control(version, _kibibytes(tree)))
        package_tree.settle(tree, time_s)
        into.mkdir(parents=True, exist_ok=True)
        made = into / f"pommel_{version}_{_architecture()}.deb"
        words = ["dpkg-deb", "--root-owner-group", "--build", tree, made]
        subprocess.run(words, check=True, env={**os.environ, "SOURCE_DATE_EPOCH": str(time_s)}, stdout=sys.stderr)
    return made


def depends() -> dict[str, list[str]]:
    """The relations to other packages, by field of the control file."""
    from pommel.host.needs import MACOS_NEEDS, RUN_NEEDS, SHARE_NEEDS
    from pommel.trial.requirements import BUILD_PROGRAMS

    major, minor = sys.version_info[:2]
    must = [
        f"python3 (>= {major}.{minor})",
        f"python3 (<< {major}.{minor + 1})",
        f"libc6 (>= {_GLIBC})",
        "libstdc++6",
        "zlib1g",
    ]
    must += [name for need in RUN_NEEDS if not need.optional for name in need.packages["apt"]]
    should = [name for need in (*RUN_NEEDS, *MACOS_NEEDS) for name in need.packages["apt"]]
    should += [each.package for each in BUILD_PROGRAMS]
    could = [name for need in SHARE_NEEDS for name in need.packages["apt"]]
    fields: dict[str, list[str]] = {}
    for field, names in (("Depends", must), ("Recommends", should), ("Suggests", could)):
        before = {name for others in fields.values() for name in others}
        fields[field] = [name for name in dict.fromkeys(names) if name not in before]
    return fields


def _control(version: str, kibibytes: int) -> str:
    fields = {
        "Package": "pommel",
        "Version": version,
        "Architecture": _architecture(),
        "Maintainer": _MAINTAINER,
        "Installed-Size": str(kibibytes),
        **{field: ", ".join(names) for field, names in depends().items()},
        "Section": "otherosfs",
        "Priority": "optional",
        "Description": f"macOS virtual machines, with their screen in the browser\n{_DESCRIPTION}",
    }
    return "".join(f"{field}: {value}\n" for field, value in fields.items())


def _for_debian(tree: Path) -> None:
    """What Debian's policy has otherwise: where zsh's completions lie, compressed pages, copyright and changelog."""
    share = tree / "usr" / "share"
    (share / "zsh" / "site-functions").rename(share / "zsh" / "vendor-completions")
    for page in (share / "man").rglob("*.[15]"):
        _compress(page, page.read_bytes())
        page.unlink()
    documents = share / "doc" / "pommel"
    documents.mkdir(parents=True)
    _compress(documents / "changelog", (package_tree.ROOT / "CHANGELOG.md").read_bytes())
    found = metadata.distributions(path=[str(tree / package_tree.SITE)])
    libraries = sorted(
        f" {each.metadata['Name']} {each.version}" for each in found if each.metadata["Name"] != "pommel"
    )
    licence = "".join(f" {line or '.'}\n" for line in (package_tree.ROOT / "LICENSE").read_text().splitlines())
    text = _COPYRIGHT.format(licence=licence, site=package_tree.SITE, libraries="\n".join(libraries))
    (documents / "copyright").write_text(text)


def _compress(path: Path, content: bytes) -> None:
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content, mtime=0))


def _sums(tree: Path) -> str:
    """For `dpkg --verify` (deb-md5sums(5))."""
    files = sorted(path for path in (tree / "usr").rglob("*") if path.is_file() and not path.is_symlink())
    sums = ((hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(), path) for path in files)
    return "".join(f"{told}  {path.relative_to(tree)}\n" for told, path in sums)


def _kibibytes(tree: Path) -> int:
    """As deb-substvars(5) has Installed-Size: files by their sizes in KiB, all else 1 KiB each."""
    return sum(-(-path.lstat().st_size // 1024) if path.is_file() else 1 for path in (tree / "usr").rglob("*"))


def _architecture() -> str:
    return subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(build(Path(sys.argv[1]), Path(sys.argv[2])))
