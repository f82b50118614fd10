"""Letting a key into a guest, so that nobody is asked for a password from then on. Band: app.

The keys go over ssh's standard input, and a fixed program there compares and keeps them as lines: no shell ever reads
them. A password is asked for by ssh itself, on its own terminal.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from pommel import texts
from pommel.app import clip, guest
from pommel.app.clip_target import find_guest
from pommel.app.workspace import Workspace
from pommel.errors import CommandFailed, PommelError, UsageError
from pommel.process import attach, run
from pommel.ssh import multiplexed, ssh_argv

_READ_MAX = 64 << 10
_LINE = re.compile(r"((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[A-Za-z0-9@.-]+ [A-Za-z0-9+/]+={0,3})(?: ([^\x00-\x1f\x7f]*))?\Z")
# For each key two lines: what tells it from others, and the whole line. A file whose last line has no end gets one, or
# the key would become a part of that line. One word to any login shell: no quote in it, and nothing that csh or fish
# would take for theirs.
_PROGRAM = (
    "umask 077; cd || exit 1; mkdir -p .ssh && touch .ssh/authorized_keys || exit 1; "
    'if [ -n "$(tail -c 1 .ssh/authorized_keys)" ]; then echo >> .ssh/authorized_keys || exit 1; fi; '
    "while IFS= read -r key && IFS= read -r line; do "
    'if grep -qF -e "$key" .ssh/authorized_keys; then echo there; '
    'else printf "%s\\n" "$line" >> .ssh/authorized_keys || exit 1; echo new; fi; done'
)
REMOTE_COMMAND = f"exec /bin/sh -c '{_PROGRAM}'"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: its kind and base64, which tell it from others, and its comment."""

    key: str
    comment: str

    @property
    def line(self) -> str:
        """As it stands in authorized_keys (sshd(8))."""
        return f"{self.key} {self.comment}".rstrip()


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of one key: `new` ones were let in now, the others before."""

    path: Path
    new: bool


def copy_id(workspace: Workspace, name: str, public: Path | None = None) -> list[Copied]:
    """Have the guest of machine `name` let in Pommel's own key for it, and `public`, a key of the user's.

    Safe to be called again. Where the guest wants a password, ssh asks for it on this terminal.

    Raises:
        UsageError: a file is no public key.
        StateError: the machine is not running.
        PommelError: the guest did not let us in, or could not keep a key.
    """
    target, shared = guest.ssh_target(workspace, name), multiplexed(guest.shared_socket(workspace, name))
    workspace.paths(
        name
    ).make_runtime()  # that of a machine which an earlier Pommel started goes when its user logs out
    paths = [target.key.with_name(f"{target.key.name}.pub"), *([public] if public else [])]
    keys = [read_public(path) for path in paths]
    # The first connection asks what there is to ask, and stays for the second to ride on.
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
    words = said.split()[-len(paths) :]  # a login shell may have talked before
    with contextlib.suppress(PommelError):  # a clipboard that was waiting for this
        clip.try_again(find_guest(workspace, name))
    return [Copied(path, word == "new") for path, word in zip(paths, words, strict=True)]


def read_public(path: Path) -> PublicKey:
    """Read a public key of OpenSSH.

    Raises:
        UsageError: it is none; a private key's file is refused with the name of the public one.
    """
    data = texts.read_bytes(path, error=UsageError, hint="create one with: ssh-keygen", most=_READ_MAX, pipes=True)
    text = texts.decode(data, path, error=UsageError)
    if "PRIVATE KEY" in text:
        raise UsageError(f"{path} is a private key, which must not be copied", hint=f"give the public key: {path}.pub")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found = _LINE.match(lines[0].strip()) if len(lines) == 1 else None
    if found is None:
        raise UsageError(f"{path} is not an OpenSSH public key", hint="such as ~/.ssh/id_ed25519.pub")
    return PublicKey(found[1], (found[2] or "").strip())
