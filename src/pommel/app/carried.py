"""The environment that a command of ours needs where somebody else starts it: systemd, a desktop's menu. Band: app.

The one list of the variables that decide which machines there are and how they run. Units and desktop entries carry
those that are set, made absolute; a test finds every variable that the source reads in one of the lists here.
"""

from __future__ import annotations

import os
import shutil

from pommel import account, proxies
from pommel.app.workspace import Workspace
from pommel.errors import UsageError
from pommel.host.needs import RUN_NEEDS
from pommel.machine.spec import SETTINGS

FOLDERS = ("POMMEL_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
FILES = ("POMMEL_CONFIG",)
WORDS = tuple(setting.env for setting in SETTINGS)
# Of a session, a terminal or one call: what they say elsewhere is for that place to say.
OF_A_SESSION = frozenset({
    "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR", "XDG_SESSION_TYPE", "SSH_AUTH_SOCK",
    "SSH_CONNECTION", "SUDO_UID", "TERM", "COLORTERM", "NO_COLOR", "SHELL", "USER", "PYTHONIOENCODING",
    "GIT_SSH", "GIT_SSH_COMMAND",
    "VM_CLIP_PORT", "VM_CLIP_USER", "VM_CLIP_HOST", "VM_CLIP_INTERVAL",
})  # fmt: skip
_USUAL_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


def to_unit(workspace: Workspace, name: str | None = None) -> dict[str, str]:
    """What a user's unit carries; with a machine's `name` also the pommel.toml that counts for that machine.

    A proxy's password is among it: the file is for its owner's eyes.

    Raises:
        UsageError: a variable is no text.
    """
    found = {"PATH": workspace.env.get("PATH", os.defpath), **_deciding(workspace)}
    if name is not None and (file := workspace.file_of(name).path) is not None:
        found.setdefault("POMMEL_CONFIG", str(file.absolute()))
    return _as_text(found | {key: workspace.env[key] for key in proxies.NAMES if key in workspace.env})


def to_entry(workspace: Workspace) -> dict[str, str]:
    """What a desktop entry carries. It becomes words of a process, which everybody sees: no proxy with a password.

    PATH is among it where a program that Pommel starts is found by it alone: a session has a PATH of its own.

    Raises:
        UsageError: a variable is no text.
    """
    found = _deciding(workspace)
    path = workspace.env.get("PATH", os.defpath)
    if any(_is_elsewhere(program, path) for need in RUN_NEEDS for program in need.any_of if "/" not in program):
        found["PATH"] = path
    return _as_text(found | proxies.for_everybodys_eyes(workspace.env)[0])


def _deciding(workspace: Workspace) -> dict[str, str]:
    env = workspace.env
    found = {key: _absolute(workspace, env[key]) for key in (*FOLDERS, *FILES) if env.get(key)}
    if "POMMEL_HOME" in found:
        found["POMMEL_HOME"] = str(workspace.home.root)
    if (home := env.get("HOME")) and home != _home_of_account():
        found["HOME"] = home
    return found | {key: env[key] for key in WORDS if key in env}


def _absolute(workspace: Workspace, path: str) -> str:
    return str(workspace.cwd / account.expand(path))


def _home_of_account() -> str | None:
    """The home that whoever starts us elsewhere takes from the list of accounts."""
    return account.of_account()


def _is_elsewhere(program: str, path: str) -> bool:
    """Whether this PATH finds another program than the PATH of a session would, or one that it would not find."""
    found, usual = (shutil.which(program, path=folders) for folders in (path, _USUAL_PATH))
    return found is not None and (usual is None or os.path.realpath(found) != os.path.realpath(usual))


def _as_text(found: dict[str, str]) -> dict[str, str]:
    for key, said in found.items():
        if any("\ud800" <= char <= "\udfff" for char in said):
            raise UsageError(f"{key} is not valid text in this locale, and cannot be stored: {said!r}")
    return found
