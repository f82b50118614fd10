"""Who runs this: the account's name, and its home folder with the XDG folders in it. Band: shared ground.

A container may run a process as a uid that is in no list of accounts, and with a HOME that is unset, empty, or not
absolute. Such a HOME is ignored (a relative one would change with the current folder), and the list of accounts is
used. If that has no home either, actions that need a home raise an error.
"""

from __future__ import annotations

import getpass
import os
import pwd
import sys
from collections.abc import Mapping
from pathlib import Path

from pommel.errors import NotPermitted, UsageError


def home(env: Mapping[str, str] | None = None) -> Path:
    """This user's home folder, which need not exist.

    Raises:
        NotPermitted: there is none.
    """
    said = (os.environ if env is None else env).get("HOME", "")
    if said.startswith("/"):
        return Path(said)
    listed = of_account()
    if listed is None or not listed.startswith("/"):
        raise NotPermitted(
            f"{spelled(os.getuid())} has no home folder here",
            hint="set HOME, or POMMEL_HOME, to a folder that you can write to: export HOME=/path/of/yours",
        )
    return Path(listed)


def of_account() -> str | None:
    """This user's home folder in the list of accounts; None if there is none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return None


def folder(env: Mapping[str, str] | None, variable: str, usual: str) -> Path:
    """An XDG base folder: `variable`, which counts if it is absolute (XDG Base Directory Specification), else `usual`.

    Raises:
        NotPermitted: it would be in the home folder, and there is none.
    """
    said = (os.environ if env is None else env).get(variable, "")
    return Path(said) if said.startswith("/") else home(env) / usual


def data(env: Mapping[str, str] | None = None) -> Path:
    """The folder for permanent data, if POMMEL_HOME is not set. Raises the errors of `folder`."""
    return _apples("user_data_dir") or folder(env, "XDG_DATA_HOME", ".local/share") / "pommel"


def cache(env: Mapping[str, str] | None = None) -> Path:
    """The folder for the cache. Raises the errors of `folder`."""
    return _apples("user_cache_dir") or folder(env, "XDG_CACHE_HOME", ".cache") / "pommel"


def config(env: Mapping[str, str] | None = None) -> Path:
    """The folder of this user's configuration of Pommel. Raises the errors of `folder`."""
    return _apples("user_config_dir") or folder(env, "XDG_CONFIG_HOME", ".config") / "pommel"


def expand(path: str | Path) -> Path:
    """Expand ~ or ~NAME at the beginning of a path.

    Raises:
        UsageError: there is no user NAME, or this user has no home folder.
    """
    path = Path(path)
    first = path.parts[0] if path.parts else ""
    if first == "~":
        return home().joinpath(*path.parts[1:])
    try:
        return path.expanduser()
    except RuntimeError as nobody:
        raise UsageError(f"{path}: there is no user {first[1:]}", hint="write the whole path") from nobody


def name() -> str | None:
    """This user's name; None if the uid has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def name_of(uid: int) -> str | None:
    """A user's name in the list of accounts; None if it is not there."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def spelled(uid: int) -> str:
    """A user's name, or number, for messages."""
    return name_of(uid) or f"uid {uid}"


def must_be_listed() -> None:
    """Check that OpenSSH will run: it refuses a user who is not in the list of accounts.

    Raises:
        NotPermitted: this user is not in it.
    """
    if name_of(os.getuid()) is None:
        line = f"pommel:x:{os.getuid()}:{os.getgid()}::{os.environ.get('HOME') or '/tmp'}:/bin/sh"  # noqa: S108
        raise NotPermitted(
            f"uid {os.getuid()} has no account on this system, and OpenSSH needs a user name",
            hint=f"have root add it: echo '{line}' >> /etc/passwd",
        )


def _apples(which: str) -> Path | None:
    """macOS's own folders, by platformdirs."""
    if sys.platform != "darwin":
        return None
    from platformdirs import PlatformDirs

    return Path(getattr(PlatformDirs("pommel", appauthor=False), which))
