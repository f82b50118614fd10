"""The options to keep a guest's RAM in a file, and the comparison of command lines for it. Band: core, no I/O.

A shared file receives what the guest writes. With a private mapping, each guest gets its own copy of a page when it
writes to it (mmap(2), MAP_PRIVATE), so that any number of guests can continue from the same file. QEMU's own state is
then a migration stream without RAM (qapi/migration.json, `x-ignore-shared`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pommel.machine.commandline import CommandLine
from pommel.machine.rules.memory import bytes_of

_ID = "pommel-memory"
_SIZE = re.compile(r"[0-9.]+[A-Za-z]?\Z")
_PACKED = re.compile(r"[^,=\s]*/opencore/[0-9a-f]+/")  # packed for the one Mac, and read at boot only


def why_not(line: CommandLine) -> str | None:
    """Why a machine's RAM cannot be in a file of ours; None: it can."""
    if any(argument.sub.has("memory-backend") for argument in line.find("machine")) or line.find("numa"):
        return "its command line says already where its memory is"
    if size_bytes(line) is None:
        return "its command line does not say how much memory it has"
    return None


def size_bytes(line: CommandLine) -> int | None:
    """The size of the machine's RAM; None: it is not given, or more can be plugged in."""
    found = line.find("m")
    if len(found) != 1 or found[0].sub.has("maxmem"):
        return None
    said = (found[0].sub.get("size") or found[0].value or "").strip()
    return (bytes_of(said, "M") or None) if _SIZE.match(said) else None


def words(size: int, ram: str, *, share: bool, generation: bool) -> list[str]:
    """The arguments for a machine whose RAM of `size` bytes is in the file `ram`.

    With `generation` the guest gets a generation ID, a different one in each clone, so that it knows that its memory
    was copied: Linux then makes new random numbers (drivers/virt/vmgenid.c; "Virtual Machine Generation ID",
    Microsoft).
    """
    comma = ram.replace(",", ",,")
    backend = f"memory-backend-file,id={_ID},size={size},mem-path={comma},share={'on' if share else 'off'}"
    told = ["-device", "vmgenid,guid=auto"] if generation else []
    return ["-object", backend, "-machine", f"memory-backend={_ID}", *told]


def comparable(argv: Sequence[str], own: Mapping[str, str]) -> list[str]:
    """A command line without the parts of one machine (`own`: text, by its replacement), for comparison."""
    longest = sorted((text for text in own if text), key=len, reverse=True)
    found = []
    for word in argv:
        told = word
        for text in longest:
            told = re.sub(rf"(?<![A-Za-z0-9]){re.escape(text)}(?![A-Za-z0-9])", f"<{own[text]}>", told)
        found.append(_PACKED.sub("<opencore>/", told))
    return found
