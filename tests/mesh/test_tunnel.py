"""One person's session: the way in, consent, limits, and the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.doubles import identity
from mesh.fake_server import FakeServer, Onlooker, tls_hash
from mesh.joined import Joined
from pommel.errors import ProtocolError
from pommel.mesh.device import Notice, Question
from pommel.mesh.msh import Server
from pommel.mesh.tunnel import relay_url
from pommel.screen.actions import PressKey
from pommel.screen.endpoint import Endpoint
from pommel.screen.geometry import Size
from pommel.wire import messages as wire
from pommel.wire.codec import encode
from screen.doubles import MemorySink, PaintedSource
from waits import until

A, CTRL = 0x41, 0x11
RTT = {"ctrlChannel": "102938", "type": "rtt", "time": 5}
SERVER = Server("wss://h:1/dom/agent.ashx", bytes(48))


@pytest.fixture
async def sink(online: Joined) -> AsyncIterator[MemorySink]:
    """What the hands of the device's viewers do."""
    sink = MemorySink()
    online.desk.endpoint = Endpoint(PaintedSource(Size(64, 48)), sink)
    pumping = asyncio.ensure_future(online.desk.endpoint.run())
    yield sink
    pumping.cancel()
    await asyncio.wait([pumping])


async def first_picture(viewer: Onlooker) -> None:
    assert await viewer.command() == encode(wire.Screen(64, 48))


async def keys(viewer: Onlooker, *commands: wire.Command) -> None:
    for command in commands:
        await viewer.socket.send_bytes(encode(command))


# --- the way in ---


def test_the_relays_address() -> None:
    assert relay_url(SERVER, "*/meshrelay.ashx?p=2&nodeid=node//a@b$c&id=x") == (
        "wss://h:1/dom/meshrelay.ashx?p=2&nodeid=node//a%40b%24c&id=x"
    )


@pytest.mark.parametrize(
    "where",
    ["wss://evil/meshrelay.ashx", "*//evil/x", "*/../x", "*/x y", "*/x\r\nHost: y", "*/", "", "*", "/meshrelay.ashx"],
)
def test_a_relay_elsewhere_is_refused(where: str) -> None:
    if where == "*//evil/x":  # stays on the server, whatever it means there
        assert relay_url(SERVER, where).startswith(SERVER.base)
        return
    with pytest.raises(ProtocolError):
        relay_url(SERVER, where)


@given(st.text(max_size=30) | st.text(max_size=30).map(lambda text: "*/" + text))
def test_any_order_leads_to_this_server_or_nowhere(where: str) -> None:
    try:
        url = relay_url(SERVER, where)
    except ProtocolError:
        return
    assert url.startswith("wss://h:1/dom/")
    assert url.isascii()


async def test_the_ticket_is_shown_to_the_right_relay_only(fake: FakeServer, online: Joined, sink: MemorySink) -> None:
    await fake.opens_tunnel("*/meshrelay.ashx?nodeid=a@b$c", servertlshash="00" * 48)
    assert fake.asked == ["/meshrelay.ashx?nodeid=a%40b%24c"]  # the control connection's own certificate is good too
    fake.asked.clear()
    link = online.connection._link
    assert link is not None
    place = link._place
    object.__setattr__(place, "certificate", b"another certificate")
    await fake.say(
        action="msg",
        type="tunnel",
        value="*/meshrelay.ashx?x=1",
        rights=0xFFFFFFFF,
        servertlshash="00" * 48,
        sessionid="s",
    )
    await fake.until(lambda: any("different TLS certificate" in one.get("msg", "") for one in fake.heard))
    assert fake.asked == []
    await fake.opens_tunnel(servertlshash=tls_hash(identity(1)).hex())
    assert len(fake.asked) == 1


