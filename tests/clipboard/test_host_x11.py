"""A real X server, with xclip, GTK, Tk and a bare client for what those do not ask for."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import subprocess
import textwrap
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from Xlib import X, Xatom
from Xlib.display import Display
from Xlib.protocol.event import SelectionClear, SelectionNotify
from Xlib.protocol.request import SetSelectionOwner

from pommel.app.console.desktop_clipboard import desktop_clipboard
from pommel.clipboard import host_x11, x11_offer
from pommel.clipboard.content import (
    BMP,
    EMPTY,
    FORMS,
    HTML,
    JPEG,
    PNG,
    RTF,
    TEXT,
    TIFF,
    URIS,
    Content,
    HeldBack,
    content_of,
    text_of,
)
from pommel.clipboard.content import foreign as of_kinds
from pommel.clipboard.host import Desktop, HostClipboard, HostCopy, HostGone, host_clipboard
from pommel.clipboard.targets import FILES
from pommel.errors import NotPermitted, StateError
from screen.x_server import authority
from screen.x_server import x_server as guarded_server

from .conftest import Clip, ended, started, x_server

BIG = random.Random(1).randbytes(5 << 20)  # many pieces of INCR; the same each time, as names of tests show it
BIG_TEXT = BIG.hex().encode()


async def soon(waited: Awaitable[HostCopy]) -> HostCopy:
    return await asyncio.wait_for(waited, 20)


async def copied(clipboard: HostClipboard, clip: Clip, data: bytes, target: str = "UTF8_STRING") -> HostCopy:
    await asyncio.to_thread(clip.copy, data, target)
    return await soon(clipboard.next_change())


async def pasted(clip: Clip, target: str = "UTF8_STRING") -> bytes | None:
    return await asyncio.to_thread(clip.paste, target)


async def test_what_was_there_comes_first(x11: HostClipboard) -> None:
    assert await soon(x11.next_change()) == HostCopy(text_of("at the beginning"), 0)
    assert "CLIPBOARD" in x11.name


@pytest.mark.parametrize(
    ("target", "data", "content"),
    [
        ("UTF8_STRING", "grüße 🍎\r\n\n".encode(), text_of("grüße 🍎\r\n\n")),
        ("STRING", b"gr\xfc\xdfe", text_of("grüße")),
        ("text/plain;charset=utf-8", b"t", text_of("t")),
        ("text/html", b"<i>i</i>", content_of({HTML: b"<i>i</i>"})),
        ("application/rtf", b"{\\rtf1}", content_of({RTF: b"{\\rtf1}"})),
        ("image/png", BIG, content_of({PNG: BIG})),
        ("image/tiff", b"tiff", content_of({TIFF: b"tiff"})),
        ("UTF8_STRING", BIG_TEXT, text_of(BIG_TEXT)),
        ("UTF8_STRING", b"a\0b", Content(held=HeldBack.NUL, size=3)),
        ("UTF8_STRING", b"\xff", Content(held=HeldBack.NOT_UTF8, size=1)),
        ("application/x-other", b"x", of_kinds(["application/x-other"])),
        ("text/uri-list", b"file:///x\r\n", of_kinds(["text/uri-list"])),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_what_xclip_copies(
    x11: HostClipboard, host_clip: Clip, target: str, data: bytes, content: Content
) -> None:
    await soon(x11.next_change())
    assert await copied(x11, host_clip, data, target) == HostCopy(content, 1)


async def test_more_than_the_limit_is_refused_and_the_next_copy_is_not(display: str, host_clip: Clip) -> None:
    async with host_clipboard(Desktop("x11", display), limit=1 << 20) as clipboard:
        await soon(clipboard.next_change())
        change = await copied(clipboard, host_clip, BIG_TEXT)
        assert change.content.held is HeldBack.TOO_LARGE and change.content.size > 1 << 20
        assert (await copied(clipboard, host_clip, b"small")).content == text_of("small")


@pytest.mark.parametrize(
    ("content", "target", "data"),
    [
        (text_of("grüße\r\n\n"), "UTF8_STRING", "grüße\r\n\n".encode()),
        (text_of("grüße"), "STRING", b"gr\xfc\xdfe"),
        (text_of("grüße"), "TEXT", "grüße".encode()),
        (text_of("π"), "STRING", None),
        (text_of("t"), "image/png", None),
        (text_of(BIG_TEXT), "UTF8_STRING", BIG_TEXT),
        (content_of({PNG: BIG}), "image/png", BIG),
        (content_of({TEXT: b"t", HTML: b"charset"}), "text/html", b"charset"),
        (content_of({URIS: b"file:///a\r\n"}), "x-special/gnome-copied-files", b"copy\nfile:///a"),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_what_xclip_pastes(
    x11: HostClipboard, host_clip: Clip, content: Content, target: str, data: bytes | None
) -> None:
    await soon(x11.next_change())
    assert await x11.write(content, 0)
    assert await pasted(host_clip, target) == data


URI_LIST = content_of({URIS: b"file:///a\r\n"})


async def test_who_pastes_what_has_to_be_fetched_is_kept_waiting(x11: HostClipboard, host_clip: Clip) -> None:
    await soon(x11.next_change())
    asked: asyncio.Queue[Callable[[bool], None]] = asyncio.Queue()
    assert x11.lazy and await x11.write(URI_LIST, 0, when_asked=asked.put_nowait)
    assert b"text/uri-list" in (await pasted(host_clip, "TARGETS") or b"")
    assert asked.empty()  # who only looks gets an answer, and nothing is fetched
    pasting = [asyncio.ensure_future(pasted(host_clip, target)) for target in ("text/uri-list", FILES)]
    answer = await asyncio.wait_for(asked.get(), 20)
    await asyncio.sleep(0.1)
    assert asked.empty() and not any(one.done() for one in pasting)
    answer(False)
    assert await asyncio.gather(*pasting) == [None, None]
    # Whoever pastes later asks anew; then it is there.
    again = asyncio.ensure_future(pasted(host_clip, "text/uri-list"))
    (await asyncio.wait_for(asked.get(), 20))(True)
    assert await again == b"file:///a\r\n"
    assert await pasted(host_clip, FILES) == b"copy\nfile:///a" and asked.empty()


async def test_a_paste_waits_so_long_and_no_longer(
    x11: HostClipboard, host_clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(x11_offer, "PASTE_S", 0.2)
    await soon(x11.next_change())
    asked: asyncio.Queue[Callable[[bool], None]] = asyncio.Queue()
    assert await x11.write(URI_LIST, 0, when_asked=asked.put_nowait)
    assert await pasted(host_clip, "text/uri-list") is None
    # It is being fetched still: the next paste does not begin it anew, and gets it.
    again = asyncio.ensure_future(pasted(host_clip, "text/uri-list"))
    (await asyncio.wait_for(asked.get(), 20))(True)
    assert await again == b"file:///a\r\n" and asked.empty()


async def test_a_newer_copy_does_not_take_a_paste_away(x11: HostClipboard, host_clip: Clip) -> None:
    await soon(x11.next_change())
    asked: asyncio.Queue[Callable[[bool], None]] = asyncio.Queue()
    assert await x11.write(URI_LIST, 0, when_asked=asked.put_nowait)
    pasting = asyncio.ensure_future(pasted(host_clip, "text/uri-list"))
    answer = await asyncio.wait_for(asked.get(), 20)
    assert await x11.write(text_of("newer"), 0)
    answer(True)
    assert await pasting == b"file:///a\r\n"
    assert await pasted(host_clip) == b"newer"


async def test_who_waits_when_we_end_gets_an_answer(display: str, host_clip: Clip) -> None:
    async with host_clipboard(Desktop("x11", display)) as clipboard:
        asked: asyncio.Queue[Callable[[bool], None]] = asyncio.Queue()
        assert await clipboard.write(URI_LIST, 0, when_asked=asked.put_nowait)
        pasting = asyncio.ensure_future(pasted(host_clip, "text/uri-list"))
        await asyncio.wait_for(asked.get(), 20)
    assert await pasting is None


async def test_our_own_writes_are_not_told(x11: HostClipboard, host_clip: Clip) -> None:
    await soon(x11.next_change())
    for content in (text_of("ours"), EMPTY, text_of("ours again")):
        assert await x11.write(content, 0)
    assert await copied(x11, host_clip, b"theirs") == HostCopy(text_of("theirs"), 1)


async def test_a_write_that_comes_after_a_copy_is_not_taken(x11: HostClipboard, host_clip: Clip) -> None:
    await soon(x11.next_change())
    await asyncio.to_thread(host_clip.copy, b"theirs")
    assert not await x11.write(text_of("too late"), 0)
    assert await soon(x11.next_change()) == HostCopy(text_of("theirs"), 1)
    assert await pasted(host_clip) == b"theirs"
    assert await x11.write(text_of("in time"), 1)
    assert await pasted(host_clip) == b"in time"


async def test_a_loss_that_was_over_when_it_is_told_is_none(x11: HostClipboard, host_clip: Clip, display: str) -> None:
    """Somebody took the selection and we took it back before the server's word of that came."""
    assert await x11.write(text_of("ours"), 1 << 60)
    desk = Display(display)
    clipboard = desk.intern_atom("CLIPBOARD")
    ours: Any = desk.get_selection_owner(clipboard)  # a window; the types say its number
    ours.send_event(SelectionClear(time=1, window=ours, atom=clipboard))
    desk.sync()
    desk.close()
    assert await pasted(host_clip) == b"ours"


