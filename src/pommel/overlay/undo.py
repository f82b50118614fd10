"""Work on a checkout that is done completely or not at all, even after a kill -9. Band: shell.

Before a change, the affected files are copied to `.git/pommel/RECORD/`; after an error they are restored from there,
and after a kill by the next process that takes the checkout's lock. The removal of the record completes the work.
There is a record for a single step, one for swapping patches and one for a whole update: each may contain the former.
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
    """The folder in a checkout for Pommel's own records; git ignores it."""
    return checkout / ".git" / "pommel"


@contextlib.contextmanager
def at_work(checkout: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the checkout during the block; an interrupted change of a killed process is undone first.

    Raises:
        BusyError: another process works on it.
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
    """Run the block; if it fails, the files `paths` and the checked-out commit are restored.

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
    """Undo the interrupted changes of a killed process; return whether there were any."""
    _drop_stale_locks(checkout)
    found = False
    for record in (STEP, SWAP, UPDATE):  # from the innermost record to the outermost
        folder = ours(checkout) / record
        sweep_aside(folder)
        if folder.is_dir():
            _put_back(checkout, folder)
            found = True
    return found


def place(checkout: Path, name: str, data: bytes | None, mode: int) -> None:
    """Write a whole file of the checkout, or remove it (None) and the folders that become empty.

    Raises:
        UpstreamError: a symbolic link or a file is in the place of a folder, so the file would be written elsewhere.
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
        except OSError:  # not empty, or it never existed
            break


def inside(checkout: Path, name: str) -> Path:
    """The path of the checkout's file `name`.

    Raises:
        UpstreamError: it must not be written: its path has a symbolic link, or it is not a file.
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
    """The file's SHA-256 in hexadecimal; None if it is not a regular file."""
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def head(checkout: Path) -> str:
    """The commit that is checked out."""
    return git(checkout, "rev-parse", "--verify", "HEAD^{commit}").text.strip()


def added_between(checkout: Path, before: str, after: str) -> list[str]:
    """The files that `after` has and `before` has not; the files' contents are not needed."""
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
    # Inside an update, the step that moves has its own record, made after the check that no edits get lost. So if the
    # commit is still the old one here, there is nothing to move back, and there may be edits.
    if moving and (folder.name == STEP or head(checkout) != moving["from"]):
        _move_back(checkout, moving["from"], moving["to"])
    for number, (name, mode) in enumerate(record["files"]):
        data = (folder / str(number)).read_bytes() if mode is not None else None
        place(checkout, name, data, mode or 0o644)
    _forget(folder)


def _move_back(checkout: Path, before: str, after: str) -> None:
    # A killed checkout has written files that are not in the index; the next one would fail because of them.
    added = added_between(checkout, before, after)
    git(checkout, "checkout", "--quiet", "--force", "--detach", before, fetches=True)
    for name in added:
        place(checkout, name, None, 0)


def _forget(folder: Path) -> None:
    gone = folder.with_name(f".{folder.name}.building.done")  # a name that the next sweep removes
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _drop_stale_locks(checkout: Path) -> None:
    """Remove the lock files of a killed git: nobody else works here."""
    folder = checkout / ".git"
    for left in [*folder.glob("*.lock"), *(folder / "refs").rglob("*.lock")]:
        left.unlink(missing_ok=True)


def _wait_for_orphans(checkout: Path) -> None:
    """Wait for a git whose Pommel was killed: it works on for a short time."""
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
        except OSError:  # it ended, or belongs to another user
            continue
    return None
