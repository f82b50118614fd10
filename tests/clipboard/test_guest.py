"""Over a real sshd: the trial machine's pasteboard, a Mac's stand-in, and machines that have neither."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest
from Xlib.display import Display
from Xlib.xobject.drawable import Window

from isolation import patient
from pommel.clipboard.content import (
    BMP,
    EMPTY,
    HTML,
    PNG,
    RTF,
    TEXT,
    TIFF,
    URIS,
    Content,
    HeldBack,
    content_of,
    foreign,
    text_of,
)
from pommel.clipboard.frames import Copied, Done, Message
from pommel.clipboard.guest import REMOTE_COMMAND, GuestError, GuestLink, Trouble, explained, guest_link, programs
from waits import until

from .conftest import Clip, Mac, Sshd, descendants
from .test_host_x11 import foreign as in_foreign
from .test_host_x11 import program

LIMIT = 4 << 20
UTF8, FILE = "public.utf8-plain-text", "public.file-url"
BIG = random.Random(1).randbytes(3 << 20)  # the same each time, as names of tests show it


async def said(link: GuestLink) -> Message:
    return await asyncio.wait_for(link.next_message(), 20)


async def answered(link: GuestLink, done: Done) -> Message:
    """Hear whether our write was taken. A shell's guest may tell of it as a copy before that, and then again."""
    while isinstance(message := await said(link), Copied):
        pass
    assert message == done
    return message


async def told(link: GuestLink) -> Content:
    message = await said(link)
    assert isinstance(message, Copied)
    return message.content


# --- the trial machine's kind


@pytest.mark.parametrize("text", ["", "grüße 🍎", "\r\n\n", "$(touch /tmp/x) `id` '\";#END\n", "x" * 300_000])
async def test_text_there_and_back(posix_guest: Sshd, guest_clip: Clip, text: str) -> None:
    async with guest_link(posix_guest.ssh) as (link, hello):
        assert (hello.kind, hello.forms) == ("posix", {TEXT, PNG, URIS})
        assert await told(link) == text_of("at the beginning")
        await link.write(1, text_of(text))
        await answered(link, Done(1, True))
        # xclip goes into the background before it owns the clipboard.
        await until(lambda: (guest_clip.paste() or b"") == text.encode())
        echo = await told(link)
        assert echo == (text_of(text) if text else Content(held=HeldBack.FOREIGN))
        await asyncio.to_thread(guest_clip.copy, b"there: " + text.encode())
        while (found := await told(link)) == echo:
            pass
        assert found == text_of(b"there: " + text.encode())


async def test_what_a_shell_cannot_hold_comes_whole_too(posix_guest: Sshd, guest_clip: Clip) -> None:
    async with guest_link(posix_guest.ssh, limit=1000) as (link, _):
        await told(link)
        for data, held in (
            (b"a\0b\n", HeldBack.NUL),
            (b"\xff\xfe", HeldBack.NOT_UTF8),
            (b"x" * 1003, HeldBack.TOO_LARGE),
        ):
            await asyncio.to_thread(guest_clip.copy, data)
            assert (await told(link)).held is held


async def test_pictures_there_and_back_and_kinds_by_name(
    posix_guest: Sshd, guest_clip: Clip, guest_display: str
) -> None:
    """And text of programs that refuse TARGETS or are older than UTF-8, as far as xclip asks for it."""
    cyrillic = b"\x1b-L" + "Привет".encode("iso8859-5")
    cases: list[tuple[dict[str, bytes], bool, Content]] = [
        ({"image/tiff": b"t", "image/png": b"\x89P\0NG"}, True, content_of({PNG: b"\x89P\0NG"})),
        ({"image/bmp": b"B\0M", "image/jpeg": b"\xff\0"}, True, content_of({BMP: b"B\0M"})),
        ({"image/png": b"p", "UTF8_STRING": b"cells"}, True, text_of("cells")),
        ({"image/png": b""}, True, Content(held=HeldBack.UNREADABLE)),
        ({f"application/{number}-{'y' * 99}": b"x" for number in range(60)}, True, foreign(
            f"application/{number}-{'y' * 99}" for number in range(7))),
        ({"STRING": b"f\xfcr"}, False, text_of("für")),
        ({"COMPOUND_TEXT": cyrillic, "STRING": b"??????"}, True, text_of("Привет")),
        ({"COMPOUND_TEXT": cyrillic + b"!"}, False, text_of("Привет!")),
    ]  # fmt: skip
    async with guest_link(posix_guest.ssh, limit=LIMIT) as (link, hello):
        await told(link)
        for has, lists, content in cases:
            async with program(guest_display, has, lists=lists):
                while (found := await told(link)).held is HeldBack.FOREIGN and not found.kinds:
                    pass  # the moment after the program before it has ended
                assert found == content, has
        await asyncio.to_thread(guest_clip.copy, b"x" * (LIMIT + 9), "image/png")
        while (large := await told(link)).held is HeldBack.FOREIGN:
            pass
        assert large.held is HeldBack.TOO_LARGE
        small = content_of({PNG: BIG[:999_999]})
        await link.write(1, small)
        await answered(link, Done(1, True))
        assert guest_clip.paste("image/png") == small.get(PNG)
        assert await told(link) == small
        await link.write(2, hello.fitting(content_of({TEXT: b"one form only", HTML: b"<b>", PNG: BIG})))
        await answered(link, Done(2, True))
        assert guest_clip.paste() == b"one form only"


