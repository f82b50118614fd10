"""The names of images: here, and at a registry. Band: core, no I/O.

Here it is NAME[:TAG]. At a registry it is oci://HOST[:PORT]/REPOSITORY[:TAG] or …@sha256:HEX; the grammar of
repositories and tags is that of the OCI distribution specification 1.1, "Pulling manifests".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pommel.errors import UsageError

LATEST = "latest"
SCHEME = "oci://"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*\Z")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_REPOSITORY_MAX = 255


@dataclass(frozen=True, slots=True)
class ImageName:
    """The name of an image here."""

    name: str
    tag: str = LATEST

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}"


@dataclass(frozen=True, slots=True)
class Remote:
    """The place of an image at a registry; one of `tag` and `digest` is set. `host` includes a given port."""

    host: str
    repository: str
    tag: str | None = LATEST
    digest: str | None = None

    @property
    def reference(self) -> str:
        """The reference for the registry: a tag or a digest."""
        return self.digest or self.tag or LATEST

    @property
    def hostname(self) -> str:
        """The host without port and brackets."""
        bare = self.host[1 : self.host.index("]")] if self.host.startswith("[") else self.host.partition(":")[0]
        return bare.lower()

    @property
    def local_name(self) -> ImageName:
        """Its default name here: the last part of the repository, and the tag."""
        return ImageName(self.repository.rpartition("/")[2][:40], self.tag or (self.digest or "")[7:19])

    def __str__(self) -> str:
        return f"{SCHEME}{self.host}/{self.repository}{'@' if self.digest else ':'}{self.reference}"


def parse_name(text: str) -> ImageName:
    """Parse NAME[:TAG].

    Raises:
        UsageError: it is not valid.
    """
    name, colon, tag = text.partition(":")
    tag = tag if colon else LATEST
    if not _NAME.match(name) or not _TAG.match(tag):
        hint = "NAME has 1 to 40 of a-z 0-9 . _ -, and TAG up to 128 of A-Z a-z 0-9 . _ -"
        if text.startswith(SCHEME) or "/" in text:
            hint = f"{text} is at a registry; fetch it first: pommel image pull {text}"
        raise UsageError(f"{text!r} cannot be an image's name: it is NAME or NAME:TAG", hint=hint)
    return ImageName(name, tag)


def parse_remote(text: str) -> Remote:
    """Parse oci://HOST[:PORT]/REPOSITORY[:TAG|@sha256:HEX].

    Raises:
        UsageError: it is not valid.
    """
    rest = text.removeprefix(SCHEME)
    host, slash, path = rest.partition("/")
    path, at, digest = path.partition("@")
    repository, colon, tag = path.partition(":")
    sound = text.startswith(SCHEME) and slash and _HOST.match(host) and _port_is_sound(host)
    sound = sound and _REPOSITORY.match(repository) and len(repository) <= _REPOSITORY_MAX
    sound = sound and (not colon or _TAG.match(tag)) and (not at or (_DIGEST.match(digest) and not colon))
    if not sound:
        raise UsageError(
            f"{text!r} is no place at a registry",
            hint="write oci://HOST[:PORT]/NAME:TAG, such as oci://registry.lan:5000/macs/sonoma:1",
        )
    return Remote(host.lower(), repository, None if at else tag or LATEST, digest or None)


def is_digest(text: str) -> bool:
    """Whether it is a digest in the form sha256:HEX."""
    return _DIGEST.match(text) is not None


def _port_is_sound(host: str) -> bool:
    port = host.rpartition("]")[2].partition(":")[2]
    return not port or 1 <= int(port) <= 65535
