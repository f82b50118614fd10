"""`up --unattended`: install macOS without a person, up to a Mac that answers SSH. Band: app.

The steps are a recipe (`recipe/data/macos-unattended.toml`, or the user's copy), whose position is on disk. This module
does the rest: the checks before the first change, the file for a run after a kill, and the clean-up at the end.
"""

from __future__ import annotations

import contextlib
import datetime
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pommel import locks
from pommel.app.consent import Consent
from pommel.app.machine import hands, up
from pommel.app.recipe import files, position
from pommel.app.recipe import run as recipes
from pommel.app.recipe.files import LoadedRecipe
from pommel.app.recipe.run import Begin, Beginning, Beside, RecipeResult
from pommel.app.unattended import full_installer, kept, script_disk, told
from pommel.app.unattended.hearing import Hearing
from pommel.app.unattended.kept import Kept
from pommel.app.unattended.machine_calls import InstalledMachine
from pommel.app.unattended.script_disk import Account, CheckedAccount
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import BuildError, PommelError, StateError, UsageError
from pommel.machine import installation, own_disks, record, state
from pommel.machine.disk import info
from pommel.machine.events import note_event
from pommel.machine.spec import MachineSpec
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore, note, warn
from pommel.recipe.model import Recipe
from pommel.recipe.values import filled
from pommel.unattended.scripts import LINE, WORDS

if TYPE_CHECKING:
    from pommel.unattended.inbox import Inbox

RECIPE = "macos-unattended"
_EVENT = "unattended"


