"""Memory given back: the device that is added, and real QEMUs whose guests have no driver for it.

That a guest with a driver gives it back, `e2e/test_living.py` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from machine import bare
from machine.given import KVM, placement, spec, upstream_line
from pommel.app.machine import memory
from pommel.app.workspace import Workspace
from pommel.errors import StateError, UsageError
from pommel.machine import ballooning, lifecycle, record, snapshots
from pommel.machine.commandline import CommandLine
from pommel.machine.record import MachineRecord
from pommel.machine.rules import Overlaid, apply_rules
from pommel.paths import MachinePaths

MIB = 1 << 20
OURS = "virtio-balloon-pci,id=pommel-balloon,free-page-reporting=on,deflate-on-oom=on"


def laid(words: str = "", *, balloon: bool = True, **values: object) -> Overlaid:
    line = upstream_line()
    given = CommandLine.parse(line.program, [*line.words, *words.split()])
    return apply_rules(given, spec(balloon=balloon, **values), KVM, placement())


def balloons(overlaid: Overlaid) -> list[str]:
    found = (argument.value or "" for argument in overlaid.command_line.find("device"))
    return [value for value in found if "balloon" in value]


def test_one_is_added_where_it_is_asked_for_and_at_the_end_so_that_no_other_moves() -> None:
    assert balloons(laid(balloon=False)) == []
    with_it, without = laid().command_line.argv, laid(balloon=False).command_line.argv
    assert with_it == (*without, "-device", OURS) and laid().warnings == laid(balloon=False).warnings


def test_the_scripts_own_stands_and_its_user_is_told_what_it_does_not_do() -> None:
    own = laid("-device virtio-balloon-pci,id=mine")
    assert balloons(own) == ["virtio-balloon-pci,id=mine"]
    assert any("frees memory only when asked" in text for text in own.warnings)
    whole = laid("-device virtio-balloon-pci,id=mine,free-page-reporting=on")
    assert balloons(whole) == ["virtio-balloon-pci,id=mine,free-page-reporting=on"]
    assert not any("balloon" in text for text in whole.warnings)
    by_args = laid(qemu_args=("-device", "virtio-balloon"))
    assert balloons(by_args) == ["virtio-balloon"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"macos": "10.15"}, "has no driver for it"),
        ({"macos": "14"}, ""),
        ({"vfio": ("0000:01:00.0",)}, "stays in use"),
    ],
)
def test_who_gives_nothing_back_is_told(values: dict[str, object], said: str) -> None:
    told = [text for text in laid(**values).warnings if text.startswith("balloon:")]
    assert (len(told) == 1 and said in told[0]) if said else told == []


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., tuple[Workspace, MachinePaths]]]:
    with bare.short_home() as home:
        paths = bare.make(home)
        paths.make_runtime()
        uuid = "00000000-0000-4000-8000-000000000000"
        made = MachineRecord("m", "osx-kvm", uuid, "52:54:00:00:00:01", 24902, "2026-01-01T00:00:00+00:00")
        record.save(paths.record, made)
        (tmp_path / "pommel.toml").write_text("[machine.m]\nballoon = true\n")

        def start(*words: str) -> tuple[Workspace, MachinePaths]:
            line = [word.replace("16", "512") if word == "16" else word for word in bare.argv(paths, *words)]
            lifecycle.start(paths, line, accel="tcg")
            return Workspace(home, tmp_path, {}), paths

        yield start


def test_a_guest_without_a_driver_is_silent_and_gives_nothing(
    bench: Callable[..., tuple[Workspace, MachinePaths]], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, paths = bench("-device", OURS)
    monkeypatch.setattr(memory, "_PATIENT_S", 1.5)
    monkeypatch.setattr(ballooning, "_STILL_S", 1.0)
    seen = memory.look("m", workspace=workspace)
    assert (seen.size_bytes, seen.guest_bytes, seen.unused_bytes) == (512 * MIB, 512 * MIB, None)
    assert seen.balloon == "silent" and seen.reports and seen.memory_bytes
    assert "may have no balloon driver" in memory.spell(seen)
    given = memory.give("m", 256 * MIB, workspace=workspace)
    assert given.guest_bytes == 512 * MIB and given.balloon == "silent"
    (check,) = memory.checks(workspace, replace(spec(balloon=True), name="m"))
    assert check[1] == "warn" and "virtio_balloon" in str(check[3])
    for size in (255 * MIB, 513 * MIB):
        with pytest.raises(UsageError, match="m can have 256 MiB to 512 MiB"):
            memory.give("m", size, workspace=workspace)
    lifecycle.pause(paths)
    with pytest.raises(StateError, match="is paused"):
        memory.give("m", 256 * MIB, workspace=workspace)
    assert memory.look("m", quick=True, workspace=workspace).balloon == "there"


def test_one_of_the_users_own_is_found_whatever_it_is_called(
    bench: Callable[..., tuple[Workspace, MachinePaths]],
) -> None:
    workspace, _ = bench("-device", "virtio-balloon-pci")
    seen = memory.look("m", quick=True, workspace=workspace)
    assert seen.guest_bytes == 512 * MIB and not seen.reports


def test_without_a_balloon_there_is_a_way_to_get_one(bench: Callable[..., tuple[Workspace, MachinePaths]]) -> None:
    workspace, _ = bench()
    assert memory.look("m", workspace=workspace).balloon == "none"
    with pytest.raises(StateError, match="has no balloon") as refused:
        memory.give("m", 256 * MIB, workspace=workspace)
    assert "balloon = true" in str(refused.value.hint)


def test_one_that_does_not_run(tmp_path: Path, bench: Callable[..., tuple[Workspace, MachinePaths]]) -> None:
    workspace, paths = bench("-device", OURS)
    lifecycle.stop(paths, force=True)
    with pytest.raises(StateError, match="m is not running"):
        memory.look("m", workspace=workspace)
    assert memory.known("m", workspace=workspace) is None
    assert snapshots.list_snapshots(paths) == []
