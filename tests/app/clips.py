"""A guest of the clipboard for the tests of `app`: a machine that is but a record and a lock, and a real sshd as its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from clipboard.conftest import Sshd
from pommel.app.argv.commandline import new_record
from pommel.app.workspace import Workspace
from pommel.machine.identity import RANDOM_BYTES
from pommel.machine.record import save
from pommel.paths import Home

_HOLD = """
import sys
from pathlib import Path
from pommel.locks import hold
with hold(Path(sys.argv[1]), busy=""):
    print(flush=True)
    sys.stdin.read()
"""


def machine_behind(sshd: Sshd, root: Path, display: str | None) -> Workspace:
    """A workspace whose machine `trial` answers SSH where `sshd` does."""
    env = {**os.environ, "POMMEL_SSH_USER": sshd.target.user, "PATH": os.environ["PATH"]}
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_AUTH_SOCK"):
        env.pop(name, None)
    env |= {"DISPLAY": display} if display else {}
    workspace = Workspace(Home(root / "h", root / "r", root / "c"), root, env)
    paths = workspace.paths("trial")
    paths.ssh_key.parent.mkdir(parents=True, mode=0o700)
    for mine, theirs in ((paths.ssh_key, "id"), (paths.ssh_key.with_suffix(".pub"), "id.pub")):
        shutil.copy(sshd.root / theirs, mine)
    paths.known_hosts.write_text((sshd.root / "known").read_text().replace("box ", "trial "))
    made = new_record(workspace.spec("trial"), bytes(RANDOM_BYTES), created="2026-01-01T00:00:00+00:00")
    save(paths.record, replace(made, ssh_port=sshd.port))
    return workspace


@contextmanager
def alive(workspace: Workspace) -> Iterator[None]:
    """Have the machine's QEMU alive, by the only thing that tells: somebody holds its lock."""
    argv = [sys.executable, "-c", _HOLD, str(workspace.paths("trial").pidfile)]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdin is not None
    child.stdout.readline()
    try:
        yield
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        child.stdin.close()
