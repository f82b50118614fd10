"""What says that a folder is a home."""

from __future__ import annotations

from pathlib import Path

import pytest

from pommel import marks
from pommel.paths import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "h", tmp_path / "h" / "run", tmp_path / "c")


def test_a_new_home_is_pommels_whole(home: Home) -> None:
    assert marks.marked(home) == (False, frozenset())
    marks.mark(home)
    home.trial.mkdir()
    marks.mark(home)  # done once: what came since is ours
    assert marks.marked(home) == (True, frozenset())


def test_what_was_there_before_is_named(home: Home) -> None:
    (home.root / "upstream").mkdir(parents=True)
    (home.root / "recovery").symlink_to("nowhere")
    (home.root / "other").mkdir()
    marks.mark(home)
    assert marks.marked(home) == (True, {"upstream", "recovery"})


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"a home of": "x", "there before": []}', '{"a home of": "pommel"}', "\xff"]
)
def test_a_mark_that_is_none(home: Home, text: str) -> None:
    home.root.mkdir()
    marks.marker(home.root).write_bytes(text.encode("latin-1"))
    assert not marks.marked(home)[0]


def test_homes_that_share_a_cache_know_of_each_other(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "o", tmp_path / "o" / "run", home.cache)
    marks.mark(home)
    assert marks.other_homes(home) == []
    marks.mark(other)
    assert marks.other_homes(home) == [other.root] and marks.other_homes(other) == [home.root]
    marks.marker(other.root).unlink()  # it is no home any more
    assert marks.other_homes(home) == []


def test_a_home_that_cannot_be_written_is_an_error(home: Home) -> None:
    home.root.touch()
    with pytest.raises(OSError, match=r"exists|directory"):
        marks.mark(home)
