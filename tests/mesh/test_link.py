"""Orders while online: what is done, what is answered, and who may not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mesh.doubles import Desk
from mesh.fake_server import FakeServer
from mesh.joined import Joined
from pommel.mesh.device import Notice
from pommel.mesh.orders import Person, Power
from waits import until

FULL, SEES, ANN = 0xFFFFFFFF, 0x108, {"userid": "user//ann", "username": "ann", "sessionid": "s"}


async def order(fake: FakeServer, kind: str, rights: int = FULL, **said: Any) -> None:
    await fake.say(action="msg", type=kind, rights=rights, **ANN, **said)


async def test_ping(fake: FakeServer, online: Joined) -> None:
    await fake.say(action="ping")
    await fake.hears(action="pong")


async def test_clipboard(fake: FakeServer, online: Joined) -> None:
    await order(fake, "getclip", tag=7)
    assert await fake.hears(type="getclip") == {
        "action": "msg", "type": "getclip", "sessionid": "s", "tag": 7, "data": "in the guest",
    }  # fmt: skip
    long = "ü" * 100_000
    await order(fake, "setclip", data=long)
    assert (await fake.hears(type="setclip"))["success"] is True
    assert online.desk.clipboard == long


async def test_a_clipboard_that_cannot_be_had_says_why(fake: FakeServer, online: Joined) -> None:
    online.desk.clipboard = None
    await order(fake, "setclip", data="x")
    assert (await fake.hears(type="setclip"))["success"] is False
    await order(fake, "getclip")
    await fake.hears(action="log", msg="no user is logged in there")


@pytest.mark.parametrize(
    ("kind", "said"),
    [("getclip", {}), ("setclip", {"data": "x"}), ("console", {"value": "stop"}), ("messagebox", {"msg": "x"})],
)
async def test_without_the_right_nothing_is_done(
    fake: FakeServer, online: Joined, kind: str, said: dict[str, str]
) -> None:
    await order(fake, kind, SEES & ~0x8, **said)
    heard = await fake.until(lambda: [one for one in fake.heard if "right" in one.get("msg", one.get("value", ""))])
    assert heard
    assert online.desk.clipboard == "in the guest"
    assert online.desk.done == []


async def test_equal_console_lines_never_get_us_thrown_out(fake: FakeServer, online: Joined) -> None:
    for count in (35, 70):
        for _ in range(35):
            await order(fake, "console", value="again")
        await fake.until(lambda: sum(one.get("type") == "console" for one in fake.heard) == count)  # noqa: B023
    lines = [one["value"] for one in fake.heard if one.get("type") == "console"]
    runs = max(sum(1 for _ in group) for group in _runs(lines))
    assert runs <= 30
    assert all(line.startswith("you said again") for line in lines)


def _runs(lines: list[str]) -> list[list[str]]:
    runs: list[list[str]] = []
    for line in lines:
        if runs and runs[-1][0] == line:
            runs[-1].append(line)
        else:
            runs.append([line])
    return runs


async def test_power_wake_words_and_sessions(fake: FakeServer, online: Joined) -> None:
    await fake.say(action="poweraction", actiontype=2, **ANN)
    await fake.say(action="wakeonlan", macs=["52:54:00:12:34:56"])
    await fake.say(action="toast", title="t", msg="m", **ANN)
    await order(fake, "messagebox", title="T", msg="M")
    await until(lambda: len(online.desk.done) == 4)
    ann = Person("user//ann", "ann", "ann")
    assert online.desk.done == [Power.OFF, ("52:54:00:12:34:56",), Notice(ann, "t", "m"), Notice(ann, "T", "M", True)]
    await fake.until(lambda: {25, 26, 18} <= {one.get("msgid") for one in fake.heard})
    await order(fake, "userSessions", tag="x")
    assert (await fake.hears(type="userSessions"))["tag"] == "x"


async def test_a_slow_order_holds_up_no_other_and_a_flood_is_cut_off(fake: FakeServer, online: Joined) -> None:
    class Slow(Desk):
        asked = 0

        async def get_clipboard(self) -> str:
            Slow.asked += 1
            await asyncio.sleep(60)
            return ""

    online.connection._link._device = Slow()  # type: ignore[union-attr]
    for _ in range(200):
        await order(fake, "getclip")
    await fake.say(action="ping")
    await fake.hears(action="pong")
    assert 32 <= Slow.asked <= 64
    await fake.until(lambda: sum("too many requests at once" in one.get("msg", "") for one in fake.heard) == 1)
