"""Whether a guest answers SSH, and what it says of its desktop when it lets us in. Band: app.

A port that takes connections says nothing: QEMU's forward takes them before there is a guest. So the banner of sshd is
read first (RFC 4253, 4.2), and then we log in without a password.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from enum import StrEnum

from pommel.clipboard.child import running
from pommel.clipboard.content import printable
from pommel.ssh import SshTarget, ssh_argv
from pommel.tasks import start_task, stop_tasks

BANNER_S = 3.0
_SLOW_BANNER_S = 20.0  # of an emulated guest on a busy host
_LOGIN_S = 15.0  # in an emulated guest it takes some seconds
_SLOW_LOGIN_S = 120.0
_BANNER_MAX = 8 << 10
_SAID_MAX = 64 << 10  # bytes; a guest may say what it likes
_SHOWN = 120  # characters of it that people are shown
_NO_CONNECTION = 255  # ssh(1): exit status of an error of its own
# It is there, and does not want us. All else that ends a login is what a guest says that is just coming up or going.
_REFUSALS = ("Permission denied", "Too many authentication failures", "Host key verification failed")

NOTHING = "true\n"  # a script that asks nothing
_MARK = "pommel-desktop"
# What tells that a person has a desktop, or a login window, before them. The trial machine's own mark is set when the
# first of its two windows has its shell (trial/data/guest); the second takes the keys, and either may be closed later.
# macOS: the Dock runs while somebody is logged in; /dev/console belongs to who is, else to root; loginwindow shows the
# login window then. Linux: logind knows the active session of the seat (loginctl(1), sd-login(3)); a greeter is a login
# window.
DESKTOP = f"""
say() {{ echo "{_MARK} $*"; exit 0; }}
case $(uname -s) in
Darwin)
    who=$(stat -f %Su /dev/console)
    [ "$who" != root ] && pgrep -x -u "$who" Dock >/dev/null && say there "the Dock of $who runs"
    defaults read /Library/Preferences/com.apple.loginwindow autoLoginUser >/dev/null 2>&1 &&
        say coming "it logs somebody in, and there is no Dock yet"
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
*)  say unknown "nobody here knows how to ask $(uname -s)" ;;
esac
"""


class Answer(StrEnum):
    """What comes of knocking at a guest's SSH."""

    SILENT = "silent"
    REFUSES = "refuses"  # sshd is there, and lets us in by none of our keys
    LETS_IN = "lets in"
    NO_WAY = "no way"  # nothing leads to it, and nothing will


class Desktop(StrEnum):
    """What a guest says of its desktop."""

    THERE = "there"
    COMING = "coming"
    NONE = "none"  # and none will come
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Heard:
    """What a guest answered: `text` is its own words or ssh's, `desktop` what it said of its desktop, if asked.

    `late`: it answered, and not in the time that it had.
    """

    answer: Answer
    text: str = ""
    desktop: Desktop | None = None
    late: bool = False


SILENCE = Heard(Answer.SILENT)


async def knock(host: str, port: int, *, timeout_s: float = BANNER_S) -> bool:
    """Whether an SSH server says its banner there; it may say other lines before."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port, limit=_BANNER_MAX)
            while line := await reader.readline():
                if line.startswith(b"SSH-"):
                    return True
    except (OSError, ValueError):  # TimeoutError is one; ValueError: a line without end
        pass
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    return False


class Asking:
    """Asks the same guest again and again, and takes one that has been too slow so far to be slow, not absent.

    A connection that nobody has spoken on yet is kept for a while beside the next one, and each login may take twice as
    long as one before it that was late. `aclose` it at the end.
    """

    def __init__(self) -> None:
        self._knocks: set[asyncio.Task[bool]] = set()
        self._login_s = _LOGIN_S

    async def knock(self, host: str, port: int) -> bool:
        """Whether an SSH server says its banner there, on a new connection or on an earlier one; takes 3 s at most."""
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

    async def ask(self, target: SshTarget, script: str) -> Heard:
        """Log in without a password and run `script` by sh, once the banner has been heard.

        Raises:
            MissingProgram: there is no ssh here.
        """
        if not await self.knock(target.host, target.port):
            return SILENCE
        heard = await _log_in(target, script, self._login_s)
        if heard.late:
            self._login_s = min(2 * self._login_s, _SLOW_LOGIN_S)
        return heard

    async def aclose(self) -> None:
        """Leave every connection."""
        left, self._knocks = self._knocks, set()
        await stop_tasks(*left)


async def _log_in(target: SshTarget, script: str, login_s: float) -> Heard:
    # Its own limit, which is one on the key exchange too, must not end what may still come: ours does.
    argv = ssh_argv(
        target, ["sh", "-s"], batch=True, connect_timeout_s=int(login_s) + 1, shared={"ControlPath": "none"}
    )
    out = b""
    try:
        async with asyncio.timeout(login_s), running(argv) as child:
            with contextlib.suppress(ConnectionError):  # it ended without a look at the script, and says why
                await child.write(script.encode())
            child.close_input()
            while len(out) < _SAID_MAX and (part := await child.read()):
                out += part
            if len(out) >= _SAID_MAX:  # no answer of ours is that long
                return Heard(Answer.LETS_IN)
            status = await child.wait()
            complaints = child.complaints
    except TimeoutError:
        return Heard(Answer.SILENT, f"a login took longer than {login_s:g} s", late=True)
    return read_answer(status, out.decode(errors="replace"), complaints)


def read_answer(status: int, out: str, complaints: str) -> Heard:
    """What an ssh means that ended so."""
    last = next((line.strip() for line in reversed(complaints.splitlines()) if line.strip()), "")
    if status == _NO_CONNECTION:
        refused = any(word in complaints for word in _REFUSALS)
        return Heard(Answer.REFUSES if refused else Answer.SILENT, _shown(last))
    for line in reversed(out.splitlines()):  # a login shell may have talked before
        words = line.split(maxsplit=2)
        if words[:1] == [_MARK] and len(words) > 1 and words[1] in list(Desktop):
            return Heard(Answer.LETS_IN, _shown(words[2]) if len(words) > 2 else "", Desktop(words[1]))
    return Heard(Answer.LETS_IN)


def _shown(text: str) -> str:
    """A guest's words as a terminal may have them: no control characters, not endless."""
    return printable(text[:_SHOWN]).replace("\n", " ")
