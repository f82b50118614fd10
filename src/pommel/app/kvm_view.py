"""The session of another system on a local page, for as long as this process runs. Band: app.

The other system has a daemon with a socket for viewers (`session_guest.install`); of a machine that is `console`'s.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pommel.app.session_reach import reach
from pommel.app.session_relay import SessionRelay
from pommel.app.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Viewed:
    """A session on a page: whose, where, and which process does it."""

    name: str
    url: str
    ws: str
    pid: int


async def serve(
    host: str,
    *,
    listen: tuple[str | None, int | None] = (None, None),
    workspace: Workspace | None = None,
    on_ready: Callable[[Viewed], None],
) -> str:
    """Serve the session of the SSH host `host` on a page until cancelled; what is in the way is told there.

    `listen` is address and port, None for what the console chooses.

    Raises:
        UsageError: it names no SSH host, or nothing can listen there.
        BusyError: a hundred ports from the wanted one on are all in use.
    """
    from pommel.console.server import ConsoleInfo, ConsoleServer, new_token

    find = partial(reach, workspace or Workspace.current(), None, host)
    name = find().label
    # Not where TMPDIR says: a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="pommel-", dir="/tmp") as folder:
        relay = SessionRelay(find, Path(folder))
        server = ConsoleServer(
            info=ConsoleInfo(name=name, title=f"{name}: its session"),
            token=new_token(),
            serve_viewer=relay.serve,
            status=relay.status,
            host=listen[0] or "127.0.0.1",
            port=listen[1],
        )
        await server.start()
        try:
            on_ready(Viewed(name, server.url, server.ws, os.getpid()))
            return await relay.run()
        finally:
            await server.stop()
