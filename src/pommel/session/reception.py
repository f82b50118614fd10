"""The socket on which viewers connect. Band: shell.

Each connection is one viewer, with the same messages as between the daemon and an agent (`framing`). So the viewer may
be in another process, or on another host through SSH. Only one user and root may connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import PurePosixPath

from pommel.errors import PommelError
from pommel.session.admission import peer_uid
from pommel.session.directory import SafeDirectory, safe_directory
from pommel.session.peer import ROOT
from pommel.session.stream import SessionStream
from pommel.wire.viewer import ViewerStream

_BACKLOG = 16
_AT_ONCE = 32
_ACCEPT_PAUSE_S = 0.2

View = Callable[[ViewerStream], Awaitable[None]]


class Reception:
    """Serves viewers that connect to the socket `path`, which belongs to `uid`."""

    def __init__(self, path: PurePosixPath, uid: int, view: View, log: Callable[[str], None]) -> None:
        self._path = path
        self._uid = uid
        self._view = view
        self._log = log
        self._here = 0

    @contextlib.contextmanager
    def listening(self) -> Iterator[Callable[[], Awaitable[None]]]:
        """Listen during the block, and yield the coroutine that accepts viewers until it is cancelled.

        Raises:
            NotPermitted: the socket's directory is not safe.
            StateError: a directory is in the socket's place.
            OSError: the directory cannot be written to.
        """
        with safe_directory(self._path.parent, mode=None) as folder, self._listener(folder) as listener:
            yield lambda: self._let_in(listener)

    def _listener(self, folder: SafeDirectory) -> contextlib.AbstractContextManager[socket.socket]:
        return folder.listening(self._path.name, backlog=_BACKLOG, uid=self._uid)

    async def _let_in(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    connection, _ = await loop.sock_accept(listener)
                except OSError as failure:  # no free descriptors: ended connections release some
                    self._log(f"no viewer can be accepted: {failure.strerror}")
                    await asyncio.sleep(_ACCEPT_PAUSE_S)
                    continue
                if self._is_welcome(connection):
                    tasks.create_task(self._visit(connection))
                else:
                    connection.close()

    def _is_welcome(self, connection: socket.socket) -> bool:
        try:
            uid = peer_uid(connection)
        except OSError:  # it has disconnected
            return False
        if uid not in (ROOT, self._uid):
            self._log(f"a viewer was refused: it runs as uid {uid}")
            return False
        if self._here >= _AT_ONCE:
            self._log(f"a viewer was refused: {_AT_ONCE} viewers are already connected")
            return False
        return True

    async def _visit(self, connection: socket.socket) -> None:
        self._here += 1
        try:
            stream = await SessionStream.over(connection)
            try:
                await self._view(stream)
            except (PommelError, ConnectionError) as failure:
                self._log(f"a viewer: {failure}")
            finally:
                stream.drop()
        finally:
            self._here -= 1
