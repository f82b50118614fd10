"""A home's image store, and an image as one JSON object. Band: app."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pommel.app.workspace import Workspace
from pommel.errors import ImageError
from pommel.image.layout import ManifestEntry
from pommel.image.manifest import ImagedMachine, Manifest
from pommel.image.names import ImageName
from pommel.image.store import ImageStore

ROOM = "free some space, then run the same command again: complete pieces are kept"


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """An image in the store: its entry in the index, its manifest, and its machine."""

    entry: ManifestEntry
    manifest: Manifest
    machine: ImagedMachine

    def as_dict(self) -> dict[str, Any]:
        """The image as one JSON object."""
        return {
            "machine_image": self.entry.name,
            "digest": self.manifest.blob.digest,
            "created": self.machine.created,
            "macos": self.machine.macos,
            "upstream": self.machine.upstream,
            "model": self.machine.model,
            "image_source": self.entry.source,
            "signer": self.entry.signer or None,
            "image_since": self.entry.since,
            "has_key": self.manifest.has_key,
            "packed_bytes": self.manifest.packed_bytes,
            "virtual_bytes": sum(disk.virtual_bytes for disk in self.machine.disks),
            "piece_count": len(self.manifest.pieces),
        }


def store_of(workspace: Workspace) -> ImageStore:
    """The image store of a home."""
    return ImageStore(workspace.home.images)


def opened(store: ImageStore, name: ImageName) -> OpenedImage:
    """The image of that name.

    Raises:
        StateError: there is none.
        ImageError: it cannot be used.
    """
    return of_entry(store, store.must_find(name))


def of_entry(store: ImageStore, entry: ManifestEntry) -> OpenedImage:
    """The image of an entry in the index. Raises as `opened`."""
    found = store.manifest(entry)
    return OpenedImage(entry, found, store.machine(entry, found))


@contextlib.contextmanager
def plainly(store: ImageStore) -> Iterator[None]:
    """Turn an OSError in the block into an ImageError with the path and a hint."""
    try:
        yield
    except OSError as failure:
        what = failure.filename or store.root
        raise ImageError(f"{what} cannot be read or written: {failure.strerror or failure}", hint=ROOM) from failure
