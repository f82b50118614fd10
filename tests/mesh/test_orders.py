"""What the server asks, read from its JSON; and the answers."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import ProtocolError
from pommel.mesh import orders
from pommel.mesh.orders import Person, parse_order
from pommel.mesh.rights import FULL, Rights

# As it was seen on the wire of MeshCentral 1.1.55, ids shortened.
TUNNEL = {
    "action": "msg", "type": "tunnel", "value": "*/meshrelay.ashx?p=2&nodeid=node//a@b$c&id=1&rauth=x", "usage": 2,
    "servertlshash": "ab" * 48, "soptions": {}, "userid": "user//ann", "sessionid": "user//ann/1", "rights": FULL,
    "consent": 0, "username": "ann", "remoteaddr": "10.0.0.1",
}  # fmt: skip
ANN = Person("user//ann", "ann", "ann", "10.0.0.1")


def read(**said: Any) -> Any:
    return parse_order(json.dumps(said).encode())


def test_a_tunnel_as_it_was_seen() -> None:
    order = read(**TUNNEL)
    assert order == orders.Tunnel(
        ANN, Rights(FULL), "user//ann/1", None, TUNNEL["value"], bytes.fromhex("ab" * 48), 0, False, orders.Manners()
    )
    assert order.manners.timeout_s == 30


def test_guests_names_and_manners() -> None:
    wishes = {"consentTitle": "T", "consentMsgDesktop": "{0}?", "consentTimeout": 5, "consentAutoAccept": True}
    order = read(
        **TUNNEL | {"realname": "Ann B.", "guestname": "Uwe", "guestuserid": "user//host"}, desktopviewonly=True
    )
    assert order.person == Person("user//host/guest:VXdl", "Ann B. - Uwe", "ann", "10.0.0.1", "Uwe")
    assert order.view_only
    manners = read(**TUNNEL | {"soptions": wishes, "privacybartext": "{0} is viewing"}).manners
    assert manners == orders.Manners("T", "{0}?", None, "{0} is viewing", 5.0, if_late=True)


@pytest.mark.parametrize("rights", [-1, True, "8", None, 1.5, FULL + 1, [], {}])
def test_rights_that_make_no_sense_are_none(rights: object) -> None:
    assert read(**TUNNEL | {"rights": rights}).rights == Rights(0)


@pytest.mark.parametrize("timeout", [0, -1, True, "5", 1e9, None, float("nan"), float("inf")])
def test_a_timeout_that_makes_no_sense_is_the_usual_one(timeout: object) -> None:
    assert read(**TUNNEL | {"soptions": {"consentTimeout": timeout}}).manners.timeout_s == 30


@pytest.mark.parametrize(
    ("said", "order"),
    [
        ({"action": "ping"}, orders.Ping()),
        ({"action": "wakeonlan", "macs": ["52-54-00-AA-BB-CC", 7]}, orders.Wake(("52:54:00:aa:bb:cc",))),
        ({"action": "wakeonlan", "macs": "x"}, None),
        ({"action": "poweraction", "actiontype": 9}, None),
        ({"action": "serverInfo"}, None),
        ({"action": "msg", "type": "psinfo"}, None),
        ({"action": "msg", "type": ["tunnel"]}, None),
        ({"action": "msg"}, None),
        ({"action": ["x"]}, None),
        ({}, None),
        ({"action": "msg", "type": "tunnel", "value": ""}, None),
        ({"action": "msg", "type": "endtunnel", "protocol": "files"}, None),
        ({"action": "msg", "type": "setclip", "data": None}, None),
        ({"action": "toast", "title": "x"}, None),
    ],
)
def test_small_ones_and_what_is_not_for_us(said: dict[str, Any], order: object) -> None:
    assert read(**said) == order


def test_power_by_number_or_by_its_text() -> None:
    assert read(action="poweraction", actiontype=2).action is orders.Power.OFF
    assert read(action="poweraction", actiontype="4").action is orders.Power.SLEEP


def test_the_rest() -> None:
    by = {"userid": "user//ann", "username": "ann", "sessionid": "s", "rights": 24, "remoteaddr": "10.0.0.1"}
    who = (ANN, Rights(24), "s", None)
    for said, order in (
        ({"type": "console", "value": "help"}, orders.ConsoleLine(*who, "help")),
        ({"type": "messagebox", "title": "t", "msg": "m"}, orders.Notify(*who, "t", "m", True)),
        ({"type": "getclip", "tag": 1}, orders.GetClipboard(ANN, Rights(24), "s", 1)),
        ({"type": "setclip", "data": ""}, orders.SetClipboard(*who, "")),
        ({"type": "userSessions"}, orders.UserSessions(*who)),
        ({"type": "endtunnel", "protocol": "kvm", "xuserid": "u"}, orders.EndTunnel(*who, "u", None)),
    ):
        assert read(action="msg", **by, **said) == order
    assert read(action="toast", title="t", msg="m").must_close is False
    assert "secret" not in repr(read(action="msg", type="setclip", data="secret"))


def test_answers_go_to_who_asked_in_ascii() -> None:
    order = read(action="msg", type="getclip", sessionid="s", tag={"n": 1})
    told = orders.answer(order, "getclip", data="größer ✓")
    assert told.isascii()
    assert json.loads(told) == {
        "action": "msg", "type": "getclip", "sessionid": "s", "tag": {"n": 1}, "data": "größer ✓",
    }  # fmt: skip
    guest = read(**TUNNEL | {"guestname": "Uwe"})
    said = json.loads(orders.log(guest, 30, "text", "a", 1))
    assert (said["userid"], said["guestname"], said["msgArgs"]) == ("user//ann", "Uwe", ["a", 1])
    assert json.loads(orders.sessions({"user//ann": 2}))["value"] == {"user//ann": 2}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(sorted({*TUNNEL, "data", "msg", "title", "macs", "actiontype", "guestname", "protocol", "tag"}))
KINDS = st.fixed_dictionaries(
    {
        "action": st.sampled_from(["msg", "toast", "poweraction", "wakeonlan", "ping"]),
        "type": st.sampled_from(["tunnel", "endtunnel", "console", "messagebox", "getclip", "setclip", "userSessions"]),
    }
)


@given(st.dictionaries(KEYS, JSON, max_size=8), KINDS)
def test_any_fields_are_read_and_can_be_answered(fields: dict[str, Any], kind: dict[str, str]) -> None:
    order = parse_order(json.dumps(fields | kind))
    if isinstance(order, orders.Order):
        assert json.loads(orders.log(order, 1, "x"))["action"] == "log"
        assert json.loads(orders.answer(order, "console", value="x"))["value"] == "x"
        assert 0 <= order.rights.bits <= FULL


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_message_is_read_or_refused_by_name(message: bytes | str) -> None:
    with contextlib.suppress(ProtocolError):
        assert not isinstance(parse_order(message), bytes | str)


def test_deep_json_is_refused() -> None:
    with pytest.raises(ProtocolError):
        parse_order("[" * 100_000)


@pytest.mark.parametrize(
    "said",
    [
        TUNNEL | {"realname": "\ud800", "guestname": "\udfff", "soptions": {"consentTitle": "\ud800"}},
        {"action": "msg", "type": "setclip", "data": "half of \ud83d"},
        {"action": "msg", "type": "console", "value": "\udc00", "sessionid": "\udc00"},
        {"action": "toast", "msg": "\ud800"},
    ],
)
def test_halves_of_surrogate_pairs_do_not_get_further(said: dict[str, Any]) -> None:
    order = parse_order(json.dumps(said))
    told = json.dumps(asdict(order), ensure_ascii=False, default=str)  # type: ignore[call-overload]
    assert "\ufffd" in told
    told.encode()


@pytest.mark.parametrize("depth", [70, 900, 100_000])
def test_a_tag_too_deep_to_be_sent_back_is_refused(depth: int) -> None:
    message = '{"action":"msg","type":"console","value":"x","tag":' + "[" * depth + "]" * depth + "}"
    with pytest.raises(ProtocolError):
        parse_order(message)
