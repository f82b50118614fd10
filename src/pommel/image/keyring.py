"""The key that signs this home's images, and the keys whose signatures are trusted. Band: shell.

ROOT/signing.key        a secret key in minisign's format, without a passphrase (0600)
ROOT/trusted/ID.pub     a public key in minisign's format; the one of signing.key is trusted too
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from pommel import texts
from pommel.errors import ImageError, StateError
from pommel.files import write_atomic
from pommel.image import signature
from pommel.image.signature import MinisignPublicKey, SecretKey

_ID = re.compile(r"[0-9A-F]{16}\Z")


def own(root: Path) -> SecretKey | None:
    """The signing key; None: there is none.

    Raises:
        ImageError: it cannot be read.
    """
    path = root / "signing.key"
    if not path.exists():
        return None
    try:
        return signature.parse_secret(texts.read_bytes(path, error=ImageError, most=signature.TEXT_MAX))
    except ValueError as wrong:
        raise ImageError(f"{path} cannot be used: {wrong}") from wrong


def make(root: Path, given: Path | None = None) -> SecretKey:
    """Make the signing key, or take the one in the file `given`.

    Raises:
        StateError: there already is one.
        ImageError: the file is not such a key.
    """
    if own(root) is not None:
        raise StateError(f"there is a key already: {root / 'signing.key'}", hint="to see it: pommel image key")
    if given is None:
        made = signature.new_secret(os.urandom(40))
    else:
        try:
            made = signature.parse_secret(texts.read_bytes(given, error=ImageError, most=signature.TEXT_MAX))
        except ValueError as wrong:
            raise ImageError(f"{given} cannot be used: {wrong}") from wrong
    write_atomic(root / "signing.key", made.text)
    return made


def trusted(root: Path) -> list[MinisignPublicKey]:
    """The trusted keys.

    Raises:
        ImageError: one cannot be read.
    """
    mine = own(root)
    found = [mine.public] if mine is not None else []
    for path in sorted((root / "trusted").glob("*.pub")):
        found.append(read_public(path))
    return list({key.key: key for key in found}.values())


def trust(root: Path, key: MinisignPublicKey) -> None:
    """Trust the signatures of `key` from now on."""
    write_atomic(root / "trusted" / f"{key.id}.pub", key.text)


def distrust(root: Path, key_id: str) -> None:
    """Trust the signatures of the key with that id no more.

    Raises:
        StateError: it is not trusted.
    """
    path = root / "trusted" / f"{key_id.upper()}.pub"
    if not _ID.match(key_id.upper()) or not path.exists():
        raise StateError(f"no trusted key has the id {key_id}", hint="to list them: pommel image trust")
    path.unlink()


def read_public(path: Path) -> MinisignPublicKey:
    """Parse a public key's file.

    Raises:
        ImageError: it is not one.
    """
    try:
        return signature.parse_public(texts.read_bytes(path, error=ImageError, most=signature.TEXT_MAX))
    except ValueError as wrong:
        raise ImageError(f"{path} cannot be used: {wrong}", hint="a file that `minisign -G` has written") from wrong
