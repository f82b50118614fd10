"""A machine's console: its screen, keyboard and mouse on a local page. Band: app.

One console process a machine, known by the lock it holds, and one for the session inside its guest, if that is asked
for. `serve` runs it in this process; `open_detached` starts it as a process that outlives us. The port and what lets
people in are kept when it ends, so that an open page finds its way back; `renew` makes the latter anew.
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
from pommel.app.console_listening import Listening
from pommel.app.console_tls import TlsWish, check, tls_of, wish_for
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import DeadlineError, MachineError, NotPermitted, StateError
from pommel.machine import state
from pommel.machine.events import Word, note_event
from pommel.paths import MachinePaths

if TYPE_CHECKING:
    from pommel.app.relay import Relay
    from pommel.app.session_relay import MachineSession
    from pommel.console.server import ConsoleInfo, ConsoleServer, Entry, Visitor
    from pommel.console.telling import Guest

START_TIMEOUT_S = 20.0
_END_S = 5.0
# How long a console waits for its machine to come back (a restart) before it ends too.
LINGER_S = 15.0


@dataclass(frozen=True, slots=True)
class Console:
    """A console that serves: where, and which process does it."""

    name: str
    url: str
    ws: str
    pid: int
    viewers: int = 0
    # The same for who may only look; empty if the console is an earlier version's.
    look_url: str = ""
    look_ws: str = ""
    fingerprint: str = ""  # SHA-256 of the certificate that it serves with; empty without TLS


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody who looks on: a number that no other of this console has, and what their program calls itself."""

    id: int
    name: str
    address: str
    since_s: float  # seconds since the epoch
    view_only: bool


def find(paths: MachinePaths) -> Console | None:
    """The console that serves machine `paths.name` now, or None."""
    pid = locks.holder(paths.console_lock)
    kept = _kept(paths)
    if pid is None or kept.get("pid") != pid:
        return None
    look = (str(kept.get(key, "")) for key in ("look_url", "look_ws", "fingerprint"))
    return Console(paths.name, str(kept["url"]), str(kept["ws"]), pid, len(_viewers(paths)), *look)


def find_of(workspace: Workspace, name: str, *, session: bool = False) -> Console | None:
    """The console that serves machine `name` now, or with `session` its guest's own session; or None."""
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
    """Start the console of a running machine as a process of its own, or find the one that serves already.

    With `session` it is the console of the guest's own session (`session_guest`). `allow_host` are names by which
    browsers reach it, such as a reverse proxy's; `tls` is what is said of TLS besides the settings.

    Raises:
        StateError: the machine is not running, or its console serves otherwise than is asked for.
        UsageError: there is to be TLS, and its certificate cannot serve.
        MachineError: the console process ended at once; the message carries what it wrote.
        DeadlineError: it did not serve within 20 s.
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
    """Start the console of machine `name` as it was asked for the last time, or find the one that serves.

    Raises:
        StateError, UsageError, MachineError, DeadlineError: as `open_detached` does.
    """
    asked = Listening.read(_kept(workspace.paths(name)).get("asked")) or Listening()
    return open_detached(workspace, name, port=asked.port, host=asked.host, allow_host=asked.allow_host, tls=asked.tls)


def _await_console(paths: MachinePaths, exit_status: Callable[[], int | None], log_from: int) -> Console:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if (found := find(paths)) is not None:
            return found
        # One that ended because another was quicker is no failure: that other is about to serve.
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
    """See that the console that serves already does it as is asked for now; settings alone ask for nothing.

    Raises:
        StateError: it does not.
    """
    before = Listening.read(_kept(paths).get("asked"))
    if before is None:  # an earlier version's
        return
    port = urlsplit(found.url).port
    if (other := asked.differs_from(before, port, says_tls=tls is not None and tls.says_something)) is not None:
        raise StateError(
            f"the console of {found.name} is already open, at {found.url.partition('?')[0]}: {other}",
            hint=f"pommel console {found.name} --stop, then run this command again",
        )


def stop(workspace: Workspace, name: str, *, only_session: bool = False) -> bool:
    """End the consoles of machine `name`; say whether there was one. The machine goes on."""
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
    """Serve the console of machine `name` in this process until the machine has gone; return why it ended.

    It takes what `open_detached` does. Cancel it to end it sooner: viewers are told, nothing is left behind.

    Raises:
        StateError: the machine is not running.
        MachineError: it crashed, and nobody started it again.
        BusyError: another process serves this machine's console.
        UsageError: there is to be TLS, and its certificate cannot serve.
    """
    from pommel.app.clip_target import find_guest
    from pommel.app.console_clipboard import machine_clipboard
    from pommel.console.server import ConsoleServer

    machine = _running(workspace, name)
    paths = _files(machine, session)
    wanted = port or (None if session else workspace.spec(name).console_port)
    asked = Listening(port, host, tuple(allow_host), wish_for(workspace, name, tls or TlsWish()))
    encrypted, whose = tls_of(asked.tls, workspace.home.tls, host, allow_host), find_guest(workspace, name)
    argv = partial(whose.argv, workspace)
    with locks.hold(paths.console_lock, busy=f"the console of {name} is served by another process"):
        kept, relay, info = _kept(paths), _relay(workspace, machine, session), _info(workspace, name, session)
        async with machine_clipboard(argv, key_hint=whose.key_hint, noun=info.telling.noun) as clipboard:
            server = ConsoleServer(
                info=info,
                token=_entry(paths, kept, lambda: server, asked),
                serve_viewer=relay.serve,
                status=relay.status,
                host=host or "127.0.0.1",
                port=wanted or kept.get("port"),
                allowed_hosts=allow_host,
                clipboard=clipboard,
            )
            server.use_tls(encrypted)
            async with _open(workspace, machine, server):
                _keep(paths, server, asked)
                looks = (server.look_url, server.look_ws, server.fingerprint)
                on_ready(Console(name, server.url, server.ws, os.getpid(), 0, *looks))
                return await relay.run()


@contextlib.asynccontextmanager
async def _open(workspace: Workspace, machine: MachinePaths, server: ConsoleServer) -> AsyncIterator[None]:
    """Have the server serve meanwhile; the machine's log says so. A host that was suspended is seen by it."""
    from pommel.app import clock_rest

    await server.start()
    try:
        note_event(machine, Word.CONSOLE_OPENED, f"on port {server.port}")
        async with clock_rest.following(workspace, machine.name):
            yield
    finally:
        note_event(machine, Word.CONSOLE_CLOSED)
        await server.stop()


