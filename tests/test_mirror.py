"""Where a test is found: `tests/ROOM/test_X.py` tests the module X of that room, and no other room's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SRC = TESTS.parent / "src" / "pommel"
# Whole machines, and what is made of the whole tree: neither is one room's.
OF_NO_ROOM = {"e2e", "packages"}


def modules() -> Iterator[tuple[str, str]]:
    """The name and the folder of each module, of each package, and of each script of the console's page."""
    for path in SRC.rglob("*.py"):
        whole = path.parent if path.name == "__init__.py" else path.with_suffix("")
        if whole != SRC:
            yield whole.name, str(whole.parent.relative_to(SRC))
    for script in (SRC / "console" / "static").glob("*.js"):
        yield script.stem, "console"


FOLDERS: dict[str, set[str]] = {}
for _name, _folder in modules():
    FOLDERS.setdefault(_name, set()).add(_folder)
FILES = sorted(TESTS.rglob("test_*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_a_test_named_after_a_module_lies_where_the_module_does(path: Path) -> None:
    folder, name = str(path.parent.relative_to(TESTS)), path.stem.removeprefix("test_")
    if folder not in OF_NO_ROOM:
        assert (SRC / folder).is_dir(), "there is no such room in src/pommel"
        assert folder in FOLDERS.get(name, {folder}), (
            f"move it to the room's folder, or name it after what it tests: {FOLDERS[name]}"
        )
