"""A machine as a service of the host's systemd: it starts with the host and runs as its user. Band: app.

Root only writes the unit and loads it. The values for the unit come from a `pommel` that runs as the machine's user,
because root must not read another user's settings: these could name programs and files. Each value is checked and
quoted here.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel import proxies
from pommel.app.host import carried, checks, service
from pommel.app.workspace import Workspace
from pommel.config import environment
from pommel.errors import CommandFailed, NotPermitted, StateError, UsageError
from pommel.foreign import parse_json
from pommel.machine import own_disks
from pommel.machine.units import SystemService, system_unit_name, system_unit_text
from pommel.paths import check_name, write_atomic
from pommel.process import run
from pommel.progress import Report, ignore, note, warn

FOLDER = Path("/etc/systemd/system")
_MINE = "# Written by `pommel service install "
_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_PLAIN_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")
_ASK_S, _TELL_S = 60.0, 30.0


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """The values for the unit of a machine, collected as its user."""

    machine: str
    stop_timeout_s: float
    mounts: tuple[str, ...]
    variables: Mapping[str, str]
    user_unit: str | None = None  # the path of the same machine's user unit, if it exists

    def as_dict(self) -> dict[str, Any]:
        """The values as one JSON object."""
        return {
            "name": self.machine,
            "stop_timeout_s": self.stop_timeout_s,
            "mounts": list(self.mounts),
            "variables": dict(self.variables),
            "user_unit": self.user_unit,
        }


@dataclass(frozen=True, slots=True)
class UnitStanding:
    """The state of one of a machine's two units; `enabled` and `active` are systemd's words."""

    scope: str  # user or system
    path: Path
    there: bool
    enabled: str
    active: str

    def as_dict(self) -> dict[str, Any]:
        """The unit as a JSON object."""
        return {
            "scope": self.scope,
            "unit": str(self.path),
            "installed": self.there,
            "starts": self.enabled,
            "active": self.active,
        }


def facts(workspace: Workspace, name: str) -> UnitFacts:
    """Collect the values for the unit of machine `name`.

    Raises:
        StateError: it has not been made.
        UsageError: a variable is not valid text.
    """
    paths, spec = workspace.made(name), workspace.spec(name)
    needed = [workspace.home.root, paths.directory, *(disk.parent for disk in own_disks.all_disks(paths))]
    needed += [disk.resolve().parent for disk in own_disks.all_disks(paths)]
    if (file := workspace.file_of(name).path) is not None:
        needed.append(file.absolute().parent)
    folder = workspace.upstream_folder(spec)
    needed += [folder, *([workspace.beside(name, spec.boot_disk).parent] if spec.boot_disk else [])]
    # RequiresMountsFor= does not follow links, so both paths are listed; a path with ".." is refused there.
    both = [each for one in needed for each in (one.absolute(), one.resolve())]
    mounts = dict.fromkeys(str(each) for each in both if ".." not in each.parts)
    unit = service.unit_path(workspace, name)
    variables = carried.to_unit(workspace, name)
    secret = proxies.for_everybodys_eyes(workspace.env)[1]  # every user can read a system unit's variables
    shown = {key: value for key, value in variables.items() if key not in secret}
    return UnitFacts(name, spec.stop_timeout_s, tuple(mounts), shown, str(unit) if unit.exists() else None)


def install(
    name: str,
    *,
    user: str | None = None,
    enable: bool = True,
    dry_run: bool = False,
    folder: Path = FOLDER,
    report: Report = ignore,
) -> service.Installed:
    """Write the unit that starts machine `name` of `user` with the host. `dry_run` only returns its text.

    Raises:
        NotPermitted: this is not root; the hint is what to type.
        UsageError: there is no user of that name.
        StateError: the machine has not been made, or a unit of that name is not Pommel's.
    """
    check_name(name)
    who = _account(user)
    known = _facts(name, who)
    path, text = folder / system_unit_name(who.pw_name, name), unit_text(known, who)
    if dry_run:
        return service.Installed(path, text, enabled=False)
    if os.geteuid() != 0:
        raise NotPermitted(f"only root can write {path}", hint=_as_root(("install", name), who, known.variables))
    _must_be_ours(path)
    if known.user_unit is not None:
        warn(report, f"{known.user_unit} starts it too; as {who.pw_name}: pommel service uninstall {name}")
    write_atomic(path, text, mode=0o644)
    told = _systemctl(["daemon-reload"], report) and (not enable or _systemctl(["enable", path.name], report))
    if told and enable:
        note(report, f"it starts with the host. To start it now: systemctl start {shlex.quote(path.name)}")
    return service.Installed(path, text, enabled=told and enable)


def remove(name: str, *, user: str | None = None, folder: Path = FOLDER, report: Report = ignore) -> Path:
    """Remove the unit; the machine is not changed.

    Raises:
        StateError: there is none, or it is not Pommel's.
        NotPermitted: this is not root; the hint is what to type.
    """
    check_name(name)
    who = _account(user)
    path = folder / system_unit_name(who.pw_name, name)
    if not path.exists():
        hint = f"pommel service install {name} --system --user {shlex.quote(who.pw_name)}"
        raise StateError(f"{name} of {who.pw_name} has no service of the host", hint=hint)
    _must_be_ours(path)
    if os.geteuid() != 0:
        raise NotPermitted(f"only root can remove {path}", hint=_as_root(("uninstall", name), who, {}))
    _systemctl(["disable", path.name], report)
    path.unlink()
    _systemctl(["daemon-reload"], report)
    return path


def status(
    workspace: Workspace, name: str, *, user: str | None = None, folder: Path = FOLDER
) -> tuple[UnitStanding, ...]:
    """The states of the machine's two units: the user's systemd's, and the host's."""
    workspace.settings(name)
    who = _account(user)
    found = []
    units = (("user", service.unit_path(workspace, name)), ("system", folder / system_unit_name(who.pw_name, name)))
    for scope, path in units:
        words = [_word(scope, verb, path.name) for verb in ("is-enabled", "is-active")]
        found.append(UnitStanding(scope, path, path.exists(), *words))
    return tuple(found)


def unit_text(known: UnitFacts, who: pwd.struct_passwd) -> str:
    """The unit file.

    Raises:
        UsageError: systemd cannot start this Pommel from where it is, or a unit file cannot hold a word.
    """
    command = checks.own_command()
    return system_unit_text(
        SystemService(
            machine=known.machine,
            start=(*command, "start", known.machine, "--foreground"),
            stop=(*command, "stop", known.machine),
            stop_timeout_s=known.stop_timeout_s,
            environment=known.variables,
            user=who.pw_name if _PLAIN_USER.match(who.pw_name) else str(who.pw_uid),
            mounts=known.mounts,
        )
    )


def parse(data: bytes, name: str) -> UnitFacts:
    """Read the answer of the user's `pommel`, which is not trusted.

    Raises:
        ValueError: it does not have the expected form.
    """
    told = parse_json(data)
    mounts, variables = told["mounts"], told["variables"]
    if not all(isinstance(each, str) and each.startswith("/") for each in mounts):
        raise ValueError("mounts must be absolute paths")
    if not all(_VARIABLE.match(key) and isinstance(value, str) for key, value in variables.items()):
        raise ValueError("variables must be names with text values")
    seconds = told["stop_timeout_s"]
    if (
        told["name"] != name
        or isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not 0 < seconds < 1e6
    ):
        raise ValueError("it is for another machine, or stop_timeout_s is not a valid number")
    unit = told["user_unit"]
    return UnitFacts(name, float(seconds), tuple(mounts), dict(variables), unit if isinstance(unit, str) else None)


def _account(user: str | None) -> pwd.struct_passwd:
    """The machine's user: `user`, or else the user who called sudo, or else this user.

    Raises:
        UsageError: there is no such user.
    """
    try:
        if user is not None:
            return pwd.getpwnam(user)
        behind = os.environ.get("SUDO_UID", "") if os.geteuid() == 0 else ""
        return pwd.getpwuid(int(behind) if behind.isascii() and behind.isdecimal() else os.geteuid())
    except (KeyError, OverflowError) as nobody:
        raise UsageError(f"there is no user {user or os.geteuid()!r} here", hint="give one: --user NAME") from nobody


def _facts(name: str, who: pwd.struct_passwd) -> UnitFacts:
    if who.pw_uid == os.geteuid():
        return facts(Workspace.current(), name)
    if os.geteuid() != 0:
        hint = _as_root(("install", name), who, {})
        raise NotPermitted(f"only {who.pw_name} and root can read the settings of {who.pw_name}'s machine", hint=hint)
    env = {key: value for key, value in environment().items() if key in carried_by_root()}
    env |= {"HOME": who.pw_dir, "USER": who.pw_name, "LOGNAME": who.pw_name, "PATH": _USUAL_PATH, "LC_ALL": "C.UTF-8"}
    as_user = [f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--init-groups", "--no-new-privs", "--"]
    words = ["setpriv", *as_user, *checks.own_command(), "service", "show", name, "--system", "--json"]
    try:
        return parse(run(words, env=env, timeout_s=_ASK_S).stdout, name)
    except CommandFailed as failure:
        lines = [line for line in failure.output.splitlines() if line.startswith(("error: ", "hint: "))]
        why = "; ".join(line.partition(": ")[2] for line in lines) or failure.message
        raise StateError(f"{who.pw_name} cannot start {name}: {why}") from failure
    except (ValueError, KeyError, TypeError, AttributeError) as wrong:
        raise StateError(f"the answer of {who.pw_name}'s pommel about {name} cannot be used: {wrong}") from wrong


def carried_by_root() -> frozenset[str]:
    """The variables of root that the user's `pommel` gets: only Pommel's own."""
    return frozenset({"POMMEL_HOME", *carried.FILES, *carried.WORDS})


def _as_root(words: tuple[str, ...], who: pwd.struct_passwd, variables: Mapping[str, str]) -> str:
    """The command that does it as root."""
    said = [f"{key}={value}" for key, value in sorted(variables.items()) if key in carried_by_root()]
    more = ["env", *said] if said else []
    return shlex.join(["sudo", *more, *checks.own_command(), "service", *words, "--system", "--user", who.pw_name])


def _must_be_ours(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not path.read_text(errors="replace").startswith(_MINE)):
        raise StateError(
            f"{path} is not Pommel's, and was not changed", hint=f"check the file, then: rm {shlex.quote(str(path))}"
        )


def _systemctl(words: list[str], report: Report) -> bool:
    """Run `systemctl`. Without systemd, warn with the command to type later; return whether it worked."""
    typed = shlex.join(["systemctl", *words])
    if shutil.which("systemctl") is None:
        warn(report, f"there is no systemd here. Later, type: {typed}")
        return False
    try:
        run(["systemctl", *words], timeout_s=_TELL_S)
    except CommandFailed as failure:
        warn(report, f"systemd could not be reached ({failure.message}); type: {typed}")
        return False
    return True


def _word(scope: str, verb: str, unit: str) -> str:
    if shutil.which("systemctl") is None:
        return "unknown: there is no systemd here"
    more = ["--user"] if scope == "user" else []
    done = run(["systemctl", *more, verb, unit], check=False, timeout_s=_TELL_S)
    return done.text.strip() or "unknown: systemd does not answer"
