"""Make the disk with the scripts that install macOS and set it up in Apple's Recovery. Band: app.

The password is read from a file and hashed here; the disk has only the hash. Each stage has its own disk. A disk can be
made again: the account keeps its identifier, and the volume keeps its name.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pommel import texts, unattended
from pommel.app.guest.copy_id import read_public
from pommel.app.unattended import full_installer
from pommel.app.upstream import installers
from pommel.app.workspace import Workspace
from pommel.errors import StateError, UsageError
from pommel.fat import make_fat
from pommel.machine import disk, record
from pommel.paths import MachinePaths
from pommel.unattended import account, scripts
from pommel.unattended.scripts import InstallTarget, Reporting, UserRecord
from pommel.unattended.wishes import Wishes

Stage = Literal["install", "provision"]
_PASSWORD_MAX = 4 << 10
_DATA = Path(unattended.__file__).parent / "data"
# Placeholders for the first stage, which makes no account.
NOBODY = Wishes("nobody-yet", "nobody yet", ()), UserRecord(b"", "")


@dataclass(frozen=True, slots=True)
class Account:
    """The user that the second stage makes; without a password, a login needs an SSH key."""

    user: str
    full_name: str | None = None
    password_file: Path | None = None
    ssh_keys: tuple[Path, ...] = ()
    locale: str | None = None
    keyboard: str | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class Install:
    """The options of the first stage: whether Apple's licence is accepted, and whether to use the full installer."""

    licence_accepted: bool = False
    full_installer: bool = False


@dataclass(frozen=True, slots=True)
class ScriptDisk:
    """A script disk. `typed` is the line for Recovery's Terminal; `qemu_args` attach the disk to the machine."""

    name: str
    path: str
    stage: Stage
    typed: str
    size_bytes: int
    volume: str
    qemu_args: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        return asdict(self)


def make(
    name: str,
    path: Path,
    stage: Stage,
    *,
    account_wish: Account | None = None,
    install: Install = Install(),
    force: bool = False,
    dry_run: bool = False,
    workspace: Workspace | None = None,
) -> ScriptDisk:
    """Make the script disk at `path` for the existing machine `name`.

    Raises:
        UsageError: a value cannot be used; the licence is not accepted; there is no account, or it has neither a
            password nor a key.
        StateError: the machine does not exist, or the file exists; the full installer is not downloaded, or the
            machine's disk is too small for it.
        BuildError, MissingProgram: the disk cannot be made.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    if stage == "install" and not install.licence_accepted:
        raise licence_lacks()
    made_for, user = NOBODY if stage == "install" else _asked_for(name, account_wish, paths)
    target, more = target_of(paths), tuple[str, ...]()
    if stage == "install" and install.full_installer:
        target, more = with_full_installer(workspace, name, target)
    made = _script_disk(name, path.absolute(), stage, target, more)
    if path.exists() and not force:
        raise StateError(f"{path} already exists", hint="to replace it: --force")
    if not dry_run:
        told = Reporting(None, secrets.token_urlsafe(24))
        write(path.absolute(), stage, target, told, made_for, user, licence_accepted=install.licence_accepted)
    return made


def with_full_installer(
    workspace: Workspace, name: str, target: InstallTarget
) -> tuple[InstallTarget, tuple[str, ...]]:
    """The target with Apple's full installer, and the QEMU arguments that attach the installer.

    Raises:
        StateError: it is not downloaded, or the target's disk is too small for it.
    """
    found = full_installer.of(workspace, name)
    return full_installer.target_with(target, found), installers.attached(found)


def licence_lacks() -> UsageError:
    """The error if Apple's licence is not accepted."""
    return UsageError(
        "Apple's licence must be accepted before macOS is installed",
        hint="read it at https://www.apple.com/legal/sla/, then add --accept-apple-licence",
    )


def target_of(paths: MachinePaths) -> InstallTarget:
    """The disk to install on: its size, and a unique name for its volume, which is always the same for one machine."""
    digest = hashlib.sha256(record.load(paths.record).uuid.encode()).hexdigest()
    return InstallTarget(disk.info(paths.disk).virtual_bytes, f"Pommel-{digest[:8]}")


