"""QEMU's command line as a value. It does not judge what the options mean. Band: core, no I/O.

A line is a program and an ordered tuple of arguments; parsing it and joining it again gives the same words. Each
argument knows its origin (the upstream's script, or a rule) and which rules changed it since. Arguments are found and
replaced by identity, because a line may have two arguments with the same text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from pommel.errors import UpstreamError
from pommel.machine.qemu_options import name_of, takes_value
from pommel.machine.suboptions import SubOptions

UPSTREAM = "upstream"


@dataclass(frozen=True, slots=True)
class Note:
    """A rule that changed an argument, and the reason."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Argument:
    """One option with its value. `option` is as written ("-device"), and "" for a word that is not an option."""

    option: str
    value: str | None = None
    born: str = UPSTREAM
    notes: tuple[Note, ...] = ()
    was: str | None = None  # its text before the first change, if there was one
    # The part of the user's own text that wrote it, such as a patch; empty for the unchanged upstream's.
    written: str = ""
    name: str = field(init=False)  # the option's canonical name: `machine` for `-M`

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", name_of(self.option))

    @property
    def words(self) -> tuple[str, ...]:
        """The words on the command line: one or two."""
        option = (self.option,) if self.option else ()
        return option if self.value is None else (*option, self.value)

    @property
    def text(self) -> str:
        """The argument as text, without quotes."""
        return " ".join(self.words)

    @property
    def sub(self) -> SubOptions:
        """The parsed value."""
        return SubOptions.parse(self.value or "")

    @property
    def origin(self) -> str:
        """Who wrote it and what changed it: `upstream`, `network`, `patches/ram.patch`, `upstream + disks`."""
        first = self.written if self.born == UPSTREAM and self.written else self.born
        rules = dict.fromkeys([first, *(note.rule for note in self.notes)])
        return " + ".join(rules)

    @property
    def reason(self) -> str:
        """The reason for its present form; empty for an unchanged argument of the upstream."""
        return "; ".join(dict.fromkeys(note.reason for note in self.notes))


@dataclass(frozen=True, slots=True, eq=False)
class CommandLine:
    """A program and its arguments, in order. Every edit gives a new one."""

    program: str
    arguments: tuple[Argument, ...]

    @classmethod
    def parse(cls, program: str, words: Sequence[str], *, born: str = UPSTREAM) -> CommandLine:
        """Parse a list of words as QEMU does.

        Raises:
            UpstreamError: the last option lacks the value that QEMU requires.
        """
        return cls(program, tuple(parse_words(words, born=born)))

    @property
    def words(self) -> tuple[str, ...]:
        """The arguments as words, without the program."""
        return tuple(word for argument in self.arguments for word in argument.words)

    @property
    def argv(self) -> tuple[str, ...]:
        """The program and its arguments, ready to run."""
        return (self.program, *self.words)

    def find(self, *names: str, where: Callable[[Argument], bool] | None = None) -> tuple[Argument, ...]:
        """The arguments with one of these names (`device`, not `-device`) that satisfy `where`."""
        found = [argument for argument in self.arguments if argument.name in names]
        return tuple(found) if where is None else tuple(filter(where, found))

    def replace(self, old: Argument, *new: Argument) -> CommandLine:
        """Replace `old` by `new` (none, one or more)."""
        out: list[Argument] = []
        for argument in self.arguments:
            out += new if argument is old else (argument,)
        return replace(self, arguments=tuple(out))

    def remove(self, old: Argument) -> CommandLine:
        """Remove an argument."""
        return self.replace(old)

    def append(self, *new: Argument) -> CommandLine:
        """Add arguments at the end."""
        return replace(self, arguments=(*self.arguments, *new))


def parse_words(words: Iterable[str], *, born: str = UPSTREAM) -> list[Argument]:
    """Parse words into arguments; `born` is their origin.

    Raises:
        UpstreamError: the last option lacks the value that QEMU requires.
    """
    rest = list(words)
    out: list[Argument] = []
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            out.append(Argument("", word, born))
        elif takes_value(word, rest[0] if rest else None):
            if not rest:
                raise UpstreamError(f"the command line ends at {word}, which needs a value")
            out.append(Argument(word, rest.pop(0), born))
        else:
            out.append(Argument(word, None, born))
    return out
