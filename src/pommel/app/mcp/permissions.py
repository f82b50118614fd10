"""The permissions of MCP clients. Band: app.

Looking needs no permission. A tool that changes something, or reads a guest's files or clipboard, is refused unless the
user has allowed it for a named machine, by options or in [mcp] of pommel.toml.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pommel.config import line_of_table
from pommel.errors import ConfigError, StateError, UsageError
from pommel.settings import ConfigFile

LOOKING = ("list_machines", "status", "screenshot", "wait")
CHANGING = (
    "start", "stop", "click", "scroll", "drag", "type", "key", "clipboard_get", "clipboard_set", "run", "file_read",
    "file_write",
)  # fmt: skip
GROUPS = {
    "input": ("click", "scroll", "drag", "type", "key"),
    "clipboard": ("clipboard_get", "clipboard_set"),
    "files": ("file_read", "file_write"),
    "all": CHANGING,
}
ANY = "*"
KEYS = {
    "allow": "a list of words",
    "machines": "a list of names",
    "view_only": "true or false",
    "log_text": "true or false",
}

_SHOWN = {"allow": '["input"]', "machines": '["trial"]', "view_only": "true", "log_text": "true"}


@dataclass(frozen=True, slots=True)
class Permissions:
    """The permissions. A client can use only `machines`; empty: all machines, but only for looking.

    `log_text`: whether typed text, clipboard content and commands are written to the machines' logs.
    """

    allow: frozenset[str] = frozenset()
    machines: tuple[str, ...] = ()
    view_only: bool = False
    log_text: bool = False

    def tools(self) -> tuple[str, ...]:
        """The names of the tools that a client can use."""
        return (*LOOKING, *(() if self.view_only else (tool for tool in CHANGING if tool in self.allow)))

    def sees(self, machine: str) -> bool:
        """Whether a client may know that a machine exists."""
        return not self.machines or ANY in self.machines or machine in self.machines

    def must_allow(self, tool: str, machine: str | None) -> None:
        """Check one call.

        Raises:
            StateError: it is not allowed.
        """
        if tool not in self.tools():
            raise StateError(f"{tool} is not allowed here", hint=f"a person can allow it: pommel mcp --allow {tool}")
        if machine is not None and not self.sees(machine):
            raise StateError(f"there is no machine {machine!r} that may be used here", hint="call list_machines")


def permissions(
    file: ConfigFile,
    *,
    allow: Sequence[str] = (),
    machines: Sequence[str] = (),
    view_only: bool = False,
    log_text: bool = False,
) -> Permissions:
    """The permissions from [mcp] of a pommel.toml and the options. An option replaces its key.

    `view_only` also overrides the table's `allow`, and `allow` the table's `view_only`.

    Raises:
        UsageError: a word is unknown, or something is allowed without a named machine.
        ConfigError: the same, in the table.
    """
    table = _checked(f"{file.path}:{line_of_table(file.text, 'mcp')}", file.mcp)
    if view_only and allow:
        raise UsageError("--view-only and --allow contradict each other", hint="leave one of them out")
    words = allow or table.get("allow", ())
    made = Permissions(
        parse_allow(words),
        tuple(machines or table.get("machines", ())),
        view_only or (bool(table.get("view_only")) and not allow),
        log_text or bool(table.get("log_text")),
    )
    if made.allow and not made.view_only and not made.machines:
        raise UsageError(
            f"{', '.join(sorted(made.allow))}: say for which machines", hint="--machine NAME, or for all: --machine '*'"
        )
    return made


def parse_allow(words: Iterable[str]) -> frozenset[str]:
    """Read names of tools and groups; a word may contain several, separated by commas.

    Raises:
        UsageError: one is unknown.
    """
    found: set[str] = set()
    for word in (part.strip() for each in words for part in each.split(",")):
        if word in GROUPS:
            found.update(GROUPS[word])
        elif word in CHANGING:
            found.add(word)
        elif word:
            near = difflib.get_close_matches(word, (*CHANGING, *GROUPS), n=1)
            raise UsageError(
                f"there is nothing called {word!r} to allow",
                hint=(f"did you mean {near[0]}? " if near else "") + f"there are {', '.join((*CHANGING, *GROUPS))}",
            )
    return frozenset(found)


def _checked(where: str, table: Any) -> dict[str, Any]:
    """Check an [mcp] table and return it; `where` is its place for errors.

    Raises:
        ConfigError: it has an unknown key or a wrong value.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: `mcp` must be a table", hint=f"write [mcp] with {', '.join(KEYS)}")
    for key, value in table.items():
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            raise ConfigError(
                f"{where}: unknown key {key!r} in [mcp]",
                hint=(f"did you mean {near[0]}? " if near else "") + f"known keys: {', '.join(KEYS)}",
            )
        words = isinstance(value, list) and all(isinstance(word, str) for word in value)
        if not (words if key in ("allow", "machines") else isinstance(value, bool)):
            raise ConfigError(
                f"{where}: mcp.{key} must be {KEYS[key]}, not {value!r}", hint=f"write {key} = {_SHOWN[key]}"
            )
    try:
        parse_allow(table.get("allow", ()))
    except UsageError as wrong:
        raise ConfigError(f"{where}: {wrong.message}", hint=wrong.hint) from None
    return table
