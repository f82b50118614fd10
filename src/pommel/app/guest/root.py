"""Run programs as root in a guest: the user for the login, and the hint if that is not allowed. Band: app.

Pommel stores no password of a guest. It logs in with its key as `ssh_user`, and calls one program with `sudo -n`; a
line in sudoers can allow that without a password. In the trial machine, root accepts the same key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pommel.app.guest import shell
from pommel.app.workspace import TRIAL, Workspace
from pommel.ssh import SshTarget

# A shell function for Pommel's scripts: `as_root PROGRAM WORDS`.
AS_ROOT = 'as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }'
PATHS = 'export LC_ALL=C PATH="$PATH:/usr/sbin:/usr/bin:/sbin:/bin"'


def target(workspace: Workspace, name: str) -> SshTarget:
    """The SSH address and user for commands that need root in the running machine `name`.

    Raises:
        StateError: it does not run, or its address is unknown.
    """
    found = shell.ssh_target(workspace, name)
    return replace(found, user="root") if workspace.spec(name).upstream == TRIAL else found


def leave(workspace: Workspace, name: str, called: str, programs: Sequence[str]) -> str:
    """A hint: the sudoers line that lets the SSH user call exactly these programs as root."""
    user = workspace.ssh_user(workspace.spec(name))
    line = f"{user} ALL=(root) NOPASSWD: {', '.join(programs)}"
    return (
        f"let {user} do that alone: in the guest, sudo visudo -f /etc/sudoers.d/pommel-{called}, with the line: {line}"
    )
