"""Connects the console's viewers with the daemon in a guest. Band: app.

From the first viewer on, SSH forwards the daemon's socket for viewers to this host; each viewer is a connection to it.
The guest or the daemon may restart meanwhile: then a viewer gets a message with the reason, and can connect again.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from pommel.app.console.relay import POLL_S, TRY_AGAIN_LATER, MachineObserver, farewell, seems_alive
from pommel.app.session.reach import Reach, reach
from pommel.app.workspace import Workspace
from pommel.child import Child, running
from pommel.errors import PommelError, ProtocolError, StateError
from pommel.paths import MachinePaths
from pommel.session.daemon import FAILED
from pommel.session.guest_system import PREFIX
from pommel.session.places import Places, System
from pommel.session.seat import Seat
from pommel.tasks import background, first_of
from pommel.wire.viewer import ViewerStream

_WAIT_S = 20.0  # a login in an emulated guest takes some seconds
_AGAIN_S = 1.0
_SYSTEMS: tuple[System, ...] = ("linux", "macos")
SOCKETS: Mapping[str, str] = {system: str(Places.of(system).viewers) for system in _SYSTEMS}


class SessionRelay:
    """Serves viewers with the daemon in a guest.

    `find` returns how to reach the guest, and may block. The folder `runtime` is for the sockets on this host.
    `sockets` has the path of the daemon's socket for each system.
    """

    def __init__(self, find: Callable[[], Reach], runtime: Path, *, sockets: Mapping[str, str] = SOCKETS) -> None:
        self._find = find
        self._runtime = runtime
        self._sockets = sockets
        self._wanted, self._broken = asyncio.Event(), asyncio.Event()
        self._socket: Path | None = None
        self._why = ""  # why there is no socket
        self._last = ""  # why the last viewer got no picture
        self._news = asyncio.Event()
        self._guest = ""  # the system, for the keys that the page offers; known after the first connection
        self.viewers = 0

    async def run(self) -> str:
        """Forward the socket by SSH from the first viewer on, again after each end, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._broken.clear()
            try:
                there = await asyncio.to_thread(self._find)
                async with running(self._argv(there)) as child:
                    await self._carried(there, child)
            # OSError: for example, no file descriptor is left for ssh's pipes
            except (PommelError, OSError) as failure:
                self._set_socket(None, str(failure))
            finally:
                self._clear()
            await asyncio.sleep(_AGAIN_S)

    async def serve(self, stream: ViewerStream) -> None:
        """Serve one viewer until it leaves, or close it with the reason why there is no picture."""
        self.viewers += 1
        try:
            code, self._last = await self._shown(stream, await self._connection())
        except StateError as no:
            code, self._last = TRY_AGAIN_LATER, no.message
        finally:
            self.viewers -= 1
        if code:
            await stream.close(code, self._last)

    async def status(self) -> Mapping[str, object]:
        """The status for the page's status line."""
        told: dict[str, object] = {"state": "running", "viewers": self.viewers}
        return told | ({"error": self._last} if self._last else {}) | ({"guest": self._guest} if self._guest else {})

    # --- viewers ---

    async def _connection(self) -> socket.socket:
        """Connect to the daemon.

        Raises:
            StateError: it cannot be reached; the message says why.
        """
        self._wanted.set()
        self._why = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_S):
                while self._socket is None and not self._why:
                    await self._news.wait()
        if self._socket is None:
            raise StateError(self._why or f"the guest did not answer SSH within {_WAIT_S:g} s")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, str(self._socket))
        except OSError as failure:
            connection.close()
            self._give_up()
            raise StateError("the connection to the guest has ended") from failure
        except BaseException:
            connection.close()
            raise
        return connection

    async def _shown(self, stream: ViewerStream, connection: socket.socket) -> tuple[int, str]:
        """Show a viewer the connection's pictures; return close code and reason, or (0, "") if the viewer left."""
        seat = Seat(stream)
        try:
            read, shown = (await first_of(seat.read(), seat.show(connection))).ended
        finally:
            connection.close()  # the seat may not have taken it, if the viewer left at once
        if read is None:
            return 0, ""
        for failure in (read, shown):
            if isinstance(failure, ConnectionError):
                return 0, ""
            if isinstance(failure, ProtocolError):
                return FAILED, failure.message
            if isinstance(failure, Exception):
                raise failure
        if isinstance(shown, tuple):
            return shown
        self._give_up()
        return TRY_AGAIN_LATER, "the daemon in the guest does not answer"

    # --- the guest ---

    def _argv(self, there: Reach) -> list[str]:
        self._clear()
        # This option comes first, because ssh uses the first value of an option; the other calls have
        # ClearAllForwardings=yes, against forwards in the user's configuration.
        flags = ["ClearAllForwardings=no", "StreamLocalBindMask=0177"]
        flags += [f'LocalForward="{self._local(name)}" "{at}"' for name, at in self._sockets.items()]
        ssh, *words = there.argv([self._look()])
        return [ssh, *(part for flag in flags for part in ("-o", flag)), *words]

    def _local(self, system: str) -> Path:
        return self._runtime / f"kvm-{system}"

    def _clear(self) -> None:
        """Remove the sockets on this host, because ssh does not replace an existing one."""
        for system in self._sockets:
            self._local(system).unlink(missing_ok=True)

    def _look(self) -> str:
        """The shell command for the guest: it prints which socket exists, or why there is none.

        `cat` waits for the end of its input: so the connection also ends if this process is killed.
        """
        lines = [f"[ -S {shlex.quote(at)} ] && echo {name} && exec cat" for name, at in self._sockets.items()]
        return "\n".join([*lines, f"[ -e {PREFIX}/VERSION ] && echo stopped || echo absent"])

    async def _carried(self, there: Reach, child: Child) -> None:
        """Use the connection until it ends, or the socket behind it does not answer any more."""
        found, name = (await child.read()).decode(errors="replace").strip(), " ".join(there.words)
        if found in self._sockets:
            self._guest = "mac" if found == "macos" else found
            self._set_socket(self._local(found), "")
            await first_of(child.read(), self._broken.wait())
            self._set_socket(None, "" if self._broken.is_set() else "the connection to the guest has ended")
        elif found == "absent":
            self._set_socket(None, f"Pommel is not installed in the guest yet; type: pommel guest install {name}")
        elif found == "stopped":
            self._set_socket(
                None, f"the daemon in the guest is not running; to check it, type: pommel guest status {name}"
            )
        else:
            said = child.complaints.splitlines()
            self._set_socket(None, f"the guest does not answer SSH: {said[-1] if said else 'no word'}")

    def _give_up(self) -> None:
        """Drop the present connection, so that `run` makes a new one."""
        self._socket = None
        self._broken.set()

    def _set_socket(self, forwarded: Path | None, why: str) -> None:
        self._socket, self._why = forwarded, why
        news, self._news = self._news, asyncio.Event()
        news.set()


