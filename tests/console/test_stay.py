"""What would leave the page by mistake does not."""

from __future__ import annotations

import pytest

from .conftest import Open

pytestmark = pytest.mark.asyncio(loop_scope="module")

PREVENTED = """([kind, type, init]) => {
  const event = new window[kind](type, { bubbles: true, cancelable: true, ...init });
  if (kind === "DragEvent") { Object.defineProperty(event, "dataTransfer", { value: { types: ["Files"] } }); }
  document.body.dispatchEvent(event);
  return event.defaultPrevented;
}"""


async def test_back_forward_dropped_files_and_closing(open_page: Open) -> None:
    page = await open_page()
    for button, kept in ((3, True), (4, True), (0, False)):
        assert await page.evaluate(PREVENTED, ["MouseEvent", "mouseup", {"button": button}]) is kept
    assert await page.evaluate(PREVENTED, ["DragEvent", "drop", {}])
    ask = "() => !window.dispatchEvent(new Event('beforeunload', { cancelable: true }))"
    assert await page.evaluate(ask)
    await page.evaluate("document.body.dataset.state = 'x'")  # what is asked is the connection, not the page's look
    assert await page.evaluate(ask)
