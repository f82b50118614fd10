"""Large files: hashed and copied with their holes; locks that are waited for."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.errors import RecoveryError
from pommel.locks import hold
from pommel.progress import Progress, ignore
from pommel.recovery import files


@settings(deadline=None, max_examples=40)
@given(runs=st.lists(st.tuples(st.booleans(), st.integers(0, 300)), max_size=8), block=st.sampled_from([1, 64, 1000]))
def test_a_copy_is_the_same(tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[bool, int]], block: int) -> None:
    folder = tmp_path_factory.mktemp("copy")
    data = b"".join((b"x" if full else b"\0") * size for full, size in runs)
    (folder / "a").write_bytes(data)
    before, files.BLOCK = files.BLOCK, block
    try:
        said = files.copy(folder / "a", folder / "b", ignore)
        assert said == files.sha256(folder / "a", ignore) == hashlib.sha256(data).hexdigest()
    finally:
        files.BLOCK = before
    assert (folder / "b").read_bytes() == data


def test_zeros_take_no_room_and_all_is_told(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(200 << 20)
        file.write(b"begin")
    told: list[Progress] = []
    files.copy(tmp_path / "a", tmp_path / "b", told.append)
    assert (tmp_path / "b").stat().st_size == 200 << 20
    assert (tmp_path / "b").stat().st_blocks * 512 < 2 << 20
    assert [event.done for event in told] == [0, 64 << 20, 128 << 20, 192 << 20, 200 << 20]
    assert [event.finished for event in told] == [False] * 4 + [True]


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"x" * 9000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 9000))  # type: ignore[attr-defined]
    files.check_room(tmp_path, 9000)
    with pytest.raises(RecoveryError, match="MB free"):
        files.copy(tmp_path / "a", tmp_path / "b", ignore)


HOLD = """
import sys
from pathlib import Path
from pommel.locks import hold
with hold(Path(sys.argv[1]), busy=""):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_waited_for(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin and child.stdout and child.stdout.readline() == b"held\n"
    told: list[Progress] = []

    def report(event: Progress) -> None:
        told.append(event)
        if len(told) == 2 and child.stdin:
            child.stdin.close()

    with files.waited(tmp_path / "lock", "it is being made", report) as waiting:
        assert waiting
    child.stdout.close()
    assert child.wait() == 0
    assert told[0].text == f"it is being made (pid {child.pid}); waiting for it"
    assert told[-1].finished and {event.step for event in told} == {"wait"}


def test_another_thread_is_waited_for(tmp_path: Path) -> None:
    came = threading.Event()
    with contextlib.ExitStack() as held:
        held.enter_context(hold(tmp_path / "lock", busy=""))
        done: list[bool] = []

        def work() -> None:
            with files.waited(tmp_path / "lock", "busy", lambda _: came.set()) as waiting:
                done.append(waiting)

        thread = threading.Thread(target=work)
        thread.start()
        assert came.wait(30) and not done
    thread.join()
    assert done == [True]


def test_a_free_lock_is_not_waited_for(tmp_path: Path) -> None:
    told: list[Progress] = []
    with files.waited(tmp_path / "lock", "busy", told.append) as waiting:
        assert not waiting
    assert told == []
    assert os.listdir(tmp_path) == ["lock"]
