"""What a MeshCentral server, and a viewer behind it, says (`mesh`): .msh files, orders, control texts, handshake."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from fuzz.engine import Fuzzer, expect, expect_words, mixed
from pommel.errors import ProtocolError
from pommel.mesh import control, mesh_agent, orders, pings, tunnel
from pommel.mesh.handshake import Handshake
from pommel.mesh.keys import DeviceIdentity, fingerprint, new_identity, sha384
from pommel.mesh.msh import ID_BYTES, Msh, Server, parse_msh
from pommel.mesh.rights import FULL

# --- .msh files ---

_ID, _SERVER = bytes(range(48)).hex(), bytes(range(48, 96)).hex().upper()
_MSH = (
    "\r\nMeshName=Büro = Süd\r\nMeshType=2\r\nMeshID=0x{0}\r\nServerID={1}\r\n"
    "MeshServer=wss://mesh.example.org:8443/customer/mesh_agent.ashx\r\nInstallFlags=2\r\nTag=a\r\n",
    "MeshID={0}\nServerID={1},{1}\nMeshServer=wss://a.example/mesh_agent.ashx, wss://[::1]:444/x/mesh_agent.ashx\n",
    "\ufeffMeshServer=local\nMeshID={0}\nServerID={1}\ntranslation={{}}\n",
)
_MSH_TOKENS = (
    b"\r\n",
    b"=",
    b",",
    b"wss://",
    b"@",
    b"0x",
    b"local",
    b"\xef\xbb\xbf",
    b":",
    b"[",
    b"]",
    b"MeshID=",
    b"/",
)


def check_msh(data: bytes) -> None:
    """A file is refused with words, or is one that reads the same when it is written plainly."""
    try:
        found = parse_msh(data)
    except ProtocolError as refusal:
        expect_words(refusal)
        return
    expect(len(found.mesh_id) == ID_BYTES and len(found.servers) >= 1, "a group or server is missing")
    for server in found.servers:
        expect(len(server.server_id) == ID_BYTES and server.url.isprintable(), "a server that cannot be")
        expect(server.base.lower().startswith("wss://") and "/" in server.base[6:], "an address without a host")
    expect(parse_msh(_written(found)) == found, "it reads otherwise when written plainly")


def _written(msh: Msh) -> bytes:
    said = {
        "MeshName": msh.mesh_name,
        "MeshID": msh.mesh_id.hex(),
        "ServerID": ",".join(one.server_id.hex() for one in msh.servers),
        "MeshServer": ",".join(one.url for one in msh.servers),
        "Tag": msh.tag,
    }
    return "".join(f"{key}={value}\n" for key, value in said.items()).encode()


# --- orders ---

_WHO = {"userid": "user//ann", "sessionid": "user//ann/1", "rights": FULL, "username": "ann", "remoteaddr": "10.0.0.1"}
_TUNNEL = _WHO | {
    "action": "msg",
    "type": "tunnel",
    "value": "*/meshrelay.ashx?p=2&nodeid=node//a@b$c&id=1&rauth=x",
    "usage": 2,
    "servertlshash": "ab" * 48,
    "consent": 0,
    "realname": "Ann B.",
    "guestname": "Uwe",
    "guestuserid": "user//host",
    "privacybartext": "{0} looks",
    "desktopviewonly": True,
    "soptions": {"consentTitle": "T", "consentMsgDesktop": "{0}?", "consentTimeout": 5.5, "consentAutoAccept": True},
}
_SAID: tuple[dict[str, Any], ...] = (
    _TUNNEL,
    _WHO | {"action": "msg", "type": "endtunnel", "protocol": "kvm", "xuserid": "user//ann", "guestname": "Uwe"},
    _WHO | {"action": "msg", "type": "console", "value": "help", "tag": {"a": [1, "x"]}},
    _WHO | {"action": "msg", "type": "messagebox", "title": "T", "msg": "Hello ü"},
    _WHO | {"action": "msg", "type": "getclip", "tag": 7},
    _WHO | {"action": "msg", "type": "setclip", "data": "text \U0001f600"},
    _WHO | {"action": "msg", "type": "userSessions"},
    _WHO | {"action": "toast", "title": "T", "msg": "M"},
    _WHO | {"action": "poweraction", "actiontype": 2},
    {"action": "wakeonlan", "macs": ["52-54-00-12-34-56", 5]},
    {"action": "ping"},
)
_JSON = tuple(json.dumps(one, separators=(",", ":")).encode() for one in _SAID)
JSON_TOKENS = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"true",
    b"1e999",
    b"NaN",
    b"-0",
    b"\\ud83d",
    b"\\udc00",
    b"\\u0000",
    b"9" * 400,
    b"9" * 5000,
    b"[" * 300,
    b'{"a":' * 300,
    b"[" * 990 + b"]" * 990,
    b"\xed\xa0\x80",
    b"\xff\xfe",
    b'"tag":' + b"[" * 960 + b"]" * 960 + b",",
)


def check_order(data: bytes) -> None:
    """It is refused, or not for us, or an order whose every text can be sent on and whose answer can be made."""
    try:
        order = orders.parse_order(data)
    except ProtocolError as refusal:
        expect_words(refusal)
        return
    if order is None:
        return
    for text in texts_in(order):
        text.encode()
    if not isinstance(order, orders.Order):
        return
    expect(0 <= order.rights.bits <= FULL, "rights that there are not")
    for said in (orders.answer(order, "console", value="x"), orders.log(order, 17, "x", 1)):
        expect(said.isascii() and isinstance(json.loads(said), dict), "an answer that is no JSON in ASCII")
    if isinstance(order, orders.Tunnel):
        expect(0 < order.manners.timeout_s <= 3600, f"a question for {order.manners.timeout_s} s")
        _check_relay(order.where)


def _check_relay(where: str) -> None:
    try:
        url = tunnel.relay_url(Server("wss://mesh.example.org:8443/customer/mesh_agent.ashx", b""), where)
    except ProtocolError as refusal:
        expect_words(refusal)
        return
    expect(url.startswith("wss://mesh.example.org:8443/customer/") and url.isascii(), "a relay of another server")
    expect("/.." not in url and " " not in url, "a relay above the server's own path")


def texts_in(thing: object) -> Iterator[str]:
    """Every text in a value, in the values of its fields too."""
    if isinstance(thing, str):
        yield thing
    elif is_dataclass(thing):
        for one in fields(thing):
            yield from texts_in(getattr(thing, one.name))
    elif isinstance(thing, tuple):
        for part in thing:
            yield from texts_in(part)


# --- control texts ---

_CONTROLS = (
    b"2",
    b"c",
    b"cr",
    b'{"ctrlChannel":"102938","type":"rtt","time":1700000000000}',
    b'{"ctrlChannel":102938,"type":"ping"}',
    b'{"ctrlChannel":"102938","type":"pong"}',
    b'{"ctrlChannel":"102938","type":"close"}',
    b'{"type":"options","consent":8}',
)


def check_control(data: bytes) -> None:
    """Any text is read; an echo is that text, or one that is read again."""
    text = data.decode(errors="replace")
    match control.parse_control(text):
        case control.Echo(said):
            expect(said == text or control.parse_control(said) == control.ControlPong(), "an echo of something else")
        case control.Wants(protocol):
            expect(0 <= protocol <= 9999, "a protocol that there is not")
        case control.ViewerOptions(consent):
            expect(consent >= 0, "consent below nothing")


# --- binary: the agent's requests, the handshake ---

_REQUESTS = tuple(bytes((0, kind, 0, 7)) + b"x" * size for kind in range(9, 18) for size in (0, 48))


def check_request(data: bytes) -> None:
    """Whatever is asked: zeros for a hash, or nothing; and whether it is a picture can be told of any bytes."""
    said = mesh_agent.answer_request(data)
    expect(said in (None, data[:4] + bytes(48)), "an answer that says something")
    pings.is_picture(data)


class _Quick(DeviceIdentity):
    """An identity that signs with nothing: ours is of no interest here, and takes a millisecond."""

    def sign(self, data: bytes) -> bytes:
        """Sign nothing."""
        return data[:1] * 256


_TLS, _OURS, _THEIRS = b"the TLS certificate", b"d" * 48, b"s" * 48


@cache
def _server() -> tuple[bytes, tuple[bytes, ...]]:
    """A server's id, and what it says in a handshake that succeeds. Its key is another one in each process."""
    key = new_identity()
    tls = sha384(_TLS)
    signed = key.sign(tls + _OURS + _THEIRS)
    proof = b"\0\2" + len(key.certificate).to_bytes(2, "big") + key.certificate + signed
    return fingerprint(key.key.public_key()), (b"\0\1" + tls + _THEIRS, proof, b"\0\4")


