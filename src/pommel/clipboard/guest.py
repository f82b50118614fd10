"""The clipboard of a machine over SSH: one connection, and one process there that reports changes and accepts
copies. Band: shell.

Nothing is installed: the programs in `remote/` are sent over the connection before the frames, and are only in the
memory of `osascript` or a shell. `frames` parses what the guest's end sends; no shell sees it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from enum import Enum
from importlib.resources import files

from pommel.child import Child, running
from pommel.clipboard.content import LIMIT_BYTES, Content
from pommel.clipboard.frames import FrameReader, Hello, Message, limit_line, ping_line, write_frame
from pommel.errors import PommelError, ProtocolError

# How often a Mac reads its change count; that costs little, since it is one number and needs no other process.
EVERY_MS = 25
HELLO_S = 30.0
PING_S = 10.0
_CHUNK = 64 << 10
# Reads the program's lines and evaluates them. For any login shell it is one quoted word without a quote inside, and
# without characters that csh or fish would expand.
_BOOT = (
    'N=$(printf "\\n_"); N=${N%_}; p=; while IFS= read -r l; do case $l in "#END") break;; esac; p=$p$l$N; done; '
    'eval "$p"'
)
REMOTE_COMMAND = f"exec /bin/sh -c '{_BOOT}'"


class Trouble(Enum):
    """Reasons for a missing connection, by their remedy."""

    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    UNUSABLE = "unusable"


class GuestError(PommelError):
    """No connection to the guest's clipboard. `trouble` is the reason; `keys` is true if the guest refuses our keys."""

    def __init__(self, message: str, trouble: Trouble, *, hint: str | None = None, keys: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.trouble, self.keys = trouble, keys


class GuestLink:
    """A live connection. One coroutine calls `next_message`; any may send."""

    def __init__(self, child: Child, limit: int) -> None:
        self._child = child
        self._reader = FrameReader(limit)
        self._ready: list[Message] = []
        self._sending = asyncio.Lock()
        self._pings = 0
        # Counts bytes in both directions: while it grows, the guest is alive.
        self.moved = 0

    @property
    def pid(self) -> int:
        """The pid of ssh."""
        return self._child.pid

    async def next_message(self) -> Message:
        """Wait for the guest's next message.

        Raises:
            GuestError: the connection has ended.
        """
        while not self._ready:
            data = await self._child.read()
            if not data:
                raise await self._farewell()
            self.moved += len(data)
            try:
                self._ready.extend(self._reader.feed(data))
            except ProtocolError as nonsense:
                raise GuestError(nonsense.message, Trouble.UNUSABLE) from nonsense
        return self._ready.pop(0)

    async def hello(self) -> Hello:
        """Wait for the greeting.

        Raises:
            GuestError: there is no connection, no greeting, or no clipboard that Pommel supports.
        """
        first = await self.next_message()
        if not isinstance(first, Hello):
            raise GuestError("the guest's end of the clipboard did not send its greeting", Trouble.UNUSABLE)
        if not first.forms:
            raise GuestError(
                "the machine has neither osascript nor pbcopy and pbpaste, so its clipboard cannot be reached",
                Trouble.UNUSABLE,
                hint="on a Linux machine: install xclip there, and scripts of these names that call it",
            )
        return first

    async def write(self, token: int, content: Content) -> None:
        """Send `content`, already reduced by Hello.fitting, to the guest's clipboard; it answers with Done.

        Raises:
            GuestError: the connection has ended.
        """
        await self._send(write_frame(token, content))

    async def stay_alive(self, *, every_s: float = PING_S, patience: int = 3) -> None:
        """Send pings until the guest no longer answers.

        Raises:
            GuestError: no byte was sent or received for `patience` times `every_s`.
        """
        silent, moved = 0, -1
        while True:
            silent, moved = (0, self.moved) if self.moved != moved else (silent + 1, moved)
            if silent >= patience:
                raise GuestError("the guest no longer answers", Trouble.UNREACHABLE)
            await asyncio.sleep(every_s)
            if silent == 0 and not self._sending.locked():
                self._pings += 1
                await self._send([ping_line(self._pings)])

    async def _send(self, parts: Sequence[bytes]) -> None:
        async with self._sending:
            try:
                for part in parts:
                    for at in range(0, len(part), _CHUNK):
                        await self._child.write(memoryview(part)[at : at + _CHUNK])
                        # Only chunks after the first count: a small ping is accepted by the kernel even if the guest is
                        # dead.
                        self.moved += at > 0
            except (ConnectionError, RuntimeError):
                raise await self._farewell() from None

    async def _farewell(self) -> GuestError:
        self._child.close_input()
        status: int | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                status = await self._child.wait()
        return explained(status, self._child.complaints)


@contextlib.asynccontextmanager
async def guest_link(
    ssh: Sequence[str], *, limit: int = LIMIT_BYTES, every_ms: int = EVERY_MS, hello_s: float = HELLO_S
) -> AsyncIterator[tuple[GuestLink, Hello]]:
    """Connect with `ssh` (a command line that ends with the host) and yield the link and the guest's greeting.

    Raises:
        GuestError: the connection failed, or the guest has no clipboard that Pommel supports.
        MissingProgram: there is no ssh.
    """
    async with running([*ssh, REMOTE_COMMAND]) as child:
        link = GuestLink(child, limit)
        try:
            async with asyncio.timeout(hello_s):
                with contextlib.suppress(ConnectionError):  # `hello` reads the reason and raises it
                    await child.write(programs() + limit_line(limit, every_ms))
                hello = await link.hello()
        except TimeoutError:
            raise GuestError(f"the guest sent nothing for {hello_s:g} s", Trouble.UNREACHABLE) from None
        yield link, hello


def programs() -> bytes:
    """The three programs in the order that `remote/guest.sh` describes."""
    folder = files("pommel.clipboard") / "remote"
    return b"".join((folder / name).read_bytes() + b"#END\n" for name in ("guest.sh", "guest.js", "guest_x11.py"))


def caches_of(hello: Hello) -> bytes | None:
    """The cache folder of the guest's user, if it is known: an absolute path."""
    try:
        path = bytes.fromhex(hello.notes.get("caches", ""))
    except ValueError:
        return None
    return path if path.startswith(b"/") and b"\0" not in path else None


def explained(status: int | None, complaints: str) -> GuestError:
    """Explain why ssh ended, from its exit status and its messages (OpenSSH: ssh.c, sshconnect.c, sshconnect2.c)."""
    last = next((line.strip() for line in reversed(complaints.splitlines()) if line.strip()), "")
    if re.search("Permission denied|Too many authentication failures", complaints):
        return GuestError(
            f"the guest refuses these keys: {last}",
            Trouble.REFUSED,
            hint="put your public key into ~/.ssh/authorized_keys there",
            keys=True,
        )
    if re.search(r"No \S+ host key is known for", complaints):
        return GuestError(
            "the guest's host key is not known yet",
            Trouble.REFUSED,
            hint="connect once by hand and answer yes: ssh HOST",
        )
    if "Host key verification failed" in complaints:
        return GuestError(
            "the guest's host key has changed",
            Trouble.REFUSED,
            hint="if the guest was installed again, remove the old key: ssh-keygen -R HOST",
        )
    if status == 255 or status is None or status < 0:
        return GuestError(f"no connection to the guest{': ' + last if last else ''}", Trouble.UNREACHABLE)
    return GuestError(f"the guest's end of the clipboard ended{': ' + last if last else ''}", Trouble.UNUSABLE)
