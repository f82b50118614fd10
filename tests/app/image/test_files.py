"""Images in files: taken on another host, refused where they changed, and read by skopeo."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pommel.app.image import creating, files, listing, saving, signing
from pommel.app.image.places import store_of
from pommel.app.workspace import Workspace
from pommel.errors import ImageError, StateError
from pommel.image.names import ImageName
from pommel.process import run

from .conftest import make_machine, same

ONE = ImageName("m", "1")
Change = Callable[[str, bytes], bytes | None]


@pytest.fixture
def exported(workspace: Workspace, tmp_path: Path) -> Path:
    make_machine(workspace)
    signing.new_key(workspace)
    saving.save("m", ONE, workspace=workspace)
    files.export(ONE, tmp_path / "m.tar", workspace=workspace)
    return tmp_path / "m.tar"


def rewritten(source: Path, change: Change) -> Path:
    """The archive with each member changed, or without those that `change` makes None."""
    target = source.with_name("changed.tar")
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            file = old.extractfile(member)
            if file is not None and (data := change(member.name, file.read())) is not None:
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))
    return target


def trusted(workspace: Workspace, other: Workspace, folder: Path) -> None:
    (folder / "key.pub").write_text(signing.own_key(workspace).text)
    signing.trust(other, folder / "key.pub")


def test_another_host_takes_it_once_it_trusts_the_key(
    workspace: Workspace, other: Workspace, exported: Path, tmp_path: Path
) -> None:
    with pytest.raises(ImageError, match=r"signed by the key .* does not trust"):
        files.take(exported, workspace=other)
    assert listing.listed(other).images == ()
    trusted(workspace, other, tmp_path)
    made = files.take(exported, workspace=other)
    assert made.entry.name == "m:1" and made.entry.signer == signing.own_key(workspace).id
    creating.create(ONE, "n", workspace=other)
    same(workspace.paths("m"), other.paths("n"))
    assert files.take(exported, workspace=other).manifest.blob == made.manifest.blob  # once more is no harm
    files.export(ONE, tmp_path / "again.tar", workspace=other)  # with the signature of its maker
    assert listing.verify(ONE, workspace=other)["signer"] == made.entry.signer


def test_an_image_without_a_signature_needs_a_word(workspace: Workspace, other: Workspace, tmp_path: Path) -> None:
    make_machine(workspace)
    saving.save("m", ONE, workspace=workspace)
    files.export(ONE, tmp_path / "m.tar", workspace=workspace)
    with pytest.raises(ImageError, match="is not signed") as refused:
        files.take(tmp_path / "m.tar", workspace=other)
    assert refused.value.hint and "--unsigned" in refused.value.hint
    assert files.take(tmp_path / "m.tar", ImageName("x"), unsigned=True, workspace=other).entry.signer == ""
    with pytest.raises(StateError, match="already exists"):
        files.export(ONE, tmp_path / "m.tar", workspace=workspace)


def test_another_image_is_not_replaced_without_a_word(workspace: Workspace, exported: Path) -> None:
    (workspace.paths("m").nvram).write_bytes(b"other")
    saving.save("m", ONE, workspace=workspace)
    with pytest.raises(StateError, match="another image called m:1"):
        files.take(exported, workspace=workspace)
    files.take(exported, force=True, workspace=workspace)


def test_what_was_changed_is_refused(workspace: Workspace, other: Workspace, exported: Path, tmp_path: Path) -> None:
    trusted(workspace, other, tmp_path)
    digest = listing.show(ONE, workspace=workspace)["digest"].removeprefix("sha256:")
    data = store_of(workspace).root.joinpath("blobs/sha256", digest).read_bytes()
    largest = max(json.loads(data)["layers"], key=lambda each: int(each["size"]))["digest"].removeprefix("sha256:")

    def flipped(name: str, data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1]) if name.endswith(largest) else data

    def missing(name: str, data: bytes) -> bytes | None:
        return None if name.endswith(largest) else data

    def no_index(name: str, data: bytes) -> bytes | None:
        return None if name == "index.json" else data

    def elsewhere(name: str, data: bytes) -> bytes:
        return data.replace(b'"m:1"', b'"../../m"') if name == "index.json" else data

    for change, said in (
        (flipped, f"{largest} in it is not what its name says"),
        (missing, f"{largest} of m:1 is missing"),
        (no_index, "has no index.json"),
        (elsewhere, "is called '../../m'"),
    ):
        with pytest.raises(ImageError, match=said):
            files.take(rewritten(exported, change), workspace=other)
        assert listing.listed(other).images == ()
    exported.write_bytes(exported.read_bytes()[:-200_000])
    with pytest.raises(ImageError, match=r"not an image that was exported|missing"):
        files.take(exported, workspace=other)


def test_skopeo_reads_the_file_and_the_store(workspace: Workspace, exported: Path, tmp_path: Path) -> None:
    """skopeo(1): an archive of an OCI layout, and the layout itself."""
    for source in (f"oci-archive:{exported}:m:1", f"oci:{store_of(workspace).root}:m:1"):
        told = json.loads(run(["skopeo", "inspect", "--raw", source]).text)
        assert told["artifactType"] == "application/vnd.pommel.machine.v1"
    run(["skopeo", "copy", "--quiet", f"oci-archive:{exported}:m:1", f"oci:{tmp_path / 'copy'}:m:1"])
    copied = json.loads((tmp_path / "copy" / "index.json").read_text())["manifests"][0]["digest"]
    assert copied == listing.show(ONE, workspace=workspace)["digest"]


def test_minisign_checks_the_signature(workspace: Workspace, exported: Path, tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(signing.own_key(workspace).text)
    found = store_of(workspace).must_find(ONE).manifest
    (tmp_path / "m.minisig").write_bytes(signing.kept(store_of(workspace), found) or b"")
    words = ["minisign", "-V", "-p", tmp_path / "key.pub", "-m", store_of(workspace).blob_path(found)]
    said = run([*words, "-x", tmp_path / "m.minisig"]).text
    assert "Signature and comment signature verified" in said and f"{found.digest} m:1" in said


def test_a_key_of_minisigns_signs(workspace: Workspace, tmp_path: Path) -> None:
    run(["minisign", "-G", "-W", "-p", tmp_path / "a.pub", "-s", tmp_path / "a.key"])
    made = signing.new_key(workspace, tmp_path / "a.key")
    assert made.text.splitlines()[1] == (tmp_path / "a.pub").read_text().splitlines()[1]
    make_machine(workspace)
    saving.save("m", ONE, workspace=workspace)
    assert listing.verify(ONE, workspace=workspace)["signer"] == made.id
