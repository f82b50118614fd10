"""Check which folders of this host may be shared with a guest. Band: app.

A guest is not trusted. So it must not get files that decide what Pommel or a login on this host does, nor files of
another user.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pommel import account
from pommel.app.workspace import Workspace
from pommel.errors import NotPermitted, PommelError, StateError
from pommel.machine.shares import NINE_P, Share
from pommel.machine.spec import MachineSpec
from pommel.overlay.shown import SECRETS

# Folders of the system: of _SYSTEM only the folder itself is refused, of _DEEP also everything below it.
_SYSTEM = [
    *(Path(path) for path in ("/", "/home", "/root", "/usr", "/var", "/opt", "/srv", "/mnt", "/media", "/run", "/nix")),
    *(Path("/", name) for name in ("tmp", "lib", "bin", "sbin")),
]
_DEEP = [
    Path(path) for path in ("/etc", "/proc", "/sys", "/dev", "/boot", "/usr/bin", "/usr/lib", "/var/lib", "/run/user")
]
_OTHERS = "share a folder that is made for it: mkdir ~/shared"


def checked(workspace: Workspace, spec: MachineSpec, folder: str, *, read_only: bool) -> Path:
    """The real path of a folder, after a check that it may be shared with machine `spec.name`.

    Raises:
        StateError: it does not exist, or is not a folder.
        NotPermitted: it must not be shared; the message says why.
    """
    said = workspace.beside(spec.name, folder)
    real = Path(os.path.realpath(said))
    shown = f"{folder}" if real == said else f"{folder} ({real})"
    try:
        about = real.stat()
    except OSError as failure:
        raise StateError(f"{shown} cannot be shared: {failure.strerror}", hint=f"ls -ld {said}") from failure
    if not stat.S_ISDIR(about.st_mode):
        raise StateError(f"{shown} is not a folder", hint=f"share the folder that it is in: {real.parent}")
    for forbidden, what in _forbidden(workspace, spec, read_only=read_only):
        if real == forbidden:
            raise NotPermitted(f"{shown} is {what}, and is not shared", hint=_OTHERS)
        if real in forbidden.parents:
            raise NotPermitted(f"{shown} holds {what} ({forbidden}), and is not shared", hint=_OTHERS)
        if forbidden in real.parents and what not in (_HOME, _OF_SYSTEM):
            raise NotPermitted(f"{shown} is in {what} ({forbidden}), and is not shared", hint=_OTHERS)
    if about.st_uid != os.geteuid():
        owner = account.name_of(about.st_uid) or f"the user {about.st_uid}"
        raise NotPermitted(f"{shown} belongs to {owner}, and is not yours to share", hint=_OTHERS)
    if not os.access(real, os.R_OK | os.X_OK | (0 if read_only else os.W_OK)):
        more = "" if read_only else ", or share it --read-only"
        raise NotPermitted(
            f"you may not {'read' if read_only else 'write in'} {shown}", hint=f"chmod u+rwx {real}{more}"
        )
    return real


def had(workspace: Workspace, spec: MachineSpec, share: Share) -> Path:
    """The real path of a share's folder, after a check that it can be shared in the wanted way.

    Raises:
        StateError, NotPermitted: as `checked`; or it is by 9p, and its file system has no extended attributes.
    """
    real = checked(workspace, spec, share.folder, read_only=share.read_only)
    must_keep_attributes(real, share)
    return real


def must_keep_attributes(folder: Path, share: Share) -> None:
    """For a writable share by 9p: check that QEMU can store the guest's owners and modes (security_model=mapped-xattr).

    Raises:
        StateError: the file system has no extended attributes for users.
    """
    if share.by != NINE_P or share.read_only:
        return
    try:
        os.getxattr(folder, _OWNER)
    except OSError as failure:
        if failure.errno in (errno.ENOTSUP, errno.EPERM):
            raise StateError(
                f"{share.folder} cannot be shared by 9p: its file system has no extended attributes for users, "
                "in which QEMU stores the guest's owners and modes",
                hint="share it by SMB, or --read-only",
            ) from failure


_OWNER = "user.virtfs.uid"  # hw/9pfs/9p-local.c
_HOME = "your home folder"
_OF_SYSTEM = "the system's"


def _forbidden(workspace: Workspace, spec: MachineSpec, *, read_only: bool) -> Iterator[tuple[Path, str]]:
    """The paths that are not shared, nor their parents; each with its name for messages."""
    yield from ((path, _OF_SYSTEM) for path in _SYSTEM)
    homes = {Path(os.path.realpath(home)) for home in _homes()}
    for home in homes:
        yield home, _HOME
        yield from ((Path(os.path.realpath(home / secret)), "where keys and passwords lie") for secret in SECRETS)
    own = [workspace.home.root, workspace.home.runtime, workspace.home.cache, *_configuration()]
    if not read_only and (file := workspace.file_of(spec.name).path) is not None:
        own += [Path(os.path.realpath(file))]
    for path in own:
        yield Path(os.path.realpath(path)), "Pommel's own"
    with contextlib.suppress(PommelError):  # the upstream does not exist yet
        yield Path(os.path.realpath(workspace.upstream_folder(spec))), "what the machine boots by"
    yield from ((path, "the system's own") for path in _DEEP)


def _homes() -> Iterator[Path]:
    with contextlib.suppress(PommelError):
        yield account.home()
    if (listed := account.of_account()) is not None and listed.startswith("/") and listed != "/":
        yield Path(listed)


def _configuration() -> Iterator[Path]:
    with contextlib.suppress(PommelError):
        yield account.config()
