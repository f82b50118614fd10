"""The page's clipboard in a real Chromium: what is pasted into the machine and copied out of it, and what is said if not."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import Page, Response, expect

from isolation import patient
from pommel.console import clipboard_api
from pommel.console.clipboard import Clip, ClipFile, ClipState
from pommel.console.server import ConsoleServer
from pommel.errors import StateError
from pommel.wire import messages as m

from .conftest import Open, serving
from .desk import Desk
from .pasteboard import Pasteboard

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHORD = [m.Key(0x11, True), m.Key(0x56, True), m.Key(0x56, False), m.Key(0x11, False)]
COMMAND_CHORD = [m.Key(0x5B, True, True), m.Key(0x56, True), m.Key(0x56, False), m.Key(0x5B, False, True)]
HANDS = (m.Key, m.KeyUnicode, m.Mouse)
GRANTED = ["clipboard-read", "clipboard-write"]

# This computer's own program copies something: Chromium's clipboard, without the page's knowing.
COPY_HERE = """async ({ text, html, png }) => {
  const data = {};
  if (text !== undefined) data["text/plain"] = new Blob([text], { type: "text/plain" });
  if (html !== undefined) data["text/html"] = new Blob([html], { type: "text/html" });
  if (png !== undefined) data["image/png"] = new Blob([Uint8Array.from(png)], { type: "image/png" });
  await navigator.clipboard.write([new ClipboardItem(data)]);
}"""


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (30, 20)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return data.getvalue()


def pixel(png: bytes | None) -> tuple[tuple[int, int], Any]:
    assert png is not None
    image = Image.open(io.BytesIO(png)).convert("RGB")
    return image.size, image.getpixel((3, 3))


@pytest_asyncio.fixture(loop_scope="module")
async def board() -> Pasteboard:
    return Pasteboard()


@pytest_asyncio.fixture(loop_scope="module")
async def console(desk: Desk, board: Pasteboard) -> AsyncIterator[ConsoleServer]:
    server = serving(desk, clipboard=board)
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def open_here(open_page: Open, desk: Desk) -> Callable[..., Any]:
    """Open the page with the clipboard's permissions, its screen focused."""

    async def open_here(**here: Any) -> Page:
        page = await open_page()
        await page.context.grant_permissions(GRANTED)
        if here:
            await page.evaluate(COPY_HERE, here)
        await expect(page.locator("#copy")).to_be_visible()
        await expect(page.locator("#field")).to_be_focused()
        await desk.until(lambda: m.Pause(False) in desk.seen)
        desk.seen.clear()
        return page

    return open_here


async def here(page: Page, kind: str = "text/plain") -> bytes:
    """What this computer's clipboard has of a kind."""
    found = await page.evaluate(
        """async (kind) => {
          const [item] = await navigator.clipboard.read();
          return [...new Uint8Array(await (await item.getType(kind)).arrayBuffer())];
        }""",
        kind,
    )
    return bytes(found)


def set_before_chord(desk: Desk, board: Pasteboard) -> list[tuple[int, int]]:
    """From now on, note with every key how many clips were set by then."""
    noted: list[tuple[int, int]] = []
    note = desk._note

    async def noting(command: m.Command | None) -> None:
        if isinstance(command, m.Key):
            noted.append((command.vk, len(board.sets)))
        await note(command)

    desk._note = noting  # type: ignore[method-assign]
    return noted


# --- into the machine ---


async def test_the_machine_has_the_clip_before_the_chord_arrives(
    open_here: Callable[..., Any], desk: Desk, board: Pasteboard
) -> None:
    page = await open_here(text="line\r\nnext\n\té😀", html="<b>bold</b>")
    noted = set_before_chord(desk, board)
    await page.keyboard.press("Control+v")
    assert await desk.next(HANDS, 4) == CHORD
    (clip,) = board.sets
    assert clip.text == "line\r\nnext\n\té😀"
    assert "<b>bold</b>" in (clip.html or "")
    assert [sets for vk, sets in noted if vk == 0x56] == [1, 1]
    assert await page.input_value("#field") == ""


