"""A domain that is being written, and the account of each argument of QEMU. Band: core, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from xml.etree.ElementTree import Element, SubElement

from pommel.errors import UsageError
from pommel.machine.commandline import Argument, CommandLine

QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
_USERS_ALIAS = "ua-"  # libvirt keeps the names of users only with this prefix (formatdomain, "Device aliases")
_HINT = "to see all arguments: pommel argv NAME --explain"


class Outcome(StrEnum):
    """What an argument becomes."""

    ELEMENT = "element"
    RAW = "qemu:commandline"
    OWN = "libvirt's own"  # libvirt has its own way to do the same
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class ArgumentFate:
    """What one argument of QEMU becomes: `element` is its element, or its words; `reason` says why it has none."""

    argument: str
    outcome: Outcome
    element: str
    reason: str = ""


def refused(argument: Argument, why: str) -> UsageError:
    """Return the error for an argument with which no equal domain can be written."""
    return UsageError(f"{argument.text[:200]} cannot be exported: {why}", hint=_HINT)


class Draft:
    """The domain so far. An argument is claimed once, with its fate."""

    def __init__(self, line: CommandLine, slots: Mapping[Argument, str]) -> None:
        self.line = line
        self.slots = slots  # PCI addresses such as 0x5 or 0x1f.0x3
        self.root = Element("domain")
        self.devices = Element("devices")
        self._fates: dict[Argument, ArgumentFate] = {}
        self._raw: dict[Argument, tuple[str, ...]] = {}
        self._renamed: set[str] = set()

    def waiting(self, *names: str) -> Iterable[Argument]:
        """Yield the arguments of these names that nobody has claimed yet."""
        return (each for each in self.line.find(*names) if each not in self._fates)

    def is_claimed(self, argument: Argument) -> bool:
        """Tell whether the fate of `argument` is known."""
        return argument in self._fates

    def element(self, argument: Argument, where: str, reason: str = "") -> None:
        """Note that `argument` is the element `where` now."""
        self._claim(argument, Outcome.ELEMENT, where, reason)

    def own(self, argument: Argument, reason: str) -> None:
        """Note that libvirt does what `argument` asks for."""
        self._claim(argument, Outcome.OWN, "", reason)

    def left_out(self, argument: Argument, reason: str) -> None:
        """Note that the domain lacks `argument`."""
        self._claim(argument, Outcome.LEFT_OUT, "", reason)

    def raw(self, argument: Argument, reason: str, words: tuple[str, ...] | None = None) -> None:
        """Hand `argument` to QEMU as it is, or as `words`."""
        chosen = argument.words if words is None else words
        self._raw[argument] = chosen
        self._claim(argument, Outcome.RAW, " ".join(chosen), reason)

    def alias(self, element: Element, name: str | None) -> None:
        """Give an element the name that the line has for it, so that what stays raw can refer to it."""
        if name:
            SubElement(element, "alias", name=_USERS_ALIAS + name)
            self._renamed.add(name)

    def bus_of(self, text: str) -> str:
        """Return the name of a bus such as xhci.0 in the domain."""
        name, dot, number = text.rpartition(".")
        return f"{_USERS_ALIAS}{name}{dot}{number}" if name in self._renamed else text

    def address(self, element: Element, argument: Argument) -> None:
        """Write down the PCI address that QEMU gives this device."""
        slot, _, function = self.slots[argument].partition(".")
        place = {"domain": "0x0000", "bus": "0x00", "slot": slot, "function": function or "0x0"}
        SubElement(element, "address", {"type": "pci", **place})

    def finished(self) -> tuple[Element, tuple[ArgumentFate, ...]]:
        """Return the domain with what stays raw, and the account in the line's order."""
        self.root.append(self.devices)
        words = [word for each in self.line.arguments for word in self._raw.get(each, ())]
        if words:
            more = SubElement(self.root, f"{{{QEMU}}}commandline")
            for word in words:
                SubElement(more, f"{{{QEMU}}}arg", value=word)
        return self.root, tuple(self._fates[each] for each in self.line.arguments)

    def _claim(self, argument: Argument, outcome: Outcome, where: str, reason: str) -> None:
        self._fates[argument] = ArgumentFate(argument.text, outcome, where, reason)


def other_keys(argument: Argument, *known: str) -> list[str]:
    """Return the keys of an argument's value that are not among `known`."""
    return [key for key, _ in argument.sub.pairs if key not in known]


def lacks(keys: Iterable[str]) -> str:
    """Return the reason why an argument with such keys is no element."""
    return f"libvirt has no attribute for {', '.join(dict.fromkeys(keys))}"
