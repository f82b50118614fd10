"""The recovery images that all machines share, each under the hash of its source. Band: shell.

    ROOT/sha256-HEX/             an image; see stored.py
    ROOT/.sha256-HEX.lock        held by whoever makes or removes it
    ROOT/.sha256-HEX.building.*  one in the making; a killed one's is swept by the next
    ROOT/incoming/ASKED/         a download, one folder for each question to Apple; it survives kills (see part.py)
    ROOT/incoming/.NAME.lock     held by whoever fetches that macOS

An entry appears whole or not at all. It knows nothing of machines: whether one still uses an image, the caller knows.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pommel import private
from pommel.errors import BusyError, RecoveryError
from pommel.locks import hold
from pommel.paths import build_aside, is_aside, sweep_aside
from pommel.progress import Report, ignore, note, warn
from pommel.recovery import stored as entries
from pommel.recovery.catalog import VERSIONS, Board, MacVersion
from pommel.recovery.files import copy, sha256, waited
from pommel.recovery.image import Converted, UnknownVersion, convert, is_disk_image, product_version
from pommel.recovery.origin import Origin
from pommel.recovery.part import chunklist_beside
from pommel.recovery.service import BoardRefused
from pommel.recovery.stored import CHUNKLIST, DMG, IMAGE, PREFIX, ImageFacts, Stored
from pommel.recovery.verify import read_chunklist, verify_file

if TYPE_CHECKING:
    from pommel.recovery.download import Fetched

__all__ = ["RecoveryStore", "Stored"]

RAW_FACTOR = 4  # the disk in an image is this many times as large, at most (14.8.4: 789 MB, 3.0 GB)
_Place = Callable[[Path, Path], object]


class RecoveryStore:
    """The store under `root`, which need not exist yet. Any number of processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self) -> list[Stored]:
        """All complete images, newest macOS first."""
        found = []
        for folder in self._folders():
            with contextlib.suppress(RecoveryError):
                found.append(entries.read(folder))
        return sorted(found, key=lambda stored: (stored.number, stored.source == "apple"), reverse=True)

    def problems(self) -> Sequence[RecoveryError]:
        """The errors of the entries that `list` leaves out."""
        found = []
        for folder in self._folders():
            try:
                entries.read(folder)
            except RecoveryError as error:
                found.append(error)
        return found

    def find(self, version: MacVersion) -> Stored | None:
        """The newest image of `version`; of equals rather one that Apple signed."""
        return next((stored for stored in self.list() if version.covers(stored.version)), None)

    async def fetch(
        self,
        version: MacVersion,
        *,
        origin: Origin | None = None,
        report: Report = ignore,
        connections: int = 3,
        force: bool = False,
    ) -> Stored:
        """Return an image of `version`: the stored one, or Apple's, asked for with one board after another.

        With `force` Apple is asked in any case, and what comes is converted anew. While another fetches the same
        version, this waits and returns what came. What Apple gives for a board though it is another version is kept
        under its true version.

        Raises:
            RecoveryError: no board gave it, or what came cannot be trusted or converted, or there is no room.
            MissingProgram: there is nothing to convert it with.
        """
        from pommel.recovery.worker import in_thread_with_report

        found = self.find(version)
        if found and not force:
            return found
        lock, busy = self._incoming / f".{version.name}.lock", f"macOS {version.title} is already being downloaded"
        with _plainly(self.root), contextlib.ExitStack() as held:
            waiting = await in_thread_with_report(lambda relay: held.enter_context(waited(lock, busy, relay)), report)
            found = self.find(version)
            if found and (waiting or not force):
                return found
            return await self._by_boards(version, origin or Origin(), report, connections, force)

    def take(
        self, file: Path, *, version: MacVersion | None = None, origin: Origin | None = None, report: Report = ignore
    ) -> Stored:
        """Put a copy of a local image into the store: a .dmg, or a raw .img or .iso.

        A .dmg with a .chunklist beside it is verified by that; anything else is taken as it is, which is said.

        Raises:
            RecoveryError: it is not what its chunklist says, not `version`, no macOS, or there is no room.
            MissingProgram: there is nothing to convert it with.
        """
        with _plainly(self.root, file):
            if not file.is_file():
                raise RecoveryError(f"there is no file {file}", hint="give the path of a .dmg, .img or .iso")
            signed = is_disk_image(file) and chunklist_beside(file).is_file()
            chunklist = chunklist_beside(file) if signed else None
            if not signed:
                note(report, f"{file.name} is used without verification: there is no signed chunklist beside it")

            def place(source: Path, target: Path) -> None:
                copy(source, target, report)

            facts = ImageFacts("apple" if signed else "offline", assumed=version.number if version else None)
            return self._put(file, chunklist, place, facts, origin or Origin(), report, wanted=version)

    def verify(self, stored: Stored, *, origin: Origin | None = None, report: Report = ignore) -> None:
        """Check every byte again: the .dmg by Apple's signed chunklist, all files by their recorded SHA-256.

        Raises:
            RecoveryError: something differs.
        """
        with _plainly(self.root):
            if stored.dmg and stored.chunklist:
                verify_file(stored.dmg, read_chunklist(stored.chunklist, (origin or Origin()).key), report)
            for name, of in entries.record_of(stored.folder)["files"].items():
                if sha256(stored.folder / name, report) != of["sha256"]:
                    raise RecoveryError(f"{stored.folder / name} has changed since it was stored", hint=_again(stored))

    def remove(self, stored: Stored) -> None:
        """Remove an image. That no machine uses it the caller has seen to.

        Raises:
            BusyError: it is being made anew right now.
        """
        lock = self._lock(stored.key)
        with _plainly(self.root), hold(lock, busy=f"{stored.folder} is in use"):
            sweep_aside(stored.folder)
            gone = self.root / f".{stored.key}.building.removed"  # a name that is swept if we are killed here
            with contextlib.suppress(FileNotFoundError):
                stored.folder.rename(gone)
            sweep_aside(stored.folder)
            lock.unlink(missing_ok=True)

    @property
    def _incoming(self) -> Path:
        return self.root / "incoming"

    def _lock(self, key: str) -> Path:
        return self.root / f".{key}.lock"

    def _folders(self) -> Sequence[Path]:
        return sorted(self.root.glob(f"{PREFIX}*/"))

    async def _by_boards(
        self, version: MacVersion, origin: Origin, report: Report, connections: int, force: bool
    ) -> Stored:
        what, gave = f"{version.title} {version.number}", []
        following = [*version.boards[1:], None]
        for board, after in zip(version.boards, following, strict=True):
            stored, got = await self._by_board(board, version, origin, report, connections, force)
            if stored and version.covers(stored.version):
                return stored
            gave.append(f"{board.board_id} ({board.os}): {got}")
            if after:
                warn(
                    report,
                    f"asked Apple for {what} as board {board.board_id}, got {got}; trying board {after.board_id}",
                )
        raise RecoveryError(
            f"Apple gave no {what}: " + ", ".join(gave),
            hint=f"fetch another version, or bring an image: pommel recovery fetch {version.name} --offline FILE",
        )

    async def _by_board(
        self, board: Board, version: MacVersion, origin: Origin, report: Report, connections: int, force: bool
    ) -> tuple[Stored | None, str]:
        """Ask with one board; return the stored image, if there is one, and a description."""
        # Imported here, because the network's libraries are slow to import, and most commands only use stored images.
        from pommel.recovery.download import download
        from pommel.recovery.worker import in_thread_with_report

        asked = f"{board.board_id}-{board.mlb}-{board.os}"
        incoming = self._incoming / asked
        self._seed(asked, incoming)
        try:
            fetched = await download(
                board,
                incoming / DMG,
                origin=origin,
                report=report,
                connections=connections,
                spare_factor=RAW_FACTOR,
            )
            facts = ImageFacts("apple", fetched.product, asked, version.number)
            stored = await in_thread_with_report(
                lambda relay: self._put_fetched(fetched, facts, origin, relay, force), report
            )
        except BoardRefused:
            shutil.rmtree(incoming, ignore_errors=True)
            return None, "no image"
        shutil.rmtree(incoming, ignore_errors=True)
        return stored, stored.version

    def _put_fetched(self, fetched: Fetched, facts: ImageFacts, origin: Origin, report: Report, force: bool) -> Stored:
        def place(source: Path, target: Path) -> None:
            try:
                os.link(source, target)
            except OSError:  # a file system without links
                copy(source, target, report)

        return self._put(fetched.image, fetched.chunklist, place, facts, origin, report, anew=force)

    def _seed(self, asked: str, incoming: Path) -> None:
        """Lay the answer to an earlier same question where the download looks: if Apple's is still that, none comes."""
        if incoming.exists():
            return
        for stored in self.list():
            if stored.dmg and stored.chunklist and entries.record_of(stored.folder).get("asked") == asked:
                private.make_folder(incoming)
                with contextlib.suppress(OSError):
                    os.link(stored.dmg, incoming / DMG)
                    os.link(stored.chunklist, incoming / CHUNKLIST)
                return

    def _put(
        self,
        source: Path,
        chunklist: Path | None,
        place: _Place,
        facts: ImageFacts,
        origin: Origin,
        report: Report,
        *,
        wanted: MacVersion | None = None,
        anew: bool = False,
    ) -> Stored:
        """Make the entry of `source`, or find that it is there. Only what `place` brought is looked at from then on."""
        key = PREFIX + sha256(source, report)
        with waited(self._lock(key), f"{key} is being stored", report):
            self._sweep(key)
            if not anew and (here := self._whole(key, facts)):
                _check_version(here.version, wanted, source)
                return here
            with build_aside(self.root / key) as aside:
                raw = self._fill(aside, source, chunklist, place, origin, report)
                version = _version_in(aside / IMAGE, facts.assumed, source, report)
                _check_version(version, wanted, source)
                hashes = {path.name: sha256(path, report) for path in sorted(aside.iterdir())}
                if PREFIX + hashes[DMG if raw else IMAGE] != key:
                    raise RecoveryError(f"{source} changed while it was read", hint="run the same command again")
                created = datetime.now(UTC).isoformat(timespec="seconds")
                entries.write(aside, version, raw.tool if raw else None, facts, hashes, created)
            return entries.read(self.root / key)

    def _fill(
        self, aside: Path, source: Path, chunklist: Path | None, place: _Place, origin: Origin, report: Report
    ) -> Converted | None:
        if not is_disk_image(source):
            place(source, aside / IMAGE)
            return None
        place(source, aside / DMG)
        if chunklist:
            place(chunklist, aside / CHUNKLIST)
            verify_file(aside / DMG, read_chunklist(aside / CHUNKLIST, origin.key), report)
        return convert(aside / DMG, aside / IMAGE, report=report)

    def _whole(self, key: str, facts: ImageFacts) -> Stored | None:
        """The entry `key`, if it is no less proven than what `facts` would make of it."""
        try:
            here = entries.read(self.root / key)
        except RecoveryError:
            return None
        return here if here.source == "apple" or facts.source == "offline" else None

    def _sweep(self, own: str) -> None:
        """Remove incomplete entries of killed processes; we hold the lock of `own`."""
        sweep_aside(self.root / own)
        for left in filter(is_aside, self.root.glob(f".{PREFIX}*.building.*")):
            key = left.name.removeprefix(".").partition(".")[0]
            if key != own:
                with contextlib.suppress(BusyError), hold(self._lock(key), busy=key):
                    shutil.rmtree(left, ignore_errors=True)


def _version_in(raw: Path, assumed: str | None, source: Path, report: Report) -> str:
    """The version that the image says, else the one to take it for: whose it is, its signature tells."""
    try:
        return product_version(raw, report=report)
    except UnknownVersion:
        if assumed is None:
            raise
        warn(report, f"{source.name} does not show which macOS it contains: used as {assumed}, as requested")
        return assumed


def _check_version(found: str, wanted: MacVersion | None, source: Path) -> None:
    if wanted and not wanted.covers(found):
        raise RecoveryError(
            f"{source} is macOS {found}, not {wanted.title} {wanted.number}", hint="ask for the version that it is"
        )


def _again(stored: Stored) -> str:
    name = next((version.name for version in VERSIONS if version.covers(stored.version)), None)
    return f"fetch it again: pommel recovery fetch {name} --force" if name else f"remove it: rm -r {stored.folder}"


@contextlib.contextmanager
def _plainly(root: Path, file: Path | None = None) -> Iterator[None]:
    """Say what the operating system refuses in the user's words."""
    try:
        yield
    except OSError as error:
        what = error.filename or file or root
        raise RecoveryError(
            f"{what} cannot be read or written: {error.strerror or error}",
            hint="free some space or fix the permissions, then run the same command again",
        ) from error
