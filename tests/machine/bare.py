"""Real QEMUs with next to nothing in them: a home with short paths, a guest of 41 bytes, and a sure end to both."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

from pommel import locks
from pommel.paths import Home, MachinePaths
from waits import wait_until


@contextlib.contextmanager
def short_home() -> Iterator[Home]:
    """A home whose socket paths fit; every QEMU in it is dead afterwards."""
    root = Path(tempfile.mkdtemp(prefix="pm-"))
    home = Home(root / "h", root / "r", root / "c")
    try:
        yield home
    finally:
        for pidfile in home.machines.glob("*/qemu.pid"):
            end(pidfile)
        shutil.rmtree(root)


def end(pidfile: Path) -> None:
    while (pid := locks.holder(pidfile)) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        time.sleep(0.01)


def make(home: Home, name: str = "m") -> MachinePaths:
    paths = home.machine(name)
    paths.directory.mkdir(parents=True)
    return paths


def argv(paths: MachinePaths, *extra: str, watch: bool = True) -> list[str]:
    words = ["qemu-system-x86_64", "-accel", "tcg", "-machine", "pc", "-nodefaults", "-display", "none", "-m", "16"]
    words += ["-pidfile", str(paths.pidfile), "-qmp", f"unix:{paths.qmp},server=on,wait=off"]
    if watch:
        words += ["-qmp", f"unix:{paths.qmp_watch},server=on,wait=off"]
    return [*words, *extra]


def obedient(paths: MachinePaths, presses: int = 1) -> list[str]:
    """Arguments for a guest that powers down at the `presses`-th press of the power button, and writes R once it listens.

    PIIX4's ACPI registers stand where SeaBIOS puts them: status 0x600, enable 0x602, control 0x604.
    """
    sector = bytes.fromhex(
        f"fab3{presses:02x}"  # cli; mov bl, presses
        "ba0206b80001ef"  # enable the power button's event
        "b052e6e9"  # say R on the debug console
        "ba0006edf6c40174f7"  # poll the status until it is set
        "b80001effecb75ef"  # clear it; not enough presses yet: poll on
        "ba0406b80020ef"  # soft off
        "f4ebfd"
    )
    (paths.directory / "sector").write_bytes(sector.ljust(510, b"\0") + b"\x55\xaa")
    said = paths.directory / "said"
    return ["-drive", f"format=raw,file={paths.directory}/sector", "-debugcon", f"file:{said}"]


def listens(paths: MachinePaths) -> None:
    """Wait until the obedient guest listens for the power button."""
    said = paths.directory / "said"
    wait_until(lambda: said.exists() and said.read_bytes() == b"R")


def qemus(paths: MachinePaths) -> list[int]:
    """The pids of all QEMUs that were started for this machine."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit():
                words = (process / "cmdline").read_bytes().split(b"\0")
                if b"qemu-system" in words[0] and os.fsencode(paths.pidfile) in words:
                    found.append(int(process.name))
    return found


def pommel(code: str, paths: MachinePaths, **options: object) -> subprocess.Popen[str]:
    """Another process with `home`, `paths` and the machine modules at hand; an error's name is its last line."""
    home = paths.directory.parent.parent
    runtime = paths.runtime.parent
    prelude = f"""
import os, sys, time
from pathlib import Path
from pommel.errors import PommelError
from pommel.machine import disk, lifecycle, ports, record, state
from pommel.paths import Home
home = Home(Path({str(home)!r}), Path({str(runtime)!r}), Path({str(home)!r}))
paths = home.machine({paths.name!r})
def main():
{textwrap.indent(textwrap.dedent(code), "    ")}
try:
    main()
except PommelError as error:
    print(type(error).__name__, flush=True)
    sys.exit(error.exit_code)
"""
    return subprocess.Popen([sys.executable, "-c", prelude], stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload,no-any-return]


def finish(child: subprocess.Popen[str]) -> tuple[int, str]:
    out, _ = child.communicate(timeout=60)
    return child.returncode, out.strip()
