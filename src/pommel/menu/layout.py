"""A machine's text in the list and in the pane. Band: face; pure.

Colour is never the only sign: each state has its word and its own glyph. Text from outside (names, QEMU's messages) is
never parsed as markup, and `plain` removes control sequences of a terminal.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from textual.content import Content

from pommel.app.machine.machines import Status, spell_duration
from pommel.settings import format_size

ALIVE = ("starting", "installing", "running", "paused")
_GAP = "  "
_EDGE = 2  # a blank on each side
_KEY = 9  # the pane's first column
_NAME_LEAST, _NAME_MIN, _NAME_MAX = 4, 8, 40
_LOOKS = {
    "running": ("●", "$success"),
    "installing": ("●", "$accent"),
    "starting": ("◐", "$warning"),
    "paused": ("‖", "$warning"),
    "crashed": ("✕", "$error"),
    "stopped": ("○", "dim"),
    "asleep": ("◌", "$secondary"),
    "absent": ("·", "dim"),
}
_AT_WORK = ("◐", "$accent")
# CSI, OSC and the other escape sequences (ECMA-48), then lone control characters
_CONTROLS = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column after the name. If there is little space, the column with the lowest `last` is removed first."""

    title: str
    width: int
    text: Callable[[Status], str]
    last: int
    right: bool = True


def plain(text: str) -> str:
    """The text without escape sequences and control characters, and with blanks for tabs."""
    return _CONTROLS.sub("", text).expandtabs(8)


def columns(width: int, names: Iterable[str]) -> tuple[int, Sequence[Column]]:
    """The width of the name, and the columns after it, on a line of `width` cells."""
    longest = min(_NAME_MAX, max([_NAME_MIN, *map(len, names)]))
    chosen = list(_COLUMNS)
    while chosen and width - _room(chosen) < (_NAME_LEAST if len(chosen) == 1 else min(longest, 12)):
        chosen.remove(min(chosen, key=lambda column: column.last))
    spare = width - _room(chosen) - longest
    if chosen and chosen[-1].title == "SCREEN" and spare >= _ADDRESS.width - chosen[-1].width:
        chosen[-1] = _ADDRESS
    return max(1, min(longest, width - _room(chosen))), chosen


def header(width: int, names: Iterable[str]) -> Content:
    """The columns' titles."""
    name, chosen = columns(width, names)
    cells = [_fit("NAME", name), *(_fit(column.title, column.width, right=column.right) for column in chosen)]
    return Content.styled(" " + _GAP.join(cells), "dim")


def line(seen: Status, width: int, names: Iterable[str], *, doing: str = "") -> Content:
    """One machine's line; `doing` is the menu's work on it, which is shown instead of its state."""
    name, chosen = columns(width, names)
    parts: list[Any] = [" ", (_fit(seen.name, name), "dim" if seen.state == "absent" else "bold")]
    for column in chosen:
        text = _fit(column.text(seen), column.width, right=column.right)
        style = "dim"
        if column.title == "STATE":
            glyph, style = _AT_WORK if doing else look(seen.state)
            text = _fit(f"{glyph} {doing or seen.state}", column.width)
        elif seen.state in ALIVE:
            style = ""
        parts += [_GAP, (text, style) if style else text]
    return Content.assemble(*parts)


def look(state: str) -> tuple[str, str]:
    """The glyph and the style of a state."""
    return _LOOKS.get(state, ("?", "$warning"))


