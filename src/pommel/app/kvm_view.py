"""The session of another system on a local page, for as long as this process runs. Band: app.

The other system has a daemon with a socket for viewers (`session_guest.install`); of a machine that is `console`'s.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pommel.app.console_tls import TlsWish, tls_of
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
    tls_fingerprint: str = ""  # SHA-256 of the certificate; empty without TLS


async def serve(
    host: str,
    *,
    listen: tuple[str | None, int | None] = (None, None),
    typed: Sequence[str] = (),
    workspace: Workspace | None = None,
    view_only: bool = False,
    tls: TlsWish | None = None,
    on_ready: Callable[[Viewed], None],
) -> str:
    """Serve the session of the SSH host `host` on a page until cancelled; what is in the way is told there.

    `listen` is address and port, None for what the console chooses; `typed` are the arguments of the command that asks
    for this, for who is to type it again. With `view_only` nobody does more than look; `tls` is what is said of TLS.

    Raises:
        UsageError: it names no SSH host, nothing can listen there, or the certificate cannot serve.
        BusyError: a hundred ports from the wanted one on are all in use.
    """
    from pommel.console.server import ConsoleInfo, ConsoleServer, Entry
    from pommel.console.telling import of_host

    workspace = workspace or Workspace.current()
    encrypted = tls_of(tls or TlsWish(), workspace.home.tls, listen[0])
    find = partial(reach, workspace, None, host)
    name = find().label
    # Not where TMPDIR says: a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="pommel-", dir="/tmp") as folder:
        relay = SessionRelay(find, Path(folder))
        server = ConsoleServer(
            info=ConsoleInfo(name, f"{name}: its session", of_host(typed or [host])),
            token=Entry(view_only=view_only),
            serve_viewer=relay.serve,
            status=relay.status,
            host=listen[0] or "127.0.0.1",
            port=listen[1],
        )
        server.use_tls(encrypted)
        await server.start()
        try:
            on_ready(Viewed(name, server.url, server.ws, os.getpid(), server.fingerprint))
            return await relay.run()
        finally:
            await server.stop()
