"""Work in a thread: its reports come in order, and it has ended before its caller."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pommel.progress import Progress, Report
from pommel.recovery.worker import in_thread_with_report


async def test_events_come_in_the_loops_thread_and_in_order() -> None:
    seen: list[tuple[str, int]] = []

    def work(report: Report) -> int:
        for count in range(100):
            report(Progress(str(count)))
        return threading.get_ident()

    other = await in_thread_with_report(work, lambda event: seen.append((event.step, threading.get_ident())))
    assert other != threading.get_ident()
    assert seen == [(str(count), threading.get_ident()) for count in range(100)]


async def test_errors_come_through() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_thread_with_report(lambda _: 1 // 0, lambda _: None)


async def test_cancelled_it_ends_at_the_next_report_and_cleans_up() -> None:
    begun, go, cleaned = asyncio.Event(), threading.Event(), threading.Event()

    def work(report: Report) -> None:
        try:
            report(Progress("begun"))
            go.wait(30)
            report(Progress("never seen"))
            raise AssertionError("it went on")
        finally:
            cleaned.set()

    seen: list[str] = []

    def report(event: Progress) -> None:
        seen.append(event.step)
        begun.set()

    running = asyncio.ensure_future(in_thread_with_report(work, report))
    await begun.wait()
    running.cancel()
    await asyncio.sleep(0.02)
    assert not running.done()  # the thread still works
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert cleaned.is_set() and seen == ["begun"]
