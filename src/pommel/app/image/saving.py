"""Save a stopped machine as an image, without its identity. Band: app.

The image gets its name last, so it is complete or does not exist. Pieces that were packed before a kill stay, and are
not packed again.
"""

from __future__ import annotations

import datetime
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pommel import __version__
from pommel.app.disk.restoring import TAKEN
from pommel.app.image.places import OpenedImage, plainly, store_of
from pommel.app.image.signing import sign_here
from pommel.app.machine import clones, identities
from pommel.app.workspace import OSX_KVM, TRIAL, Workspace
from pommel.errors import BuildError, ImageError, StateError
from pommel.image import manifest as manifests
from pommel.image import packing
from pommel.image.layout import ManifestEntry
from pommel.image.manifest import Disk, ImagedMachine, Piece, SmallFile
from pommel.image.names import ImageName
from pommel.image.pieces import Stretch, piece_bytes
from pommel.image.store import ImageStore
from pommel.machine import copying, disk, extents, own_disks, permission, record, smbios, varstore
from pommel.machine.disk_contents import facts_of
from pommel.machine.events import note_event
from pommel.machine.folder import OWN_BOOT_DISK, OWN_FIRMWARE
from pommel.machine.permission import IMAGED, working_on
from pommel.machine.record import MachineRecord
from pommel.paths import MachinePaths, write_atomic
from pommel.progress import Report, ignore, note, warn

_KEY_FILES = ("ssh/id_ed25519", "ssh/id_ed25519.pub")
_NOBODY = "00000000-0000-4000-8000-000000000000"
_NO_MAC = "52:54:00:00:00:00"


@dataclass(frozen=True, slots=True)
class SavedImage:
    """An image that was saved. `new_bytes`: the growth of the store; `replaced`: another image had the name before."""

    image: OpenedImage
    new_bytes: int
    replaced: bool

    def as_dict(self) -> dict[str, Any]:
        """The image as one JSON object."""
        return {**self.image.as_dict(), "new_bytes": self.new_bytes, "replaced": self.replaced}


