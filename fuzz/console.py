"""What a page or anybody who reaches the port says (`console`): bodies, control texts, headers."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from fuzz.engine import Fuzzer, expect, mixed
from fuzz.mesh import JSON_TOKENS
from pommel.console import audience_api, guard
from pommel.console.stream import control_reply

_BODIES = tuple(
    json.dumps(one).encode()
    for one in (
        {"title": "T", "text": "M", "timeout_s": 5},
        {"title": "T", "text": "ü", "must_close": True},
        {"text": None, "for_s": 2.5},
        {"id": 1, "allowed": False},
    )
)
_WANTED: tuple[dict[str, Any], ...] = (
    {"title": str, "text": str, "timeout_s": float},
    {"title": str, "text": str, "must_close": bool},
    {"text": (str, type(None)), "for_s": float},
    {"id": int, "allowed": bool},
)


def check_body(data: bytes) -> None:
    """A body is refused with 400 and words, or has each field of its kind, to be sent on as it is."""
    text = data.decode(errors="replace")
    for wanted in _WANTED:
        try:
            said = audience_api.fields_of(text, wanted)
        except web.HTTPBadRequest as refusal:
            expect(bool(json.loads(refusal.text or "")["error"]), "a refusal without words")
            continue
        expect(said.keys() == wanted.keys(), "other fields than asked for")
        expect(all(isinstance(said[key], kind) for key, kind in wanted.items()), "a field of another kind")
        json.dumps(said, ensure_ascii=False, allow_nan=False).encode()


_TEXTS = (
    b'{"ctrlChannel":"102938","type":"rtt","time":1}',
    b'{"ctrlChannel":102938,"type":"ping"}',
    b'{"ctrlChannel":"102938","type":"pong"}',
)


def check_text(data: bytes) -> None:
    """Any text is answered by itself, by a pong, or not at all."""
    text = data.decode(errors="replace")
    expect(control_reply(text) in (None, text, '{"ctrlChannel": "102938", "type": "pong"}'), "another answer")


_HEADERS = (
    b"127.0.0.1:8600\0http://127.0.0.1:8600\0token",
    b"[::1]:8600\0https://[::1]:8600\0",
    b"localhost:8600\0null\0\xff",
    b"console.example:8600\0http://console.example:8600\0token",
)
_OURS = {"localhost", "console.example"}


def check_headers(data: bytes) -> None:
    """Whatever the headers, the answer is yes or no: yes to our own names and addresses, and to the token, only."""
    host, origin, token, *_ = [*data.decode(errors="surrogateescape").split("\0"), "", ""]
    if guard.is_our_host(host, 8600, ("console.example",)):
        name = host.lower().rpartition(":")[0].strip("[]") if ":" in host else host.lower()
        expect(name in _OURS or guard.is_address(name) or host.lower() in _OURS, f"the host {host!r} is ours")
    if guard.is_our_origin(origin, host):
        expect(origin.lower().endswith("://" + host.lower()), "another page's origin is ours")
    expect(guard.is_token(token, "token") == (token == "token"), "another token is ours")  # noqa: S105


FUZZERS = [
    Fuzzer("console-body", "400 with words, or each field of its kind", mixed(_BODIES, tokens=JSON_TOKENS), check_body),
    Fuzzer("console-text", "the text itself, a pong, or nothing", mixed(_TEXTS, tokens=JSON_TOKENS), check_text),
    Fuzzer(
        "console-headers",
        "yes to our own names and token only",
        mixed(_HEADERS, tokens=(b"\0", b":", b"@", b"[", b"]", b"%", b"\xff", b"\xe2\x84\x80", b"1.2.3.4", b"://")),
        check_headers,
    ),
]