async def test_emptied_is_not_the_same_as_ended(x11: HostClipboard, display: str) -> None:
    await soon(x11.next_change())
    await asyncio.to_thread(
        foreign, display, lambda desk, window, clip: window.set_selection_owner(clip, X.CurrentTime)
    )
    # The client and its window are gone at once.
    assert (await soon(x11.next_change())).content.held is HeldBack.GONE

    def take_and_clear(desk: Display, window: object, clip: int) -> None:
        window.set_selection_owner(clip, X.CurrentTime)  # type: ignore[attr-defined]
        SetSelectionOwner(display=desk.display, window=X.NONE, selection=clip, time=X.CurrentTime)
        desk.sync()

    await asyncio.to_thread(foreign, display, take_and_clear)
    assert (await soon(x11.next_change())).content == EMPTY


async def test_emptied_by_us(x11: HostClipboard, host_clip: Clip) -> None:
    await soon(x11.next_change())
    assert await x11.write(EMPTY, 0)
    assert await pasted(host_clip) is None


def foreign(display: str, act: object) -> None:
    """Another X client, for the time of `act`."""
    desk = Display(display)
    desk.set_error_handler(lambda *_: None)
    window = desk.screen().root.create_window(0, 0, 1, 1, 0, X.CopyFromParent, event_mask=X.PropertyChangeMask)
    act(desk, window, desk.intern_atom("CLIPBOARD"))  # type: ignore[operator]
    desk.sync()
    desk.close()


