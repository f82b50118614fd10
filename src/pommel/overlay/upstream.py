"""The upstream's checkout: cloned, moved to its pinned commit, and verified. Band: shell.

The upstream rewrites its history, so nothing here follows a branch: the pin names the commit, and the branch's tip is
fetched only to show the distance of the pin from it. Only needed objects are fetched (a partial clone), if the server
supports it. A clone is built under another name and renamed, so an interrupted one is made again; a move is undone
(see `undo`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pommel.errors import CommandFailed, StateError, UpstreamError
from pommel.overlay import journal
from pommel.overlay.git import git, typed
from pommel.overlay.pins import Pin
from pommel.overlay.undo import added_between, all_or_nothing, at_work, digest, head
from pommel.paths import build_aside, sweep_aside
from pommel.progress import Progress, Report, warn

_TIP = "refs/pommel/tip"
_KEPT = "refs/pommel/pins/"  # without a ref, git would collect a commit that is on no branch any more
_PARTIAL = "--filter=blob:none"
_QUIET = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head")
_STEP = "upstream"


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """The state of a checkout.

    `ahead` and `behind` count commits from the last fetched tip of the branch; None if it was never fetched. If the tip
    does not contain the pinned commit, the upstream has rewritten its history: `force_pushed`. `modified` and
    `missing` are tracked files that differ from the commit and that Pommel did not change; `unverified` are files whose
    hash is not the pin's.
    """

    commit: str | None
    pinned: str
    ahead: int | None = None
    behind: int | None = None
    force_pushed: bool = False
    modified: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()

    @property
    def at_pin(self) -> bool:
        """Whether the pinned commit is checked out."""
        return self.commit == self.pinned

    @property
    def clean(self) -> bool:
        """Whether everything is as the pin says, apart from Pommel's own changes."""
        return self.at_pin and not (self.modified or self.missing or self.unverified)


def ensure(checkout: Path, pin: Pin, *, report: Report, update: bool = False, wait_s: float = 30.0) -> UpstreamState:
    """Make `checkout` a clone of the upstream with the pinned commit checked out and its files verified.

    If the commit is already there, it does not use the network, unless `update` asks for the branch's tip too; if the
    tip cannot be fetched, there is a warning.

    Raises:
        UpstreamError: the folder is something else, the upstream cannot be reached or has no such commit, or a
            file's hash is wrong.
        StateError: Pommel's own changes, or edits, prevent the move.
        BusyError: another Pommel has worked on it for `wait_s`.
    """
    with at_work(checkout, wait_s=wait_s):
        obtain(checkout, pin, report=report, update=update)
        if head(checkout) != pin.commit:
            left = journal.left_by_us(checkout)
            if left:
                raise StateError(
                    f"{checkout} cannot be updated to {pin.commit[:12]} while patches and files are applied to it",
                    hint="type: pommel bootstrap --update",
                )
            move(checkout, pin, report=report)
        verify(checkout, pin)
        return status(checkout, pin)


def status(checkout: Path, pin: Pin, *, fetch: bool = False) -> UpstreamState:
    """The state of the checkout; with `fetch`, compared with the upstream's present branch.

    Raises:
        UpstreamError: the upstream cannot be reached.
    """
    if not (checkout / ".git").is_dir():
        return UpstreamState(None, pin.commit)
    if fetch:
        _fetch_tip(checkout, pin)
    commit = head(checkout)
    ahead, behind = _distance(checkout, commit)
    left = journal.left_by_us(checkout)
    changed = [name for name in _changed(checkout) if not journal.untouched_since(checkout, name, left)]
    missing = tuple(name for name in changed if not os.path.lexists(checkout / name))
    modified = tuple(name for name in changed if name not in missing)
    unverified = tuple(name for name, _ in _unverified(checkout, pin)) if commit == pin.commit else ()
    return UpstreamState(commit, pin.commit, ahead, behind, bool(ahead), modified, missing, unverified)


def obtain(checkout: Path, pin: Pin, *, report: Report, update: bool = False) -> None:
    """Get the pinned commit into `checkout`, by a clone or a fetch if needed. The caller is `at_work`.

    Raises:
        UpstreamError: as `ensure`.
    """
    if not (checkout / ".git").is_dir():
        _clone(checkout, pin, report)
        return
    git(checkout, "config", "remote.origin.url", pin.url)
    if not _has(checkout, pin):
        with _step(report, f"fetching {pin.commit[:12]}"):
            _fetch_commit(checkout, pin)
    elif update:
        try:
            with _step(report, "fetching the branch's tip"):
                _fetch_tip(checkout, pin)
        except UpstreamError as failure:
            warn(report, f"{failure.message}; the pinned commit is here, so it is used")


def move(checkout: Path, pin: Pin, *, report: Report) -> None:
    """Check out the pinned commit, or leave the old one. The caller is `at_work` and has called `obtain`.

    Raises:
        StateError: edited files, or the user's own files at paths of the upstream, would be lost.
        UpstreamError: a file's contents cannot be fetched, or one has the wrong hash.
    """
    _refuse_losses(checkout, pin.commit)
    with _step(report, f"checking out {pin.commit[:12]}"), all_or_nothing(checkout, (), to=pin.commit):
        _check_out(checkout, pin)
        verify(checkout, pin)


def verify(checkout: Path, pin: Pin) -> None:
    """Compare the files in the pin with their hashes.

    For a file that Pommel changed, the upstream's version is compared.

    Raises:
        UpstreamError: one is missing or differs; the message has the file, the expected and the actual hash.
    """
    for name, got in _unverified(checkout, pin):
        blame = "upstream.sha256 belongs to another commit, or the upstream cannot be trusted"
        edited = name in _changed(checkout)
        raise UpstreamError(
            f"{name} of {pin.url} does not match the pin: expected SHA-256 {pin.sha256[name]}, "
            + (f"got {got}" if got else "but there is no such file"),
            hint=f"it was changed here; to undo that: {typed(checkout, 'checkout', '--', name)}" if edited else blame,
        )


