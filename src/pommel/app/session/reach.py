"""A shell over SSH in a machine's guest or any SSH host, for installations there. Band: app.

It asks the user nothing, except sudo's password if there is a terminal.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pommel.app.guest import shell as guest
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

_NO_CONNECTION = 255  # ssh(1): the exit status of ssh's own errors
_ALONE = {"ControlPath": "none"}
_CONNECT_S = 30.0
_IDLE_S = 60  # if this process is killed, the shared connection ends after this time


@dataclass(frozen=True, slots=True)
class Reach:
    """How a guest is reached: `words` are its arguments on a command line, `label` is its name for people.

    With `root`, the shell runs as root: "sudo" with sudo, "login" by a login as root, "self" because the user is root,
    "ask" with a sudo that asks on the terminal. `connection` is a folder for the sockets of shared connections.
    """

    label: str
    words: tuple[str, ...]
    target: SshTarget | None = None
    address: SshAddress | None = None
    root: str = ""
    connection: Path | None = None

    def argv(self, command: Sequence[str], *, options: Mapping[str, str] | None = None) -> list[str]:
        """The ssh command that runs `command`; ssh joins its words with spaces."""
        pairs = {**(_ALONE if self._socket is None else riding(self._socket)), **(options or {})}
        if self.target is not None:
            target = replace(self.target, user="root") if self.root == "login" else self.target
            return ssh_argv(target, command, batch=True, shared=pairs)
        return address_argv(self.address or SshAddress(""), command, shared=pairs)

    @property
    def _socket(self) -> Path | None:
        return self.connection / ("root" if self.root == "login" else "user") if self.connection else None

    def connect(self) -> None:
        """Open the connection that later calls share.

        If that fails, each call connects by itself and reports its error.
        """
        if self._socket is None:
            return
        options = {**multiplexed(self._socket, persist_s=_IDLE_S), "ControlMaster": "yes"}
        words = self.argv([], options=options)
        # With -f, ssh continues in the background. It must not inherit our pipes: `run` would wait until they close.
        background = ["sh", "-c", 'exec "$@" >/dev/null 2>&1', "sh", words[0], "-f", "-N", *words[1:]]
        run(background, timeout_s=_CONNECT_S, check=False)

    def disconnect(self) -> None:
        """End the shared connection."""
        if self._socket is not None and self._socket.exists():
            run(end_shared_argv("there", self._socket), timeout_s=_CONNECT_S, check=False)

    def sh(self, script: str, *, timeout_s: float = 60.0) -> str:
        """Run a script with sh; return its output.

        Raises:
            StateError: the guest does not answer.
            NotPermitted: it refuses the login.
            CommandFailed: the script failed; the message has its output.
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
        """Run a script file in the guest as root, with a sudo that may ask for a password.

        Raises:
            CommandFailed: it failed; its output is on the terminal.
        """
        words = self.argv(["sudo", "sh", path], options={"RequestTTY": "force", "BatchMode": "no"})
        if (status := attach(words)) != 0:
            raise CommandFailed([self.label], status, "see above")

    def send(self, data: bytes, path: str) -> None:
        """Append bytes to a file in the guest.

        Raises:
            StateError: the guest does not answer.
            CommandFailed: it cannot write them, for example because its disk is full.
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
    """The guest for a command: the running machine `name`, or the SSH host `host`.

    Raises:
        UsageError: none or both are given, or there is no machine of that name.
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
    """During the block, all calls share one connection, because each new one would take one to three seconds."""
    # /tmp and not TMPDIR: a socket's path must fit 107 bytes, and ssh first binds a longer, temporary name.
    with tempfile.TemporaryDirectory(prefix="pommel-", dir="/tmp") as folder:
        shared = replace(there, connection=Path(folder))
        shared.connect()
        try:
            yield shared
        finally:
            shared.disconnect()
            replace(shared, root="login").disconnect()


def as_root(there: Reach, found: str) -> Reach:
    """The same guest as root. `found` is the way that its user has already ("self", "sudo", or "" for none).

    Raises:
        NotPermitted: there is no way to become root.
    """
    if found:
        return replace(there, root=found)
    if there.target is not None:
        root = replace(there, root="login")
        root.connect()
        try:
            root.sh("true", timeout_s=20)
        except (PommelError, DeadlineError):
            pass  # root does not accept the key, so sudo must ask for a password
        else:
            return root
    if sys.stdin.isatty() and sys.stderr.isatty():
        return replace(there, root="ask")
    raise NotPermitted(
        f"root is needed in {there.label}, and sudo there asks for a password",
        hint="run the same command on a terminal, where sudo can ask for the password",
    )
