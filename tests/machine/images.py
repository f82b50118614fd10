"""Small disk images for tests: partition tables and boot loaders, made without any tool for disks. No tests here."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping
from pathlib import Path

from pommel.fat import make_fat
from pommel.process import run

MIB = 1 << 20
ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
APFS = "7c3457ef-0000-11aa-aa11-00306543ecac"
LINUX = "0fc63daf-8483-4772-8e79-3d69d8477de4"
OPENCORE: Mapping[str, Path | bytes] = {"EFI/OC/OpenCore.efi": b"x" * 999, "EFI/BOOT/BOOTx64.efi": b"y"}
CLOVER: Mapping[str, Path | bytes] = {"EFI/CLOVER/CLOVERX64.efi": b"x", "EFI/BOOT/BOOTx64.efi": b"y"}
OTHER: Mapping[str, Path | bytes] = {"EFI/BOOT/BOOTx64.efi": b"y", "EFI/Microsoft/a": b"z"}


def gpt(path: Path, size: int, parts: list[tuple[str, int, int]], sector: int = 512) -> Path:
    """A disk of `size` bytes with these partitions: type, first sector, last sector."""
    rows = (uuid.UUID(t).bytes_le + bytes(16) + struct.pack("<QQQ", a, b, 0) + bytes(72) for t, a, b in parts)
    header = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 1 << 16, 92, 0, 0, 1, 0, 0, 0, bytes(16), 2, 128, 128, 0)
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(446)
        file.write(bytes([0, 0, 2, 0, 0xEE, 255, 255, 255]) + struct.pack("<II", 1, 0xFFFFFFFF))
        file.seek(510)
        file.write(b"\x55\xaa")
        file.seek(sector)
        file.write(header)
        file.seek(2 * sector)
        file.write(b"".join(rows).ljust(128 * 128, b"\0"))
    return path


def with_esp(path: Path, files: Mapping[str, Path | bytes], *more: tuple[str, int, int], size: int = 64 * MIB) -> Path:
    """A disk with an EFI system partition at 1 MiB that holds `files`, and more partitions."""
    esp = path.with_name(path.name + ".esp")
    make_fat(esp, files, label="EFI")
    gpt(path, size, [(ESP, 2048, 2047 + esp.stat().st_size // 512), *more])
    with path.open("r+b") as file:
        file.seek(MIB)
        file.write(esp.read_bytes())
    esp.unlink()
    return path


def mac(path: Path, files: Mapping[str, Path | bytes] = OTHER, size: int = 64 << 30) -> Path:
    """A disk with macOS's partition on it."""
    return with_esp(path, files, (APFS, 409640, 100_000_000), size=size)


def converted(path: Path, form: str, *words: str) -> Path:
    """The same disk as another format."""
    new = path.with_suffix(f".{form}{len(words)}")
    run(["qemu-img", "convert", "-f", "raw", "-O", form, *words, path, new])
    return new
