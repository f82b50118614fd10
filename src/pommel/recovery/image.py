"""Converts Apple's signed .dmg to a raw disk that a machine can boot, and finds its macOS. Band: shell.

dmg2img and qemu-img convert, but neither is trusted. Debian's dmg2img 1.6.7 leaves out runs that it cannot read (LZFSE)
or reads them at a wrong place (a later part whose data is first in the file), and exits with 0. So the result must have
the size in the trailer, and every part the CRC-32 in its table; else the next program is tried.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pommel import private, process
from pommel.errors import CommandFailed, DeadlineError, MissingProgram, RecoveryError
from pommel.progress import Progress, Report, ignore, warn
from pommel.recovery import disk_image
from pommel.recovery.files import BLOCK, blocks, check_room

STEP = "convert"
_POLL_S = 0.2
_DIG_TIMEOUT_S = 600.0
_TOOLS = {
    "dmg2img": ("dmg2img", "-i", "{dmg}", "-o", "{raw}"),
    "qemu-img": ("qemu-img", "convert", "-f", "dmg", "-O", "raw", "{dmg}", "{raw}"),
}
# A disk that a Mac's firmware can boot begins with one of these, (offset, bytes).
_SIGNATURES = ((512, b"EFI PART"), (1024, b"H+"), (1024, b"HX"), (32, b"NXSB"), (512, b"PM\0\0"), (32769, b"CD001"))

_KEY = b"ProductVersion</key>"
_VERSION = re.compile(_KEY + rb"\s*<string>\s*(\d{1,3}(?:\.\d{1,3}){0,3})\s*</string>")
_NAME = re.compile(rb"<key>ProductName</key>\s*<string>\s*(?:macOS|Mac OS X)\s*</string>")
_AROUND = 8192  # bytes: SystemVersion.plist has fewer than 1000


class UnknownVersion(RecoveryError):
    """The image does not show which macOS it contains."""


@dataclass(frozen=True, slots=True)
class Converted:
    """The program that made the raw disk, and the disk's size (not its size on the host: zeros are holes)."""

    tool: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class DmgLayout:
    """The description of the disk in a .dmg."""

    size_bytes: int
    parts: tuple[disk_image.DiskPart, ...]


class _Unusable(Exception):
    """A program's result is not the disk; the next program may succeed."""


def is_disk_image(path: Path) -> bool:
    """Whether `path` is a .dmg to convert, by its trailer, with any name.

    Raises:
        OSError: it cannot be read.
    """
    return disk_image.is_disk_image(_tail(path))


def read_layout(dmg: Path) -> DmgLayout:
    """Read the description of the disk in `dmg`.

    Raises:
        RecoveryError: it is not a disk image.
        OSError: it cannot be read.
    """
    trailer = disk_image.parse_trailer(_tail(dmg), dmg.stat().st_size)
    if not trailer.plist_size:
        return DmgLayout(trailer.size_bytes, ())
    with dmg.open("rb") as file:
        file.seek(trailer.plist_at)
        plist = file.read(trailer.plist_size)
    return DmgLayout(trailer.size_bytes, disk_image.parse_parts(plist, trailer.size_bytes))


def convert(dmg: Path, raw: Path, *, report: Report = ignore) -> Converted:
    """Make the raw disk `raw` from `dmg`, complete and checked, or not at all. The caller prevents a second conversion.

    Raises:
        MissingProgram: neither dmg2img nor qemu-img is installed.
        RecoveryError: `dmg` is not a disk image, no program could convert it, or there is not enough space.
    """
    raw = raw.absolute()  # qemu-img reads "nbd:x" as an address, but "/x/nbd:x" as a path
    aside = raw.with_name(f".{raw.name}.converting")
    try:
        layout = _named(dmg)
        tools = _installed()
        shutil.rmtree(aside, ignore_errors=True)
        private.make_folder(aside)
        check_room(aside, layout.size_bytes)
        tool = _by_any(tools, dmg.absolute(), aside / "raw", layout, report)
        _look_for_file_system(aside / "raw", report)
        with (aside / "raw").open("rb") as made:
            os.fsync(made.fileno())
        (aside / "raw").replace(raw)
    except OSError as error:
        raise RecoveryError(f"{dmg} could not be converted: {error}", hint="check its disk and folder") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    report(Progress(STEP, f"by {tool}", layout.size_bytes, layout.size_bytes, "B", finished=True))
    return Converted(tool, layout.size_bytes)


def product_version(raw: Path, *, report: Report = ignore) -> str:
    """Find the version of the macOS on the raw disk `raw`, such as "14.8.4".

    An image has many property lists with a ProductVersion. The right one is SystemVersion.plist: its dict also has
    a ProductName, "macOS" or "Mac OS X" (its counterpart for iPad apps has "iPhone OS"). Of several, the most frequent
    version is used, of equals the first; if there is none, the same among all others.

    Raises:
        UnknownVersion: there is none at all.
        OSError: it cannot be read.
    """
    if (found := version_in(blocks(raw, "version", report))) is not None:
        return found
    raise UnknownVersion(
        f"{raw.name} does not show which macOS it contains", hint="check that it is a macOS recovery image or installer"
    )


def version_in(pieces: Iterable[bytes]) -> str | None:
    """The version in a disk that comes in parts of any size, as `product_version` finds it; None: there is none."""
    system, other = Counter[str](), Counter[str]()
    for around, at in _neighbourhoods(pieces):
        found = _VERSION.match(around, at)
        if found:
            (system if _is_system_version(around, at) else other)[found[1].decode("ascii")] += 1
    for counted in (system, other):
        if counted:
            return counted.most_common(1)[0][0]  # of equal ones it returns the first
    return None


