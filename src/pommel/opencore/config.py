"""OpenCore's config.plist: read, made to fit the files that are there, changed as asked, written. Band: core, no I/O.

The keys are those of OpenCore's Configuration.pdf. What is not touched keeps its value, type and place; comments are
lost, as plistlib drops them. Nothing here judges whether a configuration is a good one.
"""

from __future__ import annotations

import copy
import plistlib
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pommel.errors import UpstreamError
from pommel.opencore import apple_services, plist
from pommel.opencore.options import SCAN_POLICIES, Options

_SECTIONS = ("ACPI", "Kernel", "Misc", "UEFI")  # a plist that has none of them is something else
_APPLE_BOOT = "7C436110-AB2A-4BBB-A880-FE41995C9F82"  # APPLE_BOOT_VARIABLE_GUID, where macOS looks for boot-args
_SMBIOS_KEYS = {
    "product_name": "SystemProductName",
    "serial": "SystemSerialNumber",
    "mlb": "MLB",
    "uuid": "SystemUUID",
    "rom": "ROM",
}


@dataclass(frozen=True, slots=True)
class Missing:
    """An entry that is turned on but whose file is missing: `name` is in config.plist, `file` is below EFI/OC."""

    section: str
    name: str
    file: str

    def __str__(self) -> str:
        return f"{self.name} ({self.section}: there is no {self.file})"


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """One changed value, with its place in the configuration."""

    place: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.place}: {_shown(self.before)} → {_shown(self.after)}"


def read(data: bytes, where: str) -> dict[str, Any]:
    """Parse a config.plist; `where` is what to call it.

    Raises:
        UpstreamError: it is no property list (with the line or the key), or not one of OpenCore's.
    """
    found = plist.read(data, where)
    if not isinstance(found, dict) or not any(section in found for section in _SECTIONS):
        raise UpstreamError(f"{where} is not a configuration of OpenCore: it has none of {', '.join(_SECTIONS)}")
    return found


def write(config: Mapping[str, Any]) -> bytes:
    """The configuration as an XML property list, keys in their order."""
    return plistlib.dumps(dict(config), sort_keys=False)


def disable_missing(original: Mapping[str, Any], files: Iterable[str]) -> tuple[dict[str, Any], tuple[Missing, ...]]:
    """Turn off entries whose file is missing, because OpenCore would stop at them; return these entries.

    `files` are paths below EFI/OC, such as `Kexts/Lilu.kext/Contents/Info.plist`. Case does not count, as on FAT.

    Raises:
        UpstreamError: what must be read is not of the type that OpenCore has there; the message names the key.
    """
    config = copy.deepcopy(dict(original))
    there = {name.upper() for name in files}
    found = []
    for section, kind, needed in _LISTS:
        entries = _list_at(config, section)
        for index, given in enumerate(entries):
            entry = _checked(given, section, index)
            name, wanted = needed(kind, entry, "/".join((*section, str(index))))
            lacking = [file for file in wanted if file.upper() not in there]
            if name is None or not lacking:
                continue
            found.append(Missing("/".join(section), name, lacking[0]))
            if isinstance(entry, str):
                entries[index] = f"#{entry}"
            else:
                entry["Enabled"] = False
    return config, tuple(found)


def adjust(original: Mapping[str, Any], options: Options) -> tuple[dict[str, Any], tuple[ConfigChange, ...]]:
    """Apply `options`; return the values that changed.

    Raises:
        UpstreamError: where a section or boot-args should be, there is something else; the message names the key.
    """
    config = copy.deepcopy(dict(original))
    changes = []
    for place, value in _wanted(config, options):
        *folders, key = place
        table = _table_at(config, tuple(folders))
        before = table.get(key)
        if before != value or type(before) is not type(value):
            table[key] = value
            changes.append(ConfigChange("/".join(place), before, value))
    if any(change.place.endswith("/boot-args") for change in changes):
        _let_boot_args_win(config)
    if options.hide_hypervisor and (added := apple_services.lacking(patches := _list_at(config, ("Kernel", "Patch")))):
        _table_at(config, ("Kernel",))["Patch"] = [*patches, *added]
        changes.append(ConfigChange("Kernel/Patch", None, ", ".join(entry["Comment"] for entry in added)))
    return config, tuple(changes)


def _wanted(config: dict[str, Any], options: Options) -> Iterator[tuple[tuple[str, ...], Any]]:
    if options.timeout_s is not None:
        yield ("Misc", "Boot", "Timeout"), options.timeout_s
    if options.shows is not None:
        yield ("Misc", "Security", "ScanPolicy"), SCAN_POLICIES[options.shows]
    if options.shows == "recovery":  # it asks for no language, and what is typed there is from a US keyboard
        yield ("NVRAM", "Add", _APPLE_BOOT, "prev-lang:kbd"), b"en-US:0"
    if options.resolution is not None:
        yield ("UEFI", "Output", "Resolution"), options.resolution
    if options.boot_args is not None or options.add_boot_args:
        place = ("NVRAM", "Add", _APPLE_BOOT)
        old = options.boot_args if options.boot_args is not None else _boot_args(_table_at(config, place), place)
        yield (*place, "boot-args"), _with_words(old, options.add_boot_args)
    for name, key in _SMBIOS_KEYS.items():
        if (value := getattr(options.smbios, name)) is not None:
            yield ("PlatformInfo", "Generic", key), value


