"""Small commands in ~/.local/bin, so that `pommel` is there in every folder. Band: shell.

Each is a launcher of a few lines for the Pommel in use, wherever that lies. Writes only what is its own by `ours`:
another program of that name stays, and so does a launcher that somebody edited.
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

_READ_MAX = 64 << 10  # bytes of a program that are looked at
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
class Helper:
    """One command: its file, what is to be in it, and how what is there stands to that.

    `on-path` is a command that needs no launcher, since PATH finds this very Pommel under that name.
    `shadowed_by` is another program of that name which PATH finds first.
    """

    path: Path
    text: str
    state: State
    shadowed_by: Path | None = None


def plan(home: Path, env_path: str, names: Mapping[str, Sequence[str]]) -> list[Helper]:
    """Look at the commands `names`, each with the words that it is to start; `env_path` is the user's PATH.

    The first word of each is the absolute path of a program.
    """
    return [_look(folder(home) / name, argv, env_path) for name, argv in names.items()]


def folder(home: Path) -> Path:
    """Where a user's own commands lie (XDG Base Directory Specification)."""
    return home / ".local" / "bin"


def apply(helper: Helper) -> bool:
    """Write a launcher that is missing or outdated; return whether there was anything to write.

    Raises:
        StateError: another program, or an edited launcher, stands there.
        BuildError: it cannot be written.
    """
    if helper.state == "on-path":
        return False
    if ours.refuse_others(helper.path, helper.text) == "placed":  # time has passed since the plan
        return False
    try:
        write_atomic(helper.path, os.fsencode(helper.text), mode=0o755)
    except OSError as failure:
        raise BuildError(f"{helper.path} cannot be written: {failure}") from failure
    return True


def remove(helper: Helper) -> bool:
    """Remove a launcher, of whatever Pommel, unless somebody edited it; return whether it is gone now by our doing."""
    if ours.look(helper.path, helper.text) not in ("placed", "outdated"):
        return False
    with contextlib.suppress(FileNotFoundError):
        helper.path.unlink()
        return True
    return False


def advice(home: Path, env_path: str, shell: str = "") -> tuple[str, str] | None:
    """What is wrong with PATH and what to type (`shell` is the user's), or None when it has the folder."""
    where = folder(home)
    if any(Path(part) == where or _same(Path(part), where) for part in env_path.split(":") if part):
        return None
    if Path(shell).name == "fish":
        return f"{where} is not on PATH", f"fish_add_path {shlex.quote(str(where))}"
    profile = {"zsh": "~/.zprofile", "bash": "~/.profile"}.get(Path(shell).name, "~/.profile")
    line = 'export PATH="$HOME/.local/bin:$PATH"'
    return f"{where} is not on PATH", f"echo '{line}' >> {profile}; {line}"


def _look(path: Path, argv: Sequence[str], env_path: str) -> Helper:
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
        return Helper(path, text, "on-path")
    if state == "foreign" and _starts(path, argv):
        return Helper(path, text, "on-path")
    shadow = first if first is not None and not _same(first, path) and _on_path(path.parent, env_path) else None
    return Helper(path, text, state, shadow)


def _place(program: str) -> str:
    """For the comment: one line, whatever the folder is called."""
    return " ".join(str(Path(program).parent).split())


def _starts(found: Path, argv: Sequence[str]) -> bool:
    """Whether a program on PATH is this Pommel: the file itself, our launcher of it, or pip's script for its Python."""
    program = Path(argv[0])
    if len(argv) == 1 and _same(found, program):
        return True
    lines = _lines(found)
    if f'exec {" ".join(map(shlex.quote, argv))} "$@"' in lines:
        return True
    # pip has a second form for a path that is too long, or has blanks, for a line with #!.
    first, second = (*lines, "", "")[:2]
    interpreter = first.removeprefix("#!")
    if second.startswith(_PIP_EXEC[0]) and second.endswith(_PIP_EXEC[1]):
        interpreter = second.removeprefix(_PIP_EXEC[0]).removesuffix(_PIP_EXEC[1])
    other = Path(interpreter.strip('"'))
    # One environment has its Python under several names; two environments may be links to the same Python.
    return list(argv[1:]) == ["-P", "-m", found.name] and other.parent == program.parent and _same(other, program)


def _lines(program: Path) -> list[str]:
    if not program.is_file():  # to open a pipe is to wait for who writes to it
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
