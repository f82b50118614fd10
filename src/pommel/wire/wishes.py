"""What a viewer may say that changes only what it is sent itself. Band: core, no I/O."""

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
    """Whether one who may only look may send this. What is not known changes something."""
    return isinstance(command, _WISHES) or command == wire.InputLock(wire.QUERY_LOCK)
