"""shares.json: the folders that a command has shared; they are kept over restarts. Band: shell.

It is beside pommel.toml, which Pommel never writes. And shared.json: the shares for the guest's next connection, which
`share_end` reads. Both belong to this machine only: a clone gets neither.
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
    """The folders that a command has shared with the machine, in order; empty if there is no file.

    Raises:
        MachineError: the file cannot be used.
    """
    hint = f"remove it, and share the folders with {paths.name} anew"
    return kept.load(paths.directory / FILE, lambda found: tuple(map(parse_share, found["shares"])), (), hint=hint)


def save(paths: MachinePaths, shares: Sequence[Share]) -> None:
    """Store the shares, completely or not at all.

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
    """Write the shares for the guest's next connection, each with its folder's real path. Open ones do not change.

    If there were no shares and are none, no file is written.

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
    """The shares for the guest's next connection, each with its real path; empty if the file cannot be read."""
    return json_file.read_or(
        paths.directory / LIVE, lambda found: {parse_share(text): str(folder) for text, folder in found["names"]}, {}
    )