def save(
    name: str,
    image: ImageName | None = None,
    *,
    with_key: bool = False,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> SavedImage:
    """Save the stopped machine `name` as `image` (default: NAME:latest). It replaces an image of that name.

    `with_key` puts the guest's SSH key into the image: then everybody who has the image can log in to each machine that
    is made from it. Without it, the key stays in this home, for machines that are made here.

    Raises:
        StateError: there is no such machine, or it runs, sleeps or is encrypted; or its numbers cannot be removed.
        BusyError: another command works on it, or saves the same image.
        ImageError, BuildError: a disk cannot be read; or there is too little room.
    """
    workspace = workspace or Workspace.current()
    paths, called = workspace.made(name), image or ImageName(name)
    workspace.mark()
    store = store_of(workspace)
    with plainly(store), store.alone_at(str(called)), store.in_use(), working_on(paths, IMAGED, report=report):
        kept, before = record.load(paths.record), _stored_bytes(store)
        pieces, disks = _disks(store, paths, kept, report)
        files, model = _files(workspace, store, paths, kept, with_key, report)
        machine = _machine(workspace, kept, disks, model)
        made = _commit(store, machine, pieces, files, called, source=name)
        _keep_key(store, paths, made)
        sign_here(store, made, report=report)
        replaced = store.name(made.entry)
        note_event(paths, "saved as an image", str(called))
    if replaced is not None and replaced.manifest != made.entry.manifest:
        store.prune()
    _report_outcome(made, kept, with_key, report)
    return SavedImage(made, max(0, _stored_bytes(store) - before), replaced is not None)


def dry_run(name: str, image: ImageName | None = None, *, workspace: Workspace) -> dict[str, Any]:
    """What `save` would do, without doing it. Raises the errors of `save` that are known beforehand."""
    paths, called = workspace.made(name), image or ImageName(name)
    permission.must_allow(paths, IMAGED)
    store = store_of(workspace)
    return {
        "name": name,
        "machine_image": str(called),
        "dry_run": True,
        "replaced": store.find(str(called)) is not None,
        "disk_files": [path.name for path in own_disks.all_disks(paths)],
        "bytes": sum(disk.info(path, _form(paths, path)).actual_bytes for path in own_disks.all_disks(paths)),
    }


def _disks(
    store: ImageStore, paths: MachinePaths, kept: MachineRecord, report: Report
) -> tuple[list[Piece], tuple[Disk, ...]]:
    known = packing.known_pieces(_manifests(store))
    pieces: list[Piece] = []
    disks: list[Disk] = []
    for path in own_disks.all_disks(paths):
        if not path.exists():
            raise BuildError(f"the disk {path} does not exist", hint="mount the drive that it is on, or put it back")
        form = (kept.disk_format or "qcow2") if path == paths.disk else "qcow2"
        with _readable(store, path, form, report) as found:
            cut = Disk(path.name, found.virtual_bytes, piece_bytes(found.virtual_bytes))
            stretches = [Stretch(each.start, each.length, each.file, each.at) for each in found.parts]
            pieces += packing.pack_disk(store, cut, stretches, found.files, known, report=report)
        disks.append(cut)
    return pieces, tuple(disks)


@contextmanager
def _readable(store: ImageStore, path: Path, form: str, report: Report) -> Iterator[extents.Extents]:
    """The places of a disk's data in its files.

    A disk with compressed clusters is copied first, without compression.
    """
    found = extents.extents(path, form)
    if found is not None:
        yield found
        return
    note(report, f"{path.name} has data that only QEMU can read, so it is copied first")
    with tempfile.TemporaryDirectory(prefix=".copy.", dir=store.root / "in-use") as folder:
        aside = Path(folder) / path.name
        copying.copy_whole(path, aside, form=form, report=report)
        found = extents.extents(aside, "qcow2")
        if found is None:
            raise ImageError(f"the data of {path} cannot be read")
        yield found


def _files(
    workspace: Workspace, store: ImageStore, paths: MachinePaths, kept: MachineRecord, with_key: bool, report: Report
) -> tuple[list[SmallFile], str | None]:
    """The small files of the image, and the Mac model for its machines."""
    found: dict[str, bytes] = {}
    model = kept.model
    if paths.nvram.is_file():
        found[paths.nvram.name] = _nameless(paths.nvram.read_bytes(), kept)
    if (own := paths.directory / OWN_FIRMWARE).is_file():
        found[OWN_FIRMWARE] = own.read_bytes()
    if (boot := _boot_disk(workspace, paths, kept)) is not None:
        model = kept.model or clones.apple_model(workspace, kept)
        found[OWN_BOOT_DISK] = _nameless_boot_disk(store, boot, model, kept, report)
    names = ("ssh/known_hosts", *(_KEY_FILES if with_key else ()))
    found |= {each: (paths.directory / each).read_bytes() for each in names if (paths.directory / each).is_file()}
    for each, data in found.items():
        if len(data) > manifests.FILE_MAX:
            raise StateError(f"{each} of {paths.name} is larger than {manifests.FILE_MAX >> 20} MiB")
    return [packing.pack_file(store, each, data) for each, data in sorted(found.items())], model


def _boot_disk(workspace: Workspace, paths: MachinePaths, kept: MachineRecord) -> Path | None:
    """The machine's own boot disk, or the one in its settings; None: it has neither."""
    if (own := paths.directory / OWN_BOOT_DISK).is_file():
        return own
    said = workspace.spec(paths.name).boot_disk if kept.upstream != TRIAL else None
    return path if said is not None and (path := workspace.beside(paths.name, said)).is_file() else None


def _nameless(nvram: bytes, kept: MachineRecord) -> bytes:
    """The NVRAM without the Mac's numbers. If it cannot be parsed, the bytes of the known numbers are set to zero."""
    values = [text.encode() for text in (kept.serial, kept.mlb) if text]
    values += [bytes.fromhex(kept.rom)] if kept.rom else []
    try:
        return varstore.without_numbers(nvram, values)
    except ValueError:
        for value in values:
            nvram = nvram.replace(value, bytes(len(value)))
        return nvram


def _nameless_boot_disk(store: ImageStore, boot: Path, model: str, kept: MachineRecord, report: Report) -> bytes:
    """The boot disk with placeholder numbers, because each machine of the image gets its own.

    Raises:
        StateError: no numbers can be made for its model, or it is not an OpenCore disk.
    """
    try:
        nobody = smbios.new_apple_identity(model, bytes(smbios.RANDOM_BYTES), uuid=_NOBODY, mac=_NO_MAC)
    except ValueError as unknown:
        raise StateError(
            f"the serial numbers on {boot.name} cannot be taken out: {unknown}",
            hint=f"give the machine another model first: pommel identity {kept.name} --new --model iMac20,1",
        ) from unknown
    made = replace(kept, uuid=_NOBODY, mac=_NO_MAC, model=nobody.model, serial=nobody.serial, mlb=nobody.mlb)
    with tempfile.TemporaryDirectory(prefix=".boot.", dir=store.root / "in-use") as folder:
        aside = Path(folder) / OWN_BOOT_DISK
        if facts_of(str(boot)).format == "qcow2":
            copying.copy_whole(boot, aside, form="qcow2", report=report)
        else:
            shutil.copyfile(boot, aside)
        identities.write_on(aside, replace(made, rom=nobody.rom), report=report)
        return aside.read_bytes()


def _machine(workspace: Workspace, kept: MachineRecord, disks: tuple[Disk, ...], model: str | None) -> ImagedMachine:
    said = {**(kept.settings or {}), **workspace.file_of(kept.name).machines.get(kept.name, {})}
    plain: dict[str, Any] = json.loads(json.dumps(said, default=str))
    return ImagedMachine(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        pommel=__version__,
        upstream=kept.upstream if kept.upstream in (TRIAL, OSX_KVM) else "own",
        disks=disks,
        macos=kept.macos,
        model=model,
        base=kept.base,
        installed=kept.installed,
        settings={key: plain[key] for key in sorted(plain) if key in TAKEN and key != "mac"},
    )


def _commit(
    store: ImageStore,
    machine: ImagedMachine,
    pieces: list[Piece],
    files: list[SmallFile],
    called: ImageName,
    *,
    source: str,
) -> OpenedImage:
    """Write the configuration and the manifest, and make all blobs that they name permanent."""
    told = manifests.render_config(machine)
    config = manifests.blob_of(told)
    data = manifests.render(config, pieces, files, created=machine.created, pommel=machine.pommel)
    if len(data) > manifests.MANIFEST_MAX:
        raise ImageError(f"{source} has too many disks for one image: its list of pieces has {len(data)} bytes")
    found = manifests.parse(data)
    manifests.check(found, machine)
    store.add(told, config)
    store.add(data, found.blob)
    store.settle([found.blob, *found.blobs])
    return OpenedImage(
        ManifestEntry(str(called), found.blob, f"machine {source}", since=machine.created), found, machine
    )


def _keep_key(store: ImageStore, paths: MachinePaths, made: OpenedImage) -> None:
    """Store the guest's SSH key in this home, for machines that are made here."""
    if made.manifest.has_key or not paths.ssh_key.is_file():
        return
    folder = store.own_key(made.manifest.blob)
    for each in _KEY_FILES:
        if (source := paths.directory / each).is_file():
            write_atomic(folder / source.name, source.read_bytes())


def _report_outcome(made: OpenedImage, kept: MachineRecord, with_key: bool, report: Report) -> None:
    if with_key and made.manifest.has_key:
        warn(report, f"{made.entry.name} contains the SSH key for its guest: everybody who has the image can log in")
    if made.machine.upstream == "own":
        note(report, f"its upstream is a folder of your own ({kept.upstream}), which is not in the image")


def _manifests(store: ImageStore) -> list[manifests.Manifest]:
    found = []
    for entry in store.entries():
        with suppress(ImageError):  # `list` reports a damaged image; here it only means fewer known pieces
            found += [store.manifest(entry)] if not entry.is_signature else []
    return found


def _stored_bytes(store: ImageStore) -> int:
    return sum(path.stat().st_size for path in (store.root / "blobs" / "sha256").glob("*") if path.is_file())


def _form(paths: MachinePaths, path: Path) -> str:
    return (record.load(paths.record).disk_format or "qcow2") if path == paths.disk else "qcow2"
