"""Directories removed while somebody writes into them."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

from pommel.paths import sweep_aside
from pommel.trees import drop, remove_tree


def test_what_a_killed_ones_program_still_writes_is_swept_too(tmp_path: Path) -> None:
    left = tmp_path / ".target.building.x"
    (left / "full").mkdir(parents=True)
    for number in range(2000):
        (left / "full" / str(number)).touch()
    begun = threading.Event()

    def write() -> None:
        """Make files in it for as long as it takes to sweep it once or twice."""
        begun.set()
        for number in range(60):
            with contextlib.suppress(FileNotFoundError):
                (left / f"late-{number}").touch()
            time.sleep(0.001)

    writing = threading.Thread(target=write)
    writing.start()
    begun.wait()
    sweep_aside(tmp_path / "target")
    writing.join()
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_and_what_is_no_directory(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nothing")
    (tmp_path / "link").symlink_to(tmp_path)
    remove_tree(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()


def test_a_dropped_link_goes_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    drop(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    drop(tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []
