"""The store: from Apple's answer to an image under its hash, whole or not there, whatever happens on the way."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pommel.errors import BusyError, RecoveryError
from pommel.locks import hold
from pommel.progress import Progress
from pommel.recovery import catalog, store
from pommel.recovery.chunklist import ChunklistError
from pommel.recovery.store import RecoveryStore
from pommel.recovery.stored import CHUNKLIST, DMG, IMAGE, RECORD, Stored

from . import udif
from .apple import FakeApple, driver_words, make_chunklist, served, test_key, unsigned

SONOMA = catalog.find("sonoma")
FIRST, SECOND = (board.board_id for board in SONOMA.boards)
DISK = udif.macos_disk("14.8.4")
DMG_14 = udif.make_dmg(DISK)
DISK_15 = udif.macos_disk("15.4.1")
DMG_15 = udif.make_dmg(DISK_15)
KEY_14 = "sha256-" + hashlib.sha256(DMG_14).hexdigest()


def apple_of(**change: object) -> FakeApple:
    return FakeApple(**({"image": DMG_14, "chunk_size": 32768, "boards": {FIRST}} | change))  # type: ignore[arg-type]


@pytest.fixture
def here(tmp_path: Path) -> RecoveryStore:
    return RecoveryStore(tmp_path / "home" / "recovery")


async def fetch(here: RecoveryStore, apple: FakeApple, told: list[Progress] | None = None, **more: bool) -> Stored:
    async with apple.running():
        return await here.fetch(SONOMA, origin=apple.origin, report=(told if told is not None else []).append, **more)


def fetched(here: RecoveryStore, **change: object) -> Stored:
    return asyncio.run(fetch(here, apple_of(**change)))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.name.endswith(".lock"))


def entry(key: str) -> list[str]:
    return [key, *(f"{key}/{name}" for name in (CHUNKLIST, DMG, IMAGE, RECORD))]


def warnings(told: list[Progress]) -> list[str]:
    return [event.text for event in told if event.warning]


# -- fetch


async def test_fetched_converted_and_kept(here: RecoveryStore) -> None:
    told: list[Progress] = []
    stored = await fetch(here, apple_of(), told)
    assert (stored.key, stored.version, stored.product, stored.source) == (KEY_14, "14.8.4", "062-58679", "apple")
    assert stored.image.read_bytes() == DISK
    assert stored.dmg and stored.dmg.read_bytes() == DMG_14 and stored.chunklist
    assert len(DMG_14) < stored.size_bytes < len(DISK)  # the zeros of 3 MiB are holes
    assert names(here.root) == sorted([*entry(KEY_14), "incoming"])
    assert here.list() == [stored] and here.find(SONOMA) == stored and here.problems() == []
    record = json.loads((stored.folder / RECORD).read_text())
    assert record["files"][IMAGE] == {"size": len(DISK), "sha256": hashlib.sha256(DISK).hexdigest()}
    assert {event.step for event in told} >= {"recovery image", "convert", "version", "hash"}
    assert warnings(told) == []
    here.verify(stored, origin=apple_of().origin)


async def test_what_is_here_needs_no_network(here: RecoveryStore) -> None:
    stored = await fetch(here, apple_of())
    assert await here.fetch(SONOMA) == stored


async def test_with_force_apple_is_asked_but_bytes_that_are_here_do_not_come_again(here: RecoveryStore) -> None:
    stored = await fetch(here, apple_of())
    stored.image.write_bytes(b"broken")
    assert here.find(SONOMA) is None and "BaseSystem.img has 6 bytes" in here.problems()[0].message
    again = apple_of()
    assert (await fetch(here, again)).image.read_bytes() == DISK  # damaged: all anew
    apple = apple_of()
    stored.image.write_bytes(bytes(len(DISK)))  # what only a look at each byte finds
    with pytest.raises(RecoveryError, match="has changed since it was stored") as caught:
        here.verify(stored, origin=apple.origin)
    assert caught.value.hint == "fetch it again: pommel recovery fetch sonoma --force"
    assert (await fetch(here, apple, force=True)).image.read_bytes() == DISK
    assert "POST" in apple.requests and "GET dmg" not in apple.requests
    assert names(here.root) == sorted([*entry(KEY_14), "incoming"])


async def test_another_version_is_kept_and_the_next_board_asked(here: RecoveryStore) -> None:
    told: list[Progress] = []
    apple = apple_of(boards={SECOND}, others={FIRST: ("093-10615", DMG_15)})
    stored = await fetch(here, apple, told)
    assert stored.version == "14.8.4"
    assert warnings(told) == [
        f"asked Apple for Sonoma 14 as board {FIRST}, got 15.4.1; trying board {SECOND}",
    ]
    assert [(one.version, one.product) for one in here.list()] == [("15.4.1", "093-10615"), ("14.8.4", "062-58679")]
    assert here.find(catalog.find("sequoia")) == here.list()[0]


async def test_a_board_that_is_refused_is_followed_by_the_next(here: RecoveryStore) -> None:
    told: list[Progress] = []
    assert (await fetch(here, apple_of(boards={SECOND}), told)).version == "14.8.4"
    assert warnings(told) == [f"asked Apple for Sonoma 14 as board {FIRST}, got no image; trying board {SECOND}"]
    assert names(here.root) == sorted([*entry(KEY_14), "incoming"])


async def test_no_board_has_it(here: RecoveryStore) -> None:
    with pytest.raises(RecoveryError) as caught:
        await fetch(here, apple_of(boards=set(), others={SECOND: ("093-10615", DMG_15)}))
    assert caught.value.message == (f"Apple gave no Sonoma 14: {FIRST} (latest): no image, {SECOND} (latest): 15.4.1")
    assert "pommel recovery fetch sonoma --offline FILE" in str(caught.value.hint)
    again = apple_of(boards=set(), others={SECOND: ("093-10615", DMG_15)})
    with pytest.raises(RecoveryError, match=r"15\.4\.1"):
        await fetch(here, again)
    assert "GET dmg" not in again.requests  # what the second board gives is known


async def test_an_image_that_says_no_version_is_taken_for_what_was_asked_for(here: RecoveryStore) -> None:
    told: list[Progress] = []
    stored = await fetch(here, apple_of(image=udif.make_dmg(bytes(70_000))), told)
    assert (stored.version, stored.source) == ("14", "apple")
    assert "BaseSystem.dmg does not show which macOS it contains: used as 14, as requested" in warnings(told)


@pytest.mark.parametrize("kind", ["forged", "method 2", "short", "bad chunk"])
async def test_what_cannot_be_trusted_never_arrives(here: RecoveryStore, kind: str) -> None:
    apple = apple_of()
    if kind == "forged":
        apple.chunklist = make_chunklist(DMG_14, 32768, test_key(2))
    elif kind == "method 2":
        two = unsigned([(len(DMG_14), hashlib.sha256(DMG_14).digest())], signature_method=2)
        apple.chunklist = two + hashlib.sha256(two).digest()
    elif kind == "short":
        apple.image = DMG_14[:-1]
    else:
        apple.corrupt = Counter({3: 99})
    with pytest.raises(RecoveryError) as caught:
        await fetch(here, apple)
    assert isinstance(caught.value, ChunklistError) == (kind in ("forged", "method 2"))
    assert not [name for name in names(here.root) if name.startswith(("sha256", ".sha256")) or name.endswith(".dmg")]


async def test_tokens_that_expire_midway(here: RecoveryStore) -> None:
    apple = apple_of(token_uses=3)
    assert (await fetch(here, apple)).version == "14.8.4"
    assert len(apple.posts) > 3


async def test_two_at_once_are_one(here: RecoveryStore) -> None:
    apple = apple_of(delay_s=0.01)
    told: tuple[list[Progress], list[Progress]] = ([], [])
    async with apple.running():
        one, two = await asyncio.gather(
            *(here.fetch(SONOMA, origin=apple.origin, report=each.append, force=True) for each in told)
        )
    assert one == two and len(apple.posts) == 1
    # Each takes the lock in a thread of its own, so either may be the first.
    waited = next(each for each in told if each[0].step == "wait")
    assert "Sonoma is already being downloaded" in waited[0].text


async def test_cancelled_while_it_waits_and_while_it_converts(
    here: RecoveryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apple = apple_of()
    async with apple.running():
        with hold(here.root / "incoming" / ".sonoma.lock", busy=""):
            waiting = asyncio.Event()
            running = asyncio.ensure_future(here.fetch(SONOMA, origin=apple.origin, report=lambda _: waiting.set()))
            await waiting.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        slow = tmp_path / "dmg2img"
        slow.write_text("#!/bin/sh\nexec sleep 60\n")
        slow.chmod(0o755)
        real = shutil.which
        monkeypatch.setattr(shutil, "which", lambda name, **_: str(slow) if name == "dmg2img" else real(name))
        converting = asyncio.Event()

        def report(event: Progress) -> None:
            if event.step == "convert":
                converting.set()

        running = asyncio.ensure_future(here.fetch(SONOMA, origin=apple.origin, report=report))
        await converting.wait()
        began = time.monotonic()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert time.monotonic() - began < 30  # not the program's 60
        assert not [name for name in names(here.root) if "sha256" in name]
        slow.unlink()
        monkeypatch.setattr(shutil, "which", real)
        apple.ranges.clear()
        assert (await here.fetch(SONOMA, origin=apple.origin)).version == "14.8.4"
        assert apple.ranges == []  # the dmg was whole


async def test_a_disk_without_links(here: RecoveryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(*_: object) -> None:
        raise PermissionError(1, "no")

    monkeypatch.setattr(os, "link", no_link)
    stored = await fetch(here, apple_of())
    assert stored.image.read_bytes() == DISK
    here.verify(stored, origin=apple_of().origin)


# -- kills, limits, other interpreters

DRIVER = """
import asyncio, os, signal, sys, types
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from recovery.apple import origin_from
from pommel.errors import PommelError
from pommel.recovery import catalog, store
root, limit, stop, *words = sys.argv[2:]
if int(limit):
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
def report(event):
    if event.step == stop:
        os.kill(os.getpid(), signal.SIGKILL)
