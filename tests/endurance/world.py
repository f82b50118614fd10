"""A home with small machines, the real `pommel` command in it, and what kills it. No tests here.

The guest is a boot sector. It counts in its memory, and writes each count to both disks: at every moment the second
disk is at most one behind the first. Before each count it reads what the first disk holds; where that is not what its
memory says, memory and disk are of two moments, and it writes a mark and stands still. It flushes each write (ATA's
FLUSH CACHE), as systems do, so that what a kill -9 of QEMU leaves is what the guest was told is written. One drive
writes through, which QEMU takes back when it loads memory: then the flush alone counts.

What lies in the rest of the disks, and in the NVRAM, is a moment: one byte, written everywhere by `stamp` while the
machine is stopped. Two bytes that differ are a mix of two moments.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel import locks
from pommel.app.workspace import Workspace
from pommel.paths import Home, MachinePaths
from pommel.process import run as run_program

MIB = 1 << 20
DISK_BYTES = 8 * MIB
POOL = ("a", "b", "c", "d", "e", "f")  # names of machines; pommel.toml knows them all
# cli; stack; read the count from sector 2 of drive 80h; then for ever: read it again and compare it with that in
# memory (if they differ: write the boot sector to sector 3, as a mark, and halt), count, write to drives 80h and 81h and
# flush each (command E7h to ports 1F6h and 1F7h, until it is no longer busy), wait a little.
GUEST = bytes.fromhex(
    "fa31c08ed88ec08ed0bc007cfc bb007e b80102 b90200 ba8000 cd13"
    "bb0080 b80102 b90200 ba8000 cd13 66a1007e 663b060080 753d 66ff06007e"
    "ba8000 bb007e b80103 b90200 cd13 52 88d0 2401 c0e004 0ce0 baf601 ee b0e7 42 ee ec a880 75fb 5a"
    "42 81fa8200 75d6 66b9002d3101 67e2fd ebaa"
    "bb007c b80103 b90300 ba8000 cd13 f4 ebfd"
)
SCRIPT = """#!/bin/sh
qemu-system-x86_64 -accel tcg -machine pc -m 16 -nodefaults -vga std \\
 -drive id=MacHDD,if=ide,index=0,format=qcow2,cache=writethrough,file=./disk.qcow2 \\
 -drive id=data,if=ide,index=1,format=qcow2,file=./data.qcow2
"""
SETTINGS = 'upstream = "../own"\nmemory = "16M"\nnetwork = "none"\naccel = "tcg"\n'
MOMENT_AT = tuple(range(MIB, DISK_BYTES, MIB))  # where a moment is written, 64 KiB each
MOMENT_BYTES = 64 << 10
NVRAM_BYTES = 4096
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.chmod", "os.truncate", "os.link"}
_COMMAND_S = 120.0
_IMPORTED = False


@dataclass(frozen=True, slots=True)
class Kill:
    """What to kill: `command`, `family` (with all its children), `child`, `qemu`, `console`; and when.

    `step`: at the so-manieth change of a file by the command itself; else after `delay_s`.
    """

    what: str
    step: int = 0
    delay_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.what} at step {self.step}" if self.step else f"{self.what} after {self.delay_s * 1000:.0f} ms"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended. `killed`: something was met by the kill. `steps`: how many changes of files it came to."""

    status: int
    said: str
    killed: bool
    steps: int
    took_s: float


