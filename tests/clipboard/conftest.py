"""Real displays, a real sshd, and guests behind it: the trial machine's pasteboard, and a Mac's stand-in."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from Xlib import X
from Xlib.display import Display

from free_ports import free_port
from isolation import patient
from pommel import process
from pommel.clipboard.host import Desktop, HostClipboard, host_clipboard
from pommel.clipboard.sync import Settings, Sync, SyncState
from pommel.ssh import SshTarget, ssh_argv
from waits import until, wait_until

HERE = Path(__file__).parent
TRIAL_BIN = HERE.parents[1] / "src/pommel/trial/data/guest/root/usr/local/bin"


def started(argv: list[str], **how: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True, **how)  # type: ignore[call-overload,no-any-return]


def ended(child: subprocess.Popen[bytes]) -> None:
    process.end_group(child.pid, signal.SIGKILL)
    child.wait()


@contextlib.contextmanager
def x_server() -> Iterator[str]:
    read, write = os.pipe()
    argv = ["Xvfb", "-displayfd", str(write), "-screen", "0", "320x200x24", "-nolisten", "tcp", "-noreset"]
    child = started(argv, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as told:
            yield f":{told.readline().strip()}"
    finally:
        ended(child)


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """The host's X server."""
    with x_server() as name:
        yield name


@pytest.fixture(scope="session")
def guest_display() -> Iterator[str]:
    """The X server of a guest like the trial machine."""
    with x_server() as name:
        yield name


