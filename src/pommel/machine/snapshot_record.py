"""The record of a snapshot beside the snapshot itself, and its valid names. Band: core, no I/O.

The data is inside the qcow2 disks, under the same tag; the record has what they cannot store: reason, time and disks.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from pommel.errors import UsageError

FORMAT = 1
# qemu-img reads a tag of digits as one of qcow2's own ids, and one that begins with "-" as an option.
_TAG = re.compile(r"(?!\d+\Z)[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
SLEEP_TAG = "asleep"  # for a machine that was put to sleep on disk (`savestate`)
_AUTOMATIC = "before-load"
TIMED_TAG = re.compile(r"auto-[0-9]{8}-[0-9]{6}\Z")  # for the snapshots of the timer (`schedule`)
TIMED_NOTE = "made by the timer"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot. `disks` are file names in the machine's folder; `created` is ISO 8601 in UTC.

    `ram`: it contains the running guest's RAM. `note` is the reason why it does not, if that is unexpected, or why an
    automatic snapshot was made. `left_out` names writable drives of the guest that it does not
    contain.
    """

    tag: str
    created: str
    disks: tuple[str, ...]
    ram: bool
    nvram: bool
    ram_bytes: int = 0  # the size of RAM and devices inside the first disk
    note: str = ""
    left_out: tuple[str, ...] = ()


def check_tag(tag: str) -> str:
    """Return `tag` if it is a valid name for a snapshot.

    Raises:
        UsageError: it is not.
    """
    if not _TAG.match(tag):
        raise UsageError(
            f"{tag!r} cannot be a snapshot's name",
            hint="use 1 to 64 of A-Z a-z 0-9 . _ - beginning with a letter or digit, and not digits alone",
        )
    if tag == SLEEP_TAG or tag.startswith(_AUTOMATIC) or TIMED_TAG.match(tag):
        raise UsageError(f"{tag!r} is a name that Pommel reserves", hint="choose another")
    return tag


def automatic_tag(taken: set[str]) -> str:
    """A tag for the snapshot of the state before a load, different from all in `taken`."""
    number = 1
    while (tag := f"{_AUTOMATIC}-{number}") in taken:
        number += 1
    return tag


def render(snapshot: Snapshot) -> str:
    """The snapshot's record as JSON text."""
    return json.dumps({"format": FORMAT, **asdict(snapshot)}, indent=2, ensure_ascii=False) + "\n"


def parse(text: str) -> Snapshot:
    """Parse a snapshot's record.

    Raises:
        ValueError: it cannot be used; the text says why.
    """
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as failure:
        raise ValueError(f"it is not JSON ({failure})") from failure
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
        raise ValueError(f"it is not a record of format {FORMAT}")
    kinds = {field.name: str(field.type) for field in fields(Snapshot)}
    if unlike := sorted(kinds.keys() ^ found.keys()):
        raise ValueError(f"{unlike[0]!r} is missing or unknown")
    for key, value in found.items():
        found[key] = _checked(key, kinds[key], value)
    return Snapshot(**found)


def _checked(key: str, kind: str, value: Any) -> Any:
    if kind == "tuple[str, ...]" and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if kind == type(value).__name__:
        return value
    raise ValueError(f"{key} is {value!r}")
