"""Work in threads: how it ends, and how it is called off."""

from __future__ import annotations

import threading

import pytest

from pommel.errors import StateError
from pommel.menu.jobs import LeftOff, MenuJob, attempt, spell
from pommel.progress import Progress, note, warn


def test_an_outcome_is_a_value_or_an_error() -> None:
    assert attempt(lambda: 7).value == 7
    failed = attempt(lambda: _raise(StateError("it runs", hint="stop it")))
    assert failed.error and (failed.error.message, failed.error.hint) == ("it runs", "stop it")
    full = attempt(lambda: _raise(OSError(28, "No space left on device", "/f")))
    assert full.error and full.error.message == "/f: No space left on device" and full.error.hint


def test_a_bug_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        attempt(lambda: 1 // 0)


def test_work_is_called_off_at_its_next_report_and_cleans_up() -> None:
    job, began, tidied = MenuJob("m", "making"), threading.Event(), threading.Event()

    def stubborn() -> str:
        try:
            while True:
                try:
                    job.report(Progress("step"))
                    began.set()
                except Exception:
                    continue
        finally:
            tidied.set()

    thread = threading.Thread(target=lambda: attempt(stubborn))
    thread.start()
    assert began.wait(10)
    job.leave_off()
    thread.join(10)
    assert tidied.is_set() and not thread.is_alive()
    assert job.text == "m: making · leaving off"
    with pytest.raises(LeftOff):
        job.report(Progress("step"))


def test_a_job_says_where_it_is_and_keeps_its_warnings() -> None:
    job = MenuJob("m", "making")
    assert job.text == "m: making"
    job.report(Progress("fetch", done=10 << 20, total=700 << 20, unit="B"))
    warn(job.report, "slow")
    assert job.text == "m: making · fetch · 10 MiB of 700 MiB"
    job.report(Progress("fetch", finished=True))
    assert job.text.endswith("700 MiB")  # an end without words says nothing new
    note(job.report, "TCG: no KVM here")
    assert job.text == "m: making · TCG: no KVM here"
    assert list(job.warnings) == ["slow"]
    job.report(Progress("mak", "hello"))
    assert job.text == "m: making · hello"  # not said twice


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (Progress("stop", "waiting", done=3.2, total=60, unit="s"), "stop · 3 of 60 s · waiting"),
        (Progress("stop", done=3, unit="s"), "stop · 3 s"),
        (Progress("get", done=1 << 20, unit="B"), "get · 1 MiB"),
        (Progress("only"), "only"),
    ],
)
def test_spell(event: Progress, said: str) -> None:
    assert spell(event) == said


def _raise(error: Exception) -> None:
    raise error
