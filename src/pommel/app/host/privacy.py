"""Collect the private values of this host, each with its placeholder in a support archive. Band: app. It only looks.

The sources are the machines' records and settings, the files of consoles, syncs, agents and MeshCentral memberships,
and the host's names and addresses. Damaged and unreadable files are skipped.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pwd
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pommel import account
from pommel.app.host.redaction import HOME, HOST, MAC, MESH, SECRET, SERIAL, USER, UUID
from pommel.app.workspace import Workspace
from pommel.config import find_file
from pommel.errors import NotPermitted, PommelError
from pommel.foreign import parse_json

_MOST_BYTES = 1 << 20
_MOST_FILES = 2000
_LEAST = {SECRET: 4, MESH: 6}  # characters; a shorter value would match inside many ordinary words
_LOOPBACK = {"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"}  # noqa: S104 (the same on every host)
# The kind of a value, by the name of its key in a record, a setting, a variable or a QEMU argument. The first match
# counts.
_KEYS = tuple(
    (re.compile(rf"(?i)(?:\A|[^a-z])(?:{words})(?:\Z|[^a-z])"), label)
    for words, label in (
        ("token|cookie|secret|password|passwd|passphrase|pwd|pass|ticket|key|api_?key|osk", SECRET),
        ("(?:system_)?serial(?:_?number)?|mlb|rom|board_?serial", SERIAL),
        ("uuid|hw_?uuid", UUID),
        ("mac|hwaddr|mac_?address", MAC),
        ("node_?id|mesh_?id|server_?id|mesh_?name|group", MESH),
        ("user|user_?name|login|ssh_user", USER),
        ("ssh_host|host|host_?name|server|mesh_?server|url|ws|address", HOST),
    )
)


def private_values(workspace: Workspace) -> dict[str, str]:
    """Each private value with its placeholder. If several sources have a value, the first one decides."""
    found: dict[str, str] = {}
    sources = (_machines(workspace), _settings(workspace), _record_values(workspace), _host(), _places(workspace))
    for value, label in (pair for source in sources for pair in source):
        if value.strip() and value != "/":
            found.setdefault(value.strip(), label)
    return found


def labelled(key: str, value: str) -> Iterator[tuple[str, str]]:
    """The private values in a value whose key has this name."""
    label = next((label for pattern, label in _KEYS if pattern.search(key)), None)
    if label is None or len(value) < _LEAST.get(label, 3):
        return
    if label == HOST:
        with contextlib.suppress(ValueError):
            host = urlsplit(value if "//" in value else f"//{value}").hostname or ""
            yield from [] if host in _LOOPBACK or not re.search("[a-z]", host) else [(host, HOST)]
    elif not value.startswith(("/", "~")):
        yield value, label
    bare = value.removeprefix("0x")
    if label in (SERIAL, MESH) and re.fullmatch("([0-9A-Fa-f]{2})+", bare):
        yield bare, label
        # property lists have a ROM in base64; MeshCentral writes its ids with other characters
        for plus_slash in (b"+/", b"@$"):
            yield base64.b64encode(bytes.fromhex(bare), plus_slash).decode(), label


def in_document(document: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The private values in a JSON document, by its keys. Text with `Key=Value` lines is searched too."""
    if isinstance(document, Mapping):
        if str(document.get("qom-type", "")).startswith("secret"):
            yield from [(str(document["data"]), SECRET)] if document.get("data") else []
        for name, value in document.items():
            yield from in_document(value, str(name))
    elif isinstance(document, list | tuple):
        for value in document:
            yield from in_document(value, key)
    elif isinstance(document, str):
        yield from labelled(key, document)
        if "=" in document:
            yield from in_words([document])


def in_words(words: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The private values in arguments: `key=value` anywhere, and the data of QEMU's secret objects."""
    for word in words:
        if word.startswith("{"):  # QEMU takes JSON for an object's or a device's properties
            with contextlib.suppress(ValueError):
                yield from in_document(parse_json(word))
        holds_secret = re.search(r"\bsecret\b", word) is not None
        for part in re.split(r"[\r\n]+|(?<!,),(?!,)", word):
            key, equals, value = part.partition("=")
            if equals:
                yield from (
                    [(value.replace(",,", ","), SECRET)] if holds_secret and key == "data" else labelled(key, value)
                )


def _machines(workspace: Workspace) -> Iterator[tuple[str, str]]:
    for name in workspace.home.names():
        paths = workspace.paths(name)
        yield from in_document(_json(paths.record))
        for line in _text(paths.known_hosts).splitlines():
            yield from [(words[2], "<key>") for words in [line.split()] if len(words) > 2]


def _settings(workspace: Workspace) -> Iterator[tuple[str, str]]:
    names: list[str] = []
    with contextlib.suppress(PommelError):
        names = workspace.names()
    path = None
    with contextlib.suppress(PommelError):
        path = find_file(workspace.cwd, workspace.env)
    yield from _in_toml(_text(path)) if path else ()  # the text too: the archive contains it, even if it is not valid
    for name in names:
        with contextlib.suppress(PommelError):
            for key, held in workspace.settings(name).items():
                if held.source != "default":
                    yield from in_document(held.value, key)


def _in_toml(text: str) -> Iterator[tuple[str, str]]:
    try:
        yield from in_document(tomllib.loads(text))
    except ValueError:
        for line in text.splitlines():
            key, equals, value = line.partition("=")
            yield from labelled(key.strip(), value.strip().strip("\"'")) if equals else ()
            yield from in_words(re.findall(r"[\"']([^\"']*)[\"']", line))


def _record_values(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """The private values in the JSON files of machines, syncs and memberships, which an archive may quote."""
    home = workspace.home
    folders = (home.machines, home.clips, home.mesh.directory)
    files = (path for folder in folders for path in folder.glob("**/*.json") if not path.is_symlink())
    for path, _ in zip(files, range(_MOST_FILES), strict=False):
        yield from in_document(_json(path))


def _host() -> Iterator[tuple[str, str]]:
    names = {os.uname().nodename, _text(Path("/etc/hostname")).strip()}
    for name in names - _LOOPBACK:
        yield name, HOST
        yield name.partition(".")[0], HOST
    yield _text(Path("/etc/machine-id")).strip(), UUID
    for card in Path("/sys/class/net").glob("*/address"):
        if (mac := _text(card).strip()).strip("0:"):
            yield mac, MAC


def _places(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Folders come before names, so that a home folder becomes ~ and not /home/<user>."""
    homes = {workspace.env.get("HOME", "")}
    with contextlib.suppress(NotPermitted):
        homes |= {str(account.home()), os.path.realpath(account.home())}
    for path in homes:
        yield path.rstrip("/"), HOME
    for path in {str(workspace.home.root), workspace.env.get("POMMEL_HOME", "")}:
        yield path.rstrip("/"), "<POMMEL_HOME>"
    if (called := account.name()) is not None:
        yield called, USER
    with contextlib.suppress(KeyError):
        entry = pwd.getpwuid(os.getuid())
        yield entry.pw_name, USER
        yield from [(word, USER) for word in [entry.pw_gecos.partition(",")[0]] if word]


def _json(path: Path) -> Any:
    with contextlib.suppress(ValueError):
        return parse_json(_text(path))
    return None


def _text(path: Path) -> str:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(_MOST_BYTES).decode(errors="replace")
    return ""
