"""Test whether a guest answers SSH, and ask it about its desktop. Band: app.

An accepted connection proves nothing, because QEMU's forward accepts connections before the guest does. So the banner
of sshd is read first (RFC 4253, 4.2). Then follows a login without a password.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from enum import StrEnum

from pommel.child import running
from pommel.foreign import printable
from pommel.ssh import SshTarget, ssh_argv
from pommel.tasks import start_task, stop_tasks

BANNER_S = 3.0
_SLOW_BANNER_S = 20.0  # for an emulated guest on a busy host
_LOGIN_S = 15.0  # in an emulated guest it takes some seconds
_SLOW_LOGIN_S = 120.0
_BANNER_MAX = 8 << 10
_SAID_MAX = 64 << 10  # bytes; the guest is not trusted to stop writing
_SHOWN = 120  # characters of the guest's text that are shown to people
_NO_CONNECTION = 255  # ssh(1): exit status of an error of its own
# Only these messages of ssh mean a final refusal. All others also come from a guest that is starting or stopping.
_REFUSALS = ("Permission denied", "Too many authentication failures", "Host key verification failed")

NOTHING = "true\n"  # a script for a test of the login alone
_MARK = "pommel-desktop"
# The signs that the guest shows a desktop or a login window.
# Trial machine: its mark file exists when the first of its two windows has its shell (trial/data/guest). The keyboard
# focus is in the second window. Either window may be closed later, so a mark older than a minute is enough.
# macOS: the Dock runs while a user is logged in. /dev/console belongs to that user, or else to root; then loginwindow
# shows the login window.
# Linux: logind knows the active session of the seat (loginctl(1), sd-login(3)). A greeter is a login window.
DESKTOP = f"""
say() {{ echo "{_MARK} $*"; exit 0; }}
case $(uname -s) in
Darwin)
    who=$(stat -f %Su /dev/console)
    [ "$who" != root ] && pgrep -x -u "$who" Dock >/dev/null && say there "the Dock of $who runs"
    defaults read /Library/Preferences/com.apple.loginwindow autoLoginUser >/dev/null 2>&1 &&
        say coming "a user is logged in automatically, and there is no Dock yet"
    [ "$who" = root ] && pgrep -x loginwindow >/dev/null && say there "its login window is there"
    say coming "there is neither a Dock nor a login window yet" ;;
