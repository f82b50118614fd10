"""OpenSSH's own SFTP server, without an ssh in between; and servers that lie."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from isolation import patient
from pommel.sftp import channel, codec
from pommel.sftp.codec import Attributes
from pommel.sftp.session import PIECE, FileRefused, SessionLost, SftpSession
from pommel.sftp.session import sftp_session as session_of
from pommel.sftp.tree import FilesError

from .servers import SFTP_SERVER


@pytest.fixture
def ssh(tmp_path: Path) -> list[str]:
    """A program that is called as ssh is, and is the server itself."""
    program = tmp_path / "ssh"
    program.write_text(
        f'#!/bin/sh\n[ "$*" = "-o ControlMaster=no -s -p 1 -- host sftp" ] && exec {SFTP_SERVER}\nexit 9\n'
    )
    program.chmod(0o755)
    return [str(program), "-p", "1", "--", "host"]


def liar(tmp_path: Path, says: str) -> list[str]:
    """A server that greets, then answers every packet with what `says` makes of its number."""
    program = tmp_path / "liar"
    program.write_text(
        textwrap.dedent(f"""\
        #!{sys.executable}
        import os, struct, sys
        def answer(kind, number, *rest):
            body = struct.pack(">BI", kind, number) + b"".join(rest)
            os.write(1, struct.pack(">I", len(body)) + body)
        def string(data):
            return struct.pack(">I", len(data)) + data
        while head := sys.stdin.buffer.read(4):
            kind, number = struct.unpack(">BI", sys.stdin.buffer.read(struct.unpack(">I", head)[0])[:5])
            if kind == 1:
                answer(2, 3)
            else:
                {says}
        """)
    )
    program.chmod(0o755)
    return [str(program), "host"]


async def whole(session: SftpSession, path: bytes, size: int) -> bytes:
    return b"".join([piece async for piece in session.pieces(path, size)])


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE * 40 + 7])
async def test_a_file_there_and_back(ssh: list[str], tmp_path: Path, size: int) -> None:
    sent: list[int] = []
    data = os.urandom(size)
    path = os.fsencode(tmp_path) + b"/-\xff '\"\n"
    async with session_of(ssh) as session:
        await session.write_file(
            path, size, lambda at: data[at : at + PIECE], sent.append, Attributes(size, 0o640, 1_000_000_000)
        )
        assert sum(sent) == size
        told = await session.look(path)
        assert (told.size, stat.S_IMODE(told.mode), told.mtime, told.is_file) == (size, 0o640, 1_000_000_000, True)

        assert await whole(session, path, size) == data
        with pytest.raises(FilesError, match="became shorter"):
            await whole(session, path, size + 1)
        assert await whole(session, path, size) == data, "the session goes on"


async def test_folders_links_and_removal(ssh: list[str], tmp_path: Path) -> None:
    top, outside = os.fsencode(tmp_path) + b"/top", tmp_path / "outside"
    outside.mkdir()
    (outside / "stays").touch()
    async with session_of(ssh) as session:
        await session.make_folder(top)
        assert stat.S_IMODE((await session.look(top)).mode) == 0o700
        for number in range(300):
            (tmp_path / "top" / f"{number}").touch()
        await session.make_link(top + b"/link", b"../outside")
        assert (await session.look(top + b"/link")).is_link
        assert (await session.look(top + b"/link", follow=True)).is_folder
        assert await session.link_target(top + b"/link") == b"../outside"
        assert {name for name, _ in await session.folder(top)} == {b"link", *(b"%d" % number for number in range(300))}
        await session.set_mode(top, 0o750)
        await session.rename(top, top + b"2")
        assert stat.S_IMODE((tmp_path / "top2").stat().st_mode) == 0o750
        await session.remove(top + b"2")
    assert not (tmp_path / "top2").exists() and (outside / "stays").exists()


async def test_what_it_refuses(ssh: list[str], tmp_path: Path) -> None:
    path = os.fsencode(tmp_path)
    async with session_of(ssh) as session:
        with pytest.raises(FileRefused, match="it no longer exists") as refusal:
            await session.look(path + b"/none")
        assert refusal.value.code == codec.NO_SUCH_FILE and refusal.value.hint is None
        for attempt in (session.make_folder(path), session.folder(path + b"/ssh"), session.remove(path + b"/none")):
            with pytest.raises(FileRefused):
                await attempt
        (tmp_path / "there").write_bytes(b"before")
        with pytest.raises(FileRefused):
            await session.write_file(path + b"/there", 1, lambda at: b"x", lambda size: None, Attributes())
        assert (tmp_path / "there").read_bytes() == b"before"
        # It goes on after that, also when a file was being written.
        with pytest.raises(FilesError, match="became shorter"):
            await session.write_file(path + b"/short", 5, lambda at: b"xx"[at:], lambda size: None, Attributes())
        assert (await session.look(path + b"/short")).size == 2


def test_a_mac_that_does_not_let_ssh_at_the_desktop_folder() -> None:
    refusal = FileRefused(codec.SftpStatus(codec.PERMISSION_DENIED, ""), "open a file")
    assert "full disk access" in (refusal.hint or "")


@pytest.mark.parametrize(
    "says",
    [
        "os.write(1, b'Welcome to this machine')",
        "answer(101, number + 1, struct.pack('>I', 0), string(b''))",
        "answer(104, number, struct.pack('>I', 0))",
        "answer(102, number, string(b'handle'))",
        "answer(77, number)",
        "answer(103, number, string(b''))",
        "sys.exit('no')",
    ],
)
async def test_one_that_lies(tmp_path: Path, says: str) -> None:
    with pytest.raises(SessionLost):
        async with session_of(liar(tmp_path, says)) as session:
            await session.link_target(b"/x")


_NAMES = {
    "names": "1000), *(string(b'f%d' % each) + string(b'') + bytes(4) for each in range(1000))",
    "long names": "1), string(b'x' * 200_000) + string(b'') + bytes(4)",
    "itself": "1000), *(string(b'.') + string(b'') + bytes(4) for _ in range(1000))",
    "nothing": "0)",
}


@pytest.mark.parametrize("what", list(_NAMES))
async def test_a_folder_without_end(tmp_path: Path, what: str) -> None:
    names = f"answer(104, number, struct.pack('>I', {_NAMES[what]})"
    says = f"answer(102, number, string(b'h')) if kind == 11 else {names}"
    async with session_of(liar(tmp_path, says)) as session, asyncio.timeout(patient(20)):
        with pytest.raises(FilesError, match=r"more than|no name|twice"):
            await session.folder(b"/x")


async def test_folders_in_folders_without_end_are_not_deleted(tmp_path: Path) -> None:
    says = (  # asked of the first what it is; of each to open it, what is in it, what else, to close it
        "answer(105, number, struct.pack('>II', 4, 0o40755)) if kind == 7 else "
        "answer(102, number, string(b'h')) if kind == 11 else answer(104, number, struct.pack('>I', 1), string(b'x'), "
        "string(b''), struct.pack('>II', 4, 0o40755)) if number % 4 == 3 else "
        "answer(101, number, struct.pack('>I', number % 4 == 0), string(b''), string(b''))"
    )
    async with session_of(liar(tmp_path, says)) as session, asyncio.timeout(patient(20)):
        with pytest.raises(FilesError, match="nested folders"):
            await session.remove(b"/x")


async def test_what_it_says_has_no_control_characters(tmp_path: Path) -> None:
    says = "answer(101, number, struct.pack('>I', 9), string(b'no\\x1b[2J ' * 1000), string(b''))"
    async with session_of(liar(tmp_path, says)) as session:
        with pytest.raises(FileRefused) as refusal:
            await session.look(b"/x")
    assert refusal.value.message.isprintable() and len(refusal.value.message) < 300


async def test_one_that_sends_nothing_for_a_piece_of_a_file(tmp_path: Path) -> None:
    says = "answer(102, number, string(b'h')) if kind == 3 else answer(103, number, string(b''))"
    with pytest.raises(SessionLost, match="nothing for a piece"):
        async with session_of(liar(tmp_path, says)) as session:
            await whole(session, b"/x", 10)


async def test_many_ask_at_once(ssh: list[str], tmp_path: Path) -> None:
    """Each gets its own answer, also beside those that are refused."""
    for number in range(40):
        (tmp_path / str(number)).write_bytes(b"%d" % number * 1000)
    async with session_of(ssh) as session:
        paths = [os.fsencode(tmp_path / str(number)) for number in range(50)]
        got = await asyncio.gather(*(whole(session, path, 1000) for path in paths), return_exceptions=True)
        assert got[:40] == [(b"%d" % number * 1000)[:1000] for number in range(40)]
        assert all(isinstance(refusal, FileRefused) for refusal in got[40:])


async def test_answers_that_nobody_waits_for_any_more_are_not_kept(tmp_path: Path) -> None:
    """A guest refuses each file in its middle, after the next pieces were asked for: those take no memory."""
    says = "answer(102, number, string(b'h')) if kind == 3 else answer(101, number, struct.pack('>I', kind == 5 and 4), string(b''), string(b''))"
    async with session_of(liar(tmp_path, says)) as session:
        for _ in range(3):
            with pytest.raises(FileRefused, match="read a file"):
                await whole(session, b"/x", 10 * PIECE)
        with pytest.raises(FileRefused):
            await session.look(b"/x")
        assert not session._answers and not session._asked and not session._dropped


async def test_whoever_reads_may_be_cancelled_at_any_moment(ssh: list[str], tmp_path: Path) -> None:
    """No handle stays open, no answer is kept, and the session goes on."""
    (tmp_path / "file").write_bytes(b"x" * PIECE * 40)
    path = os.fsencode(tmp_path / "file")
    async with session_of(ssh) as session:
        for turns in range(60):
            task = asyncio.ensure_future(whole(session, path, PIECE * 40))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert len(await whole(session, path, PIECE * 40)) == PIECE * 40
        await session.look(path)
        assert not session._answers and not session._asked and not session._dropped
        server = session._child.pid
        still = [os.readlink(one) for one in Path(f"/proc/{server}/fd").iterdir() if one.exists()]
        assert os.fsdecode(path) not in still


async def given(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def test_a_file_is_written_on_where_it_ended(ssh: list[str], tmp_path: Path) -> None:
    data = os.urandom(PIECE * 5 + 9)
    path = os.fsencode(tmp_path / "part")
    async with session_of(ssh) as session:
        assert await session.write_on(path, 0, given(data[:10], data[10 : PIECE * 3]), new=True) == PIECE * 3
        with pytest.raises(FileRefused):
            await session.write_on(path, 0, given(b"other"), new=True)
        assert await session.write_on(path, PIECE * 2, given(data[PIECE * 2 :]), new=False) == len(data)
        assert (tmp_path / "part").read_bytes() == data
        part = b"".join([piece async for piece in session.pieces(path, PIECE * 4, 1000)])
        assert part == data[1000 : PIECE * 4]


async def test_a_sender_that_leaves_has_written_what_it_sent(ssh: list[str], tmp_path: Path) -> None:
    async def leaving() -> AsyncIterator[bytes]:
        yield b"x" * PIECE * 2
        raise ConnectionResetError

    async with session_of(ssh) as session:
        with pytest.raises(ConnectionResetError):
            await session.write_on(os.fsencode(tmp_path / "part"), 0, leaving(), new=True)
        assert (await session.look(os.fsencode(tmp_path / "part"))).size == PIECE * 2


async def test_a_full_disk(ssh: list[str]) -> None:
    async with session_of(ssh) as session:
        with pytest.raises(FileRefused, match="its disk may be full"):
            await session.write_on(b"/dev/full", 0, given(b"x" * PIECE * 100), new=False)
        assert (await session.look(b"/dev/full")).mode


async def test_places_and_space(ssh: list[str], tmp_path: Path) -> None:
    path = os.fsencode(tmp_path)
    (tmp_path / "link").symlink_to("/usr/bin")
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "new").write_bytes(b"new")
    async with session_of(ssh) as session:
        assert await session.real_path(path + b"/link/..") == b"/usr"
        space, told = await session.space(path), shutil.disk_usage(tmp_path)
        assert space is not None and space.total == told.total and abs(space.free - told.free) < 1 << 30
        with pytest.raises(FileRefused):
            await session.space(path + b"/none")
        with pytest.raises(FileRefused):
            await session.rename(path + b"/new", path + b"/old")
        await session.replace(path + b"/new", path + b"/old")
        assert (tmp_path / "old").read_bytes() == b"new" and not (tmp_path / "new").exists()
        session.extensions = frozenset()
        assert await session.space(path) is None
        (tmp_path / "new").write_bytes(b"newer")
        await session.replace(path + b"/new", path + b"/old")
        assert (tmp_path / "old").read_bytes() == b"newer"


async def test_one_that_falls_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "STALL_S", 0.3)
    with pytest.raises(SessionLost, match=r"sent no files for 0.3 s"):
        async with session_of(liar(tmp_path, "pass")) as session:
            await session.look(b"/x")


async def test_no_server() -> None:
    with pytest.raises(SessionLost, match="connection for files ended") as lost:
        async with session_of(["false"]):
            pass
    assert "Subsystem sftp" in (lost.value.hint or "")
