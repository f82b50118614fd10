"""Work on a checkout that happens whole or not at all, even over a kill -9. Band: shell.

Before anything is touched, what will be touched is copied to `.git/pommel/RECORD/`; after an error it is put back from
there, and after a kill by whoever takes the checkout's lock next. Removing the record is what makes the work done.
There is a record for a single step, one for swapping patches and one for a whole update: each may hold the former.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from pommel import json_file
from pommel.errors import BusyError, UpstreamError
from pommel.locks import hold
from pommel.overlay.git import git
from pommel.paths import build_aside, sweep_aside, write_atomic

STEP, SWAP, UPDATE = "undo-step", "undo-swap", "undo-update"
_WAIT_S = 10.0


def ours(checkout: Path) -> Path:
    """The folder in a checkout where Pommel keeps what it must remember about it; git never looks there."""
    return checkout / ".git" / "pommel"


@contextlib.contextmanager
def at_work(checkout: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the checkout for the time of the block; what a killed predecessor left half done is put back first.

    Raises:
        BusyError: somebody else is at work on it.
    """
    lock = checkout.with_name(f".{checkout.name}.lock")
    with hold(lock, busy=f"{checkout} is in use by another pommel", wait_s=wait_s):
        if (checkout / ".git").is_dir():
            _wait_for_orphans(checkout)
            recover(checkout)
        yield


@contextlib.contextmanager
def all_or_nothing(
    checkout: Path, paths: Iterable[str], *, record: str = STEP, to: str | None = None
) -> Iterator[None]:
    """Run the block; if it fails, the files `paths` and the checked-out commit are as they were before.

    `to` is the commit that the block checks out, if it does. The caller is `at_work`.
    """
    folder = ours(checkout) / record
    with build_aside(folder) as aside:
        _save(checkout, sorted(set(paths)), aside, to)
    try:
        yield
    except BaseException:
        _put_back(checkout, folder)
        raise
    _forget(folder)


def recover(checkout: Path) -> bool:
    """Put back what a killed predecessor left half done, and say whether there was any."""
    _drop_stale_locks(checkout)
    found = False
    for record in (STEP, SWAP, UPDATE):  # from the inside out
        folder = ours(checkout) / record
        sweep_aside(folder)
        if folder.is_dir():
            _put_back(checkout, folder)
            found = True
    return found


def place(checkout: Path, name: str, data: bytes | None, mode: int) -> None:
    """Write a file of the checkout whole, or remove it (None) along with the folders that this leaves empty.

    Raises:
        UpstreamError: a symbolic link or a file stands where a folder must be, so it would land elsewhere.
    """
    path = inside(checkout, name)
    if data is not None:
        write_atomic(path, data, mode=mode)
        return
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder in (checkout, checkout / ".git"):
            break
        try:
            folder.rmdir()
        except OSError:  # not empty, or never there
            break


def inside(checkout: Path, name: str) -> Path:
    """The path of the checkout's file `name`.

    Raises:
        UpstreamError: it is not to be written to: it goes through a symbolic link, or is no file.
    """
    path = checkout / name
    for folder in path.parents:
        if folder == checkout:
            break
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise UpstreamError(f"{name} cannot be placed: {folder} is not a folder of the checkout itself")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UpstreamError(f"{name} cannot be placed: {path} exists and is not a regular file")
    return path


def digest(path: Path) -> str | None:
    """The file's SHA-256 in hexadecimal, or None when there is no such plain file."""
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def head(checkout: Path) -> str:
    """The commit that is checked out."""
    return git(checkout, "rev-parse", "--verify", "HEAD^{commit}").text.strip()


def added_between(checkout: Path, before: str, after: str) -> list[str]:
    """The files that `after` has and `before` has not; needs no file's contents."""
    found = git(checkout, "diff", "--name-only", "--no-renames", "--diff-filter=A", "-z", before, after)
    return [os.fsdecode(name) for name in found.stdout.split(b"\0") if name]


def _save(checkout: Path, paths: list[str], aside: Path, to: str | None) -> None:
    entries: list[tuple[str, int | None]] = []
    for number, name in enumerate(paths):
        path = inside(checkout, name)
        mode = path.stat().st_mode & 0o777 if path.exists() else None
        if mode is not None:
            shutil.copyfile(path, aside / str(number))
        entries.append((name, mode))
    moving = {"from": head(checkout), "to": to} if to else None
    json_file.write(aside / "record.json", {"files": entries, "moving": moving})


def _put_back(checkout: Path, folder: Path) -> None:
    record = json.loads((folder / "record.json").read_text())
    _drop_stale_locks(checkout)
    moving = record["moving"]
    # Inside an update, the step that moves has a record of its own, made once it is sure that no edits get lost. So
    # when the commit is still the old one here, there is nothing to move back, and there may be edits.
    if moving and (folder.name == STEP or head(checkout) != moving["from"]):
        _move_back(checkout, moving["from"], moving["to"])
    for number, (name, mode) in enumerate(record["files"]):
        data = (folder / str(number)).read_bytes() if mode is not None else None
        place(checkout, name, data, mode or 0o644)
    _forget(folder)


def _move_back(checkout: Path, before: str, after: str) -> None:
    # A checkout that was killed has written files that the index knows nothing of; the next one would stumble on them.
    added = added_between(checkout, before, after)
    git(checkout, "checkout", "--quiet", "--force", "--detach", before, fetches=True)
    for name in added:
        place(checkout, name, None, 0)


def _forget(folder: Path) -> None:
    gone = folder.with_name(f".{folder.name}.building.done")  # a name that the next sweep collects
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _drop_stale_locks(checkout: Path) -> None:
    """Remove the lock files of a git that was killed: nobody else is at work here."""
    folder = checkout / ".git"
    for left in [*folder.glob("*.lock"), *(folder / "refs").rglob("*.lock")]:
        left.unlink(missing_ok=True)


def _wait_for_orphans(checkout: Path) -> None:
    """A git whose Pommel was killed works on for a moment; give it time to end."""
    deadline = time.monotonic() + _WAIT_S
    while (pid := _git_in(checkout)) is not None:
        if time.monotonic() >= deadline:
            raise BusyError(f"git is working in {checkout} (pid {pid})", hint=f"wait for it, or: kill {pid}")
        time.sleep(0.05)


def _git_in(checkout: Path) -> int | None:
    where = checkout.resolve()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "comm").read_text().startswith("git") and (entry / "cwd").readlink() == where:
                return int(entry.name)
        except OSError:  # gone, or another user's
            continue
    return None
