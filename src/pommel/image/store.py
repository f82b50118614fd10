"""The images of this home: an OCI image layout, each blob once under its SHA-256. Band: shell.

    ROOT/oci-layout, index.json     the list of images; written completely, and last
    ROOT/blobs/sha256/HEX           pieces, small files, configurations, manifests, signatures
    ROOT/blobs/sha256/.HEX.*        an incomplete one; after a kill it is removed with the unused ones
    ROOT/in-use/*.lock              held by each process that reads or adds blobs, so that nobody removes them meanwhile
    ROOT/.lock                      held while the index changes, and while unused blobs are removed
    ROOT/own-keys/HEX/              the SSH key for the guest of an image that was saved here; it is never sent

A blob is valid once an image in the index needs it. An unneeded one may be incomplete after a power failure, and is
hashed before it is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from pommel import locks, private, texts
from pommel.errors import ImageError, StateError
from pommel.files import write_atomic
from pommel.image import layout, manifest, signature
from pommel.image.layout import ManifestEntry
from pommel.image.manifest import Blob, ImagedMachine, Manifest
from pommel.image.names import ImageName

_BLOBS, _IN_USE, _OWN_KEYS = Path("blobs", "sha256"), "in-use", "own-keys"
_WAIT_S = 900.0
_BUSY = "the images are being changed"


class ImageStore:
    """The store in `root`, which may not exist yet. Any number of processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def blob_path(self, blob: Blob) -> Path:
        """The path of a blob, existing or not."""
        return self.root / _BLOBS / blob.hex

    def own_key(self, image: Blob) -> Path:
        """The folder with the SSH key for the guest of an image that was saved here."""
        return self.root / _OWN_KEYS / image.hex

    def entries(self) -> list[ManifestEntry]:
        """All entries of the index, in order.

        Raises:
            ImageError: it cannot be read.
        """
        path = self.root / "index.json"
        if not path.exists():
            return []
        try:
            return layout.parse(texts.read_bytes(path, error=ImageError, most=layout.INDEX_MAX))
        except ValueError as wrong:
            raise ImageError(f"{path} cannot be used: {wrong}", hint="put an earlier copy of it back") from wrong

    def find(self, name: str) -> ManifestEntry | None:
        """The entry with the name `name`: NAME:TAG, or a signature's name."""
        return next((each for each in self.entries() if each.name == name), None)

    def must_find(self, name: ImageName) -> ManifestEntry:
        """The image with this name.

        Raises:
            StateError: it does not exist.
        """
        if (found := self.find(str(name))) is not None:
            return found
        there = ", ".join(each.name for each in self.entries() if not each.is_signature)
        raise StateError(
            f"there is no image {name}",
            hint=f"there are: {there}" if there else "to make one: pommel image save MACHINE",
        )

    def manifest(self, entry: ManifestEntry) -> Manifest:
        """The manifest of an image.

        Raises:
            ImageError: it is missing, has changed, or cannot be used.
        """
        try:
            return manifest.parse(self.read(entry.manifest, manifest.MANIFEST_MAX))
        except ValueError as wrong:
            raise ImageError(f"the image {entry.name} cannot be used: {wrong}") from wrong

    def machine(self, entry: ManifestEntry, found: Manifest) -> ImagedMachine:
        """The facts of the image's machine. Raises as `manifest`."""
        try:
            told = manifest.parse_config(self.read(found.config, manifest.CONFIG_MAX))
            manifest.check(found, told)
        except ValueError as wrong:
            raise ImageError(f"the image {entry.name} cannot be used: {wrong}") from wrong
        return told

    def read(self, blob: Blob, most: int) -> bytes:
        """A whole blob, of at most `most` bytes.

        Raises:
            ImageError: it is missing, or has changed since it was written.
        """
        path = self.blob_path(blob)
        if not path.is_file():
            raise ImageError(f"{blob.digest} is missing in {self.root}", hint=AGAIN)
        data = texts.read_bytes(path, error=ImageError, most=most)
        if manifest.blob_of(data) != blob:
            raise ImageError(f"{path} has changed since it was written", hint=AGAIN)
        return data

    def add(self, data: bytes | bytearray | memoryview, blob: Blob) -> None:
        """Write a blob, which the caller has hashed, under its name; `settle` syncs it.

        Raises:
            OSError: it cannot be written.
        """
        path = self.blob_path(blob)
        fd, aside = tempfile.mkstemp(prefix=f".{blob.hex}.", dir=path.parent)
        try:
            with os.fdopen(fd, "wb", buffering=0) as out:
                rest = memoryview(data)
                while rest:
                    rest = rest[out.write(rest) :]
            Path(aside).replace(path)
        except BaseException:  # for Ctrl-C too
            Path(aside).unlink(missing_ok=True)
            raise

    def has(self, blob: Blob, sure: frozenset[str] | set[str]) -> bool:
        """Whether a blob is here and complete; one that is not in `sure` is hashed."""
        path = self.blob_path(blob)
        try:
            if path.stat().st_size != blob.size:
                return False
            if blob.digest in sure:
                return True
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == blob.hex
        except OSError:
            return False

    def sure(self) -> set[str]:
        """The digests that images in the index need: those blobs were written and synced before."""
        found: set[str] = set()
        for entry in self.entries():
            with contextlib.suppress(ImageError):
                found.update(blob.digest for blob in self._needed(entry))
        return found

    def settle(self, blobs: Iterable[Blob]) -> None:
        """Sync blobs, before an entry names them."""
        for blob in blobs:
            _sync(self.blob_path(blob))
        _sync(self.root / _BLOBS)

    def name(self, entry: ManifestEntry, *signatures: ManifestEntry) -> ManifestEntry | None:
        """Add an image, whose blobs are synced, to the index; return the earlier entry with this name.

        Raises:
            OSError: the index cannot be written.
        """
        with self._changing():
            before = self.entries()
            gone = {each.name for each in (entry, *signatures)}
            kept = [each for each in before if each.name not in gone]
            new = sorted([*kept, entry, *signatures], key=lambda each: each.name)
            write_atomic(self.root / "index.json", layout.render(new))
        return next((each for each in before if each.name == entry.name), None)

    def forget(self, name: ImageName) -> ManifestEntry:
        """Remove an image from the index, and its signature too if no other name has it.

        Raises:
            StateError: it does not exist.
        """
        with self._changing():
            entry = self.must_find(name)
            kept = [each for each in self.entries() if each.name != entry.name]
            if all(each.manifest != entry.manifest for each in kept):
                kept = [each for each in kept if each.name != signature_name(entry.manifest)]
                shutil.rmtree(self.own_key(entry.manifest), ignore_errors=True)
            write_atomic(self.root / "index.json", layout.render(kept))
        return entry

    def prune(self) -> tuple[int, int]:
        """Remove the blobs that no image needs; return their number and size. (0, 0) while the store is in use."""
        if not (self.root / _BLOBS).is_dir():
            return 0, 0
        with self._changing():
            if self._users():
                return 0, 0
            needed = {blob.hex for entry in self.entries() for blob in self._needed(entry)}
            count = took = 0
            for path in (self.root / _BLOBS).iterdir():
                if path.name not in needed:
                    took += path.stat().st_size
                    count += not path.name.startswith(".")
                    path.unlink(missing_ok=True)
            for left in (self.root / _IN_USE).glob(".*"):  # a disk that a killed save was copying
                shutil.rmtree(left, ignore_errors=True)
        return count, took

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Prevent the removal of blobs during the block, in which some are read or added.

        Raises:
            BusyError: unused blobs have been removed for a quarter of an hour.
        """
        private.make_folder(self.root / _BLOBS)
        if not (self.root / "oci-layout").exists():
            write_atomic(self.root / "oci-layout", layout.LAYOUT)
        path = self.root / _IN_USE / f"{os.getpid()}-{secrets.token_hex(4)}.lock"
        with locks.hold(path, busy=_BUSY):
            try:
                with self._changing():
                    pass  # now a process that removes unused blobs has ended, or it sees our lock
                yield
            finally:
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def alone_at(self, what: str) -> Iterator[None]:
        """Hold the one place `what` during the block: two processes with the same task work one after the other."""
        path = self.root / _IN_USE / f"at-{hashlib.sha256(what.encode()).hexdigest()[:32]}.lock"
        with locks.hold(path, busy=f"{what} is being saved or fetched", wait_s=_WAIT_S):
            yield

    def _needed(self, entry: ManifestEntry) -> list[Blob]:
        """All blobs of an entry that is here."""
        if entry.is_signature:
            return [entry.manifest, *signature.blobs(self.read(entry.manifest, manifest.MANIFEST_MAX))]
        found = self.manifest(entry)
        return [entry.manifest, *found.blobs]

    def _users(self) -> bool:
        """Whether any process reads or adds blobs; locks of killed ones are removed."""
        found = False
        for path in (self.root / _IN_USE).glob("*.lock"):
            if locks.holder(path) is not None:
                found = True
            elif not path.name.startswith("at-"):
                path.unlink(missing_ok=True)
        return found

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        with locks.hold(self.root / ".lock", busy=_BUSY, wait_s=_WAIT_S):
            yield


AGAIN = "fetch or save the image again: what is whole of it is kept"


def signature_name(image: Blob) -> str:
    """The name of an image's signature, here and at a registry, as cosign does with .sig."""
    return f"sha256-{image.hex}.minisig"


def named(entry: ManifestEntry, name: ImageName) -> ManifestEntry:
    """The same image with another name."""
    return replace(entry, name=str(name))


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError:
        if not path.is_dir():  # some file systems cannot sync a folder
            raise
    finally:
        os.close(fd)
