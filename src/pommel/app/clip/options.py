"""The options of a clipboard sync. Band: app. It imports little, because every `start` imports it."""

from __future__ import annotations

from dataclasses import dataclass

from pommel.clipboard.content import LIMIT_BYTES

HAND_OVER_S = 60.0  # for one copy that a person waits for


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """See clipboard.sync.Settings. `every_ms` None: the default interval.

    `with_machine`: the sync ends with its machine.
    """

    direction: str = "both"  # both | host-to-guest | guest-to-host
    selection: str = "clipboard"  # clipboard | primary
    limit_bytes: int = LIMIT_BYTES
    history: int = 0
    every_ms: int | None = None
    with_machine: bool = False
