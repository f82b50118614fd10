"""A machine's console: its screen, keyboard and mouse on a local page. Band: app.

One console process a machine, known by the lock it holds, and one for the session inside its guest, if that is asked
for. `serve` runs it in this process; `open_detached` starts it as a process that outlives us. The token and the port
are kept when it ends, so that an open page finds its way back.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pommel import locks
from pommel.app.workspace import Workspace
from pommel.errors import DeadlineError, MachineError, StateError
from pommel.machine import state
from pommel.machine.events import Word, note_event
from pommel.paths import MachinePaths, write_atomic
from pommel.process import spawn_detached

if TYPE_CHECKING:
    from pommel.app.relay import Relay
    from pommel.app.session_relay import MachineSession

START_TIMEOUT_S = 20.0
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


def find(paths: MachinePaths) -> Console | None:
    """The console that serves machine `paths.name` now, or None."""
    pid = locks.holder(paths.console_lock)
    kept = _kept(paths)
    if pid is None or kept.get("pid") != pid:
        return None
    return Console(paths.name, str(kept["url"]), str(kept["ws"]), pid, _viewers(paths))


def find_of(workspace: Workspace, name: str, *, session: bool = False) -> Console | None:
    """The console that serves machine `name` now, or with `session` its guest's own session; or None."""
    return find(_files(workspace.paths(name), session))


def open_detached(
    workspace: Workspace, name: str, *, port: int | None = None, host: str | None = None, session: bool = False
) -> Console:
    """Start the console of a running machine as a process of its own, or find the one that serves already.

    With `session` it is the console of the guest's own session (`session_guest`).

    Raises:
        StateError: the machine is not running.
        MachineError: the console process ended at once; the message carries what it wrote.
        DeadlineError: it did not serve within 20 s.
    """
    paths = _files(_running(workspace, name), session)
    if (found := find(paths)) is not None:
        return found
    paths.console_log.parent.mkdir(exist_ok=True)
    words = [sys.executable, "-m", "pommel", "console", name, "--serve", *(["--session"] if session else [])]
    words += ["--port", str(port)] if port else []
    words += ["--host", host] if host else []
    began = paths.console_log.stat().st_size if paths.console_log.exists() else 0
    env = {**workspace.env, "POMMEL_HOME": str(workspace.home.root)}
    child = spawn_detached(words, paths.console_log, env=env, cwd=workspace.cwd)
    try:
        return _await_console(paths, child.exit_status, began)
    except BaseException:
        child.kill()
        raise
    finally:
        child.release()


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


def stop(workspace: Workspace, name: str, *, only_session: bool = False) -> bool:
    """End the consoles of machine `name`; say whether there was one. The machine goes on."""
    paths = workspace.paths(name)
    return any([_stop(files) for files in (paths.session, *([] if only_session else [paths]))])


def _stop(paths: MachinePaths) -> bool:
    pid = locks.holder(paths.console_lock)
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 5
    while locks.holder(paths.console_lock) == pid:
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            deadline += 5
        time.sleep(0.02)
    return True


async def serve(
    workspace: Workspace,
    name: str,
    *,
    port: int | None = None,
    host: str | None = None,
    session: bool = False,
    on_ready: Callable[[Console], None],
) -> str:
    """Serve the console of machine `name` in this process until the machine has gone; return why it ended.

    With `session` it shows the guest's own session, not what QEMU's display does.
    Cancel it to end it sooner: viewers are told, nothing is left behind.

    Raises:
        StateError: the machine is not running.
        MachineError: it crashed, and nobody started it again.
        BusyError: another process serves this machine's console.
    """
    from pommel.app.clip_target import find_guest
    from pommel.app.console_clipboard import machine_clipboard
    from pommel.console.server import ConsoleInfo, ConsoleServer, new_token

    machine = _running(workspace, name)
    paths = _files(machine, session)
    wanted = port or (None if session else workspace.spec(name).console_port)
    whose = find_guest(workspace, name)
    with locks.hold(paths.console_lock, busy=f"the console of {name} is served by another process"):
        kept = _kept(paths)
        relay = _relay(workspace, machine, session)
        async with machine_clipboard(partial(whose.argv, workspace), key_hint=whose.key_hint) as clipboard:
            server = ConsoleServer(
                info=ConsoleInfo(name=name, title=f"{name}: its session" if session else ""),
                token=str(kept.get("token") or new_token()),
                serve_viewer=_counted(relay.serve, paths),
                status=relay.status,
                host=host or "127.0.0.1",
                port=wanted or kept.get("port"),
                clipboard=clipboard,
            )
            await server.start()
            try:
                _keep(paths, server)
                on_ready(Console(name, server.url, server.ws, os.getpid()))
                note_event(machine, Word.CONSOLE_OPENED, f"on port {server.port}")
                return await relay.run()
            finally:
                note_event(machine, Word.CONSOLE_CLOSED)
                await server.stop()


def _files(paths: MachinePaths, session: bool) -> MachinePaths:
    return paths.session if session else paths


def _relay(workspace: Workspace, paths: MachinePaths, session: bool) -> Relay | MachineSession:
    if session:
        from pommel.app.session_relay import MachineSession

        return MachineSession(workspace, paths, linger_s=LINGER_S)
    from pommel.app.relay import Relay

    return Relay(paths, linger_s=LINGER_S)


def _counted(serve: Callable[..., Any], paths: MachinePaths) -> Callable[..., Any]:
    """The same, with the number of viewers kept where other processes can read it."""
    now = 0
    _tell_viewers(paths, now)

    async def counted(*words: Any, **named: Any) -> Any:
        nonlocal now
        now += 1
        _tell_viewers(paths, now)
        try:
            return await serve(*words, **named)
        finally:
            now -= 1
            _tell_viewers(paths, now)

    return counted


def _tell_viewers(paths: MachinePaths, count: int) -> None:
    with contextlib.suppress(OSError):  # nice to know, no more
        paths.console_viewers.write_text(str(count))


def _viewers(paths: MachinePaths) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(paths.console_viewers.read_text())
    return 0


def _keep(paths: MachinePaths, server: Any) -> None:
    document = {
        "pid": os.getpid(),
        "port": server.port,
        "token": server.token,
        "url": server.url,
        "ws": server.ws,
    }
    write_atomic(paths.console_record, json.dumps(document), mode=0o600)


def _kept(paths: MachinePaths) -> dict[str, Any]:
    """What the last console left. A file that cannot be read as such counts as none: it is made anew."""
    try:
        document = json.loads(paths.console_record.read_text())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _running(workspace: Workspace, name: str) -> MachinePaths:
    workspace.settings(name)
    paths = workspace.paths(name)
    if not state.observe(paths).alive:
        raise StateError(f"{name} is not running", hint=f"pommel up {name}")
    return paths
