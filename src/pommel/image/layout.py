"""The index of an OCI image layout: its images, and the facts about each. Band: core, no I/O.

Image specification 1.1, "Image Layout". The images of this home are stored in such a layout, and a file of `export`
contains one, so other tools read both. Pommel's own facts about an image, besides its name, are in annotations.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pommel.foreign import parse_json
from pommel.image.manifest import ARTIFACT, INDEX, MANIFEST, Blob
from pommel.image.names import is_digest

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}\n'
INDEX_MAX = 8 << 20
SIGNATURE_ARTIFACT = "application/vnd.pommel.signature.v1"
_NAME = "org.opencontainers.image.ref.name"
_SOURCE, _SIGNER, _SINCE = "vnd.pommel.source", "vnd.pommel.signer", "vnd.pommel.since"
_ENTRIES_MAX = 100_000
_TEXT_MAX = 500


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One manifest of a layout.

    `name` is NAME:TAG, or a signature's name; `source` is its origin (a machine, a registry, a file),
    `signer` the id of the key whose signature was checked (empty: none), `since` the time of its arrival, ISO 8601.
    """

    name: str
    manifest: Blob
    source: str = ""
    signer: str = ""
    since: str = ""
    is_signature: bool = False


def render(entries: Iterable[ManifestEntry]) -> bytes:
    """The index as JSON."""
    told = [
        {
            "mediaType": MANIFEST,
            "artifactType": SIGNATURE_ARTIFACT if each.is_signature else ARTIFACT,
            "digest": each.manifest.digest,
            "size": each.manifest.size,
            "annotations": {
                key: text
                for key, text in (
                    (_NAME, each.name), (_SOURCE, each.source), (_SIGNER, each.signer), (_SINCE, each.since)
                )
                if text
            },
        }
        for each in entries
    ]  # fmt: skip
    return (json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": told}, indent=1) + "\n").encode()


def parse(data: bytes) -> list[ManifestEntry]:
    """Parse an index; manifests without a name are left out.

    Raises:
        ValueError: it cannot be used; the text says why.
    """
    told = parse_json(data) if len(data) <= INDEX_MAX else None
    if not isinstance(told, dict) or told.get("schemaVersion") != 2 or not isinstance(told.get("manifests"), list):
        raise ValueError("it is not the index of an OCI image layout")
    try:
        found = [_entry(each) for each in told["manifests"][:_ENTRIES_MAX]]
    except (KeyError, TypeError, AttributeError) as wrong:
        raise ValueError(f"{wrong} is missing or has the wrong type") from wrong
    return [each for each in found if each.name]


def _entry(told: Any) -> ManifestEntry:
    digest, size, notes = told["digest"], told["size"], told.get("annotations") or {}
    if not isinstance(digest, str) or not is_digest(digest) or not isinstance(size, int) or size < 0:
        raise TypeError("a digest or a size")
    words = [_text(notes.get(key, "")) for key in (_NAME, _SOURCE, _SIGNER, _SINCE)]
    is_signature = told.get("artifactType") == SIGNATURE_ARTIFACT
    return ManifestEntry(words[0], Blob(digest, size), words[1], words[2], words[3], is_signature)


def _text(told: Any) -> str:
    if not isinstance(told, str) or len(told) > _TEXT_MAX or not told.isprintable():
        raise TypeError("a text")
    return told
