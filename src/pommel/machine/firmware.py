"""The firmware pair: code and variables of the same build, and the machine's own copy of the variables.

Band: shell; the choice itself (`choose_pair`, `matches`) is pure.

OVMF is a flash device in two files. Code and variables only work together if they come from the same layout: a 4 MiB
build's code finds no variable store in a 2 MiB build's file; it runs anyway, but stores nothing. The sizes show
the layout: together both parts fill the flash device, a power of two (OvmfPkgDefines.fdf.inc in EDK2's OvmfPkg).

    flash    code         variables
    1 MiB      917 504    131 072      FD_SIZE_1MB
    2 MiB    1 966 080    131 072      FD_SIZE_2MB
    4 MiB    3 653 632    540 672      FD_SIZE_4MB
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel import ovmf
from pommel.errors import FirmwareError
from pommel.machine import varstore
from pommel.paths import write_atomic

_FLASH_SIZES = tuple(1 << exponent for exponent in range(20, 25))  # 1 to 16 MiB
# Folders in which distributions describe their firmware (QEMU, docs/interop/firmware.json), the administrator's first.
_DESCRIPTIONS = (Path("/etc/qemu/firmware"), Path("/usr/share/qemu/firmware"))
# Firmware that checks signatures starts neither OpenCore nor the trial's boot picker.
_UNWANTED = {"secure-boot", "enrolled-keys", "requires-smm"}

SizeOf = Callable[[Path], int | None]


@dataclass(frozen=True, slots=True)
class FirmwarePair:
    """A firmware's code, and its initial variables."""

    code: Path
    variables: Path


@dataclass(frozen=True, slots=True)
class FirmwareChoice:
    """The pair to use. `reason` is empty if it is the upstream's own."""

    pair: FirmwarePair
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unpaired:
    """Firmware in one file, or no firmware; `reason` says which.

    `whole` is a flash image with code and variables; the machine writes to its own copy of it.
    """

    reason: str
    whole: Path | None = None


def matches(code_size: int, variables_size: int) -> bool:
    """Whether code and variables of these sizes (bytes) are parts of one flash device."""
    return 0 < variables_size < code_size and code_size + variables_size in _FLASH_SIZES


def choose_pair(upstream: FirmwarePair, candidates: Sequence[FirmwarePair], size_of: SizeOf) -> FirmwareChoice:
    """Choose a matching pair: the upstream's, else its code with other variables, else another pair.

    `candidates` are in order of preference; `size_of` returns a file's size, or None if it does not exist.

    Raises:
        FirmwareError: nothing matches.
    """
    problem = _problem(upstream, size_of)
    if not problem:
        return FirmwareChoice(upstream)
    code_size = size_of(upstream.code)
    whole = [pair for pair in candidates if not _problem(pair, size_of)]
    for pair in candidates if code_size else ():
        if matches(code_size or 0, size_of(pair.variables) or 0):
            return FirmwareChoice(
                FirmwarePair(upstream.code, pair.variables), f"{problem}; starting from {pair.variables} instead"
            )
    if whole:
        return FirmwareChoice(whole[0], f"{problem}; using {whole[0].code} and its variables instead")
    raise FirmwareError(f"{problem}, and this host has no matching pair", hint=ovmf.INSTALL)


def find_pair(
    code: Path, variables: Path, *, descriptions: Sequence[Path] = _DESCRIPTIONS, root: Path = Path("/")
) -> FirmwareChoice:
    """Choose the firmware pair for a machine whose upstream names `code` and `variables`.

    Raises:
        FirmwareError: they do not match, and neither does any other pair in their folder or on the host.
    """
    upstream = FirmwarePair(code, variables)
    found = [*_pairs_in(code.parent), *_described(descriptions), *_well_known(root)]
    return choose_pair(upstream, found, _size_of)


def choose(code: str | None, variables: str | None, bios: str | None = None) -> FirmwareChoice | Unpaired:
    """Choose a machine's firmware from what its upstream names: flash drives with code and variables, or -bios.

    Raises:
        FirmwareError: no pair matches; or the one flash image does not exist.
    """
    if code is not None and variables is not None:
        return find_pair(Path(code), Path(variables))
    if variables is not None:
        if _size_of(Path(variables)) is None:
            raise FirmwareError(f"{variables}, the boot script's firmware, does not exist", hint=ovmf.INSTALL)
        return Unpaired(f"{Path(variables).name}, code and variables in one image", Path(variables))
    forgets = "without its own variables, so the machine cannot store boot entries"
    if code is not None:
        return Unpaired(f"{Path(code).name}, {forgets}")
    if bios is not None:
        return Unpaired(f"-bios {bios}, {forgets}")
    return Unpaired("the boot script names no firmware, so QEMU starts its own (SeaBIOS), which cannot boot macOS")