async def test_multiple_timestamp_and_save_targets(x11: HostClipboard, display: str) -> None:
    """What an ICCCM client may ask for: several targets at once, one of them in pieces."""
    await soon(x11.next_change())
    assert await x11.write(content_of({TEXT: b"t", PNG: BIG}), 0)
    got: dict[str, object] = {}

    def ask(desk: Display, window: object, clip: int) -> None:
        atom = desk.intern_atom
        wanted = ["UTF8_STRING", "image/png", "TIMESTAMP", "SAVE_TARGETS", "application/x-none", "MULTIPLE"]
        pairs = [word for name in wanted for word in (atom(name), atom(f"TEST_{name}"))]
        window.change_property(atom("TEST"), atom("ATOM_PAIR"), 32, pairs)  # type: ignore[attr-defined]
        window.convert_selection(clip, atom("MULTIPLE"), atom("TEST"), X.CurrentTime)  # type: ignore[attr-defined]
        place, pieces = atom("TEST_image/png"), []
        while True:
            event = desk.next_event()
            if event.type == X.SelectionNotify:
                assert event.property == atom("TEST")
                answer = window.get_property(atom("TEST"), X.AnyPropertyType, 0, 99)  # type: ignore[attr-defined]
                got["served"] = [bool(place) for place in answer.value[1::2]]
                for name in wanted[:4]:
                    got[name] = window.get_property(atom(f"TEST_{name}"), X.AnyPropertyType, 0, 99)  # type: ignore[attr-defined]
                window.delete_property(place)  # type: ignore[attr-defined]
                window.change_attributes(event_mask=X.PropertyChangeMask)  # type: ignore[attr-defined]
            elif event.type == X.PropertyNotify and event.atom == place and event.state == X.PropertyNewValue:
                if "served" not in got:
                    continue
                piece = window.get_property(place, X.AnyPropertyType, 0, 1 << 18, delete=True)  # type: ignore[attr-defined]
                pieces.append(bytes(piece.value))
                if not pieces[-1]:
                    got["png"] = b"".join(pieces)
                    return

    await asyncio.wait_for(asyncio.to_thread(foreign, display, ask), 20)
    assert got["served"] == [True, True, True, True, False, False]
    assert got["UTF8_STRING"].value == b"t"  # type: ignore[attr-defined]
    assert got["image/png"].value[0] == len(BIG)  # type: ignore[attr-defined]
    assert got["TIMESTAMP"].property_type == Xatom.INTEGER and got["TIMESTAMP"].value[0] > 0  # type: ignore[attr-defined]
    assert len(got["SAVE_TARGETS"].value) == 0  # type: ignore[attr-defined]
    assert got["png"] == BIG


