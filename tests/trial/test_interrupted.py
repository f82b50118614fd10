"""A build that is broken off, by Ctrl-C or by kill -9: nothing half-built is used, nothing keeps running."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from driver import cache_folder
from isolation import patient
from pommel import locks, process
from pommel.paths import build_aside
from pommel.progress import ignore
from pommel.trial.base import BaseImage, base_image, build_base, is_built
from waits import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

BUILD = """
import sys
from pathlib import Path
from pommel.progress import ignore
from pommel.trial.base import build_base
build_base(Path(sys.argv[1]), report=ignore)
"""


def at_work(cache: Path) -> list[str]:
    """Processes whose command line or environment speaks of `cache`, and mounts in it."""
    found = [line for line in Path("/proc/mounts").read_text().splitlines() if str(cache) in line]
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            told = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
        except OSError:
            continue
        if str(cache).encode() in told:
            found.append(told.decode(errors="replace"))
    return found


def break_off(cache: Path, how: signal.Signals) -> None:
    """Begin a build, and end it by `how` once the first packages are being unpacked."""
    log = cache / "build.log"
    log.unlink(missing_ok=True)
    build = subprocess.Popen([sys.executable, "-c", BUILD, str(cache)], stderr=subprocess.DEVNULL)
    wait_until(lambda: log.exists() and "\nUnpacking " in log.read_text(), 200)
    build.send_signal(how)
    assert build.wait(60) != 0
    wait_until(lambda: not at_work(cache), 20)
    assert not is_built(cache)


def leftovers(cache: Path) -> list[Path]:
    return sorted(cache.glob(".*.building.*"))


def test_a_broken_off_build_leaves_nothing_to_use_and_the_next_one_works(tmp_path: Path) -> None:
    break_off(tmp_path, signal.SIGKILL)
    killed = leftovers(tmp_path)
    assert len(killed) == 1
    break_off(tmp_path, signal.SIGINT)
    assert leftovers(tmp_path) == []
    base = build_base(tmp_path, report=ignore)
    assert is_built(tmp_path)
    assert base.root_image.is_file() and base.picker.is_file()
    assert leftovers(tmp_path) == []
    hand_over(base)


def hand_over(base: BaseImage) -> None:
    """Put what was built into the tests' cache, unless there is one: the other tests need not build it again."""
    cache = cache_folder() / "trial"
    cache.mkdir(parents=True, exist_ok=True)
    with locks.hold(cache / "build.lock", busy="another test builds it", wait_s=patient(200)):
        if not is_built(cache):
            with build_aside(base_image(cache).directory) as aside:
                process.run(["cp", "-a", "--sparse=always", f"{base.directory}/.", aside])
