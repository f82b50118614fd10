"""passt for a machine with `network = "passt"`: user-mode networking by a program of its own (passt(1)). Band: app.

It is started before QEMU, listens on a socket beside the machine's others, forwards the SSH port, and ends when QEMU
closes its end. QEMU talks to it as to any stream (`-netdev stream`, QEMU 7.2 and newer).
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from pommel.errors import CommandFailed, DeadlineError, MachineError
from pommel.machine.forwards import Forward
from pommel.paths import MachinePaths
from pommel.process import run, which

NAME = "passt.sock"
HINT = "install your distribution's package passt"
_START_S = 10.0


def place(paths: MachinePaths) -> Path:
    """The socket of machine `paths.name`'s passt."""
    return paths.runtime / NAME


@contextlib.contextmanager
def beside(paths: MachinePaths, ssh_port: int, forwards: Sequence[Forward] = (), *, wanted: bool) -> Iterator[None]:
    """Have passt run before the block starts QEMU, if it is `wanted`; nobody else ends one that no QEMU has met.

    Raises:
        MissingProgram, MachineError: as `begin`.
    """
    if wanted:
        begin(paths, ssh_port, forwards)
    try:
        yield
    except BaseException:
        if wanted:
            end(paths)
        raise


def begin(paths: MachinePaths, ssh_port: int, forwards: Sequence[Forward] = ()) -> None:
    """Start passt in the background; it is ready when this returns, and forwards SSH and `forwards` until it ends.

    Raises:
        MissingProgram: it is not installed.
        MachineError: it does not start; the message is its own.
    """
    program = which("passt", hint=HINT)
    paths.make_runtime()
    end(paths)
    # As root it would become `nobody`, who may not write into the machine's folder.
    as_whom = ("--runas", "0") if os.geteuid() == 0 else ()
    ways = [("-t", f"127.0.0.1/{ssh_port}:22")]
    ways += [(f"-{each.protocol[0]}", f"{each.host}/{each.port}:{each.guest_port}") for each in forwards]
    words = [
        program,
        "--one-off",
        "--quiet",
        *as_whom,
        "--socket",
        place(paths),
        *(word for way in ways for word in way),
    ]
    try:
        run(words, timeout_s=_START_S)
    except (CommandFailed, DeadlineError) as failure:
        raise MachineError(f"passt does not start: {failure}", hint='set network = "user"') from failure


def end(paths: MachinePaths) -> None:
    """End a passt that no QEMU has met: it serves one client, and ends with that."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(place(paths)))
    place(paths).unlink(missing_ok=True)
