"""A machine's console: its screen, keyboard and mouse on a local page. Band: app.

Each machine has at most one console process, which holds a lock, and one more for the session inside its guest.
`serve` runs it in this process; `open_detached` starts it as a process that continues after this one. Port and tokens
are kept when it ends, so that an open page can connect to the next console; `renew` makes new tokens.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pommel import json_file, locks, private
from pommel.app import own_process
from pommel.app.console.listening import Listening
from pommel.app.console.tls import TlsWish, check, tls_of, wish_for
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import DeadlineError, MachineError, NotPermitted, StateError
from pommel.machine import state
from pommel.machine.events import Word, note_event
from pommel.paths import MachinePaths

if TYPE_CHECKING:
    from pommel.app.console.relay import MachineRelay
    from pommel.app.console.terminal import Terminals
    from pommel.app.session.relay import MachineSession
    from pommel.console.clipboard import ConsoleClipboard
    from pommel.console.files_api import SharedFiles
    from pommel.console.server import Admission, ConsoleInfo, ConsoleServer, Visitor
    from pommel.console.telling import Guest, Noun

START_TIMEOUT_S = 90.0  # for a busy host; a process that ends is noticed at once, without this wait
_END_S = 5.0
# After its machine has stopped, a console stays for this long, because a restart is quicker.
LINGER_S = 15.0


@dataclass(frozen=True, slots=True)
class Console:
    """A running console: its addresses and its process."""

    name: str
    url: str
    ws: str
    pid: int
    viewers: int = 0
    # The view-only links; empty if an earlier version's console runs.
    look_url: str = ""
    look_ws: str = ""
    fingerprint: str = ""  # SHA-256 of the certificate that it serves with; empty without TLS


@dataclass(frozen=True, slots=True)
class PageViewer:
    """A viewer: a number that is unique in this console, and the name of the viewer's program."""

    id: int
    name: str
    address: str
    since_s: float  # seconds since the epoch
    view_only: bool


def find(paths: MachinePaths) -> Console | None:
    """The running console of machine `paths.name`; None: there is none."""
    pid = locks.holder(paths.console_lock)
    kept = _stored_record(paths)
    if pid is None or kept.get("pid") != pid:
        return None
    look = (str(kept.get(key, "")) for key in ("look_url", "look_ws", "fingerprint"))
    return Console(paths.name, str(kept["url"]), str(kept["ws"]), pid, len(_viewers(paths)), *look)


def find_of(workspace: Workspace, name: str, *, session: bool = False) -> Console | None:
    """The running console of machine `name`, or with `session` that of its guest's session; None: there is none."""
    return find(_files(workspace.paths(name), session))


def open_detached(
    workspace: Workspace,
    name: str,
    *,
    port: int | None = None,
    host: str | None = None,
    session: bool = False,
    allow_host: Sequence[str] = (),
    tls: TlsWish | None = None,
) -> Console:
    """Start the console of a running machine as a process of its own, or return the one that runs already.

    With `session`, it is the console of the guest's session. `allow_host` are further host names that browsers may
    use, such as a reverse proxy's; `tls` overrides the settings for TLS.

    Raises:
        StateError: the machine is not running, or its console runs with other options.
        UsageError: TLS is wanted, and its certificate cannot be used.
        MachineError: the console process ended at once; the message has its output.
        DeadlineError: it did not serve within `START_TIMEOUT_S`.
    """
    paths = _files(_running(workspace, name), session)
    asked = Listening(port, host, tuple(allow_host), wish_for(workspace, name, tls or TlsWish()))
    if (found := find(paths)) is not None:
        must_be_as_asked(found, paths, asked, tls=tls)
        return found
    check(asked.tls)
    private.make_folder(paths.console_log.parent)
    if (pid := locks.holder(paths.console_lock)) is not None and pid <= 0:
        hint = "type there, where its address is stored: pommel console " + name
        raise NotPermitted(f"the console of {name} is served by {locks.whom(pid)}", hint=hint)
    began = own_process.log_end(paths.console_log)
    words = ("console", name, "--serve", *(["--session"] if session else []), *asked.words())
    child = own_process.spawn(workspace, *words, log=paths.console_log)
    try:
        return _await_console(paths, child.exit_status, began)
    except BaseException:
        child.kill()
        raise
    finally:
        child.release()


def open_again(workspace: Workspace, name: str) -> Console:
    """Start the console of machine `name` with its last options, or return the one that runs already.

    Raises:
        StateError, UsageError, MachineError, DeadlineError: as `open_detached` does.
    """
    asked = Listening.read(_stored_record(workspace.paths(name)).get("asked")) or Listening()
    return open_detached(workspace, name, port=asked.port, host=asked.host, allow_host=asked.allow_host, tls=asked.tls)


