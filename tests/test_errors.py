"""The error tree: drawn as it is, and each with the exit status that it promises."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from pommel import errors
from pommel.errors import CommandFailed, PommelError

SRC = Path(errors.__file__).parent
CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, PommelError)]


def drawn() -> dict[str, tuple[str, int | None]]:
    """Each class in the docstring's tree: its parent, and the exit status that stands beside it."""
    found: dict[str, tuple[str, int | None]] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"([ │├└─]*)([A-Z][A-Za-z]+)\s*(?:exit (\d))?", line):
            depth = len(match[1])
            if depth < 4 or not match[2].endswith(("Error", "Program", "Permitted", "Failed")):
                continue
            above = [entry for entry in above if entry[0] < depth]
            found[match[2]] = (above[-1][1] if above else "Exception", int(match[3]) if match[3] else None)
            above.append((depth, match[2]))
    return found


def test_the_tree_is_drawn_as_it_is() -> None:
    assert {name: parent for name, (parent, _) in drawn().items()} == {
        kind.__name__: kind.__bases__[0].__name__ for kind in CLASSES
    }


def drawn_of_rooms() -> set[tuple[str, str, str]]:
    """Room, class and parent, as the second list of the docstring has them."""
    found, room = set[tuple[str, str, str]](), ""
    for line in (errors.__doc__ or "").partition("A room has classes")[2].splitlines():
        if match := re.match(r"    ([a-z]+ +| +)[A-Z]", line):
            room = match[1].strip() or room
            found |= {(room, name, parent) for name, parent in re.findall(r"(\w+) \((\w+)\)", line)}
    return found


def classes_of_rooms() -> dict[tuple[str, str, str], ast.ClassDef]:
    """Every class of src/ outside errors.py that has a class of the tree above it."""
    classes = [
        (path.relative_to(SRC).parts[0], node, ast.unparse(node.bases[0]).rpartition(".")[2])
        for path in SRC.rglob("*.py")
        if path != SRC / "errors.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and node.bases
    ]
    known, before = {kind.__name__ for kind in CLASSES}, 0
    while len(known) != before:
        before = len(known)
        known |= {node.name for _, node, parent in classes if parent in known}
    return {(room, node.name, parent): node for room, node, parent in classes if node.name in known}


def test_what_rooms_add_to_the_tree_is_drawn_too() -> None:
    assert drawn_of_rooms() == classes_of_rooms().keys()


def test_no_room_decides_an_exit_status() -> None:
    assert [name for (_, name, _), node in classes_of_rooms().items() if "exit_code" in ast.unparse(node)] == []


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_exit_statuses_are_those_drawn_or_the_parents(kind: type[PommelError]) -> None:
    tree, name = drawn(), kind.__name__
    while tree[name][1] is None:
        name = tree[name][0]
    assert kind.exit_code == tree[name][1]
    assert kind.__doc__


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind is not CommandFailed], ids=lambda k: k.__name__)
def test_message_and_hint(kind: type[PommelError]) -> None:
    error = kind("it is broken", hint="mend it")
    assert (str(error), error.message, error.hint) == ("it is broken", "it is broken", "mend it")
    assert kind("it is broken").hint is None


@pytest.mark.parametrize(
    ("output", "last"), [("", "no output"), ("\n \n", "no output"), ("one\ntwo \n\n", "two"), ("a\r\n", "a")]
)
def test_a_failed_command_says_its_last_line(output: str, last: str) -> None:
    error = CommandFailed(["git", "clone"], 128, output, hint="try again")
    assert error.message == f"git failed with exit status 128: {last}"
    assert (error.argv, error.returncode, error.output, error.hint) == (("git", "clone"), 128, output, "try again")


@pytest.mark.parametrize("bad", ["\x1b[2J", "\x9b2J", "a\rb", "\x07", "\u202egnp", "\0"])
def test_what_a_stranger_wrote_commands_no_terminal(bad: str) -> None:
    error = PommelError(f"it says {bad!s}", hint=f"type {bad}")
    assert bad not in error.message + str(error) + (error.hint or "") and "\ufffd" in error.message
    kept = PommelError("it printed:\n\ta ü \U0001f600")
    assert kept.message == str(kept) == "it printed:\n\ta ü \U0001f600"


def test_a_message_without_end_is_cut() -> None:
    error = PommelError("x" * 1_000_000, hint="y" * 1_000_000)
    assert len(error.message) == len(error.hint or "") == 4001 and error.message.endswith("x…")