def _messages(script: bytes) -> Iterator[bytes]:
    """Messages by a script: which of the server's, how many changes, three bytes for each; or 3: bytes as they are."""
    _, real = _server()
    at = 0
    while at + 2 <= len(script):
        which, count = script[at] & 3, script[at + 1] & 31
        at += 2
        if which == 3:
            yield script[at : at + count]
            at += count
            continue
        message = bytearray(real[which])
        for place in range(at, min(at + 3 * count, len(script) - 2), 3):
            spot = int.from_bytes(script[place : place + 2]) % (len(message) + 1)
            if spot == len(message):
                message += bytes((script[place + 2],))
            elif script[place + 2] == 0xFF:
                del message[spot:]
            else:
                message[spot] ^= script[place + 2]
        at += 3 * count
        yield bytes(message)


def check_handshake(data: bytes) -> None:
    """Nothing is told before the server's own words in their order; what was refused once stays refused."""
    server_id, real = _server()
    shake = Handshake(server_id, _TLS, _Quick(None, b"certificate"), b"\0\3we", _OURS)  # type: ignore[arg-type]
    hashes = proof = False
    for message in _messages(data):
        try:
            said = shake.receive(message)
        except ProtocolError as refusal:
            expect_words(refusal)
            _expect_it_stays(shake, real)
            return
        hashes = hashes or message == real[0]
        # Of the certificate only the key counts, so the rest of it may be any.
        proof = proof or (message[:2] == b"\0\2" and message.endswith(real[1][-256:]))
        expect(not shake.proved or (hashes and proof), "who has proved nothing counts as proved")
        expect(not shake.welcome or (shake.proved and message[:2] == real[2]), "welcome without the server's word")
        expect(not said or shake.proved, "something was told before the proof")


