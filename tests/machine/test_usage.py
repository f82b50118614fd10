"""What a process and a disk take, as the host tells it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pommel.machine import disk
from pommel.machine.usage import (
    DiskUse,
    ProcessSample,
    between,
    disk_use,
    sample_process,
    since_start,
    thread_cpu_s,
    trim_report,
)
from pommel.process import run
from waits import wait_until

MIB = 1 << 20


def test_between_two_samples() -> None:
    before, after = ProcessSample(100.0, 10.0, 5.0, 7), ProcessSample(104.0, 10.0, 11.0, 9)
    assert (between(before, after).cpu_percent, between(before, after).rss_bytes) == (150.0, 9)
    assert since_start(after).cpu_percent == pytest.approx(11 / 94 * 100)
    reused = ProcessSample(104.0, 103.0, 0.5, 9)  # the pid is another's by now
    assert between(before, reused) == since_start(reused)
    assert between(after, after) == since_start(after)


def test_a_process_that_works() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        try:
            wait_until(lambda: (found := sample_process(child.pid)) is not None and found.cpu_s >= 0.1)
            first = sample_process(child.pid)
            assert first is not None and first.rss_bytes > MIB and since_start(first).cpu_percent > 0
            wait_until(lambda: (found := sample_process(child.pid)) is not None and found.cpu_s >= first.cpu_s + 0.1)
            second = sample_process(child.pid)
            assert second is not None and second.began_s == first.began_s
            assert between(first, second).cpu_percent > 0
            counted = thread_cpu_s(child.pid, [child.pid, child.pid])
            assert counted is not None and counted >= second.cpu_s
        finally:
            child.kill()
        wait_until(lambda: Path(f"/proc/{child.pid}/stat").read_text().split()[2] == "Z")
        assert sample_process(child.pid) is None


def test_nobody() -> None:
    assert sample_process(2**22 + 1) is None
    assert thread_cpu_s(os.getpid(), [2**22 + 1]) is None


def test_a_disk(tmp_path: Path) -> None:
    base = disk.create(tmp_path / "base.img", 64 * MIB).path
    run(["qemu-io", "-c", "write 0 3M", base])
    found = disk_use(base)
    assert found is not None
    assert (found.virtual_bytes, found.linked, found.snapshots) == (64 * MIB, False, 0)
    assert found.actual_bytes == disk.info(base).actual_bytes > 3 * MIB
    run(["qemu-img", "snapshot", "-c", "one", base])
    over = disk_use(disk.create(tmp_path / "over.img", backing=base).path)
    assert over is not None and over.linked
    again = disk_use(base)
    assert again is not None and again.snapshots == 1


def test_a_disk_that_is_damaged_or_gone(tmp_path: Path) -> None:
    (tmp_path / "a.img").write_bytes(b"no image")
    found = disk_use(tmp_path / "a.img")
    assert found is not None and found.virtual_bytes is None
    assert disk_use(tmp_path / "b.img") is None


def test_no_program_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = disk.create(tmp_path / "a.img", MIB).path
    monkeypatch.setattr(subprocess, "Popen", None)
    assert disk_use(path) is not None and sample_process(os.getpid()) is not None


@pytest.mark.parametrize(
    ("actual", "guest", "snapshots", "spare", "says"),
    [
        (100, None, 0, None, "is unknown"),
        (100, 95, 0, 5, "nothing can be freed"),
        (100, 120, 0, 0, "nothing can be freed"),
        (100, 40, 0, 60, "pommel disk compact, while a Linux guest runs"),
        (100, 40, 2, 60, "delete its snapshots"),
    ],
)
def test_trim_report(actual: int, guest: int | None, snapshots: int, spare: int | None, says: str) -> None:
    use = DiskUse(Path("a.img"), 1000 * MIB, actual * MIB, snapshots=snapshots)
    told = trim_report(use, guest * MIB if guest is not None else None)
    assert told.reclaimable_bytes == (spare * MIB if spare is not None else None) and says in told.advice
