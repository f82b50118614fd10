"""A machine as a service of the host's systemd: it starts with the host, as its user. Band: app.

Root writes the unit and tells systemd of it; that is all that is done as root. What stands in the unit is asked of a
`pommel` that runs as the machine's user, since root must not act by what another user's settings say: it gives values,
of which each is quoted here.
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
from pommel.app import carried, host_checks, service
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
class Facts:
    """What the unit needs to know of a machine, as its user sees it."""

    machine: str
    stop_timeout_s: float
    mounts: tuple[str, ...]
    variables: Mapping[str, str]
    user_unit: str | None = None  # of the same machine, if that is there

    def as_dict(self) -> dict[str, Any]:
        """All of it as one JSON object."""
        return {
            "name": self.machine,
            "stop_timeout_s": self.stop_timeout_s,
            "mounts": list(self.mounts),
            "variables": dict(self.variables),
            "user_unit": self.user_unit,
        }


@dataclass(frozen=True, slots=True)
class Standing:
    """How one of a machine's two units stands; `enabled` and `active` are systemd's words."""

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


def facts(workspace: Workspace, name: str) -> Facts:
    """What a unit of machine `name` needs to know.

    Raises:
        StateError: it has not been made.
        UsageError: a variable is no text.
    """
    paths, spec = workspace.made(name), workspace.spec(name)
    needed = [workspace.home.root, paths.directory, *(disk.parent for disk in own_disks.all_disks(paths))]
    needed += [disk.resolve().parent for disk in own_disks.all_disks(paths)]
    if (file := workspace.file_of(name).path) is not None:
        needed.append(file.absolute().parent)
    folder = workspace.upstream_folder(spec)
    needed += [folder, *([workspace.beside(name, spec.boot_disk).parent] if spec.boot_disk else [])]
    both = [each for one in needed for each in (one.absolute(), one.resolve())]  # systemd follows no links
    mounts = dict.fromkeys(str(each) for each in both if ".." not in each.parts)  # and takes no such path
    unit = service.unit_path(workspace, name)
    variables = carried.to_unit(workspace, name)
    secret = proxies.for_everybodys_eyes(workspace.env)[1]  # systemd tells the variables of its units to everybody
    shown = {key: value for key, value in variables.items() if key not in secret}
    return Facts(name, spec.stop_timeout_s, tuple(mounts), shown, str(unit) if unit.exists() else None)


def install(
    name: str,
    *,
    user: str | None = None,
    enable: bool = True,
    dry_run: bool = False,
    folder: Path = FOLDER,
    report: Report = ignore,
) -> service.Installed:
    """Write the unit with which machine `name` of `user` starts with the host; `dry_run` only says what it would be.

    Raises:
        NotPermitted: this is not root; the hint is what to type.
        UsageError: nobody is called so.
        StateError: the machine has not been made, or a unit of that name is not Pommel's.
    """
    check_name(name)
    who = _account(user)
    known = _facts(name, who)
    path, text = folder / system_unit_name(who.pw_name, name), unit_text(known, who)
    if dry_run:
        return service.Installed(path, text, enabled=False)
    if os.geteuid() != 0:
        raise NotPermitted(f"{path} is root's to write", hint=_as_root(("install", name), who, known.variables))
    _must_be_ours(path)
    if known.user_unit is not None:
        warn(report, f"{known.user_unit} starts it too; as {who.pw_name}: pommel service uninstall {name}")
    write_atomic(path, text, mode=0o644)
    told = _systemctl(["daemon-reload"], report) and (not enable or _systemctl(["enable", path.name], report))
    if told and enable:
        note(report, f"it starts with the host; to have it now: systemctl start {shlex.quote(path.name)}")
    return service.Installed(path, text, enabled=told and enable)


def remove(name: str, *, user: str | None = None, folder: Path = FOLDER, report: Report = ignore) -> Path:
    """Take the unit away; the machine goes on as it is.

    Raises:
        StateError: there is none, or it is not Pommel's.
        NotPermitted: this is not root; the hint is what to type.
    """
    check_name(name)
    who = _account(user)
    path = folder / system_unit_name(who.pw_name, name)
    if not path.exists():
        hint = f"pommel service install {name} --system --user {shlex.quote(who.pw_name)}"
        raise StateError(f"{name} of {who.pw_name} is no service of the host", hint=hint)
    _must_be_ours(path)
    if os.geteuid() != 0:
        raise NotPermitted(f"{path} is root's to remove", hint=_as_root(("uninstall", name), who, {}))
    _systemctl(["disable", path.name], report)
    path.unlink()
    _systemctl(["daemon-reload"], report)
    return path


def status(workspace: Workspace, name: str, *, user: str | None = None, folder: Path = FOLDER) -> tuple[Standing, ...]:
    """How the machine's units stand: that of the user's own systemd, and that of the host's."""
    workspace.settings(name)
    who = _account(user)
    found = []
    units = (("user", service.unit_path(workspace, name)), ("system", folder / system_unit_name(who.pw_name, name)))
    for scope, path in units:
        words = [_word(scope, verb, path.name) for verb in ("is-enabled", "is-active")]
        found.append(Standing(scope, path, path.exists(), *words))
    return tuple(found)


