"""Who may only look: what of all that the wire knows is passed on."""

from __future__ import annotations

import pytest

from pommel.errors import WireError
from pommel.wire import messages as wire
from pommel.wire.codec import Decoder, encode
from pommel.wire.looking import Looking
from pommel.wire.messages import Direction

from .streams import Said

WISHES = (
    wire.Refresh(), wire.Compression(1, 50), wire.Pause(False), wire.GetDisplays(), wire.FrameRateTimer(50),
    wire.Abilities(3), wire.Shown(7), wire.InputLock(wire.QUERY_LOCK),
)  # fmt: skip
DEEDS = (
    wire.Mouse(1, 2), wire.Key(65, True), wire.KeyUnicode(97, True), wire.SetDisplay(1), wire.CtrlAltDel(),
    wire.MouseWheel(1, 2, 360), wire.Turn(1, 2, 3, 4), wire.SideButton(1, 2, 0, True), wire.MoveBy(3, 4, 0),
    wire.InputLock(1), wire.Disconnect(), wire.Message("hello"), wire.Nop(), wire.Unknown(250, b"of tomorrow"),
)  # fmt: skip


async def passed(*data: bytes) -> list[wire.Command]:
    decoder = Decoder(Direction.TO_ENDPOINT)
    async for piece in Looking(Said(*data)).messages():
        decoder.receive_data(piece)
    decoder.receive_eof()
    return list(decoder.events())


@pytest.mark.parametrize("size", [1, 5, 10_000])
async def test_only_wishes_are_passed_on_however_they_come(size: int) -> None:
    told = b"".join(encode(each) for pair in zip(WISHES, DEEDS, strict=False) for each in pair)
    told += b"".join(map(encode, DEEDS[len(WISHES) :]))
    assert await passed(*(told[at : at + size] for at in range(0, len(told), size))) == list(WISHES)


async def test_nonsense_is_no_command() -> None:
    with pytest.raises(WireError):
        await passed(b"\0\1\0\1")


def test_the_way_to_the_viewer_is_the_streams_own() -> None:
    stream = Said()
    looking = Looking(stream)
    assert (looking.send, looking.send_text, looking.close) == (stream.send, stream.send_text, stream.close)
    assert looking.unsent_bytes() == 7 and not hasattr(looking, "call_when_drained")
