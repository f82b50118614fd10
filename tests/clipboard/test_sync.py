"""Everything together: a real X server here, a real sshd and another X server, or a Mac's stand-in, there."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import sys
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from pommel import process
from pommel.clipboard.content import FORMS, TEXT, HeldBack, text_of
from pommel.clipboard.engine import Side, SyncDirection
from pommel.clipboard.host import Desktop, HostClipboard, HostGone, host_clipboard
from pommel.clipboard.sync import Settings, Sync, SyncState, only_sync
from pommel.clipboard.uris import uri_list
from pommel.errors import BusyError
from waits import until

from .conftest import Clip, Mac, Sshd, descendants
from .conftest import syncing as synced

FAST = Settings(backoff_s=(0.05, 0.1), refused_s=0.1, every_ms=10, ping_s=0.5)
UTF8 = "public.utf8-plain-text"


def syncing(sshd: Sshd, host: HostClipboard, settings: Settings = FAST) -> AbstractAsyncContextManager[Sync]:
    return synced(sshd.ssh, host, settings)


async def pasted(clip: Clip, text: bytes) -> None:
    await until(lambda: clip.paste() == text)


async def test_both_ways(posix_guest: Sshd, x11: HostClipboard, host_clip: Clip, guest_clip: Clip) -> None:
    async with syncing(posix_guest, x11) as sync:
        await pasted(guest_clip, b"at the beginning")
        for number in range(3):
            host_clip.copy(text := f"from the host {number} ü\r\n".encode())
            await pasted(guest_clip, text)
            guest_clip.copy(text := f"from the guest {number} ü\n\n".encode())
            await pasted(host_clip, text)
        await until(lambda: sync.snapshot.to_guest == sync.snapshot.to_host == 3)
        told = sync.snapshot
        assert told.guest == "posix" and "X11" in told.host and told.connections == 1
        assert told.last_change and told.latency_s is not None
        # And then it is quiet: nothing goes round.
        await asyncio.sleep(0.3)
        assert (sync.snapshot.to_guest, sync.snapshot.to_host) == (3, 3)


async def test_a_mac(mac: Mac, x11: HostClipboard, host_clip: Clip) -> None:
    tiff, png = io.BytesIO(), io.BytesIO()
    picture = Image.linear_gradient("L")
    picture.save(tiff, "TIFF")
    async with syncing(mac.sshd, x11):
        await until(lambda: mac.items() == [{UTF8: b"at the beginning"}])
        host_clip.copy(b"<b>bold</b>", "text/html")
        await until(lambda: mac.items()[:1] and mac.items()[0].get(UTF8) == b"bold")
        assert b"<b>bold</b>" in mac.items()[0]["public.html"]
        mac.copy({"public.tiff": tiff.getvalue()})
        await until(lambda: (host_clip.paste("image/png") or b"").startswith(b"\x89PNG"))
        png.write(host_clip.paste("image/png") or b"")
        with Image.open(png) as made:
            assert made.tobytes() == picture.tobytes()
        mac.copy({UTF8: b"pass", "org.nspasteboard.ConcealedType": b""})
        mac.copy({UTF8: b"known"})
        await pasted(host_clip, b"known")
        mac.copy()
        await until(lambda: host_clip.paste() is None)


async def test_pictures_of_a_shells_guest(posix_guest: Sshd, display: str, host_clip: Clip, guest_clip: Clip) -> None:
    """Whatever they are, the other side has PNG, and neither side's own copy is taken over by what was made of it."""
    made = {}
    for kind, shade in (("BMP", 10), ("JPEG", 200)):
        made[kind] = io.BytesIO()
        Image.new("RGB", (8, 4), (shade, shade, shade)).save(made[kind], kind)

    def has(clip: Clip, shade: int) -> bool:
        data = clip.paste("image/png") or b""
        if not data.startswith(b"\x89PNG"):  # xclip hands its text over under any name
            return False
        with Image.open(io.BytesIO(data)) as picture:
            return (picture.format, picture.getpixel((0, 0))) == ("PNG", (shade, shade, shade))

    async with (
        host_clipboard(Desktop("x11", display), forms=frozenset(FORMS)) as host,
        syncing(posix_guest, host) as sync,
    ):
        await pasted(guest_clip, b"at the beginning")
        host_clip.copy(made["BMP"].getvalue(), "image/bmp")
        await until(lambda: has(guest_clip, 10))
        await until(lambda: sync.snapshot.to_guest == 1)
        # And then it is quiet: what the guest tells of that is no copy of its own.
        await asyncio.sleep(0.4)
        assert (sync.snapshot.to_guest, sync.snapshot.to_host) == (1, 0)
        assert (host_clip.paste("image/bmp") or b"")[:2] == b"BM"
        guest_clip.copy(made["JPEG"].getvalue(), "image/jpeg")
        await until(lambda: has(host_clip, 200))
        # One that cannot be read takes nothing away here, and is told of.
        guest_clip.copy(b"no picture", "image/webp")
        await until(lambda: sync.snapshot.stayed_on_guest is HeldBack.PICTURE)
        assert has(host_clip, 200)


