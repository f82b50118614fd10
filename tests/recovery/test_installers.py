"""Full installers, fetched from a real HTTP server: whole and checked, or not there; once for all machines."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from driver import Shell
from pommel import process
from pommel.errors import RecoveryError
from pommel.recovery import cd
from pommel.recovery.chunklist import ChunklistError
from pommel.recovery.files import check_room
from pommel.recovery.installers import Installers
from waits import wait_until

from .apple import driver_words, make_chunklist, served
from .updates import OFFERS, FakeUpdates, digested

WITH_APPLE = Path(__file__).parents[1] / "with_apple.py"


@pytest.fixture
def store(tmp_path: Path) -> Installers:
    return Installers(tmp_path / "installers")


async def fetch(apple: FakeUpdates, store: Installers, which: str = "sonoma", **more: object) -> Path:
    found = await store.fetch(which, origin=apple.origin, **more)  # type: ignore[arg-type]
    return found.folder


async def test_the_newest_is_fetched_once_and_a_machine_is_given_it_as_a_disk(
    store: Installers, tmp_path: Path
) -> None:
    apple = FakeUpdates()
    async with apple.running():
        folder = await fetch(apple, store)
        apple.requests.clear()
        assert await fetch(apple, store, "23J319") == folder and apple.requests == []
        assert await fetch(apple, store, "14.7.1") != folder
    assert (folder / "InstallAssistant.pkg").read_bytes() == apple.image
    assert [each.build for each in store.list()] == ["23J319", "23H222"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "InstallAssistant.chunklist", "InstallAssistant.pkg", "cd.header", "disk.vmdk", "installer.json",
    ]  # fmt: skip
    raw = tmp_path / "raw"
    process.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", folder / "disk.vmdk", raw])
    process.run(["grub-fstest", raw, "cp", "(loop0)/part00.pkg", tmp_path / "back"])
    assert (tmp_path / "back").read_bytes() == apple.image and raw.stat().st_size % cd.BLOCK == 0


async def test_all_that_apple_offers_is_listed_and_one_broken_product_is_none(store: Installers) -> None:
    apple = FakeUpdates(broken=frozenset({"042-11111"}))
    async with apple.running():
        found = await store.offered(origin=apple.origin)
        assert [(each.name, each.details.build) for each in found] == [
            ("tahoe", "25B78"), ("sonoma", "23J319"), ("ventura", "22H730"),
        ]  # fmt: skip
        apple.broken = frozenset(OFFERS)
        with pytest.raises(RecoveryError, match="names no version"):
            await store.offered(origin=apple.origin)


@pytest.mark.parametrize("kind", ["another size", "no digest", "signed"])
async def test_a_chunklist_that_does_not_fit_is_refused_before_a_byte_of_the_package(
    store: Installers, kind: str
) -> None:
    apple = FakeUpdates()
    bad = {
        "another size": digested(apple.image[:-1], apple.chunk_size),
        "no digest": digested(apple.image, apple.chunk_size)[:-1] + b"\0",
        "signed": make_chunklist(apple.image, apple.chunk_size),
    }
    apple.integrity = bad[kind]
    async with apple.running():
        with pytest.raises(RecoveryError) as caught:
            await fetch(apple, store)
    assert "GET InstallAssistant.pkg" not in apple.requests and store.list() == []
    assert (
        ("in Apple's catalogue" in caught.value.message)
        if kind == "another size"
        else isinstance(caught.value, ChunklistError)
    )


async def test_a_redirect_is_not_followed(store: Installers) -> None:
    apple, elsewhere = FakeUpdates(), FakeUpdates()
    async with apple.running(), elsewhere.running():
        apple.redirect = f"http://127.0.0.1:{elsewhere.port}/downloads/042-22222/InstallAssistant.pkg"
        with pytest.raises(RecoveryError, match="HTTP status 302"):
            await fetch(apple, store)
        assert elsewhere.requests == []


async def test_what_is_damaged_on_the_way_is_asked_for_again(store: Installers) -> None:
    apple = FakeUpdates()
    apple.corrupt[3], apple.cut[5] = 1, 1
    async with apple.running():
        folder = await fetch(apple, store)
    assert (
        hashlib.sha256((folder / "InstallAssistant.pkg").read_bytes()).digest() == hashlib.sha256(apple.image).digest()
    )
    assert sorted(set(apple.ranges)) == list(range(10)) and len(apple.ranges) == 12


async def test_two_at_once_fetch_it_once(store: Installers) -> None:
    apple = FakeUpdates(delay_s=0.02)
    async with apple.running():
        first, second = await asyncio.gather(fetch(apple, store), fetch(apple, store, "14"))
    assert first == second and len(apple.ranges) == 10


async def test_a_disk_without_room_is_told_before_the_first_chunk(
    store: Installers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, needed: int) -> None:
        check_room(folder, 1 << 60)

    monkeypatch.setattr("pommel.recovery.part.check_room", full)
    apple = FakeUpdates()
    async with apple.running():
        with pytest.raises(RecoveryError, match="MB free"):
            await fetch(apple, store)
    assert apple.ranges == []


async def test_a_damaged_one_is_none_and_is_fetched_again(store: Installers) -> None:
    apple = FakeUpdates()
    async with apple.running():
        folder = await fetch(apple, store)
        (folder / "InstallAssistant.pkg").write_bytes(b"short")
        assert store.list() == []
        assert await fetch(apple, store) == folder
    assert (folder / "InstallAssistant.pkg").read_bytes() == apple.image
    store.remove(store.list()[0])
    assert store.list() == [] and not folder.exists()


def test_the_command_lists_fetches_goes_on_after_a_kill_and_deletes(shell: Shell) -> None:
    box, apple = shell, FakeUpdates(delay_s=0.4)
    with served(apple):
        box.command = [sys.executable, "-P", str(WITH_APPLE), *driver_words(apple)]
        said = box.json("installer", "list")["installers"]
        assert next((each["name"], each["build"], each["disk_path"]) for each in said) == ("tahoe", "25B78", None)
        would = box.run("installer", "fetch", "sonoma", "--dry-run").stdout
        assert would.startswith("would download macOS 14.8.4 (23J319)") and not (box.home / "installers").exists()
        child = box.popen("installer", "fetch", "sonoma", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        journal = box.home / "installers/incoming/042-22222/InstallAssistant.pkg.journal"
        wait_until(lambda: journal.exists() and len(journal.read_text().splitlines()) > 3, 30)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        assert Installers(box.home / "installers").list() == []
        had, apple.delay_s = len(journal.read_text().splitlines()) - 1, 0.0
        apple.ranges.clear()
        done = box.json("installer", "fetch", "sonoma")
        assert len(apple.ranges) <= 10 - had
        assert Path(done["disk_path"]).with_name("InstallAssistant.pkg").read_bytes() == apple.image
        box.config(f"[machine.trial]\nqemu_args = {json.dumps(['-drive', 'if=none,file=' + done['disk_path']])}\n")
        assert "qemu_args of trial name" in box.run("installer", "delete", "sonoma", "--yes", status=3).stderr
        box.config("")
        assert "pass --yes" in box.run("installer", "delete", "sonoma", status=2).stderr
        assert box.json("installer", "delete", "sonoma", "--yes")["build"] == "23J319"
        assert box.json("installer", "list", "--here") == {"installers": []}