async def test_an_asker_that_dies_in_the_middle_and_one_that_never_answers(
    x11: HostClipboard, display: str, host_clip: Clip
) -> None:
    await soon(x11.next_change())
    assert await x11.write(content_of({PNG: BIG}), 0)

    def begin_and_die(desk: Display, window: object, clip: int) -> None:
        window.convert_selection(clip, desk.intern_atom("image/png"), desk.intern_atom("P"), X.CurrentTime)  # type: ignore[attr-defined]
        desk.sync()

    await asyncio.to_thread(foreign, display, begin_and_die)
    assert await pasted(host_clip, "image/png") == BIG
    # An owner that does not answer: what it has cannot be had, and the next copy can.
    silent, done = threading.Event(), threading.Event()

    def own(desk: Display, window: object, clip: int) -> None:
        window.set_selection_owner(clip, X.CurrentTime)  # type: ignore[attr-defined]
        desk.sync()
        silent.set()
        done.wait(20)

    holding = asyncio.get_running_loop().run_in_executor(None, foreign, display, own)
    await asyncio.to_thread(silent.wait, 10)
    await asyncio.to_thread(host_clip.copy, b"next")
    assert (await soon(x11.next_change())).content == text_of("next")
    done.set()
    await holding


@contextlib.asynccontextmanager
async def program(
    display: str, has: dict[str, bytes], stale: int | None = None, *, lists: bool = True, typed: str = ""
) -> AsyncIterator[list[str]]:
    """A program that copies several forms of one thing; what it was asked for.

    It refuses what it has not, and TARGETS unless it `lists`; its answers are `typed` so, or as what was asked for.

    With `stale`, an earlier owner's refusal of what it was asked so many ms before comes before each first answer.
    """
    asked: list[str] = []
    ready, done = threading.Event(), threading.Event()

    def keep(desk: Display, window: object, clip: int) -> None:
        window.set_selection_owner(clip, X.CurrentTime)  # type: ignore[attr-defined]
        desk.sync()
        ready.set()
        while not done.is_set():
            while desk.pending_events():
                event = desk.next_event()
                if event.type != X.SelectionRequest:
                    continue
                name = desk.get_atom_name(event.target)
                first = name not in asked
                asked.append(name)
                if stale is not None and first:
                    answer(event, event.time - stale, X.NONE)
                if not (name in has or (lists and name == "TARGETS")):
                    answer(event, event.time, X.NONE)
                    continue
                if name == "TARGETS":
                    event.requestor.change_property(
                        event.property, Xatom.ATOM, 32, [desk.intern_atom(one) for one in has]
                    )
                else:
                    kind = desk.intern_atom(typed) if typed else event.target
                    event.requestor.change_property(event.property, kind, 8, has[name])
                answer(event, event.time, event.property)
                desk.flush()
            done.wait(0.01)

    def answer(event: Any, at: int, place: int) -> None:
        event.requestor.send_event(
            SelectionNotify(
                time=at, requestor=event.requestor, selection=event.selection, target=event.target, property=place
            )
        )

    keeping = asyncio.get_running_loop().run_in_executor(None, foreign, display, keep)
    try:
        yield asked
    finally:
        done.set()
        await keeping


