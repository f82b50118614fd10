"""Files in MeshCentral's own page, in a real Chromium, over a real SFTP server."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Page, expect

from chromium import page_ms
from console.shelf import Shelf, shelf_at
from mesh.doubles import FACTS, Desk
from mesh.joined import Joined, on_server
from mesh.server import PATIENCE_S, STRANGER, TYPIST, MeshCentral, User, logged_in
from mesh.test_with_meshcentral import admin, page_of
from pommel.mesh.connection import Phase
from pommel.mesh.membership import join
from pommel.mesh.rights import NO_FILES, REMOTE_CONTROL
from waits import until

__all__ = ["admin"]


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    async with shelf_at(tmp_path / "home") as made:
        yield made


@pytest.fixture
async def joined(admin: User, shelf: Shelf, tmp_path: Path) -> AsyncIterator[Joined]:
    desk = Desk(now=replace(FACTS, has_files=True), shelf=shelf.files.service)
    async with on_server(join(tmp_path / "mesh", await admin.msh()), desk) as there:
        await there.until(Phase.ONLINE)
        yield there


async def shown(page: Page, server: MeshCentral, node: str, folder: Path) -> None:
    """The Files tab, in a folder."""
    await page.goto(f"https://127.0.0.1:{server.port}/?gotonode={node.split('/')[2]}&viewmode=13")
    await page.click("#p13Connect", timeout=page_ms(PATIENCE_S))
    await sees(page, "home")
    await go(page, folder)


async def sees(page: Page, text: str) -> None:
    await expect(page.locator("#p13files")).to_contain_text(text, timeout=page_ms(PATIENCE_S))


async def go(page: Page, folder: Path) -> None:
    await page.click("#p13GoToFolderButton")
    await page.fill("#p13folderinput", str(folder))
    await page.click("#idx_dlgOkButton")


async def renamed(page: Page, old: str, new: str) -> None:
    """Fill in the dialog, once its page has put the caret into it: that would undo the selection of the old name."""
    box = page.locator("#p13renameinput")
    await expect(box).to_have_value(old, timeout=page_ms(PATIENCE_S))
    await expect(box).to_be_focused(timeout=page_ms(PATIENCE_S))
    await box.fill(new)
    await expect(box).to_have_value(new, timeout=page_ms(PATIENCE_S))


def row(page: Page, name: str) -> str:
    return f"#p13files div.filelist:has-text('{name}') input[type=checkbox]"


async def test_the_files_tab_of_meshcentrals_own_page(
    server: MeshCentral, admin: User, joined: Joined, shelf: Shelf, tmp_path: Path
) -> None:
    data = os.urandom(300_000) + b"{"
    (shelf.home / "größe.bin").write_bytes(data)
    (shelf.home / "tree" / "deep").mkdir(parents=True)
    (shelf.home / "tree" / "deep" / "file").write_bytes(b"inside")
    (tmp_path / "up.bin").write_bytes(b"{" + data)
    node = (await admin.node(joined.member.identity.node_id))["_id"]
    async with page_of(server) as page:
        await shown(page, server, node, shelf.home)
        await sees(page, "größe.bin")

        async with page.expect_download() as got:
            await page.get_by_text("größe.bin", exact=True).click()
        await (await got.value).save_as(tmp_path / "down")
        assert (tmp_path / "down").read_bytes() == data

        await page.click("#p13UploadButton")
        await page.set_input_files("#p13uploadinput", tmp_path / "up.bin")
        await page.click("#idx_dlgOkButton")
        await sees(page, "up.bin")
        assert (shelf.home / "up.bin").read_bytes() == b"{" + data

        await page.check(row(page, "up.bin"))
        await page.click("#p13RenameFileButton")
        await renamed(page, "up.bin", "new.bin")
        await page.click("#idx_dlgOkButton")
        await sees(page, "new.bin")

        await page.check(row(page, "new.bin"))
        async with page.expect_download() as got:  # not over the tab's own connection
            await page.click("#p13DownloadButton")
        await (await got.value).save_as(tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == b"{" + data
        await page.uncheck(row(page, "new.bin"))

        await page.check(row(page, "tree"))
        await page.click("#p13ZipButton")
        await page.locator("#p13renameinput").press_sequentially("all")
        await page.click("#idx_dlgOkButton")
        await sees(page, "all.zip")
        with zipfile.ZipFile(shelf.home / "all.zip") as packed:
            assert packed.read("tree/deep/file") == b"inside"

        await page.click("#p13NewFolderButton")
        await page.locator("#p13renameinput").press_sequentially("made")
        await page.click("#idx_dlgOkButton")
        await sees(page, "made")

        await page.check(row(page, "tree"))
        await page.click("#p13DeleteFileButton")
        await page.check("#p13recdeleteinput")
        await page.click("#idx_dlgOkButton")
        await until(lambda: not (shelf.home / "tree").exists())
        assert sorted(one.name for one in shelf.home.iterdir()) == ["all.zip", "größe.bin", "made", "new.bin"]
    await until(lambda: len([one for one in joined.desk.done if isinstance(one, str)]) == 7)
    done = [one for one in joined.desk.done if isinstance(one, str)]
    assert [one.split(":")[0] for one in done] == [
        "Download",
        "Upload",
        "Rename",
        "Download",
        "Zip",
        "Create folder",
        "Delete",
    ]


async def test_rights_to_files_are_kept_by_us(server: MeshCentral, admin: User, joined: Joined, shelf: Shelf) -> None:
    (shelf.home / "secret").write_bytes(b"x")
    node = (await admin.node(joined.member.identity.node_id))["_id"]
    await admin.lets(TYPIST, REMOTE_CONTROL | NO_FILES)
    await admin.lets(STRANGER, REMOTE_CONTROL)
    for name, may in ((TYPIST, False), (STRANGER, True)):
        async with logged_in(server, name) as user:
            viewer = await user.viewer(node, 5)
            await viewer.stream.send_str(json.dumps({"action": "ls", "path": str(shelf.home), "reqid": 1}))
            if may:
                message = await viewer.stream.receive()
                while message.type is not aiohttp.WSMsgType.BINARY:
                    message = await viewer.stream.receive()
                assert b"secret" in message.data
            else:
                assert "no right to use this device's files" in str(await viewer.told("console"))
            await viewer.leave()
