"""The only place that builds an ssh command line. Band: shared ground.

System OpenSSH does the work. A machine's ssh never touches the user's known_hosts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pommel.process import run


@dataclass(frozen=True, slots=True)
class SshTarget:
    """One guest: where its forwarded port is, who to be, and which keys count.

    `alias` is the name its host keys have in `known_hosts` (HostKeyAlias, ssh_config(5)). `introduced` says that they
    are in there since the guest was made; else the first one met is kept and every later one must be the same.
    """

    alias: str
    port: int
    user: str
    key: Path
    known_hosts: Path
    host: str = "127.0.0.1"
    introduced: bool = True


def ssh_argv(
    target: SshTarget,
    command: Sequence[str] = (),
    *,
    batch: bool = False,
    connect_timeout_s: int = 10,
    options: Sequence[str] = (),
) -> list[str]:
    """Build `ssh` for `target`. `batch` never asks anything; `command` is given to the guest's shell as is."""
    words = ["ssh", "-F", "none", "-p", str(target.port), "-l", target.user]
    pairs = {
        "IdentityFile": _literal(target.key),  # not -i, which looks for the file before it reads the %%
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": _literal(target.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": target.alias,
        "StrictHostKeyChecking": "yes" if target.introduced else "accept-new",
        "ConnectTimeout": str(connect_timeout_s),
        "ServerAliveInterval": "15",
        "LogLevel": "ERROR",
    }
    if batch:
        pairs["BatchMode"] = "yes"
    for key, value in pairs.items():
        words += ["-o", f"{key}={_quoted(value)}"]
    for option in options:
        words += ["-o", option]
    return [*words, "--", target.host, *command]


def make_key(path: Path, comment: str) -> None:
    """Make an Ed25519 key pair, `path` and `path`.pub, without a passphrase.

    Raises:
        MissingProgram, CommandFailed: by ssh-keygen.
    """
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path], hint="install the OpenSSH client")


def _literal(path: Path) -> str:
    # ssh_config(5), TOKENS: a % in a file's name is the beginning of a token.
    return str(path).replace("%", "%%")


def _quoted(value: str) -> str:
    # ssh_config(5): arguments with spaces are enclosed in double quotes; a quote inside is escaped.
    if any(c.isspace() or c in "\"'\\" for c in value):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return value
