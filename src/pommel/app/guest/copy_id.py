"""Add a key to a guest's authorized_keys, so that later logins need no password. Band: app.

The keys are sent over ssh's standard input. A fixed program in the guest compares and stores them as lines, so no shell
interprets them. ssh itself asks for the password, on the terminal.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from pommel import texts
from pommel.app.clip import sync as clip
from pommel.app.clip.target import find_guest
from pommel.app.guest import shell
from pommel.app.workspace import Workspace
from pommel.errors import CommandFailed, PommelError, UsageError
from pommel.process import attach, run
from pommel.ssh import multiplexed, ssh_argv

_READ_MAX = 64 << 10
_LINE = re.compile(r"((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[A-Za-z0-9@.-]+ [A-Za-z0-9+/]+={0,3})(?: ([^\x00-\x1f\x7f]*))?\Z")
# It reads two lines for each key: kind and base64, which identify it, and the whole line. If the file's last line has
# no newline, one is added first; otherwise the key would become a part of that line. The program must be one word for
# any login shell: it has no single quote, and nothing that csh or fish would expand.
_PROGRAM = (
    "umask 077; cd || exit 1; mkdir -p .ssh && touch .ssh/authorized_keys || exit 1; "
    'if [ -n "$(tail -c 1 .ssh/authorized_keys)" ]; then echo >> .ssh/authorized_keys || exit 1; fi; '
    "while IFS= read -r key && IFS= read -r line; do "
    'if grep -qF -e "$key" .ssh/authorized_keys; then echo there; '
    'else printf "%s\\n" "$line" >> .ssh/authorized_keys || exit 1; echo new; fi; done'
)
REMOTE_COMMAND = f"exec /bin/sh -c '{_PROGRAM}'"


@dataclass(frozen=True, slots=True)
class SshPublicKey:
    """A public key: its kind and base64, which identify it, and its comment."""

    key: str
    comment: str

    @property
    def line(self) -> str:
        """The key as a line of authorized_keys (sshd(8))."""
        return f"{self.key} {self.comment}".rstrip()


@dataclass(frozen=True, slots=True)
class CopiedKey:
    """The result for one key. `new`: it was added now; otherwise the guest had it already."""

    path: Path
    new: bool


def copy_id(workspace: Workspace, name: str, public: Path | None = None) -> list[CopiedKey]:
    """Add Pommel's key for machine `name` to its guest, and also the user's key `public`.

    A key is never added twice. If the guest wants a password, ssh asks for it on this terminal.

    Raises:
        UsageError: a file is not a public key.
        StateError: the machine is not running.
        PommelError: the guest refused the login, or could not store a key.
    """
    target, shared = shell.ssh_target(workspace, name), multiplexed(shell.shared_socket(workspace, name))
    # For the shared socket. A machine that an earlier Pommel started may have lost its folder: it was in the XDG
    # runtime directory, which systemd empties at logout.
    workspace.paths(name).make_runtime()
    paths = [target.key.with_name(f"{target.key.name}.pub"), *([public] if public else [])]
    keys = [read_public(path) for path in paths]
    # The first connection asks for the password, and stays open; the second shares it and asks nothing.
    if (status := attach(ssh_argv(target, ["true"], shared=shared))) != 0:
        raise PommelError(
            f"{name} allows no login as {target.user} (ssh ended with {status})",
            hint=f'check that Remote Login is on there, and that the user name is right: ssh_user = "{target.user}" '
            f"in [machine.{name}]",
        )
    told = "".join(f"{key.key}\n{key.line}\n" for key in keys).encode()
    try:
        said = run(ssh_argv(target, [REMOTE_COMMAND], batch=True, shared=shared), input=told, timeout_s=60).text
    except CommandFailed as failure:
        raise PommelError(f"{name} could not store the key: {failure.message}") from failure
    words = said.split()[-len(paths) :]  # the login shell may have written lines before
    with contextlib.suppress(PommelError):  # a clipboard sync that was refused can connect now
        clip.try_again(find_guest(workspace, name))
    return [CopiedKey(path, word == "new") for path, word in zip(paths, words, strict=True)]


def read_public(path: Path) -> SshPublicKey:
    """Read a public key of OpenSSH.

    Raises:
        UsageError: it is not a public key. For a private key, the hint names the public key's file.
    """
    data = texts.read_bytes(path, error=UsageError, hint="create one with: ssh-keygen", most=_READ_MAX, pipes=True)
    text = texts.decode(data, path, error=UsageError)
    if "PRIVATE KEY" in text:
        raise UsageError(f"{path} is a private key, which must not be copied", hint=f"give the public key: {path}.pub")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found = _LINE.match(lines[0].strip()) if len(lines) == 1 else None
    if found is None:
        raise UsageError(f"{path} is not an OpenSSH public key", hint="such as ~/.ssh/id_ed25519.pub")
    return SshPublicKey(found[1], (found[2] or "").strip())
