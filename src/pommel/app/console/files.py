"""The files for a console's page: a guest's over SSH, or those of the user whose session is shown. Band: app.

A guest's are reached by its own SSH, as the user of `pommel ssh`. A session of this host has no SSH in between: the
same server runs as a child, with the rights of this process.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from pommel import account
from pommel.console.files_api import SharedFiles
from pommel.console.telling import MACHINE, SESSION, Noun
from pommel.errors import MissingProgram, PommelError
from pommel.sftp.link import SftpLink
from pommel.sftp.service import FileService
from pommel.sftp.session import SftpSession, served_by, sftp_session
from pommel.tasks import background

# Where OpenSSH's server for files is: Debian, macOS and BSD, Fedora, Arch and openSUSE, Alpine.
_SERVERS = tuple(
    Path(folder) / "sftp-server"
    for folder in ("/usr/lib/openssh", "/usr/libexec", "/usr/libexec/openssh", "/usr/lib/ssh", "/usr/lib/sftp-server")
)
_NOT_YET = re.compile("Connection (refused|reset|closed|timed out)|No route to host|Operation timed out|banner")


@contextlib.asynccontextmanager
async def guest_files(
    argv: Callable[[], Sequence[str]],
    *,
    key_hint: str,
    noun: Noun = MACHINE,
    told: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[SharedFiles]:
    """Provide the files of a guest during the block.

    `argv` is its ssh command, `key_hint` the command that copies a key to it; `told` gets each thing that was done.
    """

    def explained(failure: PommelError) -> PommelError:
        if "Permission denied" in failure.message or "Too many authentication failures" in failure.message:
            return PommelError(f"the {noun} refuses this computer's SSH keys", hint=f"type: {key_hint}")
        if _NOT_YET.search(failure.message):
            return PommelError(f"the {noun} does not answer SSH (yet)")
        return failure

    link = SftpLink(lambda: sftp_session(argv(), f"the {noun}"), explain=explained)
    async with background(link.run()):
        yield SharedFiles(FileService(link, f"the {noun}"), told)


@contextlib.asynccontextmanager
async def session_files(told: Callable[[str], None] = lambda _: None) -> AsyncIterator[SharedFiles]:
    """Provide the files of the user of this process during the block."""

    def connect() -> AbstractAsyncContextManager[SftpSession]:
        return served_by([str(_server()), "-d", str(account.home())], f"the {SESSION}")

    link = SftpLink(connect)
    async with background(link.run()):
        yield SharedFiles(FileService(link, f"the {SESSION}"), told)


def _server() -> Path:
    for path in _SERVERS:
        if path.is_file():
            return path
    raise MissingProgram(
        "files need OpenSSH's sftp-server, which is not installed", hint="on Debian: apt install openssh-sftp-server"
    )