def write(
    path: Path,
    stage: Stage,
    target: InstallTarget,
    told: Reporting,
    wishes: Wishes,
    user: UserRecord,
    *,
    licence_accepted: bool,
    again: bool = False,
) -> None:
    """Write the disk of one stage to `path`, completely or not at all; an existing one is replaced.

    Raises:
        BuildError, MissingProgram: it cannot be made.
    """
    files = scripts.files(
        stage,
        target,
        told,
        wishes,
        user,
        licence_accepted=licence_accepted,
        again=again,
        sources={each: (_DATA / each).read_bytes() for each in scripts.SCRIPTS},
    )
    make_fat(path, files, label=scripts.LABEL)


def attached(path: Path) -> tuple[str, ...]:
    """The QEMU arguments that attach the disk at `path`.

    Raises:
        UsageError: the path has a comma.
    """
    if "," in str(path):
        raise UsageError(f"{path} has a comma in its name, where QEMU would end the name", hint="choose another name")
    return ("-drive", f"id=PommelScripts,if=none,format=raw,file={path}", "-device", "usb-storage,drive=PommelScripts")


def _script_disk(name: str, path: Path, stage: Stage, target: InstallTarget, more: tuple[str, ...]) -> ScriptDisk:
    return ScriptDisk(name, str(path), stage, scripts.LINE, target.size_bytes, target.volume, attached(path) + more)


def _asked_for(name: str, wish: Account | None, paths: MachinePaths) -> tuple[Wishes, UserRecord]:
    if wish is None:
        raise UsageError(
            "an account needs a user name", hint=f"pommel unattended disk {name} FILE --stage provision --user NAME"
        )
    checked = check(name, wish, own_key(paths))
    return checked.wishes, checked.record(record.load(paths.record).uuid)


@dataclass(frozen=True, slots=True)
class CheckedAccount:
    """An account with checked values, and the hash of its password from `account.shadow_hash`."""

    wishes: Wishes
    shadow: bytes | None = field(repr=False)

    def record(self, identity: str) -> UserRecord:
        """The account's record for the machine with the UUID `identity`; its identifier is the same each time."""
        guid = uuid.uuid5(uuid.UUID(identity), self.wishes.user)
        return UserRecord(account.record(self.wishes.user, self.wishes.full_name, guid, self.shadow), str(guid).upper())


def check(name: str, wish: Account, own_key: str | None) -> CheckedAccount:
    """Check an account. Its files are read only once, because they may be pipes. `own_key` is the machine's public key.

    Raises:
        UsageError: a value cannot be used, or there is neither a password nor a key.
    """
    keys = [*([own_key] if own_key is not None else []), *(read_public(path).line for path in wish.ssh_keys)]
    wishes = Wishes(
        wish.user, wish.full_name or wish.user, tuple(dict.fromkeys(keys)), wish.locale, wish.keyboard, wish.timezone
    )
    if not keys and wish.password_file is None:
        raise UsageError(
            f"{wish.user} could not log in: {name} has no SSH key of its own yet",
            hint="add --ssh-key FILE.pub or --password-file FILE",
        )
    password = _password(wish.password_file) if wish.password_file is not None else None
    shadow = account.shadow_hash(password, secrets.token_bytes(account.SALT_BYTES)) if password is not None else None
    return CheckedAccount(wishes, shadow)


def own_key(paths: MachinePaths) -> str | None:
    """The machine's public key; None: it has none."""
    public = paths.ssh_key.with_name(f"{paths.ssh_key.name}.pub")
    return read_public(public).line if public.exists() else None


def _password(path: Path) -> str:
    """The password in a file, without the newline. Errors never contain it."""
    data = texts.read_bytes(
        path, error=UsageError, hint="write the password into a file", most=_PASSWORD_MAX, pipes=True
    )
    password = texts.decode(data, path, error=UsageError).removesuffix("\n").removesuffix("\r")
    if not password or not password.isprintable():
        raise UsageError(
            f"{path} has no password, or one with characters that cannot be typed", hint="use one line of text"
        )
    return password
