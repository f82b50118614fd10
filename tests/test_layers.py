"""The bands and rooms of ARCHITECTURE.md, enforced over the syntax trees of src/."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "pommel"
FILES = sorted(SRC.rglob("*.py"))

GROUND = {
    "account",
    "child",
    "errors",
    "progress",
    "process",
    "paths",
    "locks",
    "ssh",
    "config",
    "settings",
    "fat",
    "foreign",
    "handles",
    "inheritors",
    "json_file",
    "loopback",
    "marks",
    "ovmf",
    "partition_table",
    "proxies",
    "sockets",
    "systemd",
    "tasks",
    "texts",
    "x11_display",
    "trees",
    "trust",
    "writable",
}
DOMAINS = {
    "overlay", "host", "recovery", "opencore", "machine", "trial", "wire", "screen", "console", "clipboard",
    "session", "sftp", "terminal", "mesh", "adopt", "recipe", "unattended", "image",
}  # fmt: skip
FACES = {"cli", "menu", "pytest_plugin"}
# The one line on which domain packages may lean on each other: wire <- screen <- session, wire <- mesh, console;
# terminal; sftp <- clipboard, console, mesh.
ALLOWED = {
    ("clipboard", "sftp"),
    ("console", "sftp"),
    ("mesh", "sftp"),
    ("screen", "wire"),
    ("console", "wire"),
    ("session", "screen"),
    ("session", "wire"),
    ("mesh", "wire"),
    ("terminal", "wire"),
}
NO_IO = {"asyncio", "socket", "subprocess", "threading", "time", "select", "selectors", "multiprocessing"}
# Core modules that the shared ground offers to core modules of a room.
CORE_GROUND = {"errors", "ovmf", "foreign", "partition_table", "progress", "settings", "systemd"}
CORE_MARK = "Band: core"


def room_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def offences(path: Path, source: str) -> list[str]:
    tree = ast.parse(source)
    room, core = room_of(path), CORE_MARK in (ast.get_docstring(tree) or "")
    found = []
    for line, name in imports(tree):
        parts = name.split(".")
        where = f"{path.relative_to(SRC.parent)}:{line} imports {name}"
        if parts[0] == "subprocess" and room != "process":
            found.append(f"{where}: only process.py starts processes")
        if core and parts[0] in NO_IO:
            found.append(f"{where}: a core module does no I/O")
        if parts[0] != "pommel" or len(parts) < 2:
            continue
        other = parts[1]
        if other in FACES and room not in FACES | {"__main__"}:
            found.append(f"{where}: nothing imports a face")
        elif other == "app" and room not in FACES | {"app", "__init__"}:
            found.append(f"{where}: only faces import app")
        elif room in FACES and other in DOMAINS:
            found.append(f"{where}: a face leans on app and the shared ground")
        elif room in GROUND and other in DOMAINS:
            found.append(f"{where}: the shared ground knows no room")
        elif room in DOMAINS and other in DOMAINS - {room} and (room, other) not in ALLOWED:
            found.append(f"{where}: {room} may not lean on {other}")
        elif core and other in GROUND - CORE_GROUND:
            found.append(f"{where}: a core module leans on core only")
    if core:
        found += [
            f"{path.relative_to(SRC.parent)}:{line} {what}: a core module does no I/O" for line, what in io_calls(tree)
        ]
    return found


def io_calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            yield node.lineno, "calls open()"
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "os.environ":
            yield node.lineno, "reads os.environ"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_module_leans_only_on_what_it_may(path: Path) -> None:
    assert offences(path, path.read_text()) == []


@pytest.mark.parametrize(
    ("where", "source", "said"),
    [
        ("wire/x.py", '"""X. Band: core, no I/O."""\nimport asyncio\n', "core module does no I/O"),
        ("wire/x.py", '"""X. Band: core, no I/O."""\nopen("f")\n', "calls open()"),
        ("wire/x.py", "from pommel.screen import frame\n", "wire may not lean on screen"),
        ("host/x.py", "import subprocess\n", "only process.py"),
        ("cli/x.py", "from pommel.machine import spec\n", "a face leans on app"),
        ("machine/x.py", "from pommel.app import up\n", "only faces import app"),
        ("app/x.py", "import pommel.cli\n", "nothing imports a face"),
        ("paths.py", "from pommel.machine import spec\n", "knows no room"),
    ],
)
def test_the_check_itself_finds_offences(where: str, source: str, said: str) -> None:
    assert any(said in offence for offence in offences(SRC / where, source))


def test_allowed_line_is_allowed() -> None:
    assert offences(SRC / "screen/x.py", "from pommel.wire import messages\n") == []
