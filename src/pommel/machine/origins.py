"""Determines who wrote each argument of the upstream's command line. Band: core, no I/O.

A boot script is run several times: as in the pristine upstream, then with each of the user's patches and files added,
and last with the tree as it is. Each run is a stage. An argument belongs to the first stage that has it and from which
on all later stages have it too; a difference between two stages is a change by the later one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from pommel.errors import UpstreamError
from pommel.machine.commandline import Argument, CommandLine, parse_words

PRISTINE = ""  # the origin of arguments that only the upstream wrote


@dataclass(frozen=True, slots=True)
class OriginStage:
    """QEMU's arguments when `origin` was the last change of the upstream."""

    origin: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One argument that `origin` changed: `before` is None for an added one, `after` for a removed one."""

    origin: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"adds {self.after}"
        return f"takes out {self.before}" if self.after is None else f"{self.before} → {self.after}"


@dataclass(frozen=True, slots=True)
class Traced:
    """The last stage's command line, in which each argument has its origin, and all differences in order."""

    line: CommandLine
    differences: tuple[Difference, ...] = ()


def trace(program: str, stages: Sequence[OriginStage]) -> Traced:
    """Follow the arguments through the stages; the last stage is the effective command line.

    A stage before the last that QEMU could not parse is skipped: its changes are attributed to the next one.

    Raises:
        UpstreamError: the last stage's command line ends where QEMU requires a value.
    """
    arguments: list[Argument] = []
    differences: list[Difference] = []
    for number, stage in enumerate(stages):
        try:
            new = parse_words(stage.words)
        except UpstreamError:
            if number == len(stages) - 1:
                raise
            continue
        if number == 0:
            arguments = [replace(argument, written=stage.origin) for argument in new]
            continue
        arguments, found = _step(arguments, new, stage.origin)
        differences += found
    return Traced(CommandLine(program, tuple(arguments)), tuple(differences))


def _step(old: list[Argument], new: list[Argument], origin: str) -> tuple[list[Argument], list[Difference]]:
    matcher = SequenceMatcher(None, [a.words for a in old], [a.words for a in new], autojunk=False)
    arguments: list[Argument] = []
    differences: list[Difference] = []
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        if kind == "equal":
            arguments += old[i1:i2]
            continue
        arguments += [replace(argument, written=origin) for argument in new[j1:j2]]
        differences += _pairs(old[i1:i2], new[j1:j2], origin)
    return arguments, differences


def _pairs(gone: list[Argument], come: list[Argument], origin: str) -> Iterator[Difference]:
    """A changed argument is one difference: arguments of the same option are paired, in their order."""
    left = list(come)
    for argument in gone:
        instead = next((other for other in left if other.name == argument.name), None)
        if instead is not None:
            left.remove(instead)
        yield Difference(origin, argument.text, instead.text if instead else None)
    for argument in left:
        yield Difference(origin, None, argument.text)
