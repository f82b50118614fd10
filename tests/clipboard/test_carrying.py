"""Files across a real sshd and its SFTP server: a Mac's stand-in and the trial machine's kind, with a real X server here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from pommel import process
from pommel.clipboard.carrying import TransferStage
from pommel.clipboard.content import FILES_OF_GUEST, FILES_OF_HOST, FORMS, HeldBack
from pommel.clipboard.engine import Side, SyncDirection
from pommel.clipboard.host import Desktop, HostClipboard, host_clipboard
from pommel.clipboard.sync import Settings, SyncState
from pommel.clipboard.targets import FILES
from pommel.clipboard.uris import paths_of, uri_list
from waits import until

from .conftest import Clip, Mac, Sshd, descendants, syncing

FILE = "public.file-url"
# Names that a shell, a URI, a list of lines or an encoding could take for something else.
NAMES = [b"plain", b"two words", b"quote'\"", b"line\nend", b"-rf", b"$(id) `id` ;&|", b"%41 #?", b"\xff\xfe", "grün 🍎".encode(), b"*"]  # fmt: skip


@pytest.fixture
async def files_host(host_clip: Clip, display: str) -> AsyncIterator[HostClipboard]:
    async with host_clipboard(Desktop("x11", display), forms=frozenset(FORMS)) as clipboard:
        yield clipboard


def settings(tmp_path: Path, **more: object) -> Settings:
    given = Settings(backoff_s=(0.05, 0.1), every_ms=10, ping_s=0.5, files=tmp_path / "host-files", guest_name="mac")
    return replace(given, **more)  # type: ignore[arg-type]


def tree(folder: Path) -> Path:
    """A folder with all that can be copied in it, and some that cannot."""
    top = folder / "to copy"
    top.mkdir()
    for number, name in enumerate(NAMES):
        Path(os.fsdecode(os.fsencode(top) + b"/" + name)).write_bytes(bytes([number]) * (number * 50_000))
    (top / "sub").mkdir(mode=0o750)
    (top / "sub/tool").write_bytes(b"#!/bin/sh\n")
    (top / "sub/tool").chmod(0o755)
    (top / "sub/tool").touch()
    os.utime(top / "sub/tool", (1_000_000_000, 1_000_000_000))
    (top / "sub/link").symlink_to("../plain")
    (top / "empty").mkdir()
    return top


def same(one: Path, other: Path) -> None:
    found, meant = ({path.relative_to(top): path for path in top.rglob("*")} for top in (one, other))
    assert set(found) == set(meant)
    for name, path in found.items():
        told, original = path.lstat(), meant[name].lstat()
        assert stat.S_IFMT(told.st_mode) == stat.S_IFMT(original.st_mode)
        if path.is_symlink():
            assert path.readlink() == meant[name].readlink()
        elif path.is_file():
            assert path.read_bytes() == meant[name].read_bytes()
            assert stat.S_IMODE(told.st_mode) == stat.S_IMODE(original.st_mode)
            assert int(told.st_mtime) == int(original.st_mtime)


def copies(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name != ".lock") if folder.exists() else []


def guest_files(sshd: Sshd) -> Path | None:
    return next(iter((sshd.root / ".cache/pommel-clipboard").glob("*")), None)


def mac_paths(mac: Mac) -> list[Path]:
    return [Path(os.fsdecode(paths_of(item[FILE])[0])) for item in mac.items() if FILE in item]


async def test_what_the_host_copies_is_sent_to_a_mac(
    tmp_path: Path, mac: Mac, files_host: HostClipboard, host_clip: Clip
) -> None:
    top, lone = tree(tmp_path), tmp_path / "lone"
    lone.write_bytes(b"alone")
    async with syncing(mac.sshd.ssh, files_host, settings(tmp_path)) as sync:
        await until(mac.items)
        host_clip.copy(uri_list([os.fsencode(top), os.fsencode(lone)]), "text/uri-list")
        await until(lambda: len(mac_paths(mac)) == 2)
        there = mac_paths(mac)
        same(there[0], top)
        assert there[1].read_bytes() == b"alone" and there[1].name == "lone"
        told = sync.snapshot.transfer
        assert told is not None and (told.side, told.stage, told.names) == (
            Side.GUEST,
            TransferStage.DONE,
            ("to copy", "lone"),
        )
        assert told.files == len(NAMES) + 2 and told.done == told.total and not told.left_out and not told.cut
        folder = guest_files(mac.sshd)
        assert folder is not None and stat.S_IMODE(folder.stat().st_mode) == 0o700
        await until(lambda: sync.snapshot.to_guest == 2)  # the confirmation comes after
        # And it stays there: the guest does not send it back.
        await asyncio.sleep(0.2)
        assert sync.snapshot.to_host == 0
        # A guest that lost its clipboard gets it again; the copy is there already.
        mac.sshd.stop()
        await until(lambda: sync.snapshot.state is SyncState.ASLEEP)
        mac.sshd.start()
        await until(lambda: sync.snapshot.to_guest == 3)
        assert mac_paths(mac) == there and len(copies(folder)) == 1


async def test_what_a_mac_copies_is_fetched_when_it_is_pasted(
    tmp_path: Path, mac: Mac, files_host: HostClipboard, host_clip: Clip
) -> None:
    top = tree(tmp_path)
    async with syncing(mac.sshd.ssh, files_host, settings(tmp_path)) as sync:
        await until(mac.items)
        mac.copy({FILE: uri_list([os.fsencode(top)]).strip()})
        await until(lambda: sync.snapshot.to_host == 1)
        told = sync.snapshot.transfer
        assert told is not None and (told.side, told.stage, told.done) == (Side.HOST, TransferStage.PENDING, 0)
        assert told.names == ("to copy",) and told.files == len(NAMES) + 1
        # Whoever only looks which forms there are fetches nothing.
        assert b"text/uri-list" in (host_clip.paste("TARGETS") or b"")
        assert copies(tmp_path / "host-files") == []
        pasted = await asyncio.to_thread(host_clip.paste, "text/uri-list")
        (here,) = (Path(os.fsdecode(path)) for path in paths_of(pasted or b""))
        same(here, top)
        assert stat.S_IMODE((tmp_path / "host-files").stat().st_mode) == 0o700
        gnome = await asyncio.to_thread(host_clip.paste, FILES)
        assert gnome == b"copy\n" + (pasted or b"").strip()
        # Copied once more, it is fetched once more: it may have changed, at the same size and within a second.
        mac.copy({"public.utf8-plain-text": b"between"})
        await until(lambda: host_clip.paste() == b"between")
        assert sync.snapshot.transfer is None
        mac.copy({FILE: uri_list([os.fsencode(top)]).strip()})
        await until(lambda: sync.snapshot.to_host == 3)
        again = await asyncio.to_thread(host_clip.paste, "text/uri-list")
        assert again and again != pasted and len(copies(tmp_path / "host-files")) == 2


async def test_the_trial_machines_kind_both_ways(
    tmp_path: Path, posix_guest: Sshd, files_host: HostClipboard, host_clip: Clip, guest_clip: Clip
) -> None:
    top = tree(tmp_path)
    async with syncing(posix_guest.ssh, files_host, settings(tmp_path)) as sync:
        await until(lambda: guest_clip.paste() == b"at the beginning")
        host_clip.copy(b"cut\n" + uri_list([os.fsencode(top)]).strip(), FILES)
        # xclip hands its text to whoever asks for anything.
        await until(lambda: (guest_clip.paste("text/uri-list") or b"").startswith(b"file:"))
        (there,) = (Path(os.fsdecode(path)) for path in paths_of(guest_clip.paste("text/uri-list") or b""))
        assert str(there).startswith(str(posix_guest.root / ".cache/pommel-clipboard"))
        same(there, top)
        assert sync.snapshot.transfer is not None and sync.snapshot.transfer.cut and top.exists()
        # The guest tells of our own list as if it were a copy of its own: nothing goes round.
        await asyncio.sleep(0.3)
        assert sync.snapshot.to_host == 0
        lone = tmp_path / "lone"
        lone.write_bytes(b"alone")
        guest_clip.copy(uri_list([os.fsencode(lone)]), "text/uri-list")
        await until(lambda: sync.snapshot.to_host == 1)
        pasted = await asyncio.to_thread(host_clip.paste, "text/uri-list")
        assert [Path(os.fsdecode(path)).read_bytes() for path in paths_of(pasted or b"")] == [b"alone"]
        guest_clip.copy(b"text again")
        await until(lambda: host_clip.paste() == b"text again")


async def test_more_than_the_limit_is_said_and_what_to_type(
    tmp_path: Path, mac: Mac, files_host: HostClipboard, host_clip: Clip
) -> None:
    big = tmp_path / "two words"
    big.write_bytes(b"x" * 2000)
    async with syncing(mac.sshd.ssh, files_host, settings(tmp_path, files_limit=1999, paste_limit=1999)) as sync:
        await until(mac.items)
        host_clip.copy(uri_list([os.fsencode(big)]), "text/uri-list")
        await until(lambda: sync.snapshot.transfer and sync.snapshot.transfer.stage is TransferStage.REFUSED)
        told = sync.snapshot.transfer
        assert told is not None and told.side is Side.GUEST and "1 file, 2.0 KiB" in told.why
        assert told.hint == f"pommel scp -r '{big}' mac:"
        assert mac.items() == [{"public.utf8-plain-text": b"at the beginning"}]
        mac.copy({FILE: uri_list([os.fsencode(big)]).strip()})
        await until(lambda: sync.snapshot.transfer and sync.snapshot.transfer.side is Side.HOST)
        await until(lambda: sync.snapshot.transfer and sync.snapshot.transfer.stage is TransferStage.REFUSED)
        assert sync.snapshot.transfer is not None and sync.snapshot.transfer.hint == f"pommel scp -r 'mac:{big}' ."
        assert sync.snapshot.to_host == 0
        # The next copy travels.
        host_clip.copy(b"small")
        await until(lambda: mac.items() == [{"public.utf8-plain-text": b"small"}])
        assert sync.snapshot.transfer is None


async def test_files_obey_the_direction(tmp_path: Path, mac: Mac, files_host: HostClipboard, host_clip: Clip) -> None:
    lone = tmp_path / "lone"
    lone.write_bytes(b"alone")
    given = settings(tmp_path, direction=SyncDirection.GUEST_TO_HOST)
    async with syncing(mac.sshd.ssh, files_host, given) as sync:
        host_clip.copy(uri_list([os.fsencode(lone)]), "text/uri-list")
        await until(lambda: (held := sync._engine.holds(Side.HOST)) and held.names == (FILES_OF_HOST,))
        mac.copy({FILE: uri_list([os.fsencode(lone)]).strip()})
        await until(lambda: sync.snapshot.to_host == 1)
        assert guest_files(mac.sshd) is None
        sync.give(Side.HOST)  # a person asks for it: its own file's list goes back to the guest as it came
        assert sync.snapshot.to_guest == 0


async def test_a_guest_cannot_ask_for_the_hosts_files(
    tmp_path: Path, mac: Mac, files_host: HostClipboard, host_clip: Clip
) -> None:
    """It names a path, forgets it (a restart), and gets "the host's clipboard" back: its own list, not the host's file."""
    secret = tmp_path / "id_ed25519"
    secret.write_bytes(b"the host's")
    async with syncing(mac.sshd.ssh, files_host, settings(tmp_path)) as sync:
        await until(mac.items)
        uris = uri_list([os.fsencode(secret)]).strip()
        mac.copy({FILE: uris})
        await until(lambda: sync.snapshot.to_host == 1)
        holds = sync._engine.holds(Side.HOST)
        assert holds is not None and holds.names == (FILES_OF_GUEST,)
        mac.sshd.stop()
        await until(lambda: sync.snapshot.state is SyncState.ASLEEP)
        mac.sshd.start()  # with it the stand-in's pasteboard, empty
        await until(lambda: sync.snapshot.state is SyncState.SYNCING and mac.items() == [{FILE: uris}])
        assert guest_files(mac.sshd) is None