async def test_what_is_done_while_a_paste_is_under_way_follows_it(
    open_here: Callable[..., Any], desk: Desk, board: Pasteboard
) -> None:
    page = await open_here(text="slow")
    board.gate.clear()
    await page.keyboard.press("Control+v")
    await page.keyboard.press("x")
    await page.mouse.move(500, 300)
    await page.mouse.down()
    await page.mouse.up()
    await page.keyboard.press("Control+v")
    await expect(page.locator("#toast")).to_have_text("Sending this computer's clipboard to the machine…")
    assert desk.of(HANDS) == CHORD[:1], "Control is down, and no more"
    board.gate.set()
    done = await desk.next(HANDS, 13)
    assert done[:6] == [*CHORD, m.Key(0x58, True), m.Key(0x58, False)]
    assert [command.button for command in done[6:9] if isinstance(command, m.Mouse)] == [m.MOVE, m.LEFT_DOWN, m.LEFT_UP]
    assert done[-4:] == CHORD
    assert [clip.text for clip in board.sets] == ["slow"], "the machine has it: a second paste need not send it"


async def test_an_image_is_pasted(open_here: Callable[..., Any], desk: Desk, board: Pasteboard) -> None:
    page = await open_here(png=list(picture((10, 200, 30))))
    await page.keyboard.press("Control+v")
    assert await desk.next(HANDS, 4) == CHORD
    assert pixel(board.sets[0].png) == ((30, 20), (10, 200, 30))
    assert board.sets[0].text is None


async def test_an_image_of_another_kind_becomes_a_png_and_a_file_is_refused(
    open_here: Callable[..., Any], desk: Desk, board: Pasteboard
) -> None:
    page = await open_here()
    jpeg = io.BytesIO()
    Image.new("RGB", (16, 16), (0, 0, 250)).save(jpeg, "JPEG", quality=95)
    # What a browser makes of a file that was copied; Playwright cannot copy one.
    paste = """async ([type, bytes]) => {
      const field = document.getElementById("field");
      const key = { code: "KeyV", key: "v", ctrlKey: true, bubbles: true, cancelable: true };
      field.dispatchEvent(new KeyboardEvent("keydown", key));
      const clipboardData = new DataTransfer();
      clipboardData.items.add(new File([Uint8Array.from(bytes)], "one", { type }));
      field.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
      field.dispatchEvent(new KeyboardEvent("keyup", key));
    }"""
    await page.evaluate(paste, ["image/jpeg", list(jpeg.getvalue())])
    assert await desk.next(HANDS, 3) == CHORD[:3]
    size, colour = pixel(board.sets[0].png)
    assert size == (16, 16)
    assert colour[2] > 240
    await page.evaluate(paste, ["image/jpeg", [1, 2, 3]])
    assert await desk.next(HANDS, 2) == CHORD[1:3]
    await expect(page.locator("#toast")).to_contain_text(
        "Not pasted from this computer: this browser does not support its image format"
    )
    await page.evaluate(paste, ["application/zip", [1, 2, 3]])
    assert await desk.next(HANDS, 2) == CHORD[1:3]
    await expect(page.locator("#toast")).to_contain_text("this page cannot copy files.")
    assert len(board.sets) == 1


async def test_command_v_reads_the_clipboard_too(open_here: Callable[..., Any], desk: Desk, board: Pasteboard) -> None:
    page = await open_here(text="for a Mac")
    await page.keyboard.press("Meta+v")
    assert await desk.next(HANDS, 4) == COMMAND_CHORD
    assert [clip.text for clip in board.sets] == ["for a Mac"]
    # With Alt as Command.
    await page.click("#keys")
    await page.check("#swap")
    await page.keyboard.press("Escape")
    await page.evaluate(COPY_HERE, {"text": "swapped"})
    await page.locator("#field").focus()
    desk.seen.clear()
    await page.keyboard.press("Alt+v")
    assert await desk.next(HANDS, 4) == COMMAND_CHORD
    assert board.sets[-1].text == "swapped"


async def test_a_browser_that_does_not_let_it_read_is_told_of(
    open_page: Open, open_here: Callable[..., Any], desk: Desk, board: Pasteboard
) -> None:
    page = await open_here(text="closed")
    await page.context.clear_permissions()
    session = await page.context.new_cdp_session(page)
    denied = {
        "permission": {"name": "clipboard-read"},
        "setting": "denied",
        "origin": await page.evaluate("location.origin"),
    }
    await session.send("Browser.setPermission", denied)
    await page.keyboard.press("Meta+v")
    assert await desk.next(HANDS, 4) == COMMAND_CHORD
    await expect(page.locator("#toast")).to_contain_text("the browser did not let this page read its clipboard")
    assert board.sets == []
    await page.keyboard.press("Control+v")  # needs no permission
    assert await desk.next(HANDS, 4) == CHORD
    assert board.sets[0].text == "closed"