async def test_a_secret_is_not_sent_and_said(mac: Mac, x11: HostClipboard, host_clip: Clip) -> None:
    async with syncing(mac.sshd, x11) as sync:
        await until(mac.items)
        mac.copy({UTF8: b"pass", "org.nspasteboard.ConcealedType": b""})
        await until(lambda: sync.snapshot.stayed_on_guest is HeldBack.SECRET)
        assert host_clip.paste() == b"at the beginning"


@pytest.mark.parametrize("direction", [SyncDirection.HOST_TO_GUEST, SyncDirection.GUEST_TO_HOST])
async def test_one_way_only(mac: Mac, x11: HostClipboard, host_clip: Clip, direction: SyncDirection) -> None:
    async with syncing(mac.sshd, x11, replace(FAST, direction=direction)) as sync:
        if direction is SyncDirection.HOST_TO_GUEST:
            mac.copy({UTF8: b"guest's"})
            host_clip.copy(b"host's")
            await until(lambda: mac.items() == [{UTF8: b"host's"}])
            assert host_clip.paste() == b"host's"
        else:
            # What the host has not told of yet would win a tie; a guest's copy before it could come after it.
            host_clip.copy(b"host's")
            await until(lambda: (known := sync._engine.holds(Side.HOST)) and known.text == b"host's")
            mac.copy({UTF8: b"guest's again"})
            await pasted(host_clip, b"guest's again")
            assert mac.items() == [{UTF8: b"guest's again"}]
            # Unless a person asks for it.
            sync.give(Side.HOST)
        assert sync.snapshot.state is SyncState.SYNCING


async def test_sshd_restarts(posix_guest: Sshd, x11: HostClipboard, host_clip: Clip, guest_clip: Clip) -> None:
    async with syncing(posix_guest, x11) as sync:
        await pasted(guest_clip, b"at the beginning")
        posix_guest.stop()
        await until(lambda: sync.snapshot.state is SyncState.ASLEEP)
        assert "no connection" in sync.snapshot.why
        host_clip.copy(b"copied meanwhile")
        posix_guest.start()
        await pasted(guest_clip, b"copied meanwhile")
        assert sync.snapshot.connections == 2 and sync.snapshot.why == ""


async def test_both_changed_meanwhile_and_the_loser_is_kept(
    posix_guest: Sshd, x11: HostClipboard, host_clip: Clip, guest_clip: Clip
) -> None:
    async with syncing(posix_guest, x11, replace(FAST, history=3)) as sync:
        await pasted(guest_clip, b"at the beginning")
        posix_guest.stop()
        host_clip.copy(b"host's")
        guest_clip.copy(b"guest's")
        await pasted(host_clip, b"host's")
        await pasted(guest_clip, b"guest's")  # xclip takes its time; what was there before would be a copy of its own
        posix_guest.start()
        await pasted(guest_clip, b"host's")
        # What the guest had at the beginning may have lost a tie before, if it was heard of only after the host's copy.
        assert [(lost.side, lost.content.get(TEXT)) for lost in sync.history][-1:] == [(Side.GUEST, b"guest's")]


