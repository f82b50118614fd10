"""Machines with encrypted disks: find the passphrase, and refuse settings that contradict the disks. Band: app.

One passphrase opens all disks of a machine. The machine's record says whether it is encrypted. The passphrase is in the
file that the setting `passphrase_file` names, or else in the desktop's keyring under the UUID in the record.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pommel.app.workspace import Workspace
from pommel.errors import MissingProgram, PommelError, StateError, UsageError
from pommel.machine import disk, own_disks, passphrase, record
from pommel.machine.passphrase import Passphrase
from pommel.machine.record import MachineRecord
from pommel.machine.spec import MachineSpec
from pommel.paths import MachinePaths
from pommel.progress import Report, note

_NOBODY = "00000000-0000-0000-0000-000000000000"  # no machine has it (RFC 9562, section 5.9)


def unlocked(workspace: Workspace, name: str, flags: Mapping[str, Any] | None = None) -> AbstractContextManager[None]:
    """During the block, the disks of machine `name` can be opened. The passphrase is read only when it is needed."""

    def ask() -> Passphrase:
        kept = record.load(workspace.paths(name).record)
        if kept.encrypted is None:
            raise StateError(
                f"a disk of {name} is encrypted, and not by Pommel, which has no passphrase for it",
                hint="do it with qemu-img, while the machine is stopped",
            )
        return key_of(workspace, workspace.spec(name, flags), kept.encrypted)

    return passphrase.with_key(ask)


def key_of(workspace: Workspace, spec: MachineSpec, kept_under: str) -> Passphrase:
    """The key of machine `spec.name`; `kept_under` is its UUID in the keyring.

    Raises:
        StateError: there is none, or it cannot be read now.
        MissingProgram: it is in the keyring, and secret-tool is not installed.
    """
    opens = workspace.paths(spec.name).disk
    if (file := _file(workspace, spec)) is not None:
        hint = f"put the passphrase that {spec.name} was made with into that file, or set passphrase_file to the one"
        return Passphrase(passphrase.from_file(file), f"the file {file}", hint, opens=opens)
    phrase = _in_keyring(kept_under)
    store = passphrase.shown_store(kept_under, spec.name)
    if phrase is None:
        raise StateError(
            f"the keyring has no passphrase for {spec.name}, or is locked",
            hint=f"unlock it; or put the passphrase there: {store}; or set passphrase_file in [machine.{spec.name}]",
        )
    return Passphrase(phrase, "the keyring", f"put the right one there: {store}", opens=opens)


def must_agree(spec: MachineSpec, kept: MachineRecord) -> None:
    """Refuse settings that contradict an existing machine: its disks are encrypted or they are not.

    Raises:
        StateError: `encrypt` says the opposite of the record.
    """
    if spec.encrypt is True and kept.encrypted is None:
        raise StateError(
            f"{spec.name} was made without encryption, and encrypt = true does not change what is on its disk",
            hint=f"write encrypt = true into [machine.NEW] and make a copy: pommel clone {spec.name} NEW --full;"
            f" or take encrypt out of [machine.{spec.name}]",
        )
    if spec.encrypt is False and kept.encrypted is not None:
        raise StateError(
            f"{spec.name} is encrypted, and encrypt = false does not change what is on its disk",
            hint=f"take encrypt = false out of [machine.{spec.name}]",
        )


def refuse_plain(workspace: Workspace, name: str, done: str) -> None:
    """Refuse `encrypt = true` for machine `name`, because its disk will be in plain text. `done` says how it is made.

    Raises:
        StateError: its settings have `encrypt = true`.
    """
    spec = _spec(workspace, name)
    if spec is not None and spec.encrypt:
        raise StateError(
            f"encrypt = true is set for {name}, and a machine that is {done} has a disk that is not encrypted",
            hint=f"give it another name without encrypt, and then: pommel clone OTHER {name} --full",
        )


def refuse_new(workspace: Workspace, spec: MachineSpec, used: Path | None = None) -> None:
    """If machine `spec.name` is to have encrypted disks, check that this is possible.

    `used` is an existing disk to use.

    Raises:
        StateError: its disk would be used in place, or no passphrase can be read or stored.
        MissingProgram: secret-tool is not installed.
    """
    if not spec.encrypt:
        return
    if used is not None:
        raise StateError(
            f"encrypt = true is for a disk of the machine's own, and disk_file has {spec.name} use {used}",
            hint='disk_file = "own" gives it an encrypted disk, which is empty',
        )
    if (file := _file(workspace, spec)) is not None:
        passphrase.from_file(file)
    else:
        _in_keyring(_NOBODY)


@contextlib.contextmanager
def new_key(workspace: Workspace, spec: MachineSpec, made: MachineRecord, report: Report) -> Iterator[None]:
    """Provide a passphrase for the machine that is made in the block: from the file, or else a new one in the keyring.

    A passphrase that is already in the keyring is used, never replaced. A new one is deleted again if the block fails.

    Raises:
        StateError, MissingProgram: as `refuse_new`.
    """
    if made.encrypted is None:
        yield
        return
    if _file(workspace, spec) is not None or _in_keyring(made.encrypted) is not None:
        held = key_of(workspace, spec, made.encrypted)
        with passphrase.with_key(lambda: held):
            yield
        return
    phrase, stretch_ms = passphrase.new_random()
    # Stored before the disk is made: a disk whose passphrase was lost in a crash could never be opened.
    passphrase.to_keyring(made.encrypted, spec.name, phrase)
    held = Passphrase(phrase, "the keyring", passphrase.shown_store(made.encrypted, spec.name), stretch_ms)
    try:
        with passphrase.with_key(lambda: held):
            yield
    except BaseException:  # Ctrl-C too
        with contextlib.suppress(PommelError):
            passphrase.forget_in_keyring(made.encrypted)
        raise
    note(
        report,
        f"the disks of {spec.name} are encrypted, and their passphrase is in your keyring; without it they are lost, so"
        f" keep a copy elsewhere: {passphrase.shown_lookup(made.encrypted)}",
    )


def of_clone(workspace: Workspace, kept: MachineRecord, made: MachineRecord) -> MachineRecord:
    """The record `made` of a clone, with its encryption set. A clone of an encrypted machine has the same passphrase.

    Raises:
        StateError: the clone's settings have `encrypt = false` or another passphrase; or the passphrase cannot be read.
        MissingProgram: it is in the keyring, and secret-tool is not installed.
    """
    spec = _spec(workspace, made.name)
    if kept.encrypted is None:
        return replace(made, encrypted=made.uuid if spec is not None and spec.encrypt else None)
    if spec is not None and spec.encrypt is False:
        raise StateError(
            f"encrypt = false is set for {made.name}, and {kept.name}, which it would be a clone of, is encrypted",
            hint=f"take encrypt = false out of [machine.{made.name}]",
        )
    base = workspace.spec(kept.name)
    if spec is None or spec.passphrase_file is None:
        if (file := _file(workspace, base)) is not None:
            made = replace(made, settings={**(made.settings or {}), "passphrase_file": str(file)})
        return made
    if key_of(workspace, spec, kept.encrypted).phrase != key_of(workspace, base, kept.encrypted).phrase:
        raise StateError(
            f"passphrase_file of {made.name} holds another passphrase than that of {kept.name}, and a clone of an"
            " encrypted machine opens by the same",
            hint=f"take passphrase_file out of [machine.{made.name}]",
        )
    return made


def must_be_as_recorded(paths: MachinePaths) -> MachineRecord:
    """If the record says that the machine is encrypted, check that all its disks are. Return the record.

    A machine that was made without encryption may have an encrypted disk of the user's, which its boot script opens.

    Raises:
        StateError: a disk is not encrypted.
    """
    kept = record.load(paths.record)
    for path in own_disks.all_disks(paths) if kept.encrypted is not None else ():
        if path.exists() and not disk.is_encrypted(path):
            raise StateError(
                f"{paths.name} was made with encrypted disks, and {path} is not encrypted",
                hint="put the machine's own disk back, or take that file out of its folder",
            )
    return kept


def secret_for_start(paths: MachinePaths) -> bytes | None:
    """The passphrase that QEMU gets to open the machine's disks, after a test on its disk.

    None: they are not encrypted.

    Raises:
        StateError: the disks are not as the record says; or the passphrase cannot be read, or is wrong.
        MissingProgram: it is in the keyring, and secret-tool is not installed.
    """
    if must_be_as_recorded(paths).encrypted is None:
        return None
    disk.must_open(paths.disk)
    return passphrase.key().phrase


def checks(workspace: Workspace, spec: MachineSpec) -> Iterator[tuple[str, Literal["ok", "fail"], str, str | None]]:
    """For the doctor: whether the passphrase of an encrypted machine can be read, and opens its disks."""
    paths = workspace.paths(spec.name)
    try:
        if not paths.record.exists():
            refuse_new(workspace, spec)
            if spec.encrypt:
                yield "encryption", "ok", "a passphrase for it can be had", None
            return
        kept = must_be_as_recorded(paths)
        must_agree(spec, kept)
        if kept.encrypted is None:
            return
        held = key_of(workspace, spec, kept.encrypted)
        with passphrase.with_key(lambda: held):
            for path in own_disks.all_disks(paths):
                disk.must_open(path)
    except PommelError as wrong:
        yield "encryption", "fail", wrong.message, wrong.hint
    else:
        yield "encryption", "ok", f"its disks open by the passphrase from {held.where}", None


def where(workspace: Workspace, spec: MachineSpec, kept: MachineRecord) -> str | None:
    """The passphrase's file, or the command that shows it. None: the machine is not encrypted."""
    if kept.encrypted is None:
        return None
    file = _file(workspace, spec)
    return passphrase.shown_lookup(kept.encrypted) if file is None else str(file)


def _file(workspace: Workspace, spec: MachineSpec) -> Path | None:
    return workspace.beside(spec.name, spec.passphrase_file) if spec.passphrase_file is not None else None


def _in_keyring(kept_under: str) -> bytes | None:
    """As `passphrase.from_keyring`; if secret-tool is missing, the error has the command that installs it here."""
    try:
        return passphrase.from_keyring(kept_under)
    except MissingProgram as missing:
        from pommel.host import packages  # imported late: it reads /etc/os-release, which most calls do not need
        from pommel.host.needs import SECRET_TOOL

        try:
            typed = packages.install_plan([SECRET_TOOL]).as_text
        except MissingProgram:  # no package is known for this distribution
            raise missing from None
        hint = f"type: {typed}; or set passphrase_file, which needs no keyring"
        raise MissingProgram(missing.message, hint=hint) from None


def _spec(workspace: Workspace, name: str) -> MachineSpec | None:
    """The spec of machine `name`; None: there is no machine and no setting of that name."""
    try:
        return workspace.spec(name)
    except UsageError:
        return None
