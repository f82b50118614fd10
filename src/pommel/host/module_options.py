"""The options of the kernel's KVM modules that macOS needs, and those in modprobe.d(5) files. Band: core, no I/O.

macOS reads model-specific registers that KVM does not have; without ignore_msrs it gets a fault and restarts forever.
`modules` reads and writes the files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

NAME = "pommel.conf"
SAVED = ".pommel-saved"  # after its name: modprobe reads only names that end with .conf
LIVE = ("ignore_msrs", "report_ignored_msrs")  # the options of kvm that can be changed while it is loaded

_MARK = "# Written by pommel"
_HEADER = f"{_MARK}. `pommel uninstall` removes this file, unless it has been edited."
_CHECK = "# sha256 of what follows: "
# The spellings of a switch: the kernel's lib/kstrtox.c, kstrtobool.
_SWITCH = {"1": "1", "y": "1", "t": "1", "on": "1", "0": "0", "n": "0", "f": "0", "off": "0"}

Parameter = tuple[str, str]  # module, parameter


@dataclass(frozen=True, slots=True)
class Conflict:
    """A place that sets a parameter to another value; `wins` if it is read after our file."""

    where: str
    parameter: str
    value: str
    wins: bool


def wanted_options(vendor: str, *, nested: bool = False) -> dict[Parameter, str]:
    """The parameters that macOS needs on a host with a processor of `vendor` (intel, amd or other).

    `nested` lets guests run virtual machines themselves, which macOS does not need.
    """
    wanted = {("kvm", "ignore_msrs"): "1", ("kvm", "report_ignored_msrs"): "0"}
    if vendor == "intel":
        wanted["kvm_intel", "emulate_invalid_guest_state"] = "0"
    if nested and vendor in ("intel", "amd"):
        wanted[f"kvm_{vendor}", "nested"] = "1"
    return wanted


def render(options: Mapping[Parameter, str]) -> str:
    """The text of our file: a header, a hash that shows later edits, one line per module."""
    lines: dict[str, list[str]] = {}
    for (module, name), value in options.items():
        lines.setdefault(module, []).append(f"{name}={value}")
    body = "".join(f"options {module} {' '.join(words)}\n" for module, words in lines.items())
    return f"{_HEADER}\n{_CHECK}{_hash(body)}\n{body}"


def is_ours(text: str) -> bool:
    """Whether Pommel wrote this file, edited since or not."""
    return text.startswith(_MARK)


def is_edited(text: str) -> bool:
    """Whether a file of ours differs from what any version of Pommel wrote."""
    _, _, rest = text.partition("\n")
    check, _, body = rest.partition("\n")
    return check != _CHECK + _hash(body)


def parse_options(text: str) -> list[tuple[Parameter, str]]:
    """The parameters that a modprobe.d(5) file sets, in its order, switches as 1 and 0. Other commands are ignored.

    A dash in a name equals an underscore, a backslash at the end continues a line, and a name alone switches on.
    """
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        match line.split():
            case ["options", module, *settings]:
                found += [_setting(module, setting) for setting in settings]
    return found


def parse_cmdline(text: str) -> list[tuple[Parameter, str]]:
    """The module parameters on a kernel command line, as kvm.ignore_msrs=1; built-in modules and modprobe use them."""
    words = [word.partition(".") for word in text.split()]
    return [_setting(module, setting) for module, dot, setting in words if dot and "=" not in module]


def _setting(module: str, text: str) -> tuple[Parameter, str]:
    name, equals, value = text.partition("=")
    return (module.replace("-", "_"), name.replace("-", "_")), as_switch(value) if equals else "1"


def as_switch(value: str) -> str:
    """A switch in any spelling as "1" or "0"; any other value unchanged."""
    plain = value.strip().strip("\"'")
    return _SWITCH.get(plain.lower(), plain)


def effective(files: Mapping[str, str]) -> dict[Parameter, str]:
    """The parameters that modprobe gives the modules: files (path -> text) by name; the last value counts."""
    return {key: value for path in sorted(files, key=_base) for key, value in parse_options(files[path])}


def conflicts(
    files: Mapping[str, str], cmdline: Iterable[tuple[Parameter, str]], wanted: Mapping[Parameter, str]
) -> tuple[Conflict, ...]:
    """Other values in other files and on the kernel's command line, in the order in which they are read."""
    others = [path for path in sorted(files, key=_base) if _base(path) != NAME]
    said = [(path, _base(path) > NAME, setting) for path in others for setting in parse_options(files[path])]
    said += [("the kernel's command line", True, setting) for setting in cmdline]
    return tuple(
        Conflict(where, ".".join(key), value, wins)
        for where, wins, (key, value) in said
        if wanted.get(key, value) != value
    )


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _hash(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
