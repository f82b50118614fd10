"""A connection that lives, stands still, or is gone, in a real Chromium behind a relay that can stand still."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from chromium import page_ms
from free_ports import free_port
from pommel.console.server import ConsoleServer
from pommel.wire import messages as m

from .conftest import Open, serving
from .desk import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Relay:
    """A TCP relay, as `ssh -L` is one: while it is frozen it takes connections and bytes, and passes nothing on."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.passing = asyncio.Event()
        self.passing.set()
        self.connections = 0
        self._pumps: set[asyncio.Task[None]] = set()

    async def start(self, port: int) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", port)

    async def stop(self) -> None:
        self.server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await self.passing.wait()
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.to)
        for pair in ((reader, up_writer), (up_reader, writer)):
            task = asyncio.ensure_future(self._pump(*pair))
            self._pumps.add(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(16384):
                await self.passing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest_asyncio.fixture(loop_scope="module")
async def behind(desk: Desk, browser: Browser) -> AsyncIterator[tuple[Relay, str, ConsoleServer]]:
    """A relay, the page's address through it, and the console behind it."""
    port = free_port()
    server = serving(desk, allowed_hosts=[f"127.0.0.1:{port}"])
    await server.start()
    relay = Relay(server.port)
    await relay.start(port)
    yield relay, server.url.replace(f":{server.port}", f":{port}"), server
    await relay.stop()
    await server.stop()


async def state(page: Page, wanted: str, within_s: float) -> float:
    """Wait for a state; say how long it took."""
    began = time.monotonic()
    await page.wait_for_selector(f"body[data-state={wanted}]", timeout=within_s * 1000)
    return time.monotonic() - began


async def test_the_round_trip_is_shown_and_the_rest_is_one_click_away(open_page: Open) -> None:
    page = await open_page()
    button = page.locator("#pulse")
    await expect(button).to_be_visible(timeout=page_ms(5))
    text = await button.text_content() or ""
    assert text.endswith(" ms") and 0 < int(text.split()[0]) < 1000
    await button.click()
    rows = page.locator("#pulse-menu dt")
    await expect(rows).to_have_text(["Round trip", "Pictures", "Received", "Quality", "Screen"])
    await expect(page.locator("#pulse-menu dd").last).to_have_text("640 × 400")


async def test_a_link_that_stands_still_says_so_and_takes_no_keys(
    behind: tuple[Relay, str, ConsoleServer], open_page: Open, desk: Desk
) -> None:
    relay, url, _ = behind
    page = await open_page(url)
    await expect(page.locator("#pulse")).to_be_visible(timeout=page_ms(5))
    await page.keyboard.down("Shift")
    await desk.until(lambda: len(desk.of(m.Key)) == 1)
    desk.seen.clear()
    relay.passing.clear()
    assert await state(page, "silent", 8) < 6
    assert "are not sent" in await page.inner_text("#notice")
    filters = await page.evaluate("getComputedStyle(document.getElementById('screen')).filter")
    assert "grayscale" in filters
    await expect(page.locator("#pulse")).to_be_hidden()
    await page.keyboard.press("a")
    relay.passing.set()
    await state(page, "live", 5)
    await page.keyboard.press("b")
    await desk.until(lambda: len(desk.of(m.Key)) >= 3)
    pressed = [(key.vk, key.down) for key in desk.of(m.Key) if isinstance(key, m.Key)]
    assert not pressed[0][1]  # Shift, which nobody would have let go otherwise
    assert ord("A") not in [vk for vk, _ in pressed] and ord("B") in [vk for vk, _ in pressed]


async def test_a_link_that_stays_dead_is_made_anew(
    behind: tuple[Relay, str, ConsoleServer], open_page: Open, desk: Desk
) -> None:
    relay, url, _ = behind
    page = await open_page(url)
    await expect(page.locator("#pulse")).to_be_visible(timeout=page_ms(5))
    relay.passing.clear()
    assert await state(page, "reconnecting", 15) < 13
    # A clock that is set meanwhile holds nothing up.
    await page.evaluate("(() => { const now = Date.now; Date.now = () => now() - 3600e3; })()")
    came = desk.came
    await asyncio.sleep(1)
    relay.passing.set()
    await state(page, "live", 15)
    assert desk.came > came


async def test_what_is_never_answered_is_given_up_and_asked_again(
    behind: tuple[Relay, str, ConsoleServer], open_page: Open
) -> None:
    relay, url, _ = behind
    page = await open_page(url)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    relay.passing.clear()
    await state(page, "reconnecting", 15)
    await asyncio.sleep(9)  # a question is given up after 4 s
    assert len([one for one in asked if "/api/status" in one]) > 1
    relay.passing.set()
    await state(page, "live", 15)


PULSE = """async (steps) => {
  const { Pulse } = await import(document.baseURI + "static/pulse.js");
  let time = 0;
  const asked = [], said = [];
  const pulse = new Pulse({ ask: (id) => asked.push(id), now: () => time });
  pulse.begin();
  for (const [after, what, value] of steps) {
    time += after;
    if (what === "tick") said.push(pulse.tick());
    else if (what === "echo") pulse.echoed(value < 0 ? asked.at(value) : value);
    else pulse[what](value);
  }
  return [said, pulse.figures];
}"""


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([[1000, "tick"]] * 4, ["well"] * 4),
        ([[1000, "tick"]] * 6, ["well"] * 4 + ["silent"] * 2),
        ([[1000, "tick"]] * 11, ["well"] * 4 + ["silent"] * 5 + ["lost"] * 2),
        # Pictures are a sign of life too, as on a slow link where the answer waits behind them.
        ([[1000, "tick"], [0, "heard", 9]] * 12, ["well"] * 12),
        ([[1000, "tick"]] * 5 + [[0, "heard", 9], [1000, "tick"]], ["well"] * 4 + ["silent", "well"]),
        # This computer slept: nothing is known, so it begins anew.
        ([[1000, "tick"]] * 3 + [[600_000, "tick"]] + [[1000, "tick"]] * 3, ["well"] * 7),
        ([[1000, "tick"]] * 3 + [[0, "rest"]] + [[1000, "tick"]] * 3, ["well"] * 6),
        ([[1000, "tick"], [10, "echo", "no"], [10, "echo", 10**9]] * 6, ["well"] * 3 + ["silent"] * 3),
    ],
)
async def test_what_silence_means(open_page: Open, steps: list[object], said: list[str]) -> None:
    page = await open_page()
    assert (await page.evaluate(PULSE, steps))[0] == said


async def test_figures(open_page: Open) -> None:
    page = await open_page()
    steps = [[1000, "tick"], [7, "echo", -1], [993, "tick"], [9, "echo", -1], [991, "tick"], [500, "echo", -1]]
    steps += [[0, "heard", 3000], [0, "pictures", 6]]
    assert (await page.evaluate(PULSE, steps))[1] == {"rtt": 9, "fps": 2, "bytes": 1000}