class World:
    """The home, its machines, and every process in it."""

    def __init__(self) -> None:
        _import_commands()
        self.root = Path(tempfile.mkdtemp(prefix="pm-"))
        self.cwd, self.outside = self.root / "cwd", self.root / "out"
        self.drive = self.root / "drive"  # where disks are moved to
        for folder in (self.cwd, self.outside, self.drive, self.root / "own", self.root / "user"):
            folder.mkdir()
        (self.root / "run").mkdir(mode=0o700)
        (self.cwd / "pommel.toml").write_text("".join(f"[machine.{name}]\n{SETTINGS}" for name in POOL))
        kept = {key: value for key, value in os.environ.items() if not key.startswith("POMMEL_")}
        self.env = kept | {
            "POMMEL_HOME": str(self.root / "h"),
            "HOME": str(self.root / "user"),
            "XDG_RUNTIME_DIR": str(self.root / "run"),
            **{f"XDG_{what}_HOME": str(self.root / what) for what in ("CACHE", "CONFIG", "DATA")},
        }
        for gone in ("DISPLAY", "WAYLAND_DISPLAY"):
            self.env.pop(gone, None)
        self.home = Home.find(self.env)
        self.workspace = Workspace(self.home, self.cwd, self.env)
        self.judged: dict[tuple[object, ...], int] = {}  # machines whose files have been judged as they are
        self._steps = mmap.mmap(-1, 8)
        self._disk = self.root / "template.qcow2"
        make_disk(self._disk)
        self.source(self.root / "own")

    def source(self, folder: Path) -> Path:
        """Another tool's folder with a machine in it: its script and two disks."""
        folder.mkdir(exist_ok=True)
        for name in ("disk.qcow2", "data.qcow2"):
            shutil.copyfile(self._disk, folder / name)
        (folder / "OpenCore-Boot.sh").write_text(SCRIPT)
        (folder / "OpenCore-Boot.sh").chmod(0o755)
        return folder

    def machine(self, name: str) -> MachinePaths:
        """The paths of a machine."""
        return self.home.machine(name)

    def run(self, words: Sequence[str], kill: Kill | None = None, name: str = "") -> Ran:
        """Run `pommel WORDS` in a process of its own; `name` is the machine whose QEMU or console is to be killed."""
        began = time.monotonic()
        log = self.root / "said"
        self._steps[:] = bytes(8)
        pid = os.fork()
        if pid == 0:
            self._be_pommel(words, kill.step if kill and kill.what == "command" else 0, log)
        killed = self._kill(kill, pid, name) if kill is not None and not kill.step else False
        status = _wait(pid)
        if kill is not None and kill.step:
            killed = status == -signal.SIGKILL
            if killed and kill.what == "family":
                self._kill_children()
        said = log.read_text(errors="replace") if log.exists() else ""
        return Ran(status, said, killed, struct.unpack("<Q", self._steps)[0], time.monotonic() - began)

    def qemu(self, name: str) -> int | None:
        """The pid of a machine's QEMU, by its lock."""
        return locks.holder(self.machine(name).pidfile)

    def console(self, name: str) -> int | None:
        """The pid of a machine's console, by its lock."""
        return locks.holder(self.machine(name).console_lock)

    def strangers(self) -> list[str]:
        """The processes of this home that are neither a machine's QEMU nor its console, as text."""
        known = {os.getpid()}
        for name in POOL:
            known |= {pid for pid in (self.qemu(name), self.console(name)) if pid}
        return [f"{pid}: {line}" for pid, line in self.processes() if pid not in known]

    def processes(self) -> list[tuple[int, str]]:
        """Every process whose command line or environment speaks of this home, but for us."""
        found = []
        for proc in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (proc / "cmdline").read_bytes()
                told = line + b"\0" + (proc / "environ").read_bytes()
                state = (proc / "stat").read_text().rpartition(")")[2].split()[0]
                if str(self.root).encode() in told and state not in "ZX" and int(proc.name) != os.getpid():
                    found.append((int(proc.name), line.replace(b"\0", b" ").decode(errors="replace")))
        return found

    def close(self) -> None:
        """End all that runs here, and remove it."""
        deadline = time.monotonic() + 10
        while (left := self.processes()) and time.monotonic() < deadline:
            for pid, _ in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        shutil.rmtree(self.root, ignore_errors=True)

    def leave(self, folder: Path) -> Path:
        """Copy what is there into `folder`, for who looks for the cause of a loss."""
        shutil.copytree(self.root, folder, symlinks=True, dirs_exist_ok=True, ignore=_no_sockets)
        return folder

    def _be_pommel(self, words: Sequence[str], kill_at: int, log: Path) -> None:
        """Become the command, in a forked child; never returns."""
        status = 70
        try:
            os.setsid()
            fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.dup2(fd, 1)
            os.dup2(fd, 2)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            sys.stderr = os.fdopen(2, "w", closefd=False)
            os.chdir(self.cwd)
            os.environ.clear()
            os.environ.update(self.env)
            sys.addaudithook(self._counting(kill_at))
            status = _command(words)
        except BaseException as failure:
            print(repr(failure), file=sys.stderr)
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _counting(self, kill_at: int) -> Any:
        count, root = 0, str(self.root)

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            if event == "open":
                flags = arguments[2]
                if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                    return
            elif event != "subprocess.Popen" and event not in _CHANGES:
                return
            if event != "subprocess.Popen" and not any(str(path).startswith(root) for path in arguments[:2]):
                return
            count += 1
            self._steps[:] = struct.pack("<Q", count)
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        return hook

    def _kill(self, kill: Kill, pid: int, name: str) -> bool:
        deadline = time.monotonic() + kill.delay_s
        while time.monotonic() < deadline and not _has_ended(pid):
            time.sleep(0.001)
        if kill.what in ("command", "family"):
            met = not _has_ended(pid)
            children = self._children(pid) if kill.what == "family" else []
            for each in (pid, *children):
                _shoot(each)
            return met
        if kill.what == "child":
            children = self._children(pid)
            for each in children:
                _shoot(each)
            return bool(children)
        target = self.qemu(name) if kill.what == "qemu" else self.console(name)
        return target is not None and target > 0 and target != pid and _shoot(target)

    def _children(self, pid: int) -> list[int]:
        """What a command has started and waits for: no QEMU, no console, which are to outlive it."""
        return [each for each, line in self.processes() if each != pid and "qemu-img" in line.partition(" ")[0]]

    def _kill_children(self) -> None:
        for each in self._children(0):
            _shoot(each)


