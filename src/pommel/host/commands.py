"""Small commands in ~/.local/bin, so that `pommel` works in every folder. Band: shell.

Each is a launcher of a few lines for the present Pommel, at its path. This module only writes files that are Pommel's
by `ours`: another program with that name stays, and so does a launcher that somebody has edited.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pommel.errors import BuildError
from pommel.host import ours
from pommel.paths import write_atomic

State = ours.State | Literal["on-path"]

_READ_MAX = 64 << 10  # the maximum size of a program that is read
_PIP_EXEC = ("'''exec' ", ' "$0" "$@"')
_TEXT = """\
#!/bin/sh
# Starts the Pommel in {place}.
# Written by Pommel, and removed by: pommel uninstall
# {mark}: {blank}
if [ ! -x {program} ]; then
    printf 'error: %s does not exist\\nhint: start Pommel from its new place: pommel bootstrap\\n' {program} >&2
    exit 127
fi
exec {words} "$@"
"""


@dataclass(frozen=True, slots=True)
class Launcher:
    """One command: its file, its wanted text, and the state of the present file.

    `on-path`: no launcher is needed, because PATH finds this Pommel under that name.
    `shadowed_by` is another program with that name that PATH finds first.
    """

    path: Path
    text: str
    state: State
    shadowed_by: Path | None = None


def plan(home: Path, env_path: str, names: Mapping[str, Sequence[str]]) -> list[Launcher]:
    """Inspect the commands `names`, each with the words that it starts; `env_path` is the user's PATH.

    The first word of each is the absolute path of a program.
    """
    return [_look(folder(home) / name, argv, env_path) for name, argv in names.items()]


def folder(home: Path) -> Path:
    """The folder of a user's own commands (XDG Base Directory Specification)."""
    return home / ".local" / "bin"


def apply(launcher: Launcher) -> bool:
    """Write a launcher that is missing or outdated; return whether there was anything to write.

    Raises:
        StateError: there is another program, or an edited launcher.
        BuildError: it cannot be written.
    """
    if launcher.state == "on-path":
        return False
    if ours.refuse_others(launcher.path, launcher.text) == "placed":  # the file may have changed since the plan
        return False
    try:
        write_atomic(launcher.path, os.fsencode(launcher.text), mode=0o755)
    except OSError as failure:
        raise BuildError(f"{launcher.path} cannot be written: {failure}") from failure
    return True


def remove(launcher: Launcher) -> bool:
    """Remove a launcher, of any Pommel, unless somebody has edited it; return whether this call removed it."""
    if ours.look(launcher.path, launcher.text) not in ("placed", "outdated"):
        return False
    with contextlib.suppress(FileNotFoundError):
        launcher.path.unlink()
        return True
    return False


def advice(home: Path, env_path: str, shell: str = "") -> tuple[str, str] | None:
    """What is wrong with PATH, and a command (`shell` is the user's); None if PATH has the folder."""
    where = folder(home)
    if any(Path(part) == where or _same(Path(part), where) for part in env_path.split(":") if part):
        return None
    if Path(shell).name == "fish":
        return f"{where} is not on PATH", f"fish_add_path {shlex.quote(str(where))}"
    profile = {"zsh": "~/.zprofile", "bash": "~/.profile"}.get(Path(shell).name, "~/.profile")
    line = 'export PATH="$HOME/.local/bin:$PATH"'
    return f"{where} is not on PATH", f"echo '{line}' >> {profile}; {line}"


def _look(path: Path, argv: Sequence[str], env_path: str) -> Launcher:
    program = shlex.quote(argv[0])
    text = ours.sign(
        _TEXT.format(
            place=_place(argv[0]),
            program=program,
            words=" ".join(map(shlex.quote, argv)),
            mark=ours.MARK,
            blank=ours.BLANK,
        )
    )
    state: State = ours.look(path, text)
    found = shutil.which(path.name, path=env_path)
    first = Path(found) if found else None
    if first is not None and not _same(first, path) and _starts(first, argv):
        return Launcher(path, text, "on-path")
    if state == "foreign" and _starts(path, argv):
        return Launcher(path, text, "on-path")
    shadow = first if first is not None and not _same(first, path) and _on_path(path.parent, env_path) else None
    return Launcher(path, text, state, shadow)


def _place(program: str) -> str:
    """The folder for the comment, in one line whatever its name is."""
    return " ".join(str(Path(program).parent).split())


def _starts(found: Path, argv: Sequence[str]) -> bool:
    """Whether a program on PATH is this Pommel: the file itself, our launcher of it, or pip's script for its Python."""
    program = Path(argv[0])
    if len(argv) == 1 and _same(found, program):
        return True
    lines = _lines(found)
    if f'exec {" ".join(map(shlex.quote, argv))} "$@"' in lines:
        return True
    # pip has a second form for a path that is too long for a line with #!, or has blanks.
    first, second = (*lines, "", "")[:2]
    interpreter = first.removeprefix("#!")
    if second.startswith(_PIP_EXEC[0]) and second.endswith(_PIP_EXEC[1]):
        interpreter = second.removeprefix(_PIP_EXEC[0]).removesuffix(_PIP_EXEC[1])
    other = Path(interpreter.strip('"'))
    # One environment has its Python under several names, and two environments may have links to the same Python.
    return list(argv[1:]) == ["-P", "-m", found.name] and other.parent == program.parent and _same(other, program)


def _lines(program: Path) -> list[str]:
    if not program.is_file():  # opening a pipe would wait for its writer
        return []
    try:
        with program.open("rb") as file:
            return os.fsdecode(file.read(_READ_MAX)).splitlines()
    except OSError:
        return []


def _on_path(where: Path, env_path: str) -> bool:
    return any(_same(Path(part), where) for part in env_path.split(":") if part)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