def _clone(checkout: Path, pin: Pin, report: Report) -> None:
    if checkout.exists() and (not checkout.is_dir() or any(checkout.iterdir())):
        raise UpstreamError(f"{checkout} exists and is not a git checkout", hint=f"check it, then: rm -r {checkout}")
    sweep_aside(checkout)
    with _step(report, f"cloning {pin.url}"), build_aside(checkout) as aside:
        git(aside, "init", "--quiet", "--template=", "--initial-branch=pommel")
        git(aside, "config", "remote.origin.url", pin.url)
        _fetch_commit(aside, pin)
        _check_out(aside, pin)
        verify(aside, pin)


def _fetch_commit(checkout: Path, pin: Pin) -> None:
    """Fetch the tip, then the commit by its id; from a server that refuses ids, every branch and tag."""
    _fetch_tip(checkout, pin)
    if not _keep(checkout, pin):
        try:
            _fetch(checkout, pin, pin.commit)
        except UpstreamError:
            _fetch(checkout, pin, "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
        if not _keep(checkout, pin):
            raise UpstreamError(
                f"{pin.url} does not have commit {pin.commit}",
                hint="upstream may have rewritten its history: set upstream.commit (and sha256) to a commit that it "
                "has",
            )


def _fetch_tip(checkout: Path, pin: Pin) -> None:
    _fetch(checkout, pin, f"+HEAD:{_TIP}")


def _fetch(checkout: Path, pin: Pin, *refs: str) -> None:
    try:
        git(checkout, *_QUIET, _PARTIAL, "origin", *refs, fetches=True)
    except CommandFailed as failure:
        if "filter" in failure.output:  # an old server without partial clones
            _fetch_whole(checkout, pin, refs)
            return
        raise _unreachable(pin, failure) from failure


def _fetch_whole(checkout: Path, pin: Pin, refs: tuple[str, ...]) -> None:
    try:
        git(checkout, *_QUIET, "--no-filter", "origin", *refs, fetches=True)
    except CommandFailed as failure:
        raise _unreachable(pin, failure) from failure


def _unreachable(pin: Pin, failure: CommandFailed) -> UpstreamError:
    # git's own reason comes first; the rest is advice for clones by hand.
    lines = [line.strip() for line in failure.output.splitlines() if line.strip()]
    why = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[0] if lines else "no output")
    return UpstreamError(
        f"{pin.url} could not be fetched: {why}", hint="check the network and upstream.url, then try again"
    )


def _keep(checkout: Path, pin: Pin) -> bool:
    """Protect the commit from garbage collection, if it is here."""
    return git(checkout, "update-ref", _KEPT + pin.commit, pin.commit, check=False, fetches=True).returncode == 0


def _has(checkout: Path, pin: Pin) -> bool:
    if git(checkout, "show-ref", "--verify", "--quiet", _KEPT + pin.commit, check=False).returncode == 0:
        return True
    # In a partial clone, a query for the object itself would fetch it. A user's own clone is not partial.
    partial = git(checkout, "config", "--get-regexp", r"^remote\..*\.promisor$", check=False).returncode == 0
    return not partial and _keep(checkout, pin)


def _check_out(checkout: Path, pin: Pin) -> None:
    try:
        git(checkout, "checkout", "--quiet", "--detach", pin.commit, fetches=True)
    except CommandFailed as failure:
        raise _unreachable(pin, failure) from failure


def _refuse_losses(checkout: Path, commit: str) -> None:
    before = head(checkout)
    changed = _changed(checkout)
    if changed:
        raise StateError(
            f"{checkout} has changes that would be lost by the update: {_some(changed)}",
            hint=f"keep them as a patch ({typed(checkout, 'diff')}), then: {typed(checkout, 'checkout', '--', '.')}",
        )
    taken = [name for name in added_between(checkout, before, commit) if os.path.lexists(checkout / name)]
    if taken:
        raise StateError(
            f"{checkout} has your files at paths where the upstream has its own files: {_some(taken)}", hint="move them"
        )


def _changed(checkout: Path) -> list[str]:
    """The tracked files that differ from the checked-out commit."""
    found = git(checkout, "diff", "--name-only", "--no-renames", "--ignore-submodules=all", "-z", "HEAD")
    return [os.fsdecode(name) for name in found.stdout.split(b"\0") if name]


def _distance(checkout: Path, commit: str) -> tuple[int | None, int | None]:
    found = git(checkout, "rev-list", "--count", "--left-right", f"{commit}...{_TIP}", check=False)
    if found.returncode != 0:
        return None, None
    ahead, behind = found.text.split()
    return int(ahead), int(behind)


def _unverified(checkout: Path, pin: Pin) -> list[tuple[str, str | None]]:
    """The files whose hash is not the pin's, with their actual hash."""
    found = []
    left = journal.left_by_us(checkout)
    for name, expected in pin.sha256.items():
        got = _hash_of(checkout, name) if journal.untouched_since(checkout, name, left) else digest(checkout / name)
        if got != expected:
            found.append((name, got))
    return found


def _hash_of(checkout: Path, name: str) -> str | None:
    found = git(checkout, "cat-file", "blob", f"HEAD:{name}", check=False)
    return hashlib.sha256(found.stdout).hexdigest() if found.returncode == 0 else None


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


@contextlib.contextmanager
def _step(report: Report, text: str) -> Iterator[None]:
    report(Progress(_STEP, text))
    yield
    report(Progress(_STEP, text, finished=True))
