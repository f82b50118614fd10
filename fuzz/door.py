"""What strangers and onlookers send to a console (`console`): its doors' headers, and a view-only viewer's commands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from fuzz.codec import outcome, seeds
from fuzz.engine import Fuzzer, expect, mixed, pieces
from pommel.console import guard, pages
from pommel.console.passes import Secrets
from pommel.console.visitors import name_of
from pommel.errors import WireError
from pommel.wire.looking import Looking
from pommel.wire.messages import Direction
from pommel.wire.wishes import is_wish

_HEADERS = [
    b"127.0.0.1:8600", b"[::1]:8600", b"mac.lan", b"localhost:8600", b"http://127.0.0.1:8600", b"a\xff", b"\xed\xa0\x80",
    b"pommel_8600=x; pommel_8600=y", b"a=\"b; pommel_8600=secret", b"Mozilla/5.0 (X11; Linux) Firefox/140.0", b"null",
]  # fmt: skip
_KEPT = Secrets("token", "look-token")


def check_headers(data: bytes) -> None:
    """Any header is judged, none is somebody, and what is said of it is text that can be sent."""
    said = data.decode(errors="surrogateescape")
    judged = guard.is_host(said)
    ours = guard.is_our_host(said, 8600, ["mac.lan"])
    expect(judged or not ours or not said.isascii(), "a host is ours that is none")
    foreign = guard.is_our_origin(said, "127.0.0.1:8600") and said.lower() not in _ORIGINS
    expect(not foreign, "an origin is ours that is not")
    expect((_KEPT.by_token(said) is None) == (said not in ("token", "look-token")), "a token is taken for another")
    expect(_KEPT.by_pass(said, 0.0) is None, "nobody has a pass")
    expect(all(value in said for value in guard.cookies_named("pommel_8600", [said])), "a cookie was made up")
    name = name_of(said)
    expect(bool(name) and len(name) <= 40 and name.isprintable() and name.isascii(), f"a name like {name!r}")
    if judged:
        pages.wrong_host(said, 8600).encode()


_ORIGINS = ("http://127.0.0.1:8600", "https://127.0.0.1:8600")


class _Said:
    """A viewer that says these bytes."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts

    async def send(self, data: bytes) -> None:
        """Take nothing."""

    async def send_text(self, text: str) -> None:
        """Take nothing."""

    def unsent_bytes(self) -> int:
        """Hold nothing."""
        return 0

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield what it says."""
        for part in self._parts:
            yield part

    async def close(self, code: int, reason: str) -> None:
        """Leave."""


async def _passed(parts: Iterable[bytes]) -> bytes:
    found = b""
    try:
        async for passed in Looking(_Said(parts)).messages():
            found += passed
    except WireError:
        pass
    return found


def check_looking(data: bytes) -> None:
    """What comes through are wishes alone, in any pieces the same."""
    running, passed = _passed(pieces(data)), b""
    try:
        running.send(None)  # it waits for nothing, so that it ends in one step
    except StopIteration as ended:
        passed = ended.value
    commands, _ = outcome(Direction.TO_ENDPOINT, [data])
    through, refusal = outcome(Direction.TO_ENDPOINT, [passed])
    expect(refusal is None and all(map(is_wish, through)), "more than a wish came through")
    expect(through == [command for command in commands if is_wish(command)], "a wish was lost or made up")


FUZZERS = [
    Fuzzer("console-door", "any header is judged, nobody is let in by it", mixed(_HEADERS, joined=2), check_headers),
    Fuzzer(
        "console-looking",
        "who may only look sends wishes and nothing else",
        mixed(seeds()[Direction.TO_ENDPOINT], joined=4),
        check_looking,
    ),
]
