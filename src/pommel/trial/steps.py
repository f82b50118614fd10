"""mmdebstrap's output as progress, and its last lines as an error. Band: core.

With --verbose it prints the output of apt and dpkg: a line for each package fetched, unpacked and set up.
"""

from __future__ import annotations

import re

from pommel.errors import BuildError
from pommel.progress import Progress, Report

STEP = "trial base"
_COUNT = re.compile(r"\d+ upgraded, (\d+) newly installed")
_PACKAGE = re.compile(r"(?:Get:\d+ \S+ \S+ \S+|(Unpacking|Setting up)) (\S+)")
# apt runs twice: for the essential packages, then for the rest. The shares are measured.
_PARTS = ((0.0, 0.4), (0.4, 1.0))
_EVENTS_A_PACKAGE = 3  # fetched, unpacked, set up
_SAID = (
    ("I: running apt-get update", "reading the mirror's package list"),
    ("I: extracting archives", "unpacking the essential packages"),
    ("update-initramfs: Generating", "creating the initial RAM disk"),
    ("I: cleaning package lists", "tidying up"),
)


class BuildSteps:
    """Converts lines into progress events of one step that counts to 100 %."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._part = -1
        self._packages = 0
        self._events = 0

    def line(self, line: str) -> None:
        """Read one line of mmdebstrap's output."""
        if counted := _COUNT.match(line):
            self._part, self._packages, self._events = min(self._part + 1, 1), int(counted[1]), 0
        elif self._part >= 0 and (package := _PACKAGE.match(line)):
            self._events += 1
            self._show(f"{(package[1] or 'fetching').lower()} {package[2]}")
        else:
            for start, text in _SAID:
                if line.startswith(start):
                    self._show(text)

    def _show(self, text: str) -> None:
        self._report(Progress(STEP, text, done=round(100 * self._fraction(), 1), total=100, unit="%"))

    def _fraction(self) -> float:
        if self._part < 0 or not self._packages:
            return 0.0
        low, high = _PARTS[self._part]
        return low + (high - low) * min(1.0, self._events / (_EVENTS_A_PACKAGE * self._packages))


_REASONS = (
    (
        re.compile(r"No space left on device|write error|not have enough free space", re.IGNORECASE),
        "the disk is full",
        "free some space, or set POMMEL_HOME to a folder on a larger disk",
    ),
    (
        re.compile(r"Could not resolve|Temporary failure|Unable to connect|Failed to fetch|Connection failed"),
        "Debian's packages could not be downloaded",
        "check the network (apt-get update must work, and http_proxy be set if you need one), then try again",
    ),
    (
        re.compile(r"NO_PUBKEY|not signed|keyring"),
        "the packages' signatures could not be checked",
        "install or update the package debian-archive-keyring",
    ),
)


def explain(output: str, log: str) -> BuildError:
    """The error, in words for the user, for a build with this output; `log` is the path of the whole output."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["no reason given"]
    last = next((line for line in lines if line.startswith("E: ")), lines[-1]).removeprefix("E: ")
    for pattern, reason, hint in _REASONS:
        if pattern.search(output):
            return BuildError(f"building the trial machine failed: {reason} ({last})", hint=hint)
    return BuildError(f"building the trial machine failed: {last}", hint=f"its full output is in {log}")
