"""The trial machine as a device of the real MeshCentral server, looked at by the server's own page in a real Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from app import meshes
from chromium import page_ms
from driver import Shell
from isolation import patient
from mesh.server import ADMIN, GROUP, PASSWORD, PATIENCE_S, MeshCentral, User, logged_in, mesh_central
from pommel.app.mesh import waking as mesh_waking
from pommel.wire import messages as wire
from waits import wait_until

from .conftest import Trial
from .test_page import is_live

pytestmark = pytest.mark.e2e

LOOKER = "looker"
SEES = 0x8 | 0x100
RETURN = 0x0D
SAMPLE = """() => {
  const c = document.getElementById('Desk'), x = c.getContext('2d'), seen = new Set();
  for (let i = 0; i < 40; i++) for (let j = 0; j < 25; j++) {
    const p = x.getImageData(Math.floor((i + .5) * c.width / 40), Math.floor((j + .5) * c.height / 25), 1, 1).data;
    seen.add(((p[0] >> 5) << 6) | ((p[1] >> 5) << 3) | (p[2] >> 5));
  }
  return [c.width, c.height, seen.size];
}"""
ORANGE = "([x, y]) => Array.from(document.getElementById('Desk').getContext('2d').getImageData(x, y, 1, 1).data)"


@pytest.fixture(scope="module")
def server() -> Iterator[MeshCentral]:
    with mesh_central(LOOKER) as one:
        yield one


@pytest.fixture
async def admin(server: MeshCentral) -> AsyncIterator[User]:
    async with logged_in(server) as user:
        await user.group()
        await user.lets(LOOKER, SEES)
        yield user


@pytest.fixture
async def node(admin: User, trial: Trial) -> AsyncIterator[str]:
    """The trial machine's id on the server, where it is online."""
    told = await joined(admin, trial.shell)
    yield (await admin.node(told["node_id"]))["_id"]


async def joined(admin: User, shell: Shell) -> dict[str, Any]:
    msh = shell.cwd / "group.msh"
    msh.write_bytes(await admin.msh())
    told = await asyncio.to_thread(shell.json, "mesh", "join", "trial", "--msh", str(msh))
    assert told["standing"] == "online", told
    return dict(told)


def standing(shell: Shell, wanted: str, timeout_s: float = 60) -> dict[str, Any]:
    return dict(wait_until(lambda: (s := shell.json("mesh", "status", "trial"))["standing"] == wanted and s, timeout_s))


async def eventually(true: Any, *words: Any, timeout_s: float = 60.0) -> Any:
    """As `wait_until`, but pages and sockets go on meanwhile; `true` may block."""
    async with asyncio.timeout(patient(timeout_s)):
        while not (found := await asyncio.to_thread(true, *words)):
            await asyncio.sleep(0.1)
    return found


@contextlib.asynccontextmanager
async def meshcentrals_page(browser: Browser, server: MeshCentral, user: str = ADMIN) -> AsyncIterator[Page]:
    """MeshCentral's page, logged in, as far as the trial's Desktop tab, by what a person clicks on."""
    context = await browser.new_context(ignore_https_errors=True, viewport={"width": 1400, "height": 950})
    page = await context.new_page()
    page.set_default_timeout(page_ms(PATIENCE_S))
    await page.goto(f"https://127.0.0.1:{server.port}/")
    await page.fill("#username", user)
    await page.fill("#password", PASSWORD)
    await page.click("#loginButton")
    await page.click("#LeftMenuMyDevices")
    await page.click("#xdevices >> text=trial")
    await page.click("#MainDevDesktop")
    yield page
    await context.close()


async def connect(page: Page) -> None:
    """Press Connect, and wait until the machine's desktop is seen."""
    await page.click("#connectbutton1")
    async with asyncio.timeout(patient(PATIENCE_S)):
        while (seen := await page.evaluate(SAMPLE))[:2] != [1280, 800] or seen[2] < 3:
            await asyncio.sleep(0.1)


async def click(page: Page, x: int, y: int) -> None:
    box = await page.locator("#Desk").bounding_box()
    assert box is not None
    await page.mouse.click(box["x"] + x * box["width"] / 1280, box["y"] + y * box["height"] / 800)


async def focused(page: Page, x: int) -> None:
    """Wait until the title bar above `x` is orange."""
    async with asyncio.timeout(patient(PATIENCE_S)):
        while True:
            red, _green, blue, _ = await page.evaluate(ORANGE, [x - 200, 93])
            if red > 180 and blue < 120:
                return
            await asyncio.sleep(0.05)


async def types(page: Page, text: str) -> None:
    await page.keyboard.type(text, delay=30)
    await page.keyboard.press("Enter")