def _with_words(text: str, added: str) -> str:
    """Add words; one of a key that is there already takes its place, since the kernel heeds the first of them."""
    keys = {word.partition("=")[0] for word in added.split()}
    return " ".join([*(word for word in text.split() if word.partition("=")[0] not in keys), *added.split()])


def _boot_args(table: dict[str, Any], place: tuple[str, ...]) -> str:
    """The boot-args that are there, which may be a text or (rarely) data."""
    value = table.get("boot-args", "")
    if isinstance(value, bytes) and value.isascii() and (text := value.decode("ascii").rstrip("\0")).isprintable():
        return text
    if not isinstance(value, str):
        raise _bad_key("/".join((*place, "boot-args")), "a text", value)
    return value


def _let_boot_args_win(config: dict[str, Any]) -> None:
    """OpenCore leaves a variable alone that NVRAM has already, unless it is to be deleted first."""
    names = _table_at(config, ("NVRAM", "Delete")).setdefault(_APPLE_BOOT, [])
    if not isinstance(names, list):
        raise _bad_key(f"NVRAM/Delete/{_APPLE_BOOT}", "a list", names)
    if "boot-args" not in names:
        names.append("boot-args")


Entry = dict[str, Any] | str
# What an entry is called, and the files that it needs; (None, …) for one that is switched off.
Needed = tuple[str | None, list[str]]


def _of_path(folder: str, entry: Entry, place: str) -> Needed:
    if isinstance(entry, str):  # UEFI/Drivers before OpenCore 0.7.3
        return (None if entry.startswith("#") else entry), [_joined(folder, entry)]
    if not _is_on(entry, place):
        return None, []
    name = _text(entry, "Path", place)
    return (None if name.startswith("#") else name or "an entry without Path"), [_joined(folder, name)]


def _of_bundle(folder: str, entry: Entry, place: str) -> Needed:
    if isinstance(entry, str) or not _is_on(entry, place):
        return None, []
    name = _text(entry, "BundlePath", place)
    inside = [file for key in ("PlistPath", "ExecutablePath") if (file := _text(entry, key, place))]
    files = [_joined(folder, name, file) for file in inside or ["Contents/Info.plist"]]
    return name or "an entry without BundlePath", files


def _is_on(entry: dict[str, Any], place: str) -> bool:
    """Whether an entry is on; OpenCore treats an entry without the key as off."""
    value = entry.get("Enabled", False)
    if not isinstance(value, bool):
        raise _bad_key(f"{place}/Enabled", "true or false", value)
    return value


def _text(entry: dict[str, Any], key: str, place: str) -> str:
    value = entry.get(key, "")
    if not isinstance(value, str):
        raise _bad_key(f"{place}/{key}", "a text", value)
    return value


_LISTS: tuple[tuple[tuple[str, ...], str, Callable[[str, Entry, str], Needed]], ...] = (
    (("ACPI", "Add"), "ACPI", _of_path),
    (("Kernel", "Add"), "Kexts", _of_bundle),
    (("UEFI", "Drivers"), "Drivers", _of_path),
    (("Misc", "Tools"), "Tools", _of_path),
)


def _joined(*parts: str) -> str:
    return posixpath.normpath("/".join(parts).replace("\\", "/"))


def _checked(entry: Any, section: tuple[str, ...], index: int) -> Entry:
    if isinstance(entry, dict) or (isinstance(entry, str) and section == ("UEFI", "Drivers")):
        return entry
    raise _bad_key("/".join((*section, str(index))), "a dictionary", entry)


def _list_at(config: dict[str, Any], place: tuple[str, ...]) -> list[Any]:
    found = _outer(config, place[0]).get(place[1], [])
    if not isinstance(found, list):
        raise _bad_key("/".join(place), "a list", found)
    return found


def _outer(config: dict[str, Any], section: str) -> dict[str, Any]:
    found = config.get(section, {})
    if not isinstance(found, dict):
        raise _bad_key(section, "a dictionary", found)
    return found


def _table_at(config: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    """The dictionary at `place`; it is made if it is missing."""
    table = config
    for depth, key in enumerate(place, 1):
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise _bad_key("/".join(place[:depth]), "a dictionary", table)
    return table


def _bad_key(place: str, wanted: str, found: Any) -> UpstreamError:
    return UpstreamError(
        f"OpenCore's configuration cannot be used: {place} is not {wanted} but {plist.kind(found)}",
        hint="correct that key in config.plist; OpenCore's Configuration.pdf describes it",
    )


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    return value.hex() if isinstance(value, bytes) else str(value)
