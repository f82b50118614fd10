"""The config repo's patches: their states, applied all or none, and rolled back. Band: shell.

A patch is APPLIED, PENDING or CONFLICT, never skipped. Because one may depend on another, they are tried on copies of
the files they touch: applied ones are removed from the last to the first, then all are applied in order. The result
is written, so that each patch in the state APPLIED has been removed and applied again in the test.

A caller that writes holds the checkout (`at_work`).
"""

from __future__ import annotations

import contextlib
import enum
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pommel import texts
from pommel.errors import StateError, UpstreamError
from pommel.overlay import journal
from pommel.overlay.git import git, typed
from pommel.overlay.journal import AppliedPatch, Patches
from pommel.overlay.patch_text import read_patch
from pommel.overlay.undo import SWAP, all_or_nothing, digest, inside, place
from pommel.process import Completed

FOLDER = "patches"
_MOST_BYTES = 16 << 20
_NO_TEXT = "patches are text in UTF-8; for other files, put the whole file into files/"
_FAILED_AT = re.compile(r"error: patch failed: (.+):(\d+)$", re.MULTILINE)
_FAILED = re.compile(
    r"error: (.+): (patch does not apply|No such file or directory|already exists in working directory)$"
)


class PatchStanding(enum.Enum):
    """The state of a patch in the checkout."""

    APPLIED = "applied"
    PENDING = "pending"
    CONFLICT = "conflict"


class ThreeWay(enum.Enum):
    """The result of a three-way merge of a conflicting patch, from the version it was made for."""

    CLEAN = "merges cleanly"
    CONFLICTS = "conflicts too"
    NO_BASE = "not possible: the version for which it was made is not here"


@dataclass(frozen=True, slots=True)
class PatchFailure:
    """The place where a patch fails: the file, the line of the hunk in it (None: the file itself), and git's reason."""

    file: str
    line: int | None
    why: str


@dataclass(frozen=True, slots=True)
class PatchState:
    """A patch and its state. `places` and `three_way` are details of a conflict.

    `edited` are the files that somebody changed in the checkout, if the patch fits the unchanged upstream.
    `outdated`: the config repo has another text than the applied one; `dropped`: it does not have the patch any more.
    """

    name: str
    state: PatchStanding
    places: tuple[PatchFailure, ...] = ()
    three_way: ThreeWay | None = None
    outdated: bool = False
    dropped: bool = False
    edited: tuple[str, ...] = ()


def read(config: Path) -> list[AppliedPatch]:
    """The patches of a config repo, in the order of their names, with their paths checked.

    Raises:
        ConfigError: one is not a patch, or touches something outside the checkout.
    """
    found = []
    for path in sorted((config / FOLDER).glob("*.patch")):
        text = texts.read_text(path, hint=_NO_TEXT, most=_MOST_BYTES)
        read_patch(f"{FOLDER}/{path.name}", text)
        found.append(AppliedPatch(path.name, text))
    return found


def status(checkout: Path, wanted: Sequence[AppliedPatch]) -> list[PatchState]:
    """The state of each patch: those of the config repo in order, then the applied ones that it dropped."""
    known = {patch.name: patch for patch in journal.read_patches(checkout).applied}
    # An applied patch is judged by the text with which it was applied.
    current = [known.get(patch.name, patch) for patch in wanted]
    dropped = [patch for patch in known.values() if patch.name not in {each.name for each in wanted}]
    with _scratch(checkout, [*current, *dropped]) as scratch:
        states = _try_all(checkout, scratch, [*dropped, *current], known)
    if any(each.state is PatchStanding.CONFLICT for each in states.values()):
        states = _with_edits(checkout, states, current)
    told = []
    for patch in wanted:
        state = states[patch.name]
        outdated = patch.name in known and known[patch.name].text != patch.text
        told.append(replace(state, outdated=outdated))
    return told + [replace(states[patch.name], three_way=None, dropped=True) for patch in dropped]


def apply_all(checkout: Path, wanted: Sequence[AppliedPatch]) -> list[PatchState]:
    """Apply the pending ones in order, all or none, and return the states before.

    A patch that the config repo changed or dropped since is removed first.

    Raises:
        UpstreamError: one conflicts, or must be written where this is not allowed; nothing was changed.
        StateError: one would fit without an edit in the checkout; nothing was changed.
    """
    known = journal.read_patches(checkout).applied
    now = status(checkout, wanted)
    if any(each.outdated or each.dropped for each in now):
        touched = touched_by([*known, *wanted]) | {journal.PATCHES}
        with all_or_nothing(checkout, touched, record=SWAP):
            roll_back(checkout)
            apply_all(checkout, wanted)
        return now
    refuse_conflicts(checkout, now)
    pending = {each.name for each in now if each.state is PatchStanding.PENDING}
    if pending or len(known) != len(wanted):
        _put_on(checkout, wanted, pending)
    return now


