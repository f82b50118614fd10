"""Upstreams for tests: real repositories, a real git server, and a line to it that can be cut."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from free_ports import free_port
from pommel.overlay.pins import Pin

LAYOUTS = Path(__file__).parent / "upstreams"
OLD, NEW = LAYOUTS / "code_2m", LAYOUTS / "code_4m"
SCRIPT = "OpenCore-Boot.sh"


def bytes_of(seed: str, size: int = 4096) -> bytes:
    """Bytes that do not compress, the same each time."""
    return random.Random(seed).randbytes(size)


def sh(folder: Path, *words: str | Path) -> str:
    env = {
        **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    words = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false", *words)
    return subprocess.run(
        ["git", "-C", folder, *words], check=True, capture_output=True, text=True, env=env
    ).stdout.strip()


class Upstream:
    """A bare repository, and the working tree that it is pushed from."""

    def __init__(self, folder: Path) -> None:
        self.bare, self.work = folder / "upstream.git", folder / "work"
        folder.mkdir(parents=True, exist_ok=True)
        sh(folder, "init", "--quiet", "--bare", "--initial-branch=master", self.bare)
        sh(folder, "init", "--quiet", "--initial-branch=master", self.work)
        sh(self.work, "remote", "add", "origin", self.bare)
        self.allow("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant")
        self.url = self.bare.as_uri()

    def allow(self, *keys: str, value: str = "true") -> None:
        for key in keys:
            sh(self.bare, "config", key, value)

    def commit(self, files: Mapping[str, str | bytes | Path | None], *, force: bool = False) -> str:
        """Commit files (None removes one), push, and return the id; `force` amends the last commit."""
        for name, data in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if data is None:
                path.unlink()
            elif isinstance(data, Path):
                shutil.copy(data, path)
            else:
                path.write_bytes(data.encode() if isinstance(data, str) else data)
        sh(self.work, "add", "--all", "--force")
        sh(self.work, "commit", "--quiet", "--allow-empty", "-m", "x", *(["--amend"] if force else []))
        sh(self.work, "push", "--quiet", *(["--force"] if force else []), "origin", "master")
        return sh(self.work, "rev-parse", "HEAD")

    def old_layout(self) -> str:
        return self.commit({SCRIPT: OLD / SCRIPT, "OVMF_CODE.fd": bytes_of("2m"), "OVMF_VARS-1920x1080.fd": b"vars"})

    def new_layout(self, *, force: bool = False) -> str:
        files = {SCRIPT: NEW / SCRIPT, "OVMF_CODE.fd": None, "OVMF_CODE_4M.fd": bytes_of("4m")}
        return self.commit(files, force=force)

    def pin(self, commit: str, **files: bytes) -> Pin:
        return Pin(self.url, commit, {name: hashlib.sha256(data).hexdigest() for name, data in files.items()})


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[int]:
    """A git:// server of the repositories in `folder`; yields its port."""
    port = free_port()
    words = ["git", "daemon", f"--base-path={folder}", "--export-all", "--listen=127.0.0.1", f"--port={port}"]
    server = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)
        yield port
    finally:
        os.killpg(server.pid, 15)
        server.wait()


class Line:
    """A line to a server that ends, or goes quiet, after so many bytes from it in one connection."""

    def __init__(self, server_port: int, *, limit: int, hang: bool = False) -> None:
        self._server_port, self._limit, self._hang = server_port, limit, hang
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.reached, self._closing = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            there = threading.Thread(target=self._copy, args=(client, server, None))
            back = threading.Thread(target=self._copy, args=(server, client, self._limit))
            self._threads += [there, back]
            there.start()
            back.start()

    def _copy(self, source: socket.socket, target: socket.socket, limit: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                passed += len(data)
                if limit is not None and passed > limit:
                    self.reached.set()
                    if self._hang:
                        self._closing.wait()
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        # Each of the two threads closes the socket that it reads from.
        source.close()
