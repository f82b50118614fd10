"""Can the upstream's own boot disk be used? Band: shell. Asked at every start, so it leans on nothing."""

from __future__ import annotations

from pathlib import Path

_QCOW2 = b"QFI\xfb"  # docs/interop/qcow2.txt
_LFS = b"version https://git-lfs"


def needs_build(boot_disk: Path) -> str | None:
    """The reason why the upstream's own boot disk cannot be used; None if it is a qcow2."""
    try:
        with boot_disk.open("rb") as file:
            start = file.read(len(_LFS))
    except FileNotFoundError:
        return f"the upstream has no {boot_disk.name}"
    except OSError as failure:
        return f"{boot_disk} cannot be read: {failure.strerror}"
    if start.startswith(_QCOW2):
        return None
    if not start:
        return f"{boot_disk.name} is empty"
    if start == _LFS:
        return f"{boot_disk.name} is only a git-lfs pointer, not the file itself"
    return f"{boot_disk.name} is not a qcow2 image"
