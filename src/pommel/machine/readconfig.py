"""QEMU's configuration file (-readconfig) as arguments, so that every rule sees its contents. Band: core, no I/O.

Its groups are the options of the command line under their own names (util/qemu-config.c): `[drive "disk"]` with
`file = "x.img"` is `-drive id=disk,file=x.img`. The caller reads the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from pommel.errors import UpstreamError
from pommel.machine.commandline import Argument, CommandLine, Note
from pommel.machine.suboptions import Pair, SubOptions

_GROUP = re.compile(r'\[\s*(?P<name>[A-Za-z0-9_-]+)(?:\s+"(?P<id>[^"]*)")?\s*\]\s*')
_PAIR = re.compile(r'(?P<key>[^\s="]+)\s*=\s*"(?P<value>[^"]*)"\s*')
# The option of each group, and the key that is implied on the command line.
_OPTIONS: dict[str, tuple[str, str | None]] = {
    "accel": ("accel", "accel"),
    "action": ("action", None),
    "audiodev": ("audiodev", "driver"),
    "boot-opts": ("boot", "order"),
    "chardev": ("chardev", "backend"),
    "device": ("device", "driver"),
    "drive": ("drive", None),
    "fsdev": ("fsdev", "fsdriver"),
    "fw_cfg": ("fw_cfg", "name"),
    "global": ("global", None),
    "icount": ("icount", "shift"),
    "iscsi": ("iscsi", None),
    "machine": ("machine", "type"),
    "memory": ("m", "size"),
    "mon": ("mon", "chardev"),
    "msg": ("msg", None),
    "name": ("name", "guest"),
    "netdev": ("netdev", "type"),
    "nic": ("nic", "model"),
    "numa": ("numa", "type"),
    "object": ("object", "qom-type"),
    "overcommit": ("overcommit", None),
    "rtc": ("rtc", "base"),
    "sandbox": ("sandbox", "enable"),
    "smp-opts": ("smp", "cpus"),
    "spice": ("spice", None),
    "tpmdev": ("tpmdev", "type"),
    "vnc": ("vnc", "vnc"),
}


def expanded(line: CommandLine, read: Callable[[str], str]) -> CommandLine:
    """Replace each -readconfig by the contents of its file. `read` returns the text of a file.

    Raises:
        UpstreamError: a file cannot be read, or has unknown contents.
    """
    for argument in line.find("readconfig"):
        name = argument.value or ""
        found = (replace(each, written=argument.written) for each in arguments_in(read(name), name))
        line = line.replace(argument, *found)
    return line


def arguments_in(text: str, name: str) -> list[Argument]:
    """The arguments of the configuration file `name` with this text.

    Raises:
        UpstreamError: it has an unknown line or group; the message names it.
    """
    groups: list[tuple[str, str | None, list[Pair]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if (group := _GROUP.fullmatch(line)) and group["name"] in _OPTIONS:
            groups.append((group["name"], group["id"], []))
        elif (pair := _PAIR.fullmatch(line)) and groups:
            groups[-1][2].append((pair["key"], pair["value"]))
        else:
            raise UpstreamError(
                f"-readconfig {name}: line {number} cannot be read: {line[:200]}",
                hint="write its contents as options into the boot script, and remove -readconfig",
            )
    return [_argument(name, *group) for group in groups if group[1] is not None or group[2]]


def _argument(file: str, group: str, called: str | None, pairs: list[Pair]) -> Argument:
    option, implied = _OPTIONS[group]
    head = next((value for key, value in pairs if key == implied), None)
    if head is not None and "=" not in head:
        pairs = [pair for pair in pairs if pair[0] != implied]
    else:
        head = None
    named: list[Pair] = [("id", called)] if called is not None else []
    made = Argument(f"-{option}", SubOptions(head, (*named, *pairs)).render())
    return replace(made, notes=(Note("readconfig", f"read from {file}"),))