async def test_a_machine_that_does_not_take_it_gets_the_chord_all_the_same(
    open_here: Callable[..., Any], desk: Desk, board: Pasteboard
) -> None:
    page = await open_here(text="x")
    board.failure = StateError("the machine's SSH does not answer", hint="Look at pommel status desk.")
    await page.keyboard.press("Control+v")
    assert await desk.next(HANDS, 4) == CHORD
    await expect(page.locator("#toast")).to_have_text(
        "Not pasted from this computer: the machine's SSH does not answer. Look at pommel status desk."
    )
    board.failure = None
    await page.keyboard.press("Control+v")
    assert await desk.next(HANDS, 4) == CHORD
    assert [clip.text for clip in board.sets] == ["x"], "what failed is tried again"


async def test_too_much_is_refused_by_the_page_and_by_the_server(
    open_here: Callable[..., Any], desk: Desk, board: Pasteboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await open_here()
    await page.evaluate("navigator.clipboard.writeText('é'.repeat(33 * 2 ** 20))")
    await page.keyboard.press("Control+v")
    assert await desk.next(HANDS, 4) == CHORD
    await expect(page.locator("#toast")).to_contain_text("it is 66 MiB, but the limit is 64 MiB.")
    monkeypatch.setattr(clipboard_api, "LIMIT_BYTES", 1 << 20)
    await page.evaluate("navigator.clipboard.writeText('a'.repeat(2 ** 20 + 1))")
    await page.keyboard.press("Control+v")
    assert await desk.next(HANDS, 4) == CHORD
    await expect(page.locator("#toast")).to_contain_text("the limit is 1 MiB")
    assert board.sets == []


async def test_a_large_clip_goes_whole(open_here: Callable[..., Any], desk: Desk, board: Pasteboard) -> None:
    page = await open_here()
    await page.evaluate("navigator.clipboard.writeText('0123456789abcdef'.repeat(2 ** 20))")
    await page.keyboard.press("Control+v")
    assert await desk.next(HANDS, 4) == CHORD
    text = board.sets[0].text or ""
    assert hash(text) == hash("0123456789abcdef" * 2**20)


async def test_a_browser_that_makes_no_paste_of_the_chord_holds_nothing_up(
    open_here: Callable[..., Any], desk: Desk, board: Pasteboard
) -> None:
    page = await open_here(text="x")
    late = await page.evaluate(
        """async () => {
          const field = document.getElementById("field");
          const key = { code: "KeyV", key: "v", ctrlKey: true, bubbles: true, cancelable: true };
          field.dispatchEvent(new KeyboardEvent("keydown", key));  // a script's: the browser does nothing of its own
          field.dispatchEvent(new KeyboardEvent("keyup", key));
          await new Promise((done) => setTimeout(done, 400));
          const clipboardData = new DataTransfer();
          clipboardData.setData("text/plain", "late");
          const paste = new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true });
          field.dispatchEvent(paste);
          return paste.defaultPrevented;
        }"""
    )
    assert await desk.next(HANDS, 3) == CHORD[:3]
    assert late is True, "what comes late must not be typed"
    assert [clip.text for clip in await board.until_set(1)] == ["late"]


async def test_an_empty_clipboard_changes_nothing(open_here: Callable[..., Any], desk: Desk, board: Pasteboard) -> None:
    page = await open_here()
    await page.evaluate("navigator.clipboard.write([new ClipboardItem({ 'text/plain': '' })])")
    await page.keyboard.press("Control+v")
    assert await desk.next(HANDS, 4) == CHORD
    assert board.sets == []
    await expect(page.locator("#toast")).to_be_hidden()


async def test_a_copy_made_in_the_machine_is_not_pasted_over(
    open_here: Callable[..., Any], desk: Desk, board: Pasteboard
) -> None:
    page = await open_here(text="old, from here")
    await board.copy(Clip("new, from there"))
    await expect(page.locator("#copy")).to_have_attribute("data-new", "")
    await page.keyboard.press("Control+v")
    await page.keyboard.press("Meta+v")
    assert await desk.next(HANDS, 8) == CHORD + COMMAND_CHORD
    assert board.sets == []
    # Who goes elsewhere, copies there and comes back means that, also where it is the same again.
    await page.evaluate("window.dispatchEvent(new Event('blur'))")
    await page.evaluate(COPY_HERE, {"text": "old, from here"})
    await page.evaluate("window.dispatchEvent(new Event('focus'))")
    await page.keyboard.press("Control+v")
    assert await desk.next(HANDS, 4) == CHORD
    assert board.holds.text == "old, from here"
    await expect(page.locator("#copy")).not_to_have_attribute("data-new", "")
    # But who comes back with nothing new does not.
    await board.copy(Clip("newer, from there"))
    await expect(page.locator("#copy")).to_have_attribute("data-new", "")
    await page.evaluate("window.dispatchEvent(new Event('blur')); window.dispatchEvent(new Event('focus'))")
    await page.keyboard.press("Control+v")
    assert await desk.next(HANDS, 4) == CHORD
    assert board.holds.text == "newer, from there"


async def test_a_copy_that_the_page_has_not_heard_of_yet_is_not_pasted_over(
    open_here: Callable[..., Any], desk: Desk, board: Pasteboard
) -> None:
    page = await open_here(text="copied here, before that")
    # The chord that copies in the machine, and that pastes, right after each other: word of the copy comes in between.
    await page.keyboard.press("Control+c")
    await page.keyboard.down("Control")
    await page.keyboard.press("v")
    await board.copy(Clip("copied in the machine just now"))
    await page.keyboard.up("Control")
    copied = [m.Key(0x11, True), m.Key(0x43, True), m.Key(0x43, False), m.Key(0x11, False)]
    assert await desk.next(HANDS, 8) == copied + CHORD
    assert board.sets == []
    # Word of it comes later than the clip: the server knows better.
    await page.evaluate(COPY_HERE, {"text": "copied here, after that"})
    board.quietly(Clip("and again in the machine"))
    async with page.expect_response("**/api/clipboard?seen=*") as answer:
        await page.keyboard.press("Control+v")
    assert (await answer.value).status == 409
    assert await desk.next(HANDS, 4) == CHORD
    assert (board.sets, board.holds) == ([], Clip("and again in the machine"))
    await expect(page.locator("#toast")).to_be_hidden()


TOLD_OF_COPY = f"""async (clip) => {{
  const told = new Promise((done) => navigator.clipboard.addEventListener("clipboardchange", done, {{ once: true }}));
  await ({COPY_HERE})(clip);
  await told;
}}"""


async def test_shift_insert_pastes_and_the_same_copied_again_is_newer(
    open_here: Callable[..., Any], desk: Desk, board: Pasteboard
) -> None:
    page = await open_here(text="A")
    insert = [m.Key(0x10, True), m.Key(0x2D, True, True), m.Key(0x2D, False, True), m.Key(0x10, False)]
    await page.keyboard.press("Shift+Insert")
    assert await desk.next(HANDS, 4) == insert
    await board.copy(Clip("B"))
    await expect(page.locator("#copy")).to_have_attribute("data-new", "")
    await page.evaluate(TOLD_OF_COPY, {"text": "A"})  # the browser says it a moment after the copy
    await page.keyboard.press("Shift+Insert")
    assert await desk.next(HANDS, 4) == insert
    assert [clip.text for clip in board.sets] == ["A", "A"]
    # What another page pasted into the machine is as new as what is copied there.
    await board.copy(Clip("by another page"))
    await expect(page.locator("#copy")).to_have_attribute("data-new", "")
    await page.keyboard.press("Shift+Insert")
    assert await desk.next(HANDS, 4) == insert
    assert board.holds.text == "by another page"


async def test_a_clipboard_that_cannot_be_had_is_complained_of_once(
    open_here: Callable[..., Any], desk: Desk, board: Pasteboard
) -> None:
    page = await open_here(text="x")
    why = "no clipboard sync for this machine: pommel clip sync desk"
    await board.become(ClipState(False, why))
    button, toast = page.locator("#copy"), page.locator("#toast")
    await expect(button).to_have_attribute("aria-disabled", "true")
    await expect(button).to_have_attribute("title", why)
    await page.keyboard.press("Control+v")
    assert await desk.next(HANDS, 4) == CHORD
    await expect(toast).to_have_text(f"Not pasted from this computer: {why}")
    await page.evaluate("document.getElementById('toast').hidden = true")
    await page.keyboard.press("Control+v")
    assert await desk.next(HANDS, 4) == CHORD
    await expect(toast).to_be_hidden()
    await button.click(force=True)  # Playwright thinks it is no use
    await expect(toast).to_contain_text(why)
    assert board.sets == []
    await board.become(ClipState(True))
    await expect(button).to_have_attribute("aria-disabled", "false")


async def test_a_connection_that_breaks_in_a_paste_forgets_what_was_to_follow(
    open_here: Callable[..., Any], desk: Desk, board: Pasteboard
) -> None:
    page = await open_here(text="x")
    # From here on: Playwright would hear of no answer that comes while it is still being told to listen.
    answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    page.on("response", lambda one: answer.set_result(one) if "/api/clipboard?seen=" in one.url else None)
    board.gate.clear()
    await page.keyboard.press("Control+v")
    await page.keyboard.press("z")
    await board.until_asked(1)  # else the page forgets the paste before it has begun
    await desk.viewers[0].close(1001, "")
    await desk.until(lambda: desk.came == 2)
    await page.wait_for_selector("body[data-state=live]")
    await desk.until(lambda: m.Pause(False) in desk.seen)
    desk.seen.clear()
    board.gate.set()
    async with asyncio.timeout(patient(20)):
        await (await answer).finished()
    await page.evaluate("new Promise((done) => setTimeout(done, 50))")
    # On a busy host the page may find that nothing answers, and then sends nothing either.
    async with asyncio.timeout(patient(20)):
        while len(desk.of(HANDS)) < 2:
            await page.keyboard.press("b")
            await asyncio.sleep(0.2)
    assert desk.of(HANDS)[:2] == [m.Key(0x42, True), m.Key(0x42, False)]


async def test_text_pasted_by_the_browser_s_menu_is_typed(
    open_here: Callable[..., Any], desk: Desk, board: Pasteboard
) -> None:
    page = await open_here(text="no")
    await page.evaluate("document.execCommand('insertText', false, 'ab')")
    assert await desk.next(m.KeyUnicode, 4) == [
        m.KeyUnicode(ord(char), down) for char in "ab" for down in (True, False)
    ]
    assert board.sets == []


async def test_without_a_clipboard_the_chord_is_just_a_chord(open_page: Open, desk: Desk) -> None:
    server = serving(desk)
    await server.start()
    page = await open_page(server.url)
    await page.context.grant_permissions(GRANTED)
    await page.evaluate(COPY_HERE, {"text": "x"})
    await expect(page.locator("#field")).to_be_focused()
    desk.seen.clear()
    await page.keyboard.press("Control+v")
    assert await desk.next(HANDS, 4) == CHORD
    await expect(page.locator("#copy")).to_be_hidden()
    await expect(page.locator("#toast")).to_be_hidden()
    await server.stop()


# --- out of it ---


async def test_copying_out(open_here: Callable[..., Any], desk: Desk, board: Pasteboard) -> None:
    page = await open_here(text="mine")
    button = page.locator("#copy")
    await expect(button).not_to_have_attribute("data-new", "")
    await board.copy(Clip("line\r\n\ufefftheirs\n", html="<i>theirs</i>"))
    await expect(button).to_have_attribute("data-new", "")
    await expect(button).to_have_attribute("title", re.compile("new content"))
    await button.click()
    await expect(page.locator("#toast")).to_have_text("Copied from the machine: 14 characters.")
    await expect(button).not_to_have_attribute("data-new", "")
    await expect(page.locator("#field")).to_be_focused()
    assert (await here(page)).decode() == "line\r\n\ufefftheirs\n"
    assert b"<i" in await here(page, "text/html")


async def test_copying_an_image_out(open_here: Callable[..., Any], board: Pasteboard) -> None:
    page = await open_here()
    board.holds = Clip(png=picture((1, 2, 250), (64, 48)))
    await page.click("#copy")
    await expect(page.locator("#toast")).to_contain_text("Copied from the machine: an image")
    assert pixel(await here(page, "image/png")) == ((64, 48), (1, 2, 250))


async def test_files_are_named_and_downloaded_by_a_click(open_here: Callable[..., Any], board: Pasteboard) -> None:
    page = await open_here(text="mine")
    name = '<b>größe</b> "1".txt'
    files = (
        ClipFile(name, 150_000),
        ClipFile("pictures", folder=True),
        ClipFile("pipe", why="it is neither a file nor a folder"),
    )
    board.contents = [bytes(range(250)) * 600, b"", b""]
    await board.copy(Clip(files=files))
    await page.click("#copy")
    dialog = page.get_by_role("dialog", name="Files copied in the machine")
    await expect(dialog.locator("li")).to_have_text(
        [f"{name}146 KiB", "picturesfolder", "pipeit is neither a file nor a folder"]
    )
    await expect(dialog.locator("a")).to_have_count(2)
    await expect(dialog.locator("a").nth(1)).to_have_attribute("download", "pictures.tar")
    await expect(page.locator("#copy")).not_to_have_attribute("data-new", "")
    async with page.expect_download() as downloading:
        await dialog.locator("a").first.click()
    download = await downloading.value
    assert download.suggested_filename == name.replace("<", "_").replace(">", "_").replace('"', "_").replace("/", "_")
    assert Path(await download.path()).read_bytes() == board.contents[0]
    await expect(page.locator("body[data-state=live]")).to_be_visible()
    await dialog.get_by_role("button", name="Close").click()
    await expect(dialog).to_have_count(0)
    await expect(page.locator("#field")).to_be_focused()
    assert await here(page) == b"mine"


async def test_copying_out_of_an_empty_or_failing_machine(open_here: Callable[..., Any], board: Pasteboard) -> None:
    page = await open_here(text="mine")
    toast = page.locator("#toast")
    await page.click("#copy")
    await expect(toast).to_have_text("The machine's clipboard is empty.")
    board.failure = StateError("the machine is asleep")
    await page.click("#copy")
    await expect(toast).to_contain_text("Not copied: the machine is asleep.")
    board.failure = None
    board.holds = Clip(png=b"\x89PNG\r\n\x1a\nbroken")
    await page.click("#copy")
    await expect(toast).to_contain_text("Not copied: the browser does not accept it")
    assert await here(page) == b"mine"


async def test_a_browser_that_refuses_is_asked_again_by_a_second_click(
    open_here: Callable[..., Any], board: Pasteboard
) -> None:
    page = await open_here(text="mine")
    board.holds = Clip("theirs")
    await page.evaluate(
        """() => {
          const real = navigator.clipboard.write.bind(navigator.clipboard);
          let refused = 0;
          navigator.clipboard.write = (items) =>
            refused++ ? real(items) : Promise.reject(new DOMException("no gesture", "NotAllowedError"));
        }"""
    )
    await page.click("#copy")
    await expect(page.locator("#toast")).to_contain_text("did not let this page write its clipboard. Click again")
    board.failure = StateError("not asked a second time")
    await page.click("#copy")
    await expect(page.locator("#toast")).to_contain_text("Copied from the machine: 6 characters.")
    assert await here(page) == b"theirs"


async def test_a_page_that_is_not_secure_says_what_to_do(open_here: Callable[..., Any], board: Pasteboard) -> None:
    page = await open_here()
    await page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    board.holds = Clip("theirs")
    await page.click("#copy")
    await expect(page.locator("#toast")).to_contain_text("Open this page as http://127.0.0.1")


async def test_the_button_can_be_reached_and_has_a_name(open_here: Callable[..., Any]) -> None:
    page = await open_here()
    await page.locator("#type").focus()
    await page.keyboard.press("Tab")
    await expect(page.locator("#copy")).to_be_focused()
    await expect(page.get_by_role("button", name="Copy from machine")).to_be_visible()


@pytest.mark.parametrize(("width", "names"), [(1400, True), (900, False), (400, False)])
async def test_the_whole_toolbar_fits(open_page: Open, desk: Desk, board: Pasteboard, width: int, names: bool) -> None:
    page = await open_page(viewport={"width": width, "height": 600})
    two = (m.Display(1, 0, 0, 1920, 1080), m.Display(2, 1920, 0, 1280, 1024))
    await desk.show(m.DisplayInfo(two), m.DisplayList((1, 2, m.ALL_DISPLAYS), 1), m.KeyState(m.CAPS_LOCK))
    for id in ("fit", "quality", "displays", "keys", "type", "copy", "shot", "full"):
        await expect(page.locator(f"#{id}")).to_be_in_viewport(ratio=1)
    await expect(page.locator("header[data-compact]")).to_have_count(0 if names else 1)
    cut = "document.querySelector('h1').scrollWidth > document.querySelector('h1').clientWidth"
    assert await page.evaluate(cut) is False
