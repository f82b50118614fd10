"""Install and remove the reversed socket on this system, and show its status. Band: app.

`session.installation` makes the list of steps; this module makes it for this system, and carries it out or only shows
it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shlex
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pommel import account, proxies
from pommel.app.session.kvm_daemon import places_of, read_record, systemd_runs
from pommel.errors import MissingProgram, NotPermitted, PommelError, StateError
from pommel.paths import write_atomic
from pommel.process import run, this_python
from pommel.progress import Report, ignore, note, warn
from pommel.session.installation import (
    Command,
    LiveUser,
    RemoveDirectory,
    RemoveFile,
    Step,
    WriteFile,
    designated_requirement,
    install_steps,
    uninstall_steps,
)
from pommel.session.libraries import OWN, PACKAGES
from pommel.session.places import DEFAULT_ID, Places
from pommel.session.service_files import files
from pommel.session.sessions import active_session

_COMMAND_S = 60.0
_TRY_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class ServiceWish:
    """The options of an installation. `daemon_words` are arguments of `pommel kvm daemon`; `program` is the command of
    this Pommel (default: found here). `ticket` is the .msh file of a MeshCentral server for the session."""

    service_id: str = DEFAULT_ID
    daemon_words: tuple[str, ...] = ()
    program: tuple[str, ...] = ()
    ticket: bytes | None = None


def install_plan(wanted: ServiceWish) -> tuple[Step, ...]:
    """The steps that install the service on this system.

    Raises:
        UsageError: the id or a command is not valid.
        StateError, CommandFailed: macOS finds no code signature of the interpreter.
    """
    places = places_of(wanted.service_id)
    daemon, agent = _commands(places, wanted)
    variables, _ = proxies.for_everybodys_eyes(os.environ)
    # A copy of the ticket: the user's file may be gone at the next boot.
    kept = () if wanted.ticket is None else (WriteFile(places.ticket, wanted.ticket, 0o600),)
    return (*kept, *install_steps(places, daemon, agent, live_users(places), variables))


def install(wanted: ServiceWish, *, report: Report = ignore) -> tuple[Step, ...]:
    """Install or update the service, and start it.

    Raises:
        NotPermitted: this is not root.
        MissingProgram: a library that the agent needs is not installed.
        StateError: there is no systemd here, or users cannot run this Pommel where it is; or as `install_plan`.
        CommandFailed: systemd or launchd refused it.
    """
    _needs_root("install")
    places, steps = places_of(wanted.service_id), install_plan(wanted)
    if places.system == "linux" and not systemd_runs():
        raise StateError(
            "there is no systemd here, which is needed to start an agent in a session",
            hint="by hand: sudo pommel kvm daemon --uid UID, and in the session: pommel kvm agent",
        )
    check_libraries(places)
    for word in _program(wanted)[:1]:
        _check_reachable(Path(word), report)
    for name in proxies.for_everybodys_eyes(os.environ)[1]:
        warn(
            report, f"{name} contains a password, and every user can read a system unit, so it was left out of the unit"
        )
    _carry_out(steps, report)
    return steps


def uninstall_plan(service_id: str = DEFAULT_ID) -> tuple[Step, ...]:
    """The steps that remove the service from this system."""
    places = places_of(service_id)
    return (*uninstall_steps(places, live_users(places)), *_forget_state(places))


def _forget_state(places: Places) -> Iterator[Step]:
    kept = Path(places.state)
    if kept.is_dir():
        found = sorted((*kept.glob("mesh/*"), *kept.glob("tls/*")))
        yield from (RemoveFile(PurePosixPath(file)) for file in found)
        yield RemoveFile(places.ticket)
        yield RemoveDirectory(places.mesh)
        if Path(places.tls).is_dir():
            yield RemoveDirectory(places.tls)
        yield RemoveDirectory(places.state)


def uninstall(service_id: str = DEFAULT_ID, *, report: Report = ignore) -> tuple[Step, ...]:
    """Remove the service completely. Nothing happens if there is none.

    Raises:
        NotPermitted: this is not root.
    """
    _needs_root("uninstall")
    steps = uninstall_plan(service_id)
    _carry_out(steps, report)
    return steps


@dataclass(frozen=True, slots=True)
class KvmStatus:
    """The state of a service. Fields that only root may know are empty for others; `session` is that on the screen."""

    service_id: str
    system: str
    installed: bool
    missing: tuple[str, ...]
    running: bool
    users: tuple[str, ...]
    session: str
    url: str
    tls_fingerprint: str
    ws: str
    socket: str


def status(service_id: str = DEFAULT_ID) -> KvmStatus:
    """The state of the service on this system."""
    places = places_of(service_id)
    definitions = files(places, ["/-"], ["/-"])
    missing = tuple(str(path) for path in definitions if not Path(path).exists())
    running = _is_running(places)
    kept = read_record(places) if running else {}
    return KvmStatus(
        service_id=service_id,
        system=places.system,
        installed=not missing,
        missing=missing,
        running=running,
        users=tuple(user.name for user in live_users(places) if _watches(places, user)),
        session=_session(),
        url=str(kept.get("url", "")),
        ws=str(kept.get("ws", "")),
        tls_fingerprint=str(kept.get("tls_fingerprint", "")),
        socket=str(kept.get("socket", "")) or (str(places.viewers) if Path(places.viewers).is_socket() else ""),
    )


def live_users(places: Places) -> tuple[LiveUser, ...]:
    """The users whose user systemd, or desktop's launchd, runs now."""
    return tuple(_users_of_launchd() if places.system == "macos" else _users_of_systemd())


