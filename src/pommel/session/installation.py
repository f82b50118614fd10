"""What installing and removing a service takes, step by step, as values. Band: core, no I/O.

`kvm install --dry-run` prints these steps, `kvm install` does them: there is no second list. A step that has been done
before does no harm. The commands are from systemctl(1) and launchctl(1); those of macOS have not been run on a Mac.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pommel.session.places import Places
from pommel.session.service_files import files


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Put a file where it belongs, whole."""

    path: PurePosixPath
    data: bytes
    mode: int = 0o644

    def __str__(self) -> str:
        return f"write {self.path}"


@dataclass(frozen=True, slots=True)
class Command:
    """Run a program, at most `tries` times. A `lenient` one may fail; then `advice` is said, if there is any."""

    argv: tuple[str, ...]
    lenient: bool = False
    tries: int = 1
    advice: str = ""

    def __str__(self) -> str:
        return shlex.join(self.argv)


@dataclass(frozen=True, slots=True)
class RemoveFile:
    """Remove a file, if it is there."""

    path: PurePosixPath

    def __str__(self) -> str:
        return f"rm -f {shlex.quote(str(self.path))}"


@dataclass(frozen=True, slots=True)
class RemoveDirectory:
    """Remove a directory, if nothing of anybody else's is in it."""

    path: PurePosixPath

    def __str__(self) -> str:
        return f"rmdir {shlex.quote(str(self.path))}"


Step = WriteFile | Command | RemoveFile | RemoveDirectory


@dataclass(frozen=True, slots=True)
class LiveUser:
    """A user who is logged in now: systemd's manager of theirs, or launchd's domain, is there to be told."""

    uid: int
    name: str


def install_steps(
    places: Places,
    daemon: Sequence[str],
    agent: Sequence[str],
    live: Iterable[LiveUser],
    variables: Mapping[str, str] | None = None,
) -> tuple[Step, ...]:
    """Say what installs a service; the users who are logged in need not log in again. `variables`: as `files`.

    Raises:
        UsageError: a command cannot be one of launchd's or systemd's.
    """
    written = tuple(WriteFile(path, data) for path, data in files(places, daemon, agent, variables).items())
    return (*written, *(_load_macos(places, live) if places.system == "macos" else _load_linux(places, live)))


def uninstall_steps(places: Places, live: Iterable[LiveUser]) -> tuple[Step, ...]:
    """Say what removes a service, and all that it has left."""
    if places.system == "macos":
        return (*_unload_macos(places, live), *_clear(places, (places.daemon_plist, places.agent_plist)))
    units = (places.daemon_unit_file, places.agent_path_unit_file, places.agent_unit_file)
    live = tuple(live)
    return (*_unload_linux(places, live), *_clear(places, units), *_reload_linux(live, lenient=True))


def designated_requirement(text: str) -> str:
    """Find the designated requirement in what `codesign --display --requirements -` prints; "" if there is none."""
    found = re.search(r"^(?:# )?designated => (.+)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


# --- systemd ---


def _systemctl(*words: str, lenient: bool = False) -> Command:
    return Command(("systemctl", *words), lenient)


def _systemctl_of(user: LiveUser, *words: str, advice: str = "") -> Command:
    """Speak to a user's own manager. Not by `--machine=`: that takes a PAM session, and machinectl's tools."""
    whose = f"XDG_RUNTIME_DIR=/run/user/{user.uid}"
    return Command(("runuser", "-u", user.name, "--", "env", whose, "systemctl", "--user", *words), True, advice=advice)


def _reload_linux(live: Iterable[LiveUser], *, lenient: bool = False) -> Iterator[Step]:
    yield _systemctl("daemon-reload", lenient=lenient)
    for user in live:
        yield _systemctl_of(user, "daemon-reload")


def _load_linux(places: Places, live: Iterable[LiveUser]) -> Iterator[Step]:
    live = tuple(live)
    yield from _reload_linux(live)
    yield _systemctl("enable", places.daemon_unit)
    # Not `start`: what runs may be an older Pommel.
    yield _systemctl("restart", places.daemon_unit)
    yield _systemctl("--global", "enable", places.agent_path_unit)
    for user in live:
        advice = f"{user.name} must log out and log in again before this session can be shown"
        yield _systemctl_of(user, "restart", places.agent_path_unit, advice=advice)


def _unload_linux(places: Places, live: Iterable[LiveUser]) -> Iterator[Step]:
    yield _systemctl("--global", "disable", places.agent_path_unit, lenient=True)
    for user in live:
        yield _systemctl_of(user, "stop", places.agent_path_unit, places.agent_unit)
    yield _systemctl("disable", "--now", places.daemon_unit, lenient=True)


# --- launchd ---


def _load_macos(places: Places, live: Iterable[LiveUser]) -> Iterator[Step]:
    yield from _unload_macos(places, live := tuple(live))
    # launchd takes a moment to let go of a job that was booted out; until then it answers with an error.
    yield Command(("launchctl", "bootstrap", "system", str(places.daemon_plist)), tries=5)
    for user in live:
        yield Command(("launchctl", "bootstrap", f"gui/{user.uid}", str(places.agent_plist)), tries=5)


def _unload_macos(places: Places, live: Iterable[LiveUser]) -> Iterator[Step]:
    for user in live:
        yield Command(("launchctl", "bootout", f"gui/{user.uid}/{places.agent_label}"), lenient=True)
    yield Command(("launchctl", "bootout", f"system/{places.daemon_label}"), lenient=True)


def _clear(places: Places, definitions: Iterable[PurePosixPath]) -> Iterator[Step]:
    yield from map(RemoveFile, definitions)
    if places.system == "macos":
        yield RemoveFile(places.daemon_log)
    for left in (places.signal, places.viewers, places.record, places.lock):
        yield RemoveFile(left)
    yield RemoveDirectory(places.signals)
    yield RemoveDirectory(places.sockets)