class MachineSession(SessionRelay):
    """As SessionRelay, for a machine of this home: it ends when the machine has stopped."""

    def __init__(
        self, workspace: Workspace, paths: MachinePaths, *, linger_s: float, sockets: Mapping[str, str] = SOCKETS
    ) -> None:
        super().__init__(partial(reach, workspace, paths.name), paths.runtime, sockets=sockets)
        self._paths = paths
        self._linger_s = linger_s
        self._machine = MachineObserver(paths)

    async def run(self) -> str:
        """Follow the machine until it has been gone for the linger time; return a sentence on the end.

        Raises:
            MachineError: it crashed.
        """
        self._paths.make_runtime()
        gone_since: float | None = None
        async with background(super().run()) as (carrying,):
            while not carrying.done():
                if await asyncio.to_thread(self._alive):
                    gone_since = None
                else:
                    gone_since = gone_since if gone_since is not None else time.monotonic()
                    if time.monotonic() - gone_since >= self._linger_s:
                        return farewell(self._paths)
                await asyncio.sleep(POLL_S)
            return str(carrying.result())

    async def status(self) -> Mapping[str, object]:
        """The status for the page's status line."""
        seen = await self._machine.state()
        return {**await super().status(), "name": self._paths.name, "state": seen}

    def _alive(self) -> bool:
        return seems_alive(self._paths)
