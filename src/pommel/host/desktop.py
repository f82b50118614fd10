"""A machine's entry in the desktop's menu, with Pommel's icon, in the user's XDG data directory. Band: shell.

Step 7 of setup. It only writes files that are Pommel's by `ours`; a file that somebody has edited stays.
`desktop_entry` makes the text of an entry.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pommel import process
from pommel.errors import BuildError, MissingProgram, UsageError
from pommel.host import ours
from pommel.host.desktop_entry import complaints, exec_line, render
from pommel.paths import check_name, write_atomic
from pommel.progress import Report, ignore, warn

_PREFIX = "pommel-"
_ICON_NAME = "pommel"
_ICON = Path(__file__).parent / "data" / "pommel.svg"
# A terminal that closes at once would hide the error.
_HELD = '"$@" || { printf "\\nPress Return to close this window. " >&2; read -r _; }'
# id, title, the words for `pommel` before the machine's name
_ACTIONS = (("Console", "Open the Console", ("console",)), ("Stop", "Stop", ("stop",)))
_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class DesktopEntry:
    """An entry and its icon: their paths and their texts."""

    path: Path
    text: str
    icon_path: Path
    icon: str

    @property
    def state(self) -> ours.State:
        """The state of the entry on disk, compared with this one."""
        return ours.look(self.path, self.text)


@dataclass(frozen=True, slots=True)
class Removal:
    """The removed files, and the kept ones: edited by somebody, or never ours."""

    removed: tuple[Path, ...]
    kept: tuple[Path, ...]


def plan(name: str, *, command: Sequence[str], title: str, data_home: Path, folder: Path | None = None) -> DesktopEntry:
    """Plan the entry of machine `name`; nothing is written.

    `command` is the call of Pommel, with an absolute path; `folder` is its working directory, in which it looks for
    pommel.toml.

    Raises:
        UsageError: the name is not valid for a machine, or the format cannot express the command or the folder.
    """
    check_name(name)
    if folder is not None:
        exec_line([".", str(folder)])  # for its errors
    main = {
        "Type": "Application",
        "Version": "1.1",
        "Name": _one_line(title),
        "Comment": f"The virtual machine {name}, run by Pommel",
        "Exec": _held([*command, "up", name]),
        **({"Path": str(folder)} if folder is not None else {}),
        "Icon": _ICON_NAME,
        "Terminal": "true",
        "Categories": "System;Emulator;",
        "Actions": "".join(f"{action};" for action, _, _ in _ACTIONS),
        ours.MARK: ours.BLANK,
    }
    actions = {
        f"Desktop Action {action}": {"Name": words, "Exec": _held([*command, *verb, name])}
        for action, words, verb in _ACTIONS
    }
    icon = ours.sign(_ICON.read_text(encoding="utf-8"))
    text = ours.sign(render({"Desktop Entry": main, **actions}))
    return DesktopEntry(_entries(data_home) / f"{_PREFIX}{name}.desktop", text, _icon_path(data_home), icon)


def for_all(command: Sequence[str]) -> tuple[str, str, str]:
    """The files of a package for every user of a host: the entry's text, the icon's text, and the icon's name.

    The entry opens the menu for all machines. It has no mark, because the package manages it.
    """
    main = {
        "Type": "Application",
        "Version": "1.1",
        "Name": "Pommel",
        "Comment": "macOS virtual machines",
        "Keywords": "macOS;virtual machine;QEMU;",
        "Exec": _held([*command, "menu"]),
        "Icon": _ICON_NAME,
        "Terminal": "true",
        "Categories": "System;Emulator;",
    }
    return render({"Desktop Entry": main}), _ICON.read_text(encoding="utf-8"), _ICON_NAME


def is_done(entry: DesktopEntry) -> bool:
    """Whether there is nothing to do: entry and icon exist as planned, or as somebody has edited them."""
    icon = ours.look(entry.icon_path, entry.icon)
    return entry.state in ("placed", "edited") and icon not in ("missing", "outdated")


def apply(entry: DesktopEntry, *, report: Report = ignore) -> list[Path]:
    """Write the missing or outdated files, and return them.

    Raises:
        StateError: the entry is edited, or belongs to another program; nothing was changed.
        BuildError: the entry is not valid, or cannot be written.
    """
    state = ours.refuse_others(entry.path, entry.text)
    if wrong := complaints(entry.text):
        raise BuildError(f"{entry.path} would not be valid: {'; '.join(wrong)}")
    written = []
    try:
        if ours.look(entry.icon_path, entry.icon) in ("missing", "outdated"):
            write_atomic(entry.icon_path, entry.icon, mode=0o644)
            os.utime(entry.icon_path.parents[2])  # a theme's cache is stale once its folder is newer (Icon Theme Spec)
            written.append(entry.icon_path)
        if state != "placed":
            for complaint in validate(entry.text):
                warn(report, f"desktop-file-validate says of {entry.path.name}: {complaint}")
            write_atomic(entry.path, entry.text, mode=0o644)
            written.append(entry.path)
    except OSError as failure:
        raise BuildError(f"{entry.path} cannot be written: {failure}") from failure
    return written


def validate(text: str) -> list[str]:
    """The complaints of desktop-file-validate about an entry; empty if that program is not installed."""
    with tempfile.TemporaryDirectory(prefix="pommel-entry.") as folder:
        path = Path(folder) / "entry.desktop"
        path.write_text(text, encoding="utf-8")
        try:
            done = process.run(["desktop-file-validate", path], check=False, timeout_s=_TIMEOUT_S)
        except MissingProgram:
            return []
        return [line.removeprefix(f"{path}: ") for line in done.output.splitlines() if line.strip()]


def remove(name: str, *, data_home: Path) -> Removal:
    """Remove the entry of machine `name` if it is ours, and the icon with our last entry."""
    check_name(name)
    return _remove([_entries(data_home) / f"{_PREFIX}{name}.desktop"], data_home)


def remove_all(data_home: Path) -> Removal:
    """Remove all our entries, and the icon."""
    return _remove(sorted(_entries(data_home).glob(f"{_PREFIX}*.desktop")), data_home)


def _remove(paths: list[Path], data_home: Path) -> Removal:
    removed: list[Path] = []
    kept: list[Path] = []
    for path in paths:
        _remove_one(path, removed, kept)
    left = _entries(data_home).glob(f"{_PREFIX}*.desktop")
    if not any(ours.look(path, "") in ("outdated", "edited") for path in left):
        _remove_one(_icon_path(data_home), removed, kept)
    return Removal(tuple(removed), tuple(kept))


def _remove_one(path: Path, removed: list[Path], kept: list[Path]) -> None:
    """Remove a file if Pommel wrote it: compared with an empty text, it is `outdated`."""
    state = ours.look(path, "")
    if state == "outdated":
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            removed.append(path)
    elif state != "missing":
        kept.append(path)


def _held(argv: list[str]) -> str:
    return exec_line(["sh", "-c", _HELD, "sh", *argv])


def _one_line(text: str) -> str:
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    if not line:
        raise UsageError("a desktop entry needs a title")
    return line


def _entries(data_home: Path) -> Path:
    return data_home / "applications"


def _icon_path(data_home: Path) -> Path:
    return data_home / "icons" / "hicolor" / "scalable" / "apps" / f"{_ICON_NAME}.svg"