def _await_console(paths: MachinePaths, exit_status: Callable[[], int | None], log_from: int) -> Console:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if (found := find(paths)) is not None:
            return found
        # If another process holds the lock, that one was quicker and will serve: no error.
        if exit_status() is not None and locks.holder(paths.console_lock) is None:
            with paths.console_log.open("rb") as log:
                log.seek(log_from)
                said = log.read().decode(errors="replace").strip()
            raise MachineError(f"the console of {paths.name} ended at once:\n{said[-2000:]}")
        time.sleep(0.02)
    raise DeadlineError(
        f"the console of {paths.name} did not serve within {START_TIMEOUT_S:g} s",
        hint=f"look at {paths.console_log}",
    )


def must_be_as_asked(found: Console, paths: MachinePaths, asked: Listening, *, tls: TlsWish | None) -> None:
    """Refuse a request that the running console does not meet. Only options count here, not settings.

    Raises:
        StateError: it runs with other options.
    """
    before = Listening.read(_stored_record(paths).get("asked"))
    if before is None:  # an earlier version's
        return
    port = urlsplit(found.url).port
    if (other := asked.differs_from(before, port, says_tls=tls is not None and tls.says_something)) is not None:
        raise StateError(
            f"the console of {found.name} is already open, at {found.url.partition('?')[0]}: {other}",
            hint=f"pommel console {found.name} --stop, then run this command again",
        )


def stop(workspace: Workspace, name: str, *, only_session: bool = False) -> bool:
    """End the consoles of machine `name`; return whether there was one. The machine keeps running."""
    paths = workspace.paths(name)
    return any([_stop(files) for files in (paths.session, *([] if only_session else [paths]))])


def _stop(paths: MachinePaths) -> bool:
    return own_process.end(paths.console_lock, within_s=_END_S)


async def serve(
    workspace: Workspace,
    name: str,
    *,
    port: int | None = None,
    host: str | None = None,
    session: bool = False,
    allow_host: Sequence[str] = (),
    tls: TlsWish | None = None,
    on_ready: Callable[[Console], None],
) -> str:
    """Serve the console of machine `name` in this process until the machine has stopped; return the reason.

    The arguments are those of `open_detached`. It can be cancelled: viewers get a message, and nothing is left behind.

    Raises:
        StateError: the machine is not running.
        MachineError: it crashed, and was not started again.
        BusyError: another process serves this machine's console.
        UsageError: TLS is wanted, and its certificate cannot be used.
    """
    from pommel.console.server import ConsoleServer

    machine = _running(workspace, name)
    paths = _files(machine, session)
    asked = Listening(port, host, tuple(allow_host), wish_for(workspace, name, tls or TlsWish()))
    encrypted = tls_of(asked.tls, workspace.home.tls, host, allow_host)
    with locks.hold(paths.console_lock, busy=f"the console of {name} is served by another process"):
        kept, relay, info = _stored_record(paths), _relay(workspace, machine, session), _info(workspace, name, session)
        async with _guest(workspace, machine, info.telling.noun) as (clipboard, files, terminals):
            server = ConsoleServer(
                info=info,
                token=_entry(paths, kept, lambda: server, asked),
                serve_viewer=relay.serve,
                status=relay.status,
                host=host or "127.0.0.1",
                port=port or (None if session else workspace.spec(name).console_port) or kept.get("port"),
                allowed_hosts=allow_host,
                clipboard=clipboard,
            )
            server.use_tls(encrypted)
            if not session:  # the session's user may be another than the one whom SSH logs in as
                server.offer_terminals(terminals.serve)
                server.share_files(files)
            async with _open(workspace, machine, server):
                _keep(paths, server, asked)
                on_ready(_console_of(name, server))
                return await relay.run()


def _console_of(name: str, server: ConsoleServer) -> Console:
    looks = (server.look_url, server.look_ws, server.fingerprint)
    return Console(name, server.url, server.ws, os.getpid(), 0, *looks)


@contextlib.asynccontextmanager
async def _guest(
    workspace: Workspace, machine: MachinePaths, noun: Noun
) -> AsyncIterator[tuple[ConsoleClipboard, SharedFiles, Terminals]]:
    """The guest's clipboard, files and terminals, over its SSH, during the block."""
    from pommel.app.clip.target import find_guest
    from pommel.app.console.clipboard import machine_clipboard
    from pommel.app.console.files import guest_files
    from pommel.app.console.terminal import machine_terminals

    whose = find_guest(workspace, machine.name)
    argv, told = partial(whose.argv, workspace), partial(note_event, machine, Word.FILES)
    async with (
        machine_clipboard(argv, key_hint=whose.key_hint, noun=noun) as clipboard,
        guest_files(argv, key_hint=whose.key_hint, noun=noun, told=told) as files,
    ):
        yield clipboard, files, machine_terminals(workspace, machine, argv, key_hint=whose.key_hint)


