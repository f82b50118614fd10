"""A guest's connection to its file server: the real smbd in its sandbox, and a client that keeps to no rules."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

import smbd
from pommel.machine import share_connections, share_end, shares_added
from pommel.machine.shares import Share
from pommel.paths import MachinePaths
from smb import ALL, DENIED, FOLDER, FULL, MAKE, NO_NAME, NO_SHARE, OK, OPEN_OR_MAKE, READ, WRITE, Smb
from smbd import Served
from waits import wait_until

_DELETE = 0x00010000
_SYNTAX, _PATH, _NAME = 0xC000003B, 0xC000003A, 0xC0000033
_REPARSE, _SIZE = 0x900A4, 20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "m").mkdir(mode=0o700)
    with smbd.served(MachinePaths("m", tmp_path / "m", tmp_path / "m")) as found:
        yield found


def folder(tmp_path: Path, name: str = "work") -> Share:
    (tmp_path / name).mkdir()
    return Share(str(tmp_path / name), name)


def guest(server: Served, *shares: Share, share: str = "work") -> Smb:
    smbd.serve(server.paths, *shares)
    found = server.connect()
    assert found.connect(share) == OK
    return found


def test_what_a_guest_writes_is_this_users_and_as_programs_here_make_it(server: Served, tmp_path: Path) -> None:
    work = folder(tmp_path)
    (tmp_path / "work" / "run").write_text("#!/bin/sh\n")
    (tmp_path / "work" / "run").chmod(0o755)
    there = guest(server, work)
    composed, taken_apart = (unicodedata.normalize(form, "Grüße 日本 \N{SNOWMAN}.txt") for form in ("NFC", "NFD"))
    assert there.put(composed, b"text") == there.put(taken_apart, b"other") == OK
    assert {each.name for each in (tmp_path / "work").iterdir()} == {composed, taken_apart, "run"}
    assert there.get(composed) == b"text" == (tmp_path / "work" / composed).read_bytes()
    made = (tmp_path / "work" / composed).stat()
    assert (made.st_uid, made.st_mode & 0o7777) == (os.geteuid(), 0o644)
    status, handle = there.create("sub", ALL & READ | READ | WRITE, MAKE, FOLDER, attributes=0x10)
    assert status == OK
    there.close(handle)
    assert (tmp_path / "work" / "sub").stat().st_mode & 0o7777 == 0o755
    assert there.put("run", b"#!/bin/bash\n") == OK
    assert (tmp_path / "work" / "run").stat().st_mode & 0o777 == 0o755, "what was a program stays one"
    (tmp_path / "work" / "new").write_bytes(b"by the host")
    assert there.get("new") == b"by the host"
    (tmp_path / "work" / "new").write_bytes(b"and changed")
    assert there.get("new") == b"and changed", "nobody keeps what another has changed"


def test_no_name_leads_out_of_the_folder(server: Served, tmp_path: Path) -> None:
    work, other = folder(tmp_path), folder(tmp_path, "other")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "other" / "x").write_text("the other share's")
    inside = tmp_path / "work"
    (inside / "file").write_text("file")
    (inside / "sub").mkdir()
    for name, to in (("etc", "/etc"), ("up", ".."), ("secret", "../secret"), ("sideways", "../other"),
                     ("own", "/shares/other"), ("sub/deep", "../../other"), ("within", "sub"), ("root", "/")):  # fmt: skip
        (inside / name).symlink_to(to)
    os.mkfifo(inside / "pipe")
    there = guest(server, work, other)
    for name in ("..", "..\\secret", "../secret", "\\..\\..\\etc\\passwd", "sub\\..\\..\\other\\x", "sub/../../secret"):
        assert (there.get(name), there.put(name)) == (_SYNTAX, _SYNTAX), name
    for name in ("etc\\passwd", "up\\secret", "secret", "sideways\\x", "own\\x", "sub\\deep\\x", "root\\etc\\passwd"):
        assert there.get(name) in (NO_NAME, _PATH, DENIED), name
        assert there.put(name) in (NO_NAME, _PATH, DENIED), name
    for name in ("C:\\x", "a\0b", "a\x01b", "n" * 300, "\ud800", "x" * 32000):
        assert there.get(name) not in (OK, b"") and there.put(name) != OK, name
    assert there.put("within\\f", b"in") == OK, "a link that stays in the folder is followed"
    assert (inside / "sub" / "f").read_text() == "in"
    status, handle = there.create("file", READ | WRITE | _DELETE)
    assert status == OK
    for name in ("..\\out", "\\..\\..\\out", "etc\\out", "sideways\\out", "up\\out", "pommel.toml"):
        assert there.rename(handle, name) != OK and there.rename(handle, name, link=True) != OK, name
    assert there.control(handle, _REPARSE, struct.pack("<IHH", 0xA000000C, 16, 0) + b"/\0e\0t\0c\0" * 2) != OK
    assert {each.name for each in (tmp_path / "other").iterdir()} == {"x"}
    assert sorted(each.name for each in tmp_path.iterdir()) == ["m", "other", "secret", "work"]
    assert not [each for each in inside.rglob("*") if each.is_symlink() and each.lstat().st_ctime > handle_time(inside)]


def handle_time(inside: Path) -> float:
    """The newest moment at which the test itself made a link."""
    return max(each.lstat().st_ctime for each in (inside / "root", inside / "within"))


def test_no_guest_writes_what_pommel_obeys(server: Served, tmp_path: Path) -> None:
    there = guest(server, folder(tmp_path))
    (tmp_path / "work" / "pommel.toml").write_text("[machine.m]\n")
    for name in ("pommel.toml", "POMMEL.TOML", "pommel.toml:stream", "pommel.toml::$DATA"):
        assert there.get(name) == NO_NAME and there.put(name) == NO_NAME, name
    assert there.put("Pommel.tom") == OK
    assert (tmp_path / "work" / "pommel.toml").read_text() == "[machine.m]\n"


def test_a_read_only_share_is_read_only_to_smbd_itself(server: Served, tmp_path: Path) -> None:
    songs = folder(tmp_path, "songs")
    (tmp_path / "songs" / "a").write_text("a")
    there = guest(server, Share(songs.folder, "songs", read_only=True), share="songs")
    assert there.get("a") == b"a"
    assert there.put("b") == there.put("a") == DENIED
    status, _ = there.create("a", READ | _DELETE)
    assert status == DENIED
    assert [each.name for each in (tmp_path / "songs").iterdir()] == ["a"]
    (outside,) = share_connections.sandboxes(server.paths)
    mounts = [
        Path(f"/proc/{pid}/mountinfo").read_text() for pid in share_connections.pids(server.paths) if pid != outside
    ]
    (line,) = {line for each in mounts for line in each.splitlines() if " /shares/songs " in line}
    assert line.split(" /shares/songs ")[1].startswith("ro,"), "a hole in smbd is no way to write there either"


def test_sizes_that_a_guest_makes_up_are_the_file_systems_to_refuse(server: Served, tmp_path: Path) -> None:
    there = guest(server, folder(tmp_path))
    status, handle = there.create("big", READ | WRITE, OPEN_OR_MAKE)
    assert status == OK
    assert there.set_info(handle, _SIZE, struct.pack("<Q", 1 << 63)) != OK
    assert there.write(handle, b"x", at=(1 << 63) - 1) != OK
    assert there.set_info(handle, _SIZE, struct.pack("<Q", 1 << 40)) in (OK, FULL), "a file with a hole"
    assert (tmp_path / "work" / "big").stat().st_blocks < 1000
    there.close(handle)
    assert there.put("after") == OK


def test_a_full_disk_is_told(server: Served, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    # A user and mount namespace of this connection's own: mounting takes no root there.
    words = ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs -o size=256k none "$0" && exec "$@"']
    server._words = [*words, str(tmp_path / "work"), *server._words]
    there = guest(server, Share(str(tmp_path / "work"), "work"))
    status, handle = there.create("big", READ | WRITE, OPEN_OR_MAKE)
    assert status == OK
    assert FULL in [there.write(handle, b"x" * 65536, at=at * 65536) for at in range(8)]
    assert there.read(handle, 10) == b"x" * 10, "what had room is there"


def test_what_is_taken_back_is_closed_to_the_next_connection_and_the_open_ones_end(
    server: Served, tmp_path: Path
) -> None:
    work, other = folder(tmp_path), folder(tmp_path, "other")
    first, second = guest(server, work, other), server.connect()
    assert second.connect("other") == OK and first.put("a") == OK
    assert first.connect("none") == first.connect("global") == NO_SHARE
    assert len(share_connections.sandboxes(server.paths)) == 2
    smbd.serve(server.paths, other)
    assert first.connect("work") == OK, "an open connection keeps what it had, until it is ended"
    assert share_connections.end(server.paths) >= 2 and share_connections.pids(server.paths) == []
    with pytest.raises(OSError):
        first.put("b")
    again = server.connect()
    assert again.connect("work") == NO_SHARE and again.connect("other") == OK
    (tmp_path / "other").rename(tmp_path / "away")
    (tmp_path / "other").symlink_to("away")
    assert server.connect().connect("other") != OK, "a folder that has become a link is not shared"
    assert "other is not there" in (server.paths.directory / "shares.log").read_text()
    smbd.serve(server.paths)
    with pytest.raises(OSError):
        server.connect()


def test_two_machines_in_one_folder_see_what_each_writes_at_once(server: Served, tmp_path: Path) -> None:
    work = folder(tmp_path)
    (tmp_path / "n").mkdir()
    with smbd.served(MachinePaths("n", tmp_path / "n", tmp_path / "n")) as second:
        one, other = guest(server, work), guest(second, Share(work.folder, "same"), share="same")
        assert one.put("file", b"first") == OK
        handles = [there.create("file", READ | WRITE, OPEN_OR_MAKE)[1] for there in (one, other)]
        for number, (there, handle) in enumerate(zip((one, other) * 4, handles * 4, strict=True)):
            assert there.read(handle, 5) == (b"first" if number == 0 else b"%05d" % (number - 1))
            assert there.write(handle, b"%05d" % number) == OK
        assert one.put("new") == other.put("new", b"y") == OK and one.get("new") == b"y"
        assert share_connections.end(second.paths) and one.get("file") == b"00007", "the end of one is not the other's"


def test_nothing_stays_when_the_guest_or_qemu_is_gone_or_anything_is_killed(server: Served, tmp_path: Path) -> None:
    work = folder(tmp_path)
    for kill in (False, True):
        there = guest(server, work)
        pids = share_connections.pids(server.paths)
        assert len(pids) > 1
        if kill:  # the one outside of the sandbox, which the kernel can be asked for
            (outside,) = share_connections.sandboxes(server.paths)
            os.kill(outside, signal.SIGKILL)
        else:
            there.connection.close()
        wait_until(lambda: not share_connections.pids(server.paths))
    assert work.folder in (server.paths.directory / shares_added.LIVE).read_text()


def test_a_guest_starts_no_processes_without_end(server: Served, tmp_path: Path) -> None:
    most = share_end._MOST
    smbd.serve(server.paths, folder(tmp_path))
    held = [server.connect() for _ in range(3)]
    text = Path(share_end.__file__).read_text()
    assert f"_MOST = {most}" in text
    (tmp_path / "end.py").write_text(text.replace(f"_MOST = {most}", "_MOST = 3"))
    server._words[3] = str(tmp_path / "end.py")
    with pytest.raises(OSError):
        server.connect()
    assert "3 connections are open already" in (server.paths.directory / "shares.log").read_text()
    held.pop().connection.close()
    wait_until(lambda: len(share_connections.sandboxes(server.paths)) == 2)
    assert server.connect().connect("work") == OK


def test_another_users_connection_is_refused(server: Served, tmp_path: Path) -> None:
    """QEMU makes the connection by a port of 127.0.0.1, which is open for an instant: whoever is quick is seen."""
    smbd.serve(server.paths, folder(tmp_path))
    if os.geteuid() != 0:
        text = Path(share_end.__file__).read_text()
        assert "os.getuid()" in text
        (tmp_path / "end.py").write_text(text.replace("os.getuid()", "os.getuid() + 1"))
        server._words[3] = str(tmp_path / "end.py")
        with pytest.raises(OSError):
            server.connect()
    else:
        connect = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print(s.recv(1))"
        port = str(server.listener.getsockname()[1])
        done = subprocess.run(["setpriv", "--reuid=65534", sys.executable, "-c", connect, port], stdout=subprocess.PIPE)
        assert done.stdout in (b"b''\n", b"")
    log = server.paths.directory / "shares.log"
    wait_until(lambda: log.exists() and "is not this user's" in log.read_text())
    assert share_connections.pids(server.paths) == []