def check_libraries(places: Places) -> None:
    """Import the agent's libraries: this writes their bytecode, so that agents start quickly, and shows that they work.

    Raises:
        MissingProgram: a library is missing or does not work here.
    """
    for package, module in PACKAGES[places.system].items():
        try:
            importlib.import_module(module or "pommel")
        except ImportError as failure:
            raise MissingProgram(
                f"the agent's library {package} does not work here: {failure}",
                hint=shlex.join(this_python("-m", "pip", "install", package)),
            ) from failure
    for module in OWN[places.system]:
        importlib.import_module(module)


def _session() -> str:
    try:
        found = active_session()
    except PommelError:
        return ""
    return f"{_name_of(found.uid)} ({found.kind or 'unknown'})" if found else ""


def _users_of_systemd() -> Iterator[LiveUser]:
    for manager in sorted(Path("/run/user").glob("*/systemd/private")):
        uid = manager.parents[1].name
        if uid.isdigit() and (name := _name_of(int(uid))):
            yield LiveUser(int(uid), name)


def _users_of_launchd() -> Iterator[LiveUser]:
    with contextlib.suppress(PommelError):
        found = active_session()
        if found is not None and found.uid != 0:
            yield LiveUser(found.uid, found.name)


def _name_of(uid: int) -> str:
    return account.name_of(uid) or ""


def _commands(places: Places, wanted: ServiceWish) -> tuple[list[str], list[str]]:
    program, which = _program(wanted), ["--id", wanted.service_id]
    daemon = [*program, "kvm", "daemon", *which, *wanted.daemon_words]
    daemon += [] if wanted.ticket is None else ["--msh", str(places.ticket)]
    if places.system == "macos":
        daemon += ["--requirement", pinned_requirement()]
        return daemon, [*program, "kvm", "agent", *which]
    return daemon, [*program, "kvm", "agent", *which]


def _program(wanted: ServiceWish) -> tuple[str, ...]:
    if wanted.program:
        return wanted.program
    from pommel.app.host import checks as host_checks

    return host_checks.own_command()


def pinned_requirement() -> str:
    """The designated requirement of the interpreter (macOS), which later versions of the same developer also meet.

    Raises:
        StateError, CommandFailed: the interpreter is not signed.
    """
    told = run(["codesign", "--display", "--requirements", "-", os.path.realpath(sys.executable)], timeout_s=_COMMAND_S)
    found = designated_requirement(told.output)
    if not found:
        raise StateError(
            f"{sys.executable} has no code signature by which the daemon could recognise an agent",
            hint=f"codesign --force --sign - {os.path.realpath(sys.executable)}",
        )
    return found


def _needs_root(what: str) -> None:
    if os.geteuid() != 0:
        raise NotPermitted(f"root is needed to {what} a service of the system", hint=f"sudo pommel kvm {what}")


def _check_reachable(program: Path, report: Report) -> None:
    """Check that all users can run the program; warn if another user than root can change it."""
    whole = program.resolve()
    for place in (program, whole, *program.parents, *whole.parents, Path(__file__), *Path(__file__).parents):
        found = place.stat()
        if not found.st_mode & (stat.S_IXOTH if stat.S_ISDIR(found.st_mode) else stat.S_IROTH):
            raise StateError(
                f"the users' agents cannot run Pommel where it is: {place} is not readable for them",
                hint="install it where all can read it, such as /opt/pommel",
            )
    owners = {place.stat().st_uid for place in (whole, Path(__file__))} - {0}
    for uid in owners:
        warn(report, f"{_name_of(uid) or uid} can change this Pommel, and so can change what the system's daemon does")


def _carry_out(steps: Iterable[Step], report: Report) -> None:
    for step in steps:
        if isinstance(step, WriteFile):
            write_atomic(Path(step.path), step.data, mode=step.mode)
            note(report, f"wrote {step.path}")
        elif isinstance(step, RemoveFile):
            Path(step.path).unlink(missing_ok=True)
        elif isinstance(step, RemoveDirectory):
            _remove_directory(Path(step.path), report)
        else:
            _run(step, report)


def _remove_directory(path: Path, report: Report) -> None:
    try:
        path.rmdir()
    except FileNotFoundError:
        pass
    except OSError:
        names = ", ".join(sorted(entry.name for entry in path.iterdir()))
        warn(report, f"{path} was not removed: it contains files that are not Pommel's: {names}")


def _run(command: Command, report: Report) -> None:
    for attempt in range(command.tries):
        try:
            run(command.argv, timeout_s=_COMMAND_S)
        except PommelError as failure:
            if command.lenient:
                if command.advice:
                    warn(report, command.advice)
                return
            if attempt + 1 == command.tries:
                raise
            note(report, f"{failure.message}; trying again")
            time.sleep(_TRY_AGAIN_S)
        else:
            return


def _is_running(places: Places) -> bool:
    if places.system == "macos":
        return _says_yes(["launchctl", "print", f"system/{places.daemon_label}"])
    return systemd_runs() and _says_yes(["systemctl", "is-active", "--quiet", places.daemon_unit])


def _watches(places: Places, user: LiveUser) -> bool:
    """Whether the agent's launcher is active in a user's session. Only root can ask about other users."""
    if places.system == "macos":
        return _says_yes(["launchctl", "print", f"gui/{user.uid}/{places.agent_label}"])
    words = ["systemctl", "--user", "is-active", "--quiet", places.agent_path_unit]
    if user.uid == os.geteuid():
        return _says_yes(words)
    whose = f"XDG_RUNTIME_DIR=/run/user/{user.uid}"
    return os.geteuid() == 0 and _says_yes(["runuser", "-u", user.name, "--", "env", whose, *words])


def _says_yes(words: Sequence[str]) -> bool:
    try:
        return run(words, timeout_s=_COMMAND_S, check=False).returncode == 0
    except PommelError:
        return False