def _no_sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not os.path.islink(f"{folder}/{name}") and not _is_plain(f"{folder}/{name}")]


def _is_plain(path: str) -> bool:
    return os.path.isfile(path) or os.path.isdir(path)


def make_disk(path: Path) -> None:
    """A disk of the counting guest, at moment 1."""
    raw = path.with_suffix(".raw")
    data = bytearray(DISK_BYTES)
    data[:512] = GUEST.ljust(510, b"\0") + b"\x55\xaa"
    for at in MOMENT_AT:
        data[at : at + MOMENT_BYTES] = b"\x01" * MOMENT_BYTES
    raw.write_bytes(data)
    run_program(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path])
    raw.unlink()


def stamp(path: Path, moment: int) -> None:
    """Write a moment all over the disk of a stopped machine."""
    words = [word for at in MOMENT_AT for word in ("-c", f"write -q -P {moment} {at} {MOMENT_BYTES}")]
    run_program(["qemu-io", "-f", "qcow2", *words, path])


def _import_commands() -> None:
    """Import all that commands need, once: a forked command begins with its work, not with imports."""
    global _IMPORTED
    if not _IMPORTED:
        import importlib

        from pommel.cli.main import COMMANDS

        for module, *_ in COMMANDS.values():
            with contextlib.suppress(ImportError):
                importlib.import_module(f"pommel.cli.{module}")
        for module in ("app.argv.commandline", "app.host.checks", "machine.qmp", "machine.savestate", "host.desktop"):
            importlib.import_module(f"pommel.{module}")
        _IMPORTED = True


def _command(words: Sequence[str]) -> int:
    from pommel.cli.main import main

    try:
        told = main(list(words))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return told if isinstance(told, int) else 0


def _has_ended(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _wait(pid: int) -> int:
    deadline = time.monotonic() + _COMMAND_S
    while not _has_ended(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _shoot(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    deadline = time.monotonic() + 10  # it lets go of its files one by one: what is judged is a process that is gone
    while not _is_dead(pid) and time.monotonic() < deadline:
        time.sleep(0.001)
    return True


def _is_dead(pid: int) -> bool:
    try:
        ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
        return (
            ended and len(os.listdir(f"/proc/{pid}/task")) == 1
        )  # its threads hold its files for as long as they live
    except OSError:
        return True


@contextlib.contextmanager
def world() -> Iterator[World]:
    """A world that is gone afterwards."""
    made = World()
    try:
        yield made
    finally:
        made.close()


def chance(rng: random.Random, part: float) -> bool:
    """True in `part` of all cases."""
    return rng.random() < part
