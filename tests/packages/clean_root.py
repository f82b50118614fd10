"""A clean system in memory, for a package to be installed in and removed from: the host's own release, and little else.

It is made by mmdebstrap once, as an archive that the tests keep. A run unpacks it into a tmpfs of its own, as root or in
a user namespace, so that nothing of it is left.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from driver import cache_folder
from isolation import let_others_in, patient
from pommel import locks
from pommel.trial import apt
from pommel.trial.privilege import build_environment, build_privilege

_TARGETS = ("apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)|$(CODENAME)|$(COMPONENT)")
# Documents and translations are half of all; Pommel's own stay.
_WITHOUT = [
    *("--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/pommel/*"),
    *("--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/man/*"),
    *("--dpkgopt=path-include=/usr/share/man/man?/pommel*", "--dpkgopt=force-unsafe-io"),
    *('--aptopt=Acquire::Languages "none"', "--aptopt=APT::Install-Recommends false"),
]
_UNUSED_S = 14 * 24 * 3600  # one that nobody has asked for since is of other packages
_PLACES = 'set -e; mount -t tmpfs -o mode=0755 tmpfs "$1"; tar -C "$1" --numeric-owner --exclude=./dev/\\* -xf -; shift; exec "$@"'
_USER = "echo ada:x:1000:1000::/home/ada:/bin/sh >>/etc/passwd; mkdir /home/ada; chown 1000:1000 /home/ada"
AS_ADA = "cd /home/ada; setpriv --reuid=1000 --regid=1000 --clear-groups env HOME=/home/ada USER=ada "


@dataclass(frozen=True)
class Step:
    """What a command of a run did: its exit status, and both its streams."""

    status: int
    output: str


def archive(packages: Sequence[str]) -> Path:
    """A root with these packages, and what they depend on; made unless it is there."""
    sources = _sources()
    inputs = "\n".join([*sources, *packages, *_WITHOUT])
    made = cache_folder() / "roots" / f"{hashlib.sha256(inputs.encode()).hexdigest()[:16]}.tar"
    made.parent.mkdir(parents=True, exist_ok=True)
    with locks.hold(made.with_suffix(".lock"), busy="another test makes it", wait_s=patient(600)):
        if not made.exists():
            _make(made, packages, sources)
        made.touch()
    for other in made.parent.glob("*.tar"):
        if other.stat().st_mtime < made.stat().st_mtime - _UNUSED_S:
            other.unlink(missing_ok=True)
    return made


def run(packages: Sequence[str], folder: Path, steps: Mapping[str, str]) -> dict[str, Step]:
    """Run shell commands, one after another, as root of such a system; `folder` is its /mnt, to be read only."""
    root = folder.with_name(f"{folder.name}.root")
    root.mkdir()
    let_others_in(folder)
    lines = [_USER]
    lines += [
        f"printf '\\0{name}\\0'; ({command}\n) </dev/null 2>&1; printf '\\0%d' $?" for name, command in steps.items()
    ]
    (folder / "steps.sh").write_text("\n".join(lines))
    inside = ["bwrap", "--bind", str(root), "/", "--ro-bind", str(folder), "/mnt", "--dev", "/dev", "--proc", "/proc"]
    inside += [
        "--perms",
        "1777",
        "--tmpfs",
        "/tmp",
        "--unshare-pid",
        "--cap-add",
        "ALL",
        "--die-with-parent",
        "--clearenv",
    ]
    inside += [
        "--setenv",
        "PATH",
        "/usr/sbin:/usr/bin:/sbin:/bin",
        "--setenv",
        "LANG",
        "C.UTF-8",
        "sh",
        "/mnt/steps.sh",
    ]
    whole = ["unshare", "--mount", "sh", "-c", _PLACES, "sh", str(root), *inside]
    with archive(packages).open("rb") as packed:
        done = subprocess.run(
            build_privilege().inside(whole),
            stdin=packed,
            capture_output=True,
            env=build_environment(),
            timeout=patient(120),
        )
    parts = done.stdout.decode().split("\0")[1:]
    found = {name: Step(int(status), output) for name, output, status in zip(*[iter(parts)] * 3, strict=True)}
    assert list(found) == list(steps), done.stderr.decode() + done.stdout.decode()
    return found


def _make(made: Path, packages: Sequence[str], sources: Sequence[str]) -> None:
    privilege = build_privilege()
    settings = subprocess.run(apt.SETTINGS_ARGV, check=True, capture_output=True, text=True).stdout
    words = ["mmdebstrap", f"--mode={privilege.value}", "--variant=apt", "--format=tar", *_WITHOUT]
    words += [f"--aptopt={option}" for option in apt.download_options(settings)]
    words += [f"--include={','.join(packages)}", _codename(), "-", *sources]
    aside = made.with_suffix(".part")
    with aside.open("wb") as whole:
        done = subprocess.run(
            privilege.guarded(words),
            stdout=whole,
            stderr=subprocess.PIPE,
            env=build_environment(),
            timeout=patient(240),
        )
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    aside.rename(made)


def _codename() -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith("VERSION_CODENAME="))


def _sources() -> list[str]:
    """The host's own sources of its distribution, as lines of sources.list(5)."""
    told = subprocess.run([*_TARGETS, "Created-By: Packages"], check=True, capture_output=True, text=True).stdout
    lines = []
    for origin, uri, codename, component in (line.split("|") for line in told.splitlines()):
        if origin in ("Debian", "Ubuntu"):
            lines.append(f"deb {uri} {codename} {component}")
    assert lines, "apt knows no sources of Debian's or Ubuntu's"
    return list(dict.fromkeys(lines))
