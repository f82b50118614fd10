"""`pommel ci …` and `pommel run …` whose guests are QEMUs with next to nothing in them, beside a real sshd.

`python small_guest.py KILL ROOT WORDS…`: the command itself, and all of Pommel in it but the start of a guest. ROOT/guest has
what a guest's user finds in its home. KILL is where the command kills itself with SIGKILL, MODULE:NAME before a call of
what has that name there, or :MODULE:NAME after it; - is nowhere.

`python small_guest.py --guest PID PORT HOME KEYS`: the guest's sshd, for as long as the QEMU with that pid lives.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from clipboard.conftest import descendants
from free_ports import free_port
from machine.bare import argv
from pommel import process, trees
from pommel.app.throwaway import starting
from pommel.app.workspace import Workspace
from pommel.machine import lifecycle, record
from pommel.machine.lifecycle import Ends
from pommel.paths import MachinePaths
from pommel.progress import Report
from waits import wait_until

ROOT = Path(sys.argv[2]) if len(sys.argv) > 2 else Path()


def start(
    workspace: Workspace,
    paths: MachinePaths,
    base: MachinePaths,
    flags: Mapping[str, Any] | None = None,
    *,
    ends: Ends,
    report: Report,
) -> bool:
    """As `starting.start`: where the machine's SSH should answer, its guest's sshd does."""
    pid = lifecycle.start(paths, argv(paths), ends=ends).pid
    port = free_port()  # its own may be another's by now, which a real start would see
    record.save(paths.record, replace(record.load(paths.record), ssh_port=port))
    home = ROOT / "homes" / paths.name
    shutil.copytree(ROOT / "guest", home)
    words = [sys.executable, __file__, "--guest", str(pid), str(port), str(home), str(ROOT / "keys")]
    process.spawn_detached(words, home / "log").release()
    wait_until(partial(_answers, port), 60, 0.02, what="the guest's sshd")
    return False


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return False


def guest(pid: int, port: int, home: Path, keys: Path) -> None:
    """Have sshd answer at the port until the QEMU has ended, and all that it has begun too."""
    qemu = os.pidfd_open(pid)
    config = home / "sshd"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {keys}/host\nAuthorizedKeysFile {keys}/id.pub\n"
        f"StrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\nSetEnv HOME={home} PATH={home}/bin:/usr/bin:/bin\n"
        f'ForceCommand cd {home} && eval "$SSH_ORIGINAL_COMMAND"\n'  # sshd goes to the home of passwd(5)
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    daemon = subprocess.Popen([process.which("sshd"), "-D", "-e", "-f", str(config)])
    select.select([qemu], [], [])
    daemon.send_signal(signal.SIGSTOP)  # it forks nobody meanwhile
    for each in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    daemon.wait()
    trees.remove_tree(home)  # what was killed may take a moment


def kill_at(where: str) -> None:
    """Have this process killed before, or after, the first call of something."""
    after = where.startswith(":")
    name, _, attribute = where.strip(":").partition(":")
    module = importlib.import_module(name)
    owner, _, leaf = attribute.rpartition(".")
    holder = getattr(module, owner) if owner else module
    real: Callable[..., Any] = getattr(holder, leaf)

    def killed(*args: Any, **kw: Any) -> None:
        if after:
            real(*args, **kw)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(holder, leaf, killed)


def main() -> None:
    if sys.argv[1] == "--guest":
        guest(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5]))
        return
    starting.start = start
    where, words = sys.argv[1], sys.argv[3:]
    if where != "-":
        kill_at(where)
    sys.argv[1:] = words
    from pommel.cli import main as pommel

    pommel()


if __name__ == "__main__":
    main()
