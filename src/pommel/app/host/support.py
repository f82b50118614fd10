"""`doctor --bundle`: an archive for people who help, without private data. Band: app.

It contains only text, all of it redacted (`redaction`, `privacy`): the checks, the settings, the command line with its
reasons, the ends of the logs. It never contains a key, a disk or the NVRAM.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pommel
from pommel.app.argv import commandline
from pommel.app.host import doctor
from pommel.app.host.privacy import private_values
from pommel.app.host.redaction import redact
from pommel.app.upstream import overlay
from pommel.app.workspace import Workspace
from pommel.errors import PommelError, StateError
from pommel.machine import explain, logs
from pommel.paths import write_atomic

_LINES = 300
_LINE_CHARS = 4000  # the guest may write lines of any length to the serial log


def bundle(target: Path, name: str | None = None, *, workspace: Workspace | None = None, force: bool = False) -> Path:
    """Write the archive (tar.gz) for machine `name` to `target`, and return its path.

    Raises:
        StateError: `target` exists, without `force`.
    """
    workspace = workspace or Workspace.current()
    target = target.absolute()
    if target.exists() and not force:
        raise StateError(f"{target} already exists", hint="choose another file: pommel doctor --bundle -o FILE")
    name = name or workspace.default_name()
    private = private_values(workspace)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        for file, text in _texts(workspace, name).items():
            data = redact(_bounded(text), private).encode()
            entry = tarfile.TarInfo(f"pommel-support/{file}")
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    write_atomic(target, raw.getvalue(), mode=0o600)
    return target


def _texts(workspace: Workspace, name: str) -> dict[str, str]:
    paths = workspace.paths(name)
    parts: dict[str, Callable[[], str]] = {
        "doctor.json": lambda: _json([check.as_dict() for check in doctor.doctor(name, workspace=workspace)]),
        "host.json": lambda: _json({"pommel": pommel.__version__, **doctor.host_facts()}),
        "settings.json": lambda: _json(
            {key: [str(value.value), value.source] for key, value in workspace.settings(name).items()}
        ),
        "pommel.toml": lambda: workspace.file_of(name).text,
        "overlay.json": lambda: _json(overlay.status(workspace, name=name).as_dict()),
        "argv.json": lambda: _json(
            explain.as_json(explain.explain(commandline.command_line(workspace, name).overlaid))
        ),
        "machine.json": lambda: paths.record.read_text() if paths.record.exists() else "",
        "qemu.log": lambda: logs.tail(paths, _LINES) if paths.log.exists() else "",
        "console.log": lambda: _tail(paths.console_log),
        "serial.log": lambda: _tail(paths.serial_log),
    }
    return {file: _tried(part) for file, part in parts.items()}


def _tried(part: Callable[[], str]) -> str:
    """A part of the archive.

    If it cannot be made, its error is the part: it may be the problem that is searched for.
    """
    try:
        return part()
    except PommelError as failure:
        return f"error: {failure.message}\nhint: {failure.hint}\n"
    except OSError as failure:
        return f"error: {failure}\n"


def _bounded(text: str) -> str:
    return "\n".join(line if len(line) <= _LINE_CHARS else f"{line[:_LINE_CHARS]} …" for line in text.split("\n"))


def _tail(path: Path) -> str:
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-_LINES:])


def _json(document: object) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False, default=str) + "\n"
