"""git, called so that it does the same on every host: never a question, a hook, a template or a pager. Band: shell.

Local work reads no configuration of the user's or the system's at all. What fetches does read it, since a proxy, a
certificate or an `insteadOf` may be what makes the upstream reachable, with all that could surprise us overruled.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pommel.process import Completed, run, which

# From the environment, git would take another repository, index or configuration for the one we mean.
_KEPT_GIT = ("GIT_SSL_", "GIT_SSH", "GIT_PROXY_", "GIT_HTTP_", "GIT_EXEC_PATH")
_OVERRULED = {
    "advice.detachedHead": "false",
    "apply.ignoreWhitespace": "no",
    "apply.whitespace": "nowarn",
    "core.attributesFile": os.devnull,
    "core.autocrlf": "false",
    "core.eol": "lf",
    "core.excludesFile": os.devnull,
    "core.fileMode": "true",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "fetch.prune": "false",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",  # it would go on in the background, after us
    "http.lowSpeedLimit": "100",  # a peer that died without a word
    "http.lowSpeedTime": "60",
    "maintenance.auto": "false",
    "protocol.ext.allow": "never",
    "submodule.recurse": "false",
    "transfer.fsckObjects": "false",  # old upstreams have commits that it complains about; the hashes are ours
}
_HINT = "install git (apt install git, dnf install git, pacman -S git)"


def git(
    folder: Path,
    *words: str | Path,
    fetches: bool = False,
    check: bool = True,
    input: bytes | None = None,
    env: Mapping[str, str] | None = None,
) -> Completed:
    """Run git in `folder`; `fetches` says that it may talk to the upstream. `env` is on top of the usual.

    Raises:
        MissingProgram: git is not installed.
        CommandFailed: it failed and `check` is true.
    """
    whole = {**environment(fetches=fetches), **(env or {})}
    return run([which("git", hint=_HINT), "-C", folder, *words], env=whole, input=input, check=check)


def environment(*, fetches: bool = False) -> dict[str, str]:
    """The environment that git runs in."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key.startswith(_KEPT_GIT)}
    env |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "GIT_PAGER": "cat", "GIT_OPTIONAL_LOCKS": "0"}
    env.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ServerAliveInterval=15")
    if not fetches:
        env |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    env["GIT_CONFIG_COUNT"] = str(len(_OVERRULED))
    for number, (key, value) in enumerate(_OVERRULED.items()):
        env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return env