async def test_a_machine_joins_and_is_online_as_what_it_is(admin: User, trial: Trial) -> None:
    shell = trial.shell
    told = await joined(admin, shell)
    seen = await admin.node(told["node_id"])
    assert (seen["name"], seen["icon"], seen["agent"]["id"]) == ("trial", 8, 10005)
    assert (seen["group"], told["group"]) == (await admin.group(), GROUP)
    while "osdesc" not in seen or "core" not in seen["agent"]:
        seen = await admin.node(told["node_id"])
    assert seen["osdesc"].startswith("Debian, the trial machine (Pommel ")
    assert (await asyncio.to_thread(shell.json, "status", "trial"))["mesh"] == "online"
    second = await asyncio.to_thread(lambda: shell.run("mesh", "run", status=3))
    assert f"are already kept online (pid {told['mesh_pid']})" in second.stderr
    folder = shell.machine("trial") / "mesh"
    assert {oct(path.stat().st_mode)[-3:] for path in folder.iterdir()} == {"600"}
    assert oct(folder.stat().st_mode)[-3:] == "700"


async def test_meshcentrals_own_page_shows_the_screen_and_has_hands_in_two_tabs(
    server: MeshCentral, node: str, trial: Trial, browser: Browser
) -> None:
    async with meshcentrals_page(browser, server) as one, meshcentrals_page(browser, server) as two:
        await connect(one)
        await connect(two)
        assert await eventually(lambda: trial.shell.json("mesh", "status", "trial")["viewers"] == 2)
        ttys = {}
        for page, x in ((one, 320), (two, 960)):
            await click(page, x, 400)
            await focused(page, x)
            await types(page, f"tty > ~/mesh-{x}")
            ttys[x] = await eventually(lambda x=x: trial.guest(f"cat mesh-{x}", status=None).strip())
        assert ttys[320] != ttys[960], "each click moved the focus to another terminal"
        await focused(one, 960)  # what was done in the second tab is seen in the first
        await types(one, 'echo "Typed-there_$((6*7))" > ~/mesh-typed')
        assert await eventually(trial.guest, "cat mesh-typed 2>/dev/null; true") == "Typed-there_42\n"
    assert await eventually(lambda: trial.shell.json("mesh", "status", "trial")["viewers"] == 0)


async def test_who_may_only_look_cannot_type(server: MeshCentral, node: str, trial: Trial) -> None:
    trial.guest("rm -f mesh-looker mesh-typist")
    async with logged_in(server, LOOKER) as looker, logged_in(server) as typist:
        for user, made in ((looker, ""), (typist, "0\n")):
            viewer = await user.viewer(node)
            await viewer.sees(wire.Picture)
            await viewer.does(*keys(f": > mesh-{user.name}; echo 0 > mesh-{user.name}"), wire.Refresh())
            await viewer.sees(wire.Screen, 1)  # what was sent before has been seen to
            await viewer.leave()
            if made:
                assert await eventually(trial.guest, f"cat mesh-{user.name} 2>/dev/null; true") == made
    assert trial.guest("ls mesh-looker", status=None) == ""


def keys(text: str) -> list[wire.Command]:
    """A text as the page sends what no key of its own makes, and Return."""
    units = [wire.KeyUnicode(ord(char), down) for char in text for down in (True, False)]
    return [*units, wire.Key(RETURN, True), wire.Key(RETURN, False)]


async def test_who_is_at_the_console_page_is_asked(admin: User, node: str, trial: Trial, browser: Browser) -> None:
    await admin.asks_consent(8 | 0x40)
    try:
        alone = await admin.viewer(node)
        await alone.closed()
        assert "there is no user at the machine's console" in (await alone.told("console"))["msg"]
        page = await browser.new_page(viewport={"width": 1400, "height": 950})
        await page.goto(trial.url)
        await is_live(page)
        for button, allowed in (("#question-refuse", False), ("#question-allow", True)):
            viewer = await admin.viewer(node)
            await page.click(button)
            if allowed:
                await viewer.sees(wire.Picture)
                await page.wait_for_selector("#shared:not([hidden])")
                assert await page.text_content("#shared") == "This screen is shared with admin"
                await viewer.leave()
                await page.wait_for_selector("#shared[hidden]", state="attached")
            else:
                await viewer.closed()
                assert (await viewer.told("console"))["msg"] == "Denied"
        await admin.send(action="msg", type="messagebox", nodeid=node, title="Update", msg="at five")
        await page.click("#question-close")
        await admin.send(action="toast", nodeids=[node], title="Hello", msg="there")
        await page.wait_for_selector("#toast:has-text('Hello: there')")
        await page.close()
    finally:
        await admin.asks_consent(0)


