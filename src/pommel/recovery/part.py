"""An incomplete image: NAME.part and NAME.journal beside its future path. Band: shell.

    NAME.part      as long as the image; chunks lie where they belong, holes elsewhere
    NAME.journal   a first line that names the chunklist, then the number of each chunk that was written

The journal is only a hint where to look: what it lists is hashed again before it counts, so a kill -9, a torn line
or a page that never reached the disk costs a chunk and never lets a bad one in. The caller holds the lock.
"""

from __future__ import annotations

import os
from pathlib import Path

from pommel import private
from pommel.errors import RecoveryError
from pommel.paths import write_atomic
from pommel.recovery.chunklist import Chunklist
from pommel.recovery.files import check_room
from pommel.recovery.verify import good_chunks


def chunklist_beside(image: Path) -> Path:
    """The path of the chunklist of `image`."""
    return image.with_suffix(".chunklist")


class PartialImage:
    """The verified chunks of one image on the disk."""

    def __init__(self, target: Path, chunklist: Chunklist) -> None:
        """Open or begin the part of `target`; nothing in it counts before `recover`.

        Raises:
            OSError: the folder cannot be written to.
        """
        self.target = target
        self.chunklist = chunklist
        self.path = target.with_name(target.name + ".part")
        self.journal = target.with_name(target.name + ".journal")
        self.good: set[int] = set()
        private.make_folder(target.parent)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, private.FILE)
        self._log = -1

    @property
    def missing(self) -> list[int]:
        """The numbers of the missing chunks."""
        return [index for index in range(len(self.chunklist.chunks)) if index not in self.good]

    @property
    def good_size(self) -> int:
        """The number of verified bytes on the disk."""
        return sum(self.chunklist.chunks[index].size for index in self.good)

    def recover(self, spare_bytes: int = 0) -> None:
        """Hash again what an earlier run left, keep what is good, and begin the journal anew.

        Raises:
            RecoveryError: the disk has not enough room for the rest and `spare_bytes` more.
        """
        os.ftruncate(self._fd, self.chunklist.total_size)
        listed = sorted(self._listed())
        with open(self._fd, "rb", buffering=0, closefd=False) as file:
            verdicts = good_chunks(file, tuple(self.chunklist.chunks[index] for index in listed))
            kept = [index for index, good in zip(listed, verdicts, strict=True) if good]
        self.good.update(kept)  # they stay, even if there is no room for the rest
        check_room(self.target.parent, self.chunklist.total_size - self.good_size + spare_bytes)
        write_atomic(self.journal, self._title())
        self._log = os.open(self.journal, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        for index in kept:
            self._note(index)

    def write(self, index: int, data: bytes | bytearray) -> None:
        """Write chunk `index`, which the caller has verified."""
        rest, at = memoryview(data), self.chunklist.chunks[index].offset
        while rest:
            count = os.pwrite(self._fd, rest, at)
            rest, at = rest[count:], at + count
        self._note(index)

    def finish(self, chunklist_file: bytes) -> None:
        """Make the whole part the image, with its chunklist beside it.

        Raises:
            RecoveryError: chunks are missing.
        """
        if self.missing:
            raise RecoveryError(f"{self.path} lacks {len(self.missing)} chunks")
        os.fsync(self._fd)
        write_atomic(chunklist_beside(self.target), chunklist_file)
        self.path.replace(self.target)
        self.journal.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files; they stay for the next run."""
        for fd in (self._fd, self._log):
            if fd >= 0:
                os.close(fd)
        self._fd = self._log = -1

    def _title(self) -> str:
        return f"pommel recovery journal 1 {self.chunklist.sha256}\n"

    def _listed(self) -> set[int]:
        """The chunks that an earlier run says it wrote of this very image; whole lines only."""
        try:
            title, *lines = self.journal.read_text("ascii", errors="replace").splitlines(keepends=True)
        except (FileNotFoundError, ValueError):
            return set()
        if title != self._title():
            return set()
        count = len(self.chunklist.chunks)
        whole = (line[:-1] for line in lines if line.endswith("\n"))
        return {
            int(word) for word in whole if word.isascii() and word.isdigit() and len(word) < 9 and int(word) < count
        }

    def _note(self, index: int) -> None:
        os.write(self._log, f"{index}\n".encode())
        self.good.add(index)