@pytest.mark.parametrize("before_ms", [0, 1, 5000])
async def test_what_an_earlier_owner_refuses_is_no_answer_of_the_present_one(
    x11: HostClipboard, display: str, before_ms: int
) -> None:
    await soon(x11.next_change())
    async with program(display, {"UTF8_STRING": b"newer"}, before_ms):
        assert (await soon(x11.next_change())).content == text_of("newer")


async def test_copies_in_quick_succession_are_told_of(x11: HostClipboard, display: str) -> None:
    """Each is asked for while the answers to the one before are on their way."""
    async with contextlib.AsyncExitStack() as held:
        others = [await held.enter_async_context(host_clipboard(Desktop("x11", display))) for _ in range(3)]
        for turn in range(60):
            for number, other in enumerate(others):
                await other.write(last := text_of(f"{turn} {number}"), 1 << 60)
            while (found := (await soon(x11.next_change())).content) != last:
                assert found.held is None or found.held is HeldBack.UNREADABLE, f"{turn}: {found}"


async def test_a_password_keepers_hint(x11: HostClipboard, display: str) -> None:
    await soon(x11.next_change())
    async with program(display, {"x-kde-passwordManagerHint": b"secret", "UTF8_STRING": b"password"}) as asked:
        assert (await soon(x11.next_change())).content == Content(held=HeldBack.SECRET)
        assert asked == ["TARGETS", "x-kde-passwordManagerHint"]


@pytest.mark.parametrize(
    ("has", "content"),
    [
        ({"text/uri-list": b"file:///a\r\n", "application/x-kde-cutselection": b"1", "UTF8_STRING": b"/a"},
         content_of({URIS: b"# cut\r\nfile:///a\r\n"})),
        ({"text/uri-list": b"file:///a\r\n", "application/x-kde-cutselection": b"0"}, content_of({URIS: b"file:///a\r\n"})),
        ({FILES: b"cut\nfile:///a", "text/uri-list": b"file:///a\r\n"}, content_of({URIS: b"# cut\r\nfile:///a\r\n"})),
        # A link in a browser is no file.
        ({"text/uri-list": b"https://example.org/\r\n", "UTF8_STRING": b"https://example.org/"}, text_of("https://example.org/")),
        ({"text/uri-list": b"https://example.org/\r\n"}, of_kinds(["text/uri-list"])),
        ({"image/jpeg": b"jpeg", "image/bmp": b"bmp"}, content_of({JPEG: b"jpeg"})),
        ({"image/bmp": b"bmp"}, content_of({BMP: b"bmp"})),
    ],
)  # fmt: skip
async def test_what_programs_copy(display: str, host_clip: Clip, has: dict[str, bytes], content: Content) -> None:
    async with host_clipboard(Desktop("x11", display), forms=frozenset(FORMS)) as clipboard:
        await soon(clipboard.next_change())
        async with program(display, has):
            assert (await soon(clipboard.next_change())).content == content


async def test_what_old_programs_copy_and_why_the_rest_stays(x11: HostClipboard, display: str) -> None:
    """Those that refuse TARGETS, those before UTF-8, and what nobody here carries."""
    await soon(x11.next_change())
    cyrillic = b"\x1b-L" + "Привет".encode("iso8859-5")
    cases: list[tuple[dict[str, bytes], dict[str, Any], Content]] = [
        ({"STRING": b"gr\xfc\xdfe"}, {"lists": False}, text_of("grüße")),
        ({"UTF8_STRING": "π".encode(), "STRING": b"?"}, {"lists": False}, text_of("π")),
        ({"COMPOUND_TEXT": b"motif\0"}, {}, text_of("motif")),
        ({"COMPOUND_TEXT": cyrillic, "STRING": b"??????"}, {}, text_of("Привет")),
        ({"COMPOUND_TEXT": b"\x1b-z\xa1", "STRING": b"plain"}, {}, text_of("plain")),
        ({"TEXT": cyrillic}, {"typed": "COMPOUND_TEXT"}, text_of("Привет")),
        ({"TEXT": b"\xfc"}, {"typed": "STRING", "lists": False}, text_of("ü")),
        ({"TEXT": "ü".encode()}, {"typed": "UTF8_STRING"}, text_of("ü")),
        ({"COMPOUND_TEXT": b"\x1b-z\xa1"}, {}, of_kinds(["compound text's set ESC - z"], why=HeldBack.CHARSET)),
        ({"image/svg+xml": b"<svg/>", "_APP_X": b"x"}, {}, of_kinds(["image/svg+xml", "_APP_X"])),
        ({}, {"lists": False}, Content(held=HeldBack.REFUSED)),
    ]
    for has, manners, content in cases:
        async with program(display, has, **manners):
            assert (await soon(x11.next_change())).content == content, has
        assert (await soon(x11.next_change())).content.held is HeldBack.GONE
    many = {f"application/x-{number}-{'y' * 99}": b"x" for number in range(9)}
    async with program(display, many):
        kinds = (await soon(x11.next_change())).content.kinds
    assert len(kinds) == 7 and kinds[-1] == "…" and max(map(len, kinds)) == 60