if stop == "no look at the room":
    store.shutil.disk_usage = lambda _: types.SimpleNamespace(free=1 << 40)
if stop == "before the name":
    store.entries.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if stop == "after the name":
    store.shutil = types.SimpleNamespace(rmtree=lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
try:
    print(asyncio.run(store.RecoveryStore(Path(root)).fetch(catalog.find("sonoma"), origin=origin_from(words), report=report)).version)
except PommelError as error:
    sys.exit(f"{type(error).__name__}: {error.message}")
"""


@contextlib.contextmanager
def driven(here: RecoveryStore, apple: FakeApple) -> Iterator[object]:
    with served(apple):

        def run(*, stop: str = "", limit: int = 0, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
            words = [str(Path(__file__).parents[1]), str(here.root), str(limit), stop, *driver_words(apple)]
            return subprocess.run(
                [sys.executable, *flags, "-c", DRIVER, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                start_new_session=True,
            )

        yield run


@pytest.mark.parametrize(
    "stop", ["recovery image", "hash", "convert", "check", "version", "before the name", "after the name"]
)
def test_killed_anywhere_then_run_again(here: RecoveryStore, stop: str) -> None:
    apple = apple_of()
    with driven(here, apple) as run:
        assert run(stop=stop).returncode == -signal.SIGKILL  # type: ignore[operator]
        assert len(here.list()) == (stop == "after the name")
        apple.ranges.clear()
        done = run()  # type: ignore[operator]
        assert (done.returncode, done.stdout) == (0, "14.8.4\n")
    if stop != "recovery image":
        assert apple.ranges == []  # the dmg was whole: it goes on from there
    (stored,) = here.list()
    assert stored.image.read_bytes() == DISK and here.problems() == []
    here.verify(stored, origin=apple.origin)
    left = [name for name in names(here.root) if "building" in name or "converting" in name]
    assert left == []


def test_what_a_killed_one_left_of_another_image_is_swept(here: RecoveryStore) -> None:
    left = here.root / f".sha256-{'0' * 64}.building.x"
    busy = here.root / f".sha256-{'1' * 64}.building.x"
    for folder in (left, busy):
        folder.mkdir(parents=True)
    with hold(here.root / f".sha256-{'1' * 64}.lock", busy=""):
        fetched(here)
    assert not left.exists() and busy.exists()


@pytest.mark.parametrize("flags", [(), ("-O",)], ids=["plain", "python-O"])
def test_a_forged_signature_without_a_terminal(here: RecoveryStore, flags: tuple[str, ...]) -> None:
    apple = apple_of(chunklist=make_chunklist(DMG_14, 32768, test_key(2)))
    with driven(here, apple) as run:
        done = run(flags=flags)  # type: ignore[operator]
    assert done.returncode == 1
    assert done.stderr == "ChunklistError: the chunklist cannot be trusted: its signature is not Apple's\n"
    assert "GET dmg" not in apple.requests and here.list() == []


@pytest.mark.parametrize("flags", [(), ("-O",)], ids=["plain", "python-O"])
def test_a_limit_met_midway_then_lifted(here: RecoveryStore, flags: tuple[str, ...]) -> None:
    apple = apple_of()
    with driven(here, apple) as run:
        done = run(limit=len(DMG_14) + 4096, flags=flags)  # type: ignore[operator]
        assert done.returncode == 1 and "could not be converted" in done.stderr
        assert here.list() == [] and here.problems() == []
        apple.ranges.clear()
        assert run(flags=flags).stdout == "14.8.4\n"  # type: ignore[operator]
        assert apple.ranges == []


SMALL = 'mount -t tmpfs -o size="$1"k none "$2" && shift 2 && ! "$@" && mount -o remount,size=32m "$0" && exec "$@"'


def on_a_small_disk(here: RecoveryStore, apple: FakeApple, kib: int, stop: str) -> subprocess.CompletedProcess[str]:
    """Fetch twice in a mount namespace of its own: on a disk of so many KiB, where it must fail, and on a large one."""
    here.root.mkdir(parents=True)
    with served(apple):
        words = [str(Path(__file__).parents[1]), str(here.root), "0", stop, *driver_words(apple)]
        unshared = ["unshare", "--user", "--map-root-user", "--mount"]
        python = [sys.executable, "-c", DRIVER, *words]
        return subprocess.run(
            [*unshared, "sh", "-c", SMALL, here.root, str(kib), here.root, *python],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )


def test_room_for_the_disk_too_is_looked_for_before_the_first_byte(here: RecoveryStore) -> None:
    apple = apple_of()
    done = on_a_small_disk(here, apple, len(DMG_14) * (store.RAW_FACTOR + 1) // 1024 - 64, "")
    assert done.stderr.startswith("RecoveryError: ") and "MB free" in done.stderr
    assert (done.returncode, done.stdout) == (0, "14.8.4\n")
    assert apple.requests.count("GET dmg") == len(set(apple.ranges)) and apple.requests.count("POST") == 2
    assert apple.requests.index("GET dmg") > len(apple.requests) - 1 - apple.requests[::-1].index("POST")


def test_a_disk_that_is_full_midway(here: RecoveryStore) -> None:
    apple = apple_of()
    done = on_a_small_disk(here, apple, len(DMG_14) // 1024 + 200, "no look at the room")
    assert "could not be converted" in done.stderr and "qemu-img" in done.stderr
    assert (done.returncode, done.stdout) == (0, "14.8.4\n")
    assert len(apple.ranges) == len(set(apple.ranges))  # nothing came twice


# -- take


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "my image.dmg"
    path.write_bytes(DMG_14)
    return path


def test_a_local_dmg_with_its_chunklist(here: RecoveryStore, local: Path) -> None:
    local.with_suffix(".chunklist").write_bytes(make_chunklist(DMG_14, 32768))
    told: list[Progress] = []
    stored = here.take(local, version=SONOMA, origin=apple_of().origin, report=told.append)
    assert (stored.key, stored.source, stored.product) == (KEY_14, "apple", None)
    assert stored.image.read_bytes() == DISK and not any("without verification" in event.text for event in told)
    assert local.exists() and stored.dmg and not stored.dmg.samefile(local)
    assert here.take(local, origin=apple_of().origin) == stored


@pytest.mark.parametrize("kind", ["another key", "other bytes"])
def test_a_chunklist_beside_that_is_bad(here: RecoveryStore, local: Path, kind: str) -> None:
    beside = local.with_suffix(".chunklist")
    beside.write_bytes(make_chunklist(DMG_14 if kind == "another key" else DMG_15, 32768))
    origin = None if kind == "another key" else apple_of().origin
    with pytest.raises(RecoveryError, match=r"signature is not Apple's|is not Apple's image"):
        here.take(local, origin=origin)
    assert names(here.root) == []


def test_a_local_dmg_alone_is_taken_and_that_is_said(here: RecoveryStore, local: Path) -> None:
    told: list[Progress] = []
    stored = here.take(local, version=None, report=told.append)
    assert (stored.source, stored.chunklist) == ("offline", None) and stored.dmg
    assert any("without verification" in event.text for event in told)
    here.verify(stored)
    local.with_suffix(".chunklist").write_bytes(make_chunklist(DMG_14, 32768))
    proven = here.take(local, origin=apple_of().origin)
    assert (proven.key, proven.source) == (stored.key, "apple") and proven.chunklist


@pytest.mark.parametrize("name", ["a.img", "a.iso", "raw.dmg"])
def test_a_local_raw_disk(here: RecoveryStore, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(DISK)
    stored = here.take(tmp_path / name, version=SONOMA)
    assert stored.key == "sha256-" + hashlib.sha256(DISK).hexdigest()
    assert (stored.dmg, stored.chunklist, stored.source) == (None, None, "offline")
    assert stored.image.read_bytes() == DISK and stored.size_bytes < 700_000
    here.verify(stored)


def test_files_that_cannot_be_taken(here: RecoveryStore, local: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.img").write_bytes(b"")
    for path, said in (
        (tmp_path / "none", "there is no file"),
        (tmp_path, "there is no file"),
        (tmp_path / "empty.img", "does not show which macOS"),
    ):
        with pytest.raises(RecoveryError, match=said) as caught:
            here.take(path)
        assert caught.value.hint
    with pytest.raises(RecoveryError, match=r"is macOS 14\.8\.4, not Sequoia 15"):
        here.take(local, version=catalog.find("sequoia"))
    assert names(here.root) == []
    here.take(local)
    with pytest.raises(RecoveryError, match="not Sequoia"):
        here.take(local, version=catalog.find("sequoia"))


def test_a_file_that_changes_while_it_is_read(
    here: RecoveryStore, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = store.copy

    def copy(source: Path, target: Path, report: object) -> str:
        source.write_bytes(DMG_15)
        return real(source, target, report)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "copy", copy)
    with pytest.raises(RecoveryError, match="changed while it was read"):
        here.take(local)
    assert names(here.root) == []


def test_a_store_that_cannot_be_written(tmp_path: Path, local: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecoveryError, match="cannot be read or written"):
        RecoveryStore(tmp_path / "file" / "x").take(local)
    with pytest.raises(RecoveryError, match="cannot be read or written"):
        asyncio.run(RecoveryStore(tmp_path / "file" / "x").fetch(SONOMA))


# -- what is there


def test_nothing_is_there(here: RecoveryStore) -> None:
    assert (list(here.list()), list(here.problems()), here.find(SONOMA)) == ([], [], None)
    assert not here.root.exists()


def test_the_newest_that_apple_signed_comes_first(here: RecoveryStore, tmp_path: Path) -> None:
    for version in ("14.10", "14.9.1"):
        (tmp_path / f"{version}.img").write_bytes(udif.macos_disk(version))
        here.take(tmp_path / f"{version}.img")
    found = here.find(SONOMA)
    assert found and found.version == "14.10"
    dmg = tmp_path / "signed.dmg"
    dmg.write_bytes(udif.make_dmg(udif.macos_disk("14.10", seed=2)))
    dmg.with_suffix(".chunklist").write_bytes(make_chunklist(dmg.read_bytes(), 32768))
    signed = here.take(dmg, origin=apple_of().origin)
    assert here.find(SONOMA) == signed
    assert [one.version for one in here.list()] == ["14.10", "14.10", "14.9.1"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / RECORD).unlink(), "image.json is missing"),
        (lambda folder: (folder / RECORD).write_text("{"), "cannot be read"),
        (lambda folder: (folder / RECORD).write_text("[]"), "cannot be read"),
        (lambda folder: (folder / RECORD).write_text('{"format": 2}'), "another version of pommel"),
        (lambda folder: edit(folder, version="../x"), "does not say what is needed"),
        (lambda folder: edit(folder, version="14..1"), "does not say what is needed"),
        (lambda folder: edit(folder, source="friend"), "does not say what is needed"),
        (lambda folder: edit(folder, product=7), "does not say what is needed"),
        (lambda folder: edit(folder, files={"../../x": {"size": 1, "sha256": ""}}), "does not say what is needed"),
        (lambda folder: (folder / IMAGE).unlink(), "BaseSystem.img is missing"),
        (lambda folder: (folder / DMG).write_text(""), "BaseSystem.dmg has 0 bytes"),
        (lambda folder: (folder / CHUNKLIST).unlink(), "BaseSystem.chunklist is missing"),
    ],
)
def test_damaged_entries_are_named_not_listed(here: RecoveryStore, damage: object, said: str) -> None:
    stored = fetched(here)
    damage(stored.folder)  # type: ignore[operator]
    assert here.list() == []
    (problem,) = here.problems()
    assert said in problem.message and str(stored.folder) in problem.message and problem.hint


def edit(folder: Path, **change: object) -> None:
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps(record | change))


def test_verify_finds_one_changed_byte_anywhere(here: RecoveryStore) -> None:
    stored = fetched(here)
    origin = apple_of().origin
    for name in (IMAGE, DMG, CHUNKLIST):
        path = stored.folder / name
        data = path.read_bytes()
        path.write_bytes(data[:500] + bytes([data[500] ^ 1]) + data[501:])
        with pytest.raises(RecoveryError):
            here.verify(stored, origin=origin)
        path.write_bytes(data)
    here.verify(stored, origin=origin)
    with pytest.raises(ChunklistError):
        here.verify(stored)  # Apple's own key, unless a test says otherwise


def test_removed(here: RecoveryStore) -> None:
    stored = fetched(here)
    with hold(here.root / f".{stored.key}.lock", busy=""), pytest.raises(BusyError, match="in use"):
        here.remove(stored)
    assert here.list() == [stored]
    here.remove(stored)
    here.remove(stored)
    assert here.list() == [] and names(here.root) == ["incoming"]
    assert sorted(path.name for path in here.root.iterdir()) == ["incoming"]
