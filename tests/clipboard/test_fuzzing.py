"""The laws of `fuzz/clipboard.py` can be broken: by an exception, by what is lost, by work that grows with the square."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from fuzz import clipboard, engine

from pommel.clipboard import frames
from pommel.sftp import codec

FUZZERS = {one.name: one for one in clipboard.FUZZERS}


def parsed(html: bytes) -> bytes:
    """As html.parser does it."""
    parser = HTMLParser()
    parser.feed(html.decode(errors="replace"))
    parser.close()
    return b""


def one_name(packet: codec._Cursor) -> tuple[bytes, codec.Attributes]:
    return packet.string(), codec.Attributes()


@pytest.mark.parametrize(
    ("name", "where", "what", "broken"),
    [
        ("clip-html", (clipboard, "plain_text"), parsed, "AssertionError|does not come back"),
        ("clip-sftp", (codec, "_name"), one_name, "comes back as another"),
        ("clip-frames", (frames, "_cut"), lambda forms, payload: [("text/rtf", payload)], "comes back as|more than"),
        ("clip-lists", (clipboard, "placed"), lambda paths: [(path, b"x") for path in paths], "two go to one place"),
    ],
)
def test_a_law_can_be_broken(
    monkeypatch: pytest.MonkeyPatch, name: str, where: tuple[object, str], what: Callable[..., object], broken: str
) -> None:
    monkeypatch.setattr(*where, what)
    with pytest.raises(engine.Broken, match=broken):
        engine.run(FUZZERS[name], seed=1, count=3000)


def test_an_input_that_takes_html_parser_a_minute_breaks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_CPU_S", 0.2)
    monkeypatch.setattr(clipboard, "plain_text", parsed)
    slow = engine.Fuzzer("it", "a law", lambda _: b"<a " * 12_000, clipboard.check_html)
    with pytest.raises(engine.Broken, match="TooSlow"):
        engine.run(slow, seed=1, count=1)


def test_servers_of_all_kinds_are_heard_and_some_refused() -> None:
    chance, make = random.Random(5), clipboard.sftp_make()
    heard = [clipboard.outcome(codec.ReplyReader().feed, [make(chance)]) for _ in range(500)]
    assert 100 < sum(refused for _, refused in heard) < 450
    assert len({type(reply[1]).__name__ for replies, _ in heard for reply in replies if isinstance(reply, tuple)}) == 7
