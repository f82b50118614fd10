"""The certificate that Pommel makes for its own consoles: signed by itself, one for a home. Band: shell.

Key and certificate are in one file (0600), so that they always belong together, even if Pommel is killed. Pommel makes
a new one, with a new key, a month before it expires, and when a console is reached by a name that it does not contain.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pommel import locks
from pommel.console.guard import is_address
from pommel.console.tls import Certificate, read
from pommel.errors import UsageError
from pommel.files import write_atomic

LIVES = timedelta(days=397)  # Apple's systems refuse more than 825 days; public certificates may have this many
RENEWED_BEFORE = timedelta(days=30)
_BEGINS_BEFORE = timedelta(days=1)  # a browser's clock may be behind this host's
_MOST_NAMES = 32
_LONGEST_CN = 64  # RFC 5280, appendix A.1: ub-common-name
_WAIT_S = 10.0
_ALWAYS = ("localhost", "127.0.0.1", "::1")


def own_certificate(folder: Path, names: Iterable[str], now: datetime | None = None) -> Certificate:
    """The certificate in `folder`. A new one is made if there is none for these names and addresses.

    Raises:
        BusyError: another process has been making it for more than ten seconds.
        OSError: it cannot be written.
    """
    now = now or datetime.now(UTC)
    wanted = tuple(dict.fromkeys(filter(_general, (*_ALWAYS, *map(_normalized, names)))))[:_MOST_NAMES]
    with locks.hold(folder / "lock", busy="creating the console's certificate", wait_s=_WAIT_S):
        there = _there(folder / "console.pem", now)
        if there is not None and set(wanted) <= set(there.names) and there.ends - now > RENEWED_BEFORE:
            return there
        # The old names are kept, because another console of this home may be reached by them.
        every = dict.fromkeys((*wanted, *(there.names if there is not None else ())))
        write_atomic(folder / "console.pem", _new_certificate(tuple(every)[:_MOST_NAMES], now))
        return read(folder / "console.pem", folder / "console.pem", now)


def names_of(host: str | None, allowed: Iterable[str]) -> tuple[str, ...]:
    """The names and addresses of a console that listens on `host` and accepts the names `allowed`."""
    named = [re.sub(r":\d+\Z", "", name) for name in allowed]
    mine = socket.gethostname()
    if host is None or host == "localhost":
        return (mine, *named)
    if is_address(host) and ip_address(host).is_unspecified:
        return (mine, *named, *_own_addresses())
    return (mine, *named, host)


def _own_addresses() -> list[str]:
    """This host's addresses for others: the source address of the default route, for IPv4 and IPv6.

    A UDP socket is connected to a documentation address, which sends nothing.
    """
    found = []
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):  # RFC 5737 and RFC 3849
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))
            found.append(str(probe.getsockname()[0]))
    return found


def _there(path: Path, now: datetime) -> Certificate | None:
    """The existing certificate; None: there is none, or it is damaged or expired."""
    try:
        return read(path, path, now)
    except UsageError:
        return None


def _normalized(name: str) -> str:
    name = name.strip("[]").partition("%")[0].lower()  # the zone of an IPv6 address is only valid on this host
    return str(ip_address(name)) if is_address(name) else name


def _new_certificate(names: tuple[str, ...], now: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    cn = x509.NameAttribute(NameOID.COMMON_NAME, f"Pommel's console on {socket.gethostname()}"[:_LONGEST_CN])
    subject = x509.Name([cn])
    usage = {name: name == "digital_signature" for name in _USAGES}
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEGINS_BEFORE)
        .not_valid_after(now + LIVES)
        .add_extension(x509.SubjectAlternativeName([*filter(None, map(_general, names))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + made.public_bytes(Encoding.PEM)


_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def _general(name: str) -> x509.GeneralName | None:
    if is_address(name):
        return x509.IPAddress(ip_address(name))
    with contextlib.suppress(ValueError):  # a name that is not ASCII cannot be in a certificate without an encoding
        return x509.DNSName(name)
    return None
