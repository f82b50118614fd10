"""The base of a throw-away machine. Band: app.

Only this module decides what the word IMAGE of `run`, `pool` and `ci` means.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pommel import __version__
from pommel.app.workspace import Workspace
from pommel.errors import UsageError
from pommel.machine import lease, record, saved_memory
from pommel.machine.spec import SETTINGS
from pommel.progress import Report, ignore

if TYPE_CHECKING:
    from pommel.image.names import ImageName

# Settings that a throw-away machine does not inherit: they belong to one machine, or give the guest access to this
# host.
_ITS_OWN = {
    "upstream", "macos", "disk", "disk_file", "upstream_drives", "encrypt", "passphrase_file", "mac", "identity",
    "ssh_port", "ssh_host", "forwards", "reverse", "console_port", "console_tls", "console_tls_cert", "console_tls_key",
    "clipboard", "shares", "usb", "snapshots", "keep",
}  # fmt: skip
CARRIED = tuple(setting.key for setting in SETTINGS if setting.key not in _ITS_OWN)


def resolve(workspace: Workspace, image: str, *, report: Report = ignore) -> str:
    """The machine that is cloned for `image`: a machine's name, or else an image's NAME[:TAG].

    If a machine and an image have the same name, the machine is used; with `:TAG`, it is always the image. The base
    machine of an image is made once (`image.base`).

    Raises:
        UsageError: there is no machine and no image of that name.
        StateError: the machine has not been created yet; or the image needs an upstream that only its author has.
        ImageError, BuildError, BusyError: no machine can be made from the image.
    """
    if (found := _image(workspace, image)) is not None:
        from pommel.app.image.base import provide_base

        return provide_base(found, workspace=workspace, report=report)
    workspace.made(image)
    return image


def describe(workspace: Workspace, image: str) -> str:
    """What `resolve` would use, in words. Raises the errors of `resolve` that are known beforehand."""
    if (found := _image(workspace, image)) is not None:
        return f"the image {found}"
    workspace.made(image)
    return image


def _image(workspace: Workspace, text: str) -> ImageName | None:
    """The image of that name; None: it is a machine's name."""
    if ":" not in text and (workspace.paths(text).record.exists() or not _is_image(workspace, text)):
        return None
    from pommel.app.image.names import given
    from pommel.app.image.places import store_of

    name = given(text)
    store_of(workspace).must_find(name)
    return name


def _is_image(workspace: Workspace, text: str) -> bool:
    from pommel.app.image.names import given
    from pommel.app.image.places import store_of

    with contextlib.suppress(UsageError):
        return store_of(workspace).find(str(given(text))) is not None
    return False


def known(workspace: Workspace) -> list[str]:
    """What `resolve` would take now: the machines that are made, but for throw-away ones, and the images.

    Raises:
        ImageError: the list of images cannot be read.
    """
    from pommel.app.image.places import store_of

    found = [paths for paths in map(workspace.paths, workspace.home.names()) if lease.read(paths) is None]
    images = [entry.name for entry in store_of(workspace).entries() if not entry.is_signature]
    return [paths.name for paths in found if paths.record.exists()] + images


def settings(workspace: Workspace, base: str) -> dict[str, Any]:
    """The settings of machine `base` in pommel.toml that its throw-away clones inherit, as they are written."""
    said = workspace.file_of(base).machines.get(base, {})
    return {key: value for key, value in said.items() if key in CARRIED}


def fingerprint(workspace: Workspace, base: str, flags: Mapping[str, Any] | None = None) -> str:
    """A hash of all that determines a clone of `base`: its settings, disks and saved memory.

    A warm machine with another fingerprint is out of date.

    Raises:
        PommelError: the base or its settings cannot be read.
    """
    paths = workspace.made(base)
    kept, saved = record.load(paths.record), saved_memory.read(paths)
    wanted = workspace.settings(base, flags)
    told = [
        __version__,
        kept.uuid,
        saved_memory.disks_now(paths),
        saved.created_s if saved is not None else None,
        {key: repr(wanted[key].value) for key in CARRIED if key in wanted},
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
