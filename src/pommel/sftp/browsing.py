"""What a person sees of folders and files: entries, listings, uploads. Band: core, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pommel.errors import BusyError, StateError
from pommel.settings import format_size
from pommel.sftp.codec import Attributes, Space
from pommel.sftp.spelling import display, joined, name_of, part_name
from pommel.sftp.tree import FilesError

EntryType = Literal["file", "folder", "link", "other"]


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """One entry: size in bytes, time of the last change in seconds since 1970, and what a link leads to, if it does."""

    name: bytes
    kind: EntryType
    size: int
    mtime: int
    leads: EntryType | None = None


@dataclass(frozen=True, slots=True)
class FolderListing:
    """A folder: its path without links, its entries in no order, whether there are more, and the free space."""

    path: bytes
    entries: tuple[FolderEntry, ...]
    more: bool
    space: Space | None


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a person sends: where it goes, its size, and the time of its last change, if it is known."""

    path: bytes
    size: int
    mtime: int | None  # seconds since 1970

    def part_in(self, folder: bytes) -> bytes:
        """The path in its folder where it is kept until it is whole."""
        return joined(folder, part_name(name_of(self.path), self.size, self.mtime or 0))


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file that is sent to a person. The size of a folder is that of its archive."""

    name: bytes
    size: int
    mtime: int
    folder: bool = False

    @property
    def mark(self) -> str:
        """It changes when the file does (as an ETag, RFC 9110, 8.8.3)."""
        return f"{self.mtime:x}-{self.size:x}"


class NotThere(StateError):
    """There is no such file or folder."""

    def __init__(self, path: bytes) -> None:
        super().__init__(f"there is no {display(path)}")


class AlreadyThere(StateError):
    """A name is in use. `replaceable`: the file there can be replaced."""

    def __init__(self, path: bytes, *, replaceable: bool) -> None:
        super().__init__(f"there is already something named {display(name_of(path))}")
        self.replaceable = replaceable


class OtherOffset(StateError):
    """A piece of an upload does not continue what is there: `offset` bytes are."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the upload continues at {offset}")
        self.offset = offset


class DiskFull(FilesError):
    """The disk has not enough room; `free` bytes are left."""

    def __init__(self, whose: str, free: int) -> None:
        super().__init__(
            f"the disk of {whose} has only {format_size(free)} free", hint="delete something there, then try again"
        )
        self.free = free


class UploadBusy(BusyError):
    """Another page, or an earlier request of the same page, still sends this file."""

    def __init__(self) -> None:
        super().__init__("this file is already being uploaded")


def type_of(told: Attributes) -> EntryType:
    """The type of an entry by its attributes."""
    if told.is_link:
        return "link"
    return "folder" if told.is_folder else "file" if told.is_file else "other"
