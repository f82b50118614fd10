"""`init`: make a config repo, the folder with the upstream's pin, its patches, and the machines. Band: app.

It writes missing files and never changes existing ones, so it can be called again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pommel.errors import CommandFailed, NotPermitted, PommelError, StateError
from pommel.files import users_mode, write_atomic
from pommel.overlay.git import git
from pommel.overlay.pins import DEFAULT, OSX_KVM
from pommel.paths import check_name
from pommel.progress import Report, ignore, note, warn
from pommel.recovery import catalog

_TOML = """\
# The machines of this folder, and the upstream that they boot from.
# `pommel config {name}` shows every key, its value, and where the value comes from.

[upstream]
# The commit to use. A branch does not work, because upstream rewrites its history.
# To update: change it here, then `pommel bootstrap --update`. `pommel overlay status --fetch` shows upstream's newest.
url = "{url}"
commit = "{commit}"
# The hashes of upstream's binaries. For the commits that Pommel knows it brings its own; for others, give them here:
# sha256 = {{ "OpenCore/OpenCore.qcow2" = "…" }}

[machine.{name}]
macos = "{macos}"
# If a key is left out, Pommel chooses the value for this host and macOS; the reason: `pommel argv {name} --explain`.
# memory = "8G"
# sockets = 1
# cores = 2                # per socket; macOS needs powers of two
# threads = 4              # vCPUs in total
# cpu = "Haswell-noTSX"
# cpu_flags = ["+avx2", "+fma", "+bmi1", "+bmi2", "+smep"]
# disk = "80G"             # size of a new disk; it grows as it is used
# ssh_port = 2222
# ssh_user = "me"          # your user name in macOS
# qemu_args = ["-device", "usb-host,vendorid=0x05ac"]
"""

_IGNORE = """\
*.img
*.qcow2
*.dmg
*.chunklist
"""

_README = """\
# macOS machines

A config repo for Pommel: our changes to {url}.

    pommel bootstrap       # clone upstream at the pinned commit, apply patches/ and files/, set up this host
    pommel up {name}       # create the machine, start it, and show its screen

- `pommel.toml`: the pinned commit and the machines
- `patches/*.patch`: changes to upstream's files, applied in the order of their names (`git diff` makes them)
- `files/`: whole files, placed in the checkout under the same paths

`pommel overlay status` shows the state of all of them, `pommel overlay diff {name}` the differences from upstream's own
command line.
"""


@dataclass(frozen=True, slots=True)
class ConfigRepo:
    """A config repo, and the files that were written now."""

    folder: Path
    machine: str
    written: tuple[str, ...]
    git: bool  # whether a git repository was created now


def files_of(name: str, version: catalog.MacVersion) -> dict[str, str]:
    """The files of a new config repo, by their path in it."""
    words = {"name": name, "macos": version.name, "url": OSX_KVM, "commit": DEFAULT.commit}
    return {
        "pommel.toml": _TOML.format(**words),
        ".gitignore": _IGNORE,
        "README.md": _README.format(**words),
        # git keeps no empty folders; these two are not placed or applied.
        "patches/.gitkeep": "",
        "files/.gitkeep": "",
    }


def init(
    folder: Path,
    *,
    macos: str = "sonoma",
    name: str | None = None,
    dry_run: bool = False,
    report: Report = ignore,
) -> ConfigRepo:
    """Make `folder` a config repo with one machine of that macOS. The default for `name` is the macOS's name.

    Raises:
        UsageError: there is no such macOS, or the name is not valid.
        StateError: the folder, or one in it, is a file.
    """
    version = catalog.find(macos)
    name = check_name(name or version.name)
    folder = folder.absolute()
    wanted = files_of(name, version)
    for place in (folder, *(folder / file for file in wanted if "/" in file)):
        parent = place if place == folder else place.parent
        if parent.exists() and not parent.is_dir():
            raise StateError(f"{parent} exists and is not a folder", hint="choose another folder: pommel init DIR")
    missing = tuple(file for file in wanted if not (folder / file).exists())
    begins = not _in_git(folder)
    if dry_run:
        return ConfigRepo(folder, name, missing, begins)
    for file in missing:
        write_atomic(folder / file, wanted[file], mode=users_mode())
    if begins:
        begins = _begin_git(folder, report)
    for file in (each for each in wanted if each not in missing and not each.endswith(".gitkeep")):
        note(report, f"{file} exists and was not changed")
    return ConfigRepo(folder, name, missing, begins)


def _in_git(folder: Path) -> bool:
    there = next((each for each in (folder, *folder.parents) if each.is_dir()), folder)
    try:
        return git(there, "rev-parse", "--is-inside-work-tree", check=False).text.strip() == "true"
    except NotPermitted:  # it is in a repository of another user
        return True
    except PommelError:
        return False


def _begin_git(folder: Path, report: Report) -> bool:
    try:
        git(folder, "init", "--quiet", "--template=", "--initial-branch=main")
    except CommandFailed as failure:
        warn(report, f"no git repository was created: {failure.message}")
        return False
    except PommelError as missing:  # git is missing; `bootstrap` installs it
        warn(report, f"no git repository was created: {missing.message}; later: git init {folder}")
        return False
    return True