async def test_screen_first_hands_and_nothing_held_in_the_end(
    fake: FakeServer, online: Joined, sink: MemorySink
) -> None:
    viewer = await fake.opens_tunnel()
    await viewer.socket.send_json(RTT)
    assert await viewer.next() == RTT  # before anything else
    await viewer.socket.send_bytes(encode(wire.Key(A, down=True)))  # too early: not a hand yet
    await viewer.begin('{"type":"options","tsid":1}')
    await first_picture(viewer)
    assert (await viewer.told("metadata"))["users"] == {"user//ann": 1}
    assert (await fake.hears(action="sessions", value={"user//ann": 1}))["type"] == "kvm"
    assert online.connection.viewers == 1
    await viewer.socket.send_json(RTT)
    assert await viewer.told("rtt") == RTT
    await keys(viewer, wire.Key(A, down=True))
    await until(lambda: sink.done)
    assert sink.done == [PressKey(A, False, True, legend=True)]
    await viewer.socket.send_json({"ctrlChannel": "102938", "type": "close"})
    await until(lambda: online.connection.viewers == 0)
    assert sink.done[1:] == [PressKey(A, False, False, legend=True)]
    await fake.hears(action="sessions", value={})


async def test_two_viewers_know_of_each_other(fake: FakeServer, online: Joined, sink: MemorySink) -> None:
    first = await fake.opens_tunnel()
    await first.begin()
    await first_picture(first)
    second = await fake.opens_tunnel(userid="user//bob", username="bob")
    await second.begin()
    await first_picture(second)
    while (await first.told("metadata"))["users"] != {"user//ann": 1, "user//bob": 1}:
        pass
    await first.socket.close()
    while (await second.told("metadata"))["users"] != {"user//bob": 1}:
        pass


async def test_a_viewer_that_speaks_nonsense_is_parted_from(fake: FakeServer, online: Joined, sink: MemorySink) -> None:
    viewer = await fake.opens_tunnel()
    await viewer.begin()
    await first_picture(viewer)
    await viewer.socket.send_bytes(b"\0\1\0\1")
    while await viewer.next() is not None:
        pass
    assert viewer.socket.close_code == 1002
    await until(lambda: online.connection.viewers == 0)


@pytest.mark.parametrize(
    ("said", "types", "limited"),
    [
        ({"rights": 0x108}, False, False),
        ({"rights": 0x100}, False, False),
        ({"rights": 0xFFFFFFFF, "desktopviewonly": True}, False, False),
        ({"rights": 0x8}, True, False),
        ({"rights": 0x1008}, True, True),
    ],
)
async def test_rights(
    fake: FakeServer, online: Joined, sink: MemorySink, said: dict[str, Any], types: bool, limited: bool
) -> None:
    viewer = await fake.opens_tunnel(**said)
    await viewer.begin()
    await first_picture(viewer)
    both = encode(wire.Key(CTRL, down=True)) + encode(wire.Key(A, down=True))
    for at in range(0, len(both), 5):  # a command may come in pieces
        await viewer.socket.send_bytes(both[at : at + 5])
    await viewer.socket.send_json(RTT)
    await viewer.told("rtt")
    assert online.desk.served == [not types]
    pressed = [PressKey(CTRL, False, True), PressKey(A, False, True, legend=True)]
    assert sink.done == (pressed[1:] if limited else pressed if types else [])


@pytest.mark.parametrize("rights", [0, 0x10, 0x10008, 0x1000])
async def test_no_desktop(fake: FakeServer, online: Joined, sink: MemorySink, rights: int) -> None:
    viewer = await fake.opens_tunnel(rights=rights)
    await viewer.begin()
    assert "no right" in (await viewer.told("console"))["msg"]
    assert await viewer.next() is None
    assert online.desk.served == []


# --- consent ---


@pytest.mark.parametrize(
    ("answer", "wishes", "shown"),
    [
        (True, {}, None),
        (False, {}, "Denied"),
        (None, {}, "there is no user at the machine's console to grant access"),
        (None, {"consentAutoAcceptIfNoUser": True}, None),
    ],
)
async def test_the_answer_counts(
    fake: FakeServer, online: Joined, sink: MemorySink, answer: bool | None, wishes: dict[str, Any], shown: str | None
) -> None:
    online.desk.answer = answer
    viewer = await fake.opens_tunnel(consent=8 | 1, soptions=wishes | {"consentMsgDesktop": "May {0} ({1})?"})
    await viewer.begin()
    assert (await viewer.told("console"))["msgid"] == 1
    said = await viewer.told("console")
    assert said["msg"] == shown
    question = online.desk.done[0]
    assert isinstance(question, Question)
    assert (question.text, question.timeout_s) == ("May Ann B. (ann)?", 30)
    if shown is None:
        assert said["msgid"] == 0
        await first_picture(viewer)
        assert isinstance(online.desk.done[1], Notice)
        assert await fake.hears(action="log", msgid=30)
    else:
        assert await viewer.next() is None
        assert online.desk.served == []
        assert await fake.hears(action="log", msgid=34)


