"""passt for a machine with `network = "passt"`: user-mode networking in a program of its own (passt(1)). Band: app.

It starts before QEMU, listens on a socket beside the machine's others, forwards the SSH port, and ends when QEMU closes
the connection. QEMU connects with `-netdev stream` (QEMU 7.2 and newer).
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
    """If `wanted`, start passt before the block starts QEMU. If the block fails, end it: no QEMU will do that.

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
    """Start passt in the background; when this returns, it forwards SSH and `forwards`.

    Raises:
        MissingProgram: it is not installed.
        MachineError: it does not start; the message has its output.
    """
    program = which("passt", hint=HINT)
    paths.make_runtime()
    end(paths)
    # Started by root, passt would switch to the user `nobody`, who cannot write into the machine's folder.
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
    """End a passt without a QEMU. With --one-off it ends after its first client, so a short connection is enough."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(place(paths)))
    place(paths).unlink(missing_ok=True)
