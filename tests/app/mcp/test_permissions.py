"""What an MCP client may do: nothing that changes something, unless somebody has said so."""

from __future__ import annotations

from pathlib import Path

import pytest

from pommel.app.mcp.permissions import CHANGING, LOOKING, permissions
from pommel.app.mcp.tools import TOOLS
from pommel.config import read_file
from pommel.errors import ConfigError, StateError, UsageError
from pommel.settings import ConfigFile

EMPTY = ConfigFile(None, "", {})


def kept(folder: Path, text: str) -> ConfigFile:
    (folder / "pommel.toml").write_text(text)
    return read_file(folder / "pommel.toml")


def test_every_tool_is_looking_or_must_be_allowed() -> None:
    assert tuple(TOOLS) == (*LOOKING, *CHANGING)
    assert {name for name, tool in TOOLS.items() if tool.act is None} == set(LOOKING)
    nothing = permissions(EMPTY)
    assert nothing.tools() == LOOKING and nothing.sees("any")
    for tool in CHANGING:
        with pytest.raises(StateError, match=f"{tool} is not allowed here"):
            nothing.must_allow(tool, "m")


def test_what_changes_takes_a_machine_that_is_named() -> None:
    with pytest.raises(UsageError, match="type: say for which machines"):
        permissions(EMPTY, allow=("type",))
    some = permissions(EMPTY, allow=("type,files",), machines=("m", "n"))
    assert some.tools() == (*LOOKING, "type", "file_read", "file_write")
    some.must_allow("type", "m")
    some.must_allow("list_machines", None)
    for tool in ("type", "screenshot"):
        with pytest.raises(StateError, match="no machine 'o' that may be used here"):
            some.must_allow(tool, "o")
    assert permissions(EMPTY, allow=("all",), machines=("*",)).sees("any")


def test_view_only_is_stronger_than_the_file_and_refuses_a_flag(tmp_path: Path) -> None:
    file = kept(tmp_path, '[mcp]\nallow = ["input"]\nmachines = ["m"]\n')
    assert "click" in permissions(file).tools()
    assert permissions(file, view_only=True).tools() == LOOKING
    with pytest.raises(UsageError, match="--view-only"):
        permissions(file, view_only=True, allow=("type",))
    file = kept(tmp_path, '[mcp]\nview_only = true\nallow = ["input"]\n')
    assert permissions(file).tools() == LOOKING


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[mcp]\nalow = ["type"]\n', "unknown key 'alow' in \\[mcp\\]"),
        ('[mcp]\nallow = "type"\n', "mcp.allow must be a list of words"),
        ("[mcp]\nview_only = 1\n", "mcp.view_only must be true or false"),
        ("x = 1\n", "unknown table or key 'x'"),
        ('[mcp]\nallow = ["tipe"]\n', "nothing called 'tipe' to allow"),
        ("mcp = 3\n", "`mcp` must be a table"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as told:
        permissions(kept(tmp_path, text))
    assert "pommel.toml:" in told.value.message and told.value.hint
