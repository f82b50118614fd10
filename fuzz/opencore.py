"""OpenCore's configuration (`opencore`): property lists of both kinds, and what is made of them."""

from __future__ import annotations

import plistlib
import struct
from datetime import datetime
from typing import Any

from fuzz.engine import Fuzzer, expect, expect_words, mixed
from fuzz.recovery import XML_TOKENS
from pommel.errors import StateError, UpstreamError
from pommel.opencore import config, plist, reading
from pommel.opencore.options import Options, Smbios

_CONFIG: dict[str, Any] = {
    "ACPI": {"Add": [{"Enabled": True, "Path": "SSDT.aml"}, {"Enabled": False, "Path": "#a"}]},
    "Kernel": {"Add": [{"Enabled": True, "BundlePath": "Lilu.kext", "PlistPath": "Contents/Info.plist"}]},
    "Misc": {"Boot": {"Timeout": 5, "X": 1.5}, "Tools": []},
    "NVRAM": {"Add": {"7C436110-AB2A-4BBB-A880-FE41995C9F82": {"boot-args": b"-v keepsyms=1\0"}}, "Delete": {}},
    "PlatformInfo": {
        "Generic": {"ROM": bytes(6), "SystemUUID": "007076A6-F2A2-4461-BBE5-BAD019F8025A", "MLB": "C02717306J9JG361M"}
    },
    "UEFI": {"Drivers": ["OpenRuntime.efi", {"Path": "a.efi", "Enabled": True}], "Output": {"Resolution": "Max"}},
    "When": datetime(2026, 1, 2, 3, 4, 5),
}
_SMALL: dict[str, Any] = {"Misc": {"Boot": {"Timeout": 5}}, "a": [1, -1, 2.5, b"x", "ü", False]}
_XML = (plistlib.dumps(_CONFIG), plistlib.dumps(_SMALL), b"<!-- c -->\n" + plistlib.dumps(_SMALL))
_BINARY = tuple(plistlib.dumps(one, fmt=plistlib.FMT_BINARY) for one in (_CONFIG, _SMALL, {"Misc": [[[]]]}))
_FILES = ("Kexts/Lilu.kext/Contents/Info.plist", "Drivers/OpenRuntime.efi")
_OPTIONS = Options(
    timeout_s=3, resolution="1920x1080", add_boot_args="-v debug=1", smbios=Smbios(serial="C02TM2ZBHX87", rom=bytes(6))
)


def check_plist(data: bytes) -> None:
    """It is refused with words, or it is one that is written and read again as the same; so is what is made of it."""
    try:
        found = plist.read(data, "config.plist")
    except UpstreamError as refusal:
        expect_words(refusal)
        return
    # XML has other line ends and whole seconds only, so it is what was written once that must stay.
    once = plistlib.dumps(found, sort_keys=False)
    expect(plistlib.dumps(plist.read(once, "it"), sort_keys=False) == once, "it is written otherwise the second time")
    try:
        configuration = config.read(data, "config.plist")
        off, missing = config.disable_missing(configuration, _FILES)
        changed, _ = config.adjust(off, _OPTIONS)
    except UpstreamError as refusal:
        expect_words(refusal)
        return
    expect(config.disable_missing(off, _FILES)[1] == (), f"{len(missing)} were switched off, and are on")
    expect(config.adjust(changed, Options(timeout_s=3, resolution="1920x1080"))[1] == (), "changed twice")
    said = reading.numbers(configuration)
    expect(all(isinstance(text, str) and text for text in said.values()), "a number that is no text")
    config.read(config.write(changed), "it")


def disk(parts: list[int], *, gpt: bool) -> bytes:
    """The first sectors of a disk with partitions at these sectors."""
    out = bytearray(512 * 4)
    out[510:512] = b"\x55\xaa"
    if gpt:
        out[512:520] = b"EFI PART"
        struct.pack_into("<QII", out, 512 + 72, 2, len(parts), 128)
        for index, start in enumerate(parts):
            struct.pack_into("<16s16sQQ", out, 1024 + 128 * index, b"T" * 16, b"U" * 16, start, start)
    else:
        for index, start in enumerate(parts[:4]):
            struct.pack_into("<4xB3xII", out, 446 + 16 * index, 0xEF, start, 9)
    return bytes(out)


def check_disk(data: bytes) -> None:
    """File systems are looked for within the disk, at so many places and no more."""
    try:
        found = list(reading.file_systems(lambda at, count: data[at : at + count], len(data)))
    except StateError as refusal:
        expect_words(refusal)
        return
    expect(len(found) <= 129 and all(0 <= at < max(1, len(data)) for at in found), "a place outside the disk")


FUZZERS = [
    Fuzzer(
        "plist",
        "an UpstreamError with words, or a value that is written and read again",
        mixed((*_XML, b"".join(_XML[1:])), tokens=XML_TOKENS),
        check_plist,
        room_bytes=8 << 20,
        per_byte=2000,
    ),
    Fuzzer(
        "plist-binary",
        "an UpstreamError with words, or a value that is written and read again",
        mixed(_BINARY, tokens=(b"bplist00", b"\xa1", b"\xd1", b"\xaf\x13\xff", b"\xdf\x11\x01\x00")),
        check_plist,
        room_bytes=64 << 20,
        per_byte=2000,
    ),
    Fuzzer(
        "boot-disk",
        "file systems are looked for within the disk",
        mixed([disk([1, 2], gpt=True), disk([1, 3], gpt=False)], tokens=(b"EFI PART", b"FAT", b"\x55\xaa")),
        check_disk,
    ),
]
