"""A console's files, by OpenSSH's own SFTP server in a folder."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from pommel.console.files_api import SharedFiles
from pommel.sftp.link import SftpLink
from pommel.sftp.service import FileService
from pommel.sftp.session import SftpSession, served_by
from pommel.tasks import background
from sftp.servers import PLAIN_USER, SFTP_SERVER


class Shelf:
    """`home` is the home folder of the files' user; `said` what was told for a log; `pid` the server's process."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.said: list[str] = []
        self.pid = 0
        self.link = SftpLink(self._connect)
        self.files = SharedFiles(FileService(self.link, "the machine"), self.said.append)

    @contextlib.asynccontextmanager
    async def _connect(self) -> AsyncIterator[SftpSession]:
        there = ["env", f"HOME={self.home}", "sh", "-c", 'cd "$HOME" && exec "$@"', "sh", *PLAIN_USER, SFTP_SERVER]
        async with served_by(there, "the machine") as session:
            self.pid = session._child.pid
            yield session


@contextlib.asynccontextmanager
async def shelf_at(home: Path) -> AsyncIterator[Shelf]:
    """Files in `home`, which is made."""
    home.mkdir()
    shelf = Shelf(home)
    async with background(shelf.link.run()):
        yield shelf
