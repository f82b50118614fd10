"""The commands of a viewer that only affect its own stream. Band: core, no I/O."""

from __future__ import annotations

from pommel.wire import messages as wire

_WISHES = (
    wire.Refresh,
    wire.Compression,
    wire.Pause,
    wire.GetDisplays,
    wire.FrameRateTimer,
    wire.Abilities,
    wire.Shown,
)


def is_wish(command: wire.Command) -> bool:
    """Whether a view-only viewer may send this. An unknown command may change something, so it is refused."""
    return isinstance(command, _WISHES) or command == wire.InputLock(wire.QUERY_LOCK)