@dataclass(frozen=True, slots=True)
class InstallWish:
    """The options of an unattended installation. None: as at its begin.

    `begin` is where the recipe begins; `report` is the file for a redacted report of the run.
    """

    account: Account | None = None
    licence_accepted: bool = False
    recipe: str | None = None
    full_installer: bool = False
    snapshot: bool = True
    begin: Begin = field(default_factory=Begin)
    report: Path | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The recipe with its values, and where it would begin."""

    recipe: Recipe
    way: Beginning


@dataclass(frozen=True)
class _Ready:
    """The facts that are known before the first change."""

    spec: MachineSpec
    paths: MachinePaths
    before: Kept | None
    account: CheckedAccount
    renewed: bool
    loaded: LoadedRecipe
    recipe: Recipe


def plan(
    name: str, wish: InstallWish, *, workspace: Workspace | None = None, flags: Mapping[str, Any] | None = None
) -> Plan:
    """What `install` would do, without doing it. Raises the errors of `install` that are known beforehand."""
    ready = _look(workspace or Workspace.current(), name, wish, flags)
    return Plan(ready.recipe, recipes.way(ready.loaded, ready.paths, wish.begin))


def install(
    name: str,
    wish: InstallWish,
    *,
    workspace: Workspace | None = None,
    flags: Mapping[str, Any] | None = None,
    offline: Path | None = None,
    consent: Consent | None = None,
    report: Report = ignore,
) -> RecipeResult:
    """Make machine `name` if it does not exist, install macOS on it, and return when its user can log in by SSH.

    An interrupted installation continues where it was, also after a kill -9 or a restart of the host. Ctrl-C ends only
    this process; the machine keeps running.

    Raises:
        UsageError: a value cannot be used or is missing, or Apple's licence is not accepted.
        StateError: the machine runs for something else, has macOS already, or cannot be installed like this.
        BusyError: another process installs it.
        DeadlineError: a state did not end in time; the hint says what to do by hand, and how to continue.
        Others: as `up`.
    """
    workspace = workspace or Workspace.current()
    ready = _look(workspace, name, wish, flags)
    given: dict[str, Any] = {"workspace": workspace, "flags": flags, "offline": offline, "consent": consent}
    up.ready(name, **given, blank=True, report=report)
    with locks.hold(kept.lock_of(ready.paths), busy=f"another command installs {name}"):
        _must_be_told_apart(ready.paths)
        with _inbox(workspace, ready, wish, flags) as (inbox, under_way):
            machine = InstalledMachine(workspace, ready.paths, under_way, ready.renewed, report)
            ran = _carry_out(workspace, ready, wish, inbox, machine, report)
        kept.forget(ready.paths)
        note_event(ready.paths, _EVENT, f"macOS is installed, and {under_way.account.wishes.user} can log in by SSH")
    return ran


def _look(workspace: Workspace, name: str, wish: InstallWish, flags: Mapping[str, Any] | None) -> _Ready:
    """Check all that can be checked before the first change. Raises as `install`."""
    spec, paths = workspace.spec(name, flags), workspace.paths(name)
    before = kept.load(paths) if paths.record.exists() else None
    if before is None:
        _refuse_new(spec, paths, wish)
    account = _account(name, wish, before, paths)
    loaded = files.load(wish.recipe or (before.recipe if before else RECIPE))
    _refuse_settings(spec, account, loaded.recipe, before)
    if wish.full_installer:
        full_installer.of(workspace, name)
    if wish.report is not None:
        told.refuse(wish.report)
    values = {"line": LINE, "name": name, "user": account.wishes.user}
    recipe = filled(loaded.recipe, {key: values[key] for key in values if key in loaded.recipe.values})
    recipes.way(loaded, paths, wish.begin)
    return _Ready(spec, paths, before, account, wish.account is not None, loaded, recipe)


def _refuse_new(spec: MachineSpec, paths: MachinePaths, wish: InstallWish) -> None:
    """Refuse a new installation that cannot begin."""
    if wish.account is None:
        raise UsageError(
            "an installation without a person needs to know the user that it makes",
            hint=f"pommel up {paths.name} --unattended --user NAME --password-file FILE --accept-apple-licence",
        )
    if not wish.licence_accepted:
        raise script_disk.licence_lacks()
    if state.observe(paths).alive:
        raise StateError(
            f"{paths.name} is running, and was not started for an installation without a person",
            hint=f"pommel stop {paths.name} first",
        )
    if paths.record.exists():
        there, why = installation.installed(paths, record.load(paths.record))
        if there:
            raise StateError(
                f"{paths.name} has macOS already: {why}",
                hint=f"start it without --unattended: pommel up {paths.name}; or delete it first: pommel delete "
                f"{paths.name}",
            )


def _account(name: str, wish: InstallWish, before: Kept | None, paths: MachinePaths) -> CheckedAccount:
    if wish.account is None:
        if before is None:
            raise UsageError("--user is missing")
        return before.account
    if (wish.account.password_file is None) == (not wish.account.ssh_keys):
        raise UsageError(
            "the user needs either a password or an SSH key", hint="add --password-file FILE or --ssh-key FILE.pub"
        )
    return script_disk.check(name, wish.account, script_disk.own_key(paths))


def _refuse_settings(spec: MachineSpec, account: CheckedAccount, recipe: Recipe, before: Kept | None) -> None:
    """Refuse settings of the machine with which an unattended installation is not possible."""
    if spec.network not in (None, "user"):
        raise StateError(
            f"network = {spec.network!r}: during the installation the scripts report by QEMU's own network",
            hint='set network = "user" until macOS is installed, or install without --unattended',
        )
    if recipe.macos and spec.macos is not None and spec.macos not in recipe.macos:
        raise UsageError(
            f"the recipe is for macOS {', '.join(recipe.macos)}, and {spec.name} is macOS {spec.macos}",
            hint=f"copy it (pommel recipe show {RECIPE} > my.toml), change it, and pass --recipe my.toml",
        )
    user, said = account.wishes.user, spec.ssh_user
    if said is not None and said != user and before is None and spec.upstream != TRIAL:
        raise UsageError(f"ssh_user is {said!r}, and the user that is made is {user!r}", hint="use one name")


def _must_be_told_apart(paths: MachinePaths) -> None:
    """Refuse another disk of the same size: in Recovery, the scripts find the disk to install on by its size."""
    size = info(paths.disk).virtual_bytes
    for name, other in own_disks.data_disks(paths).items():
        if info(Path(other)).virtual_bytes == size:
            raise StateError(
                f"the disk {name} of {paths.name} has the same size as the one to install on, so Recovery cannot "
                "distinguish them",
                hint=f"make one of them larger: pommel disk resize {paths.name} SIZE",
            )


@contextlib.contextmanager
def _inbox(
    workspace: Workspace, ready: _Ready, wish: InstallWish, flags: Mapping[str, Any] | None
) -> Iterator[tuple[Inbox, Kept]]:
    """Listen for the scripts' reports, at the port that a running guest knows; store what a later run needs."""
    from pommel.unattended.inbox import Inbox  # with aiohttp, which what is refused or planned does without

    paths, before = ready.paths, ready.before
    token = before.token if before else secrets.token_urlsafe(24)
    port = before.port if before and state.observe(paths).alive else 0
    inbox = Inbox(token, WORDS, port)
    inbox.open()
    try:
        own = script_disk.own_key(paths)
        wishes = ready.account.wishes
        keys = dict.fromkeys([*([own] if own else []), *wishes.ssh_keys])
        account = CheckedAccount(replace(wishes, ssh_keys=tuple(keys)), ready.account.shadow)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        under_way = Kept(
            token,
            inbox.port,
            before.since if before else now,
            account,
            ready.loaded.name,
            wish.snapshot and (before is None or before.snapshot),
            wish.full_installer or (before is not None and before.full_installer),
            before.again if before else False,
            {**(before.flags if before else {}), **(flags or {})},
        )
        _save(paths, under_way)
        if before is None:
            position.forget(paths)  # the position of another recipe
            note_event(paths, _EVENT, "Apple's licence is accepted; the installation begins")
        yield inbox, under_way
    finally:
        inbox.close()


