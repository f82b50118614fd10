"""Memory that is saved once and gone on from many times, by the real QEMU with a guest that counts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pommel.errors import MachineError
from pommel.machine import disk, lifecycle, memory_file, saved_memory
from pommel.machine.commandline import CommandLine
from pommel.paths import Home, MachinePaths
from waits import wait_until

from .bare import argv, make, qemus
from .guests import count_in_ram, drives, make_disk

MIB = 1 << 20


def in_file(base: MachinePaths, *, share: bool) -> list[str]:
    return memory_file.words(16 * MIB, str(saved_memory.ram(base)), share=share, generation=True)


@pytest.fixture
def base(home: Home) -> MachinePaths:
    paths = make(home, "base")
    make_disk(paths.disk)
    saved_memory.begin(paths)
    lifecycle.start(paths, argv(paths, *drives(paths), *in_file(paths, share=True)))
    wait_until(lambda: count_in_ram(paths) > 3)
    saved_memory.save(paths)
    wait_until(lambda: not qemus(paths))
    saved_memory.finish(paths, "q", ["w"])
    return paths


def clone(home: Home, base: MachinePaths, name: str) -> MachinePaths:
    paths = make(home, name)
    disk.create(paths.disk, backing=base.disk)
    words = [*drives(paths), *in_file(base, share=False), "-incoming", "defer", "-S"]
    lifecycle.start(paths, argv(paths, *words))
    return paths


def test_clones_go_on_from_one_memory_at_the_same_time_and_leave_it_as_it_is(home: Home, base: MachinePaths) -> None:
    before = saved_memory.ram(base).read_bytes()
    counts = []
    for name in ("one", "two"):
        paths = clone(home, base, name)
        saved_memory.load(paths, base)
        counts.append(count_in_ram(paths))
        assert counts[-1] >= 4  # it has not begun anew
        wait_until(lambda paths=paths, last=counts[-1]: count_in_ram(paths) > last)
        assert not (paths.runtime / "memory.sock").exists()
    assert saved_memory.ram(base).read_bytes() == before
    assert (saved_memory.folder(base) / "state").stat().st_size < 2 * MIB + len(before)


def test_what_was_saved_is_told_and_a_disk_that_was_written_to_since_is_seen(base: MachinePaths) -> None:
    saved = saved_memory.read(base)
    assert saved is not None and saved.command_line == ("w",) and saved.disks == saved_memory.disks_now(base)
    os.utime(base.disk)
    assert saved.disks != saved_memory.disks_now(base)
    saved_memory.forget(base)
    assert saved_memory.read(base) is None and not saved_memory.folder(base).exists()


def test_a_state_that_is_damaged_is_an_error(home: Home, base: MachinePaths) -> None:
    state = saved_memory.folder(base) / "state"
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    paths = clone(home, base, "one")
    with pytest.raises(MachineError):
        saved_memory.load(paths, base)


@pytest.mark.parametrize(
    ("words", "size"),
    [
        (["-m", "2048"], 2 << 30),
        (["-m", "8G"], 8 << 30),
        (["-m", "size=512M"], 512 << 20),
        (["-m", "2G,slots=2,maxmem=8G"], None),
        (["-m", "x"], None),
        ([], None),
    ],
)
def test_how_much_memory_a_command_line_says(words: list[str], size: int | None) -> None:
    line = CommandLine.parse("qemu", words)
    assert memory_file.size_bytes(line) == size
    assert (memory_file.why_not(line) is None) == (size is not None)


def test_memory_that_is_somewhere_already_stays_there() -> None:
    for words in (["-machine", "q35,memory-backend=own"], ["-numa", "node,memdev=own"]):
        assert memory_file.why_not(CommandLine.parse("qemu", ["-m", "2G", *words])) is not None


def test_what_is_a_machines_own_does_not_count_and_all_else_does() -> None:
    def told(name: str, port: str, memory: str = "2G") -> list[str]:
        own = {f"/home/machines/{name}": "folder", f"guest={name}": "guest", f"vm:{name}": "process", port: "port"}
        words = ["-name", f"guest={name},process=vm:{name}", "-drive", f"file=/home/machines/{name}/disk", "-m", memory]
        return memory_file.comparable([*words, "-netdev", f"user,hostfwd=tcp:127.0.0.1:{port}-:22"], own)

    assert told("a", "2222") == told("run-1", "2223") != told("run-1", "2223", "4G")
    assert memory_file.comparable(["file=/h/opencore/ab12/x"], {}) == memory_file.comparable(
        ["file=/h/opencore/cd/x"], {}
    )


def test_a_comma_in_a_path_is_a_comma(tmp_path: Path) -> None:
    assert "mem-path=/a,,b,share=off" in memory_file.words(1, "/a,b", share=False, generation=False)[1]
