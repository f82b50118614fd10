#!/usr/bin/python3 -IS
"""Stand-ins for macOS's own programs that read and write property lists: documented arguments, all others refused.

mac.py PlistBuddy -c COMMAND FILE      PlistBuddy(8)
mac.py defaults write DOMAIN KEY …     defaults(1)
mac.py diskutil list -plist            diskutil(8), with the disks on standard input: a line each, with tabs,
                                       "disk NAME BYTES" or "volume DISK WHOLE DEVICE NAME ROLE MOUNT STORE";
                                       "-" stands for nothing. WHOLE is the disk that the volume's container is.
mac.py serve                           answers one call of `ask` after another
"""

from __future__ import annotations

import io
import os
import plistlib
import re
import shlex
import sys

# Under emulation each import is felt, and a script calls this program some sixty times.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


def refuse(text: str) -> NoReturn:
    """End as the program does, with a line on standard error."""
    print(text, file=sys.stderr)
    sys.exit(1)


def put(document: dict[str, Any]) -> None:
    """Write a property list to standard output."""
    sys.stdout.buffer.write(plistlib.dumps(document))


def read(path: str) -> dict[str, Any]:
    """The property list in a file; an empty one where there is none."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  pathlib takes long to import under emulation
            found: dict[str, Any] = plistlib.load(file)
            return found
    except FileNotFoundError:
        return {}


def write(path: str, document: dict[str, Any]) -> None:
    """Write a property list in place, as a binary one where it was one."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            form = plistlib.FMT_BINARY if file.read(6) == b"bplist" else plistlib.FMT_XML
    except FileNotFoundError:
        form = plistlib.FMT_XML
    with open(path, "wb") as file:  # noqa: PTH123
        plistlib.dump(document, file, fmt=form)


class Volume:
    """One line of the table of volumes; an empty text stands for nothing."""

    def __init__(self, disk: str, whole: str, device: str, name: str, role: str, mount: str, store: str) -> None:
        self.disk, self.whole, self.device, self.name = disk, whole, device, name
        self.role, self.mount, self.store = role, mount, store

    def about(self) -> dict[str, Any]:
        """What `diskutil info -plist` says of it."""
        found: dict[str, Any] = {
            "DeviceIdentifier": self.device,
            "VolumeName": self.name,
            "MountPoint": self.mount,
            "ParentWholeDisk": self.whole,
        }
        if self.store:
            found["APFSPhysicalStores"] = [{"APFSPhysicalStore": self.store}]
        return found


def disk_questions(words: list[str]) -> None:
    """The questions that diskutil answers with property lists."""
    rows = [["" if field == "-" else field for field in line.rstrip("\n").split("\t")] for line in sys.stdin]
    sizes = {row[1]: int(row[2]) for row in rows if row[0] == "disk"}
    volumes = [Volume(*row[1:]) for row in rows if row[0] == "volume"]
    for volume in volumes:  # a container is a disk of its own, a little smaller than what holds it
        sizes.setdefault(volume.whole, sizes[volume.disk] - 209_735_680)
    match words:
        case ["list", "-plist"]:
            put({"WholeDisks": list(sizes), "AllDisks": [*sizes, *(each.device for each in volumes)]})
        case ["info", "-plist", thing] if thing in sizes:
            put({"TotalSize": sizes[thing], "DeviceIdentifier": thing, "WholeDisk": True})
        case ["info", "-plist", thing]:
            found = [each for each in volumes if thing in (each.device, each.name, each.mount)]
            if not found:
                refuse(f"Could not find disk: {thing}")
            put(found[0].about())
        case ["apfs", "list", "-plist"]:
            put({"Containers": containers([each for each in volumes if each.store])})
        case _:
            refuse(f"diskutil: did not recognize {shlex.join(words)}")


def containers(volumes: list[Volume]) -> list[dict[str, Any]]:
    """The APFS containers, each with its volumes."""
    found: dict[str, dict[str, Any]] = {}
    for each in volumes:
        stores = [{"DeviceIdentifier": each.store}]
        whole = {"ContainerReference": each.whole, "PhysicalStores": stores, "Volumes": []}
        told = {"DeviceIdentifier": each.device, "Name": each.name, "Roles": [each.role] if each.role else []}
        found.setdefault(each.whole, whole)["Volumes"].append(told)
    return list(found.values())


def defaults(words: list[str]) -> None:
    """The `write` of defaults(1), by the file's path without its .plist."""
    match words:
        case ["write", domain, key, "-bool", ("true" | "false") as value]:
            made: object = value == "true"
        case ["write", domain, key, "-int", value]:
            made = int(value)
        case ["write", domain, key, "-array", *values]:
            made = [plistlib.loads(f"<plist>{v}</plist>".encode()) if v.startswith("<") else v for v in values]
        case ["write", domain, key, value] if not value.startswith("-"):
            made = value
        case _:
            refuse(f"defaults: {shlex.join(words)}")
    write(f"{domain}.plist", {**read(f"{domain}.plist"), key: made})


