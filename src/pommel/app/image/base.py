"""Use an image as a base for clones: one golden machine is made from it. Band: app.

The base's name contains the image's digest, so two tags of one image have one base, and a new image gets a new base.
Clones of it are linked, so they are made at once and need little space. `pommel delete` removes it when it has no
clones.
"""

from __future__ import annotations

from pommel.app.image.places import opened, store_of
from pommel.app.workspace import Workspace
from pommel.image.names import ImageName
from pommel.progress import Report, ignore, note

_DIGITS = 12


def provide_base(image: ImageName, *, workspace: Workspace | None = None, report: Report = ignore) -> str:
    """Make the golden machine of `image` if it does not exist, and return its name, for `clones.clone`.

    Several processes may call this at once: one makes it, and the others wait.

    Raises:
        StateError: there is no such image; or it needs an upstream folder that only its author has.
        ImageError: a piece is missing or does not match the manifest.
        BuildError: there is too little room.
        BusyError: another process has been making it for 15 minutes.
    """
    workspace = workspace or Workspace.current()
    store = store_of(workspace)
    found = opened(store, image)
    name = f"image-{found.manifest.blob.hex[:_DIGITS]}"
    with store.alone_at(f"the base {name}"):
        if not workspace.paths(name).record.exists():
            # imported late: this takes a second, and is not needed if the base exists
            from pommel.app.image import creating

            creating.create(image, name, golden=True, workspace=workspace, report=report)
            note(report, f"{name} is the base for machines of {image}; it is golden, and they are linked clones of it")
    return name
