"""Reads text files that people write, or refuses them with a reason. Band: shared ground.

Editors and shells of other systems write a byte order mark, UTF-16 (PowerShell's `>`) or Latin-1. A mark says what the
text is, so such files are read; without a mark it must be UTF-8, because a wrong guess would change the text. A folder,
a pipe or a device is refused at once, because reading it could block.
"""

from __future__ import annotations

import codecs
import os
import shlex
import stat
from pathlib import Path

from pommel.errors import ConfigError, PommelError

MOST_BYTES = 1 << 20
# UTF-32's mark begins like UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_text(
    path: Path, *, error: type[PommelError] = ConfigError, hint: str | None = None, most: int = MOST_BYTES
) -> str:
    """The text of a file of at most `most` bytes, without its byte order mark; its line ends as they are.

    Raises:
        PommelError: an `error`, if it cannot be read or is not text; with `hint` if there is no better hint.
    """
    return decode(read_bytes(path, error=error, hint=hint, most=most), path, error=error, hint=hint)


def read_bytes(
    path: Path,
    *,
    error: type[PommelError] = ConfigError,
    hint: str | None = None,
    most: int = MOST_BYTES,
    pipes: bool = False,
) -> bytes:
    """The bytes of a file of at most `most`. With `pipes` it may be a pipe too, as a shell's `<(…)` names one.

    Raises:
        PommelError: an `error`, if it cannot be read, is not a file or is larger; with `hint`.
    """
    try:
        # Reading a pipe without a writer, or some devices, would block.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
        mode = os.fstat(fd).st_mode
        if (what := _kind(mode)) is not None and not (pipes and stat.S_ISFIFO(mode)):
            os.close(fd)
            raise error(f"{path} is {what}, but a file is needed", hint=hint or _AWAY)
        os.set_blocking(fd, True)
        with os.fdopen(fd, "rb") as file:
            data = file.read(most + 1)
    except ValueError as failure:  # a NUL in the path
        raise error(f"{str(path)!r} cannot be read: {failure}", hint=hint) from failure
    except OSError as failure:
        raise error(f"{path} cannot be read: {failure.strerror}", hint=_may(path, failure) or hint) from failure
    if len(data) > most:
        raise error(f"{path} has more than {_size(most)}, which is too large", hint=hint)
    return data


def decode(data: bytes, path: Path, *, error: type[PommelError] = ConfigError, hint: str | None = None) -> str:
    """Decode `data`, the bytes of `path`.

    Raises:
        PommelError: an `error`, if it is not text; the message has the line, the hint the command that fixes it.
    """
    mark, coding = next((pair for pair in _MARKS if data.startswith(pair[0])), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(coding)
    except UnicodeDecodeError as failure:
        # The line number is counted in the part that was decoded without an error.
        line = failure.object[: failure.start].decode(coding, "replace").count("\n") + 1
        was = _looks_like(data) if not mark else None
        told = f"{path}:{line} is not text in {coding.removesuffix('-le').removesuffix('-be').upper()}"
        raise error(told + (f"; it looks like {was}" if was else ""), hint=hint or _converted(path, was)) from failure
    if "\0" in text:
        was = _looks_like(data)
        told = (
            f"{path}:{text[: text.index(chr(0))].count(chr(10)) + 1} holds a NUL byte, which is not allowed in "
            "a text file"
        )
        raise error(told + (f"; it looks like {was}" if was else ""), hint=hint or _converted(path, was))
    return text


def unmarked(data: bytes, path: Path) -> str | None:
    """The command that removes the byte order mark of `data`, the bytes of `path`; None if there is none."""
    coding = next((coding for mark, coding in _MARKS if data.startswith(mark)), None)
    if coding == "utf-8":
        return rf"sed -i '1s/^\xEF\xBB\xBF//' {shlex.quote(str(path))}"
    return f"iconv -f {coding[:6].upper()} -t UTF-8 {shlex.quote(str(path))} > NEW" if coding else None


_AWAY = "move it away, or give the right file"


def _kind(mode: int) -> str | None:
    """Its type in words, if it is not a regular file."""
    return next((said for test, said in _KINDS if test(mode)), None)


def _may(path: Path, failure: OSError) -> str | None:
    if isinstance(failure, PermissionError) and os.path.lexists(path):
        return f"ls -l {shlex.quote(str(path))} shows who has permission"
    return None


def _looks_like(data: bytes) -> str | None:
    """The most likely encoding of bytes without a mark, for the message and iconv(1); it is never used to decode."""
    even, odd = data[0::2].count(0), data[1::2].count(0)
    if even + odd > len(data) // 4:
        return "UTF-16LE" if odd > even else "UTF-16BE"
    return "ISO-8859-1" if even + odd == 0 else None


def _converted(path: Path, was: str | None) -> str:
    if was is None:
        return "write it again in a text editor, as UTF-8"
    return f"save it as UTF-8: iconv -f {was} -t UTF-8 {shlex.quote(str(path))} > NEW"


def _size(most: int) -> str:
    return f"{most >> 20} MiB" if most >= 1 << 20 else f"{most >> 10} KiB"
