"""Applies a config repo to an upstream's checkout, removes it, and moves it to another pin. Band: shell.

Each of the three is done completely or not at all, despite errors, Ctrl-C and kill -9, under the checkout's lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pommel import trust
from pommel.errors import ConfigError
from pommel.overlay import files, journal, patches, upstream
from pommel.overlay.files import FileState, OverlayFile
from pommel.overlay.journal import AppliedPatch
from pommel.overlay.patches import PatchState
from pommel.overlay.pins import Pin
from pommel.overlay.undo import UPDATE, all_or_nothing, at_work, head
from pommel.overlay.upstream import UpstreamState
from pommel.progress import Report, note

_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Overlay:
    """The patches and files of a config repo."""

    patches: Sequence[AppliedPatch] = ()
    files: Mapping[str, OverlayFile] | None = None


@dataclass(frozen=True, slots=True)
class OverlayState:
    """Every patch and file with its state."""

    patches: tuple[PatchState, ...]
    files: tuple[FileState, ...]


def read(config: Path) -> Overlay:
    """Read a config repo's `patches/` and `files/`; either may be missing.

    Raises:
        ConfigError: something in them cannot be used, or a patch is for a file that `files/` replaces.
        TrustError: another user can change one of them.
    """
    for folder in (config / patches.FOLDER, config / files.FOLDER):
        for path in (folder, *sorted(folder.rglob("*"))) if folder.is_dir() else ():
            trust.must(path, "the overlay's", named=config)
    overlay = Overlay(patches.read(config), files.read(config))
    both = sorted(patches.touched_by(overlay.patches) & set(overlay.files or {}))
    if both:
        raise ConfigError(
            f"{both[0]} is both in {files.FOLDER}/ and changed by a patch",
            hint=f"delete the patch, or: rm {config / files.FOLDER / both[0]}",
        )
    return overlay


def status(checkout: Path, overlay: Overlay) -> OverlayState:
    """The state of every patch and file; changes nothing."""
    return OverlayState(
        tuple(patches.status(checkout, overlay.patches)), tuple(files.status(checkout, overlay.files or {}))
    )


def lay(checkout: Path, overlay: Overlay, *, report: Report) -> OverlayState:
    """Apply the pending patches and place the files; return the states before. What is in place is not changed.

    Raises:
        UpstreamError: a patch conflicts, or something cannot be placed.
        StateError: a placed file, or one that a patch is for, was edited in the checkout.
        BusyError: another Pommel works on the checkout.
    """
    with at_work(checkout, wait_s=_WAIT_S):
        touched = {*journal.remembered(checkout), *_would_touch(overlay)}
        with all_or_nothing(checkout, touched, record=UPDATE):
            before = _lay(checkout, overlay)
    _report_patches(before, report)
    return before


def lift(checkout: Path) -> list[str]:
    """Remove all patches and files from the checkout; return their names.

    Raises:
        StateError: a file was edited since, so it would be lost; nothing was changed.
        BusyError: another Pommel works on the checkout.
    """
    with at_work(checkout, wait_s=_WAIT_S), all_or_nothing(checkout, journal.remembered(checkout), record=UPDATE):
        return _lift(checkout)


def update(checkout: Path, pin: Pin, overlay: Overlay, *, report: Report) -> UpstreamState:
    """Remove the overlay, move the upstream to `pin`, and apply the overlay again; after an error the old state stays.

    Raises:
        UpstreamError: the upstream cannot be reached or verified, or a patch conflicts with it.
        StateError: something was edited in the checkout and would be lost.
        BusyError: another Pommel works on the checkout.
    """
    with at_work(checkout, wait_s=_WAIT_S):
        upstream.obtain(checkout, pin, report=report, update=True)
        moves = head(checkout) != pin.commit
        touched = {*journal.remembered(checkout), *_would_touch(overlay)}
        with all_or_nothing(checkout, touched, record=UPDATE, to=pin.commit if moves else None):
            if moves:
                _lift(checkout)
                upstream.move(checkout, pin, report=report)
            before = _lay(checkout, overlay)
            upstream.verify(checkout, pin)
        _report_patches(before, report)
        return upstream.status(checkout, pin)


def _lay(checkout: Path, overlay: Overlay) -> OverlayState:
    wanted = overlay.files or {}
    # Files that files/ has dropped are removed first: a patch may be for the upstream's file that they replaced.
    kept = {name: wanted[name] for name in wanted if name in journal.read_files(checkout)}
    before = tuple(files.status(checkout, wanted))
    files.place(checkout, kept)
    applied = patches.apply_all(checkout, overlay.patches)
    files.place(checkout, wanted)
    return OverlayState(tuple(applied), before)


def _lift(checkout: Path) -> list[str]:
    return [*files.take_away(checkout), *patches.roll_back(checkout)]


def _would_touch(overlay: Overlay) -> set[str]:
    placed = {path for name in overlay.files or {} for path in (name, f"{journal.ORIGINALS}/{name}")}
    return placed | patches.touched_by(overlay.patches)


def _report_patches(before: OverlayState, report: Report) -> None:
    for patch in before.patches:
        if patch.state is patches.PatchStanding.PENDING or patch.outdated or patch.dropped:
            done = "taken off" if patch.dropped else "applied"
            note(report, f"{patches.FOLDER}/{patch.name}: {done}")
    for file in before.files:
        if file.state is not files.FileStanding.PLACED:
            done = "taken away" if file.state is files.FileStanding.DROPPED else "placed"
            note(report, f"{files.FOLDER}/{file.name}: {done}" + (", upstream has one too" if file.replaces else ""))
