"""The guest of a clipboard command: a machine by its name, or any SSH host. Band: app.

It has the ssh command, the folder of its sync, and the hint for refused keys.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pommel import account, locks
from pommel.app.guest import shell as guest
from pommel.app.workspace import Workspace
from pommel.errors import CommandFailed, UsageError
from pommel.paths import ClipPaths
from pommel.process import run
from pommel.ssh import SshAddress, address_argv, configuration_argv, multiplexed, parse_address, ssh_argv

CONNECT_S = 10


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest: `label` is its name for people, `machine` the machine's name if it is one.

    `keys` are the keys that ssh would try; `key_hint` is the command to type if the guest accepts none of them.
    """

    label: str
    paths: ClipPaths
    words: tuple[str, ...]  # its name as arguments of `pommel clip`
    keys: tuple[str, ...]
    key_hint: str
    machine: str | None = None
    address: SshAddress | None = None
    accept_new: bool = False

    def argv(self, workspace: Workspace, *, shared: bool = False) -> list[str]:
        """The ssh command up to the host. `shared`: other ssh sessions can use its connection (ControlMaster).

        Raises:
            StateError: the machine was deleted.
        """
        # ControlPersist is for shells, which may come again soon. This connection must end with the sync.
        pairs = {**multiplexed(self.paths.shared), "ControlPersist": "no"} if shared else {"ControlPath": "none"}
        if self.address is not None:
            return address_argv(self.address, connect_timeout_s=CONNECT_S, accept_new=self.accept_new, shared=pairs)
        target = guest.known_target(workspace, str(self.machine))
        return ssh_argv(target, batch=True, connect_timeout_s=CONNECT_S, shared=pairs)


def find_guest(workspace: Workspace, name: str | None, host: str | None = None, *, accept_new: bool = False) -> Guest:
    """The guest for a command: machine `name`, or the SSH host `host`; without both, the usual machine.

    Raises:
        UsageError: both are given; or the name is unknown; or there are several machines and none is given.
        StateError: the machine has not been made yet.
    """
    if host is None:
        return _machine(workspace, name or usual_machine(workspace))
    if name is not None:
        raise UsageError("give a machine or --host, not both", hint=f"pommel clip sync --host {host}")
    return _host(workspace, parse_address(host), accept_new)


def usual_machine(workspace: Workspace) -> str:
    """The machine if none is named: the only one that exists, the only one that runs, or else the usual default.

    Raises:
        UsageError: there are several.
    """
    made = workspace.home.names()
    if len(made) == 1:
        return made[0]
    running = [name for name in made if locks.holder(workspace.paths(name).pidfile) is not None]
    if len(running) == 1:
        return running[0]
    if len(made) > 1:
        raise UsageError("which machine?", hint=f"give the name of one: {', '.join(running or made)}")
    return workspace.default_name()


def _machine(workspace: Workspace, name: str) -> Guest:
    paths = workspace.made(name)
    return Guest(
        label=name,
        paths=workspace.home.clip(name),
        words=(name,),
        keys=(str(paths.ssh_key),),
        key_hint=f"pommel ssh {name} --copy-id",
        machine=name,
    )


def _host(workspace: Workspace, address: SshAddress, accept_new: bool) -> Guest:
    told = _configured(workspace, address)
    # The names after ssh's configuration: an alias and the full name are one guest, with one sync.
    port = int(_first(told, "port") or 22)
    whole = SshAddress(_first(told, "hostname") or address.host, _first(told, "user") or address.user, port)
    name = re.sub(r"[^a-z0-9.]+", "-", whole.host.lower()).strip("-.")[:20]
    key = f"_{name}-{hashlib.sha256(str(whole).encode()).hexdigest()[:8]}"
    return Guest(
        label=str(whole),
        paths=workspace.home.clip(key),
        words=("--host", str(address)),
        keys=_keys(workspace, told),
        key_hint=f"ssh-copy-id {'' if whole.port in (None, 22) else f'-p {whole.port} '}{whole.user}@{whole.host}",
        address=address,
        accept_new=accept_new,
    )


def _configured(workspace: Workspace, address: SshAddress) -> Mapping[str, list[str]]:
    """The configuration of the user's ssh for a host, by lower-case option (ssh(1), -G)."""
    try:
        text = run(configuration_argv(address), timeout_s=10, env=workspace.env or None).text
    except CommandFailed as failure:
        raise UsageError(
            f"ssh does not understand the address {address}: {failure.message}", hint=f"try: ssh {address.host}"
        ) from failure
    told: dict[str, list[str]] = {}
    for line in text.splitlines():
        option, _, value = line.partition(" ")
        told.setdefault(option.lower(), []).append(value)
    return told


def _first(told: Mapping[str, list[str]], option: str) -> str | None:
    """The first value of an option."""
    return next(iter(told.get(option, ())), None)


def _keys(workspace: Workspace, told: Mapping[str, list[str]]) -> tuple[str, ...]:
    files = [value for value in told.get("identityfile", ()) if account.expand(value).is_file()]
    lent = _first(told, "identityagent") not in (None, "none", "SSH_AUTH_SOCK") or workspace.env.get("SSH_AUTH_SOCK")
    return (*files, *(["the keys of your ssh-agent"] if lent else []))
