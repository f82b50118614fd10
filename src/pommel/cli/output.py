"""The output of results, errors and progress. Band: face.

Results go to stdout, everything else to stderr. Colour and redrawing only on a terminal, and NO_COLOR is respected.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from pommel.cli.streams import OutputLost, is_unicode
from pommel.errors import PommelError
from pommel.progress import Progress, Report

_CLEAR = "\r\x1b[2K"


_WANTED = f"{__name__}.wants_json"


def want_json(context: click.Context, _param: click.Parameter, given: bool) -> None:
    """Store whether the present command has --json: the callback of `common.json_option`."""
    context.meta[_WANTED] = given


def wants_json() -> bool:
    """Whether the present command has --json. Call it in the thread in which the command runs."""
    return bool(click.get_current_context().meta.get(_WANTED, False))


def answered(document: Any) -> bool:
    """Print a command's result as JSON if --json was given, and return True; else False, for an answer in words."""
    if wants_json():
        print_json(document)
        return True
    return False


def answer(document: Any, words: object) -> None:
    """Print a command's result: `document` if --json was given, else `words`."""
    if not answered(document):
        click.echo(words)


def print_json(document: Any) -> None:
    """Print one JSON document on one line of stdout."""
    text = json.dumps(document, ensure_ascii=False, default=str)
    if not text.isascii() and (not is_unicode() or any("\ud800" <= char <= "\udfff" for char in text)):
        text = json.dumps(document, default=str)  # JSON's own escapes, which any stream accepts
    click.echo(text)


def print_error(error: PommelError, *, as_json: bool = False, status: int | None = None) -> None:
    """Print an error and its hint to stderr; with --json also as an object, the last line of stdout.

    `status` is the exit status if it is not the error's own.
    """
    clear_line()
    click.echo(_styled("error: ", "red") + error.message, err=True)
    if error.hint:
        click.echo(_styled("hint: ", "cyan") + error.hint, err=True)
    if not as_json:
        return
    with contextlib.suppress(OutputLost):  # the first error is still more important
        print_json({"error": error.message, "hint": error.hint, "exit": error.exit_code if status is None else status})


def clear_line() -> None:
    """Remove the rest of a redrawn line before other output."""
    if _redraws():
        click.echo(_CLEAR, err=True, nl=False)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print left-aligned columns; a terminal too narrow wraps the last column."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header) - 1)]
    for number, line in enumerate(lines):
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        text = "  ".join([*cells, line[-1]]).rstrip()
        click.echo(click.style(text, bold=True) if number == 0 and _colour(sys.stdout) else text)


def print_wide_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns of long texts: wrapped to the terminal's width, or as `print_table` elsewhere."""
    if not sys.stdout.isatty():
        print_table(header, rows)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, box=None, pad_edge=False, show_lines=False, header_style="bold")
    for column, ratio in zip(table.columns, (5, 2, 4), strict=False):
        column.ratio, column.overflow = ratio, "fold"
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(no_color=not _colour(sys.stdout)).print(table)


def print_pairs(pairs: Mapping[str, str]) -> None:
    """Print a column of names and one of values."""
    width = max(map(len, pairs), default=0)
    for key, value in pairs.items():
        click.echo(f"{key.ljust(width)}  {value}")


def ask(question: str, *, default: bool = True) -> bool:
    """Ask yes or no on the terminal. Call it only when `interactive()`."""
    return click.confirm(question, default=default, err=True)


def interactive() -> bool:
    """Whether there is a person to ask: both stdin and stderr are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def reporter(*, brief: bool = False) -> Report:
    """A `Report` that draws progress on stderr: one redrawn line on a terminal, sparse lines elsewhere.

    `brief` is for waits: without a terminal each step has only one line, at its beginning.
    """
    if _redraws():
        return _Redrawn()
    return _Brief() if brief else _Sparse()


def _redraws() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class _Sparse:
    """For logs: a line when a step begins, when it ends, and every few seconds between."""

    EVERY_S = 10.0
    WORTH_S = 1.0  # the end of a step is only printed if it took this long

    def __init__(self) -> None:
        self._step = self._opened = ""
        self._began = self._last = 0.0

    def __call__(self, event: Progress) -> None:
        now = time.monotonic()
        if event.step in ("note", "warning"):
            click.echo(("warning: " if event.warning else "") + event.text, err=True)
            return
        if event.step != self._step:
            self._step, self._began, self._last = event.step, now, now
            if not event.finished:
                if event.step != self._opened:
                    click.echo(f"{event.step} ...", err=True)
                self._opened = event.step
                return
        if event.finished:
            if now - self._began >= self.WORTH_S or event.text:
                click.echo(f"{event.step}: done in {now - self._began:.0f} s" + _tail(event), err=True)
            self._step = ""
        elif now - self._last >= self.EVERY_S:
            self._last = now
            click.echo(f"  {event.step}: {_amount(event)}{event.text}", err=True)


class _Brief(_Sparse):
    """For logs of waits: only a line when a step begins."""

    def __call__(self, event: Progress) -> None:
        if event.step in ("note", "warning") or event.step != self._opened:
            super().__call__(event)


class _Redrawn:
    """For terminals: the running step redraws its line; a finished one leaves a tick and its time."""

    def __init__(self) -> None:
        self._step = ""
        self._began = self._drawn = 0.0

    def __call__(self, event: Progress) -> None:
        now = time.monotonic()
        if event.step in ("note", "warning"):
            self._clear()
            click.echo((_styled("warning: ", "yellow") if event.warning else "  ") + event.text, err=True)
            return
        if event.step != self._step:
            self._step, self._began, self._drawn = event.step, now, 0.0
        if event.finished:
            self._clear()
            click.echo(f"{_styled('✓', 'green')} {event.step} ({now - self._began:.0f} s){_tail(event)}", err=True)
            self._step = ""
        elif now - self._drawn >= 0.1:
            self._drawn = now
            clock = "" if event.unit == "s" else f"{now - self._began:.0f} s  "
            self._draw(f"· {event.step} {clock}{_amount(event)}{event.text}")

    def _draw(self, text: str) -> None:
        click.echo(_CLEAR + text[: _width()], err=True, nl=False)

    def _clear(self) -> None:
        click.echo(_CLEAR, err=True, nl=False)


def _width() -> int:
    return max(20, shutil.get_terminal_size().columns - 1)


def _amount(event: Progress) -> str:
    if event.done is None:
        return ""
    if event.total and event.unit == "B":
        return f"{event.done / 2**20:.0f} of {event.total / 2**20:.0f} MiB  "
    if event.total:
        return f"{event.done:.0f} of {event.total:.0f} {event.unit}  "
    return f"{event.done:.0f} {event.unit}  "


def _tail(event: Progress) -> str:
    return f": {event.text}" if event.text else ""


def coloured(text: str, **style: Any) -> str:
    """Style a text for stdout, if that is a terminal with colour."""
    return click.style(text, **style) if _colour(sys.stdout) else text


def _styled(text: str, colour: str) -> str:
    return click.style(text, fg=colour, bold=True) if _colour(sys.stderr) else text


def _colour(stream: Any) -> bool:
    return bool(stream.isatty()) and "NO_COLOR" not in os.environ