def unit_text(known: Facts, who: pwd.struct_passwd) -> str:
    """The unit file.

    Raises:
        UsageError: systemd cannot start this Pommel from where it is, or a unit file cannot hold a word.
    """
    command = host_checks.own_command()
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


def parse(data: bytes, name: str) -> Facts:
    """Read what the user's own `pommel` said, of which nothing is trusted.

    Raises:
        ValueError: it is not what is asked for.
    """
    told = parse_json(data)
    mounts, variables = told["mounts"], told["variables"]
    if not all(isinstance(each, str) and each.startswith("/") for each in mounts):
        raise ValueError("mounts are absolute paths")
    if not all(_VARIABLE.match(key) and isinstance(value, str) for key, value in variables.items()):
        raise ValueError("variables are names and texts")
    seconds = told["stop_timeout_s"]
    if (
        told["name"] != name
        or isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not 0 < seconds < 1e6
    ):
        raise ValueError("it is of another machine")
    unit = told["user_unit"]
    return Facts(name, float(seconds), tuple(mounts), dict(variables), unit if isinstance(unit, str) else None)


def _account(user: str | None) -> pwd.struct_passwd:
    """Whose machine it is: as said, else who called sudo, else this user.

    Raises:
        UsageError: nobody is called so.
    """
    try:
        if user is not None:
            return pwd.getpwnam(user)
        behind = os.environ.get("SUDO_UID", "") if os.geteuid() == 0 else ""
        return pwd.getpwuid(int(behind) if behind.isascii() and behind.isdecimal() else os.geteuid())
    except (KeyError, OverflowError) as nobody:
        raise UsageError(f"there is no user {user or os.geteuid()!r} here", hint="--user NAME names one") from nobody


def _facts(name: str, who: pwd.struct_passwd) -> Facts:
    if who.pw_uid == os.geteuid():
        return facts(Workspace.current(), name)
    if os.geteuid() != 0:
        hint = _as_root(("install", name), who, {})
        raise NotPermitted(f"what {who.pw_name}'s machine is, only {who.pw_name} and root may see", hint=hint)
    env = {key: value for key, value in environment().items() if key in carried_by_root()}
    env |= {"HOME": who.pw_dir, "USER": who.pw_name, "LOGNAME": who.pw_name, "PATH": _USUAL_PATH, "LC_ALL": "C.UTF-8"}
    as_user = [f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--init-groups", "--no-new-privs", "--"]
    words = ["setpriv", *as_user, *host_checks.own_command(), "service", "show", name, "--system", "--json"]
    try:
        return parse(run(words, env=env, timeout_s=_ASK_S).stdout, name)
    except CommandFailed as failure:
        lines = [line for line in failure.output.splitlines() if line.startswith(("error: ", "hint: "))]
        why = "; ".join(line.partition(": ")[2] for line in lines) or failure.message
        raise StateError(f"{who.pw_name} cannot start {name}: {why}") from failure
    except (ValueError, KeyError, TypeError, AttributeError) as wrong:
        raise StateError(f"what {who.pw_name}'s pommel says of {name} cannot be used: {wrong}") from wrong


def carried_by_root() -> frozenset[str]:
    """The variables of root's that count for the user's `pommel`: those that are Pommel's alone."""
    return frozenset({"POMMEL_HOME", *carried.FILES, *carried.WORDS})


def _as_root(words: tuple[str, ...], who: pwd.struct_passwd, variables: Mapping[str, str]) -> str:
    """What to type to have root do it."""
    said = [f"{key}={value}" for key, value in sorted(variables.items()) if key in carried_by_root()]
    more = ["env", *said] if said else []
    return shlex.join(["sudo", *more, *host_checks.own_command(), "service", *words, "--system", "--user", who.pw_name])


def _must_be_ours(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not path.read_text(errors="replace").startswith(_MINE)):
        raise StateError(
            f"{path} is not Pommel's, and stays as it is", hint=f"look at it, then: rm {shlex.quote(str(path))}"
        )


def _systemctl(words: list[str], report: Report) -> bool:
    """Tell the host's systemd; where there is none to tell, say what to type."""
    typed = shlex.join(["systemctl", *words])
    if shutil.which("systemctl") is None:
        warn(report, f"there is no systemd here to tell; later: {typed}")
        return False
    try:
        run(["systemctl", *words], timeout_s=_TELL_S)
    except CommandFailed as failure:
        warn(report, f"systemd was not told ({failure.message}); type: {typed}")
        return False
    return True


def _word(scope: str, verb: str, unit: str) -> str:
    if shutil.which("systemctl") is None:
        return "unknown: there is no systemd here"
    more = ["--user"] if scope == "user" else []
    done = run(["systemctl", *more, verb, unit], check=False, timeout_s=_TELL_S)
    return done.text.strip() or "unknown: systemd does not answer"
