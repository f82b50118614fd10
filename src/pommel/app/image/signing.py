"""Sign images, and judge the signatures of foreign images. Band: app.

A foreign image is accepted if a key that this home trusts has signed its manifest, or if the user allows unsigned
images. A wrong signature in the name of a trusted key is always refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pommel.app.image.places import OpenedImage, plainly, store_of
from pommel.app.workspace import Workspace
from pommel.errors import ImageError, StateError
from pommel.image import keyring, signature
from pommel.image.layout import ManifestEntry
from pommel.image.manifest import MANIFEST_MAX, Blob, blob_of
from pommel.image.signature import MinisignPublicKey
from pommel.image.store import ImageStore, signature_name
from pommel.progress import Report, ignore, note, warn


def sign_here(store: ImageStore, made: OpenedImage, *, report: Report = ignore) -> bool:
    """Sign an image with this home's key; False: the home has no key."""
    key = keyring.own(store.root)
    if key is None:
        return False
    data = store.read(made.manifest.blob, MANIFEST_MAX)
    text = signature.sign(key, data, f"{made.manifest.blob.digest} {made.entry.name}").encode()
    keep(store, made.manifest.blob, text, signer=key.public.id)
    note(report, f"{made.entry.name} is signed by the key {key.public.id}")
    return True


def keep(store: ImageStore, image: Blob, text: bytes, *, signer: str) -> ManifestEntry:
    """Put the signature of an image into the store and its index."""
    data = signature.render_artifact(image, text)
    entry = ManifestEntry(signature_name(image), blob_of(data), signer=signer, is_signature=True)
    parts = [signature.EMPTY, text, data]
    for part in parts:
        store.add(part, blob_of(part))
    store.settle([blob_of(part) for part in parts])
    store.name(entry)
    return entry


def kept(store: ImageStore, image: Blob) -> bytes | None:
    """The signature of a stored image, as a file of minisign; None: it has none."""
    entry = store.find(signature_name(image))
    if entry is None:
        return None
    try:
        *_, layer = signature.blobs(store.read(entry.manifest, MANIFEST_MAX))
    except ValueError as wrong:
        raise ImageError(f"{entry.name} cannot be used: {wrong}") from wrong
    return store.read(layer, signature.TEXT_MAX)


def judge(
    what: str,
    data: bytes,
    text: bytes | None,
    trusted: Sequence[MinisignPublicKey],
    *,
    unsigned: bool,
    report: Report = ignore,
) -> str:
    """Check the signature `text` of the manifest `data`.

    Return the id of the trusted key; empty: allowed as `unsigned`.

    Raises:
        ImageError: there is no signature, or none of a trusted key; the hint says how to accept the image.
    """
    if text is None:
        return _unsigned(f"{what} is not signed", "to take it as it is: --unsigned", unsigned, report)
    try:
        found = signature.parse(text)
    except ValueError as wrong:
        raise ImageError(f"the signature of {what} cannot be used: {wrong}") from wrong
    key = next((key for key in trusted if key.number == found.number), None)
    if key is None:
        hint = "if it is the right key, get its public key from the signer: pommel image trust FILE.pub"
        said = f"{what} is signed by the key {found.key_id}, which this home does not trust"
        return _unsigned(said, f"{hint}; or take it as it is: --unsigned", unsigned, report)
    if not signature.verify(key, found, data):
        raise ImageError(
            f"the signature of {what} by the key {key.id} is wrong: the image or its signature was changed",
            hint="get the image again from its author",
        )
    return key.id


def new_key(workspace: Workspace, given: Path | None = None) -> MinisignPublicKey:
    """Make a key that signs this home's images from now on, or use the one in the file `given`.

    Raises:
        StateError: there is a key already.
        ImageError: the file is not such a key, or the home cannot be written.
    """
    workspace.mark()
    store = store_of(workspace)
    with plainly(store):
        return keyring.make(store.root, given).public


def own_key(workspace: Workspace) -> MinisignPublicKey:
    """The key that signs this home's images.

    Raises:
        StateError: there is none.
    """
    found = keyring.own(store_of(workspace).root)
    if found is None:
        raise StateError("this home has no key that signs images", hint="make one: pommel image key --new")
    return found.public


def trust(workspace: Workspace, file: Path) -> MinisignPublicKey:
    """Trust the public key in `file`. ImageError: it is not a public key of minisign."""
    workspace.mark()
    store, key = store_of(workspace), keyring.read_public(file)
    with plainly(store):
        keyring.trust(store.root, key)
    return key


def distrust(workspace: Workspace, key_id: str) -> None:
    """Stop trusting a key. StateError: it is not trusted."""
    keyring.distrust(store_of(workspace).root, key_id)


def trusted(workspace: Workspace) -> list[MinisignPublicKey]:
    """The trusted keys."""
    return keyring.trusted(store_of(workspace).root)


def _unsigned(said: str, hint: str, allowed: bool, report: Report) -> str:
    if not allowed:
        raise ImageError(said, hint=hint)
    warn(report, f"{said}, and is taken as it is")
    return ""
