"""The only place that builds an ssh command line. Band: shared ground.

System OpenSSH does the work. A machine's ssh never touches the user's known_hosts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    shared: Mapping[str, str] | None = None,
) -> list[str]:
    """Build `ssh` for `target`. `batch` never asks anything; `command` is given to the guest's shell as is.

    `shared` is of `multiplexed`.
    """
    pairs = {**pairs_of(target), "ConnectTimeout": str(connect_timeout_s), **(shared or {})}
    if batch:
        pairs["BatchMode"] = "yes"
    words = ["ssh", "-F", "none", "-p", str(target.port), "-l", target.user, *_options(pairs)]
    words += [part for option in options for part in ("-o", option)]
    return [*words, "--", target.host, *command]


def scp_argv(target: SshTarget, words: Sequence[str], *, shared: Mapping[str, str] | None = None) -> list[str]:
    """Build `scp` for `target`; among `words` are scp's own flags, and the guest's files as `remote` spells them."""
    pairs = {**pairs_of(target), "ConnectTimeout": "10", **(shared or {})}
    return ["scp", "-F", "none", "-P", str(target.port), *_options(pairs), *words]


def remote(target: SshTarget, path: str) -> str:
    """A file of the guest as scp(1) wants it."""
    return f"{target.user}@{target.host}:{path}"


def host_block(target: SshTarget, alias: str, options: Mapping[str, str]) -> str:
    """The block of ssh_config(5) that makes `ssh ALIAS` reach the guest."""
    pairs = {"HostName": target.host, "Port": str(target.port), "User": target.user, **pairs_of(target), **options}
    return "".join([f"Host {alias}\n", *(f"    {key} {_quoted(value)}\n" for key, value in pairs.items())])


def pairs_of(target: SshTarget) -> dict[str, str]:
    """What ssh must know of a guest besides its address, as options of ssh_config(5)."""
    return {
        "IdentityFile": _literal(target.key),  # not -i, which looks for the file before it reads the %%
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": _literal(target.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": target.alias,
        "StrictHostKeyChecking": "yes" if target.introduced else "accept-new",
        "ServerAliveInterval": "15",
        "LogLevel": "ERROR",
    }


def multiplexed(socket: Path, *, persist_s: int = 60) -> dict[str, str]:
    """Options that let calls share one connection, which stays for `persist_s` after the last (ssh_config(5))."""
    return {"ControlMaster": "auto", "ControlPath": _literal(socket), "ControlPersist": str(persist_s)}


def end_shared_argv(target: SshTarget, socket: Path) -> list[str]:
    """Build the `ssh` that ends a shared connection."""
    return ["ssh", "-F", "none", "-o", f"ControlPath={_quoted(_literal(socket))}", "-O", "exit", target.host]


def _options(pairs: Mapping[str, str]) -> list[str]:
    return [part for key, value in pairs.items() for part in ("-o", f"{key}={_quoted(value)}")]


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
