"""The full installers of macOS that all machines share. Band: shell.

    ROOT/PRODUCT/                  one installer, named by Apple's product id
      InstallAssistant.pkg         as Apple gives it
      InstallAssistant.chunklist   Apple's list of its chunks: a digest, no signature
      disk.vmdk                    a machine's disk: read-only, made of cd.header and the package
      cd.header                    see cd.py
      installer.json               version, build, sizes
    ROOT/incoming/PRODUCT/         a download; it stays after a kill (see part.py), and becomes the entry by a rename
    ROOT/incoming/.PRODUCT.lock    held by the process that fetches or removes it

The package is stored only once: QEMU combines the disk from the two files (a VMDK of flat extents). About a package's
origin it is only known that it came from Apple's hosts by HTTPS; Apple's installer checks its own signature.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pommel import json_file
from pommel.errors import RecoveryError
from pommel.locks import hold
from pommel.paths import put_in_place, write_atomic
from pommel.progress import Progress, Report, ignore
from pommel.recovery import cd, software_catalog
from pommel.recovery.files import waited
from pommel.recovery.origin import Origin
from pommel.recovery.software_catalog import (
    CATALOG_BYTES_MAX,
    DISTRIBUTION_BYTES_MAX,
    PACKAGE,
    Installer,
    Product,
    choose,
    means,
    numbers,
    parse_catalog,
    parse_distribution,
)
from pommel.trees import drop

LABEL = "POMMELPKG"
DISK, HEADER, RECORD = "disk.vmdk", "cd.header", "installer.json"
_FORMAT = 1
_ASKING = "Apple's software catalogue"
_AT_ONCE = 4
_SECTOR = 512


@dataclass(frozen=True, slots=True)
class StoredInstaller:
    """A full installer that is here: `disk` is for a machine, `size_bytes` is the package's size."""

    product: str
    version: str
    build: str
    size_bytes: int
    posted: str
    folder: Path

    @property
    def disk(self) -> Path:
        """The disk, for QEMU (vmdk, read-only)."""
        return self.folder / DISK

    @property
    def name(self) -> str:
        """The macOS's name, such as "sonoma"."""
        return software_catalog.name_of(self.version)


