"""The environment variables that Pommel needs when systemd or a desktop's menu starts it. Band: app.

These are the variables that decide which machines there are and how they run. Units and desktop entries contain those
that are set, with absolute paths. A test checks that every variable in the source is in one of the lists here.
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
# These belong to a session, a terminal or one call. A unit must not carry them: its own session has other values.
OF_A_SESSION = frozenset({
    "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR", "XDG_SESSION_TYPE", "SSH_AUTH_SOCK",
    "SSH_CONNECTION", "SUDO_UID", "TERM", "COLORTERM", "NO_COLOR", "SHELL", "USER", "PYTHONIOENCODING",
    "GIT_SSH", "GIT_SSH_COMMAND",
    "POMMEL_CI_TOKEN", "POMMEL_REGISTRY_USER", "POMMEL_REGISTRY_PASSWORD", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG",
    "JOB_RESPONSE_FILE", "BUILD_EXIT_CODE_FILE", "CUSTOM_ENV_CI_JOB_IMAGE", "CUSTOM_ENV_CI_JOB_TIMEOUT",
    "VM_CLIP_PORT", "VM_CLIP_USER", "VM_CLIP_HOST", "VM_CLIP_INTERVAL",
})  # fmt: skip
_USUAL_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


def to_unit(workspace: Workspace, name: str | None = None) -> dict[str, str]:
    """The variables for a user's unit; with a machine's `name`, also the path of that machine's pommel.toml.

    A proxy's password may be among them, because only the owner can read the unit's file.

    Raises:
        UsageError: a variable is not valid text.
    """
    found = {"PATH": workspace.env.get("PATH", os.defpath), **_deciding(workspace)}
    if name is not None and (file := workspace.file_of(name).path) is not None:
        found.setdefault("POMMEL_CONFIG", str(file.absolute()))
    return _as_text(found | {key: workspace.env[key] for key in proxies.NAMES if key in workspace.env})


def to_entry(workspace: Workspace) -> dict[str, str]:
    """The variables for a desktop entry. They become arguments of a process, which all users can see: so no password.

    PATH is included only if a program is found with it and not with a session's usual PATH.

    Raises:
        UsageError: a variable is not valid text.
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
    """The home folder from the list of accounts, which systemd and desktops use."""
    return account.of_account()


def _is_elsewhere(program: str, path: str) -> bool:
    """Whether this PATH finds a program that the PATH of a session does not find, or finds at another place."""
    found, usual = (shutil.which(program, path=folders) for folders in (path, _USUAL_PATH))
    return found is not None and (usual is None or os.path.realpath(found) != os.path.realpath(usual))


def _as_text(found: dict[str, str]) -> dict[str, str]:
    for key, said in found.items():
        if any("\ud800" <= char <= "\udfff" for char in said):
            raise UsageError(f"{key} is not valid text in this locale, and cannot be stored: {said!r}")
    return found