def _save(paths: MachinePaths, under_way: Kept) -> None:
    try:
        kept.save(paths, under_way)
    except OSError as failure:
        raise BuildError(f"{kept.file_of(paths)} cannot be written: {failure.strerror or failure}") from failure


def _carry_out(
    workspace: Workspace, ready: _Ready, wish: InstallWish, inbox: Inbox, machine: InstalledMachine, report: Report
) -> RecipeResult:
    name = ready.paths.name
    hear = Hearing(ready.paths, inbox)
    again = f"pommel up {name} --unattended"
    note(report, f"to watch it: pommel console {name}; after Ctrl-C, {again} goes on")
    beside = Beside(machine.calls(), hear, again)
    tell = partial(_write_report, wish.report, workspace, machine, report)
    try:
        ran = recipes.carry_out(
            ready.loaded, ready.recipe, workspace, ready.paths, wish.begin, beside=beside, report=report
        )
    except PommelError as failure:
        _keep_picture(workspace, ready.paths, report)
        tell(f"it stopped: {failure.message}")
        raise
    except BaseException as end:
        tell(f"it was interrupted: {type(end).__name__}")
        raise
    finally:
        hear.close()
    tell(f"it is done, after {ran.seconds:.0f} s in this run")
    return ran


def _write_report(
    target: Path | None, workspace: Workspace, machine: InstalledMachine, report: Report, outcome: str
) -> None:
    if target is None:
        return
    try:
        told.write(target, workspace, machine.paths.name, machine.kept, outcome)
    except PommelError as failure:  # a warning only: it must not replace the result of the installation
        warn(report, failure.message)
    else:
        note(report, f"a report without private data, for you to read before you pass it on: {target}")


def _keep_picture(workspace: Workspace, paths: MachinePaths, report: Report) -> None:
    if state.observe(paths).alive:
        with contextlib.suppress(PommelError, OSError):
            hands.screenshot(paths.name, kept.picture_of(paths), workspace=workspace)
            note(report, f"its screen as it was: {kept.picture_of(paths)}")
