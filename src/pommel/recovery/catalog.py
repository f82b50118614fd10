"""The versions of macOS whose recovery image Apple serves, as data. Band: core, no I/O.

Not what Apple answers today: a board is served what Apple chooses, so the version inside the image decides
(`MacVersion.covers`), and on a mismatch the caller asks with the next of `MacVersion.boards`.
The list is closed: macOS 26 is the last that runs on an Intel processor.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from dataclasses import dataclass
from typing import Literal

from pommel.errors import UsageError

MLB_ZERO = "0" * 17  # a board serial that Apple does not know: it then goes by the board id alone

Wanted = Literal["default", "latest"]


@dataclass(frozen=True, slots=True)
class Board:
    """Who we say we are: board id, serial of the main logic board (17 characters), and which macOS of that Mac's."""

    board_id: str
    mlb: str = MLB_ZERO
    os: Wanted = "latest"


@dataclass(frozen=True, slots=True)
class MacVersion:
    """One macOS: the words a person may use for it, and the boards to ask with, best first."""

    name: str
    title: str
    number: str
    boards: tuple[Board, ...]
    notes: str = ""

    def covers(self, product_version: str) -> bool:
        """Whether `product_version`, such as "14.8.4", is a release of this macOS."""
        return product_version == self.number or product_version.startswith(self.number + ".")


# Board ids and serials: acidanthera/OpenCorePkg, Utilities/macrecovery/recovery_urls.txt and boards.json. Preferred is
# a board whose last macOS is the wanted one, asked for its latest: such a line does not rot when Apple releases.
VERSIONS: tuple[MacVersion, ...] = (
    MacVersion(
        "high-sierra",
        "High Sierra",
        "10.13",
        (
            Board("Mac-7BA5B2D9E42DDD94", "00000000000J80300", "default"),
            Board("Mac-BE088AF8C5EB4FA2", "00000000000J80300", "default"),
        ),
    ),
    MacVersion("mojave", "Mojave", "10.14", (Board("Mac-7BA5B2DFE22DDD8C", "00000000000KXPG00", "default"),)),
    MacVersion(
        "catalina",
        "Catalina",
        "10.15",
        (
            Board("Mac-00BE6ED71E35EB86", os="default"),
            Board("Mac-CFF7D910A743CAAF", "00000000000PHCD00", "default"),
        ),
    ),
    MacVersion(
        "big-sur",
        "Big Sur",
        "11",
        (Board("Mac-2BD1B31983FE1663", os="default"), Board("Mac-2BD1B31983FE1663")),
        "default and latest differ in the minor release",
    ),
    MacVersion(
        "monterey",
        "Monterey",
        "12",
        (Board("Mac-B809C3757DA9BB8D"), Board("Mac-E43C1C25D4880AD6"), Board("Mac-FFE5EF870D7BA81A")),
    ),
    MacVersion(
        "ventura",
        "Ventura",
        "13",
        (Board("Mac-4B682C642B45593E"), Board("Mac-B4831CEBD52A0C4C")),
        "needs a processor with AVX2",
    ),
    MacVersion(
        "sonoma",
        "Sonoma",
        "14",
        (Board("Mac-827FAC58A8FDFA22"), Board("Mac-226CB3C6A851A671")),
        "needs a processor with AVX2; works best in a virtual machine",
    ),
    MacVersion(
        "sequoia",
        "Sequoia",
        "15",
        (Board("Mac-7BA5B2D9E42DDD94"), Board("Mac-937A206F2EE63C01")),
        "needs a processor with AVX2",
    ),
    MacVersion(
        "tahoe",
        "Tahoe",
        "26",
        (Board("Mac-CFF7D910A743CAAF"), Board("Mac-27AD2F918AE68F61"), Board("Mac-AF89B6D9451A490B")),
        "needs a processor with AVX2; slow without a GPU; the last for Intel processors",
    ),
)


def find(text: str) -> MacVersion:
    """Return the version that a person means by its name ("sonoma", "High Sierra"), number ("14") or board id.

    A board id comes back as its version with that board first.

    Raises:
        UsageError: nothing is called so, or a board id stands for more than one version.
    """
    word = re.sub(r"[\s_-]+", "-", text.strip().lower()).removeprefix("macos-")
    for version in VERSIONS:
        if word in (version.name, version.number):
            return version
    owners = [_led_by(version, word) for version in VERSIONS if any(_is(b, word) for b in version.boards)]
    if len(owners) == 1:
        return owners[0]
    if owners:
        names = " and ".join(version.name for version in owners)
        raise UsageError(f"board id {text.strip()} means {names}", hint="use the version's name")
    raise UsageError(f"there is no macOS called {text.strip()!r}", hint=_nearest(word))


def _is(board: Board, word: str) -> bool:
    return board.board_id.lower() == word


def _led_by(version: MacVersion, word: str) -> MacVersion:
    return dataclasses.replace(version, boards=tuple(sorted(version.boards, key=lambda b: not _is(b, word))))


def _nearest(word: str) -> str:
    known = [word for version in VERSIONS for word in (version.name, version.number)]
    boards = {board.board_id.lower(): board.board_id for version in VERSIONS for board in version.boards}
    close = difflib.get_close_matches(word, known + list(boards), n=1)
    if close:
        return f"did you mean {boards.get(close[0], close[0])}?"
    return "use one of " + ", ".join(version.name for version in VERSIONS)
