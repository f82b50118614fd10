"""The drives of a command line, in all of QEMU's spellings. Band: core, no I/O.

A drive is what a device is connected to: a -drive, or the topmost of the -blockdev nodes over one file. -hda and
similar options are first written as -drive (`spelled_out`), as QEMU itself does (system/vl.c). This module does not
decide which drive belongs to whom; `upstream_files` does.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pommel.errors import UpstreamError
from pommel.machine.commandline import Argument, CommandLine
from pommel.machine.keyed import Keyed
from pommel.machine.suboptions import Pair, SubOptions

# QEMU's translation of each (`drive_add`): the pairs after the file.
_SHORT: dict[str, tuple[Pair, ...]] = {
    "hda": (("index", "0"), ("media", "disk")),
    "hdb": (("index", "1"), ("media", "disk")),
    "hdc": (("index", "2"), ("media", "disk")),
    "hdd": (("index", "3"), ("media", "disk")),
    "cdrom": (("index", "2"), ("media", "cdrom")),
    "pflash": (("if", "pflash"),),
    "sd": (("if", "sd"),),
}
_CHAIN_MAX = 16
_PAIRS_MAX = 2000  # the options of a drive with all its nodes
_LOCAL = (None, "file", "host_device", "host_cdrom", "raw")
_NOTHING = ("null-co", "null-aio")
_NUMBER = re.compile(r"[0-9]{1,9}")
_UNIT = re.compile(r"pflash(\d)\Z")


@dataclass(frozen=True, slots=True)
class Node:
    """One level of a drive: its argument, and the prefix of its keys there (`file.`).

    `keyed` is the argument's parsed value.
    """

    argument: Argument
    prefix: str = ""
    keyed: Keyed = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keyed", _keyed(self.argument))

    def get(self, key: str) -> str | None:
        """The value of this level's `key`."""
        return self.keyed.get(self.prefix + key)


@dataclass(frozen=True, slots=True)
class Drive:
    """One drive. `nodes` are its levels from the top to the file; `flash` is its unit if it holds the firmware."""

    nodes: tuple[Node, ...]
    file: str  # as written; `nbd:` and the like for files without a path
    plugs: tuple[Argument, ...]
    flash: int | None = None

    @property
    def argument(self) -> Argument:
        """The argument that the device names."""
        return self.nodes[0].argument

    @property
    def name(self) -> str | None:
        """The name that the device uses."""
        return self._get("node-name" if self.argument.name == "blockdev" else "id")

    @property
    def text(self) -> str:
        """The drive as it is written in the script."""
        return self.argument.text

    @property
    def interface(self) -> str | None:
        """The interface to which QEMU connects it by itself; None: the machine type's default."""
        return "none" if self.argument.name == "blockdev" else self._get("if")

    @property
    def format(self) -> str | None:
        """The image's format, if it is given."""
        if self.argument.name == "drive":
            said = self._get("format") or self._get("driver")
            return None if said in _LOCAL and said != "raw" else said
        drivers = [node.get("driver") for node in self.nodes[:-1]]
        return next((driver for driver in reversed(drivers) if driver in FORMATS), "raw")

    @property
    def is_readonly(self) -> bool:
        """Whether it is read-only."""
        return self.argument_is_on("readonly", "read-only")

    @property
    def discards(self) -> bool:
        """Whether writes to it are discarded."""
        return self.argument_is_on("snapshot")

    @property
    def is_removable(self) -> bool:
        """Whether it is a CD or a floppy."""
        heads = [Keyed.parse("device", plug.value or "").get("driver") or "" for plug in self.plugs]
        return (
            self._get("media") == "cdrom"
            or self.interface == "floppy"
            or any(head.endswith("-cd") or head == "floppy" for head in heads)
        )

    @property
    def is_shown(self) -> bool:
        """Whether the guest sees it."""
        return bool(self.plugs) or self.interface != "none"

    @property
    def is_on_usb(self) -> bool:
        """Whether it is a USB stick: nobody installs to it."""
        return any(Keyed.parse("device", p.value or "").get("driver") == "usb-storage" for p in self.plugs)

    @property
    def boot_index(self) -> int | None:
        """Its place in the firmware's boot order."""
        found = [Keyed.parse("device", plug.value or "").get("bootindex") for plug in self.plugs]
        return next((int(text) for text in found if text and text.isdigit()), None)

    def argument_is_on(self, *keys: str) -> bool:
        """Whether one of these switches is on at the top level."""
        return self.nodes[0].keyed.is_on(*keys)

    def _get(self, key: str) -> str | None:
        return self.nodes[0].get(key)


FORMATS = ("raw", "qcow2", "qcow", "qed", "vmdk", "vdi", "vpc", "vhdx", "parallels", "dmg", "bochs", "cloop", "luks")


def spelled_out(argument: Argument) -> tuple[str, SubOptions] | None:
    """The -drive for -hda and similar options: option and value; None for any other argument."""
    if argument.name not in _SHORT:
        return None
    return "-drive", SubOptions(None, (("file", argument.value or ""), *_SHORT[argument.name]))


def with_drives_spelled_out(line: CommandLine) -> CommandLine:
    """The same line with a -drive for each short option."""
    for argument in line.arguments:
        if (out := spelled_out(argument)) is not None:
            line = line.replace(argument, replace(argument, option=out[0], value=out[1].render()))
    return line


