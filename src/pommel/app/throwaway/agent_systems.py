"""Agents of Buildkite and Jenkins, and systemd units for all CI systems. Band: app.

Sources: buildkite.com/docs/agent/cli-start; www.jenkins.io/doc/book/using/using-agents, and `java -jar agent.jar
    -help`.
Neither has a configuration for one job only, so both get the agent's secret in a file of the guest. A job could read
it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from pommel.app.throwaway.job import OURS
from pommel.app.throwaway.serving import AgentOrder
from pommel.errors import UsageError
from pommel.systemd import command_line, quoted

_FILE = f"{OURS}/secret"
_TAG = re.compile(r"[A-Za-z0-9._-]+=[A-Za-z0-9._-]+\Z")
_NODE = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")


class Buildkite:
    """An agent of Buildkite that disconnects after one job."""

    title = "Buildkite"

    def __init__(self, token: str, *, tags: Sequence[str], job: str | None = None) -> None:
        for tag in tags:
            if not _TAG.match(tag):
                raise UsageError(f"{tag!r} is not a valid tag of an agent", hint="--tag queue=macos")
        if job is not None and not _NODE.match(job):
            raise UsageError(f"{job!r} is not a valid id of a job")
        self._token, self._tags, self._job = token, list(tags), job

    def order(self, name: str) -> AgentOrder:
        """The start of an agent. The token is in its environment, because every process can read arguments."""
        how = ["--acquire-job", self._job] if self._job is not None else ["--disconnect-after-job"]
        tags = ["--tags", ",".join(self._tags)] if self._tags else []
        lines = [
            f'BUILDKITE_AGENT_TOKEN=$(cat "$HOME/{_FILE}") && export BUILDKITE_AGENT_TOKEN && rm "$HOME/{_FILE}"',
            "exec " + shlex.join(["buildkite-agent", "start", *how, "--name", name, *tags]),
        ]
        return AgentOrder(name, ".", "\n".join(lines), {_FILE: self._token.encode()})

    def withdraw(self, order: AgentOrder) -> bool:
        """Nobody here can say whether it has a job."""
        return False


class Jenkins:
    """An inbound agent of Jenkins for one node; it ends when the controller disconnects it."""

    title = "Jenkins"

    def __init__(self, url: str, node: str, secret: str, *, jar: str = "agent.jar", web_socket: bool = False) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise UsageError(f"{url!r} is not the address of a Jenkins", hint="--url https://jenkins.example.com/")
        if not _NODE.match(node):
            raise UsageError(f"{node!r} is not a valid name of a node here", hint="use letters, digits and . _ -")
        self._url, self._node, self._secret, self._jar, self._web_socket = url, node, secret, jar, web_socket

    def order(self, name: str) -> AgentOrder:
        """The start of an agent for the node, with its secret in a file."""
        words = ["java", "-jar", self._jar, "-url", self._url, "-name", self._node, "-noReconnect"]
        words += ["-webSocket"] if self._web_socket else []
        own = f'-secret "@$HOME/{_FILE}" -workDir "$HOME/jenkins"'
        return AgentOrder(name, ".", f"exec {shlex.join(words)} {own}", {_FILE: self._secret.encode()})

    def withdraw(self, order: AgentOrder) -> bool:
        """Nobody here can say whether it has a job."""
        return False


def unit(title: str, command: Sequence[str], environment: Mapping[str, str]) -> str:
    """A systemd unit for `pommel ci`: at SIGTERM it waits until the running jobs have ended.

    Raises:
        UsageError: a unit file cannot contain a word of the command.
    """
    lines = "".join(f"Environment={quoted(f'{key}={value}')}\n" for key, value in environment.items())
    return f"""\
[Unit]
Description=Jobs of {title} in throw-away machines (Pommel)

[Service]
Type=exec
{lines}ExecStart={command_line(command)}
# SIGTERM goes only to the main process, which waits for its jobs. When it has ended, systemd ends the rest.
KillMode=mixed
TimeoutStopSec=infinity
Restart=on-failure
RestartSec=10
RestartPreventExitStatus=2

[Install]
WantedBy=default.target
"""


def commented(text: str) -> str:
    """A text as comments of a unit."""
    return "".join(f"# {line}\n" if line else "#\n" for line in text.splitlines())
