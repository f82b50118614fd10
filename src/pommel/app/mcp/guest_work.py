"""Commands, files and clipboard text of a guest, over SSH, for MCP clients. Band: app.

The guest is not trusted: its output has limits on size and time.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shlex
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from pommel.app.clip.target import find_guest
from pommel.app.guest import shell
from pommel.app.workspace import Workspace
from pommel.clipboard.content import text_of
from pommel.clipboard.frames import Copied, Done
from pommel.clipboard.guest import guest_link
from pommel.errors import DeadlineError, PommelError, StateError
from pommel.process import end_group, spawn_piped
from pommel.ssh import ssh_argv

OUTPUT_MAX = 64 << 10
FILE_MAX = 1 << 20
_FILE_S, _CLIPBOARD_S = 60.0, 20.0
_CHUNK = 16 << 10
_SSH_FAILED = 255  # ssh(1)


@dataclass(frozen=True, slots=True)
class GuestCommandResult:
    """The result of a command in a guest. `cut`: it wrote more than the limit, and the rest is missing."""

    status: int
    out: bytes
    err: bytes
    cut: bool


async def run(
    workspace: Workspace, name: str, command: str, *, input: bytes = b"", timeout_s: float, limit: int = OUTPUT_MAX
) -> GuestCommandResult:
    """Run `command` in the shell of machine `name`'s guest; keep the first `limit` bytes of each output.

    Raises:
        StateError: the machine is not running.
        DeadlineError: it took longer than `timeout_s`; it may still run in the guest.
        PommelError: SSH could not connect.
    """
    argv = ssh_argv(shell.ssh_target(workspace, name), [command], batch=True)
    ran = await _ran(argv, input, timeout_s, limit)
    if ran.status == _SSH_FAILED:
        said = ran.err.decode(errors="replace").strip()[-500:]
        raise PommelError(f"{name} could not be reached by SSH: {said}", hint="wait until ssh, then try again")
    return ran


async def read_file(workspace: Workspace, name: str, path: str) -> bytes:
    """The content of a file of the guest.

    Raises:
        StateError: it cannot be read, or has more than FILE_MAX bytes.
        StateError, DeadlineError, PommelError: as `run`.
    """
    ran = await run(
        workspace, name, f"head -c {FILE_MAX + 1} < {shlex.quote(path)}", timeout_s=_FILE_S, limit=FILE_MAX + 1
    )
    if ran.status:
        raise StateError(f"the guest cannot read {path}: {ran.err.decode(errors='replace').strip()[-300:]}")
    if len(ran.out) > FILE_MAX:
        raise StateError(f"{path} has more than {FILE_MAX >> 20} MiB", hint="read a part of it with run")
    return ran.out


async def write_file(workspace: Workspace, name: str, path: str, data: bytes) -> None:
    """Write a file of the guest completely: if the connection breaks, the old file stays.

    Raises:
        StateError: the guest cannot write it.
        StateError, DeadlineError, PommelError: as `run`.
    """
    there = shlex.quote(path)
    aside = shlex.quote(f"{path}.pommel-{secrets.token_hex(4)}")
    command = (
        f"[ ! -d {there} ] || {{ echo 'it is a folder' >&2; exit 1; }}; "
        f'cat > {aside} && [ "$(wc -c < {aside})" -eq {len(data)} ] && mv -f -- {aside} {there} || '
        f"{{ rm -f -- {aside}; exit 1; }}"
    )
    ran = await run(workspace, name, command, input=data, timeout_s=_FILE_S)
    if ran.status:
        raise StateError(f"the guest cannot write {path}: {ran.err.decode(errors='replace').strip()[-300:]}")


async def get_text(workspace: Workspace, name: str, limit: int) -> str:
    """The text on the guest's clipboard; empty if there is none.

    Raises:
        GuestError, DeadlineError: the guest cannot be reached, or does not answer.
        StateError: it has more than `limit` bytes.
    """
    async with _in_time(name), guest_link(find_guest(workspace, name).argv(workspace), limit=limit) as (link, _):
        while True:
            message = await link.next_message()
            if isinstance(message, Copied):
                if message.content.held is not None:
                    raise StateError(f"the clipboard of {name} is not read: {message.content.why}")
                return (message.content.text or b"").decode(errors="replace")


async def set_text(workspace: Workspace, name: str, text: str) -> None:
    """Put text on the guest's clipboard.

    Raises:
        GuestError, DeadlineError: the guest cannot be reached.
        PommelError: the guest refused it.
    """
    limit = len(text.encode()) + 1024
    async with _in_time(name), guest_link(find_guest(workspace, name).argv(workspace), limit=limit) as (link, _):
        await link.write(1, text_of(text))
        while not isinstance(message := await link.next_message(), Done):
            pass
        if not message.taken:
            raise PommelError(f"the clipboard of {name} did not accept it")


@contextlib.asynccontextmanager
async def _in_time(name: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_CLIPBOARD_S):
            yield
    except TimeoutError:
        raise DeadlineError(f"the guest of {name} did not answer in {_CLIPBOARD_S:g} s") from None


async def _ran(argv: Sequence[str], input: bytes, timeout_s: float, limit: int) -> GuestCommandResult:
    child = await spawn_piped(argv, stderr=asyncio.subprocess.PIPE)
    stdin, stdout, stderr = child.stdin, child.stdout, child.stderr
    if stdin is None or stdout is None or stderr is None:
        raise PommelError("ssh was started without pipes")
    try:
        async with asyncio.timeout(timeout_s):
            _, (out, more), (err, more_err) = await asyncio.gather(
                _feed(stdin, input), _read(stdout, limit), _read(stderr, limit)
            )
            status = await child.wait()
    except TimeoutError:
        raise DeadlineError(f"it did not end in {timeout_s:g} s; in the guest it may still run") from None
    finally:
        if child.returncode is None:
            end_group(child.pid, signal.SIGKILL)
            await child.wait()
    return GuestCommandResult(status, out, err, more or more_err)


async def _feed(stdin: asyncio.StreamWriter, data: bytes) -> None:
    try:
        stdin.write(data)
        await stdin.drain()
    except ConnectionError:  # ssh has ended; its exit status says why
        pass
    finally:
        stdin.close()


async def _read(stream: asyncio.StreamReader, limit: int) -> tuple[bytes, bool]:
    """The first `limit` bytes, and whether there were more.

    The rest is read too, so that the program does not block.
    """
    kept, more = bytearray(), False
    while chunk := await stream.read(_CHUNK):
        room = limit - len(kept)
        kept += chunk[:room]
        more |= len(chunk) > room
    return bytes(kept), more
