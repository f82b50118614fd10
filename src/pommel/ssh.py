"""The only place that builds an ssh command line. Band: shared ground.

System OpenSSH does the work. A machine's ssh never touches the user's known_hosts or configuration (`SshTarget`); any
other host is reached as the user's own ssh would (`SshAddress`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pommel import account
from pommel.errors import UsageError
from pommel.process import run

_ADDRESS = re.compile(
    r"(?:(?P<user>[^@\s]+)@)?(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^@:\s\[\]/]+))(?::(?P<port>[1-9]\d{0,4}))?\Z"
)
_PORT_MAX = 65535
_LOOPBACK = "127.0.0.1"
# Options of a `Host *` that would lead elsewhere, lend something to the guest, or keep our key or its host key from
# counting; each said as ssh has it by itself. In a file the first value counts, on the command line the user's still.
_ITS_OWN = {
    "ProxyCommand": "none",  # and no ProxyJump, which is another spelling
    "ProxyUseFdpass": "no",
    "CanonicalizeHostname": "no",
    "AddressFamily": "any",
    "BatchMode": "no",
    "RemoteCommand": "none",
    "RequestTTY": "auto",
    "PermitLocalCommand": "no",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ForwardX11Trusted": "no",
    "GatewayPorts": "no",
    "Tunnel": "no",
    "ExitOnForwardFailure": "no",
    "PubkeyAuthentication": "yes",
    "PasswordAuthentication": "yes",
    "KbdInteractiveAuthentication": "yes",
    "HostbasedAuthentication": "no",
    "PreferredAuthentications": "publickey,keyboard-interactive,password",
    "PubkeyAcceptedKeyTypes": "+ssh-ed25519",  # all that ssh has by itself
    "HostKeyAlgorithms": "+ssh-ed25519",
    "PKCS11Provider": "none",
    "AddKeysToAgent": "no",
    "NoHostAuthenticationForLocalhost": "no",
    "CheckHostIP": "no",
    "VerifyHostKeyDNS": "no",
    "UpdateHostKeys": "no",
    "HashKnownHosts": "no",
    "RevokedHostKeys": "none",
    "VisualHostKey": "no",
}
# The same, of OpenSSH 8.5 and 8.7; an older ssh refuses a file that has them.
NEWER = {
    "KnownHostsCommand": "none",
    "StdinNull": "no",
    "ForkAfterAuthentication": "no",
    "SessionType": "default",
}
_FORWARDS = ("localforward", "remoteforward", "dynamicforward")
# What a user's configuration may say for a terminal and what must not happen beside it: a second one of each forwarded
# port, a command of their own, an agent or a display lent to the other side.
_BARE = {
    "BatchMode": "yes",
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "Tunnel": "no",
    "VisualHostKey": "no",
}


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
    host: str = _LOOPBACK
    introduced: bool = True


@dataclass(frozen=True, slots=True)
class SshAddress:
    """Any SSH host as the user names it, an alias of ~/.ssh/config too. What is None, their configuration says."""

    host: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (f"{self.user}@" if self.user else "") + host + (f":{self.port}" if self.port not in (None, 22) else "")


def parse_address(text: str) -> SshAddress:
    """Read `[USER@]HOST[:PORT]`; an IPv6 address stands in brackets.

    Raises:
        UsageError: it is no such thing.
    """
    found = _ADDRESS.match(text)
    if found is not None:
        host, user, port = found["six"] or found["host"], found["user"], int(found["port"] or 0) or None
        # What begins with a dash would be an option to ssh.
        if not host.startswith("-") and not (user or "").startswith("-") and (port or 0) <= _PORT_MAX:
            return SshAddress(host, user, port)
    raise UsageError(f"{text!r} is not an SSH host", hint="write it as HOST, USER@HOST or USER@HOST:PORT")


def address_argv(
    address: SshAddress,
    command: Sequence[str] = (),
    *,
    connect_timeout_s: int = 10,
    accept_new: bool = False,
    shared: Mapping[str, str] | None = None,
) -> list[str]:
    """Build an `ssh` that never asks, for any host, under the user's own configuration, agent and known_hosts.

    `accept_new` keeps the key of a host that is met for the first time; else ssh does as it is configured.
    """
    pairs = {**_BARE, "ConnectTimeout": str(connect_timeout_s), **(shared or {})}
    if accept_new:
        pairs["StrictHostKeyChecking"] = "accept-new"
    return ["ssh", *_whereto(address), *_options(pairs), "--", address.host, *command]


def configuration_argv(address: SshAddress) -> list[str]:
    """Build the `ssh` that prints what it would do for a host, and connects to nobody (ssh(1), -G)."""
    return ["ssh", "-G", *_whereto(address), "--", address.host]


def _whereto(address: SshAddress) -> list[str]:
    port = ["-p", str(address.port)] if address.port else []
    return [*port, *(["-l", address.user] if address.user else [])]


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
    account.must_be_listed()
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
    host = f"[{target.host}]" if ":" in target.host else target.host  # scp(1): an IPv6 address stands in brackets
    return f"{target.user}@{host}:{path}"


def host_block(
    target: SshTarget,
    alias: str,
    options: Mapping[str, str],
    *,
    newer: Sequence[str] = (),
    clear_forwards: bool = False,
) -> str:
    """The block of ssh_config(5) that makes `ssh ALIAS` reach the guest, whatever a `Host *` after it says.

    Of `NEWER` it has what is in `newer`. ssh can drop forwards only all at once: `clear_forwards` drops those of a
    `Host *`, and those of the command line with them.
    """
    pairs = {"HostName": target.host, "Port": str(target.port), "User": target.user, **pairs_of(target), **options}
    pairs |= {key: value for key, value in _ITS_OWN.items() if key not in pairs}
    pairs |= {key: value for key, value in NEWER.items() if key in newer}
    if target.host == _LOOPBACK:
        pairs["BindAddress"] = _LOOPBACK
    lines = [f"    {key} {_quoted(value)}\n" for key, value in pairs.items()]
    if clear_forwards:
        lines.append(
            "    # Your configuration forwards ports for every host. To use -L, -R and -D: -o ClearAllForwardings=no\n"
        )
        lines.append("    ClearAllForwardings yes\n")
    return "".join([f"Host {alias}\n", *lines])


def forwards(configuration: str) -> bool:
    """Whether what `configuration_argv` prints has a port forwarded."""
    return any(line.startswith(_FORWARDS) for line in configuration.splitlines())


def understands_argv(key: str, value: str) -> list[str]:
    """Build the `ssh` that succeeds if it knows an option."""
    return ["ssh", "-G", "-F", "none", "-o", f"{key}={value}", "--", "any"]


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


def riding(socket: Path) -> dict[str, str]:
    """Options that have a call use the connection at `socket` if there is one, and begin none."""
    return {"ControlMaster": "no", "ControlPath": _literal(socket)}


def multiplexed(socket: Path, *, persist_s: int = 60) -> dict[str, str]:
    """Options that let calls share one connection, which stays for `persist_s` after the last (ssh_config(5))."""
    return {"ControlMaster": "auto", "ControlPath": _literal(socket), "ControlPersist": str(persist_s)}


def end_shared_argv(name: str, socket: Path) -> list[str]:
    """Build the `ssh` that ends a shared connection; it asks the socket alone, and any `name` will do for a host."""
    return ["ssh", "-F", "none", "-o", f"ControlPath={_quoted(_literal(socket))}", "-O", "exit", "--", name]


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
