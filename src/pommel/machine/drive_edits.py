"""Changes a drive's file or its options: the new values of its arguments. Band: core, no I/O.

A -blockdev keeps its place among its nodes: the names that devices, filters and the machine use for it stay the same.
"""

from __future__ import annotations

from pommel.machine import luks
from pommel.machine.commandline import Argument
from pommel.machine.drives import FORMATS, Drive, Node
from pommel.machine.keyed import Keyed
from pommel.machine.suboptions import Pair, SubOptions

# The options of every node; the others belong to the driver, and are removed with it.
_OF_ANY_NODE = ("node-name", "read-only", "auto-read-only", "discard", "detect-zeroes", "cache", "force-share")
_OF_FILES = (*_OF_ANY_NODE, "driver", "filename", "aio", "locking", "pr-manager", "x-check-cache-dropped")
_UNMAPS = ("unmap", "on")

Edits = dict[Argument, Keyed]


def placed(drive: Drive, path: str, form: str) -> Edits:
    """Make the drive use the file `path` of the format `form`."""
    if drive.argument.name == "drive":
        return {drive.argument: Keyed(None, _in_drive(drive, path, form))}
    return _in_nodes(drive, path, form)


def opened_by_key(drive: Drive) -> Edits:
    """Make QEMU open the drive, an encrypted qcow2 disk, with the secret of `luks.OBJECT`."""
    level = drive.nodes[-2] if len(drive.nodes) > 1 else drive.nodes[-1]
    value = level.keyed.with_value(level.prefix + luks.FORMAT, "luks")
    return {level.argument: value.with_value(level.prefix + luks.KEY, luks.NAME)}


def kept_well(drive: Drive, edits: Edits) -> Edits:
    """Make the machine's own disk fast, safe and small, in the options that are not set.

    Threads and the page cache work on every file system (O_DIRECT does not, and io_uring may be forbidden), and flushes
    still reach the disk, so a crash of the host loses no more than on real hardware.
    """
    top = edits.get(drive.argument, drive.nodes[0].keyed)
    if drive.argument.name == "drive":
        top = top.with_default("cache", "writeback").with_default("aio", "threads")
    top = top.with_default("discard", "unmap")
    if top.get("discard") in _UNMAPS:  # QEMU refuses detect-zeroes=unmap without discard=unmap
        top = top.with_default("detect-zeroes", "unmap")
    lowest = drive.nodes[-1]
    more = {drive.argument: top}
    if lowest.argument is not drive.argument and not lowest.prefix:  # a separate node has its own option
        more[lowest.argument] = edits.get(lowest.argument, lowest.keyed).with_default("discard", "unmap")
    return {**edits, **more}


def readonly_where_it_was(before: SubOptions, after: SubOptions) -> SubOptions:
    """Write `readonly=on` in full, in its old place: QEMU deprecates the bare word."""
    keys = [key for key, _ in before.pairs]
    place = next((i for i, key in enumerate(keys) if key in ("readonly", "read-only")), None)
    after = after.without("readonly", "read-only")
    if place is None:
        return after.with_value("readonly", "on")
    return after.with_pairs([*after.pairs[:place], ("readonly", "on"), *after.pairs[place:]])


def _in_drive(drive: Drive, path: str, form: str) -> SubOptions:
    value = drive.argument.sub
    if not value.has("file"):  # file.driver=…,file.filename=…; or driver=…,filename=…
        value = _with_file_first_named(value)
    value = value.with_value("file", path).with_pairs(_of_file(value.with_value("file", path).pairs))
    if value.has("driver") and not value.has("format"):
        return value.with_pairs([("driver", form) if key == "driver" else (key, text) for key, text in value.pairs])
    return value.without("driver").with_value("format", form)


def _with_file_first_named(value: SubOptions) -> SubOptions:
    """The same value with an empty `file=` at the place of its first file option."""
    place = next(i for i, (key, _) in enumerate(value.pairs) if key.startswith("file.") or key == "filename")
    return value.with_pairs([*value.pairs[:place], ("file", ""), *value.pairs[place:]]).without("filename")


def _of_file(pairs: tuple[Pair, ...]) -> list[Pair]:
    """Remove the options of other protocols, and those of a backing file."""
    keep = tuple(f"file.{key}" for key in _OF_FILES if key not in ("driver", "filename", "node-name"))

    def stays(key: str) -> bool:
        if key.startswith("file."):
            return key.startswith(keep)
        return key != "backing" and not key.startswith("backing.")

    return [pair for pair in pairs if stays(pair[0])]


def _in_nodes(drive: Drive, path: str, form: str) -> Edits:
    lowest = drive.nodes[-1]
    above = drive.nodes[-2] if len(drive.nodes) > 1 else None
    edits: Edits = {}
    if above is not None and above.get("driver") in FORMATS:
        keep = (*_OF_ANY_NODE, "driver", "file") if above.get("driver") != form else None
        edits[above.argument] = _only(above, edits, keep).with_value(f"{above.prefix}driver", form)
        low = _only(lowest, edits, _OF_FILES).with_value(f"{lowest.prefix}driver", "file")
        edits[lowest.argument] = low.with_value(f"{lowest.prefix}filename", path)
        return edits
    # No format was given, so the file's bytes were the disk: the format's node gets the name, and the file goes below
    # it.
    low = _only(lowest, edits, _OF_ANY_NODE).with_value(f"{lowest.prefix}driver", form)
    low = low.with_value(f"{lowest.prefix}file.driver", "file").with_value(f"{lowest.prefix}file.filename", path)
    return {lowest.argument: low}


def _only(node: Node, edits: Edits, keep: tuple[str, ...] | None) -> Keyed:
    """The node's argument with only these keys at its level; with None, all but the backing file."""
    keyed = edits.get(node.argument, node.keyed)
    for key, _ in list(keyed.pairs()):
        if not key.startswith(node.prefix):
            continue
        first = key.removeprefix(node.prefix).split(".")[0]
        if first == "backing" or (keep is not None and first not in keep):
            keyed = keyed.without(node.prefix + first)
    return keyed
