"""Rules for QEMU as a process: its lifetime, its name, its paths, and the user's additions. Band: core, no I/O."""

from __future__ import annotations

from dataclasses import replace

from pommel.errors import ConfigError, UpstreamError
from pommel.machine.commandline import Argument, Note, parse_words
from pommel.machine.keyed import Keyed
from pommel.machine.rules.sheet import Placement, RuleChange, RuleInput, Sheet
from pommel.machine.suboptions import escape
from pommel.machine.upstream_files import absolute

# Options whose whole value is a path, and sub-options with a path. Names that QEMU looks up in its own data directory
# (-bios, -L, romfile=) are not paths of the upstream and stay.
_PATH_OPTIONS = ("hda", "hdb", "hdc", "hdd", "cdrom", "fda", "fdb", "kernel", "initrd", "dtb", "pflash", "D")
_PATH_KEYS = {
    "drive": ("file", "filename"),
    "blockdev": ("filename",),
    "chardev": ("path", "logfile"),
    "fsdev": ("path",),
    "virtfs": ("path",),
    "acpitable": ("file", "data"),
    "smbios": ("file",),
    "fw_cfg": ("file",),
}
_PROCESS_NAME_MAX = 15  # bytes: TASK_COMM_LEN less its NUL


def process(sheet: Sheet, given: RuleInput) -> Sheet:
    """Make QEMU's lifetime visible: it is our child at start, locks its pidfile, and ends when the guest does."""
    reasons = {
        "daemonize": "Pommel starts QEMU in its own session, and notices if it ends at start",
        "S": "a machine that is started runs",
        "no-shutdown": "QEMU ends when the guest has powered down",
    }
    for name, reason in reasons.items():
        sheet = sheet.remove_all(sheet.line.find(name), reason)
    return sheet.put("pidfile", given.placement.pidfile, "QEMU locks it while it runs")


def identity(sheet: Sheet, given: RuleInput) -> Sheet:
    """Set the machine's name, also in the host's process list, and UUID; those in the user's own text stay."""
    place = given.placement
    named, numbered = (any(a.written for a in sheet.line.find(option)) for option in ("name", "uuid"))
    if not named:
        sheet = _name(sheet, place)
    if numbered:
        return sheet
    return sheet.put("uuid", place.uuid, "its own identity, the same at every start")


def _name(sheet: Sheet, place: Placement) -> Sheet:
    process_name = name_of(place.guest_name)
    value = f"guest={escape(place.guest_name)},process={escape(process_name)}"
    return sheet.put("name", value, "the machine's name, in messages and in the host's process list")


def name_of(guest_name: str) -> str:
    """The name of that machine's process, cut to the length that the kernel stores."""
    return f"vm:{guest_name}".encode()[:_PROCESS_NAME_MAX].decode(errors="ignore")


def paths(sheet: Sheet, given: RuleInput) -> Sheet:
    """Make the upstream's relative paths absolute."""
    folder, reason = given.placement.upstream, "relative to the upstream's folder"
    for argument in sheet.line.find(*_PATH_OPTIONS):
        sheet = sheet.change(argument, absolute(argument.value or "", folder), reason)
    for argument in sheet.line.find(*_PATH_KEYS):
        value = Keyed.parse(argument.name, argument.value or "")
        for key, path in list(value.pairs()):
            if path and (key in _PATH_KEYS[argument.name] or key.endswith(".filename")):
                value = value.with_value(key, absolute(path, folder))
        sheet = sheet.change(argument, value, reason)
    return sheet


def extra(sheet: Sheet, given: RuleInput) -> Sheet:
    """Append the user's `qemu_args` unchanged.

    Raises:
        ConfigError: the last option lacks its value.
    """
    reason = "asked for: qemu_args"
    try:
        words = parse_words(given.spec.qemu_args, born="qemu_args")
    except UpstreamError as failure:
        raise ConfigError(f"qemu_args cannot be used: {failure.message}") from failure
    new = tuple(replace(argument, notes=(Note("qemu_args", reason),)) for argument in words)
    changes = tuple(_addition(argument, reason) for argument in new)
    return replace(sheet, line=sheet.line.append(*new), changes=(*sheet.changes, *changes))


def _addition(argument: Argument, reason: str) -> RuleChange:
    return RuleChange(argument.born, "added", None, argument.text, reason)