def prepare_nvram(choice: FirmwareChoice | Unpaired, nvram: Path) -> str | None:
    """Make the machine's own copy of the variables, once; return a line for the user if an old one is set aside.

    An existing copy is kept if it matches the code. If it does not (the code is of another build now, or the file is
    truncated), it is renamed and never deleted: it has the machine's boot entries.

    Raises:
        FirmwareError: a file cannot be read or written.
    """
    source = choice.pair.variables if isinstance(choice, FirmwareChoice) else choice.whole
    if source is None:
        return None
    try:
        if nvram.exists() and _fits(choice, nvram.stat().st_size):
            return None
        aside = _set_aside(nvram) if nvram.exists() else None
        write_atomic(nvram, source.read_bytes(), mode=0o600)
    except OSError as failure:
        raise FirmwareError(
            f"the machine's firmware variables cannot be prepared: {failure.strerror}: {failure.filename}"
        ) from failure
    if aside is None:
        return None
    fitted = choice.pair.code if isinstance(choice, FirmwareChoice) else source
    return (
        f"{nvram.name} did not match {fitted.name} and was renamed to {aside.name}; the machine starts with "
        "new variables"
    )


def tell_size(nvram: Path, size: tuple[int, int]) -> str | None:
    """Set the firmware's initial picture size; return a line for the user if this is not possible.

    Raises:
        FirmwareError: the variables cannot be read or written.
    """
    if not nvram.exists():
        return "resolution: this firmware stores no variables, so the resolution cannot be set"
    try:
        image = nvram.read_bytes()
        told = varstore.with_picture_size(image, *size)
        if told != image:
            write_atomic(nvram, told, mode=0o600)
    except ValueError as why:
        return f"resolution: it cannot be set in the firmware, because {nvram.name} has an unusual format: {why}"
    except OSError as failure:
        raise FirmwareError(f"{nvram} cannot be written: {failure.strerror}") from failure
    return None


def _fits(choice: FirmwareChoice | Unpaired, size: int) -> bool:
    if isinstance(choice, FirmwareChoice):
        return matches(choice.pair.code.stat().st_size, size)
    return choice.whole is not None and choice.whole.stat().st_size == size


def _problem(pair: FirmwarePair, size_of: SizeOf) -> str:
    """What is wrong with a pair, or ""."""
    code, variables = size_of(pair.code), size_of(pair.variables)
    for path, size in ((pair.code, code), (pair.variables, variables)):
        if size is None:
            return f"{path} does not exist"
    if not matches(code or 0, variables or 0):
        return (
            f"{pair.code.name} ({code} bytes) and {pair.variables.name} ({variables} bytes) are from different "
            "builds, so they cannot store settings"
        )
    return ""


def _pairs_in(folder: Path) -> Iterator[FirmwarePair]:
    """Every code file of a folder with every variables file of it; whether they match is checked later."""
    variables = sorted(folder.glob("OVMF_VARS*.fd"))
    for code in sorted(folder.glob("OVMF_CODE*.fd")):
        if not _checks_signatures(code):
            yield from (FirmwarePair(code, other) for other in variables if not _checks_signatures(other))


def _checks_signatures(path: Path) -> bool:
    return any(word in path.name.lower() for word in ("secboot", ".ms.", "snakeoil", "secure"))


def _well_known(root: Path) -> Iterator[FirmwarePair]:
    for folder, code, variables in ovmf.PAIRS:
        here = root / folder.lstrip("/")
        yield FirmwarePair(here / code, here / variables)


def _described(folders: Iterable[Path]) -> Iterator[FirmwarePair]:
    for folder in folders:
        for path in sorted(folder.glob("*.json")):
            try:
                pair = _pair_of(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue  # a description of an unknown kind
            if pair is not None:
                yield pair


def _pair_of(description: dict[str, Any]) -> FirmwarePair | None:
    """The pair that a description names, if it is a plain UEFI for q35 in raw flash files."""
    mapping = description["mapping"]
    parts = mapping.get("executable"), mapping.get("nvram-template")
    targets = [t for t in description["targets"] if t["architecture"] == "x86_64"]
    if mapping["device"] != "flash" or not all(part and part["format"] == "raw" for part in parts):
        return None
    if not any("q35" in machine for target in targets for machine in target["machines"]):
        return None
    if "uefi" not in description["interface-types"] or _UNWANTED & set(description["features"]):
        return None
    return FirmwarePair(Path(parts[0]["filename"]), Path(parts[1]["filename"]))


def _set_aside(nvram: Path) -> Path:
    number = 1
    while (aside := nvram.with_name(f"{nvram.name}.old-{number}")).exists():
        number += 1
    return nvram.rename(aside)


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None
