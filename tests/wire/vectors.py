"""The golden vectors as Python values; tests/console runs the same file through the page's own codec."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel.wire import messages
from pommel.wire.messages import Command, Direction

PATH = Path(__file__).with_name("vectors.json")


@dataclass(frozen=True)
class Vector:
    name: str
    direction: Direction
    data: bytes
    message: Command
    one_way: bool


def load() -> list[Vector]:
    return [_vector(raw) for raw in json.loads(PATH.read_text())["vectors"]]


def _vector(raw: dict[str, Any]) -> Vector:
    fill = bytes.fromhex(raw["fill"][0]) * raw["fill"][1] if "fill" in raw else b""
    direction = Direction.TO_VIEWER if raw["direction"] == "to_viewer" else Direction.TO_ENDPOINT
    message = _message(raw["message"], fill)
    return Vector(raw["name"], direction, bytes.fromhex(raw["hex"]) + fill, message, "one_way" in raw)


def _message(raw: dict[str, Any], fill: bytes) -> Command:
    fields = {key: _field(key, value, fill) for key, value in raw.items() if key != "is"}
    made: Command = getattr(messages, raw["is"])(**fields)
    return made


def _field(key: str, value: Any, fill: bytes) -> Any:
    if key in ("image", "body", "chunk", "rgba"):
        return bytes.fromhex(value) + fill
    if key == "point":
        return messages.TouchPoint(**value)
    if key == "points":
        return tuple(messages.TouchPoint(**point) for point in value)
    if key == "displays":
        return tuple(messages.Display(**display) for display in value)
    return tuple(value) if key == "ids" else value