Linux)
    if [ -d /usr/local/lib/trial ]; then
        for mark in /run/user/*/trial-notes; do
            [ -e "$mark" ] || say coming "its windows are not there yet"
            [ -n "$(find "$mark" -mmin +1)" ] && say there "its desktop has been there for a while"
            shells=$(pgrep -c -P "$(pgrep -d, -x xterm)" bash)
            [ "${{shells:-0}}" -ge 2 ] && say there "both its windows have their shells"
            say coming "one of its windows is there"
        done
    fi
    session=$(loginctl show-seat seat0 -p ActiveSession --value 2>/dev/null)
    if [ -n "$session" ]; then
        type=$(loginctl show-session "$session" -p Type --value)
        class=$(loginctl show-session "$session" -p Class --value)
        case $type in x11|wayland|mir) say there "the $type session of a $class is active" ;; esac
    fi
    [ "$(systemctl get-default 2>/dev/null)" = multi-user.target ] && say none "it boots to multi-user.target"
    command -v loginctl >/dev/null && say coming "no graphical session is active yet"
    say unknown "it has no logind to ask" ;;
*)  say unknown "Pommel cannot ask $(uname -s) for its desktop" ;;
esac
"""


class SshOutcome(StrEnum):
    """The result of a try to log in to a guest by SSH."""

    SILENT = "silent"
    REFUSES = "refuses"  # sshd answers, and accepts none of our keys
    LETS_IN = "lets in"
    NO_WAY = "no way"  # no address leads to the guest, and a longer wait will not change that


class GuestDesktop(StrEnum):
    """A guest's answer about its desktop."""

    THERE = "there"
    COMING = "coming"
    NONE = "none"  # the guest has no desktop
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class GuestAnswer:
    """A guest's answer: `text` is from the guest or from ssh; `desktop` is its answer about its desktop, if asked.

    `late`: sshd answered, but the login was not finished in time.
    """

    answer: SshOutcome
    text: str = ""
    desktop: GuestDesktop | None = None
    late: bool = False


SILENCE = GuestAnswer(SshOutcome.SILENT)


async def knock(host: str, port: int, *, timeout_s: float = BANNER_S) -> bool:
    """Whether an SSH server sends its banner. Other lines may come before it (RFC 4253, 4.2)."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port, limit=_BANNER_MAX)
            while line := await reader.readline():
                if line.startswith(b"SSH-"):
                    return True
    except (OSError, ValueError):  # TimeoutError is an OSError; ValueError: a too long line
        pass
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    return False


class Asking:
    """Asks the same guest repeatedly, and allows more time for one that was too slow before.

    A connection without a banner stays open beside the next one for _SLOW_BANNER_S, because a slow guest may still
    answer on it. After a late login, the next one may take twice as long. Call `aclose` at the end.
    """

    def __init__(self) -> None:
        self._knocks: set[asyncio.Task[bool]] = set()
        self._login_s = _LOGIN_S

    async def knock(self, host: str, port: int) -> bool:
        """Whether an SSH server sends its banner, on a new or an earlier connection. It takes at most 3 s."""
        newest = start_task(knock(host, port, timeout_s=_SLOW_BANNER_S))
        self._knocks.add(newest)
        until = time.monotonic() + BANNER_S
        while not newest.done() and (left := until - time.monotonic()) > 0:
            done, _ = await asyncio.wait(self._knocks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            self._knocks -= done
            if any(task.result() for task in done):
                await self.aclose()
                return True
        return False

    async def ask(self, target: SshTarget, script: str) -> GuestAnswer:
        """Wait for the banner, then log in without a password and run `script` with sh.

        Raises:
            MissingProgram: ssh is not installed on this host.
        """
        if not await self.knock(target.host, target.port):
            return SILENCE
        heard = await _log_in(target, script, self._login_s)
        if heard.late:
            self._login_s = min(2 * self._login_s, _SLOW_LOGIN_S)
        return heard

    async def aclose(self) -> None:
        """Close all connections."""
        left, self._knocks = self._knocks, set()
        await stop_tasks(*left)


async def _log_in(target: SshTarget, script: str, login_s: float) -> GuestAnswer:
    # ssh's ConnectTimeout also limits the key exchange. It must be longer than our own limit, which ends the login.
    argv = ssh_argv(
        target, ["sh", "-s"], batch=True, connect_timeout_s=int(login_s) + 1, shared={"ControlPath": "none"}
    )
    out = b""
    try:
        async with asyncio.timeout(login_s), running(argv) as child:
            with contextlib.suppress(ConnectionError):  # ssh ended without reading the script; its exit status says why
                await child.write(script.encode())
            child.close_input()
            while len(out) < _SAID_MAX and (part := await child.read()):
                out += part
            if len(out) >= _SAID_MAX:  # the script's answer is never that long
                return GuestAnswer(SshOutcome.LETS_IN)
            status = await child.wait()
            complaints = child.complaints
    except TimeoutError:
        return GuestAnswer(SshOutcome.SILENT, f"a login took longer than {login_s:g} s", late=True)
    return read_answer(status, out.decode(errors="replace"), complaints)


def read_answer(status: int, out: str, complaints: str) -> GuestAnswer:
    """The meaning of ssh's exit status and output."""
    last = next((line.strip() for line in reversed(complaints.splitlines()) if line.strip()), "")
    if status == _NO_CONNECTION:
        refused = any(word in complaints for word in _REFUSALS)
        return GuestAnswer(SshOutcome.REFUSES if refused else SshOutcome.SILENT, _shown(last))
    for line in reversed(out.splitlines()):  # the login shell may have written lines before
        words = line.split(maxsplit=2)
        if words[:1] == [_MARK] and len(words) > 1 and words[1] in list(GuestDesktop):
            return GuestAnswer(SshOutcome.LETS_IN, _shown(words[2]) if len(words) > 2 else "", GuestDesktop(words[1]))
    return GuestAnswer(SshOutcome.LETS_IN)


def _shown(text: str) -> str:
    """A guest's text for a terminal: without control characters, and not longer than _SHOWN."""
    return printable(text[:_SHOWN]).replace("\n", " ")
