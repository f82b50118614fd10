"""One recovery image in the store: its folder, and the record of its files. Band: shell.

    sha256-HEX/             named after the .dmg, or after the raw disk when there never was a .dmg
      BaseSystem.img        the raw disk
      BaseSystem.dmg        what it was made of, kept so that it can be verified
      BaseSystem.chunklist  Apple's signed list of it
      image.json            which macOS, from where, sizes and SHA-256 of the others

The record is written before the folder gets its name, so a folder with a name is whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel.errors import RecoveryError
from pommel.paths import write_atomic

RECORD = "image.json"
IMAGE, DMG, CHUNKLIST = "BaseSystem.img", "BaseSystem.dmg", "BaseSystem.chunklist"
PREFIX = "sha256-"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Stored:
    """An image in the store. `version` is its ProductVersion; `source` is "apple" when Apple's signature proves it.

    `product` is Apple's id ("062-58679"), `size_bytes` what the folder takes on disk.
    """

    key: str
    folder: Path
    image: Path
    dmg: Path | None
    chunklist: Path | None
    version: str
    product: str | None
    source: str
    size_bytes: int

    @property
    def number(self) -> tuple[int, ...]:
        """The version as numbers, for comparison."""
        return tuple(int(word) for word in self.version.split("."))


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is known of an image besides its bytes. `asked` names the question to Apple that it was the answer to.

    `assumed` is the version to take it for if it says none itself.
    """

    source: str
    product: str | None = None
    asked: str | None = None
    assumed: str | None = None


def write(
    folder: Path, version: str, tool: str | None, facts: ImageFacts, hashes: dict[str, str], created: str
) -> None:
    """Write the record of what lies in `folder`; `hashes` has the SHA-256 of each file, `created` is ISO 8601."""
    record = {
        "format": _FORMAT,
        "version": version,
        "product": facts.product,
        "asked": facts.asked,
        "source": facts.source,
        "tool": tool,
        "created": created,
        "files": {name: {"size": (folder / name).stat().st_size, "sha256": hashes[name]} for name in hashes},
    }
    write_atomic(folder / RECORD, json.dumps(record, indent=2) + "\n")


def read(folder: Path) -> Stored:
    """Read an entry and look whether its files are there; not whether they are unchanged.

    Raises:
        RecoveryError: it is damaged.
    """
    record = record_of(folder)
    files = record["files"]
    for name, of in files.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size != of["size"]:
            raise _damaged(folder, f"{name} " + ("is missing" if size is None else f"has {size} bytes"))
    return Stored(
        key=folder.name,
        folder=folder,
        image=folder / IMAGE,
        dmg=folder / DMG if DMG in files else None,
        chunklist=folder / CHUNKLIST if CHUNKLIST in files else None,
        version=record["version"],
        product=record["product"],
        source=record["source"],
        size_bytes=sum(path.stat().st_blocks * 512 for path in folder.iterdir()),
    )


def record_of(folder: Path) -> dict[str, Any]:
    """The record of an entry, checked to have what is needed.

    Raises:
        RecoveryError: there is none, or none that can be used.
    """
    try:
        record = json.loads((folder / RECORD).read_bytes())
        if record["format"] != _FORMAT:
            raise _damaged(folder, f"{RECORD} is of another version of pommel")
        sound = (
            isinstance(record["version"], str)
            and record["version"].replace(".", "").isascii()
            and all(word.isdigit() for word in record["version"].split("."))
            and record["source"] in ("apple", "offline")
            and isinstance(record["product"], str | None)
            and IMAGE in record["files"]
            and set(record["files"]) <= {IMAGE, DMG, CHUNKLIST}
            and all(isinstance(of["size"], int) and isinstance(of["sha256"], str) for of in record["files"].values())
        )
    except FileNotFoundError:
        raise _damaged(folder, f"{RECORD} is missing") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise _damaged(folder, f"{RECORD} cannot be read ({type(error).__name__})") from None
    if not sound:
        raise _damaged(folder, f"{RECORD} does not say what is needed")
    return dict(record)


def _damaged(folder: Path, why: str) -> RecoveryError:
    return RecoveryError(f"{folder} is damaged: {why}", hint=f"remove it, then fetch it again: rm -r {folder}")