async def test_gone_or_closed_files_are_told(
    tmp_path: Path, mac: Mac, files_host: HostClipboard, host_clip: Clip
) -> None:
    async with syncing(mac.sshd.ssh, files_host, settings(tmp_path)) as sync:
        await until(mac.items)
        host_clip.copy(uri_list([b"/nonexistent/a"]), "text/uri-list")
        await until(lambda: sync.snapshot.transfer and sync.snapshot.transfer.stage is TransferStage.FAILED)
        assert sync.snapshot.transfer is not None and "No such file" in sync.snapshot.transfer.why
        mac.copy({FILE: b"file:///nonexistent/a"})
        await until(lambda: sync.snapshot.transfer and sync.snapshot.transfer.side is Side.HOST)
        await until(lambda: sync.snapshot.transfer and sync.snapshot.transfer.stage is TransferStage.FAILED)
        assert "it no longer exists" in sync.snapshot.transfer.why
        # Gone between the copy and the paste: who pastes gets nothing, and it is told.
        lone = tmp_path / "lone"
        lone.write_bytes(b"alone")
        mac.copy({FILE: uri_list([os.fsencode(lone)]).strip()})
        await until(lambda: sync.snapshot.to_host == 1)
        lone.unlink()
        assert await asyncio.to_thread(host_clip.paste, "text/uri-list") is None
        assert sync.snapshot.transfer is not None and sync.snapshot.transfer.stage is TransferStage.FAILED
        # It is there again: the next paste fetches it.
        lone.write_bytes(b"alone")
        assert await asyncio.to_thread(host_clip.paste, "text/uri-list")
        assert copies(tmp_path / "host-files")[0].name[0] != "."