def viewers(workspace: Workspace, name: str, *, session: bool = False) -> list[Viewer]:
    """Who looks on at the console of machine `name`, in the order in which they came.

    Raises:
        StateError: it has none that serves.
    """
    paths = _files(workspace.paths(name), session)
    if find(paths) is None:
        raise _no_console(name, session)
    return _viewers(paths)


def renew(workspace: Workspace, name: str, *, only_session: bool = False) -> Console | None:
    """Make the links to the consoles of machine `name` anew; the old ones let nobody in, and who looks on is cut off.

    Return where the machine's own (with `only_session`, the session's) serves now; None if it does not.

    Raises:
        MachineError: a console that serves did not answer.
    """
    from pommel.app.console_renewal import ask_for_new

    paths = workspace.paths(name)
    for files in (paths.session, *([] if only_session else [paths])):
        if (found := find(files)) is not None:
            again = f"pommel console {name} --stop, then run this command again"
            ask_for_new(found.url, f"the console of {name}", hint=again, fingerprint=found.fingerprint)
        elif files.console_record.exists():
            with locks.hold(files.console_lock, busy=f"the console of {name} is starting"):
                kept = _kept(files)
                json_file.write(files.console_record, {"port": kept.get("port")})
    return find(_files(paths, only_session))


def _no_console(name: str, session: bool) -> StateError:
    words = f"{name} --session" if session else name
    return StateError(f"no console of {name} is open", hint=f"pommel console {words}")


def _files(paths: MachinePaths, session: bool) -> MachinePaths:
    return paths.session if session else paths


def _relay(workspace: Workspace, paths: MachinePaths, session: bool) -> Relay | MachineSession:
    if session:
        from pommel.app.session_relay import MachineSession

        return MachineSession(workspace, paths, linger_s=LINGER_S)
    from pommel.app.relay import Relay

    return Relay(paths, linger_s=LINGER_S)


def _info(workspace: Workspace, name: str, session: bool) -> ConsoleInfo:
    """What the page says of itself."""
    from pommel.console.server import ConsoleInfo
    from pommel.console.telling import of_machine

    guest: Guest = "linux" if workspace.spec(name).upstream == TRIAL else "mac"
    return ConsoleInfo(name, f"{name}: its session" if session else "", of_machine(name, guest=guest, session=session))


def _entry(paths: MachinePaths, kept: dict[str, Any], server: Callable[[], ConsoleServer], asked: Listening) -> Entry:
    """Who may come in: as it was left, with all that changes written down."""
    from pommel.console.server import Entry, Secrets

    _tell_viewers(paths, ())
    return Entry(
        Secrets.read(kept),
        keep=lambda _: _keep(paths, server(), asked),
        watched=partial(_tell_viewers, paths),
    )


def _tell_viewers(paths: MachinePaths, visitors: Sequence[Visitor]) -> None:
    """Write down who looks on, where other processes can read it; not synced, as it is true while we live."""
    aside = paths.console_viewers.with_suffix(".viewers.new")
    with contextlib.suppress(OSError):  # nice to know, no more
        with private.written(aside) as out:
            out.write(json.dumps([asdict(visitor) for visitor in visitors]).encode())
        aside.replace(paths.console_viewers)


def _viewers(paths: MachinePaths) -> list[Viewer]:
    return json_file.read_or(paths.console_viewers, lambda found: [Viewer(**one) for one in found], [])


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


def _kept(paths: MachinePaths) -> dict[str, Any]:
    """What the last console left. A file that cannot be read as such counts as none: it is made anew."""
    return json_file.read_object(paths.console_record)


def _running(workspace: Workspace, name: str) -> MachinePaths:
    workspace.settings(name)
    paths = workspace.paths(name)
    if not state.observe(paths).alive:
        raise StateError(f"{name} is not running", hint=f"pommel up {name}")
    return paths