def roll_back(checkout: Path) -> list[str]:
    """Remove all applied patches, from the last to the first, all or none; return their names.

    Raises:
        StateError: one cannot be removed, because the file was edited afterwards; nothing was changed.
    """
    applied = journal.read_patches(checkout).applied
    if not applied:
        return []
    with _scratch(checkout, applied) as scratch:
        for patch in reversed(applied):
            done = _apply(scratch, patch, "--reverse")
            # A patch that was undone by hand (git checkout -- FILE) is already removed.
            if done.returncode != 0 and _apply(scratch, patch, "--check").returncode != 0:
                places = _places(done)
                files = dict.fromkeys(each.file for each in places)
                raise StateError(
                    f"{FOLDER}/{patch.name} cannot be removed from {checkout}: {'; '.join(map(_failure_text, places))}",
                    hint=f"it was edited after that: {typed(checkout, 'diff', '--', *files)} shows the edits, and "
                    f"{typed(checkout, 'checkout', '--', *files)} removes the edits and the patch",
                )
        _write(checkout, scratch, applied, Patches())
    return [patch.name for patch in reversed(applied)]


def touched_by(patches: Sequence[AppliedPatch]) -> set[str]:
    """Every file that one of `patches` touches."""
    return {path for patch in patches for path in read_patch(patch.name, patch.text).paths}


def _put_on(checkout: Path, wanted: Sequence[AppliedPatch], pending: set[str]) -> None:
    with _scratch(checkout, wanted) as scratch:
        for patch in reversed(wanted):
            if patch.name not in pending:
                _must(_apply(scratch, patch, "--reverse"), patch)
        for patch in wanted:
            _must(_apply(scratch, patch), patch)
        left = {name: digest(scratch / name) for name in sorted(touched_by(wanted))}
        _write(checkout, scratch, wanted, Patches(tuple(wanted), left))


def _write(checkout: Path, scratch: Path, patches: Sequence[AppliedPatch], remember: Patches) -> None:
    """Change the checkout's files to those in `scratch`."""
    touched = touched_by(patches)
    with all_or_nothing(checkout, {*touched, journal.PATCHES}):
        for name in sorted(touched):
            made = scratch / name
            if digest(made) != digest(checkout / name) or _mode(made) != _mode(checkout / name):
                data = made.read_bytes() if made.exists() else None
                place(checkout, name, data, _mode(made) or 0o644)
        journal.write_patches(checkout, remember)


def _try_all(
    checkout: Path, scratch: Path, patches: Sequence[AppliedPatch], known: dict[str, AppliedPatch]
) -> dict[str, PatchState]:
    states: dict[str, PatchState] = {}
    for patch in reversed(patches):
        # If both directions fit, as for a line added to empty context, it counts as applied only if the journal has it.
        if _apply(scratch, patch, "--reverse", "--check").returncode == 0 and (
            patch.name in known or _apply(scratch, patch, "--check").returncode != 0
        ):
            _must(_apply(scratch, patch, "--reverse"), patch)
            states[patch.name] = PatchState(patch.name, PatchStanding.APPLIED)
    for patch in patches:
        done = _apply(scratch, patch)
        if done.returncode != 0:
            three_way = _three_way(checkout, scratch, patch)
            states[patch.name] = PatchState(patch.name, PatchStanding.CONFLICT, _places(done), three_way)
        else:
            states.setdefault(patch.name, PatchState(patch.name, PatchStanding.PENDING))
    return states


def _with_edits(
    checkout: Path, states: dict[str, PatchState], patches: Sequence[AppliedPatch]
) -> dict[str, PatchState]:
    """Distinguish a conflict with the upstream from one with an edit: without the edit, the patch fits."""
    edited = {name for name in touched_by(patches) if _is_edited(checkout, name)}
    if not edited:
        return states
    with _scratch(checkout, patches, pristine=True) as scratch:
        fits = {patch.name for patch in patches if _apply(scratch, patch).returncode == 0}
    found = dict(states)
    for patch in patches:
        if states[patch.name].state is PatchStanding.CONFLICT and patch.name in fits:
            # A patch for other files fails because one before it, for an edited file, could not be applied.
            blamed = touched_by([patch]) & edited or edited
            found[patch.name] = replace(states[patch.name], edited=tuple(sorted(blamed)))
    return found


def _is_edited(checkout: Path, name: str) -> bool:
    """Whether the file differs both from the upstream's and from the one that we left."""
    left = journal.left_by_us(checkout)
    if journal.untouched_since(checkout, name, left):
        return False
    upstreams = _as_upstream_has(checkout, name)
    path = checkout / name
    return (path.read_bytes() if path.is_file() else None) != upstreams


def _as_upstream_has(checkout: Path, name: str) -> bytes | None:
    env = {"GIT_NO_LAZY_FETCH": "1"}
    found = git(checkout, "cat-file", "blob", f"HEAD:{name}", env=env, check=False)
    return found.stdout if found.returncode == 0 else None


