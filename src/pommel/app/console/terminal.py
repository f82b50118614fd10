"""Terminals of one machine or session for its viewers: a shell for each, and who opened it is told. Band: app.

In a machine's guest, the shell is that of the user whom SSH logs in as. The connection is the terminal's own, so that
it ends with it. No shell runs on this host.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from pommel.app.workspace import TRIAL, Workspace
from pommel.clipboard.guest import explained
from pommel.config import environment
from pommel.errors import BusyError, PommelError
from pommel.machine.events import Word, note_event
from pommel.paths import MachinePaths
from pommel.terminal.pty import ShellPlan
from pommel.terminal.serving import end_terminal, serve_shell
from pommel.wire.viewer import ViewerStream

MOST = 16  # each has processes here and in the guest
TERM = "xterm-256color"  # what xterm.js emulates, on our page and on MeshCentral's
_NO_CONNECTION = 255  # ssh(1): the exit status of ssh's own errors
# Without it, a shell that sshd starts on a Mac reads no UTF-8: its sshd accepts LC_*, and Terminal.app sets the same.
_OF_A_MAC = {"LC_CTYPE": "UTF-8"}
_OPTIONS = {
    "RequestTTY": "force",
    # Otherwise "~C" after a line's end would open a command line of ssh on this host, for port forwards (ssh(1)).
    "EscapeChar": "none",
}


class NoteTerminal(Protocol):
    """Is called when a terminal was opened, and when it has ended."""

    def __call__(self, who: str, ended: str = "") -> None:
        """`who` opened it; `ended`: why it has ended, empty at the beginning."""


class Terminals:
    """The open terminals. `plan` is called for each new one, and raises a PommelError if there is none."""

    def __init__(self, plan: Callable[[], ShellPlan], tell: NoteTerminal = lambda who, ended="": None) -> None:
        self._plan, self._tell = plan, tell
        self.now = 0

    async def serve(self, stream: ViewerStream, who: str) -> None:
        """Serve one viewer's terminal until it ends; `who` is the viewer, for people.

        Raises:
            PommelError: there is no shell; the viewer was told.
        """
        if self.now >= MOST:
            full = BusyError(f"{MOST} terminals are open, and no more are possible", hint="close another one")
            await end_terminal(stream, full.message)
            raise full
        self.now += 1
        why = "it failed"
        self._tell(who)
        try:
            why = await self._served(stream)
        except PommelError as failure:
            why = failure.message
            raise
        finally:
            self.now -= 1
            self._tell(who, ended=why)

    async def _served(self, stream: ViewerStream) -> str:
        try:
            plan = self._plan()
        except PommelError as failure:
            await end_terminal(stream, failure.message)
            raise
        return await serve_shell(stream, plan)


def machine_terminals(
    workspace: Workspace, paths: MachinePaths, ssh: Callable[[], Sequence[str]], *, key_hint: str
) -> Terminals:
    """The terminals in the guest of machine `paths.name`, whose ssh command is `ssh`; events.log has each of them."""

    def plan() -> ShellPlan:
        settings = {} if workspace.spec(paths.name).upstream == TRIAL else _OF_A_MAC
        return guest_plan(ssh(), workspace.env or environment(), key_hint=key_hint, settings=settings)

    def tell(who: str, ended: str = "") -> None:
        note_event(paths, Word.TERMINAL_CLOSED if ended else Word.TERMINAL_OPENED, f"{who}: {ended}" if ended else who)

    return Terminals(plan, tell)


def guest_plan(
    ssh: Sequence[str], env: Mapping[str, str], *, key_hint: str, settings: Mapping[str, str] | None = None
) -> ShellPlan:
    """The login shell in a guest. `ssh` is a command line that ends with the host; `settings` are variables there.

    `key_hint` is the command that copies a key to the guest.
    """
    options = dict(_OPTIONS)
    if settings:
        options["SetEnv"] = " ".join(f"{name}={value}" for name, value in settings.items())
    # They come first, because ssh uses the first value of an option.
    words = [ssh[0], *(part for key, value in options.items() for part in ("-o", f"{key}={value}")), *ssh[1:]]

    def ended(status: int, complaints: str) -> str:
        if status != _NO_CONNECTION:
            return shell_ended(status)
        trouble = explained(status, complaints)
        return f"{trouble.message} (type: {key_hint})" if trouble.keys else trouble.message

    return ShellPlan(words, {**env, "TERM": TERM}, ended, takes_modes=True)


def shell_ended(status: int) -> str:
    """A sentence on the end of a shell, from its exit status (negative: a signal)."""
    if status == 0:
        return "the shell has ended"
    if status > 0:
        return f"the shell has ended with exit status {status}"
    return f"the shell was ended by {signal.Signals(-status).name}"