@pytest.mark.parametrize("size", [1_100_000, 3_000_000, 20_000_000])
async def test_what_is_large_is_had_by_several_at_once(posix_guest: Sshd, guest_clip: Clip, size: int) -> None:
    """By those who paste, one that gives up in the middle, and the guest's own end, which tells of what it has got.

    An xclip that has it answers one of them alone.
    """
    picture, text = random.Random(2).randbytes(size), "grüße 🍎\n" * (size // 13 + 1)
    files = b"\r\n".join(b"file:///tmp/%d/%s" % (number, b"x" * 200) for number in range(min(size, 4_000_000) // 230))
    given = {PNG: (picture, "image/png"), TEXT: (text.encode(), "UTF8_STRING"), URIS: (files, "text/uri-list")}
    if size > LIMIT:
        del given[TEXT], given[URIS]
    async with guest_link(posix_guest.ssh) as (link, hello):
        await told(link)
        for token, (form, (data, target)) in enumerate(given.items(), 1):
            content = content_of({form: data})
            assert form == URIS or hello.fitting(content) == content
            await link.write(token, content)
            await answered(link, Done(token, True))
            pasting = [asyncio.to_thread(guest_clip.paste, target) for _ in range(3)]
            leaving = subprocess.Popen(
                ["xclip", "-selection", "clipboard", "-o", "-t", target], env=guest_clip.env, stdout=subprocess.PIPE
            )
            assert leaving.stdout is not None and leaving.stdout.read(9) == data[:9]
            leaving.kill()
            leaving.communicate()
            echo = told(link)
            assert await asyncio.gather(*pasting) == [data] * 3
            assert await echo == content
        # A small one after it: the large one's owner is gone, and nothing of it comes back.
        await asyncio.to_thread(guest_clip.copy, b"small")
        assert await told(link) == text_of("small")


async def test_a_program_that_hangs_is_told_of_and_the_next_copy_is_read(
    posix_guest: Sshd, guest_clip: Clip, guest_display: str, tmp_path: Path
) -> None:
    shorter = tmp_path / "bin/timeout"
    real = shorter.readlink()
    shorter.unlink()
    shorter.write_text(f'#!/bin/sh\nshift\nexec "{real}" 0.3 "$@"\n')
    shorter.chmod(0o755)
    ended = asyncio.Event()

    def keep(desk: Display, window: Window, clipboard: int) -> None:
        window.set_selection_owner(clipboard, 0)
        desk.sync()
        asyncio.run_coroutine_threadsafe(ended.wait(), loop).result(60)

    async with guest_link(posix_guest.ssh) as (link, _):
        await told(link)
        loop = asyncio.get_running_loop()
        keeping = loop.run_in_executor(None, in_foreign, guest_display, keep)
        assert await told(link) == Content(held=HeldBack.LATE)
        await asyncio.to_thread(guest_clip.copy, b"next")
        assert await told(link) == text_of("next")
        ended.set()
        await keeping


async def test_nothing_of_a_clipboard_is_an_argument_or_a_file(
    posix_guest: Sshd, guest_clip: Clip, tmp_path: Path
) -> None:
    secret = "nobody else may read this"
    async with guest_link(posix_guest.ssh) as (link, _):
        await told(link)
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        await link.write(1, text_of(secret))
        await said(link)
        await told(link)
        assert posix_guest.daemon is not None
        seen = []
        for pid in descendants(posix_guest.daemon.pid):
            with contextlib.suppress(OSError):  # one that has just ended has no arguments any more
                seen.append(Path(f"/proc/{pid}/cmdline").read_bytes())
        assert seen and not any(secret.encode() in line for line in seen)
        after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != "log"}
        assert after == {path: when for path, when in before.items() if path.name != "log"}


async def test_without_an_x_server_it_polls(tmp_path: Path, posix_guest: Sshd) -> None:
    path = tmp_path / "bin"
    (path / "pbcopy").write_text(f'#!/bin/sh\ncat > "{tmp_path}/board"\n')
    (path / "pbpaste").write_text(f'#!/bin/sh\ncat "{tmp_path}/board"\n')
    (path / "python3").unlink()
    (tmp_path / "board").write_text("one")
    async with guest_link(posix_guest.ssh) as (link, _):
        assert await told(link) == text_of("one")
        (tmp_path / "board").write_text("two\n")
        assert await told(link) == text_of("two\n")


async def test_a_pbcopy_that_fails_does_not_eat_the_next_line(tmp_path: Path, posix_guest: Sshd) -> None:
    (tmp_path / "bin/pbcopy").write_text("#!/bin/sh\nexit 1\n")
    async with guest_link(posix_guest.ssh) as (link, _):
        await told(link)
        await link.write(1, text_of("x" * 500_000))
        await answered(link, Done(1, False))
        await link.write(2, text_of("y"))
        await answered(link, Done(2, False))


async def test_it_ends_with_the_connection(posix_guest: Sshd) -> None:
    assert posix_guest.daemon is not None
    async with guest_link(posix_guest.ssh) as (link, _):
        await told(link)
        assert descendants(posix_guest.daemon.pid)
    await until(lambda: posix_guest.daemon and not descendants(posix_guest.daemon.pid))
    async with guest_link(posix_guest.ssh) as (link, _):
        await told(link)
        os.kill(link.pid, signal.SIGKILL)
        with pytest.raises(GuestError) as gone:
            while True:
                await said(link)
        assert gone.value.trouble is Trouble.UNREACHABLE
    await until(lambda: posix_guest.daemon and not descendants(posix_guest.daemon.pid))


# --- a Mac's kind


async def test_a_mac_gets_all_forms(mac: Mac) -> None:
    async with guest_link(mac.sshd.ssh) as (link, hello):
        assert hello.kind == "mac" and hello.forms == {TEXT, HTML, RTF, PNG, TIFF, URIS}
        assert hello.notes["user"] == hello.notes["console"]
        assert await told(link) == EMPTY
        rich = content_of({TEXT: "grün\r\n".encode(), HTML: b"<b>b</b>", RTF: b"{\\rtf1}"})
        await link.write(1, rich)
        assert await said(link) == Done(1, True)
        assert mac.items() == [
            {UTF8: "grün\r\n".encode(), "public.html": rich.get(HTML), "public.rtf": b"{\\rtf1}"},
        ]
        await link.write(2, content_of({PNG: BIG}))
        assert await said(link) == Done(2, True)
        assert mac.items() == [{"public.png": BIG}]
        await link.write(3, content_of({URIS: b"# comment\r\nfile:///a\r\nfile:///b%20c\r\n"}))
        assert await said(link) == Done(3, True)
        assert mac.items() == [{FILE: b"file:///a"}, {FILE: b"file:///b%20c"}]
        await link.write(4, EMPTY)
        assert await said(link) == Done(4, True)
        assert mac.items() == []


@pytest.mark.parametrize(
    ("items", "content"),
    [
        ([{UTF8: "🍎\n".encode()}], text_of("🍎\n")),
        ([{UTF8: b"t", "public.rtf": b"r", "public.tiff": b"icon"}], content_of({TEXT: b"t", RTF: b"r"})),
        ([{"public.tiff": b"tiff", "public.png": BIG}], content_of({PNG: BIG})),
        ([{"public.tiff": BIG}], content_of({TIFF: BIG})),
        ([{FILE: b"file:///.file/id=x", UTF8: b"x"}, {FILE: b"file:///y"}],
         content_of({URIS: b"file:///Users/ann/x\r\nfile:///y\r\n"})),
        ([{UTF8: b"pw", "org.nspasteboard.ConcealedType": b""}], Content(held=HeldBack.SECRET)),
        ([{UTF8: b"pw", "com.agilebits.onepassword": b""}], Content(held=HeldBack.SECRET)),
        ([{UTF8: b"tmp", "org.nspasteboard.TransientType": b""}], Content(held=HeldBack.TRANSIENT)),
        ([{UTF8: b"tmp", "org.nspasteboard.AutoGeneratedType": b""}], Content(held=HeldBack.TRANSIENT)),
        ([{"com.example.private": b"x", "com.adobe.pdf": b"p"}], foreign(["com.example.private", "com.adobe.pdf"])),
        ([{UTF8: b"x" * (4 << 20)}], Content(held=HeldBack.TOO_LARGE, size=4 << 20)),
        ([], EMPTY),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
async def test_what_a_mac_tells(mac: Mac, items: list[dict[str, bytes]], content: Content) -> None:
    async with guest_link(mac.sshd.ssh, limit=(4 << 20) - 1) as (link, _):
        await told(link)
        await link.write(1, text_of("ours, not told back"))
        await said(link)
        # The stand-in is one thread: it answers when what it tells has been read.
        _, found = await asyncio.gather(asyncio.to_thread(mac.copy, *items), told(link))
        assert found == content


async def test_signs_of_life(mac: Mac) -> None:
    async with guest_link(mac.sshd.ssh) as (link, _):
        async with asyncio.timeout(patient(20)):
            alive = asyncio.ensure_future(link.stay_alive(every_s=0.15))
            for _ in range(5):
                await said(link)
            assert not alive.done()
            # Nobody reads the answers any more, which is all that `stay_alive` sees of a guest that sleeps.
            with pytest.raises(GuestError, match="no longer answers"):
                await alive


# --- no connection


async def test_a_machine_without_a_pasteboard(tmp_path: Path, posix_guest: Sshd) -> None:
    (tmp_path / "bin/pbcopy").unlink()
    with pytest.raises(GuestError, match="neither osascript nor pbcopy") as refusal:
        async with guest_link(posix_guest.ssh):
            pass
    assert refusal.value.trouble is Trouble.UNUSABLE and refusal.value.hint


async def test_nobody_there(posix_guest: Sshd) -> None:
    posix_guest.stop()
    with pytest.raises(GuestError, match=r"no connection to the guest: .*Connection refused") as refusal:
        async with guest_link(posix_guest.ssh):
            pass
    assert refusal.value.trouble is Trouble.UNREACHABLE


async def test_a_key_that_is_refused(posix_guest: Sshd) -> None:
    (posix_guest.root / "authorized").write_text("")
    with pytest.raises(GuestError, match="Permission denied") as refusal:
        async with guest_link(posix_guest.ssh):
            pass
    assert refusal.value.trouble is Trouble.REFUSED and "authorized_keys" in (refusal.value.hint or "")


async def test_another_host_key(posix_guest: Sshd) -> None:
    public = (posix_guest.root / "id.pub").read_text().split()[:2]
    (posix_guest.root / "known").write_text(f"box {' '.join(public)}\n")
    with pytest.raises(GuestError, match="host key") as refusal:
        async with guest_link(posix_guest.ssh):
            pass
    assert refusal.value.trouble is Trouble.REFUSED


async def test_one_that_says_nothing() -> None:
    with pytest.raises(GuestError, match=r"sent nothing for 0.1 s") as refusal:
        async with guest_link(["sh", "-c", "exec sleep 100"], hello_s=0.1):
            pass
    assert refusal.value.trouble is Trouble.UNREACHABLE


async def test_one_that_talks_nonsense() -> None:
    with pytest.raises(GuestError, match="does not stop printing") as refusal:
        async with guest_link(["sh", "-c", "yes"]):
            pass
    assert refusal.value.trouble is Trouble.UNUSABLE


def test_explained() -> None:
    unknown = explained(
        255,
        "No ED25519 host key is known for box and you have requested strict checking.\nHost key verification failed.",
    )
    assert "not known yet" in unknown.message and unknown.trouble is Trouble.REFUSED and not unknown.keys
    assert explained(255, "u@h: Permission denied (publickey).").keys
    assert explained(255, "x\nssh: connect to host h port 22: No route to host").trouble is Trouble.UNREACHABLE
    assert explained(-9, "").message == "no connection to the guest"
    assert explained(1, "execution error: nope").trouble is Trouble.UNUSABLE


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_command_is_one_that_any_login_shell_reads_alike(shell: str) -> None:
    assert REMOTE_COMMAND.count("'") == 2 and "!" not in REMOTE_COMMAND and "\n" not in REMOTE_COMMAND
    from pommel.process import run

    done = run([shell, "-c", REMOTE_COMMAND], input=b"IFS= read -r x\nprintf '%s' \"$x\"\n#END\n  a\\b$(id)\n")
    assert done.stdout == b"  a\\b$(id)"


def test_the_programs_are_three() -> None:
    assert programs().count(b"\n#END\n") == 3


def test_a_guest_s_python_may_be_an_old_one() -> None:
    program = programs().split(b"\n#END\n")[2]
    ast.parse(program, feature_version=(3, 7))
