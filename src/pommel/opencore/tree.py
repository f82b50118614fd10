"""Lists the files of an EFI folder, and follows its symbolic links. Band: shell.

FAT has no links, so what a link leads to is packed in its place. A link may lead anywhere in the upstream's folder,
and nowhere else: what lies outside is the user's own and was not offered.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from pommel.errors import UpstreamError

_ENTRIES_MAX = 50_000  # folders that link to one another can name a few files without end


def read(efi: Path, root: Path) -> dict[str, Path]:
    """Every file of the folder by its path below it; a link leads nowhere outside `root`, or it is refused.

    Raises:
        UpstreamError: a link leads outside, to nothing or in a circle; or what is there is no file and no folder.
    """
    walk = _Walk(root.resolve())
    if efi.is_dir():
        walk.enter(efi, "", ())
    return walk.found


def inside(path: Path, root: Path) -> Path:
    """The real path of `path`.

    Raises:
        UpstreamError: it is a link that leads outside `root` or to nothing, or it goes through one that does.
    """
    try:
        real = Path(os.path.realpath(path, strict=True))
    except OSError as failure:
        if not path.is_symlink():
            raise UpstreamError(f"{path} cannot be read: {failure.strerror}") from failure
        why = f"leads to {path.readlink()}, which cannot be read: {failure.strerror}"
        raise UpstreamError(f"{path} is a symbolic link that {why}", hint="put the file itself there") from failure
    if not real.is_relative_to(root.resolve()):
        raise UpstreamError(
            f"{path} is a symbolic link that leads outside {root}, to {real}", hint="put the file itself there"
        )
    return real


@dataclass(slots=True)
class _Walk:
    root: Path
    found: dict[str, Path] = field(default_factory=dict)
    seen: int = 0

    def enter(self, folder: Path, name: str, around: tuple[Path, ...]) -> None:
        """Take up the files of `folder`, which is called `name`; `around` are the folders that lead to it."""
        real = inside(folder, self.root)
        if real in around:
            raise UpstreamError(f"{folder} is a symbolic link that leads back to {real}, which contains it")
        try:
            entries = sorted(folder.iterdir())
        except OSError as failure:
            raise UpstreamError(f"{folder} cannot be read: {failure.strerror}") from failure
        for path in entries:
            self._take(path, f"{name}{path.name}", (*around, real))

    def _take(self, path: Path, name: str, around: tuple[Path, ...]) -> None:
        self.seen += 1
        if self.seen > _ENTRIES_MAX:
            raise UpstreamError(f"{path} is one of more than {_ENTRIES_MAX} files: links lead back to folders")
        inside(path, self.root)
        if path.is_dir():
            self.enter(path, f"{name}/", around)
        elif path.is_file():
            self.found[name] = path
        else:
            raise UpstreamError(f"{path} is not a file or a folder", hint="put the file itself there")
