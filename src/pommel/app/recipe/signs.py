"""Observe a machine and check a recipe's conditions. Band: app.

The signs are its screen, serial port, disk and SSH, and the reports of its guest.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pommel import process
from pommel.app.machine import waiting
from pommel.app.recipe.files import LoadedRecipe, picture
from pommel.app.workspace import Workspace
from pommel.errors import PommelError
from pommel.machine import logs, state
from pommel.machine.glance import glance
from pommel.paths import MachinePaths
from pommel.recipe.model import Condition
from pommel.screen import conditions
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, whole
from pommel.screen.screenshot import png_bytes
from pommel.screen.sights import parse_ppm
from pommel.settings import format_size

_LOOK_MAX_S = 10.0
_SSH_S = 20.0  # for one try: a login takes an emulated guest some seconds
_SSH_EVERY_S = 10.0
_READ_EVERY_S = 5.0  # tesseract takes a second
_READ_MAX_S = 60.0
_LINES_MAX = 5000
_REST_BYTES_A_MINUTE = 5 << 20


@dataclass(frozen=True, slots=True)
class Report:
    """One report of the guest: a word and a text; `at_s` is the time of the monotonic clock."""

    word: str
    text: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Observation:
    """One observation of the machine. `lines` (of the serial port) and `reports` are those since the state began."""

    at_s: float
    alive: bool
    frame: Frame | None
    lines: Sequence[str]
    reports: Sequence[Report]
    last_report_s: float  # the time of the last report that was not as the one before, or of the begin of the state
    disk_bytes: int


class Signs:
    """Observes one machine, and collects the serial port's lines and the guest's reports since the state began.

    `hear` returns the reports since its last call.
    """

    def __init__(self, paths: MachinePaths, hear: Callable[[], list[Report]]) -> None:
        self._paths, self._hear = paths, hear
        self._serial = logs.Serial(paths)
        self._lines: list[str] = []
        self._reports: list[Report] = []
        self._last_report_s, self._last_told = time.monotonic(), ("", "")

    def begin_state(self) -> None:
        """Forget the lines and reports of the last state."""
        self._lines, self._reports, self._last_report_s = [], [], time.monotonic()

    def look(self, *, with_screen: bool) -> Observation:
        """Observe the machine once."""
        alive = state.observe(self._paths).alive  # first: so the last lines before its end are read with its end
        self._lines = [*self._lines, *self._serial.read()][-_LINES_MAX:]
        if new := self._hear():
            self._reports = [*self._reports, *new][-_LINES_MAX:]
            self._note_news(new)
        frame = self._frame() if alive and with_screen else None
        return Observation(
            time.monotonic(), alive, frame, self._lines, self._reports, self._last_report_s, _held_bytes(self._paths)
        )

    def _note_news(self, new: Sequence[Report]) -> None:
        """A heartbeat that says the same as before shows that its script runs, not that anything comes of it."""
        for each in new:
            if (each.word, each.text) != self._last_told:
                self._last_told, self._last_report_s = (each.word, each.text), each.at_s

    def _frame(self) -> Frame | None:
        with contextlib.suppress(PommelError):  # QEMU is busy or has just ended: the next look shows which
            seen = asyncio.run(glance(self._paths, timeout_s=_LOOK_MAX_S))
            return parse_ppm(seen.picture) if seen.picture is not None else None
        return None


class ConditionCheck:
    """Checks one condition of a recipe with each observation of a wait. `told` is the last one in words."""

    def __init__(
        self, wanted: Condition, loaded: LoadedRecipe, before: Frame | None, workspace: Workspace, paths: MachinePaths
    ) -> None:
        self.wanted, self.told = wanted, ""
        self._workspace, self._paths = workspace, paths
        self._began_s = time.monotonic()
        self._watches = [conditions.Watch(one, before) for one in _on_screen(wanted, loaded)]
        self._growth = _Growth()
        self._read = _Read(wanted)
        self._asked_s = 0.0

    def holds(self, seen: Observation) -> bool:
        """Whether the condition holds now. All parts get each observation; SSH is only tried if all others hold."""
        found = [*self._screen(seen), *self._text_conditions(seen), *self._of_machine(seen)]
        self.told = next((told for ok, told in found if not ok), "")
        if any(not ok for ok, _ in found):
            return False
        return self.wanted.ssh is None or self._answers(seen) is self.wanted.ssh

    def _screen(self, seen: Observation) -> list[tuple[bool, str]]:
        if not self.wanted.looks:
            return []
        if seen.frame is None:
            return [(False, "its screen cannot be seen")]
        frame = seen.frame
        found = [(watch.see(seen.at_s, frame), watch.told) for watch in self._watches]
        if self.wanted.text is not None and all(ok for ok, _ in found):
            found.append(self._read.see(seen.at_s, frame))
        return found

    def _text_conditions(self, seen: Observation) -> list[tuple[bool, str]]:
        found = []
        wanted = self.wanted
        if wanted.serial is not None:
            found.append(
                (any(re.search(wanted.serial, line) for line in seen.lines), "no such line on its serial port")
            )
        if wanted.told is not None:
            found.append(
                (any(report.word == wanted.told for report in seen.reports), f"it has not reported {wanted.told!r}")
            )
        if wanted.silent_s is not None:
            silent_s = seen.at_s - seen.last_report_s
            found.append((silent_s >= wanted.silent_s, f"it reported something new {silent_s:.0f} s ago"))
        return found

    def _of_machine(self, seen: Observation) -> list[tuple[bool, str]]:
        found = []
        wanted, waited_s = self.wanted, seen.at_s - self._began_s
        if wanted.running is not None:
            found.append((seen.alive is wanted.running, "it is running" if seen.alive else "it is not running"))
        if wanted.disk_bytes is not None:
            held = f"its disk holds {format_size(seen.disk_bytes)} of {format_size(wanted.disk_bytes)}"
            found.append((seen.disk_bytes >= wanted.disk_bytes, held))
        if wanted.disk_rest_s is not None:
            rest_s = self._growth.rest_s(seen.at_s, seen.disk_bytes)
            found.append((rest_s >= wanted.disk_rest_s, f"its disk grew {rest_s:.0f} s ago"))
        if wanted.after_s is not None:
            found.append((waited_s >= wanted.after_s, f"{waited_s:.0f} s of {wanted.after_s:g} s"))
        return found

    def _answers(self, seen: Observation) -> bool | None:
        """Whether a login in the guest by SSH works; None: it was tried a moment ago."""
        if seen.at_s - self._asked_s < _SSH_EVERY_S and self._asked_s:
            return None
        try:
            waiting.wait(self._paths.name, "ssh", timeout_s=_SSH_S, workspace=self._workspace)
        except PommelError as no:
            self.told = no.message
            return False
        finally:
            self._asked_s = time.monotonic()
        return True


class _Growth:
    """Measures for how long a disk has grown by less than 5 MiB a minute."""

    def __init__(self) -> None:
        self._at_s = self._bytes = -1.0

    def rest_s(self, at_s: float, held: int) -> float:
        if self._at_s < 0 or held - self._bytes > _REST_BYTES_A_MINUTE * max((at_s - self._at_s) / 60, 1):
            self._at_s, self._bytes = at_s, held
        return at_s - self._at_s


class _Read:
    """Reads text on the screen with tesseract, at most every _READ_EVERY_S."""

    def __init__(self, wanted: Condition) -> None:
        self._pattern, self._area = wanted.text, wanted.region
        self._at_s, self._last = -_READ_EVERY_S, (False, "nothing has been read yet")

    def see(self, at_s: float, frame: Frame) -> tuple[bool, str]:
        if self._pattern is not None and at_s - self._at_s >= _READ_EVERY_S:
            self._at_s = at_s
            area = Rect(*self._area) if self._area else whole(frame.size)
            text = read_text(frame, area.clipped(frame.size))
            self._last = (re.search(self._pattern, text) is not None, f"tesseract reads {text[:60]!r}")
        return self._last


def read_text(frame: Frame, area: Rect) -> str:
    """The text that tesseract (with its English model) reads in `area`.

    Raises:
        MissingProgram: tesseract is not installed.
        CommandFailed: it cannot read the picture.
    """
    if not area.area:
        return ""
    with tempfile.TemporaryDirectory(prefix="pommel-read.") as folder:
        file = Path(folder) / "screen.png"
        file.write_bytes(png_bytes(Frame(frame.view(area))))
        hint = "install tesseract (package tesseract-ocr); only conditions with `text` need it"
        return process.run(["tesseract", file, "stdout"], timeout_s=_READ_MAX_S, hint=hint).text


def _on_screen(wanted: Condition, loaded: LoadedRecipe) -> list[conditions.Condition]:
    region = Rect(*wanted.region) if wanted.region else None
    found: list[conditions.Condition] = []
    if wanted.rest_s is not None:
        found.append(conditions.Rest(wanted.rest_s, region))
    if wanted.changed is not None:
        found.append(conditions.Changed(wanted.changed, region))
    if wanted.bright is not None:
        found.append(conditions.Bright(*wanted.bright, region))
    if wanted.like is not None:
        found.append(conditions.Like(picture(loaded, wanted.like.file), wanted.like.tolerance, region))
    return found


def must_be_checkable(wanted: Sequence[Condition]) -> None:
    """Check that tesseract is installed if a condition reads text, before the run and not hours later.

    Raises:
        MissingProgram: it is not installed.
    """
    if any(condition.text is not None for condition in wanted):
        process.which("tesseract", hint="install tesseract (package tesseract-ocr)")


def _held_bytes(paths: MachinePaths) -> int:
    try:
        return paths.disk.stat().st_blocks * 512
    except OSError:
        return 0