def keys_of(path: str) -> list[str]:
    """The keys in a path such as :'AC Power':0."""
    return [shlex.split(part)[0] for part in path.lstrip(":").split(":")]


def plist_buddy(words: list[str]) -> None:
    """One command of PlistBuddy(8): Print, Set, Add or Delete."""
    if len(words) != 3 or words[0] != "-c":
        refuse(f"PlistBuddy: {shlex.join(words)}")
    command, path = words[1], words[2]
    verb, _, rest = command.partition(" ")
    if verb == "Print" and not os.path.exists(path):  # noqa: PTH110
        refuse("Error Reading File")
    document = read(path)
    if verb == "Print":
        show(find(document, keys_of(rest)))
        return
    if verb == "Delete":
        *way, last = keys_of(rest)
        owner = find(document, way)
        if last not in owner:
            refuse(f'Delete: Entry, "{rest}", Does Not Exist')
        del owner[last]
    else:
        found = re.fullmatch(r"((?::(?:'[^']*'|[^ ':]+))+) (.*)", rest)
        if not found or verb not in ("Set", "Add"):
            refuse(f"Unrecognized Command {command}")
        change(document, verb, keys_of(found[1]), found[2])
    write(path, document)


def change(document: dict[str, Any], verb: str, way: list[str], words: str) -> None:
    """Set or add one entry."""
    *outer, last = way
    kind, _, value = words.partition(" ") if verb == "Add" else ("", "", words)
    if verb == "Set":
        owner = find(document, outer)
        if last not in owner:
            refuse("Set: Entry, Does Not Exist")
        owner[last] = type(owner[last])(value)
        return
    made: Any = {"string": str, "integer": int, "array": list}[kind](value)
    holder: Any = document
    for key in outer:
        holder = holder.setdefault(key, {})
    if isinstance(holder, list):
        holder.insert(int(last), made)
    elif last in holder:
        refuse("Add: Entry Already Exists")
    else:
        holder[last] = made


def find(document: Any, way: list[str]) -> Any:
    """The entry that a path leads to."""
    for key in way:
        try:
            document = document[int(key)] if isinstance(document, list) else document[key]
        except (KeyError, IndexError, ValueError, TypeError):
            refuse(f'Print: Entry, ":{":".join(way)}", Does Not Exist')
    return document


def show(value: object) -> None:
    """Print an entry as PlistBuddy does."""
    if isinstance(value, list):
        print("\n".join(["Array {", *(f"    {each}" for each in value), "}"]))
    elif isinstance(value, bool):
        print("true" if value else "false")
    else:
        print(value)


def serve() -> None:
    """Answer at a port of 127.0.0.1, which is told in /run/recovery/answers."""
    import socket

    os.makedirs("/run/recovery", exist_ok=True)  # noqa: PTH103
    with socket.create_server(("127.0.0.1", 0)) as server:
        with open("/run/recovery/answers", "w") as file:  # noqa: PTH123
            file.write(f"{server.getsockname()[1]}\n")
        while True:
            client, _ = server.accept()
            with client:
                client.sendall(answer(words_of(client)))


def words_of(client: Any) -> list[str]:
    """One call as `ask` sends it: folder, program, arguments, standard input, each with a zero byte at its end."""
    data = b""
    while data.count(b"\0") < 1 or data.count(b"\0") < int(data.split(b"\0")[0]) + 3:
        got = client.recv(65536)
        if not got:
            return []
        data += got
    return data.decode().split("\0")[1:-1]


def answer(call: list[str]) -> bytes:
    """Exit status, standard error and standard output of one call."""
    if not call:
        return b""
    folder, program, *words, table = call
    os.chdir(folder)
    status, written, errors = 0, io.BytesIO(), io.StringIO()
    out = io.TextIOWrapper(written, "utf-8")
    sys.stdin, sys.stdout, sys.stderr = io.StringIO(table), out, errors
    try:
        PROGRAMS[program](words)
    except SystemExit as end:
        status = int(end.code or 0)
    except Exception as failure:  # one call that fails must not end the next
        status = 1
        errors.write(f"{failure!r}\n")
    os.chdir("/")  # nothing may stay open on a volume
    out.flush()
    return f"{status}\0{errors.getvalue()}\0".encode() + written.getvalue()


PROGRAMS = {"diskutil": disk_questions, "defaults": defaults, "PlistBuddy": plist_buddy}

if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    PROGRAMS[sys.argv[1]](sys.argv[2:])
