"""`up --unattended --report`: a report of an installation, without private data. Band: app.

It has the machine's events (states, starts, reports, with their times), and the ends of QEMU's log and the serial
port's log. It is redacted like the archive of `doctor --bundle`. It has no picture, because a picture cannot be
redacted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pommel
from pommel.app.host import doctor
from pommel.app.host.privacy import private_values
from pommel.app.host.redaction import SECRET, USER, redact
from pommel.app.unattended.kept import Kept
from pommel.app.workspace import Workspace
from pommel.errors import PommelError, StateError
from pommel.machine import events, journal, logs, tailing
from pommel.paths import write_atomic

_HEAD = "Pommel: an installation of macOS without a person"
_LINES = 100
_EVENTS_MAX = 3000


def refuse(target: Path) -> None:
    """Refuse a `target` that cannot be written, or is another file than an earlier report.

    Raises:
        StateError: it is another file, or its folder does not exist.
    """
    if not target.absolute().parent.is_dir():
        raise StateError(f"there is no folder {target.absolute().parent}", hint="give a file in a folder that exists")
    if target.exists() and not (target.is_file() and target.open("rb").read(len(_HEAD)) == _HEAD.encode()):
        raise StateError(f"{target} already exists, and is not such a report", hint="choose another file")


def write(target: Path, workspace: Workspace, name: str, kept: Kept, outcome: str) -> None:
    """Write the report of the installation `kept` of machine `name`, only for this user. `outcome` is its result.

    Raises:
        StateError: it cannot be written.
    """
    text = redact(_text(workspace, name, kept, outcome), {**private_values(workspace), **_private(kept)})
    try:
        write_atomic(target.absolute(), text)
    except OSError as failure:
        raise StateError(f"the report {target} cannot be written: {failure.strerror or failure}") from failure


def _private(kept: Kept) -> Mapping[str, str]:
    wishes = kept.account.wishes
    return {kept.token: SECRET, wishes.full_name: USER, wishes.user: USER}


def _text(workspace: Workspace, name: str, kept: Kept, outcome: str) -> str:
    paths = workspace.paths(name)
    since = datetime.fromisoformat(kept.since)
    happened = [event for event in events.read(paths) if event.time >= since][-_EVENTS_MAX:]
    facts = {"pommel": pommel.__version__, "macos": _macos(workspace, name), "recipe": kept.recipe}
    parts = [
        _HEAD,
        json.dumps({**facts, **doctor.host_facts()}, default=str, ensure_ascii=False),
        f"began {kept.since}; {outcome}",
        "\n== what happened",
        *(f"{event.time:%Y-%m-%d %H:%M:%SZ} {event.word}: {event.text}" for event in happened),
        "\n== the end of QEMU's log",
        *logs.last(paths, _LINES),
        "\n== the end of the serial port's log",
        *(journal.clean(line) for _, line in tailing.read_end(paths.serial_log, _LINES).lines),
    ]
    return "\n".join(parts) + "\n"


def _macos(workspace: Workspace, name: str) -> str | None:
    try:
        return workspace.spec(name).macos
    except PommelError:
        return None