class Clip:
    """xclip on one display."""

    def __init__(self, display: str) -> None:
        self.env = {**os.environ, "DISPLAY": display}
        self.copy(b"at the beginning")

    def copy(self, data: bytes, target: str = "UTF8_STRING") -> None:
        """Copy, and wait until the X server knows: xclip goes into the background before that."""
        desk = Display(self.env["DISPLAY"])
        clipboard = desk.intern_atom("CLIPBOARD")
        before = desk.get_selection_owner(clipboard)
        argv = ["setsid", "--wait", "xclip", "-selection", "clipboard", "-t", target]
        subprocess.run(argv, input=data, env=self.env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        patience = time.monotonic() + 1
        while desk.get_selection_owner(clipboard) in (before, X.NONE):
            # The server may give the new xclip's window the number of one that has just gone.
            if time.monotonic() > patience and self.paste(target) == data:
                break
            time.sleep(0.001)
        desk.close()

    def paste(self, target: str = "UTF8_STRING") -> bytes | None:
        argv = ["xclip", "-selection", "clipboard", "-o", "-t", target]
        done = subprocess.run(argv, env=self.env, capture_output=True, timeout=20)
        return done.stdout if done.returncode == 0 else None


@pytest.fixture
def host_clip(display: str) -> Clip:
    return Clip(display)


@pytest.fixture
def guest_clip(guest_display: str) -> Clip:
    return Clip(guest_display)


@pytest.fixture
async def x11(host_clip: Clip, display: str) -> AsyncIterator[HostClipboard]:
    async with host_clipboard(Desktop("x11", display), limit=32 << 20) as clipboard:
        yield clipboard


class Sshd:
    """A real sshd on loopback whose sessions find what a guest has."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root = root
        for key in ("id", "host"):
            process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", root / key])
        (root / "authorized").write_text((root / "id.pub").read_text())
        self.port = free_port()
        public = " ".join((root / "host.pub").read_text().split()[:2])
        (root / "known").write_text(f"box {public}\n")
        # A home without a .bashrc, which would put this host's PATH back.
        given = " ".join(f'"{name}={value}"' for name, value in {"HOME": str(root), **environment}.items())
        (root / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {root}/host\nAuthorizedKeysFile {root}/authorized\n"
            f"StrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\nSetEnv {given}\n"
            "Subsystem sftp internal-sftp\n"
        )
        user = process.run(["id", "-un"]).text.strip()
        self.target = SshTarget("box", self.port, user, root / "id", root / "known")
        self.ssh = ssh_argv(self.target, batch=True, connect_timeout_s=2)
        self.daemon: subprocess.Popen[bytes] | None = None
        self.start()

    def serve_files_by(self, argv: Sequence[str | Path]) -> None:
        """Have another SFTP server from now on."""
        config = self.root / "config"
        config.write_text(config.read_text().replace("internal-sftp", " ".join(map(str, argv))))
        self.stop()
        self.start()

    def start(self) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        with (self.root / "log").open("ab") as log:
            self.daemon = started([process.which("sshd"), "-D", "-e", "-f", str(self.root / "config")], stderr=log)
        deadline = time.monotonic() + patient(20)
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill it with every session's sshd."""
        assert self.daemon is not None
        for pid in descendants(self.daemon.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ended(self.daemon)
        self.daemon = None
        # A child that it forked meanwhile has its listening socket until it ends too.
        wait_until(self._is_gone, 20, 0.01)

    def _is_gone(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == errno.ECONNREFUSED

    def close(self) -> None:
        if self.daemon is not None:
            self.stop()


def descendants(pid: int) -> list[int]:
    """The processes that `pid` started, and theirs, by what /proc says."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for at in found:
        found.extend(child for child, parent in parents.items() if parent == at)
    return found[1:]


def programs(folder: Path, *names: str) -> str:
    """A PATH with what a guest's programs need, and without what this host has besides."""
    folder.mkdir()
    for name in (
        "awk",
        "base64",
        "cat",
        "head",
        "id",
        "locale",
        "od",
        "setsid",
        "sh",
        "sleep",
        "stat",
        "tr",
        "uname",
        *names,
    ):
        (folder / name).symlink_to(process.which(name))
    return str(folder)


@pytest.fixture
def posix_guest(tmp_path: Path, guest_display: str, guest_clip: Clip) -> Iterator[Sshd]:
    """The trial machine's pasteboard on its X11 clipboard."""
    path = programs(tmp_path / "bin", "xclip", "mktemp", "timeout", "grep", "rm")
    for name in ("pbcopy", "pbpaste"):
        shutil.copy(TRIAL_BIN / name, path)
        Path(path, name).chmod(0o755)
    Path(path, "python3").symlink_to(Path(sys.executable).resolve())
    (tmp_path / "ssh").mkdir()
    guest = Sshd(tmp_path / "ssh", {"PATH": path, "DISPLAY": guest_display})
    yield guest
    guest.close()


class Mac:
    """What another program on the stand-in of a Mac sees of its pasteboard."""

    def __init__(self, sshd: Sshd, path: Path) -> None:
        self.sshd, self._path = sshd, path

    def _ask(self, said: object) -> list[dict[str, bytes]]:
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(self._path))
            link.sendall(json.dumps(said).encode() + b"\n")
            with link.makefile("rb") as told:
                items = json.loads(told.readline())
        return [{kind: base64.b64decode(data) for kind, data in item.items()} for item in items]

    def copy(self, *items: dict[str, bytes]) -> None:
        self._ask([{kind: base64.b64encode(data).decode() for kind, data in item.items()} for item in items])

    def items(self) -> list[dict[str, bytes]]:
        return self._ask(None)


@pytest.fixture
def mac(tmp_path: Path) -> Iterator[Mac]:
    path = programs(tmp_path / "bin", "node")
    script = Path(path, "osascript")
    script.write_text(f'#!/bin/sh\nexec node "{HERE}/mac.js" "$@"\n')
    script.chmod(0o755)
    (tmp_path / "ssh").mkdir()
    guest = Sshd(tmp_path / "ssh", {"PATH": path, "MAC_PASTEBOARD": str(tmp_path / "pasteboard")})
    yield Mac(guest, tmp_path / "pasteboard")
    guest.close()


@contextlib.asynccontextmanager
async def syncing(ssh: list[str], host: HostClipboard, given: Settings) -> AsyncIterator[Sync]:
    """A sync that stands, ended with the block."""
    sync = Sync(ssh, host, given)
    running = asyncio.ensure_future(sync.run())
    try:
        await until(lambda: sync.snapshot.state is SyncState.SYNCING or running.done())
        yield sync
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
