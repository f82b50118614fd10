"""Who may talk to a console: the rules on Host, Origin and token, as functions of strings. Band: core, no I/O.

Three doors, each for another attacker. Host: a page elsewhere that points its own name at 127.0.0.1 (DNS
rebinding) still has to send that name. Origin: a page elsewhere that simply addresses us has its own there.
Token: everybody else on this machine. Only the last lets anyone in; the first two keep people out.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from collections.abc import Iterable
from urllib.parse import urlsplit

_TOKEN_BYTES = 32
# urlsplit reads more than one thing as a host: it passes over what stands between a bracket and a colon.
_AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:/@?#\\\s\x00-\x1f\x7f]+)(?::[0-9]{0,5})?")


def new_token() -> str:
    """Make a token: 32 random bytes, fit for a URL."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def is_token(given: str | None, token: str) -> bool:
    """Compare what somebody gave with the token, in a time that does not tell how much of it was right."""
    return given is not None and hmac.compare_digest(_bytes(given), _bytes(token))


def cookies_named(name: str, headers: Iterable[str]) -> list[str]:
    """Find the values that Cookie headers give a name: other servers of this host may have set more of that name."""
    pairs = (part.strip().partition("=") for header in headers for part in header.split(";"))
    return [value for key, _, value in pairs if key == name]


def is_host(host: str) -> bool:
    """Tell whether a Host header can be one at all: a name or an address and a port (RFC 9110, 7.2), in ASCII."""
    return host.isascii() and _host_and_port(host) is not None


def is_our_host(host: str | None, port: int, allowed: Iterable[str] = (), *, usual_port: int = 80) -> bool:
    """Tell whether a Host header names us: localhost or an address, with our port; or a name that is allowed.

    Any IP address will do, because it was not looked up in anybody's DNS. An allowed name may carry a port, and
    then only that one counts. A header without a port means the `usual_port` of its scheme.
    """
    parts = _host_and_port(host, usual_port)
    if parts is None:
        return False
    name, given_port = parts
    if any(entry.lower() in (name, f"{name}:{given_port}") for entry in allowed):
        return True
    return given_port == port and (name == "localhost" or is_address(name))


def is_our_origin(origin: str | None, host: str | None) -> bool:
    """Tell whether an Origin header is absent (no browser) or the page's own: the same name and port as Host."""
    if origin is None:
        return True
    scheme, _, rest = origin.partition("://")
    return scheme in ("http", "https") and host is not None and rest.lower() == host.lower()


def is_our_site(fetch_site: str | None) -> bool:
    """Tell whether a Sec-Fetch-Site header is absent (no browser), the page's own or a person's.

    It knows what Origin does not: a page of another port of this host may GET without one, cookie and all.
    """
    return fetch_site in (None, "same-origin", "none")


def is_address(name: str) -> bool:
    """Tell whether `name` is an IPv4 or IPv6 address, the latter without brackets."""
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
    # What is no UTF-8 in a request comes as lone surrogates.
    return text.encode(errors="surrogatepass")


def _host_and_port(host: str | None, usual_port: int = 80) -> tuple[str, int] | None:
    if not host or not _AUTHORITY.fullmatch(host):
        return None
    try:
        parts = urlsplit(f"//{host}")
        return (parts.hostname or "").lower(), parts.port if parts.port is not None else usual_port
    except ValueError:
        return None