def refuse_conflicts(checkout: Path, states: Sequence[PatchState]) -> None:
    """Check that every patch is applied, or can be applied.

    Raises:
        UpstreamError: one conflicts with the upstream.
        StateError: one conflicts with an edit in the checkout.
    """
    found = [each for each in states if each.state is PatchStanding.CONFLICT]
    if not found:
        return
    told = "".join(f"\n  {FOLDER}/{each.name}: {_why(each)}" for each in found)
    if all(each.edited for each in found):
        raise StateError(
            f"{checkout} has edits that conflict with a patch, so no patch was applied:{told}",
            hint=_undo(checkout, found),
        )
    ours = next(each for each in found if not each.edited)
    raise UpstreamError(
        f"a patch conflicts with the upstream, so no patch was applied:{told}",
        hint="rewrite it for this upstream, or delete it; settings in pommel.toml can do the same on any upstream: "
        f"rm {FOLDER}/{ours.name}",
    )


def _undo(checkout: Path, found: Sequence[PatchState]) -> str:
    """The hint to keep or undo the edits that conflict."""
    names = sorted({name for each in found for name in each.edited})
    own = [name for name in names if _as_upstream_has(checkout, name) is None]
    said = [
        f"move your own file away: {shlex.join(['mv', f'{checkout / name}', f'{checkout / name}.mine'])}"
        for name in own
    ]
    if files := [name for name in names if name not in own]:
        said.append(
            f"see the edits: {typed(checkout, 'diff', '--', *files)}; to keep them, add them to "
            f"{FOLDER}/{found[0].name}; then undo them here: {typed(checkout, 'checkout', '--', *files)}"
        )
    return "; ".join(said)


def _why(state: PatchState) -> str:
    where = "; ".join(_failure_text(each) for each in state.places)
    if state.edited:
        return (
            f"{where} ({', '.join(state.edited)} was edited in the checkout; the patch applies to the "
            "unchanged upstream)"
        )
    return where + (f" (a three-way merge: {state.three_way.value})" if state.three_way else "")


def _failure_text(where: PatchFailure) -> str:
    return f"{where.file}{'' if where.line is None else f' line {where.line}'}: {where.why}"


@contextlib.contextmanager
def _scratch(checkout: Path, patches: Sequence[AppliedPatch], *, pristine: bool = False) -> Iterator[Path]:
    """Yield a folder with copies of the files that `patches` touch; with `pristine`, the upstream's own files."""
    with tempfile.TemporaryDirectory(prefix="pommel-patches.") as made:
        folder = Path(made).resolve() / "tree"
        folder.mkdir()
        for name in touched_by(patches):
            path, copy = inside(checkout, name), folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if pristine:
                data = _as_upstream_has(checkout, name)
                if data is not None:
                    copy.write_bytes(data)
            elif path.is_file():
                shutil.copy(path, copy)
        yield folder


def _apply(scratch: Path, patch: AppliedPatch, *options: str) -> Completed:
    # Outside any repository `git apply` works on the files alone; the ceiling prevents it from finding one further up.
    env = {"GIT_CEILING_DIRECTORIES": str(scratch.parent)}
    return git(scratch, "apply", *options, "-", input=patch.text.encode(), env=env, check=False)


def _must(done: Completed, patch: AppliedPatch) -> None:
    if done.returncode != 0:
        where = "; ".join(_failure_text(each) for each in _places(done))
        raise UpstreamError(f"{FOLDER}/{patch.name} does not apply: {where}")


def _places(done: Completed) -> tuple[PatchFailure, ...]:
    text = done.stderr.decode(errors="replace")
    found = [
        PatchFailure(m[1], int(m[2]), "the lines there are not the expected lines") for m in _FAILED_AT.finditer(text)
    ]
    have = {each.file for each in found}
    for line in text.splitlines():
        match = _FAILED.match(line)
        if match and match[1] not in have:
            found.append(PatchFailure(match[1], None, match[2]))
    return tuple(found) or (PatchFailure("the patch", None, text.strip() or "git apply failed"),)


def _three_way(checkout: Path, scratch: Path, patch: AppliedPatch) -> ThreeWay:
    """Try the merge in a separate index: the checkout's files and index do not change."""
    env = {
        "GIT_DIR": str(checkout.resolve() / ".git"),
        "GIT_WORK_TREE": str(scratch),
        "GIT_INDEX_FILE": str(scratch.parent / "index"),
        "GIT_OBJECT_DIRECTORY": str(scratch.parent / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(checkout.resolve() / ".git" / "objects"),
        "GIT_NO_LAZY_FETCH": "1",
    }
    (scratch.parent / "objects").mkdir(exist_ok=True)
    git(scratch, "add", "--all", "--force", ".", env=env)
    done = git(scratch, "apply", "--3way", "--cached", "-", input=patch.text.encode(), env=env, check=False)
    if done.returncode == 0:
        return ThreeWay.CLEAN
    return ThreeWay.CONFLICTS if "with conflicts" in done.output else ThreeWay.NO_BASE


def _mode(path: Path) -> int | None:
    return (0o755 if os.access(path, os.X_OK) else 0o644) if path.is_file() else None
