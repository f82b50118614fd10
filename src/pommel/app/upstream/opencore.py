"""`opencore build`: build OpenCore's boot disk from an upstream's OpenCore/EFI and config.plist. Band: app."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pommel.app.workspace import Workspace
from pommel.errors import StateError
from pommel.opencore.build import Built, Options, build
from pommel.progress import Report, ignore


def pack(
    target: Path,
    *,
    efi: Path | None = None,
    config: Path | None = None,
    name: str | None = None,
    force: bool = False,
    options: Mapping[str, Any] | None = None,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> Built:
    """Pack `efi` and `config` (default: those of machine `name`'s upstream) into the qcow2 `target`.

    Raises:
        StateError: there is nothing to pack; or `target` exists, without `force`.
        UpstreamError: config.plist cannot be used.
        MissingProgram: mtools, dosfstools or qemu-img is not installed.
    """
    workspace = workspace or Workspace.current()
    if target.exists() and not force:
        raise StateError(f"{target} already exists", hint="to replace it, pass --force")
    root = efi  # with --efi, links to files outside that folder are not followed
    if efi is None or config is None:
        upstream = workspace.upstream_folder(workspace.spec(name or workspace.default_name()))
        root = efi or upstream
        efi, config = efi or upstream / "OpenCore" / "EFI", config or upstream / "OpenCore" / "config.plist"
    for path in (efi, config):
        if not path.exists():
            raise StateError(
                f"there is no {path}", hint="pommel bootstrap --no-setup, or give the files with --efi and --config"
            )
    return build(efi, config, target.absolute(), root=root, options=Options(**(options or {})), report=report)
