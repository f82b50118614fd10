from __future__ import annotations

import base64
import contextlib
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.clipboard.content import EMPTY, HTML, JPEG, PNG, TEXT, Content, HeldBack, content_of, foreign, text_of
from pommel.clipboard.frames import Copied, Done, FrameReader, Hello, Message, Pong, limit_line, ping_line, write_frame
from pommel.errors import ProtocolError

HELLO = b"POMMEL-CLIPBOARD 1 mac text,png,new user=ann console=bob\n"
SAID = [
    (HELLO, Hello("mac", frozenset({TEXT, PNG}), {"user": "ann", "console": "bob"})),
    (b"copy 1 empty\n", Copied(1, EMPTY)),
    (b"copy 2 raw text:3,png:4 +7\nabc\n\n\n\n", Copied(2, content_of({TEXT: b"abc", PNG: b"\n\n\n\n"}))),
    (b"copy 3 base64 text +8\n" + base64.b64encode(b"\xc3\xbc\r\n"), Copied(3, text_of("ü\r\n"))),
    (b"copy 9 foreign +8\na.b\nc\x1b\xff.", Copied(9, foreign(["a.b", "c\ufffd\ufffd."]))),
    (b"copy 3 base64 jpeg +8\n" + base64.b64encode(b"\xff\0jpeg"), Copied(3, content_of({JPEG: b"\xff\0jpeg"}))),
    (b"copy 3 base64 string +4\n" + base64.b64encode(b"\xfc\0"), Copied(3, text_of("ü"))),
    (b"copy 3 base64 string +4\n" + base64.b64encode("ü\0".encode()), Copied(3, text_of("ü"))),
    (b"copy 3 base64 compound +8\n" + base64.b64encode(b"\x1b-L\xbf"), Copied(3, text_of("П"))),
    (
        b"copy 3 base64 compound +8\n" + base64.b64encode(b"\x1b-z\xa1"),
        Copied(3, foreign(["compound text's set ESC - z"], 4, HeldBack.CHARSET)),
    ),
    (b"copy 9 foreign +19\nTARGETS\nTIMESTAMP\na", Copied(9, foreign(["a"]))),
    (b"copy 6 held late\n", Copied(6, Content(held=HeldBack.LATE))),
    (b"copy 4 held secret\n", Copied(4, Content(held=HeldBack.SECRET))),
    (b"copy 5 held large 99\n", Copied(5, Content(held=HeldBack.TOO_LARGE, size=99))),
    (b"copy 6 held whatever\n", Copied(6, Content(held=HeldBack.UNREADABLE))),
    (b"done 7\n", Done(7, True)),
    (b"failed 8\n", Done(8, False)),
    (b"pong 9\n", Pong(9)),
]


def heard(*pieces: bytes, limit: int = 100) -> list[Message]:
    reader = FrameReader(limit)
    return [message for piece in pieces for message in reader.feed(piece)]


def test_whole_and_byte_by_byte() -> None:
    stream = b"".join(said for said, _ in SAID)
    meant = [message for _, message in SAID]
    assert heard(stream) == meant
    assert heard(*(bytes([byte]) for byte in stream)) == meant


@given(st.lists(st.integers(0, sum(len(said) for said, _ in SAID))))
def test_however_it_is_cut(cuts: list[int]) -> None:
    stream = b"".join(said for said, _ in SAID)
    pieces = [stream[a:b] for a, b in pairwise(sorted([0, *cuts, len(stream)]))]
    assert heard(*pieces) == [message for _, message in SAID]


def test_a_talkative_login_shell() -> None:
    noise = b"Welcome!\n" * 100 + b"\xff\xfe prompt$ "
    assert heard(noise + HELLO + b"pong 1\n") == [SAID[0][1], Pong(1)]
    with pytest.raises(ProtocolError, match="does not stop"):
        heard(b"Welcome!\n" * 100_000)
    with pytest.raises(ProtocolError, match="too long"):
        heard(b"x" * 300_000)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\n",
        b"copy\n",
        b"copy x empty\n",
        b"copy -1 empty\n",
        b"copy 1 raw text:5 +3\nabc",
        b"copy 1 raw text:2 +3\nabc",
        b"copy 1 raw other:3 +3\nabc",
        b"copy 1 raw text +3\nabc",
        b"copy 1 raw +0\n",
        b"copy 1 base64 text +3\n===",
        b"copy 1 base64 html +4\nAAAA",
        b"copy 1 empty +999999999999\n",
        b"copy 1 raw text:1 +\n",
        b"done\n",
        b"done 1 2\n",
        b"done 99999999999999999999\n",
        b"what is this\n",
        b"caf\xc3\xa9\n",
        b"x" * 2000,
        b"x" * 2000 + b"\n",
        b"POMMEL-CLIPBOARD 1 mac text user=\x1b[2J\n",
        b"done\t1\n",
    ],
)
def test_nonsense_is_refused(nonsense: bytes) -> None:
    with pytest.raises(ProtocolError):
        heard(HELLO + nonsense)


@given(st.binary())
def test_any_bytes_are_messages_or_refused(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        heard(HELLO + data)


def test_a_greeting_with_control_characters_is_refused() -> None:
    """Its words are shown on a terminal."""
    with pytest.raises(ProtocolError, match="an invalid line"):
        heard(b"POMMEL-CLIPBOARD 1 ma\x1bc text user=x\n")


def test_a_shell_that_prints_a_letter_at_a_time_costs_no_more() -> None:
    """Each letter is searched for the end of its line once."""
    reader, began = FrameReader(limit=1000), time.process_time()
    for _ in range(200_000):
        assert not list(reader.feed(b"x"))
    assert time.process_time() - began < 1.5
    assert len(list(reader.feed(b"\n" + HELLO))) == 1


def test_no_more_than_agreed_on() -> None:
    assert isinstance(heard(HELLO + b"copy 1 raw text:4 +4\nabcd", limit=4)[1], Copied)
    encoded = base64.b64encode(b"abcd")
    assert heard(HELLO + b"copy 1 base64 text +8\n" + encoded, limit=4)[1] == Copied(1, text_of("abcd"))
    with pytest.raises(ProtocolError, match="more than the 4 agreed on"):
        heard(HELLO + b"copy 1 raw text:100 +100\n", limit=4)


def test_what_the_host_says() -> None:
    assert limit_line(10, 25) == b"limit 10 25\n"
    assert ping_line(3) == b"ping 3\n"
    assert write_frame(1, EMPTY) == [b"write 1 empty\n"]
    rich = content_of({TEXT: b"t\n", HTML: b'<meta charset="utf-8">x'})
    assert write_frame(2, rich) == [b"write 2 text:2,html:23 +25\n", b"t\n", b'<meta charset="utf-8">x']
