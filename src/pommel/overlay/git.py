"""Calls git so that it works the same on every host: without questions, hooks, templates or a pager. Band: shell.

Local work reads no configuration of the user or the system. A fetch does read it, because a proxy, a certificate or an
`insteadOf` may be needed to reach the upstream; settings that could change the result are overridden.
One of their settings is always used: `safe.directory`, with which they trust another user's repository.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from pommel.errors import CommandFailed, NotPermitted
from pommel.process import Completed, run, which

# From the environment, git would use another repository, index or configuration than ours.
_KEPT_GIT = ("GIT_SSL_", "GIT_SSH", "GIT_PROXY_", "GIT_HTTP_", "GIT_EXEC_PATH", "GIT_TEST_ASSUME_DIFFERENT_OWNER")
# The places of the user's configuration.
_CONFIGURATION = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
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
    "fetch.fsckObjects": "false",
    "fetch.prune": "false",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",  # it would continue in the background, after us
    "http.lowSpeedLimit": "100",  # for a server that stops answering
    "http.lowSpeedTime": "60",
    "maintenance.auto": "false",
    "protocol.ext.allow": "never",
    "submodule.recurse": "false",
    "transfer.fsckObjects": "false",  # old upstreams have commits that it complains about; we check our own hashes
}
_HINT = "install your distribution's package git"
_DUBIOUS = re.compile(r"^fatal: (?:detected dubious ownership in|unsafe) repository .*", re.MULTILINE)
_TYPE = re.compile(r"^\s*(git config --global --add safe\.directory .+)$", re.MULTILINE)


def git(
    folder: Path,
    *words: str | Path,
    fetches: bool = False,
    check: bool = True,
    input: bytes | None = None,
    env: Mapping[str, str] | None = None,
) -> Completed:
    """Run git in `folder`; `fetches`: it may connect to the upstream. `env` is added to the usual environment.

    Raises:
        MissingProgram: git is not installed.
        NotPermitted: the repository belongs to another user, and is not in `safe.directory`.
        CommandFailed: it failed and `check` is true.
    """
    argv = [which("git", hint=_HINT), "-C", str(folder), *map(str, words)]
    whole = {**environment(fetches=fetches), **(env or {})}
    done = run(argv, env=whole, input=input, check=False)
    if _is_refused(done) and (trusted := _trusted(argv[0])):
        done = run(argv, env={**whole, **_as_config([*_OVERRULED.items(), *trusted])}, input=input, check=False)
    if _is_refused(done):
        raise _not_owned(folder, done)
    if check and done.returncode != 0:
        raise CommandFailed(argv, done.returncode, done.output)
    return done


def _is_refused(done: Completed) -> bool:
    return done.returncode != 0 and _DUBIOUS.search(done.output) is not None


def _not_owned(folder: Path, done: Completed) -> NotPermitted:
    # git prints the path that it compares (a link's target, an upstream's .git), quoted for a shell.
    typed = _TYPE.search(done.output)
    line = typed[1] if typed else f"git config --global --add safe.directory {shlex.quote(os.path.realpath(folder))}"
    where = shlex.split(line)[-1]
    return NotPermitted(
        f"{where} is another user's repository, so git refuses to work in it",
        hint=f"if you trust its owner (its settings can run programs as your user): {line}",
    )


def _trusted(program: str) -> list[tuple[str, str]]:
    """Each safe.directory of the user and the system, in order; the repository's own setting does not count."""
    env = {
        key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key.startswith("GIT_CONFIG_")
    }
    words = [program, "config", "--null", "--show-scope", "--get-all", "safe.directory"]
    told = run(words, env=env, cwd=Path("/"), check=False).stdout.split(b"\0")[:-1]
    pairs = zip(told[::2], told[1::2], strict=False)
    return [("safe.directory", os.fsdecode(value)) for scope, value in pairs if scope not in (b"local", b"worktree")]


def typed(folder: Path, *words: str) -> str:
    """The git command for `folder` as text for people."""
    return shlex.join(["git", "-C", str(folder), *words])


def environment(*, fetches: bool = False) -> dict[str, str]:
    """The environment of git."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key.startswith(_KEPT_GIT)}
    env |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "GIT_PAGER": "cat", "GIT_OPTIONAL_LOCKS": "0"}
    if fetches:
        env |= {key: os.environ[key] for key in _CONFIGURATION if key in os.environ}
        if "GIT_SSH" not in env and "GIT_SSH_COMMAND" not in env and not _has_ssh_command(env):
            env["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes -o ServerAliveInterval=15"
    else:
        env |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    return env | _as_config([*_OVERRULED.items()])


def _as_config(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Settings in environment variables, which have priority over all files; git-config(1), ENVIRONMENT."""
    found = {"GIT_CONFIG_COUNT": str(len(pairs))}
    for number, (key, value) in enumerate(pairs):
        found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return found


def _has_ssh_command(env: Mapping[str, str]) -> bool:
    words = [which("git", hint=_HINT), "config", "--get", "core.sshCommand"]
    return run(words, env=env, cwd=Path("/"), check=False).returncode == 0
