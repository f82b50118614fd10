"""Decide which boot scripts may be run: Pommel's own, and those that the user trusts in their present state. Band: app.

In a sandbox, a script can do no harm while its arguments are recorded; so it is enough that no other user can change
it. Without a sandbox it runs with the user's rights; so the user must trust it, once for each state of its files.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel import trust
from pommel.app.workspace import OSX_KVM, TRIAL, Workspace
from pommel.config import FILE_NAME
from pommel.errors import TrustError, UsageError
from pommel.machine.spec import MachineSpec
from pommel.overlay.sandbox import bubblewrap

_PIECE_MAX = 256 << 10  # bytes of a file that a script may read its commands from
_PROGRAM_MAX = 16 << 20  # bytes of one that it may run
_ENTRIES_MAX = 20_000
_NO_SCRIPTS = (".git", ".hg")


@dataclass(frozen=True, slots=True)
class TrustEntry:
    """A trusted path or script. `state`: "trusted", "changed" (the script has changed since then) or "missing"."""

    path: str
    kind: str  # "path" or "script"
    state: str


def must_start(workspace: Workspace, spec: MachineSpec, folder: Path) -> None:
    """Refuse a start of machine `spec.name` with an untrusted boot script in the upstream's `folder`.

    Raises:
        TrustError: another user can change the script, or it would run without a sandbox; and the user does not trust
            its present state. In a managed upstream: another user can change it.
    """
    script = folder / spec.boot_script
    if spec.upstream == TRIAL or not script.is_file():  # Pommel's own; a missing one is reported by its reader
        return
    if spec.upstream == OSX_KVM and folder.is_relative_to(workspace.home.root):
        # The script is from the pinned commit with the user's patches and files, so only its permissions matter.
        trust.must(script, "the boot script", named=folder)
        return
    doubt = trust.doubt(script) if not trust.is_trusted(script) else None
    if doubt is None and bubblewrap() is not None:
        return
    digest = digest_of(script)
    if trust.is_trusted_script(script, digest):
        return
    why = (
        f"{doubt.path} {doubt.why}, and the script decides what runs as your user"
        if doubt
        else "it would run as your user without a sandbox, because bubblewrap does not work here"
    )
    ways = [f"read it, then: pommel trust {shlex.quote(str(script))}"]
    ways += [doubt.mend] if doubt and doubt.mend else [] if doubt else ["install bubblewrap, and allow user namespaces"]
    raise TrustError(
        f"the boot script {script} is not trusted in its present state: {why}",
        hint="; or: ".join(ways),
        path=script,
        digest=digest,
    )


def digest_of(script: Path) -> str:
    """The SHA-256 of a script and of all files below its folder that it may run or read commands from."""
    whole = hashlib.sha256()
    for path in _pieces(script):
        name = os.fsencode(path.relative_to(script.parent))
        about = hashlib.sha256(path.read_bytes()).digest() if not path.is_symlink() else os.fsencode(path.readlink())
        whole.update(b"%d:%b%d:%b" % (len(name), name, len(about), about))
    return whole.hexdigest()


def allow(paths: list[Path]) -> list[TrustEntry]:
    """Trust each path: a pommel.toml or a folder even if others can write to it, another file as a script in its state.

    Raises:
        UsageError: one does not exist; nothing was trusted.
    """
    if missing := next((path for path in paths if not path.exists()), None):
        raise UsageError(f"{missing} does not exist", hint="give a pommel.toml, a folder, or a boot script")
    for path in paths:
        is_script = path.is_file() and path.name != FILE_NAME
        trust.trust(path, digest_of(path) if is_script else None)
    named = {os.path.realpath(path) for path in paths}
    return [entry for entry in entries() if entry.path in named]


def forget(paths: list[Path]) -> None:
    """Stop trusting `paths`.

    Raises:
        UsageError: one was not trusted; the others are removed.
    """
    if unknown := [str(path) for path in paths if not trust.distrust(path)]:
        raise UsageError(f"{', '.join(unknown)} was not trusted", hint="pommel trust --list")


def entries() -> list[TrustEntry]:
    """All trusted paths and scripts, by path."""
    said = trust.trusted()
    found = [TrustEntry(path, "path", "trusted" if Path(path).exists() else "missing") for path in said.paths]
    for name, digest in said.scripts.items():
        path = Path(name)
        state = "missing" if not path.is_file() else "trusted" if digest_of(path) == digest else "changed"
        found.append(TrustEntry(name, "script", state))
    return sorted(found, key=lambda entry: (entry.path, entry.kind))


def as_dict(entry: TrustEntry) -> dict[str, Any]:
    """One entry as a JSON object."""
    return {"path": entry.path, "kind": entry.kind, "state": entry.state}


def _pieces(script: Path) -> Iterator[Path]:
    yield script
    left = _ENTRIES_MAX
    for folder, folders, files in os.walk(script.parent):
        folders[:] = sorted(each for each in folders if each not in _NO_SCRIPTS)
        for name in sorted(files):
            left -= 1
            if left < 0:
                return
            path = Path(folder, name)
            if path != script and (path.is_symlink() or _may_be_read(path)):
                yield path


def _may_be_read(path: Path) -> bool:
    """Whether a script may read commands from the file (it is small, or a program), and this user may read it."""
    about = path.stat()
    size_max = _PROGRAM_MAX if about.st_mode & 0o111 else _PIECE_MAX
    return path.is_file() and about.st_size <= size_max and os.access(path, os.R_OK)