@pytest.mark.parametrize("if_late", [False, True])
async def test_no_answer_in_time_means_no_unless_the_server_says_otherwise(
    fake: FakeServer, online: Joined, sink: MemorySink, if_late: bool
) -> None:
    online.desk.answer, online.desk.slow_s = True, 30
    viewer = await fake.opens_tunnel(consent=8, soptions={"consentTimeout": 0.2, "consentAutoAccept": if_late})
    await viewer.begin()
    await viewer.told("console")
    await viewer.socket.send_json(RTT)
    assert await viewer.told("rtt") == RTT  # while it waits, too
    assert (await viewer.told("console"))["msg"] == (None if if_late else "Denied")
    await until(lambda: online.desk.served == ([False] if if_late else []))


async def test_a_viewer_that_leaves_while_asking_is_forgotten(
    fake: FakeServer, online: Joined, sink: MemorySink
) -> None:
    online.desk.slow_s = 30
    viewer = await fake.opens_tunnel(consent=8)
    await viewer.begin()
    await viewer.told("console")
    await until(lambda: online.desk.done)
    await viewer.socket.close()
    link = online.connection._link
    assert link is not None
    await until(lambda: not link._sessions)
    assert online.desk.served == []


async def test_the_viewer_may_ask_for_more_consent_never_for_less(
    fake: FakeServer, online: Joined, sink: MemorySink
) -> None:
    online.desk.answer = False
    viewer = await fake.opens_tunnel(consent=0)
    await viewer.begin('{"type":"options","consent":8}')
    assert (await viewer.told("console"))["msgid"] == 1
    assert (await viewer.told("console"))["msgid"] == 2
    viewer = await fake.opens_tunnel(consent=8)
    await viewer.begin('{"type":"options","consent":0}')
    assert (await viewer.told("console"))["msgid"] == 1


async def test_the_privacy_bar(fake: FakeServer, online: Joined, sink: MemorySink) -> None:
    viewer = await fake.opens_tunnel(consent=0x40, privacybartext="Watched by {0} ({1})")
    await viewer.begin()
    await first_picture(viewer)
    await until(lambda: online.desk.watched)
    people, bar = online.desk.watched[-1]
    assert [one.name for one in people] == ["Ann B."]
    assert bar == "Watched by Ann B. (ann)"


async def test_a_notice_that_nobody_can_see_is_no_reason_to_refuse(
    fake: FakeServer, online: Joined, sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(_: Notice) -> None:
        raise ProtocolError("nobody is there")

    monkeypatch.setattr(online.desk, "notify", nobody)
    viewer = await fake.opens_tunnel(consent=1)
    await viewer.begin()
    await first_picture(viewer)


# --- the end ---


async def test_who_may_end_a_session(fake: FakeServer, online: Joined, sink: MemorySink) -> None:
    viewer = await fake.opens_tunnel()
    await viewer.begin()
    await first_picture(viewer)
    end = {"action": "msg", "type": "endtunnel", "xuserid": "user//ann", "protocol": "kvm", "sessionid": "s"}
    await fake.say(**end, userid="user//bob", rights=0x8)
    await fake.until(lambda: any("end sessions of other users" in one.get("msg", "") for one in fake.heard))
    await fake.say(**end, userid="user//bob", rights=0xFFFFFFFF, guestname="Uwe")  # that is somebody else
    assert online.connection.viewers == 1
    await fake.say(**end, userid="user//ann", rights=0x8)
    assert "ended" in (await viewer.told("console"))["msg"]
    while await viewer.next() is not None:
        pass
    await until(lambda: online.connection.viewers == 0)


async def test_a_lost_server_ends_its_sessions(fake: FakeServer, online: Joined, sink: MemorySink) -> None:
    viewer = await fake.opens_tunnel()
    await viewer.begin()
    await first_picture(viewer)
    await keys(viewer, wire.Key(A, down=True))
    await until(lambda: sink.done)
    await fake.agents[-1].close()
    await until(lambda: len(sink.done) == 2)
    await until(lambda: online.desk.watched[-1] == ((), None))
    assert sink.done[1] == PressKey(A, False, False, legend=True)
