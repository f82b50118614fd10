"""TLS of a console's own: a certificate and its key, checked before anything starts, then kept fresh. Band: shell.

Files of the user's are read and never written. They may change while a console serves, as they do where something
renews them, and a self-signed one is made anew before it ends (`self_signed`): both are looked at each hour.
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
    """A certificate that a console can serve with: its files (one, where the key is in it too), and what it says."""

    cert: Path
    key: Path
    fingerprint: str  # SHA-256 of the certificate, as browsers write it: AB:CD:…
    begins: datetime
    ends: datetime
    names: tuple[str, ...]  # the names and addresses that it is for

    @property
    def digest(self) -> bytes:
        """The fingerprint's 32 bytes."""
        return bytes.fromhex(self.fingerprint.replace(":", ""))


def read(cert: Path, key: Path, now: datetime | None = None) -> Certificate:
    """Read a certificate (PEM, those that it leans on after it) and its key, and see that they can serve.

    Raises:
        UsageError: a file cannot be read or is no such, the key is encrypted or another's, the certificate has ended or
            has not begun.
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
    """Make what a console's connections are encrypted by: TLS 1.2 or newer, HTTP/1.1, no client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


class Tls:
    """A console's TLS while it serves. `find` gives the certificate of the moment, and raises as `read` does."""

    def __init__(self, find: Callable[[], Certificate]) -> None:
        self._find = find
        self.certificate = find()
        self.context = server_context()
        _load(self.context, self.certificate.cert, self.certificate.key)

    def refresh(self) -> bool:
        """Serve new connections with the certificate that there is now; say whether it is another. May block.

        Raises:
            UsageError: there is none that can serve; the one before goes on.
        """
        found = self._find()
        if found.fingerprint == self.certificate.fingerprint:
            return False
        _load(self.context, found.cert, found.key)
        self.certificate = found
        return True


def _load(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    try:
        context.load_cert_chain(cert, key, password=lambda: "")  # else OpenSSL would ask on the terminal
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
        pass  # an old one, without names: a browser will say so
    fingerprint = ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
    return Certificate(cert, key, fingerprint, leaf.not_valid_before_utc, leaf.not_valid_after_utc, tuple(names))
