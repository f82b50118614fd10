"""Show the session of another computer on a local page, while this process runs. Band: app.

The other computer has a daemon with a socket for viewers (`guest_install`). For a machine of this home, `pommel console
--session` does the same.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pommel.app.console.tls import TlsWish, tls_of
from pommel.app.session.reach import reach
from pommel.app.session.relay import SessionRelay
from pommel.app.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Viewed:
    """A session on a page: its host, its page's addresses, and the process."""

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
    """Serve the session of the SSH host `host` on a page until cancelled. The page shows what prevents a picture.

    `listen` is address and port (None: the console chooses); `typed` are the command's arguments, so that the page can
    show the command to repeat. With `view_only`, viewers have no input; `tls` is the wish for TLS.

    Raises:
        UsageError: `host` is not an SSH host, the address cannot be used, or the certificate cannot be used.
        BusyError: a hundred ports from the wanted one on are all in use.
    """
    from pommel.app.console.files import guest_files
    from pommel.console.server import Admission, ConsoleInfo, ConsoleServer
    from pommel.console.telling import SESSION, of_host

    workspace = workspace or Workspace.current()
    encrypted = tls_of(tls or TlsWish(), workspace.home.tls, listen[0])
    find = partial(reach, workspace, None, host)
    name = find().label
    # /tmp and not TMPDIR, because a socket's path must fit 107 bytes.
    with tempfile.TemporaryDirectory(prefix="pommel-", dir="/tmp") as folder:
        relay = SessionRelay(find, Path(folder))
        server = ConsoleServer(
            info=ConsoleInfo(name, f"{name}: its session", of_host(typed or [host])),
            token=Admission(view_only=view_only),
            serve_viewer=relay.serve,
            status=relay.status,
            host=listen[0] or "127.0.0.1",
            port=listen[1],
        )
        server.use_tls(encrypted)
        async with guest_files(lambda: find().argv([]), key_hint=f"ssh-copy-id {host}", noun=SESSION) as files:
            server.share_files(files if not view_only else None)
            await server.start()
            try:
                on_ready(Viewed(name, server.url, server.ws, os.getpid(), server.fingerprint))
                return await relay.run()
            finally:
                await server.stop()
