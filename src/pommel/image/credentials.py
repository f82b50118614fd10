"""The login at a registry: from the environment, and from the files of docker and podman. Band: shell.

containers-auth.json(5) and docker-login(1): `auths` by the registry's name, with or without the beginning of
a repository; `credHelpers` and `credsStore` name programs that are queried on their standard input. Logins never appear
in arguments, messages or logs.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pommel import process, texts
from pommel.errors import CommandFailed, ConfigError, DeadlineError, ImageError, MissingProgram
from pommel.foreign import parse_json

USER, PASSWORD = "POMMEL_REGISTRY_USER", "POMMEL_REGISTRY_PASSWORD"
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}\Z")
_HELPER_S = 60.0
_LOG_IN = "log in again: skopeo login or docker login"
_NO_NAME = "<token>"  # a helper's user name if its secret is a token (docker-credential-helpers, README)


@dataclass(frozen=True, slots=True)
class Login:
    """A name and a password; `source` is their origin."""

    user: str
    password: str = field(repr=False)
    source: str = ""

    @property
    def basic(self) -> str:
        """The header of HTTP's basic authentication (RFC 7617)."""
        return f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"


def find(host: str, repository: str, env: Mapping[str, str]) -> Login | None:
    """The login at the registry `host`; None: there is none.

    Raises:
        ConfigError: one of the two variables is set without the other.
        ImageError: a file cannot be read, or its helper program fails.
    """
    user, password = env.get(USER), env.get(PASSWORD)
    if user and password:
        return Login(user, password, USER)
    if user or password:
        raise ConfigError(
            f"{USER} and {PASSWORD} are needed together", hint=f"set both, or unset {USER if user else PASSWORD}"
        )
    for path in files(env):
        if path.is_file() and (found := _in_file(path, host, repository)) is not None:
            return found
    return None


def files(env: Mapping[str, str]) -> Iterator[Path]:
    """The files with logins, in the order of their priority (containers-auth.json(5), docker(1))."""
    if said := env.get("REGISTRY_AUTH_FILE"):
        yield Path(said)
    home = env.get("HOME", "")
    if run := env.get("XDG_RUNTIME_DIR"):
        yield Path(run, "containers", "auth.json")
    if config := env.get("XDG_CONFIG_HOME") or (home and f"{home}/.config"):
        yield Path(config, "containers", "auth.json")
    if docker := env.get("DOCKER_CONFIG") or (home and f"{home}/.docker"):
        yield Path(docker, "config.json")


def _in_file(path: Path, host: str, repository: str) -> Login | None:
    try:
        told = parse_json(texts.read_bytes(path, error=ImageError))
    except ValueError as wrong:
        raise ImageError(
            f"{path} cannot be used: it is not JSON", hint="log in again: skopeo login or docker login"
        ) from wrong
    told = told if isinstance(told, dict) else {}
    auths, helpers = _table(told.get("auths")), _table(told.get("credHelpers"))
    for name in _names(host, repository):
        if isinstance(entry := auths.get(name), dict) and isinstance(packed := entry.get("auth"), str) and packed:
            return _unpacked(packed, path)
    helper = helpers.get(host) or told.get("credsStore")
    return _ask_program(helper, host, path) if isinstance(helper, str) and helper else None


def _names(host: str, repository: str) -> Iterator[str]:
    """The possible names of an entry for the repository, the most specific first."""
    parts = repository.split("/")
    for count in range(len(parts), 0, -1):
        yield "/".join((host, *parts[:count]))
    yield host
    for written in (host, f"{host}/", f"{host}/v1/", f"{host}/v2/"):
        yield f"https://{written}"


def _unpacked(packed: str, path: Path) -> Login:
    try:
        user, colon, password = base64.b64decode(packed, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        user = colon = password = ""
    if not colon:
        raise ImageError(f"a login in {path} cannot be read", hint=_LOG_IN)
    return Login(user, password.rstrip("\0"), str(path))


def _ask_program(helper: str, host: str, path: Path) -> Login | None:
    if not _HELPER.match(helper):
        raise ImageError(f"{path} names a program that is none: {helper[:60]!r}")
    program = f"docker-credential-{helper}"
    try:
        said = process.run([program, "get"], input=host.encode(), timeout_s=_HELPER_S, check=False)
        told = parse_json(said.stdout) if said.returncode == 0 else {}
    except (MissingProgram, DeadlineError, CommandFailed, ValueError) as failure:
        raise ImageError(
            f"{program}, which {path} names, cannot be asked for a login at {host}: {type(failure).__name__}",
            hint=f"install it; or set {USER} and {PASSWORD}",
        ) from None
    told = _table(told)
    user, password = told.get("Username"), told.get("Secret")
    if not isinstance(user, str) or not isinstance(password, str) or user == _NO_NAME:
        return None
    return Login(user, password, program)


def _table(told: Any) -> dict[str, Any]:
    return told if isinstance(told, dict) else {}