def command_of(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


async def arrives(source: Clip, target: Clip, text: bytes) -> None:
    """Copy until it gets there."""
    for attempt in range(20):
        source.copy(copied := text + b", %d" % attempt)
        with contextlib.suppress(AssertionError):
            await until(lambda copied=copied: target.paste() == copied, 2.0)
            return
    raise AssertionError("no copy arrives")


async def test_any_process_may_be_killed(
    posix_guest: Sshd, x11: HostClipboard, host_clip: Clip, guest_clip: Clip
) -> None:
    """What was copied at that very moment may lose the tie; the next copy gets there."""
    daemon = posix_guest.daemon
    assert daemon is not None
    async with syncing(posix_guest, x11) as sync:
        await pasted(guest_clip, b"at the beginning")
        for which in range(len(descendants(daemon.pid))):
            # A watch that lost its parent is no descendant any more: it takes twenty pings to be replaced.
            await until(lambda: any(b"\0watch\0" in command_of(pid) for pid in descendants(daemon.pid)), 60)
            there = descendants(daemon.pid)
            with contextlib.suppress(ProcessLookupError):  # some live for one look at the clipboard only
                os.kill(there[min(which, len(there) - 1)], signal.SIGKILL)
            await arrives(host_clip, guest_clip, b"there %d" % which)
            await arrives(guest_clip, host_clip, b"back %d" % which)
        assert sync.snapshot.connections > 1


def python_of_the_guest(tmp_path: Path, before: str) -> None:
    """Have a guest's python do something first, once."""
    python, done = tmp_path / "bin" / "python3", tmp_path / "done"
    python.unlink()
    python.write_text(f'#!/bin/sh\n[ -e {done} ] || {{ {before}; }}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)


def watches(guest: Sshd) -> list[int]:
    assert guest.daemon is not None
    return [pid for pid in descendants(guest.daemon.pid) if b"\0watch\0" in command_of(pid)]


async def test_a_python_killed_at_its_first_word_is_not_a_missing_one(
    tmp_path: Path, posix_guest: Sshd, x11: HostClipboard, guest_clip: Clip
) -> None:
    """Or the guest would be looked at four times a second for as long as that connection lasts."""
    python_of_the_guest(tmp_path, f": >{tmp_path}/done; kill -9 $$")
    async with syncing(posix_guest, x11) as sync:
        await pasted(guest_clip, b"at the beginning")
        await until(lambda: watches(posix_guest))
        assert sync.snapshot.connections == 2


async def test_a_watch_whose_parent_is_killed_before_it_has_looked_for_it(
    tmp_path: Path, posix_guest: Sshd, x11: HostClipboard, guest_clip: Clip
) -> None:
    only_the_watch = f"case $4 in watch) : >{tmp_path}/done; kill -9 $PPID; sleep 0.1;; esac"
    python_of_the_guest(tmp_path, only_the_watch)
    async with syncing(posix_guest, x11) as sync:
        await pasted(guest_clip, b"at the beginning")
        await until(lambda: sync.snapshot.connections == 2)
        await until(lambda: watches(posix_guest))


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_nothing_stays_on_the_guest_when_the_process_that_hears_us_is_killed(
    posix_guest: Sshd, x11: HostClipboard, guest_clip: Clip
) -> None:
    async with syncing(posix_guest, x11) as sync:
        await until(lambda: watches(posix_guest))
        (watch,) = watches(posix_guest)
        hearer = parent_of(parent_of(watch))
        speaker = parent_of(hearer)
        os.kill(hearer, signal.SIGKILL)
        await until(lambda: sync.snapshot.connections == 2)
        await until(lambda: not any(command_of(pid) for pid in (watch, speaker)))


def our_ssh() -> list[int]:
    return [pid for pid in descendants(os.getpid()) if command_of(pid).startswith(b"/usr/bin/ssh\0")]


async def test_our_ssh_is_killed(posix_guest: Sshd, x11: HostClipboard, host_clip: Clip, guest_clip: Clip) -> None:
    async with syncing(posix_guest, x11) as sync:
        await pasted(guest_clip, b"at the beginning")
        for turn in range(2):
            (pid,) = our_ssh()
            os.kill(pid, signal.SIGKILL)
            await until(lambda turn=turn: sync.snapshot.connections == turn + 2)
            await arrives(host_clip, guest_clip, b"there %d" % turn)
            await arrives(guest_clip, host_clip, b"back %d" % turn)


async def test_a_connection_that_sleeps_a_little_is_kept(mac: Mac, x11: HostClipboard, host_clip: Clip) -> None:
    async with syncing(mac.sshd, x11, replace(FAST, ping_s=5.0)) as sync:
        await until(lambda: mac.items() == [{UTF8: b"at the beginning"}])
        (pid,) = our_ssh()
        os.kill(pid, signal.SIGSTOP)
        for number in range(5):
            host_clip.copy(b"while it slept %d" % number)
        await asyncio.sleep(0.3)
        os.kill(pid, signal.SIGCONT)
        await until(lambda: mac.items() == [{UTF8: b"while it slept 4"}])
        assert sync.snapshot.connections == 1


async def test_one_that_does_not_wake_up_is_given_up(mac: Mac, x11: HostClipboard, host_clip: Clip) -> None:
    """As after the host's sleep, when the other end has forgotten the connection."""
    async with syncing(mac.sshd, x11, replace(FAST, ping_s=0.1)) as sync:
        await until(lambda: mac.items() == [{UTF8: b"at the beginning"}])
        (pid,) = our_ssh()
        os.kill(pid, signal.SIGSTOP)
        host_clip.copy(b"meanwhile")
        await until(lambda: sync.snapshot.connections == 2)
        assert pid not in our_ssh()
        await until(lambda: mac.items() == [{UTF8: b"meanwhile"}])


SYNC = """
import asyncio, json, sys
from pathlib import Path
from pommel.clipboard.content import FORMS
from pommel.clipboard.host import Desktop, host_clipboard
from pommel.clipboard.sync import Settings, Sync
async def main(ssh, display, files):
    async with host_clipboard(Desktop("x11", display), forms=frozenset(FORMS)) as host:
        told = lambda now: print(now.state.value, now.transfer and now.transfer.stage.value, flush=True)
        await Sync(ssh, host, Settings(every_ms=10, files=Path(files)), on_change=told).run()
asyncio.run(main(*json.loads(sys.argv[1])))
"""


@pytest.mark.parametrize("moment", ["syncing None", "syncing copying"])
async def test_the_sync_itself_is_killed(mac: Mac, host_clip: Clip, display: str, tmp_path: Path, moment: str) -> None:
    """No process of it stays, here or there; the next one goes on where it was and sweeps what it left half done."""
    import subprocess

    big, files = tmp_path / "big", str(tmp_path / "files")
    big.write_bytes(os.urandom(50 << 20))
    host_clip.copy(uri_list([os.fsencode(big)]), "text/uri-list")
    argv = [sys.executable, "-c", SYNC, json.dumps([mac.sshd.ssh, display, files])]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        await asyncio.to_thread(lambda: next(line for line in first.stdout or () if line.strip().decode() == moment))
        theirs = descendants(first.pid)
        assert theirs
        first.kill()
    await until(lambda: not any(Path(f"/proc/{pid}/fd/0").exists() for pid in theirs))
    assert mac.sshd.daemon is not None
    await until(lambda: mac.sshd.daemon and not descendants(mac.sshd.daemon.pid))
    async with (
        host_clipboard(Desktop("x11", display), forms=frozenset(FORMS)) as host,
        syncing(mac.sshd, host, replace(FAST, files=Path(files))),
    ):
        await until(lambda: mac.items() and "public.file-url" in mac.items()[0])
        (kept,) = (mac.sshd.root / ".cache/pommel-clipboard").glob("*")
        assert [path.name[0] for path in kept.iterdir()] == ["0"]


async def test_a_cameras_picture_comes_as_png(mac: Mac, x11: HostClipboard, host_clip: Clip, display: str) -> None:
    jpeg = io.BytesIO()
    picture = Image.linear_gradient("L")
    picture.save(jpeg, "JPEG")
    async with host_clipboard(Desktop("x11", display), forms=frozenset(FORMS)) as host, syncing(mac.sshd, host) as sync:
        await until(mac.items)
        host_clip.copy(jpeg.getvalue(), "image/jpeg")
        await until(lambda: mac.items()[:1] and "public.png" in mac.items()[0])
        with Image.open(io.BytesIO(mac.items()[0]["public.png"])) as made, Image.open(jpeg) as given:
            assert made.tobytes() == given.tobytes()
        host_clip.copy(b"no picture", "image/jpeg")
        await asyncio.sleep(0.1)
        host_clip.copy(b"next")
        await until(lambda: mac.items() == [{UTF8: b"next"}])
        await until(lambda: sync.snapshot.to_guest == 3)  # the confirmation comes after


def resources() -> tuple[int, int, int]:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages, len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())


async def test_hundreds_of_copies_both_ways_leave_nothing_behind(
    mac: Mac, x11: HostClipboard, host_clip: Clip, display: str
) -> None:
    """The whole way each; `bench/clipboard.py --growth` does ten thousand."""
    async with syncing(mac.sshd, x11) as sync, host_clipboard(Desktop("x11", display)) as other:
        await until(lambda: mac.items() == [{UTF8: b"at the beginning"}])

        async def forty(name: str) -> None:
            for number in range(40):
                await other.write(text_of(text := f"{name} {number}"), 1 << 60)
                await until(lambda text=text: mac.items() == [{UTF8: text.encode()}])
                mac.copy({UTF8: text.encode() + b"!"})
                await until(
                    lambda text=text: (change := sync._engine.holds(Side.HOST)) and change.text == text.encode() + b"!"
                )

        await forty("warm")
        before = resources()
        for turn in range(3):
            await forty(f"turn {turn}")
        after = resources()
        assert after[1:] == before[1:]
        assert after[0] - before[0] < 1000, "pages"


async def test_refused_says_which_key_and_tries_again(posix_guest: Sshd, x11: HostClipboard, guest_clip: Clip) -> None:
    authorized = posix_guest.root / "authorized"
    keys = authorized.read_text()
    authorized.write_text("")
    sync = Sync(posix_guest.ssh, x11, replace(FAST, refused_s=1000))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(sync.run())
        await until(lambda: sync.snapshot.state is SyncState.REFUSED)
        assert "publickey" in sync.snapshot.why and sync.snapshot.hint
        authorized.write_text(keys)
        sync.connect_now()
        await pasted(guest_clip, b"at the beginning")
        running.cancel()


class Ended:
    """A host whose desktop ends."""

    name, forms = "none", frozenset({TEXT})

    async def next_change(self) -> None:
        raise HostGone("the desktop is gone")

    async def write(self, content: object, expected: int) -> bool:
        return True


async def test_the_desktops_end_is_the_syncs() -> None:
    with pytest.raises(HostGone, match="the desktop is gone"):
        await Sync(["false"], Ended()).run()  # type: ignore[arg-type]


async def test_ssh_is_missing(x11: HostClipboard) -> None:
    from pommel.errors import MissingProgram

    with pytest.raises(MissingProgram):
        await Sync(["no-such-ssh"], x11).run()


def test_a_second_sync_is_refused_with_the_firsts_pid(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from pommel.clipboard.sync import only_sync\n"
        "with only_sync(pathlib.Path(sys.argv[1]), 'trial'): print('held', flush=True); input()"
    )
    import subprocess

    argv = [sys.executable, "-c", script, str(tmp_path / "lock")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None and first.stdout.readline() == b"held\n"
        refused = pytest.raises(BusyError, match=rf"the clipboard of trial is already synced \(pid {first.pid}\)")
        with refused, only_sync(tmp_path / "lock", "trial"):
            pass
        process.end_group(first.pid, signal.SIGKILL)
        first.kill()
    with only_sync(tmp_path / "lock", "trial"):
        pass


async def test_many_copies_leave_nothing_behind(mac: Mac, x11: HostClipboard, host_clip: Clip) -> None:
    """Over the whole way: counts of tasks and descriptors stay, and the last copy is the one that is there."""
    async with syncing(mac.sshd, x11) as sync:
        await until(lambda: mac.items() == [{UTF8: b"at the beginning"}])
        before = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
        for number in range(2000):
            sync._dispatch(sync._engine.observe(Side.HOST, text_of(f"copy {number}"), 0, 1000.0 + number))
            if number % 10 == 0:
                await asyncio.sleep(0)
        await until(lambda: mac.items() == [{UTF8: b"copy 1999"}])
        await until(lambda: sync._engine.settled)
        assert (len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))) == before
        assert len(sync._slots[Side.GUEST]._begun) <= 16
