"""Explains the command line: the origin of each argument, and the reason. Band: core, no I/O."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pommel.machine.commandline import UPSTREAM, CommandLine
from pommel.machine.origins import Difference
from pommel.machine.rules import Overlaid

_AS_IT_IS = "unchanged from the upstream"
_TAKEN_OUT = "your own text removes this argument of the pristine upstream"


@dataclass(frozen=True, slots=True)
class ArgumentRow:
    """One argument. `state` is kept, added, changed or removed; `before` is the upstream's text if it differs."""

    argument: str
    origin: str
    reason: str
    state: str
    before: str | None = None


def explain(overlaid: Overlaid, differences: Sequence[Difference] = ()) -> tuple[ArgumentRow, ...]:
    """Every argument of the finished line in its order, then the removed ones.

    `differences` are the user's own changes to the pristine upstream: what they removed is among the removed ones.
    """
    rows = []
    for argument in overlaid.command_line.arguments:
        born_upstream = argument.born == UPSTREAM
        state = ("changed" if argument.was else "kept") if born_upstream else "added"
        before = argument.was if born_upstream else None
        as_it_is = f"from {argument.written}" if born_upstream and argument.written else _AS_IT_IS
        rows.append(ArgumentRow(argument.text, argument.origin, argument.reason or as_it_is, state, before))
    out = ((each.origin, each.before) for each in differences if each.before is not None and each.after is None)
    rows += [ArgumentRow(before, origin, _TAKEN_OUT, "removed", before) for origin, before in out]
    gone = (change for change in overlaid.changes if change.kind == "removed")
    rows += [ArgumentRow(change.before or "", change.rule, change.reason, "removed", change.before) for change in gone]
    return tuple(rows)


def as_json(rows: tuple[ArgumentRow, ...]) -> list[dict[str, Any]]:
    """The rows as plain values for `--json`."""
    return [asdict(row) for row in rows]


def as_shell(line: CommandLine) -> str:
    """The command for a shell, one argument per line, ready to copy and paste."""
    arguments = [shlex.join(argument.words) for argument in line.arguments]
    return " \\\n  ".join([shlex.quote(line.program), *arguments])
