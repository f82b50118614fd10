"""`bootstrap`: clone the upstream at its pin, apply the config repo to it, install the launchers. Band: app.

Each part is checked first and done only if needed. Changes are reported, and a second call changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pommel.app.consent import Consent
from pommel.app.host import launchers, needs
from pommel.app.upstream import overlay, upstreams
from pommel.app.upstream.overlay import OverlayStanding
from pommel.app.workspace import Workspace
from pommel.errors import PommelError, UpstreamError
from pommel.overlay import laying
from pommel.overlay.laying import OverlayState
from pommel.progress import Report, ignore


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """The state of upstream and overlay, and a line for each change."""

    standing: OverlayStanding
    changes: tuple[str, ...]


def plan(workspace: Workspace, *, update: bool = False) -> list[tuple[str, str, bool]]:
    """The steps of `bootstrap`: action, reason, and whether it is to be done. Nothing is changed or fetched.

    Raises:
        ConfigError: the config repo cannot be used.
    """
    standing = overlay.status(workspace)
    seen, pin = standing.upstream, workspace.pin(workspace.file)
    git = needs.plan_git()
    found = [("install git", git.as_text, True)] if git else []
    if seen.commit is None:
        found.append((f"clone {pin.url} at {pin.commit[:12]}", str(standing.checkout), True))
        wanted = upstreams.overlay_of(workspace, workspace.file)
        found += [
            (f"apply patches/{patch.name}", "whether it applies is checked then", True) for patch in wanted.patches
        ]
        found += [(f"place files/{name}", "in the checkout", True) for name in wanted.files or {}]
    else:
        why = "it is checked out" if seen.at_pin else f"{seen.commit[:12]} is checked out"
        found.append((f"check out {pin.commit[:12]}", why, not seen.at_pin))
        if update:
            found.append(("fetch the branch's tip", pin.url, True))
        found += _overlay_plan(standing)
    found.append((f"compare {len(pin.sha256)} files with their hashes", ", ".join(pin.sha256) or "none given", True))
    found += launchers.steps(workspace)
    return found


def _overlay_plan(standing: OverlayStanding) -> list[tuple[str, str, bool]]:
    if standing.overlay is None:
        return []
    found = []
    for patch in standing.overlay.patches:
        what = "take off" if patch.dropped else "apply"
        pending = patch.state.value != "applied" or patch.outdated or patch.dropped
        found.append((f"{what} patches/{patch.name}", patch.state.value, pending))
    for file in standing.overlay.files:
        what = "take away" if file.state.value == "dropped" else "place"
        found.append((f"{what} files/{file.name}", file.state.value, file.state.value != "placed"))
    return found


def bootstrap(
    workspace: Workspace | None = None,
    *,
    update: bool = False,
    consent: Consent | None = None,
    report: Report = ignore,
) -> Bootstrapped:
    """Do all parts. The set-up of the host is not one of them: that is `setup`.

    With `update`, the overlay is removed, the upstream is moved to its pin and its tip is fetched, and the overlay is
    applied again. If a step fails, all is as before.

    Raises:
        UpstreamError: the upstream cannot be reached or verified, or a patch conflicts with it.
        StateError: an edit in the checkout would be lost.
        ConfigError: the config repo cannot be used.
        NotPermitted: git is missing and may not be installed; or the checkout cannot be written to.
        BuildError: the disk is full.
    """
    workspace = workspace or Workspace.current()
    upstreams.must_take(workspace, workspace.file)
    needs.install(needs.plan_git(), consent=consent, report=report)
    before = overlay.status(workspace)
    try:
        _lay(workspace, update, report)
    except UpstreamError as failure:
        raise _with_places(workspace, failure) from failure
    placed = launchers.place(workspace, report=report)
    after = overlay.status(workspace)
    return Bootstrapped(after, (*_moved(before, after), *_laid(before.overlay, after.overlay), *placed))


def _lay(workspace: Workspace, update: bool, report: Report) -> None:
    file = workspace.file
    if update:
        wanted = upstreams.overlay_of(workspace, file)
        laying.update(workspace.checkout(file), workspace.pin(file), wanted, report=report)
    else:
        upstreams.lay(workspace, file, report=report)


def _with_places(workspace: Workspace, failure: UpstreamError) -> UpstreamError:
    """If patches conflict, add to the error a hint to the command that shows where."""
    try:
        conflicts = overlay.status(workspace).conflicts
    except PommelError:
        return failure
    if not conflicts:
        return failure
    return UpstreamError(failure.message, hint=failure.hint or "to see where: pommel overlay status")


def _moved(before: OverlayStanding, after: OverlayStanding) -> Sequence[str]:
    old, new = before.upstream.commit, after.upstream.commit
    if old == new:
        return ()
    return (f"cloned at {new}" if old is None else f"moved from {old} to {new}",)


def _laid(before: OverlayState | None, after: OverlayState | None) -> list[str]:
    was = {**_states(before)}
    now = _states(after)
    found = [f"{name}: {state}" for name, state in now.items() if was.get(name) != state]
    return found + [f"{name}: removed" for name in was if name not in now]


def _states(overlay: OverlayState | None) -> dict[str, str]:
    if overlay is None:
        return {}
    patches = {
        f"patches/{patch.name}": patch.state.value + (" (an older version of it)" if patch.outdated else "")
        for patch in overlay.patches
    }
    return {**patches, **{f"files/{file.name}": file.state.value for file in overlay.files}}