def drives_in(line: CommandLine) -> list[Drive]:
    """The drives that have a file or another source, in the line's order."""
    named = _named(line)
    referenced = {ref for a in line.find("blockdev") for ref in _references(a) if ref in named}
    roots = line.find("drive", "blockdev", where=lambda a: _keyed(a).get("node-name") not in referenced)
    units, plugs = _flash_units(line), _plugs(line)
    found, free = [], iter(n for n in range(99) if n not in units.values())
    for argument in roots:
        nodes = tuple(_levels(argument, named))
        if (file := _file(nodes)) is None:
            continue
        is_node = argument.name == "blockdev"
        name = nodes[0].get("node-name" if is_node else "id")
        flash = units.get(name or "")
        if not is_node and nodes[0].get("if") == "pflash":
            said = argument.sub.get("unit") or argument.sub.get("index")
            flash = int(said) if said and _NUMBER.fullmatch(said) else next(free, 99)
        found.append(Drive(nodes, file, tuple(plugs.get(name, ())), flash))
    return found


def _plugs(line: CommandLine) -> dict[str | None, list[Argument]]:
    """The devices by the drive that each is connected to."""
    found: dict[str | None, list[Argument]] = {}
    for device in line.find("device"):
        if (name := _keyed(device).get("drive")) is not None:
            found.setdefault(name, []).append(device)
    return found


def without_drive(line: CommandLine) -> tuple[Argument, ...]:
    """The devices whose drive is not on the line."""
    made = {_keyed(a).get("node-name" if a.name == "blockdev" else "id") for a in line.find("drive", "blockdev")}
    return line.find("device", where=lambda a: (name := _keyed(a).get("drive")) is not None and name not in made)


def children_of(line: CommandLine, drive: Drive) -> tuple[Argument, ...]:
    """The further -blockdev arguments of a drive."""
    named = _named(line)
    found = [drive.argument] if drive.argument.name == "blockdev" else []
    for argument in found:  # the list grows in the loop
        found += [child for ref in _references(argument) if (child := named.get(ref)) and child not in found]
    return tuple(found[1:])


def inlined(line: CommandLine, drive: Drive) -> SubOptions:
    """A -blockdev drive as the value of one -drive that includes its further nodes: only a -drive can discard writes.

    Raises:
        UpstreamError: its nodes refer to each other in a loop.
    """
    named = _named(line)
    name: list[Pair] = [("id", drive.name)] if drive.name else []
    inside = list(itertools.islice(_pairs(drive.argument, "", named, _CHAIN_MAX), _PAIRS_MAX))
    if len(inside) == _PAIRS_MAX:
        raise UpstreamError(f"the nodes of {drive.text[:200]} refer to each other in a loop")
    return SubOptions(None, (*name, ("if", "none"), *inside))


def _pairs(argument: Argument, prefix: str, named: dict[str, Argument], depth: int) -> Iterator[Pair]:
    for key, value in _keyed(argument).pairs():
        if key == "node-name" and not prefix:
            continue  # it is the drive's id now, and QEMU has one name space for both
        child = named.get(value or "") if key.rpartition(".")[2] in ("file", "backing") else None
        if child is not None and depth:
            yield from _pairs(child, f"{prefix}{key}.", named, depth - 1)
        else:
            yield f"{prefix}{key}", value


def _named(line: CommandLine) -> dict[str, Argument]:
    return {name: a for a in line.find("blockdev") if (name := _keyed(a).get("node-name"))}


def _keyed(argument: Argument) -> Keyed:
    return Keyed.parse(argument.name, argument.value or "")


def _references(argument: Argument) -> list[str]:
    return [v for key, v in _keyed(argument).pairs() if v and key.rpartition(".")[2] in ("file", "backing")]


def _levels(argument: Argument, named: dict[str, Argument]) -> Iterator[Node]:
    node = Node(argument)
    for _ in range(_CHAIN_MAX):
        yield node
        keyed, prefix = node.keyed, node.prefix
        below = named.get(keyed.get(f"{prefix}file") or "") if argument.name == "blockdev" else None
        if keyed.has(f"{prefix}filename") or (argument.name == "drive" and keyed.has(f"{prefix}file")):
            return
        if below is not None:
            node = Node(below)
        elif keyed.has_under(f"{prefix}file"):
            node = Node(node.argument, f"{prefix}file.")
        else:
            return


def _file(nodes: tuple[Node, ...]) -> str | None:
    """The file that the lowest level names; "" if the script leaves it empty; None if nothing is read or written."""
    last = nodes[-1]
    driver = last.get("driver")
    if driver in _NOTHING:
        return None
    named = last.get("filename") or (last.get("file") if last.argument.name == "drive" else None)
    if driver not in _LOCAL and driver not in FORMATS:
        return f"{driver}:{named or ''}"
    return named or ("" if last.get("file") == "" and last.get("media") != "cdrom" else None)


def _flash_units(line: CommandLine) -> dict[str, int]:
    """The drives with the machine type's firmware, by name: `-machine pflash0=NAME`."""
    found: dict[str, int] = {}
    for machine in line.find("machine"):
        for key, value in machine.sub.pairs:
            if (unit := _UNIT.match(key)) and value:
                found[value] = int(unit[1])
    return found
