"""The steps that install or remove a service, as values. Band: core, no I/O.

`kvm install --dry-run` prints these steps and `kvm install` executes them, so that both always have the same list. A
step can be repeated without harm. The commands are from systemctl(1) and launchctl(1); those of macOS were not run on a
Mac.
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
    """Write a whole file."""

    path: PurePosixPath
    data: bytes
    mode: int = 0o644

    def __str__(self) -> str:
        return f"write {self.path}"


@dataclass(frozen=True, slots=True)
class Command:
    """Run a program, at most `tries` times. A `lenient` one may fail; then `advice` is printed, if there is any."""

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
    """Remove a directory, if it is empty."""

    path: PurePosixPath

    def __str__(self) -> str:
        return f"rmdir {shlex.quote(str(self.path))}"


Step = WriteFile | Command | RemoveFile | RemoveDirectory


@dataclass(frozen=True, slots=True)
class LiveUser:
    """A user who is logged in now: their manager of systemd, or their domain of launchd, is running."""

    uid: int
    name: str


def install_steps(
    places: Places,
    daemon: Sequence[str],
    agent: Sequence[str],
    live: Iterable[LiveUser],
    variables: Mapping[str, str] | None = None,
) -> tuple[Step, ...]:
    """The steps that install a service; users who are logged in need not log in again. `variables`: as in `files`.

    Raises:
        UsageError: a command cannot be used for launchd or systemd.
    """
    written = tuple(WriteFile(path, data) for path, data in files(places, daemon, agent, variables).items())
    return (*written, *(_load_macos(places, live) if places.system == "macos" else _load_linux(places, live)))


def uninstall_steps(places: Places, live: Iterable[LiveUser]) -> tuple[Step, ...]:
    """The steps that remove a service and all its files."""
    if places.system == "macos":
        return (*_unload_macos(places, live), *_clear(places, (places.daemon_plist, places.agent_plist)))
    units = (places.daemon_unit_file, places.agent_path_unit_file, places.agent_unit_file)
    live = tuple(live)
    return (*_unload_linux(places, live), *_clear(places, units), *_reload_linux(live, lenient=True))


def designated_requirement(text: str) -> str:
    """The designated requirement in the output of `codesign --display --requirements -`; "" if there is none."""
    found = re.search(r"^(?:# )?designated => (.+)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


# --- systemd ---


def _systemctl(*words: str, lenient: bool = False) -> Command:
    return Command(("systemctl", *words), lenient)


def _systemctl_of(user: LiveUser, *words: str, advice: str = "") -> Command:
    """Run a command of a user's own manager. Without `--machine=`, which needs a PAM session and machinectl."""
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
    # Not `start`: an older Pommel may be running.
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
    # launchd needs a moment to remove a job after bootout; until then it answers with an error.
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
