from __future__ import annotations

import asyncio

from isolation import patient
from pommel.console.deeds import Deeds


async def test_many_are_one_sentence() -> None:
    said: list[str] = []
    deeds = Deeds(said.append, quiet_s=patient(0.05))
    for number in range(1000):
        deeds.note("Chromium", "uploaded", f"file{number}", "/home/u", 1 << 20)
    deeds.note("Chromium", "deleted", "other", "/home/u")
    assert said == []
    async with asyncio.timeout(patient(20)):
        while len(said) < 2:
            await asyncio.sleep(0.01)
    assert sorted(said) == [
        "Chromium deleted other from /home/u",
        "Chromium uploaded 1000 entries (file0, file1, file2 …), 1000 MiB, to /home/u",
    ]


async def test_a_deed_that_does_not_end_is_told() -> None:
    said: list[str] = []
    deeds = Deeds(said.append, quiet_s=0.2, longest_s=0.3)
    async with asyncio.timeout(patient(20)):
        while not said:
            deeds.note("Chromium", "downloaded", "file", "/")
            await asyncio.sleep(0.01)
    assert said[0].startswith("Chromium downloaded ") and said[0].endswith(" from /")


async def test_nothing_is_lost_at_the_end_and_nothing_grows_without_end() -> None:
    said: list[str] = []
    deeds = Deeds(said.append)
    for number in range(200):
        deeds.note("Chromium", "made", "folder", f"/{number}")
    assert len(said) == 200 - 64
    deeds.close()
    deeds.close()
    assert len(said) == 200 and said[-1] == "Chromium made folder in /199"