def _expect_it_stays(shake: Handshake, real: tuple[bytes, ...]) -> None:
    proved, welcome = shake.proved, shake.welcome
    for message in (*real, b"\0\4", b"\0\1x"):
        try:
            said = shake.receive(message)
        except ProtocolError:
            continue
        expect(not said, "a handshake that was refused goes on")
    expect((shake.proved, shake.welcome) == (proved, welcome), "a handshake that was refused is over all the same")


_SCRIPTS = (
    b"\x00\x00\x01\x00\x02\x00",
    b'\x03\x07{"a":1}\x00\x00\x01\x00\x03\x02\x00\x04',
    b"\x00\x01\x00\x10\x01\x01\x00\x02\x00",
    b"\x00\x00\x01\x01\x01\x00\x01\x02\x00\x02\x00",
    b"\x00\x00\x01\x02\x00\x02\x01\x00\x03\xff\x02\x00",
)

FUZZERS = [
    Fuzzer(
        "msh",
        "a ProtocolError with words, or a file that reads the same when written plainly",
        mixed([text.format(_ID, _SERVER).encode() for text in _MSH], tokens=_MSH_TOKENS),
        check_msh,
    ),
    Fuzzer(
        "orders",
        "a ProtocolError, nothing, or an order with sound rights and texts, and answers in ASCII JSON",
        mixed(_JSON, tokens=JSON_TOKENS),
        check_order,
    ),
    Fuzzer(
        "mesh-control",
        "any text is read; an echo is the text itself or a pong",
        mixed(_CONTROLS, tokens=(*JSON_TOKENS, b'"ctrlChannel":', b"102938")),
        check_control,
    ),
    Fuzzer("agent", "zeros for a hash, else nothing; any bytes are a picture or none", mixed(_REQUESTS), check_request),
    Fuzzer(
        "handshake",
        "nothing is told before the server's true proof; a refusal stays",
        mixed(_SCRIPTS, joined=2),
        check_handshake,
        room_bytes=4 << 20,
    ),
]
