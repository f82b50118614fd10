"""TLS of a console: a certificate and its key, checked before the start, and read again later. Band: shell.

The user's files are read and never written. They can change while a console serves, when a program renews them, and a
self-signed certificate is replaced before it expires (`self_signed`). So they are checked each hour.
"""

from __future__ import annotations

import hashlib
import shlex
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pommel.errors import UsageError

_ENCRYPTED = ("BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED")  # RFC 7468 and RFC 1421


@dataclass(frozen=True, slots=True)
class Certificate:
    """A usable certificate: its files (the same file if it has the key too), and its facts."""

    cert: Path
    key: Path
    fingerprint: str  # SHA-256 of the certificate, as browsers write it: AB:CD:…
    begins: datetime
    ends: datetime
    names: tuple[str, ...]  # the names and addresses for which it is valid

    @property
    def digest(self) -> bytes:
        """The fingerprint's 32 bytes."""
        return bytes.fromhex(self.fingerprint.replace(":", ""))


def read(cert: Path, key: Path, now: datetime | None = None) -> Certificate:
    """Read a certificate (PEM, followed by its intermediate certificates) and its key, and check that they can be used.

    Raises:
        UsageError: a file cannot be read or has another form, the key is encrypted or belongs to another certificate,
            the certificate has expired or is not valid yet.
    """
    _text(cert, "certificate")
    if any(mark in _text(key, "key") for mark in _ENCRYPTED):
        into = key.with_name(f"{key.stem}-open.pem")
        raise UsageError(
            f"the key in {key} is encrypted, and no one can type its password when a console starts",
            hint=f"use a key without a password: umask 077; openssl pkey -in {shlex.quote(str(key))} -out "
            f"{shlex.quote(str(into))}",
        )
    try:
        leaf = x509.load_pem_x509_certificate(cert.read_bytes())
    except ValueError:
        hint = "it begins with -----BEGIN CERTIFICATE-----"
        raise UsageError(f"{cert} contains no readable certificate (PEM)", hint=hint) from None
    _load(server_context(), cert, key)
    found = _described(leaf, cert, key)
    now = now or datetime.now(UTC)
    if now >= found.ends:
        raise UsageError(f"the certificate in {cert} expired on {found.ends:%Y-%m-%d}", hint="use a valid certificate")
    if now < found.begins:
        raise UsageError(
            f"the certificate in {cert} is valid only from {found.begins:%Y-%m-%d %H:%M} UTC, and it is now "
            f"{now:%Y-%m-%d %H:%M}",
            hint="check this computer's clock: date",
        )
    return found


def server_context() -> ssl.SSLContext:
    """The TLS settings of a console: TLS 1.2 or newer, HTTP/1.1, no client certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


class Tls:
    """A console's TLS while it runs. `find` returns the present certificate, and raises as `read`."""

    def __init__(self, find: Callable[[], Certificate]) -> None:
        self._find = find
        self.certificate = find()
        self.context = server_context()
        _load(self.context, self.certificate.cert, self.certificate.key)

    def refresh(self) -> bool:
        """Use the present certificate for new connections; return whether it is a new one. It may block.

        Raises:
            UsageError: it cannot be used; the old one stays in use.
        """
        found = self._find()
        if found.fingerprint == self.certificate.fingerprint:
            return False
        _load(self.context, found.cert, found.key)
        self.certificate = found
        return True


def _load(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    try:
        context.load_cert_chain(cert, key, password=lambda: "")  # without this, OpenSSL would ask on the terminal
    except ssl.SSLError as failure:
        if failure.reason == "KEY_VALUES_MISMATCH":
            text = f"the key in {key} does not belong to the certificate in {cert}"
            hint = "give a certificate and the key that belongs to it"
        elif cert == key:
            text, hint = f"{cert} contains no readable key (PEM)", "give the key's file: --tls-key FILE"
        else:
            text = f"the certificate in {cert} and the key in {key} cannot be used: {failure.reason or failure}"
            hint = "use a certificate and its key in PEM, with the certificate first in its file"
        raise UsageError(text, hint=hint) from None
    except OSError as failure:
        raise UsageError(f"{failure.filename or cert} cannot be read: {failure.strerror}") from None


def _text(path: Path, what: str) -> str:
    try:
        return path.read_bytes().decode("latin-1")
    except OSError as failure:
        raise UsageError(f"the console's {what} {path} cannot be read: {failure.strerror}") from None


def _described(leaf: x509.Certificate, cert: Path, key: Path) -> Certificate:
    digest = hashlib.sha256(leaf.public_bytes(Encoding.DER)).hexdigest().upper()
    names: list[str] = []
    try:
        said = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [*said.get_values_for_type(x509.DNSName), *map(str, said.get_values_for_type(x509.IPAddress))]
    except (x509.ExtensionNotFound, ValueError):
        pass  # an old certificate without names: browsers refuse it with their own message
    fingerprint = ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
    return Certificate(cert, key, fingerprint, leaf.not_valid_before_utc, leaf.not_valid_after_utc, tuple(names))
