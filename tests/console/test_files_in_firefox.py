# ruff: noqa: F401, F811
"""The panel with files in Debian's own Firefox: the tests of Chromium, with another `browser`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from waits import until

from .conftest import Open
from .firefox import launch
from .shelf import Shelf
from .test_files_in_chromium import (
    console,
    panel,
    shelf,
    test_a_name_in_use_is_asked_about,
    test_an_upload_goes_on_after_the_machine_was_away,
    test_folders_are_browsed_and_a_path_is_typed,
    test_names_folders_and_deletion,
    test_what_is_dropped_arrives,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("firefox")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(folder: Path) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        firefox = await launch(playwright, folder)
        yield firefox
        await firefox.close()


async def test_a_file_is_downloaded(open_page: Open, shelf: Shelf, folder: Path) -> None:
    (shelf.home / "größe.txt").write_bytes(b"text")
    page = await panel(await open_page())
    await page.get_by_role("link", name="größe.txt").click()
    saved = folder / "downloads" / "größe.txt"
    await until(lambda: saved.exists() and saved.read_bytes() == b"text", what="nothing was saved")