def _neighbourhoods(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield each place of ProductVersion once: the bytes around it, and its offset in them.

    A block is kept until `_AROUND` bytes of the next are there, so that no place is cut at a border.
    """
    kept, looked_to = b"", 0
    for block in itertools.chain(filter(None, pieces), (b"",)):
        kept += block
        limit = len(kept) - _AROUND if block else len(kept)
        at = kept.find(_KEY, looked_to)
        while 0 <= at < limit:
            start = max(0, at - _AROUND)
            yield kept[start : at + _AROUND], at - start
            at = kept.find(_KEY, at + 1)
        cut = max(0, limit - _AROUND)
        kept, looked_to = kept[cut:], max(looked_to, limit) - cut


def _is_system_version(around: bytes, at: int) -> bool:
    start = around.rfind(b"<dict", 0, at)
    end = around.find(b"</dict>", at)
    return start >= 0 and bool(_NAME.search(around, start, end if end >= 0 else len(around)))


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - disk_image.TRAILER_BYTES))
        return file.read(disk_image.TRAILER_BYTES)


def _named(dmg: Path) -> DmgLayout:
    try:
        return read_layout(dmg)
    except RecoveryError as error:
        raise RecoveryError(f"{dmg} cannot be converted: {error.message}", hint=error.hint) from None


def _installed() -> list[str]:
    found = []
    for tool in _TOOLS:
        with contextlib.suppress(MissingProgram):
            process.which(tool)
            found.append(tool)
    if not found:
        raise MissingProgram(
            "neither dmg2img nor qemu-img is installed", hint="install one (Debian: dmg2img, qemu-utils)"
        )
    return found


def _by_any(tools: list[str], dmg: Path, raw: Path, layout: DmgLayout, report: Report) -> str:
    """Convert with the first of `tools` that succeeds, and return its name."""
    why = []
    for tool, after in itertools.zip_longest(tools, tools[1:]):
        raw.unlink(missing_ok=True)
        try:
            _run(tool, dmg, raw, layout.size_bytes, report)
            _check(raw, layout, report)
        except _Unusable as failure:
            why.append(f"{tool}: {failure}")
            if after:
                warn(report, f"{tool} could not convert {dmg.name} ({failure}); trying {after}")
            continue
        if tool == "dmg2img":
            _dig_holes(raw)
        return tool
    full = shutil.disk_usage(raw.parent).free < layout.size_bytes // 100
    raise RecoveryError(
        f"{dmg} could not be converted ({'; '.join(why)})",
        hint="free some space, then run the same command again"
        if full
        else "it may use a compression that these programs do not support: install a newer qemu-img or dmg2img",
    )


def _run(tool: str, dmg: Path, raw: Path, size_bytes: int, report: Report) -> None:
    """Let `tool` write `raw`; the file shows the progress, because dmg2img prints no whole lines until it ends."""
    log = raw.with_name(f"{tool}.log")
    child = process.spawn_detached([word.format(dmg=dmg, raw=raw) for word in _TOOLS[tool]], log)
    pause_s = _POLL_S / 16
    try:
        while (status := child.exit_status()) is None:
            report(Progress(STEP, f"by {tool}", _written(raw, size_bytes), size_bytes, "B"))
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _POLL_S)
    except BaseException:  # for Ctrl-C too: it must not continue to write
        child.kill()
        raise
    if status < 0:
        raise _Unusable(f"it was ended by {signal.Signals(-status).name}")
    if status:
        raise _Unusable(_last_words(log) or f"it failed with exit status {status}")


def _written(raw: Path, size_bytes: int) -> int:
    """The size written so far. qemu-img sets the size first, so then the blocks on disk count, or else the size."""
    try:
        found = raw.stat()
    except FileNotFoundError:
        return 0
    return found.st_blocks * 512 if found.st_size == size_bytes else found.st_size


def _last_words(log: Path) -> str:
    lines = re.split(r"[\r\n\b]+", log.read_text(errors="replace"))
    return next((" ".join(line.split()) for line in reversed(lines) if line.strip()), "")[:200]


def _check(raw: Path, layout: DmgLayout, report: Report) -> None:
    """Check that `raw` is the disk that its .dmg describes, by size and checksums."""
    size = raw.stat().st_size if raw.is_file() else 0
    if size != layout.size_bytes:
        raise _Unusable(f"it wrote {size} bytes, not {layout.size_bytes}")
    done = 0
    for part in layout.parts:
        crc = 0
        for offset, length in part.stretches:
            for block in _stretch(raw, offset, length):
                crc = zlib.crc32(block, crc)
                done += len(block)
                if (done // BLOCK) % 64 == 0:
                    report(Progress("check", raw.name, done, size, "B"))
        if crc != part.crc32:
            raise _Unusable(f"its output is different in the part {part.name.strip()!r}")
    report(Progress("check", raw.name, done, done, "B", finished=True))


def _stretch(raw: Path, offset: int, length: int) -> Iterator[bytes]:
    with raw.open("rb", buffering=0) as file:
        file.seek(offset)
        while length and (block := file.read(min(length, BLOCK))):
            yield block
            length -= len(block)


def _dig_holes(raw: Path) -> None:
    """Free the space of zeros: dmg2img writes them. On a file system without holes the file does not change."""
    with contextlib.suppress(MissingProgram, CommandFailed, DeadlineError):
        process.run(["fallocate", "--dig-holes", raw], timeout_s=_DIG_TIMEOUT_S)


def _look_for_file_system(raw: Path, report: Report) -> None:
    with raw.open("rb") as file:
        head = file.read(33 << 10)
    if not any(head.startswith(bytes_, offset) for offset, bytes_ in _SIGNATURES):
        warn(report, "the disk does not begin with a partition table or a file system of a Mac, so it may not boot")
