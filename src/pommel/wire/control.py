"""MeshCentral's control channel: JSON texts beside the KVM commands, for the other end. Band: core, no I/O.

Such a text has the key `ctrlChannel` (public/scripts/agent-redir-ws-0.1.1.js); texts without it have another purpose.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pommel.foreign import parse_json

CHANNEL = "102938"


def control(said: Mapping[str, object]) -> str:
    """A control text with these values; its key `type` is the kind of the message."""
    return json.dumps({"ctrlChannel": CHANNEL, **said})


def read_control(text: str) -> dict[str, Any] | None:
    """The values of a control text; None: it is not one."""
    try:
        said = parse_json(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) and str(said.get("ctrlChannel")) == CHANNEL else None
