"""What takes root in a guest: who to come in as, and what to say where that is not allowed. Band: app.

Pommel keeps no password of a guest. It comes in by its key as `ssh_user`, and calls one program by `sudo -n`, which a
line of sudoers may allow without a password. In the trial machine root has the same key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pommel.app import guest
from pommel.app.workspace import TRIAL, Workspace
from pommel.ssh import SshTarget

# For scripts of ours: `as_root PROGRAM WORDS`.
AS_ROOT = 'as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }'
PATHS = 'export LC_ALL=C PATH="$PATH:/usr/sbin:/usr/bin:/sbin:/bin"'


def target(workspace: Workspace, name: str) -> SshTarget:
    """Where, and as whom, the running machine `name` may let us do what takes root.

    Raises:
        StateError: it does not run, or nobody knows its address.
    """
    found = guest.ssh_target(workspace, name)
    return replace(found, user="root") if workspace.spec(name).upstream == TRIAL else found


def leave(workspace: Workspace, name: str, called: str, programs: Sequence[str]) -> str:
    """What lets this user call these programs of the guest's as root, and no others, as a hint."""
    user = workspace.ssh_user(workspace.spec(name))
    line = f"{user} ALL=(root) NOPASSWD: {', '.join(programs)}"
    return (
        f"let {user} do that alone: in the guest, sudo visudo -f /etc/sudoers.d/pommel-{called}, with the line: {line}"
    )