async def test_without_a_folder_files_stay(
    tmp_path: Path, mac: Mac, files_host: HostClipboard, host_clip: Clip
) -> None:
    async with syncing(mac.sshd.ssh, files_host, settings(tmp_path, files=None)) as sync:
        await until(mac.items)
        host_clip.copy(uri_list([b"/etc/hostname"]), "text/uri-list")
        await until(lambda: sync.snapshot.stayed_on_host is HeldBack.NO_FILES)


async def test_a_second_sync_with_the_same_folder_has_no_files(
    tmp_path: Path, mac: Mac, files_host: HostClipboard, host_clip: Clip, display: str
) -> None:
    async with (
        syncing(mac.sshd.ssh, files_host, settings(tmp_path)),
        host_clipboard(Desktop("x11", display), forms=frozenset(FORMS)) as other,
        syncing(mac.sshd.ssh, other, settings(tmp_path)) as second,
    ):
        assert second.snapshot.notes == ("files are not synced: another sync keeps its files there (this process)",)
        host_clip.copy(b"text is")
        await until(lambda: mac.items() == [{"public.utf8-plain-text": b"text is"}])


def sftp_clients() -> list[int]:
    found = []
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[0] == b"/usr/bin/ssh" and b"-s" in words:
                found.append(pid)
    return found


