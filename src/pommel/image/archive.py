"""An image in one file: a tar of an OCI image layout. Band: shell.

The file is written completely or not at all. A file that is read may come from anybody: names in it are compared and
never used as paths, and each blob is hashed before it is used. `skopeo copy oci-archive:FILE …` reads the same file.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from pommel.errors import ImageError
from pommel.files import put_in_place, users_mode
from pommel.image import layout, manifest
from pommel.image.layout import ManifestEntry
from pommel.image.manifest import Blob
from pommel.image.pieces import PIECE_MAX
from pommel.image.store import ImageStore
from pommel.progress import Progress, Report, ignore

_BLOB = "blobs/sha256/"
_MEMBERS_MAX = 50_000
_PIECE = 1 << 20


def write(
    store: ImageStore, entries: Sequence[ManifestEntry], blobs: Sequence[Blob], target: Path, *, report: Report = ignore
) -> int:
    """Write images with all their blobs to the file `target`, with the permissions of the user's umask.

    Returns its size in bytes.

    Raises:
        ImageError: a blob is missing.
        OSError: it cannot be written.
    """
    total, done = sum(blob.size for blob in blobs), 0
    fd, aside = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(fd, "wb") as out:
            with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
                _put(tar, "oci-layout", layout.LAYOUT)
                _put(tar, "index.json", layout.render(entries))
                for blob in blobs:
                    _put_blob(tar, store, blob)
                    done += blob.size
                    report(Progress("export", f"writing {target.name}", done, max(total, 1), "B"))
            out.flush()
            os.fchmod(out.fileno(), users_mode())  # mkstemp makes the file with mode 0600
            os.fsync(out.fileno())
            size = out.tell()
        put_in_place(Path(aside), target)
    except BaseException:  # for Ctrl-C too
        Path(aside).unlink(missing_ok=True)
        raise
    report(Progress("export", f"{target.name} is written", finished=True))
    return size


def read(store: ImageStore, source: Path, *, report: Report = ignore) -> tuple[list[ManifestEntry], list[Blob]]:
    """Put the blobs of an archive into the store; return the entries of its index, and the blobs.

    No entry names them yet: a blob that no image needs is removed with the other unused ones.

    Raises:
        ImageError: it is not such an archive, or a blob does not match its name.
        OSError: it cannot be read, or the store cannot be written.
    """
    entries: list[ManifestEntry] | None = None
    blobs: list[Blob] = []
    sure, size = store.sure(), max(source.stat().st_size, 1)
    try:
        with source.open("rb") as raw, tarfile.open(fileobj=raw, mode="r|*") as tar:
            for count, member in enumerate(tar):
                if count > _MEMBERS_MAX:
                    raise ImageError(f"{source} has more than {_MEMBERS_MAX} files")
                file = tar.extractfile(member) if member.isreg() else None
                name = member.name.removeprefix("./")
                if file is None:
                    continue
                if name == "index.json":
                    entries = layout.parse(_whole(file, layout.INDEX_MAX))
                elif name.startswith(_BLOB):
                    blobs.append(_take(store, name.removeprefix(_BLOB), member.size, file, sure))
                report(Progress("import", f"reading {source.name}", raw.tell(), size, "B"))
    except (tarfile.TarError, EOFError, ValueError) as wrong:
        raise ImageError(f"{source} is not an image that was exported: {wrong}") from wrong
    if entries is None:
        raise ImageError(f"{source} is not an image that was exported: it has no index.json")
    report(Progress("import", f"{source.name} is read", finished=True))
    return entries, blobs


def _put(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    about = tarfile.TarInfo(name)
    about.size, about.mode = len(data), 0o644
    tar.addfile(about, io.BytesIO(data))


def _put_blob(tar: tarfile.TarFile, store: ImageStore, blob: Blob) -> None:
    about = tarfile.TarInfo(_BLOB + blob.hex)
    about.size, about.mode = blob.size, 0o644
    try:
        with store.blob_path(blob).open("rb") as file:
            if os.fstat(file.fileno()).st_size != blob.size:
                raise ImageError(f"{blob.digest} has changed since it was written")
            tar.addfile(about, file)
    except FileNotFoundError:
        raise ImageError(f"{blob.digest} is missing in {store.root}") from None


def _whole(file: IO[bytes], most: int) -> bytes:
    data = file.read(most + 1)
    if len(data) > most:
        raise ValueError("its index.json is too large")
    return data


def _take(store: ImageStore, name: str, size: int, file: IO[bytes], sure: set[str]) -> Blob:
    blob = Blob(f"sha256:{name}", size)
    if not (len(name) == 64 and all(char in "0123456789abcdef" for char in name)):
        raise ImageError(f"{name[:80]!r} in it is not a SHA-256")
    if size > manifest.packed_max(max(PIECE_MAX, manifest.FILE_MAX)):
        raise ImageError(f"{blob.digest} in it is too large")
    if store.has(blob, sure):
        return blob
    data, digest = bytearray(), hashlib.sha256()
    while piece := file.read(_PIECE):
        data += piece
        digest.update(piece)
    if digest.hexdigest() != name or len(data) != size:
        raise ImageError(f"{blob.digest} in it is not what its name says: the file is damaged, or somebody changed it")
    store.add(data, blob)
    return blob
