"""Finds missing kexts that a Mac needs, so that no boot disk is built without them. Band: core, no I/O.

An entry of config.plist whose file is not there is switched off, since OpenCore stops at it. For most kexts that costs
a device. Without these the Mac does not start, or a kext that is there does not load:

- one that a kext which is there needs (OSBundleLibraries in its Info.plist, Apple's "Kernel Extension Dependencies")
- Lilu and VirtualSMC, by what acidanthera's documentation says of them
- a disabler of AppleMCEReporter, for the models that have that driver: it makes macOS 10.15 and later panic on AMD
  processors and with two sockets (Dortania's OpenCore Install Guide, "Kexts")
"""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

from pommel.errors import UpstreamError
from pommel.opencore import plist
from pommel.opencore.config import Missing

_ALWAYS = {"Lilu": "other kexts need it", "VirtualSMC": "macOS does not start without an SMC"}
_MCE_MODELS = ("iMacPro1,1", "MacPro6,1", "MacPro7,1")
_LIKE = 0.7  # names with at least this similarity may mean the same kext


def without(missing: Iterable[Missing], infos: Mapping[str, bytes], model: str | None) -> tuple[Missing, str] | None:
    """The first kext of `missing` that is needed, and why; None: none is.

    `infos` are the Info.plist files of the kexts that are there, by their bundle's name, such as `Lilu.kext`.
    """
    wanted = _libraries(infos)
    for entry in missing:
        if entry.section != "Kernel/Add":
            continue
        name = posixpath.basename(entry.name).removesuffix(".kext")
        for library, users in wanted.items():
            if library.rpartition(".")[2].lower() == name.lower():
                return entry, f"{users} needs it"
        if name in _ALWAYS:
            return entry, _ALWAYS[name]
        if "MCEReporterDisabler" in name and model in _MCE_MODELS:
            return entry, f"as {model}, macOS panics without it on AMD processors and with two sockets"
    return None


def meant(missing: Missing, there: Iterable[str]) -> str | None:
    """The existing kext with a name similar to an entry's; `there` are the names of bundles."""
    near = difflib.get_close_matches(posixpath.basename(missing.name), list(there), n=1, cutoff=_LIKE)
    return near[0] if near else None


def _libraries(infos: Mapping[str, bytes]) -> dict[str, str]:
    """Bundle identifiers that kexts need and that are not Apple's, each with a kext that does."""
    found: dict[str, str] = {}
    for bundle, data in infos.items():
        try:
            told = plist.read(data, bundle)
        except UpstreamError:  # of a kext that cannot be read, nothing is known that it needs
            continue
        libraries: Any = told.get("OSBundleLibraries") if isinstance(told, dict) else None
        if isinstance(libraries, dict):
            found.update((str(key), bundle) for key in libraries if not str(key).startswith("com.apple."))
    return found
