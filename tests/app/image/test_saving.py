"""Images saved of real disks, and machines made of them: the same data, another identity, nothing taken that changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pommel.app.image import base, creating, listing, saving
from pommel.app.image.places import store_of
from pommel.app.machine import clones
from pommel.app.workspace import Workspace
from pommel.errors import ImageError, StateError
from pommel.image.names import ImageName
from pommel.machine import record
from pommel.process import run

from .conftest import DISK_BYTES, MIB, disk, make_machine, same, write

ONE, TWO = ImageName("m", "1"), ImageName("m", "2")


def blobs(workspace: Workspace) -> list[Path]:
    return sorted(store_of(workspace).root.glob("blobs/sha256/*"))


def test_a_machine_of_an_image_has_the_same_data_and_another_identity(workspace: Workspace) -> None:
    paths = make_machine(workspace, settings={"memory": "1G", "mac": "52:54:00:11:22:33"})
    made = saving.save("m", ONE, workspace=workspace)
    assert len(made.image.manifest.pieces) == 4 + 1  # of 10 and 2 pieces: what is zeros is left out
    old, new = record.load(paths.record), creating.create(ONE, "n", workspace=workspace)
    same(paths, workspace.paths("n"))
    assert (new.upstream, new.settings) == ("trial", {"memory": "1G"})
    assert new.uuid != old.uuid and new.mac != old.mac and new.ssh_port != old.ssh_port and new.clone_of is None
    assert workspace.paths("n").nvram.read_bytes() == paths.nvram.read_bytes()
    assert workspace.paths("n").known_hosts.read_text() == "n ssh-ed25519 AAAA\n"
    assert workspace.paths("n").ssh_key.read_bytes() == paths.ssh_key.read_bytes()  # made in the same home
    told = json.dumps(listing.show(ONE, workspace=workspace))
    everything = b"".join(path.read_bytes() for path in blobs(workspace))
    for secret in (old.uuid, old.mac, paths.ssh_key.read_text()[60:120]):
        assert secret not in told and secret.encode() not in everything


def test_what_has_not_changed_is_stored_once(workspace: Workspace) -> None:
    paths = make_machine(workspace)
    first = saving.save("m", ONE, workspace=workspace)
    again = saving.save("m", ONE, workspace=workspace)
    assert again.replaced and again.new_bytes < 10_000
    write(paths.disk, 13 * MIB, b"\x07" * 4096)
    changed = saving.save("m", TWO, workspace=workspace)
    assert changed.new_bytes < 1.1 * MIB < 0.3 * first.new_bytes
    old, new = (listing.show(name, workspace=workspace) for name in (ONE, TWO))
    assert old["digest"] != new["digest"] and old["piece_count"] == new["piece_count"]
    freed = listing.delete(TWO, workspace=workspace)
    assert 0 < freed["freed_bytes"] < 1.2 * MIB
    listing.verify(ONE, workspace=workspace)
    listing.delete(ONE, workspace=workspace)
    assert blobs(workspace) == [] and listing.listed(workspace).images == ()


@pytest.mark.parametrize("kind", ["clone", "compressed", "raw"])
def test_disks_of_each_kind(workspace: Workspace, kind: str) -> None:
    paths = make_machine(workspace, disk_format="raw" if kind == "raw" else None)
    whole = make_machine(workspace, "whole")
    if kind == "clone":
        clones.clone("m", "c", linked=True, workspace=workspace)
        write(workspace.paths("c").disk, 5 * MIB, b"over" * 5000)
        write(whole.disk, 5 * MIB, b"over" * 5000)
        paths = workspace.paths("c")
    elif kind == "compressed":
        run(["qemu-img", "convert", "-c", "-O", "qcow2", whole.disk, paths.disk])
    else:
        run(["qemu-img", "convert", "-O", "raw", whole.disk, paths.disk])
    saving.save(paths.name, ONE, workspace=workspace)
    creating.create(ONE, "n", workspace=workspace)
    same(whole, workspace.paths("n"))


def test_a_changed_piece_is_named_and_nothing_is_made(workspace: Workspace) -> None:
    make_machine(workspace)
    made = saving.save("m", ONE, workspace=workspace)
    piece = made.image.manifest.pieces[1]
    path = store_of(workspace).blob_path(piece.blob)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    for act in (
        lambda: creating.create(ONE, "n", workspace=workspace),
        lambda: listing.verify(ONE, workspace=workspace),
    ):
        with pytest.raises(ImageError, match=f"piece at {piece.offset} of {piece.slot}.*has changed"):
            act()
    path.unlink()
    with pytest.raises(ImageError, match="is missing"):
        creating.create(ONE, "n", workspace=workspace)
    assert not workspace.paths("n").directory.exists() and list(workspace.home.machines.glob(".n.*")) == [
        workspace.paths("n").lock
    ]
    saving.save("m", ONE, workspace=workspace)  # what is damaged is packed anew
    listing.verify(ONE, workspace=workspace)


def test_what_cannot_be_saved_is_refused_by_name(workspace: Workspace) -> None:
    make_machine(workspace, encrypted="a0b1c2d3-0000-4000-8000-000000000000")
    with pytest.raises(StateError, match="m is encrypted and cannot be saved as an image"):
        saving.save("m", ONE, workspace=workspace)
    with pytest.raises(StateError, match="there is no image m:1"):
        creating.create(ONE, "n", workspace=workspace)
    assert listing.listed(workspace).images == ()


def test_a_key_travels_only_where_it_was_asked_for(workspace: Workspace) -> None:
    paths = make_machine(workspace)
    plain = saving.save("m", ONE, workspace=workspace)
    shutil.rmtree(store_of(workspace).own_key(plain.image.manifest.blob))  # as on another host
    said: list[str] = []
    creating.create(ONE, "n", workspace=workspace, report=lambda event: said.append(event.text))
    assert workspace.paths("n").ssh_key.read_bytes() != paths.ssh_key.read_bytes()
    assert any("pommel ssh --copy-id n" in text for text in said)
    kept = saving.save("m", TWO, with_key=True, workspace=workspace)
    assert kept.image.manifest.has_key and not plain.image.manifest.has_key
    creating.create(TWO, "o", workspace=workspace)
    assert workspace.paths("o").ssh_key.read_bytes() == paths.ssh_key.read_bytes()


def test_an_image_is_one_base_for_many_linked_clones(workspace: Workspace) -> None:
    make_machine(workspace)
    saving.save("m", ONE, workspace=workspace)
    saving.save("m", TWO, workspace=workspace)
    name = base.provide_base(ONE, workspace=workspace)
    assert base.provide_base(ONE, workspace=workspace) == name and record.load(workspace.paths(name).record).golden
    clones.clone(name, "a", workspace=workspace)
    clones.clone(name, "b", workspace=workspace)
    same(workspace.paths("m"), workspace.paths("a"))
    assert workspace.paths("a").disk.stat().st_blocks * 512 < MIB


def test_settings_of_a_stranger_name_no_program_and_no_nonsense(workspace: Workspace) -> None:
    said = {"memory": "1G", "boot_script": "/tmp/x.sh", "qemu": "/tmp/q", "cores": "many", "mac": "52:54:00:00:00:09"}
    assert creating.settings_of(said, lambda _: None) == {"memory": "1G"}


def test_a_disk_that_is_empty_has_a_piece(workspace: Workspace) -> None:
    paths = make_machine(workspace)
    paths.disk.unlink()
    run(["qemu-img", "create", "-q", "-f", "qcow2", paths.disk, str(DISK_BYTES)])
    (paths.directory / "disk-data.qcow2").unlink()
    disk(paths.directory / "disk-data.qcow2", 5 * MIB, seed=3)  # the last piece is a short one
    made = saving.save("m", ONE, workspace=workspace)
    assert [piece.offset for piece in made.image.manifest.pieces if piece.slot == "mac_hdd_ng.img"] == [0]
    creating.create(ONE, "n", workspace=workspace)
    same(paths, workspace.paths("n"))
