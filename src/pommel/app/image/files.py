"""Export images to files, and import them from files. Band: app."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

from pommel import account
from pommel.app.image.places import OpenedImage, of_entry, opened, plainly, store_of
from pommel.app.image.signing import judge, keep, kept
from pommel.app.workspace import Workspace
from pommel.errors import ImageError, StateError, UsageError
from pommel.image import archive, keyring, manifest, signature
from pommel.image.layout import ManifestEntry
from pommel.image.manifest import Blob
from pommel.image.names import ImageName, parse_name
from pommel.image.store import ImageStore, signature_name
from pommel.progress import Report, ignore


def export(
    image: ImageName, file: Path, *, force: bool = False, workspace: Workspace | None = None, report: Report = ignore
) -> dict[str, Any]:
    """Write an image, with its signature if it has one, to `file`: a tar of an OCI image layout.

    Raises:
        StateError: there is no such image, or the file exists, without `force`.
        ImageError: a piece is missing; or the file cannot be written.
    """
    store, path = store_of(workspace or Workspace.current()), account.expand(file).absolute()
    if path.exists() and not force:
        raise StateError(f"{path} already exists", hint="choose another file, or replace it: --force")
    with plainly(store), store.in_use():
        found = opened(store, image)
        entries, blobs = [replace(found.entry, source="", since="", signer="")], [found.manifest.blob]
        blobs += found.manifest.blobs
        if (signed := store.find(signature_name(found.manifest.blob))) is not None:
            entries.append(replace(signed, signer=""))
            data = store.read(signed.manifest, manifest.MANIFEST_MAX)
            blobs += [signed.manifest, *signature.blobs(data)]
        size = archive.write(store, entries, list({each.digest: each for each in blobs}.values()), path, report=report)
    return {**found.as_dict(), "file": str(path), "size_bytes": size}


def take(
    file: Path,
    image: ImageName | None = None,
    *,
    unsigned: bool = False,
    force: bool = False,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> OpenedImage:
    """Import the image in `file` into this home as `image` (default: its own name).

    Raises:
        StateError: there is another image of that name, without `force`.
        ImageError: it is not an image, or damaged; or it has no trusted signature, without `unsigned`; or there is too
            little room.
    """
    workspace, path = workspace or Workspace.current(), account.expand(file).absolute()
    if not path.is_file():
        raise StateError(f"there is no file {path}")
    workspace.mark()
    store = store_of(workspace)
    with plainly(store), store.in_use():
        entries, blobs = archive.read(store, path, report=report)
        wanted = [each for each in entries if not each.is_signature]
        if len(wanted) != 1:
            raise ImageError(f"{path} has {len(wanted)} images, and one is expected")
        called = image or _own_name(wanted[0], path)
        made = _checked(store, replace(wanted[0], name=str(called), source=f"file {path.name}"), blobs)
        text = _signature(store, entries, made.manifest.blob)
        data = store.read(made.manifest.blob, manifest.MANIFEST_MAX)
        signer = judge(path.name, data, text, keyring.trusted(store.root), unsigned=unsigned, report=report)
        return admit(store, made, text, signer, force=force)


def admit(store: ImageStore, made: OpenedImage, text: bytes | None, signer: str, *, force: bool) -> OpenedImage:
    """Add an image to the index, with its signature. All its blobs must be here.

    Raises:
        StateError: there is another image of that name, without `force`.
    """
    refuse_other(store, made.entry.name, made.manifest.blob, force=force)
    store.settle([made.manifest.blob, *made.manifest.blobs])
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = replace(made.entry, signer=signer, since=now, manifest=made.manifest.blob)
    if text is not None:
        keep(store, made.manifest.blob, text, signer=signer)
    store.name(entry)
    return replace(made, entry=entry)


def refuse_other(store: ImageStore, name: str, blob: Blob, *, force: bool) -> None:
    """Refuse a `name` that another image than `blob` has, unless `force`. StateError: another has it."""
    there = store.find(name)
    if there is not None and there.manifest != blob and not force:
        raise StateError(
            f"there is another image called {name}",
            hint="give it another name: --as NAME:TAG; or replace it: --force",
        )


def _own_name(entry: ManifestEntry, path: Path) -> ImageName:
    try:
        return parse_name(entry.name)
    except UsageError as wrong:
        raise ImageError(f"the image in {path} is called {entry.name!r}", hint="name it: --as NAME:TAG") from wrong


def _checked(store: ImageStore, entry: ManifestEntry, blobs: list[Blob]) -> OpenedImage:
    """The image of an archive. All its blobs must be in the archive or in this home."""
    made = of_entry(store, entry)
    sure = store.sure() | {blob.digest for blob in blobs}
    for blob in made.manifest.blobs:
        if not store.has(blob, sure):
            raise ImageError(
                f"the file is incomplete: {blob.digest} of {entry.name} is missing", hint="export it again"
            )
    return made


def _signature(store: ImageStore, entries: list[ManifestEntry], image: Blob) -> bytes | None:
    found = next((each for each in entries if each.is_signature and each.name == signature_name(image)), None)
    if found is None:
        return kept(store, image)
    try:
        *_, layer = signature.blobs(store.read(found.manifest, manifest.MANIFEST_MAX))
    except ValueError as wrong:
        raise ImageError(f"the signature in the file cannot be used: {wrong}") from wrong
    return store.read(layer, signature.TEXT_MAX)
