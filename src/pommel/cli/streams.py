"""Handles standard streams that are closed, full or broken, or in a locale that is not UTF-8.
Band: face.

A stream that is closed is /dev/null: nobody wants what it says. Output that cannot be written is `OutputLost`, told and
exit status 1. What standard error cannot take is dropped: it is no reason to fail.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import locale
import os
import sys
from typing import Any

import click

# What we draw with, for who cannot see it.
_PLAIN = {
    "✓": "+", "✗": "x", "·": "-", "×": "x", "…": "...", "→": "->", "←": "<-", "—": "-", "–": "-", "●": "*", "○": "o",
    "“": '"', "”": '"', "‘": "'", "’": "'",
}  # fmt: skip
_ERRORS = "pommel"


class OutputLost(OSError):
    """Standard output cannot be written: its disk is full, or its reader has ended."""


class _Output(io.FileIO):
    """Standard output's descriptor, with an error type of its own."""

    dropped = False

    def write(self, data: Any, /) -> int:
        """Write, or raise OutputLost."""
        if self.dropped:
            return len(data)
        try:
            return super().write(data)
        except OSError as failure:
            raise OutputLost(failure.errno, failure.strerror) from failure


class _Quiet(io.FileIO):
    """Standard error's descriptor, which never fails."""

    def write(self, data: Any, /) -> int:
        """Write what can be written."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def speak_utf8() -> None:
    """Start this process again in Python's UTF-8 mode where the locale has another encoding; else do nothing.

    The files that Pommel writes are UTF-8 whoever reads them, and paths are bytes.
    """
    if not sys.flags.utf8_mode and _of_locale() != "utf-8" and sys.executable and len(sys.orig_argv) > 1:
        with contextlib.suppress(OSError):
            os.execv(sys.executable, [sys.executable, "-P", "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 - it is this very process


def prepare() -> None:
    """Open all three standard streams, so that they accept any text."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed: the next opened file would get its number
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number, which is this one
    codecs.register_error(_ERRORS, _instead)
    spoken = _of_locale() if sys.flags.utf8_mode and not os.environ.get("PYTHONIOENCODING") else None
    if sys.stdin is None:
        sys.stdin = open(0, encoding=spoken or "utf-8", closefd=False)  # noqa: SIM115 - open for as long as we live
    elif spoken and isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding=spoken)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _writer(_Output(1, "w", closefd=False), sys.stdout, spoken)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _writer(_Quiet(2, "w", closefd=False), sys.stderr, spoken)


def finish(status: int) -> int:
    """Write the rest of the output; return the exit status."""
    try:
        sys.stdout.flush()
    except OutputLost as lost:
        return tell(lost, status)
    except (OSError, ValueError):  # not our stream
        pass
    return status


def tell(lost: OutputLost, status: int) -> int:
    """Say why the output is lost, and let the rest of it go; the exit status, which a failure of before keeps."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _Output):
        raw.dropped = True
    if lost.errno != errno.EPIPE:  # EPIPE is no error: pommel list | head -1
        click.echo(f"error: the output cannot be written: {lost.strerror}", err=True)
    return status or 1


def is_unicode() -> bool:
    """Whether standard output accepts any text unchanged."""
    return _name(getattr(sys.stdout, "encoding", None) or "ascii").startswith("utf-")


def _writer(raw: io.FileIO, before: Any, spoken: str | None) -> io.TextIOWrapper:
    encoding = spoken or getattr(before, "encoding", None) or "utf-8"
    lines = raw.fileno() == 2 or raw.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, _ERRORS, line_buffering=lines)


def _instead(failure: UnicodeError) -> tuple[str | bytes, int]:
    """What is written for what the encoding has not: bytes of a path as they are, a plainer sign, or an escape."""
    if not isinstance(failure, UnicodeEncodeError):
        raise failure
    char = failure.object[failure.start]
    if "\udc80" <= char <= "\udcff":
        return bytes([ord(char) - 0xDC00]), failure.start + 1
    return _PLAIN.get(char) or char.encode("ascii", "backslashreplace").decode(), failure.start + 1


def _of_locale() -> str:
    return _name(locale.getencoding())


def _name(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        return encoding
