"""Finds the proxy for an address, from the environment. Band: shared ground.

The variables are those of curl(1), ENVIRONMENT: `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy`, each in
capitals too; the small letters count first. Proxies are spoken to in plain HTTP, with CONNECT for what is TLS
(RFC 9110, 9.3.6). What else a variable names is refused by name. git and apt read the variables by themselves.

Only `for_request` returns a proxy's password: no text, `repr` or error made here contains it.
"""

from __future__ import annotations

import ipaddress
import os
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

from pommel.config import environment
from pommel.errors import ConfigError

NAMES = tuple(
    spelled for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy") for spelled in (name, name.upper())
)
_SCHEMES = {"wss": "https", "ws": "http"}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy: its address without a password (`http://HOST:PORT`), and the variable that names it."""

    address: str
    variable: str
    user: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.address} ({self.variable})"


def proxy_for(url: str, env: Mapping[str, str] | None = None) -> Proxy | None:
    """The proxy for `url` (http, https, ws or wss), or None.

    Raises:
        ConfigError: a variable names a proxy that cannot be used.
    """
    env = environment() if env is None else env
    parts = urlsplit(url)
    scheme = _SCHEMES.get(parts.scheme, parts.scheme)
    found = _variable(env, f"{scheme}_proxy") or _variable(env, "all_proxy")
    if found is None or not found[1]:
        return None
    port = parts.port or (443 if scheme == "https" else 80)
    if _is_left_out(parts.hostname or "", port, (_variable(env, "no_proxy") or ("", ""))[1]):
        return None
    return _read(*found)


def for_request(
    url: str, headers: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The arguments of an aiohttp request to `url` with `headers`, so that it uses the proxy for `url`, if any.

    Raises:
        ConfigError: a variable names a proxy that cannot be used.
    """
    proxy, given = proxy_for(url, env), dict(headers or {})
    if proxy is None:
        return {"headers": given}
    login = {}
    if proxy.user is not None:
        login["Proxy-Authorization"] = f"Basic {b64encode(f'{proxy.user}:{proxy.password}'.encode()).decode()}"
    # With TLS, the password is only in the CONNECT request, never inside of the tunnel.
    if urlsplit(url).scheme in ("https", "wss"):
        return {"proxy": proxy.address, "proxy_headers": login, "headers": given}
    return {"proxy": proxy.address, "headers": given | login}


def secrets(env: Mapping[str, str]) -> set[str]:
    """The secrets in the variables: names and passwords, in their written and in their decoded form."""
    found = set()
    for name in NAMES:
        login, at, _ = _authority(env.get(name, "")).rpartition("@")
        if at:
            words = {login, *login.split(":", 1)}
            found |= words | {unquote(word) for word in words}
    return found - {""}


def for_everybodys_eyes(env: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The variables without a name or password; and the names of the variables that have one."""
    secret = secrets(env)
    said = {name: env[name] for name in NAMES if name in env}
    private = tuple(name for name, value in said.items() if any(word in value for word in secret))
    return {name: value for name, value in said.items() if name not in private}, private


def complaint(failure: BaseException, proxy: Proxy | None) -> str | None:
    """The proxy's error that made an aiohttp request fail; None if the failure is not the proxy's."""
    import aiohttp

    if proxy is None:
        return None
    if isinstance(failure, aiohttp.ClientHttpProxyError):
        return refusal(failure.status, proxy)
    place = urlsplit(proxy.address)
    if isinstance(failure, aiohttp.ClientConnectorError) and (failure.host, failure.port) == (
        place.hostname,
        place.port,
    ):
        cause = failure.os_error
        # asyncio's message repeats the address, so the system's is used; errors of name resolution have negative
        # numbers.
        why = os.strerror(cause.errno) if cause.errno and cause.errno > 0 else cause.strerror or str(cause)
        return f"the proxy {proxy} cannot be connected to: {why}"
    return None


def refusal(status: int, proxy: Proxy) -> str:
    """Explain a proxy's own answer with HTTP status `status`."""
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        if proxy.user is None:
            return f"the proxy {proxy} asks for a name and a password"
        return f"the proxy {proxy} refuses the name and password that it was given"
    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    return f"the proxy {proxy} refuses the connection: status {status}{phrase}"


def hint(url: str, proxy: Proxy) -> str:
    """The hint for a proxy that does not reach `url`."""
    host = urlsplit(url).hostname
    return f"check {proxy.variable} (http://USER:PASSWORD@HOST:PORT); to connect without it: export no_proxy={host}"


def _variable(env: Mapping[str, str], name: str) -> tuple[str, str] | None:
    """The set variable and its value; an empty variable means no proxy."""
    for spelled in (name, name.upper()):
        if spelled in env:
            return spelled, env[spelled].strip()
    return None


def _authority(value: str) -> str:
    """The `USER:PASSWORD@HOST:PORT` of a proxy's address, in any spelling."""
    rest = value.partition("://")[2] if "://" in value else value
    # A password with a slash should be written as %2F, and often is not.
    login, at, host = rest.rpartition("@")
    return login + at + re.split(r"[/?#]", host, maxsplit=1)[0]


def _read(variable: str, value: str) -> Proxy:
    scheme = value.partition("://")[0].lower() if "://" in value else "http"
    login, at, place = _authority(value).rpartition("@")
    if scheme != "http":
        raise ConfigError(
            f"{variable} names a proxy of the kind {scheme} ({scheme}://{place}), which Pommel does not speak",
            hint=f"set {variable}=http://HOST:PORT, or name in no_proxy the servers that are reached without one",
        )
    try:
        parts = urlsplit(f"http://{place}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    if not host or not re.fullmatch(r"[\w.:%-]+", host):
        raise ConfigError(f"{variable} names no proxy: {place!r}", hint=f"set {variable}=http://HOST:PORT")
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    user, _, password = login.partition(":")
    if not at:
        return Proxy(address, variable)
    if ":" in unquote(user):  # RFC 7617: the name ends at the first colon
        raise ConfigError(f"the name in {variable} has a colon, which no proxy takes", hint="look at its %3A")
    return Proxy(address, variable, unquote(user), unquote(password))


def _is_left_out(host: str, port: int, no_proxy: str) -> bool:
    """Whether `no_proxy` names the host: itself, a domain above it, its network (10.0.0.0/8), or all (`*`)."""
    host = host.lower().rstrip(".")
    return any(_names(entry, host, port) for entry in re.split(r"[,\s]+", no_proxy.lower()) if entry)


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass  # one of them is a name and not an address
    if found := re.fullmatch(r"(\[.+\]|[^:]+):(\d+)", entry):
        if int(found[2]) != port:
            return False
        entry = found[1]
    entry = entry.strip("[]").removeprefix("*").strip(".")
    return bool(entry) and (host == entry or host.endswith(f".{entry}"))
