"""QEMU's command line as a value. What this is not: a judge of what the options mean. Band: core, no I/O.

A line is a program and an ordered tuple of arguments; taking one apart and putting it together again gives the same
words. Each argument knows where it was born (the upstream's script, or a rule) and which rules changed it since.
Arguments are found and replaced by identity, since a line may hold two that read alike.
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
    """A rule that touched an argument, and why."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Argument:
    """One option with its value. `option` is as written ("-device"), and "" for a word that is no option."""

    option: str
    value: str | None = None
    born: str = UPSTREAM
    notes: tuple[Note, ...] = ()
    was: str | None = None  # its text before the first change, if there was one
    written: str = ""  # what of the user's own text wrote it, such as a patch; empty for the pristine upstream's
    name: str = field(init=False)  # the option's one name: `machine` for `-M`

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", name_of(self.option))

    @property
    def words(self) -> tuple[str, ...]:
        """The words on the command line: one or two."""
        option = (self.option,) if self.option else ()
        return option if self.value is None else (*option, self.value)

    @property
    def text(self) -> str:
        """The argument as a person writes it, unquoted."""
        return " ".join(self.words)

    @property
    def sub(self) -> SubOptions:
        """The value taken apart."""
        return SubOptions.parse(self.value or "")

    @property
    def origin(self) -> str:
        """Who wrote it and what changed it: `upstream`, `network`, `patches/ram.patch`, `upstream + disks`."""
        first = self.written if self.born == UPSTREAM and self.written else self.born
        rules = dict.fromkeys([first, *(note.rule for note in self.notes)])
        return " + ".join(rules)

    @property
    def reason(self) -> str:
        """Why it is as it is; empty for an argument that is the upstream's own."""
        return "; ".join(dict.fromkeys(note.reason for note in self.notes))


@dataclass(frozen=True, slots=True, eq=False)
class CommandLine:
    """A program and its arguments, in order. Every edit gives a new one."""

    program: str
    arguments: tuple[Argument, ...]

    @classmethod
    def parse(cls, program: str, words: Sequence[str], *, born: str = UPSTREAM) -> CommandLine:
        """Take a list of words apart the way QEMU does.

        Raises:
            UpstreamError: the last option lacks the value that QEMU wants for it.
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
        """Put `new` (none, one or more) where `old` stands."""
        out: list[Argument] = []
        for argument in self.arguments:
            out += new if argument is old else (argument,)
        return replace(self, arguments=tuple(out))

    def remove(self, old: Argument) -> CommandLine:
        """Take an argument out."""
        return self.replace(old)

    def append(self, *new: Argument) -> CommandLine:
        """Put arguments at the end."""
        return replace(self, arguments=(*self.arguments, *new))


def parse_words(words: Iterable[str], *, born: str = UPSTREAM) -> list[Argument]:
    """Take words apart into arguments; `born` says whose they are.

    Raises:
        UpstreamError: the last option lacks the value that QEMU wants for it.
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
