"""The values of OpenCore's configuration that a machine can change. Band: core, no I/O.

Values only, checked when they are made; where they go in config.plist is `config`'s.
"""

from __future__ import annotations

import re
import uuid as uuids
from dataclasses import asdict, dataclass, field
from typing import Any

from pommel.errors import ConfigError

_RESOLUTION = re.compile(r"[1-9]\d{2,4}x[1-9]\d{2,4}(@(8|16|24|32))?|Max")
_SERIAL = re.compile(r"[A-Z0-9]{8,17}")
_MODEL = re.compile(r"[A-Za-z]+\d+,\d+")
_ROM_BYTES = 6
# Misc/Security/ScanPolicy (Configuration.tex of OpenCorePkg): lock to the file systems and devices that are named;
# HFS+ or APFS alone, without the ESP; on SATA, SAS, SCSI, NVMe and PCI (virtio).
SCAN_POLICIES = {"recovery": 0x10F0203, "macos": 0x10F0103}


@dataclass(frozen=True, slots=True)
class Smbios:
    """Which Mac the guest takes itself for (PlatformInfo/Generic); None leaves what config.plist says.

    Raises:
        ConfigError: a value that OpenCore would not take.
    """

    product_name: str | None = None
    serial: str | None = None
    mlb: str | None = None
    uuid: str | None = None
    rom: bytes | None = None

    def __post_init__(self) -> None:
        _check("product_name", self.product_name, _MODEL, "a model such as iMacPro1,1")
        for key in ("serial", "mlb"):
            _check(key, getattr(self, key), _SERIAL, "8 to 17 of A-Z and 0-9")
        if self.uuid is not None and not _is_uuid(self.uuid):
            raise ConfigError(f"uuid must be a UUID, not {self.uuid!r}")
        if self.rom is not None and len(self.rom) != _ROM_BYTES:
            raise ConfigError(f"rom must be {_ROM_BYTES} bytes, not {len(self.rom)}")


@dataclass(frozen=True, slots=True)
class Options:
    """What to change in the packed configuration; None and the defaults leave it as it is.

    `timeout_s` is how long the picker waits (0: for ever), `resolution` is WIDTHxHEIGHT or Max, `boot_args` replaces
    the kernel's arguments, and `add_boot_args` adds to them: `key=value` takes the place of another value of that key.
    `shows` leaves only "recovery" (HFS+ volumes, as all of Apple's recovery images are) or "macos" (APFS) to start.
    `hide_hypervisor` adds the kernel patches of `apple_services`.

    Raises:
        ConfigError: a value that OpenCore would not take.
    """

    timeout_s: int | None = None
    resolution: str | None = None
    boot_args: str | None = None
    add_boot_args: str = ""
    hide_hypervisor: bool = False
    shows: str | None = None
    smbios: Smbios = field(default_factory=Smbios)

    def __post_init__(self) -> None:
        if self.timeout_s is not None and not 0 <= self.timeout_s <= 0xFFFFFFFF:
            raise ConfigError(f"timeout_s must be a number of seconds, not {self.timeout_s}")
        if self.shows is not None and self.shows not in SCAN_POLICIES:
            raise ConfigError(f"shows must be one of {', '.join(SCAN_POLICIES)}, not {self.shows!r}")
        _check("resolution", self.resolution, _RESOLUTION, "a size such as 1920x1080, or Max")
        for text in (self.boot_args or "", self.add_boot_args):
            if not text.isascii() or not text.isprintable():
                raise ConfigError(f"boot_args must be plain words, not {text!r}")

    def as_values(self) -> dict[str, Any]:
        """All options as plain values, to distinguish sets of options."""
        values = asdict(self)
        values["smbios"]["rom"] = self.smbios.rom.hex() if self.smbios.rom is not None else None
        return values


def _check(key: str, value: str | None, pattern: re.Pattern[str], wanted: str) -> None:
    if value is not None and not pattern.fullmatch(value):
        raise ConfigError(f"{key} must be {wanted}, not {value!r}")


def _is_uuid(text: str) -> bool:
    try:
        return str(uuids.UUID(text)) == text.lower()
    except ValueError:
        return False
