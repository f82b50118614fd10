"""The panel with files in a real Chromium, over a real SFTP server."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from pommel.console.server import ConsoleServer
from waits import until

from .conftest import Open, serving
from .desk import Desk
from .shelf import Shelf, shelf_at
from .test_page_in_chromium import HANDS, ready

pytestmark = pytest.mark.asyncio(loop_scope="module")

# A file of the page's own making, dropped on the picture.
DROP = """([name, size]) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([new Uint8Array(size).fill(120)], name, { lastModified: 1e12 }));
  const told = { dataTransfer, bubbles: true, cancelable: true };
  for (const type of ["dragenter", "dragover", "drop"]) document.getElementById("stage").dispatchEvent(new DragEvent(type, told));
}"""


@pytest_asyncio.fixture(loop_scope="module")
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    async with shelf_at(tmp_path / "home") as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def console(desk: Desk, shelf: Shelf) -> AsyncIterator[ConsoleServer]:
    server = serving(desk)
    server.share_files(shelf.files)
    await server.start()
    yield server
    await server.stop()


async def panel(page: Page) -> Page:
    await page.click("#files")
    await expect(page.locator("#files-facts")).to_contain_text("free of")
    return page


async def names(page: Page) -> list[str]:
    return await page.locator("#files-rows .name bdi").all_inner_texts()


async def answer(page: Page, button: str, text: str | None = None) -> None:
    if text is not None:
        await page.fill("dialog input[type=text]", text)
    await page.get_by_role("dialog").get_by_role("button", name=button, exact=True).click()


async def test_folders_are_browsed_and_a_path_is_typed(open_page: Open, shelf: Shelf, desk: Desk) -> None:
    (shelf.home / "Büro" / "deep").mkdir(parents=True)
    (shelf.home / ".hidden").touch()
    for name in ("file10", "file9", "a & b <i>.txt"):
        (shelf.home / name).touch()
    page = await panel(await ready(await open_page(), desk))
    assert await names(page) == ["Büro", "a & b <i>.txt", "file9", "file10"]
    await expect(page.locator("#files-facts")).to_contain_text("4 items · 1 hidden")
    desk.seen.clear()
    await page.check("#files-hidden")
    await expect(page.locator("#files-rows tr")).to_have_count(5)
    await page.get_by_role("button", name="Büro", exact=True).click()
    await expect(page.locator("#files-path")).to_have_value(f"{shelf.home}/Büro")
    for typed, there in (
        ("deep", "/Büro/deep"), ("..", "/Büro"), ("~/Büro/deep/", "/Büro/deep"), (str(shelf.home), ""), ("~", ""),
    ):  # fmt: skip
        await page.fill("#files-path", typed)
        await page.press("#files-path", "Enter")
        await expect(page.locator("#files-path")).to_have_value(f"{shelf.home}{there}")
    await page.fill("#files-path", "~/none")
    await page.press("#files-path", "Enter")
    await expect(page.locator("#files-trouble")).to_have_text("There is no ~/none.")
    assert [one for one in desk.seen if isinstance(one, HANDS)] == [], "no key went to the machine"
    await page.reload()
    await panel(page)
    await expect(page.locator("#files-rows tr")).to_have_count(5)


async def test_what_is_dropped_arrives(open_page: Open, shelf: Shelf) -> None:
    page = await open_page()
    await page.evaluate(DROP, ["größe.bin", 3_000_000])
    await expect(page.locator("#files-rows")).to_contain_text("größe.bin")
    assert (shelf.home / "größe.bin").read_bytes() == b"x" * 3_000_000
    assert (shelf.home / "größe.bin").stat().st_mtime == 1_000_000_000
    await expect(page.locator("#files-uploads")).to_be_hidden()


async def test_a_folder_is_dropped_on_the_picture(open_page: Open, shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "tree" / "empty").mkdir(parents=True)
    await asyncio.to_thread(lambda: [(tmp_path / "tree" / f"{number}").write_bytes(b"x") for number in range(150)])
    page = await open_page()
    devtools = await page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(tmp_path / "tree")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        await devtools.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})
    await expect(page.locator("#files-rows")).to_contain_text("tree")
    await expect(page.locator("#files-uploads")).to_be_hidden()
    assert len(list((shelf.home / "tree").iterdir())) == 151 and (shelf.home / "tree" / "empty").is_dir()


async def test_a_folder_is_sent_with_all_that_is_in_it(open_page: Open, shelf: Shelf, tmp_path: Path) -> None:
    top = tmp_path / "tree"
    for number in range(30):
        (top / f"sub{number % 3}").mkdir(parents=True, exist_ok=True)
        (top / f"sub{number % 3}" / f".f{number}").write_bytes(b"%d" % number)
    page = await panel(await open_page())
    await page.set_input_files("#files-choose-folder", top)
    await expect(page.locator("#files-rows")).to_contain_text("tree")
    await expect(page.locator("#files-uploads")).to_be_hidden()
    assert {str(one.relative_to(top)): one.read_bytes() for one in top.rglob(".f*")} == {
        str(one.relative_to(shelf.home / "tree")): one.read_bytes() for one in (shelf.home / "tree").rglob(".f*")
    }


async def test_a_name_in_use_is_asked_about(open_page: Open, shelf: Shelf, tmp_path: Path) -> None:
    sent = []
    for name in ("one", "two", "three"):
        (shelf.home / name).write_bytes(b"old")
        (tmp_path / name).write_bytes(b"new")
        sent.append(tmp_path / name)
    page = await panel(await open_page())
    await page.set_input_files("#files-choose", sent[:1])
    await answer(page, "Skip")
    await expect(page.locator("#toast")).to_contain_text("1 file was skipped.")
    assert (shelf.home / "one").read_bytes() == b"old"
    await page.set_input_files("#files-choose", sent)
    await page.check("dialog input[type=checkbox]")
    await answer(page, "Replace")
    await expect(page.locator("#files-uploads")).to_be_hidden()
    assert [(shelf.home / one.name).read_bytes() for one in sent] == [b"new"] * 3
    assert len(list(shelf.home.iterdir())) == 3


async def test_an_upload_goes_on_after_the_machine_was_away(open_page: Open, shelf: Shelf, tmp_path: Path) -> None:
    """Its SSH ends in the middle of a file: the page waits for it, and the file arrives whole."""
    data = os.urandom(60 << 20)
    (tmp_path / "large").write_bytes(data)
    page = await panel(await open_page())
    await page.set_input_files("#files-choose", tmp_path / "large")
    await until(lambda: any(one.stat().st_size > 2 << 20 for one in shelf.home.iterdir()))
    os.kill(shelf.pid, signal.SIGKILL)
    await expect(page.locator("#files-uploads")).to_be_hidden()
    assert (shelf.home / "large").read_bytes() == data and len(list(shelf.home.iterdir())) == 1


async def test_a_cancelled_upload_leaves_nothing(open_page: Open, shelf: Shelf, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2 << 30)
    page = await panel(await open_page())
    await page.set_input_files("#files-choose", tmp_path / "large")
    await expect(page.locator("#files-upload-name")).to_have_text("Sending large (1 of 1)")
    await until(lambda: any(shelf.home.iterdir()))
    await page.click("#files-cancel")
    await until(lambda: not any(shelf.home.iterdir()))
    await expect(page.locator("#files-uploads")).to_be_hidden()


async def test_a_disk_without_room_is_told(open_page: Open, shelf: Shelf, tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 43)
    page = await panel(await open_page())
    await page.set_input_files("#files-choose", tmp_path / "huge")
    full = re.compile("The disk of the machine has only .* free. Delete something there")
    await expect(page.locator("#files-held")).to_contain_text(full)
    await page.click("#files-cancel")
    await expect(page.locator("#files-uploads")).to_be_hidden()
    assert not any(shelf.home.iterdir())


async def test_files_and_folders_are_downloaded(open_page: Open, shelf: Shelf, tmp_path: Path) -> None:
    (shelf.home / "folder").mkdir()
    (shelf.home / "folder" / "in").write_bytes(b"inside")
    (shelf.home / "größe.txt").write_bytes(b"text")
    page = await panel(await open_page())
    async with page.expect_download() as got:
        await page.get_by_role("link", name="größe.txt").click()
    download = await got.value
    assert download.suggested_filename == "größe.txt"
    await download.save_as(tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"text"
    async with page.expect_download() as got:
        await page.get_by_role("button", name="Download folder").click()
    download = await got.value
    assert download.suggested_filename == "folder.tar"
    await download.save_as(tmp_path / "tar")
    with tarfile.open(tmp_path / "tar") as archive:
        assert archive.extractfile("folder/in").read() == b"inside"  # type: ignore[union-attr]
    (shelf.home / "größe.txt").chmod(0)
    await page.get_by_role("link", name="größe.txt").click()
    await expect(page.locator("#files-trouble")).to_contain_text("could not open a file: permission denied")


async def test_names_folders_and_deletion(open_page: Open, shelf: Shelf) -> None:
    (shelf.home / "old.txt").touch()
    page = await panel(await open_page())
    await page.click("#files-new")
    await answer(page, "Make", "new & folder")
    await expect(page.locator("#files-rows")).to_contain_text("new & folder")
    await page.click("#files-new")
    await answer(page, "Make", "a/b")
    await expect(page.locator("#files-trouble")).to_contain_text("has no slash")
    await page.get_by_role("link", name="old.txt").press("F2")
    await answer(page, "Rename", "new & folder")
    await expect(page.locator("#files-trouble")).to_contain_text("There is already something named new & folder.")
    await page.get_by_role("button", name="Rename old.txt").click()
    await answer(page, "Rename", "\u202enäu.txt")
    await expect(page.locator("#files-rows")).to_contain_text("\ufffdnäu.txt")
    assert (shelf.home / "\u202enäu.txt").exists()
    await page.check("#files-all")
    await page.click("#files-remove-all")
    await expect(page.get_by_role("dialog")).to_contain_text("Delete these 2 entries?")
    await answer(page, "Cancel")
    assert len(list(shelf.home.iterdir())) == 2
    await page.click("#files-remove-all")
    await answer(page, "Delete")
    await expect(page.locator("#files-empty")).to_be_visible()
    assert not any(shelf.home.iterdir())


async def test_another_viewer_is_told(open_page: Open, shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_bytes(b"x")
    other, page = await open_page(), await panel(await open_page())
    await page.set_input_files("#files-choose", tmp_path / "report.txt")
    await expect(other.locator("#toast")).to_contain_text(
        re.compile(r"Chrome on Linux \(127\.0\.0\.1\) uploaded report.txt")
    )


async def test_a_view_only_page_has_no_files(open_page: Open, console: ConsoleServer, shelf: Shelf) -> None:
    page = await open_page(console.look_url)
    await expect(page.locator("#files")).to_be_hidden()
    await page.evaluate(DROP, ["x", 10])
    status = await page.evaluate("fetch('api/files/list?path=~').then((answer) => answer.status)")
    assert status == 403 and not any(shelf.home.iterdir())


async def test_a_large_folder_is_shown_in_part_at_first(open_page: Open, shelf: Shelf) -> None:
    await asyncio.to_thread(lambda: [(shelf.home / f"{number}").touch() for number in range(1500)])
    page = await panel(await open_page())
    await page.get_by_role("button", name="Show all 1500").click()
    await expect(page.locator("#files-rows tr")).to_have_count(1500)