@contextlib.asynccontextmanager
async def _open(workspace: Workspace, machine: MachinePaths, server: ConsoleServer) -> AsyncIterator[None]:
    """Run the server during the block, and note it in the machine's log. Meanwhile, a suspended host is noticed."""
    from pommel.app.guest import clock_rest

    await server.start()
    try:
        note_event(machine, Word.CONSOLE_OPENED, f"on port {server.port}")
        async with clock_rest.following(workspace, machine.name):
            yield
    finally:
        note_event(machine, Word.CONSOLE_CLOSED)
        await server.stop()


def viewers(workspace: Workspace, name: str, *, session: bool = False) -> list[PageViewer]:
    """The viewers of the console of machine `name`, in the order of their arrival.

    Raises:
        StateError: it has no running console.
    """
    paths = _files(workspace.paths(name), session)
    if find(paths) is None:
        raise _no_console(name, session)
    return _viewers(paths)


def renew(workspace: Workspace, name: str, *, only_session: bool = False) -> Console | None:
    """Make new links to the consoles of machine `name`. The old links stop working, and their viewers are disconnected.

    Return the machine's console (with `only_session`, the session's) with its new links; None: it does not run.

    Raises:
        MachineError: a running console did not answer.
    """
    from pommel.app.console.renewal import ask_for_new

    paths = workspace.paths(name)
    for files in (paths.session, *([] if only_session else [paths])):
        if (found := find(files)) is not None:
            again = f"pommel console {name} --stop, then run this command again"
            ask_for_new(found.url, f"the console of {name}", hint=again, fingerprint=found.fingerprint)
        elif files.console_record.exists():
            with locks.hold(files.console_lock, busy=f"the console of {name} is starting"):
                kept = _stored_record(files)
                json_file.write(files.console_record, {"port": kept.get("port")})
    return find(_files(paths, only_session))


def _no_console(name: str, session: bool) -> StateError:
    words = f"{name} --session" if session else name
    return StateError(f"no console of {name} is open", hint=f"pommel console {words}")


def _files(paths: MachinePaths, session: bool) -> MachinePaths:
    return paths.session if session else paths


def _relay(workspace: Workspace, paths: MachinePaths, session: bool) -> MachineRelay | MachineSession:
    if session:
        from pommel.app.session.relay import MachineSession

        return MachineSession(workspace, paths, linger_s=LINGER_S)
    from pommel.app.console.relay import MachineRelay

    return MachineRelay(paths, linger_s=LINGER_S)


def _info(workspace: Workspace, name: str, session: bool) -> ConsoleInfo:
    """The title and the texts of the page."""
    from pommel.console.server import ConsoleInfo
    from pommel.console.telling import of_machine

    guest: Guest = "linux" if workspace.spec(name).upstream == TRIAL else "mac"
    return ConsoleInfo(name, f"{name}: its session" if session else "", of_machine(name, guest=guest, session=session))


def _entry(
    paths: MachinePaths, kept: dict[str, Any], server: Callable[[], ConsoleServer], asked: Listening
) -> Admission:
    """The tokens of the last console, and callbacks that store changes of tokens and viewers."""
    from pommel.console.server import Admission, Secrets

    _tell_viewers(paths, ())
    return Admission(
        Secrets.read(kept),
        keep=lambda _: _keep(paths, server(), asked),
        watched=partial(_tell_viewers, paths),
    )


def _tell_viewers(paths: MachinePaths, visitors: Sequence[Visitor]) -> None:
    """Write the list of viewers to a file for other processes. No fsync: it is only valid while this process lives."""
    aside = paths.console_viewers.with_suffix(".viewers.new")
    with contextlib.suppress(OSError):  # the list is not important enough to end the console
        with private.written(aside) as out:
            out.write(json.dumps([asdict(visitor) for visitor in visitors]).encode())
        aside.replace(paths.console_viewers)


def _viewers(paths: MachinePaths) -> list[PageViewer]:
    return json_file.read_or(paths.console_viewers, lambda found: [PageViewer(**one) for one in found], [])


def _keep(paths: MachinePaths, server: ConsoleServer, asked: Listening) -> None:
    document = {
        "pid": os.getpid(),
        "port": server.port,
        "url": server.url,
        "ws": server.ws,
        "look_url": server.look_url,
        "look_ws": server.look_ws,
        "fingerprint": server.fingerprint,
        "asked": asked.document(),
        **server.secrets.document(),
    }
    json_file.write(paths.console_record, document)


def _stored_record(paths: MachinePaths) -> dict[str, Any]:
    """The record of the last console. An unreadable file counts as none: the next write replaces it."""
    return json_file.read_object(paths.console_record)


def _running(workspace: Workspace, name: str) -> MachinePaths:
    workspace.settings(name)
    paths = workspace.paths(name)
    if not state.observe(paths).alive:
        raise StateError(f"{name} is not running", hint=f"pommel up {name}")
    return paths