async def test_a_killed_connection_for_files_is_made_again(
    tmp_path: Path, mac: Mac, files_host: HostClipboard, host_clip: Clip
) -> None:
    big = tmp_path / "big"
    big.write_bytes(os.urandom(40 << 20))
    async with syncing(mac.sshd.ssh, files_host, settings(tmp_path)) as sync:
        await until(mac.items)
        mac.copy({FILE: uri_list([os.fsencode(big)]).strip()})
        await until(lambda: sync.snapshot.to_host == 1)
        pasting = asyncio.ensure_future(asyncio.to_thread(host_clip.paste, "text/uri-list"))
        await until(lambda: sync.snapshot.transfer and sync.snapshot.transfer.stage is TransferStage.COPYING)
        victims = sftp_clients()
        assert victims
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        (here,) = paths_of(await pasting or b"")
        assert Path(os.fsdecode(here)).read_bytes() == big.read_bytes()
        assert sync.snapshot.connections == 1


async def test_a_newer_copy_ends_a_transfer(
    tmp_path: Path, mac: Mac, files_host: HostClipboard, host_clip: Clip
) -> None:
    big = tmp_path / "big"
    big.write_bytes(os.urandom(50 << 20))
    async with syncing(mac.sshd.ssh, files_host, settings(tmp_path)) as sync:
        await until(mac.items)
        host_clip.copy(uri_list([os.fsencode(big)]), "text/uri-list")
        await until(lambda: sync.snapshot.transfer and sync.snapshot.transfer.stage is TransferStage.COPYING)
        host_clip.copy(b"newer")
        await until(lambda: mac.items() == [{"public.utf8-plain-text": b"newer"}])
        assert sync.snapshot.transfer is None and not sftp_clients()
        # What was half there is swept by the next copy.
        lone = tmp_path / "lone"
        lone.write_bytes(b"alone")
        host_clip.copy(uri_list([os.fsencode(lone)]), "text/uri-list")
        await until(lambda: mac_paths(mac))
        folder = guest_files(mac.sshd)
        assert folder is not None and [path.name[-2:] for path in folder.iterdir()] == ["-5"]


