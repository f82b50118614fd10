"""Puts files into a file system image without mounting it, with debugfs. Band: shell.

Each file's data goes through a plain name in the image's own folder, so that only paths in the image need quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pommel import process
from pommel.errors import BuildError

_EXPECTED = re.compile(r"debugfs |rm: File not found|(ext2fs_)?mkdir: Ext2 (file|directory) already exists")


@dataclass(frozen=True, slots=True)
class GuestFile:
    """A small file for the guest's disk; an existing file is replaced."""

    path: str
    data: bytes
    mode: int = 0o644
    uid: int = 0


def inject(raw: Path, files: Sequence[GuestFile], *, folders: Iterable[str] = ()) -> None:
    """Write `files` into the ext4 image `raw`; `folders` are made before, in order from the outside in.

    Raises:
        BuildError: the image has no such folder, or is damaged.
    """
    script = [f'mkdir "{folder}"' for folder in folders]
    for number, file in enumerate(files):
        source = raw.parent / f"file{number}"
        source.write_bytes(file.data)
        script += [f'rm "{file.path}"', f'write {source.name} "{file.path}"']
        for field, value in (("mode", f"0{0o100000 | file.mode:o}"), ("uid", file.uid), ("gid", file.uid)):
            script.append(f'set_inode_field "{file.path}" {field} {value}')
    (raw.parent / "script").write_text("\n".join(script) + "\n")
    done = process.run([process.which("debugfs"), "-w", "-f", "script", raw.name], cwd=raw.parent)
    _check(done.stderr.decode(errors="replace"))


def parents(paths: Iterable[str]) -> list[str]:
    """All folders of `paths`, outer ones first."""
    found = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    return sorted(found - {"/"})


def _check(complaints: str) -> None:
    """Check the output: debugfs always exits with 0. It prints a greeting to stderr, and `rm` may find no file."""
    for line in complaints.splitlines():
        if line.strip() and not _EXPECTED.match(line):
            raise BuildError(f"the base image is damaged: {line.strip()}", hint="remove it, then it is built again")
