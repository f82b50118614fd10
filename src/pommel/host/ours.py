"""Recognizes Pommel's own files of a user, by a mark with a hash of their text. Band: shell.

The mark distinguishes three kinds of files: one of an older Pommel, which may be replaced; one that somebody has
edited since; and one that was never ours. It reads files and writes none.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from pathlib import Path
from typing import Literal

from pommel.errors import StateError

State = Literal["placed", "missing", "outdated", "edited", "foreign"]

MARK = "X-Pommel-Hash"
# 64 zeros in the place of the hash: the text to be signed has them, and the hash is made with them.
BLANK = "0" * 64
_READ_MAX = 64 << 10  # the maximum of a file that is read; our files have a tenth of that
_MARKED = re.compile(rf"{MARK}[=:] ?([0-9a-f]{{64}})(?![0-9a-f])")


def sign(text: str) -> str:
    """Insert the text's hash at its one `MARK: ` (or `MARK=`) with `BLANK`.

    Raises:
        ValueError: it has no such place, or more than one.
    """
    if len(_MARKED.findall(text)) != 1 or _MARKED.findall(text) != [BLANK]:
        raise ValueError(f"a text to be signed has one line with {MARK} and {len(BLANK)} zeros")
    return _MARKED.sub(lambda found: found[0].replace(found[1], _hash(text)), text)


def state(found: str | None, wanted: str) -> State:
    """The state of a file's text, compared with the wanted one; None means no file."""
    if found is None:
        return "missing"
    if found == wanted:
        return "placed"
    marks = _MARKED.findall(found)
    if not marks:
        return "foreign"
    intact = len(marks) == 1 and marks[0] == _hash(found.replace(marks[0], BLANK))
    return "outdated" if intact else "edited"


def look(path: Path, wanted: str) -> State:
    """The state of the file `path`, compared with the wanted text. A link, or anything but a plain file, is foreign."""
    if not os.path.lexists(path):
        return "missing"
    if path.is_symlink() or not path.is_file():
        return "foreign"
    try:
        with path.open("rb") as file:
            return state(os.fsdecode(file.read(_READ_MAX)), wanted)
    except OSError:
        return "foreign"


def refuse_others(path: Path, wanted: str) -> State:
    """As `look`, before a write.

    Raises:
        StateError: the file is edited, or not ours.
    """
    found = look(path, wanted)
    if found in ("edited", "foreign"):
        who = "was edited since Pommel wrote it" if found == "edited" else "is not Pommel's"
        raise StateError(
            f"{path} {who}, and was not changed", hint=f"to let Pommel replace it: rm {shlex.quote(str(path))}"
        )
    return found


def _hash(blank: str) -> str:
    return hashlib.sha256(blank.encode(errors="surrogateescape")).hexdigest()