async def test_clipboard_and_console(admin: User, node: str, trial: Trial) -> None:
    await admin.send(action="msg", type="setclip", nodeid=node, data="from the server ü")
    assert (await admin.hears(action="msg", type="setclip"))["success"] is True
    assert await asyncio.to_thread(trial.guest, "pbpaste") == "from the server ü"
    await asyncio.to_thread(trial.guest, "printf 'from the guest' | pbcopy")
    async with asyncio.timeout(patient(PATIENCE_S)):
        said = ""
        while said != "from the guest":  # the guest is asked every so often
            await admin.send(action="msg", type="getclip", nodeid=node)
            said = (await admin.hears(action="msg", type="getclip"))["data"]
    shot = trial.shell.machine("trial") / "mesh" / "screenshot.png"
    for line, wanted in (
        ("help", "shut it down"),
        ("status", "state    running"),
        ("screenshot", f"1280x800 pixels, saved as {shot}"),
        ("start", "trial is already running"),
        ("nonsense", "there is no command 'nonsense' here (to list the commands: help)"),
    ):
        await admin.send(action="msg", type="console", nodeid=node, value=line)
        assert wanted in (await admin.hears(action="msg", type="console"))["value"]
    assert shot.read_bytes().startswith(b"\x89PNG")


async def test_a_machine_that_does_not_run_is_woken_by_its_server(admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(mesh_waking.power, "start", lambda name, *, workspace: begun.append(name))
    with meshes.workspace() as where:
        ids = {}
        for number, name in enumerate(("awake", "sleeper"), 1):
            paths = meshes.made(where, name, number)
            ids[name] = meshes.joined(paths, await admin.msh(), number).identity.node_id
            await meshes.start(paths)
        async with meshes.process(where) as running:
            nodes = {name: (await admin.node(node_id))["_id"] for name, node_id in ids.items()}
            await meshes.kill(where.paths("sleeper"))
            await running.until("offline", "sleeper")
            await admin.node(ids["sleeper"], online=False)
            async with asyncio.timeout(patient(PATIENCE_S)):
                while not begun:  # the server takes a moment to know the network cards of its devices
                    await admin.send(action="wakedevices", nodeids=[nodes["sleeper"]])
                    await asyncio.sleep(0.5)
    assert set(begun) == {"sleeper"}


async def test_a_wrong_msh_is_refused_with_the_reason(admin: User, node: str, trial: Trial) -> None:
    msh = (await admin.msh()).decode()
    server_id = msh.split("ServerID=")[1].split()[0]
    wrong = trial.shell.cwd / "wrong.msh"
    wrong.write_text(msh.replace(server_id, f"{int(server_id, 16) ^ 1:096X}"))
    words = ("mesh", "join", "trial", "--msh", str(wrong))
    done = await asyncio.to_thread(lambda: trial.shell.run(*words, "--json", status=1))
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["standing"] == "refused"
    assert "not the server of the .msh file" in told["why"]
    assert (await joined(admin, trial.shell))["node_id"] == node.split("/")[2], "the same device as before"


async def test_it_goes_offline_with_the_machine_and_comes_back_with_it_though_the_server_was_away(
    server: MeshCentral, admin: User, node: str, trial: Trial
) -> None:
    shell = trial.shell
    await admin.send(action="poweraction", nodeids=[node], actiontype=2)
    await admin.node(node.split("/")[2], online=False)
    await eventually(lambda: shell.json("status", "trial")["state"] == "stopped", timeout_s=120)
    offline = await asyncio.to_thread(standing, shell, "offline", 5)
    assert (offline["why"], offline["hint"]) == ("trial is not running", "pommel start trial")
    server.stop()
    await asyncio.to_thread(shell.run, "start", "trial")
    waiting = await asyncio.to_thread(standing, shell, "waiting")
    assert "cannot be connected to" in waiting["why"]
    await asyncio.to_thread(server.start)
    await asyncio.to_thread(standing, shell, "online", 120)
    # The others find their machine as it was.
    console = await asyncio.to_thread(shell.json, "console", "trial", "--detach")
    assert console["url"] == trial.url
    await asyncio.to_thread(trial.await_desktop)


async def test_who_leaves_is_offline_and_forgotten(admin: User, node: str, trial: Trial) -> None:
    shell = trial.shell
    await asyncio.to_thread(shell.run, "mesh", "leave", "trial")
    await admin.node(node.split("/")[2], online=False)
    assert not (shell.machine("trial") / "mesh").exists()
    assert (await asyncio.to_thread(shell.json, "mesh", "list")) == {"machines": []}