async def test_half_copies_of_a_killed_sync_are_swept_at_the_next_start(
    tmp_path: Path, mac: Mac, files_host: HostClipboard, display: str
) -> None:
    async with syncing(mac.sshd.ssh, files_host, settings(tmp_path)) as sync:
        assert sync._carrier is not None and sync._carrier._there is not None
        there = Path(os.fsdecode(sync._carrier._there.folder))
    for folder in (there, tmp_path / "host-files"):
        for name in (".0123456789ab-7.part/sub", "0123456789ab-7", "other"):
            (folder / name).mkdir(parents=True)
    async with (
        host_clipboard(Desktop("x11", display), forms=frozenset(FORMS)) as host,
        syncing(mac.sshd.ssh, host, settings(tmp_path)),
    ):
        for folder in (there, tmp_path / "host-files"):
            await until(lambda folder=folder: [p.name for p in copies(folder)] == ["0123456789ab-7", "other"])


async def test_over_one_shared_connection(tmp_path: Path, mac: Mac, files_host: HostClipboard, host_clip: Clip) -> None:
    """With a ControlPath, files go over the clipboard's own connection; a master that was killed is no obstacle."""
    ssh = mac.sshd.ssh
    shared = [
        ssh[0],
        "-o",
        "ControlMaster=auto",
        "-o",
        f"ControlPath={tmp_path}/mux",
        "-o",
        "ControlPersist=no",
        *ssh[1:],
    ]
    lone = tmp_path / "lone"
    async with syncing(shared, files_host, settings(tmp_path)) as sync:
        for turn in range(2):
            await until(mac.items)
            lone.write_bytes(b"alone %d" % turn)
            mac.copy({FILE: uri_list([os.fsencode(lone)]).strip()})
            await until(lambda turn=turn: sync.snapshot.to_host == turn + 1)
            (here,) = paths_of(await asyncio.to_thread(host_clip.paste, "text/uri-list") or b"")
            assert Path(os.fsdecode(here)).read_bytes() == b"alone %d" % turn
            logins = (mac.sshd.root / "log").read_text().count("Accepted publickey")
            assert logins == turn + 1
            (master,) = [pid for pid in descendants(os.getpid()) if Path(f"/proc/{pid}/comm").read_text() == "ssh\n"]
            os.kill(master, signal.SIGKILL)
            await until(lambda turn=turn: sync.snapshot.connections == turn + 2)
    assert process.run(["ls", tmp_path]).text.count("mux") == 0


async def test_a_guest_without_sftp(tmp_path: Path, mac: Mac, files_host: HostClipboard, host_clip: Clip) -> None:
    config = mac.sshd.root / "config"
    config.write_text(config.read_text().replace("Subsystem sftp internal-sftp\n", ""))
    mac.sshd.stop()
    mac.sshd.start()
    async with syncing(mac.sshd.ssh, files_host, settings(tmp_path)) as sync:
        await until(mac.items)
        host_clip.copy(uri_list([b"/etc/hostname"]), "text/uri-list")
        await until(lambda: sync.snapshot.transfer and sync.snapshot.transfer.stage is TransferStage.FAILED)
        assert sync.snapshot.transfer is not None and "connection for files" in sync.snapshot.transfer.why
        assert "Subsystem sftp" in (sync.snapshot.transfer.hint or "")


async def test_the_guests_disk_is_full(tmp_path: Path, mac: Mac, files_host: HostClipboard, host_clip: Clip) -> None:
    """As good as full: no file may be longer than 64 KiB (Python has the signal for that ignored)."""
    server = tmp_path / "server"
    server.write_text(
        f"#!{sys.executable}\nimport os, resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "os.execv('/usr/lib/openssh/sftp-server', ['sftp-server'])\n"
    )
    server.chmod(0o755)
    mac.sshd.serve_files_by([server])
    big = tmp_path / "big"
    big.write_bytes(b"x" * 5_000_000)
    async with syncing(mac.sshd.ssh, files_host, settings(tmp_path)) as sync:
        await until(mac.items)
        host_clip.copy(uri_list([os.fsencode(big)]), "text/uri-list")
        await until(lambda: sync.snapshot.transfer and sync.snapshot.transfer.stage is TransferStage.FAILED)
        assert sync.snapshot.transfer is not None and "disk may be full" in sync.snapshot.transfer.why
        folder = guest_files(mac.sshd)
        assert folder is not None and list(folder.iterdir()) == []
        assert mac.items() == [{"public.utf8-plain-text": b"at the beginning"}]