class Installers:
    """The installers in `root`, which may not exist yet. Any number of processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self) -> list[StoredInstaller]:
        """All complete ones, the newest macOS first."""
        found = []
        for folder in self.root.glob("*/"):
            if software_catalog.is_product(folder.name):
                with contextlib.suppress(RecoveryError):
                    found.append(_read(folder))
        return sorted(found, key=lambda each: (numbers(each.version), each.posted), reverse=True)

    def find(self, which: str) -> StoredInstaller | None:
        """The newest one for a name, a version or a build. UsageError: it is not a macOS."""
        return next((each for each in self.list() if means(which, each.version, each.build)), None)

    async def offered(self, *, origin: Origin | None = None, report: Report = ignore) -> Sequence[Installer]:
        """Apple's full installers, the newest first.

        Raises:
            RecoveryError: Apple cannot be reached, or the answer cannot be used.
        """
        from pommel.recovery.client import Client, open_http  # slow to import, and most commands need no network

        origin = origin or Origin()
        async with open_http(_AT_ONCE) as http:
            client = Client(http, origin)
            report(Progress("catalogue", _ASKING))
            raw = await client.fetch_whole(origin.catalog_url, CATALOG_BYTES_MAX, f"fetching {_ASKING}")
            products = parse_catalog(raw, origin.update_hosts, origin.update_scheme)
            gate, done = asyncio.Semaphore(_AT_ONCE), 0

            async def detailed(product: Product) -> Installer:
                nonlocal done
                async with gate:
                    what = f"fetching the distribution of {product.id}"
                    said = await client.fetch_whole(product.distribution, DISTRIBUTION_BYTES_MAX, what)
                done += 1
                report(Progress("catalogue", _ASKING, done, len(products)))
                return Installer(product, parse_distribution(said))

            found = await asyncio.gather(*map(detailed, products), return_exceptions=True)
        report(Progress("catalogue", _ASKING, finished=True))
        return _usable(found)

    async def fetch(
        self,
        which: str,
        *,
        model: str | None = None,
        origin: Origin | None = None,
        report: Report = ignore,
        connections: int = 3,
        force: bool = False,
    ) -> StoredInstaller:
        """Return the installer for `which`: one that is here, or the newest one of Apple.

        With `force` Apple is asked in any case. While another process fetches the same one, this waits for it.

        Raises:
            UsageError: `which` is not a macOS, or the model is unknown.
            RecoveryError: Apple has none, it cannot be fetched, is damaged, or there is not enough space; chunks are
            kept.
        """
        from pommel.recovery.download import download_package
        from pommel.recovery.worker import in_thread_with_report

        found = self.find(which)
        if found and not force:
            return found
        chosen = choose(await self.offered(origin=origin, report=report), which, model)
        product, incoming = chosen.product, self._incoming / chosen.product.id
        with _plainly(self.root), contextlib.ExitStack() as held:
            busy = f"{product.id}, macOS {chosen.details.version}, is already being downloaded"
            await in_thread_with_report(
                lambda relay: held.enter_context(waited(self._lock(product.id), busy, relay)), report
            )
            with contextlib.suppress(RecoveryError):
                return _read(self.root / product.id)  # another process may have fetched it while this one waited
            await download_package(product, incoming / PACKAGE, origin=origin, report=report, connections=connections)
            return self._finish(incoming, chosen)

    def remove(self, stored: StoredInstaller) -> None:
        """Remove one. The caller has checked that no machine needs it.

        Raises:
            BusyError: it is being downloaded or removed right now.
        """
        with _plainly(self.root), hold(self._lock(stored.product), busy=f"{stored.folder} is in use"):
            gone = self._incoming / f"{stored.product}.removed"
            drop(gone)  # left by a killed process
            stored.folder.rename(gone)  # from now on it does not count as an installer
            drop(gone)

    @property
    def _incoming(self) -> Path:
        return self.root / "incoming"

    def _lock(self, product: str) -> Path:
        return self._incoming / f".{product}.lock"

    def _finish(self, incoming: Path, chosen: Installer) -> StoredInstaller:
        """Write the files that a machine needs beside the package, and rename the folder to its final name."""
        product, details = chosen.product, chosen.details
        write_atomic(incoming / HEADER, cd.header(product.size_bytes, LABEL))
        write_atomic(incoming / DISK, _descriptor(product.size_bytes))
        record = asdict(product) | {"format": _FORMAT, "version": details.version, "build": details.build}
        json_file.write(incoming / RECORD, record, indent=2)
        (incoming / f".{PACKAGE}.lock").unlink(missing_ok=True)  # of the finished download: it is not part of the entry
        drop(self.root / product.id)  # remove a damaged one
        put_in_place(incoming, self.root / product.id)
        return _read(self.root / product.id)


def _usable(found: Sequence[Installer | BaseException]) -> Sequence[Installer]:
    """The readable ones. An unreadable product of Apple is left out; if all are unreadable, the error is raised."""
    good = [each for each in found if isinstance(each, Installer)]
    failures = [each for each in found if isinstance(each, BaseException)]
    unexpected = next((each for each in failures if not isinstance(each, RecoveryError)), None)
    if unexpected or (failures and not good):
        raise unexpected or failures[0]
    return sorted(good, key=lambda each: each.order, reverse=True)


def _descriptor(size_bytes: int) -> str:
    """A VMDK of two flat extents, in sectors of 512 bytes; QEMU reads zeros after the package's end."""
    words = ["# Disk DescriptorFile", "version=1", "CID=fffffffe", "parentCID=ffffffff"]
    words += ['createType="twoGbMaxExtentFlat"', f'RW {cd.HEADER_BYTES // _SECTOR} FLAT "{HEADER}" 0']
    words += [f'RW {cd.blocks(size_bytes) * cd.BLOCK // _SECTOR} FLAT "{PACKAGE}" 0']
    return "\n".join(words) + "\n"


def _read(folder: Path) -> StoredInstaller:
    """An entry with all its files; their contents are not checked. RecoveryError: it is damaged."""
    record = json_file.read_object(folder / RECORD)
    words = [record.get(key) for key in ("version", "build", "posted")]
    size = record.get("size_bytes")
    sound = record.get("format") == _FORMAT and all(isinstance(word, str) for word in words) and isinstance(size, int)
    whole = sound and all((folder / name).is_file() for name in (DISK, HEADER))
    if not whole or not (folder / PACKAGE).is_file() or (folder / PACKAGE).stat().st_size != size:
        raise RecoveryError(f"{folder} is damaged", hint=f"remove it, then fetch it again: rm -r {folder}")
    version, build, posted = map(str, words)
    with contextlib.suppress(ValueError):
        numbers(version)
        return StoredInstaller(folder.name, version, build, int(str(size)), posted, folder)
    raise RecoveryError(f"{folder} is damaged", hint=f"remove it, then fetch it again: rm -r {folder}")


@contextlib.contextmanager
def _plainly(root: Path) -> Iterator[None]:
    """Convert an error of the operating system to a message for the user."""
    try:
        yield
    except OSError as error:
        raise RecoveryError(
            f"{error.filename or root} cannot be read or written: {error.strerror or error}",
            hint="free some space or fix the permissions, then run the same command again",
        ) from error
