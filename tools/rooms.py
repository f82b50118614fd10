#!/usr/bin/env python3
"""The rooms of a tree in numbers, and which imports which: `python tools/rooms.py [--graph] [TREE]`.

Without an option: a table in Markdown, a row for each room (a package or module below src/pommel). A line of code is
one that holds a token other than a comment or a docstring. A module has a test if some tests/**/test_*.py has its name.
With --graph: the imports between rooms as a Mermaid flowchart, which mermaid.live and most viewers of Markdown draw.
TREE is a checkout of Pommel, this one if none is given, so that two commits can be compared.
"""

from __future__ import annotations

import argparse
import ast
import io
import signal
import tokenize
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True)
class Room:
    """What is counted of a room. `imports` are the other rooms it imports at its modules' top or in a function."""

    modules: int = 0
    code: int = 0
    comments: int = 0
    longest: int = 0
    untested: int = 0
    imports: frozenset[str] = frozenset()


def rooms(tree: Path) -> dict[str, Room]:
    """The rooms of a checkout by their names."""
    source = tree / "src" / "pommel"
    tested = {path.name.removeprefix("test_") for path in (tree / "tests").rglob("test_*.py")}
    found: dict[str, Room] = defaultdict(Room)
    for path in sorted(source.rglob("*.py")):
        name = path.relative_to(source).parts[0].removesuffix(".py")
        text = path.read_text(encoding="utf-8")
        code, comments = _lines(text)
        room = found[name]
        room.modules += 1
        room.code += code
        room.comments += comments
        room.longest = max(room.longest, code)
        room.untested += bool(code) and path.name not in tested and not path.name.startswith("__")
        room.imports |= _imports(text) - {name}
    for room in found.values():
        room.imports &= found.keys()
    return dict(found)


def _lines(text: str) -> tuple[int, int]:
    """How many lines hold code, and how many a comment (no directive of a linter's)."""
    code, comments = set[int](), set[int]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if not token.string.startswith(("# noqa", "# type:", "# fmt:")):
                comments.add(token.start[0])
        elif token.type not in _NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node):
            code.difference_update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(code), len(comments)


def _imports(text: str) -> frozenset[str]:
    found = set[str]()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == "pommel":
            found.update(each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pommel."):
            found.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            found.update(each.name.split(".")[1] for each in node.names if each.name.startswith("pommel."))
    return frozenset(found)


def table(found: dict[str, Room]) -> str:
    """The numbers in Markdown, the largest room first, and the sum."""
    rows = ["| Room | Modules | Lines of code | Longest module | Comments in 1000 lines | Modules without a test |"]
    rows.append("|---|--:|--:|--:|--:|--:|")
    total = Room()
    for name, room in sorted(found.items(), key=lambda each: -each[1].code):
        rows.append(_row(name, room))
        total.modules += room.modules
        total.code += room.code
        total.comments += room.comments
        total.untested += room.untested
        total.longest = max(total.longest, room.longest)
    return "\n".join([*rows, _row("all", total)])


def _row(name: str, room: Room) -> str:
    share = 1000 * room.comments / max(1, room.code)
    return f"| {name} | {room.modules} | {room.code} | {room.longest} | {share:.0f} | {room.untested} |"


def graph(found: dict[str, Room]) -> str:
    """The imports between packages as a flowchart. Single modules, which all may import, are left out."""
    large = {name for name, room in found.items() if room.modules > 1}
    arrows = [f"    {name} --> {other}" for name in sorted(large) for other in sorted(found[name].imports & large)]
    return "\n".join(["flowchart LR", *arrows])


def main() -> None:
    """Print the table or the graph."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--graph", action="store_true", help="print the imports between rooms as a Mermaid flowchart")
    parser.add_argument("tree", nargs="?", type=Path, default=Path(__file__).parents[1], metavar="TREE")
    options = parser.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a traceback
    found = rooms(options.tree)
    print(graph(found) if options.graph else table(found))


if __name__ == "__main__":
    main()
