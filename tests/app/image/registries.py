"""Debian's docker-registry on this host's loopback, and a line to it that breaks. No tests here."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from free_ports import free_port
from isolation import patient
from waits import wait_until

# user:secret, by crypt(5)'s bcrypt with 2^5 rounds: all that the registry takes
LOGIN = "user:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"


@dataclass(frozen=True)
class Served:
    """A registry that runs: its port, and the folder in which it keeps what it was sent."""

    port: int
    storage: Path
    log: Path

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def blob(self, digest: str) -> Path:
        name = digest.removeprefix("sha256:")
        return self.storage / "docker/registry/v2/blobs/sha256" / name[:2] / name / "data"

    def requests(self) -> list[str]:
        """The requests for blobs that it logged: METHOD PATH."""
        return [line for line in self.log.read_text().splitlines() if "/blobs/" in line]


@contextlib.contextmanager
def registry(folder: Path, *, login: bool = False, cert: tuple[Path, Path] | None = None) -> Iterator[Served]:
    """Run docker-registry; with `login` it wants user:secret, with `cert` (certificate, key) it speaks TLS."""
    folder.mkdir(exist_ok=True)
    made = Served(free_port(), folder / "storage", folder / "log")
    tls = f"\n  tls: {{certificate: {cert[0]}, key: {cert[1]}}}" if cert else ""
    auth = f"auth: {{htpasswd: {{realm: here, path: {folder / 'htpasswd'}}}}}\n" if login else ""
    (folder / "htpasswd").write_text(LOGIN)
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {made.storage}}}}}\n"
        f"{auth}http:\n  addr: {made.host}{tls}\n"
    )
    with made.log.open("wb") as log:
        child = subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        wait_until(lambda: _listens(made.port), 30)
        yield made
    finally:
        child.kill()
        child.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Line:
    """A line to a port that breaks each connection after so many bytes from the other end; None: it holds.

    With `stalls` a connection stays open then and nothing more comes.
    """

    to: int
    breaks_after: int | None = None
    stalls: bool = False
    carried: int = 0
    broken: int = 0
    port: int = 0
    _open: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[Line]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]
            self._start(self._accept, server)
            try:
                yield self
            finally:
                server.shutdown(socket.SHUT_RDWR)
                for thread in self._threads:
                    self._shut()  # those that were opened meanwhile too
                    thread.join()
                for each in self._open:
                    each.close()

    def _shut(self) -> None:
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = server.accept()
                far = socket.create_connection(("127.0.0.1", self.to), timeout=patient(30))
                self._open += [near, far]
                self._start(self._carry, near, far, False)
                self._start(self._carry, far, near, True)

    def _start(self, work: Callable[..., None], *words: object) -> None:
        thread = threading.Thread(target=work, args=words, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _carry(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        count = 0
        with contextlib.suppress(OSError):
            while data := source.recv(64 << 10):
                count += len(data)
                if counts and self.breaks_after is not None and count > self.breaks_after:
                    self.broken += 1
                    if self.stalls:
                        return
                    break
                target.sendall(data)
                self.carried += len(data) if counts else 0
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
