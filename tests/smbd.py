"""A machine's file server without its machine: each connection is given to `share_end`, as QEMU does. No tests here."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

from isolation import patient
from pommel.host import samba
from pommel.machine import shares, shares_added
from pommel.machine.shares import Share
from pommel.paths import MachinePaths
from smb import Smb


def serve(paths: MachinePaths, *given: Share) -> None:
    """Have the next connection get these."""
    smbd = samba.find()
    shares_added.serve(
        paths,
        [(each, each.folder) for each in given],
        sandbox=shares.sandbox(smbd.bwrap, samba.roots()),
        smbd=[smbd.path, "-s", shares.CONF, "-l", shares.STATE],
        files={
            "/etc/passwd": shares.PASSWD,
            "/etc/group": shares.GROUP,
            "/etc/nsswitch.conf": shares.NSSWITCH,
            shares.CONF: shares.smb_conf(given, for_macs=smbd.for_macs),
        },
    )


class Served:
    """The address of a machine's file server; `started` are the processes that QEMU would have started."""

    def __init__(self, paths: MachinePaths, listener: socket.socket) -> None:
        self.paths, self.listener = paths, listener
        self.started: list[subprocess.Popen[bytes]] = []
        self.clients: list[socket.socket] = []
        self._words = [sys.executable, "-I", "-S", str(shares_added.PROGRAM), str(paths.directory / shares_added.LIVE)]
        threading.Thread(target=self._take, daemon=True).start()

    def connect(self) -> Smb:
        """A guest's connection, logged in."""
        connection = socket.create_connection(self.listener.getsockname())
        self.clients.append(connection)
        connection.settimeout(patient(30))
        return Smb(connection)

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with connection:
                    self.started.append(subprocess.Popen(self._words, stdin=connection, stdout=connection))


@contextlib.contextmanager
def served(paths: MachinePaths) -> Iterator[Served]:
    """The file server of a machine, which serves what was said by `serve` or by Pommel itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = Served(paths, listener)
        try:
            yield found
        finally:
            for client in found.clients:
                client.close()
            for process in found.started:
                process.kill()
                process.wait()
