"""Who may talk to a console: the rules on Host, Origin and token, as functions of strings. Band: core, no I/O.

Three checks, each against another attacker. Host: a foreign page that points its own name at 127.0.0.1 (DNS rebinding)
still sends that name. Origin: a foreign page that sends requests to our address sends its own origin. Token: all other
users of this computer. Host and Origin only refuse; only the token admits.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from collections.abc import Iterable
from urllib.parse import urlsplit

_TOKEN_BYTES = 32
# urlsplit accepts too much as a host: it ignores text between a closing bracket and a colon.
_AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:/@?#\\\s\x00-\x1f\x7f]+)(?::[0-9]{0,5})?")


def new_token() -> str:
    """Make a token: 32 random bytes, fit for a URL."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def is_token(given: str | None, token: str) -> bool:
    """Compare a text with the token, in a time that does not depend on how many of its characters are right."""
    return given is not None and hmac.compare_digest(_bytes(given), _bytes(token))


def cookies_named(name: str, headers: Iterable[str]) -> list[str]:
    """All values of a cookie in Cookie headers: other servers on this host may have set cookies of the same name."""
    pairs = (part.strip().partition("=") for header in headers for part in header.split(";"))
    return [value for key, _, value in pairs if key == name]


def is_host(host: str) -> bool:
    """Whether a Host header is valid: a name or an address, and a port (RFC 9110, 7.2), in ASCII."""
    return host.isascii() and _host_and_port(host) is not None


def is_our_host(host: str | None, port: int, allowed: Iterable[str] = (), *, usual_port: int = 80) -> bool:
    """Whether a Host header is for this server: localhost or an address, with our port; or an allowed name.

    Every IP address is accepted, because an attacker's DNS cannot have produced it. An allowed name may have a port;
    then only that port is accepted. A header without a port means the `usual_port` of its scheme.
    """
    parts = _host_and_port(host, usual_port)
    if parts is None:
        return False
    name, given_port = parts
    if any(entry.lower() in (name, f"{name}:{given_port}") for entry in allowed):
        return True
    return given_port == port and (name == "localhost" or is_address(name))


def is_our_origin(origin: str | None, host: str | None) -> bool:
    """Whether an Origin header is absent (no browser) or the page's own: the same name and port as Host."""
    if origin is None:
        return True
    scheme, _, rest = origin.partition("://")
    return scheme in ("http", "https") and host is not None and rest.lower() == host.lower()


def is_our_site(fetch_site: str | None) -> bool:
    """Whether a Sec-Fetch-Site header is absent (no browser), the page's own, or of an address that a person typed.

    It is needed besides Origin: a page from another port of this host can send a GET with the cookie and without
    Origin.
    """
    return fetch_site in (None, "same-origin", "none")


def is_address(name: str) -> bool:
    """Whether `name` is an IPv4 address, or an IPv6 address without brackets."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def authority(host: str, port: int) -> str:
    """Write host and port as in a URL; an address that means "all" becomes the loopback one."""
    if is_address(host) and ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1" if "." in host else "::1"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bytes(text: str) -> bytes:
    # Bytes of a request that are not UTF-8 arrive here as lone surrogates.
    return text.encode(errors="surrogatepass")


def _host_and_port(host: str | None, usual_port: int = 80) -> tuple[str, int] | None:
    if not host or not _AUTHORITY.fullmatch(host):
        return None
    try:
        parts = urlsplit(f"//{host}")
        return (parts.hostname or "").lower(), parts.port if parts.port is not None else usual_port
    except ValueError:
        return None