def details(seen: Status, width: int, *, doing: str = "") -> Content:
    """The pane's text about a machine, in lines of at most `width` cells; an address may be longer."""
    glyph, style = _AT_WORK if doing else look(seen.state)
    said = [("state", f"{glyph} {doing or seen.state}" + (f": {plain(seen.detail)}" if seen.detail else ""))]
    if seen.pid:
        said.append(
            ("running", _joined(f"for {spell_duration(seen.uptime_s)}", seen.accel, f"pid {seen.pid}", _viewers(seen)))
        )
        said.append(("screen", seen.url or "press c to open it"))
        where = f"127.0.0.1:{seen.ssh_port}" if seen.ssh_port else "its own address"
        said.append(("ssh", f"pommel ssh {seen.name}   ({where}, {seen.ssh_user})"))
        said.append(("uses", _joined(_cpu(seen) and f"CPU {_cpu(seen)}", _memory(seen) and f"memory {_memory(seen)}")))
    if (disk := _disk(seen)) != "":
        said.append(("disk", disk.replace("/", " of ")))
    if seen.golden:
        said.append(("golden", "it is only a base for clones"))
    if seen.directory:
        said.append(("folder", seen.directory))
    elif not doing:
        said.append(("", "press s to create and start it"))
    rows = [_pair(key, value, style if key == "state" else "", width) for key, value in said if value]
    return Content("\n").join(rows)


def summary(machines: Sequence[Status]) -> str:
    """The number of machines."""
    alive = sum(seen.state in ALIVE for seen in machines)
    made = sum(seen.state != "absent" for seen in machines)
    if not made:
        return "no machines yet"
    return f"{made} machine{'s' if made > 1 else ''}, {alive or 'none'} running"


def port(url: str) -> int | None:
    """The port of an address."""
    return urlsplit(url).port


def _pair(key: str, value: str, style: str, width: int) -> Content:
    """A name and its value, wrapped beside it. An address that does not fit is on its own line, to stay complete."""
    beside = max(10, width - _KEY)
    lines = textwrap.wrap(value, beside, break_long_words=False, break_on_hyphens=False)
    parts: list[Any] = [(key.ljust(_KEY), "dim")]
    for number, text in enumerate(lines):
        whole = len(text) > beside
        if number or whole:
            parts.append("\n" if whole else "\n" + " " * _KEY)
        parts.append((text, style) if style else text)
    return Content.assemble(*parts)


def _joined(*parts: str | None) -> str:
    return " · ".join(part for part in parts if part)


def _fit(text: str, width: int, *, right: bool = False) -> str:
    text = text if len(text) <= width else text[: max(0, width - 1)] + "…"
    return text.rjust(width) if right else text.ljust(width)


def _room(chosen: Sequence[Column]) -> int:
    return _EDGE + sum(column.width + len(_GAP) for column in chosen)


def _up(seen: Status) -> str:
    if seen.uptime_s is None:
        return ""
    return re.sub(r"(\d) (h|min|s|d)", lambda m: m[1] + m[2][0], spell_duration(seen.uptime_s))


def _cpu(seen: Status) -> str:
    return "" if seen.cpu_percent is None else f"{seen.cpu_percent:.0f}%"


def _memory(seen: Status) -> str:
    return _size(seen.memory_bytes)


def _disk(seen: Status) -> str:
    used, size = _size(seen.disk_used_bytes), _size(seen.disk_size_bytes)
    return f"{used}/{size}" if seen.disk_size_bytes else used if seen.disk_used_bytes else ""


def _viewers(seen: Status) -> str:
    return f"{seen.viewers} viewing" if seen.viewers else ""


def _size(size: int | None) -> str:
    return "" if size is None else format_size(size).replace(" ", "").replace("iB", "")


def _ssh(seen: Status) -> str:
    return str(seen.ssh_port or "") if seen.pid else ""


def _port(seen: Status) -> str:
    return f":{port(seen.url)}" if seen.url else ""


def _address(seen: Status) -> str:
    """The console's address without the token, so that nobody can read the token from the screen."""
    return seen.url.partition("/?")[0] if seen.url else ""


_COLUMNS = (
    Column("STATE", 11, lambda seen: seen.state, 9, right=False),
    Column("UP", 7, _up, 6),
    Column("CPU", 5, _cpu, 4),
    Column("MEM", 6, _memory, 3),
    Column("DISK", 11, _disk, 2),
    Column("SSH", 5, _ssh, 5),
    Column("SCREEN", 6, _port, 7),
)
_ADDRESS = replace(_COLUMNS[-1], width=22, text=_address, right=False)
