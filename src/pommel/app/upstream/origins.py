"""Find out which arguments of an upstream's command line are the user's: by patches, files, edits. Band: app.

An argument is the user's if it differs from the command line of the pristine upstream. That one is captured from a copy
of the commit without patches and files. Then each patch and file is applied to the copy in turn, so that every
difference has its origin. In an upstream folder of the user's own, all arguments are the user's.

Captures are stored in the cache; their key contains all inputs: the commit, patches, files and the script's input.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel import json_file
from pommel.app.upstream import upstreams
from pommel.app.workspace import OSX_KVM, TRIAL, Workspace
from pommel.errors import CommandFailed, UpstreamError
from pommel.machine.origins import PRISTINE, OriginStage, Traced, trace
from pommel.machine.spec import MachineSpec
from pommel.overlay import files, patches, pristine, undo, upstream
from pommel.overlay.capture import Captured
from pommel.overlay.journal import AppliedPatch
from pommel.overlay.laying import Overlay

_FORMAT = 1  # to be raised when the same input gives other stages
_KEPT = 64  # the most captures in the cache
_EDITED = "the checkout"  # the origin of an edit for which git names no file

Capture = Callable[[Path], Captured]


@dataclass(frozen=True, slots=True)
class Followed:
    """The command line with the origin of each argument, and notes for the user."""

    traced: Traced
    notes: tuple[str, ...] = ()


def follow(workspace: Workspace, spec: MachineSpec, folder: Path, found: Captured, capture: Capture) -> Followed:
    """Find the origin of each argument in `found`, which was captured in the upstream's `folder`.

    `capture` runs the same script with the same input in another folder.

    Raises:
        UpstreamError: the last argument of `found` lacks its value.
        ConfigError: something in the config repo cannot be used.
    """
    if spec.upstream == TRIAL:
        return Followed(trace(found.program, [OriginStage(PRISTINE, found.argv)]))
    if spec.upstream != OSX_KVM or not (folder / ".git").is_dir():
        return Followed(trace(found.program, [OriginStage(spec.boot_script, found.argv)]))
    stages, notes = _stages(workspace, spec, folder, capture)
    if not stages or stages[-1].words != found.argv:
        stages.append(OriginStage(_edited(workspace, spec, folder), found.argv))
    return Followed(trace(found.program, stages), notes)


def _stages(
    workspace: Workspace, spec: MachineSpec, checkout: Path, capture: Capture
) -> tuple[list[OriginStage], tuple[str, ...]]:
    """The stage of the pristine upstream, and one for each patch and file that is applied to the checkout."""
    overlay = upstreams.overlay_of(workspace, workspace.file_of(spec.name))
    commit = undo.head(checkout)
    kept = workspace.home.cache / "origins" / f"{_key(spec, checkout, commit, overlay)}.json"
    if (stages := _load(kept)) is not None:
        return stages, ()
    stages, notes = _captured(spec, checkout, commit, overlay, capture)
    if not notes:  # a failure is not stored, because the next try may work
        _save(kept, stages)
    return stages, notes


def _captured(
    spec: MachineSpec, checkout: Path, commit: str, overlay: Overlay, capture: Capture
) -> tuple[list[OriginStage], tuple[str, ...]]:
    stages: list[OriginStage] = []
    notes: list[str] = []
    try:
        with pristine.laid_out(checkout, commit) as folder:
            for origin in _laid(folder, checkout, overlay):
                try:
                    stages.append(OriginStage(origin, _words(capture(folder), folder, checkout)))
                except UpstreamError as failure:
                    if origin == PRISTINE:
                        notes.append(_unreadable(spec, failure.message))
    except (CommandFailed, OSError) as failure:
        return [], (_unreadable(spec, str(failure)),)
    return stages, tuple(notes)


def _laid(folder: Path, checkout: Path, overlay: Overlay) -> Iterator[str]:
    """Apply the checkout's patches and files to the pristine `folder`, one by one; yield the origin after each."""
    yield PRISTINE
    for patch in _applied(checkout, overlay):
        if pristine.apply(folder, patch):
            yield f"{patches.FOLDER}/{patch.name}"
    wanted = overlay.files or {}
    for state in files.status(checkout, wanted):
        if state.state is files.FileStanding.PLACED:
            pristine.put(folder, state.name, wanted[state.name])
            yield f"{files.FOLDER}/{state.name}"


def _applied(checkout: Path, overlay: Overlay) -> list[AppliedPatch]:
    """The patches that are applied in the checkout, in order, also if the user applied them."""
    states = {each.name: each.state for each in patches.status(checkout, overlay.patches)}
    return [patch for patch in overlay.patches if states[patch.name] is patches.PatchStanding.APPLIED]


def _words(found: Captured, folder: Path, checkout: Path) -> tuple[str, ...]:
    """The arguments, with the checkout's path in place of the copy's path."""
    return tuple(word.replace(str(folder), str(checkout.resolve())) for word in found.argv)


def _unreadable(spec: MachineSpec, why: str) -> str:
    return (
        f"{spec.boot_script} of the upstream gives no command line without your patches and files, so Pommel treats "
        f"every argument as yours and changes none of them: {why}"
    )


def _edited(workspace: Workspace, spec: MachineSpec, checkout: Path) -> str:
    """The origin of an edit outside patches and files: the file that git reports as modified."""
    with contextlib.suppress(UpstreamError, CommandFailed):
        seen = upstream.status(checkout, workspace.pin(workspace.file_of(spec.name)))
        if seen.modified or seen.missing:
            named = spec.boot_script if spec.boot_script in seen.modified else [*seen.modified, *seen.missing][0]
            return f"{named} edited in the checkout"
    return _EDITED


def _key(spec: MachineSpec, checkout: Path, commit: str, overlay: Overlay) -> str:
    """A key of 32 hexadecimal digits for all inputs of the stages; also the CPU count, which a script may read."""
    touched = sorted({*patches.touched_by(overlay.patches), *(overlay.files or {})})
    inputs: list[Any] = [_FORMAT, str(checkout), commit, spec.boot_script, os.cpu_count()]
    inputs += [list(spec.boot_args), sorted(spec.boot_env.items()), list(spec.boot_input)]
    inputs += [[patch.name, patch.text] for patch in overlay.patches]
    inputs += [[name, wanted.sha256, wanted.mode] for name, wanted in sorted((overlay.files or {}).items())]
    inputs += [[name, undo.digest(checkout / name)] for name in touched]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:32]


def _load(path: Path) -> list[OriginStage] | None:
    return json_file.read_or(
        path, lambda kept: [OriginStage(str(origin), tuple(map(str, words))) for origin, words in kept["stages"]], None
    )


def _save(path: Path, stages: list[OriginStage]) -> None:
    with contextlib.suppress(OSError):  # without the cache, the next start only takes longer
        json_file.write(path, {"stages": [[stage.origin, list(stage.words)] for stage in stages]})
        by_age = sorted(path.parent.glob("*.json"), key=lambda each: each.stat().st_mtime, reverse=True)
        for old in by_age[_KEPT:]:
            old.unlink(missing_ok=True)


def scripts(workspace: Workspace) -> list[MachineSpec]:
    """One machine for each different boot script with its arguments, among those with the managed upstream."""
    named = [name for name in workspace.file.machines if name != TRIAL] or [workspace.default_name()]
    specs = [spec for spec in map(workspace.spec, named) if spec.upstream == OSX_KVM]
    scripts = {(s.boot_script, s.boot_args, tuple(sorted(s.boot_env.items())), s.boot_input): s for s in specs}
    return list(scripts.values())
