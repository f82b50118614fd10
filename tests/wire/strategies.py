"""Hypothesis strategies for every command, by direction."""

from __future__ import annotations

from hypothesis import strategies as st

from pommel.wire import messages as m

u8, u16, u32 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32))
i16 = st.integers(-0x8000, 0x7FFF)
text = st.text(st.characters(max_codepoint=0xFF), max_size=40)
point = st.builds(m.TouchPoint, u8, u32, u16, u16)
display = st.builds(m.Display, u16, u16, u16, u16, u16)
image = st.one_of(st.binary(max_size=200), st.integers(65_500, 65_560).map(lambda n: b"\xa5" * n))

side = st.integers(0, 12)
pointer = st.tuples(side, side, u16, u16).flatmap(
    lambda one: st.builds(
        m.Pointer, *map(st.just, one), st.binary(min_size=4 * one[0] * one[1], max_size=4 * one[0] * one[1])
    )
)

_compression = st.one_of(
    st.builds(m.Compression, u8, u8),
    st.builds(m.Compression, u8, u8, u16),
    st.builds(m.Compression, u8, u8, u16, u16),
)
_both = [
    st.just(m.Nop()),
    st.builds(m.SetDisplay, u16),
    st.builds(m.Message, text),
    st.just(m.Disconnect()),
    st.builds(m.InputLock, u8),
    st.builds(m.Unknown, st.integers(210, 0xFFFF), st.binary(max_size=50)),
]
to_endpoint = st.one_of(
    *_both,
    st.builds(m.Key, u8, st.booleans(), st.booleans()),
    st.builds(m.Mouse, u16, u16, u8),
    st.builds(m.MouseWheel, u16, u16, st.integers(-0x7FFF, 0x7FFF)),
    _compression,
    st.just(m.Refresh()),
    st.builds(m.Pause, st.booleans()),
    st.just(m.CtrlAltDel()),
    st.just(m.GetDisplays()),
    st.builds(m.FrameRateTimer, u16),
    st.just(m.InitTouch()),
    st.builds(m.Touch, point),
    st.builds(m.MultiTouch, st.lists(point, max_size=5).map(tuple)),
    st.builds(m.KeyUnicode, u16, st.booleans()),
    st.builds(m.Abilities, u16),
    st.builds(m.Shown, u32),
    st.builds(m.Turn, u16, u16, i16, i16),
    st.builds(m.SideButton, u16, u16, u8, st.booleans()),
    st.builds(m.MoveBy, i16, i16, u8),
)
to_viewer = st.one_of(
    *_both,
    st.builds(m.Picture, u16, u16, image),
    st.builds(m.Video, u16, u16, u16, u16, u8, u8, image),
    st.builds(m.Copy, u16, u16, u16, u16, u16, u16),
    st.builds(m.Screen, u16, u16),
    st.builds(m.DisplayList, st.lists(u16, max_size=5).map(tuple), u16),
    st.builds(m.TouchReady, u16),
    st.just(m.ResetTouches()),
    st.builds(m.KeyState, u8),
    st.builds(m.Debug, text),
    st.builds(m.Alert, text),
    st.builds(m.DisplayInfo, st.lists(display, max_size=5).map(tuple)),
    st.builds(m.MouseCursor, st.sampled_from(m.CursorShape)),
    pointer,
    st.builds(m.MouseKind, u16),
    st.builds(m.Move, u16, u16, u16, u16, u16, u16),
)
