"""shares.json: the folders that were shared by command and are kept over restarts. Band: shell.

Beside pommel.toml, which Pommel never writes. And shared.json: what the guest's next connection gets, which `share_end`
reads. Both are the machine's own: a clone gets neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pommel import json_file
from pommel.machine import kept
from pommel.machine.shares import Share, bound, parse_share
from pommel.paths import MachinePaths

FILE = "shares.json"
LIVE = "shared.json"
PROGRAM = Path(__file__).with_name("share_end.py")


def load(paths: MachinePaths) -> tuple[Share, ...]:
    """What was shared with the machine by command, in that order; nothing where there is no file.

    Raises:
        MachineError: the file cannot be used.
    """
    hint = f"remove it, and share the folders with {paths.name} anew"
    return kept.load(paths.directory / FILE, lambda found: tuple(map(parse_share, found["shares"])), (), hint=hint)


def save(paths: MachinePaths, shares: Sequence[Share]) -> None:
    """Keep what was shared, whole or not at all.

    Raises:
        MachineError: the disk is full, or may not be written to.
    """
    kept.save(paths.directory / FILE, {"shares": list(map(str, shares))})


def serve(
    paths: MachinePaths,
    shares: Sequence[tuple[Share, str]],
    *,
    sandbox: Sequence[str] = (),
    smbd: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
) -> None:
    """Say what the guest's next connection gets: each share with its folder's real path. Open ones stay as they are.

    Nothing is written where nothing was shared and nothing is to be.

    Raises:
        MachineError: the disk is full, or may not be written to.
    """
    if not shares and not (paths.directory / LIVE).exists():
        return
    plan = {"sandbox": list(sandbox), "smbd": list(smbd), "files": dict(files or {})}
    names = [[str(share), folder] for share, folder in shares]
    kept.write(
        paths.directory / LIVE, {**plan, "shares": [bound(share, folder) for share, folder in shares], "names": names}
    )


def served(paths: MachinePaths) -> dict[Share, str]:
    """What the guest's next connection gets, each with its folder's real path; nothing, where that cannot be read."""
    return json_file.read_or(
        paths.directory / LIVE, lambda found: {parse_share(text): str(folder) for text, folder in found["names"]}, {}
    )
