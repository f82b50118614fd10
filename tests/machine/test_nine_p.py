"""A folder by 9p: the real QEMU with the words that Pommel has for it, and a guest that keeps to no rules."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import nine_p
from nine_p import Machine
from pommel import trust
from pommel.errors import TrustError
from pommel.machine import qmp, snapshot_live
from pommel.machine.qmp import Qmp
from pommel.machine.shares import Share

_EVERYBODY_MAY = 0o777


def folder(tmp_path: Path, name: str = "work", *, read_only: bool = False) -> Share:
    (tmp_path / name).mkdir(exist_ok=True)
    return Share(str(tmp_path / name), name, read_only, "9p")


@contextlib.contextmanager
def refused(*numbers: int) -> Iterator[None]:
    with pytest.raises(OSError, match="9p") as error:
        yield
    assert error.value.errno in numbers


def test_what_a_guest_writes_is_this_users_and_the_guests_owner_sees_it_as_theirs(tmp_path: Path) -> None:
    work = folder(tmp_path)
    (tmp_path / "work" / "host").write_bytes(b"by the host")
    with nine_p.machine(work) as guest:
        guest.attach(uid=1234)
        assert guest.get("host") == b"by the host"
        guest.put("name, with more: é", b"text")
        guest.ask(nine_p.MKDIR, 0, "sub", 0o755, 0)
        guest.walk(0, 1, "sub")
        guest.put("deep", b"down", root=1)
        guest.walk(0, 2, "name, with more: é")
        mode, uid, _, size = guest.attributes(2)
        assert (stat.S_IMODE(mode), uid, size) == (0o644, 1234, 4)
        (tmp_path / "work" / "host").write_bytes(b"and changed")
        assert guest.get("host") == b"and changed", "nobody keeps what another has changed"
        guest.walk(0, 3, "host")
        assert guest.attributes(3)[1] == os.geteuid(), "what is made here has its owner's number"
    made = [each.stat() for each in (tmp_path / "work").rglob("*")]
    assert {each.st_uid for each in made} == {os.geteuid()}
    assert (tmp_path / "work" / "sub" / "deep").read_bytes() == b"down"
    assert {stat.S_IMODE(each.st_mode) for each in made if stat.S_ISDIR(each.st_mode)} == {0o700}
    assert stat.S_IMODE((tmp_path / "work" / "sub" / "deep").stat().st_mode) == 0o600, "as all that QEMU makes"


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    work = folder(tmp_path)
    inside = tmp_path / "work"
    (tmp_path / "secret").write_text("secret")
    (inside / "file").write_text("file")
    (inside / "sub").mkdir()
    for name, to in (("etc", "/etc"), ("up", ".."), ("out", "../secret"), ("sub/deep", "../../secret"), ("root", "/")):
        (inside / name).symlink_to(to)
    with nine_p.machine(work) as guest:
        guest.attach()
        top = guest.walk(0, 1, "sub")
        assert guest.walk(0, 2, "..") == guest.walk(0, 3, "..", "..") != top, "above the folder is the folder"
        assert guest.get("..", "..", "sub", "..", "file") == b"file"
        for names in (["../secret"], ["sub/../../secret"], ["/etc/passwd"], ["etc", "passwd"], ["up", "secret"],
                      ["root", "etc"], [""], ["..", "secret"], ["sub", "..", "..", "secret"]):  # fmt: skip
            with pytest.raises(OSError, match=r"9p|way"):
                guest.get(*names)
        for link in ("out", "etc", "root"):
            with refused(errno.ELOOP):
                guest.get(link)
            guest.walk(0, 4, link)
            with refused(errno.ELOOP):
                guest.ask(nine_p.READLINK, 4)
            for change in (lambda: guest.set(4, nine_p.SET_MODE, mode=_EVERYBODY_MAY), lambda: guest.set(4, 8, size=0)):
                with pytest.raises(OSError, match="9p"):
                    change()
            guest.ask(nine_p.CLUNK, 4)
        for wrong in ("../made", "sub/made", "/made", "..", "."):
            with pytest.raises(OSError, match="9p"):
                guest.put(wrong, b"x")
            with pytest.raises(OSError, match="9p"):
                guest.ask(nine_p.MKDIR, 0, wrong, 0o755, 0)
            with pytest.raises(OSError, match="9p"):
                guest.ask(nine_p.RENAME, 0, "file", 0, wrong)
            with pytest.raises(OSError, match="9p"):
                guest.ask(nine_p.UNLINK, 0, wrong, 0x200)
        with pytest.raises(OSError, match="9p"):
            guest.put("out", b"through the link")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["secret", "work"]
    assert (tmp_path / "secret").read_text() == "secret" and (inside / "file").read_text() == "file"


def test_a_guest_makes_no_link_no_device_and_no_set_uid_program_of_this_host(tmp_path: Path) -> None:
    work, inside = folder(tmp_path), tmp_path / "work"
    (inside / "tool").write_text("#!/bin/sh\n")
    (inside / "tool").chmod(0o755)
    with nine_p.machine(work) as guest:
        guest.attach()
        guest.ask(nine_p.SYMLINK, 0, "evil", "/etc/passwd", 0)
        guest.walk(0, 1, "evil")
        assert stat.S_ISLNK(guest.attributes(1)[0]) and b"/etc/passwd" in guest.ask(nine_p.READLINK, 1)
        assert guest.get("evil") == b"/etc/passwd", "whoever opens it gets where it leads to, as text"
        guest.ask(nine_p.MKNOD, 0, "disk", stat.S_IFBLK | 0o666, 8, 0, 0)
        guest.ask(nine_p.MKNOD, 0, "pipe", stat.S_IFIFO | 0o666, 0, 0, 0)
        guest.ask(nine_p.MKNOD, 0, "door", stat.S_IFSOCK | 0o666, 0, 0, 0)
        guest.put("program", b"#!/bin/sh\n")
        for number, name in enumerate(("program", "tool"), 2):
            guest.walk(0, number, name)
            guest.set(number, nine_p.SET_MODE | nine_p.SET_UID, mode=0o6777, uid=0)
            assert stat.S_IMODE(guest.attributes(number)[0]) == 0o6777, "which it believes"
    for each in inside.iterdir():
        about = each.lstat()
        assert stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid(), each
        assert about.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH) == 0, each
    assert stat.S_IMODE((inside / "tool").stat().st_mode) == 0o755, "what it is here is not the guest's to change"


def test_a_read_only_folder_is_read_only_to_whatever_the_guest_does(tmp_path: Path) -> None:
    work, inside = folder(tmp_path, read_only=True), tmp_path / "work"
    (inside / "song").write_text("la la")
    (inside / "sub").mkdir()
    before = (inside / "song").stat()
    with nine_p.machine(work) as guest:
        guest.attach()
        assert guest.get("song") == b"la la"
        guest.walk(0, 1, "song")
        tries: list[Callable[[], object]] = [
            lambda: guest.put("new", b"x"),
            lambda: guest.ask(nine_p.LOPEN, 1, os.O_RDWR),
            lambda: guest.ask(nine_p.LOPEN, 1, os.O_WRONLY | os.O_TRUNC),
            lambda: guest.set(1, nine_p.SET_MODE, mode=0o777),
            lambda: guest.set(1, nine_p.SET_SIZE, size=0),
            lambda: guest.ask(nine_p.MKDIR, 0, "more", 0o755, 0),
            lambda: guest.ask(nine_p.SYMLINK, 0, "link", "song", 0),
            lambda: guest.ask(nine_p.MKNOD, 0, "pipe", stat.S_IFIFO | 0o666, 0, 0, 0),
            lambda: guest.ask(nine_p.LINK, 0, 1, "twin"),
            lambda: guest.ask(nine_p.RENAME, 0, "song", 0, "tune"),
            lambda: guest.ask(nine_p.UNLINK, 0, "song", 0),
            lambda: guest.ask(nine_p.UNLINK, 0, "sub", 0x200),
            lambda: attribute(guest, 1, "user.x", b"y"),
        ]
        for each in tries:
            with refused(errno.EROFS):
                each()
    assert sorted(each.name for each in inside.iterdir()) == ["song", "sub"]
    assert (inside / "song").read_text() == "la la" and (inside / "song").stat().st_ctime_ns == before.st_ctime_ns


def attribute(guest: Machine, fid: int, name: str, data: bytes) -> None:
    """Give a file an extended attribute: it is set as the fid is let go."""
    guest.walk(fid, 80)
    guest.ask(nine_p.XATTRCREATE, 80, name, struct.pack("<QI", len(data), 0))
    guest.ask(nine_p.WRITE, 80, struct.pack("<QI", 0, len(data)) + data)
    guest.ask(nine_p.CLUNK, 80)


def test_what_a_guest_wrote_decides_nothing_here_and_the_guest_cannot_change_that(tmp_path: Path) -> None:
    work, inside = folder(tmp_path), tmp_path / "work"
    trust.mark_as_guests(inside)
    (inside / "mine").write_text("[machine.x]\n")
    with nine_p.machine(work) as guest:
        guest.attach()
        attribute(guest, 0, "user.note", b"kept")
        assert os.getxattr(inside, "user.note") == b"kept"
        for data in (b"", b"0"):
            with pytest.raises(OSError, match="9p"):
                attribute(guest, 0, "user.virtfs.pommel", data)
        with pytest.raises(OSError, match="9p"):
            guest.ask(nine_p.XATTRWALK, 0, 7, "user.virtfs.pommel")
        guest.ask(nine_p.RENAME, 0, "mine", 0, "pommel.toml")
        guest.ask(nine_p.MKDIR, 0, "sub", 0o755, 0)
        guest.walk(0, 8, "sub")
        guest.put("pommel.toml", b"[machine.x]\n", root=8)
    for file in (inside / "pommel.toml", inside / "sub" / "pommel.toml"):
        with pytest.raises(TrustError, match="written by a guest") as wrong:
            trust.must(file, "the configuration")
        assert "pommel trust" in (wrong.value.hint or "")
    trust.trust(inside)
    trust.must(inside / "pommel.toml", "the configuration")


def test_sizes_that_cannot_be_leave_qemu_and_the_folder_well(tmp_path: Path) -> None:
    work, inside = folder(tmp_path), tmp_path / "work"
    (inside / "file").write_bytes(b"twelve bytes")
    with nine_p.machine(work) as guest:
        guest.attach()
        guest.walk(0, 1, "file")
        guest.ask(nine_p.LOPEN, 1, os.O_RDWR)
        wrong = [
            struct.pack("<IBH", 7, nine_p.READ, 1),
            struct.pack("<IBH", 0xFFFFFFFF, nine_p.READ, 1),
            struct.pack("<IBH", 3, nine_p.READ, 1),
            b"\x05",
            struct.pack("<IBHIQI", 23, nine_p.READ, 1, 1, 0, 0xFFFFFFFF),
            struct.pack("<IBHIQI", 23, nine_p.READ, 1, 1, (1 << 63) - 1, 4096),
            struct.pack("<IBHIQI", 27, nine_p.WRITE, 1, 1, 0, 0x7FFFFFFF) + b"four",
            struct.pack("<IBHII", 15, nine_p.WALK, 1, 0, 2) + b"\xff\xff",
            struct.pack("<IBHIIHH", 19, nine_p.WALK, 1, 0, 2, 1, 0xFFFF),
            struct.pack("<IBHIH", 13, nine_p.LCREATE, 1, 0, 0xFFFF),
            struct.pack("<IBHI", 11, 250, 1, 0),
            struct.pack("<IBHIH", 13, nine_p.VERSION, 0xFFFF, 0, 8) + b"9P2000.L",
            struct.pack("<IBHIH", 13, nine_p.VERSION, 0xFFFF, 1, 8) + b"9P2000.L",
            struct.pack("<IBHIH", 13, nine_p.VERSION, 0xFFFF, 0xFFFFFFFF, 8) + b"9P2000.L",
        ]
        for message in wrong:
            guest.raw(message, wait=False)
            guest.again()
            guest.ask(nine_p.ATTACH, 0, nine_p.NOFID, "", "", 0)
            assert guest.get("file").startswith((b"twelve", b"four")), message
            guest.walk(0, 1, "file")
            guest.ask(nine_p.LOPEN, 1, os.O_RDWR)
        for size in (1 << 63, (1 << 64) - 1):
            with pytest.raises(OSError, match="9p"):
                guest.set(1, nine_p.SET_SIZE, size=size)
        with pytest.raises(OSError, match="9p"):
            guest.walk(0, 5, *["sub"] * 17)
        with pytest.raises(OSError, match="9p"):
            guest.put("n" * 256, b"x")
        assert guest.process.poll() is None
    assert {each.name for each in inside.iterdir()} == {"file"}


def test_a_full_disk_is_the_guests_to_hear_of_and_the_machine_goes_on(tmp_path: Path) -> None:
    work, inside = folder(tmp_path), tmp_path / "work"
    with nine_p.machine(work, before=["env", "--ignore-signal=XFSZ"], limit=4096) as guest:
        guest.attach()
        guest.put("small", bytes(4096))
        with refused(errno.EFBIG, errno.ENOSPC):
            guest.walk(0, 1)
            guest.create(1, "big")
            guest.ask(nine_p.WRITE, 1, struct.pack("<QI", 4096, 4) + b"more")
        assert guest.get("small") == bytes(4096) and guest.process.poll() is None
    assert (inside / "small").read_bytes() == bytes(4096) and (inside / "big").read_bytes() == b""


def test_two_machines_have_one_folder_and_see_at_once_what_the_other_does(tmp_path: Path) -> None:
    work, inside = folder(tmp_path), tmp_path / "work"
    (inside / "disk").mkdir()
    # In the first one's eyes there is another file system in it.
    before = ["bwrap", "--die-with-parent", "--dev-bind", "/", "/", "--tmpfs", str(inside / "disk")]
    before += ["--dir", str(inside / "disk" / "deep")]
    with nine_p.machine(work, before=before) as one, nine_p.machine(work) as other:
        one.attach()
        other.attach()
        one.put("from one", b"1")
        assert other.get("from one") == b"1"
        other.put("from other", b"2")
        assert one.get("from other") == b"2"
        other.ask(nine_p.RENAME, 0, "from one", 0, "renamed")
        with refused(errno.ENOENT):
            one.get("from one")
        assert one.get("renamed") == b"1"
        numbers = [one.walk(0, number, *names)[5:] for number, names in
                   ((10, ["disk"]), (11, ["disk", "deep"]), (12, ["renamed"]), (13, []))]  # fmt: skip
        assert len(set(numbers)) == 4, "two files of two disks are two in the guest"
        assert "Multiple devices" not in one.log.read_text()


def test_a_mounted_folder_keeps_memory_from_being_saved_in_words_that_say_why(tmp_path: Path) -> None:
    work = folder(tmp_path)

    async def ask(monitor: Qmp) -> tuple[list[str], set[str]]:
        told = (await monitor.execute("query-migrate")).get("blocked-reasons", [])
        commands = await monitor.execute("query-commands")
        return [snapshot_live.said(str(each)) for each in told], {each["name"] for each in commands}

    with nine_p.machine(work) as guest:
        assert qmp.run(qmp.within(guest.qmp, 20, ask))[0] == []
        guest.attach()
        why, commands = qmp.run(qmp.within(guest.qmp, 20, ask))
        assert why == [f"its guest has {tmp_path}/work mounted by 9p, as t: it is unmounted a minute after nobody is at "
                       "work in it, or at once by `umount` there"]  # fmt: skip
        assert not any("fsdev" in command for command in commands), (
            "a folder that comes while QEMU runs is possible now"
        )
        guest.ask(nine_p.CLUNK, 0)
        assert qmp.run(qmp.within(guest.qmp, 20, ask))[0] == []
