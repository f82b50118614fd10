"""The folder of snapshots: what is whole, what is half made, and the note of a load."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pommel.errors import MachineError, StateError
from pommel.machine import snapshot_store as store
from pommel.machine.snapshot_record import Snapshot
from pommel.paths import MachinePaths

from .bare import make, short_home


@pytest.fixture
def paths() -> Iterator[MachinePaths]:
    with short_home() as home:
        yield make(home)


def keep(paths: MachinePaths, tag: str) -> Snapshot:
    made = Snapshot(tag, "now", ("a.img",), ram=False, nvram=False)
    with store.making(paths, tag) as aside:
        assert store.tags(paths) == [] or tag not in store.tags(paths)
        store.write_record(aside, made)
    return made


def test_one_is_there_when_it_is_whole(paths: MachinePaths) -> None:
    assert store.tags(paths) == [] and store.half_made(paths) == set()
    made = keep(paths, "v1.0")
    assert store.tags(paths) == ["v1.0"] and store.read(paths, "v1.0") == made
    with pytest.raises(StateError, match="has no snapshot other"):
        store.read(paths, "other")


def test_what_is_half_made_is_told_by_its_tag(paths: MachinePaths) -> None:
    keep(paths, "whole")
    for left in (".a.b-c.building.x1y2", ".whole.building.zzz", ".odd.building.name.building.q"):
        (store.folder(paths) / left).mkdir()
    assert store.half_made(paths) == {"a.b-c", "odd.building.name"}
    store.forget(paths)
    assert os.listdir(store.folder(paths)) == ["whole"]


def test_a_condemned_one_is_half_made(paths: MachinePaths) -> None:
    for _ in range(2):
        keep(paths, "t")
        store.condemn(paths, "t")
        assert store.tags(paths) == [] and store.half_made(paths) == {"t"}
    store.forget(paths)
    assert store.half_made(paths) == set()


def test_the_note_of_a_load(paths: MachinePaths) -> None:
    assert store.loading(paths) is None
    store.begin_load(paths, store.Loading("t", "before-load-1", live=True))
    assert store.loading(paths) == store.Loading("t", "before-load-1", live=True)
    assert store.tags(paths) == [] and store.half_made(paths) == set()
    store.end_load(paths)
    store.end_load(paths)
    assert store.loading(paths) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"tag": "t"}', "\xff"])
def test_a_note_that_is_damaged(paths: MachinePaths, text: str) -> None:
    store.folder(paths).mkdir()
    (store.folder(paths) / ".loading.json").write_text(text)
    with pytest.raises(MachineError, match="cannot be used"):
        store.loading(paths)
