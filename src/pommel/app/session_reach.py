"""A guest's shell over SSH, for what is brought into it: a machine's by its name, or any SSH host's. Band: app.

Nothing is asked of the person, but sudo's password where there is a terminal to ask it on.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pommel.app import guest
from pommel.app.workspace import Workspace
from pommel.errors import CommandFailed, DeadlineError, NotPermitted, PommelError, StateError, UsageError
from pommel.process import attach, run
from pommel.ssh import (
    SshAddress,
    SshTarget,
    address_argv,
    end_shared_argv,
    multiplexed,
    parse_address,
    riding,
    ssh_argv,
)

_NO_CONNECTION = 255  # ssh(1): exit status of an error of its own
_ALONE = {"ControlPath": "none"}
_CONNECT_S = 30.0
_IDLE_S = 60  # what a connection outlives us if we are killed


@dataclass(frozen=True, slots=True)
class Reach:
    """How a guest is reached: `words` are what names it on a command line, `label` what people call it.

    With `root` the shell is root's: "sudo" by sudo, "login" by logging in as root, "self" as root is who logs in,
    "ask" by a sudo that asks on the terminal. `connection` is a folder for the sockets of connections that calls share.
    """

    label: str
    words: tuple[str, ...]
    target: SshTarget | None = None
    address: SshAddress | None = None
    root: str = ""
    connection: Path | None = None

    def argv(self, command: Sequence[str], *, options: Mapping[str, str] | None = None) -> list[str]:
        """The ssh that runs `command`, as ssh(1) puts words together."""
        pairs = {**(_ALONE if self._socket is None else riding(self._socket)), **(options or {})}
        if self.target is not None:
            target = replace(self.target, user="root") if self.root == "login" else self.target
            return ssh_argv(target, command, batch=True, shared=pairs)
        return address_argv(self.address or SshAddress(""), command, shared=pairs)

    @property
    def _socket(self) -> Path | None:
        return self.connection / ("root" if self.root == "login" else "user") if self.connection else None

    def connect(self) -> None:
        """Make the connection that further calls share. If it cannot be had, they say why, each by itself."""
        if self._socket is None:
            return
        options = {**multiplexed(self._socket, persist_s=_IDLE_S), "ControlMaster": "yes"}
        words = self.argv([], options=options)
        # It goes to the background by itself, and would keep our pipes open if it had them.
        background = ["sh", "-c", 'exec "$@" >/dev/null 2>&1', "sh", words[0], "-f", "-N", *words[1:]]
        run(background, timeout_s=_CONNECT_S, check=False)

    def disconnect(self) -> None:
        """End it."""
        if self._socket is not None and self._socket.exists():
            run(end_shared_argv("there", self._socket), timeout_s=_CONNECT_S, check=False)

    def sh(self, script: str, *, timeout_s: float = 60.0) -> str:
        """Run a script by sh; return what it prints.

        Raises:
            StateError: the guest does not answer.
            NotPermitted: it does not let us in.
            CommandFailed: the script failed; the message is its own.
            DeadlineError: it took longer than `timeout_s`.
        """
        command = ["sudo", "-n", "sh"] if self.root == "sudo" else ["sh"]
        done = run(self.argv([*command, "-s"]), input=script.encode(), timeout_s=timeout_s, check=False)
        if done.returncode == _NO_CONNECTION:
            raise self._no_connection(done.stderr.decode(errors="replace").strip())
        if done.returncode != 0:
            raise CommandFailed([self.label], done.returncode, done.output)
        return done.text

    def sh_on_terminal(self, path: str) -> None:
        """Run a script that lies in the guest as root, by a sudo that may ask.

        Raises:
            CommandFailed: it failed; what it said is on the terminal.
        """
        words = self.argv(["sudo", "sh", path], options={"RequestTTY": "force", "BatchMode": "no"})
        if (status := attach(words)) != 0:
            raise CommandFailed([self.label], status, "see above")

    def send(self, data: bytes, path: str) -> None:
        """Add bytes to the end of a file in the guest.

        Raises:
            StateError: the guest does not answer.
            CommandFailed: it has no room for them, say.
        """
        done = run(self.argv([f"cat >> {path}"]), input=data, timeout_s=300, check=False)
        if done.returncode == _NO_CONNECTION:
            raise self._no_connection(done.stderr.decode(errors="replace").strip())
        if done.returncode != 0:
            raise CommandFailed([self.label], done.returncode, done.output)

    def _no_connection(self, said: str) -> PommelError:
        last = said.splitlines()[-1] if said else "ssh gives no reason"
        if "Permission denied" in last:
            copy = f"pommel ssh {self.label} --copy-id" if self.target else f"ssh-copy-id {self.address}"
            return NotPermitted(f"{self.label} accepts none of your keys", hint=copy)
        return StateError(f"{self.label} does not answer SSH: {last}")


def reach(workspace: Workspace, name: str | None, host: str | None = None) -> Reach:
    """The guest that a person means: machine `name`, which runs, or the SSH host `host`.

    Raises:
        UsageError: neither or both are named, or there is none of that name.
        StateError: the machine is not running.
    """
    if (name is None) == (host is None):
        raise UsageError("give a machine, or another system with --host", hint="pommel guest --help")
    if host is not None:
        address = parse_address(host)
        return Reach(str(address), ("--host", host), address=address)
    machine = str(name)
    return Reach(machine, (machine,), target=guest.ssh_target(workspace, machine))


@contextmanager
def connected(there: Reach) -> Iterator[Reach]:
    """Have calls share one connection for the time of the block: each of its own would take a second or three."""
    # Not where TMPDIR says: a socket's path must be short, and ssh binds it under a longer one first.
    with tempfile.TemporaryDirectory(prefix="pommel-", dir="/tmp") as folder:
        shared = replace(there, connection=Path(folder))
        shared.connect()
        try:
            yield shared
        finally:
            shared.disconnect()
            replace(shared, root="login").disconnect()


def as_root(there: Reach, found: str) -> Reach:
    """The same guest as root; `found` is what its own user can do ("self", "sudo", "").

    Raises:
        NotPermitted: there is no way that we could go.
    """
    if found:
        return replace(there, root=found)
    if there.target is not None:
        root = replace(there, root="login")
        root.connect()
        try:
            root.sh("true", timeout_s=20)
        except (PommelError, DeadlineError):
            pass  # it takes a password, then
        else:
            return root
    if sys.stdin.isatty() and sys.stderr.isatty():
        return replace(there, root="ask")
    raise NotPermitted(
        f"root is needed in {there.label}, and sudo there asks for a password",
        hint="run the same command on a terminal, where sudo can ask for the password",
    )