async def test_a_program_that_does_not_answer_is_told_of_and_the_next_is_read(
    x11: HostClipboard, display: str, host_clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_x11, "_STEP_S", 0.3)
    await soon(x11.next_change())
    noticed: asyncio.Queue[int] = asyncio.Queue()
    x11.on_copy = noticed.put_nowait
    done = threading.Event()

    def keep(desk: Display, window: Any, clip: int) -> None:
        window.set_selection_owner(clip, X.CurrentTime)
        desk.sync()
        done.wait(60)

    keeping = asyncio.get_running_loop().run_in_executor(None, foreign, display, keep)
    assert await asyncio.wait_for(noticed.get(), 20) == 1, "it is noticed before it is fetched"
    assert await soon(x11.next_change()) == HostCopy(Content(held=HeldBack.LATE), 1)
    done.set()
    await keeping
    assert (await copied(x11, host_clip, b"next")).content in (Content(held=HeldBack.GONE), text_of("next"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be asked to read more than who asks may")
async def test_root_reads_no_file_for_a_program_of_another_user(display: str, host_clip: Clip) -> None:
    uris = b"file:///etc/shadow\r\n"
    copying = ["xclip", "-selection", "clipboard", "-t", "text/uri-list"]
    async with host_clipboard(Desktop("x11", display), forms=frozenset(FORMS)) as clipboard:
        await soon(clipboard.next_change())
        assert (await copied(clipboard, host_clip, uris, "text/uri-list")).content == content_of({URIS: uris})
        async with program(display, {"text/uri-list": uris}):
            assert (await soon(clipboard.next_change())).content == content_of({URIS: uris})
        assert (await soon(clipboard.next_change())).content.held is HeldBack.GONE
        desk = Display(display)
        desk.change_hosts(X.HostInsert, 5, list(b"localuser\0nobody"))  # FamilyServerInterpreted
        desk.sync()
        here = {**host_clip.env, "HOME": "/nonexistent"}
        other = subprocess.Popen(
            [*copying, "-quiet"], stdin=subprocess.PIPE, env=here, user=65534, stderr=subprocess.DEVNULL
        )
        assert other.stdin is not None
        other.stdin.write(uris)
        other.stdin.close()
        assert (await soon(clipboard.next_change())).content.held is HeldBack.NOT_HIS
        other.kill()
        other.wait()
        desk.change_hosts(X.HostDelete, 5, list(b"localuser\0nobody"))
        desk.close()


GTK = textwrap.dedent("""
    import sys, gi
    for name, version in (("Gtk", "3.0"), ("Gdk", "3.0"), ("GdkPixbuf", "2.0")):  # GTK 4 may lie beside it
        gi.require_version(name, version)
    from gi.repository import Gdk, GdkPixbuf, GLib, Gtk
    board = Gtk.Clipboard.get(Gdk.SELECTION_CLIPBOARD)
    def picture(size):
        made = GdkPixbuf.Pixbuf.new(GdkPixbuf.Colorspace.RGB, False, 8, size, size)
        made.fill(0x336699FF)
        return made
    if sys.argv[1] == "copy image":
        board.set_image(picture(900))
        print("ready", flush=True)
        Gtk.main()
    elif sys.argv[1] == "copy text":
        board.set_text("grüße\\n" * 200_000, -1)
        print("ready", flush=True)
        Gtk.main()
    elif sys.argv[1] == "paste image":
        got = board.wait_for_image()
        print(got.get_width(), got.get_height(), got.get_pixels()[:3].hex(), flush=True)
    elif sys.argv[1] == "paste text":
        sys.stdout.buffer.write(board.wait_for_text().encode())
""")


async def gtk(display: str, act: str) -> bytes:
    env = {**os.environ, "DISPLAY": display, "GDK_BACKEND": "x11", "NO_AT_BRIDGE": "1", "PYTHONPATH": ""}
    done = await asyncio.to_thread(
        subprocess.run, ["/usr/bin/python3", "-c", GTK, act], env=env, capture_output=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return bytes(done.stdout)


@contextlib.asynccontextmanager
async def gtk_owner(display: str, act: str) -> AsyncIterator[None]:
    env = {**os.environ, "DISPLAY": display, "GDK_BACKEND": "x11", "NO_AT_BRIDGE": "1", "PYTHONPATH": ""}
    child = started(["/usr/bin/python3", "-c", GTK, act], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert child.stdout is not None
        assert await asyncio.to_thread(child.stdout.readline) == b"ready\n"
        yield
    finally:
        ended(child)
        assert child.stdout is not None
        child.stdout.close()


async def test_gtk_copies_and_pastes_pictures_and_long_text(x11: HostClipboard, display: str) -> None:
    await soon(x11.next_change())
    async with gtk_owner(display, "copy image"):
        picture = (await soon(x11.next_change())).content
        assert picture.names == (PNG,) and picture.forms[0][1].startswith(b"\x89PNG")
    assert (await soon(x11.next_change())).content.held is HeldBack.GONE
    async with gtk_owner(display, "copy text"):
        change = await soon(x11.next_change())
        assert change.content.text == "grüße\n".encode() * 200_000
    gone = await soon(x11.next_change())
    assert await x11.write(picture, gone.sequence)
    assert await gtk(display, "paste image") == b"900 900 336699\n"
    assert await x11.write(change.content, gone.sequence)
    assert await gtk(display, "paste text") == change.content.text


async def test_primary(display: str, host_clip: Clip) -> None:
    async with host_clipboard(Desktop("x11", display), selection="PRIMARY") as clipboard:
        await soon(clipboard.next_change())
        host_clip.copy(b"not this")
        argv = ["xclip", "-selection", "primary"]
        await asyncio.to_thread(subprocess.run, argv, input=b"this", env=host_clip.env, stdout=subprocess.DEVNULL)
        assert (await soon(clipboard.next_change())).content == text_of("this")


async def test_ten_thousand_copies_leave_nothing_behind(x11: HostClipboard, display: str) -> None:
    change = await soon(x11.next_change())

    async def thousand() -> None:
        for number in range(1000):
            assert await x11.write(text_of(f"copy {number}"), change.sequence)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    await thousand()
    await thousand()
    before, threads = resident(), threading.active_count()
    for _ in range(8):
        await thousand()
    assert resident() - before < 1000, "pages"
    assert threading.active_count() == threads


async def test_a_display_that_ends_is_told() -> None:
    with contextlib.ExitStack() as stack:
        display = stack.enter_context(x_server())
        async with host_clipboard(Desktop("x11", display), forms=frozenset(FORMS)) as clipboard:
            assert await soon(clipboard.next_change()) == HostCopy(EMPTY, 0)
            waiting = asyncio.ensure_future(clipboard.next_change())
            await asyncio.sleep(0.05)
            stack.close()
            with pytest.raises(HostGone):
                await asyncio.wait_for(waiting, 20)
            with pytest.raises(HostGone):
                await clipboard.write(text_of("x"), 0)


async def test_a_display_that_does_not_let_us_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAUTHORITY", str(tmp_path / "none"))
    with guarded_server("-auth", str(authority(tmp_path / "theirs"))) as server:
        with pytest.raises(NotPermitted, match=f"{server.name} refuses the connection"):
            async with host_clipboard(Desktop("x11", server.name)):
                pass
        async with desktop_clipboard(server.name) as clipboard:
            assert clipboard is None  # a page that shows the screen all the same has no clipboard then


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # see x11_display.opened
async def test_no_display() -> None:
    with pytest.raises(StateError, match=r"no X server at :9876"):
        async with host_clipboard(Desktop("x11", ":9876")):
            pass
    gc.collect()
