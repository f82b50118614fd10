"""List, show, verify and delete the images of this home. Band: app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pommel.app.image.places import OpenedImage, of_entry, opened, plainly, store_of
from pommel.app.image.signing import judge, kept
from pommel.app.workspace import Workspace
from pommel.errors import ImageError
from pommel.image import keyring, packing
from pommel.image.manifest import MANIFEST_MAX
from pommel.image.names import ImageName
from pommel.progress import Report, ignore, note


@dataclass(frozen=True, slots=True)
class ImageList:
    """The usable images, and the problem of each damaged one by its name."""

    images: tuple[OpenedImage, ...]
    damaged: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The list as one JSON object."""
        bad = [{"machine_image": name, "problem": why} for name, why in self.damaged.items()]
        return {"machine_images": [each.as_dict() for each in self.images], "damaged_images": bad}


def listed(workspace: Workspace | None = None) -> ImageList:
    """All images of this home, in order of their names."""
    store = store_of(workspace or Workspace.current())
    images, damaged = [], {}
    for entry in store.entries():
        if entry.is_signature:
            continue
        try:
            images.append(of_entry(store, entry))
        except ImageError as wrong:
            damaged[entry.name] = wrong.message
    return ImageList(tuple(images), damaged)


def show(image: ImageName, *, workspace: Workspace | None = None) -> dict[str, Any]:
    """All facts about an image, as one JSON object. Raises as `places.opened`."""
    found = opened(store_of(workspace or Workspace.current()), image)
    disks = [
        {
            "disk_file": disk.slot,
            "virtual_bytes": disk.virtual_bytes,
            "piece_bytes": disk.piece_bytes,
            "piece_count": sum(piece.slot == disk.slot for piece in found.manifest.pieces),
        }
        for disk in found.machine.disks
    ]
    files = [{"path": file.name, "size_bytes": file.size_bytes} for file in found.manifest.files]
    return {
        **found.as_dict(),
        "image_disks": disks,
        "image_files": files,
        "image_settings": dict(found.machine.settings),
        "pommel": found.machine.pommel,
    }


def verify(image: ImageName, *, workspace: Workspace | None = None, report: Report = ignore) -> dict[str, Any]:
    """Read all of an image and compare it with its manifest, and its signature with the trusted keys.

    Raises:
        StateError: there is no such image.
        ImageError: a piece is missing or damaged (the message names it); or a signature is wrong.
    """
    store = store_of(workspace or Workspace.current())
    with plainly(store), store.in_use():
        found = opened(store, image)
        data, text = store.read(found.manifest.blob, MANIFEST_MAX), kept(store, found.manifest.blob)
        signer = ""
        if text is not None:
            signer = judge(str(image), data, text, keyring.trusted(store.root), unsigned=True, report=report)
        read = packing.verify(store, found.manifest, found.machine.disks, report=report)
    return {**found.as_dict(), "signer": signer or None, "ok": True, "read_bytes": read}


def must_be_there(image: ImageName, *, workspace: Workspace | None = None) -> None:
    """Check that there is such an image, also a damaged one. StateError: there is none."""
    store_of(workspace or Workspace.current()).must_find(image)


def delete(image: ImageName, *, workspace: Workspace | None = None, report: Report = ignore) -> dict[str, Any]:
    """Delete an image, and the pieces that no other image needs; return what was freed, as a JSON object.

    Raises:
        StateError: there is no such image.
        ImageError: another image's manifest cannot be read, so it is unknown which pieces it needs.
    """
    store = store_of(workspace or Workspace.current())
    with plainly(store):
        entry = store.forget(image)
        count, freed = store.prune()
    if not freed:
        note(report, "its pieces stay for now: another image needs them, or another command uses the images")
    return {"machine_image": entry.name, "removed_blobs": count, "freed_bytes": freed}
