"""Images at a real registry: only what changed is sent, what was cut off goes on, and nothing counts that is not whole."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver import Shell
from pommel.app.image import creating, listing, saving, signing
from pommel.app.image.places import store_of
from pommel.app.image.registries import RegistryAccess, pull, push
from pommel.app.workspace import Workspace
from pommel.errors import ConfigError, ImageError, StateError, UsageError
from pommel.image.names import ImageName, Remote, parse_remote
from pommel.paths import Home
from pommel.process import run
from waits import wait_until

from .conftest import MIB, make_machine, same, write
from .registries import Line, Served, registry

ONE, TWO = ImageName("m", "1"), ImageName("m", "2")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with registry(tmp_path_factory.mktemp("registry")) as made:
        yield made


def at(where: Served | Line, name: str, tag: str = "1") -> Remote:
    return parse_remote(f"oci://127.0.0.1:{where.port}/tests/{name}:{tag}")


@pytest.fixture
def saved(workspace: Workspace) -> Workspace:
    make_machine(workspace)
    saving.save("m", ONE, workspace=workspace)
    return workspace


def test_only_what_changed_travels(saved: Workspace, other: Workspace, served: Served) -> None:
    plan = push(ONE, at(served, "a"), dry_run=True, workspace=saved)
    first = push(ONE, at(served, "a"), workspace=saved)
    assert plan["sent_bytes"] == first["sent_bytes"] > 4 * MIB
    assert push(ONE, at(served, "a"), workspace=saved)["sent_blobs"] == 0
    write(saved.paths("m").disk, 13 * MIB, b"one file" * 1000)
    saving.save("m", TWO, workspace=saved)
    again = push(TWO, at(served, "a", "2"), workspace=saved)
    assert 0 < again["sent_bytes"] < 0.3 * first["sent_bytes"]
    assert again["sent_blobs"] <= 2  # a piece, and the configuration, unless both were saved in one second
    _, came = pull(at(served, "a"), unsigned=True, workspace=other)
    made, more = pull(at(served, "a", "2"), unsigned=True, workspace=other)
    assert more == again["sent_bytes"] < 0.3 * came and made.entry.name == "a:2"
    creating.create(ImageName("a", "2"), "n", workspace=other)
    same(saved.paths("m"), other.paths("n"))
    assert pull(at(served, "a"), unsigned=True, workspace=other)[1] == 0


def test_a_signature_travels_and_decides(saved: Workspace, other: Workspace, served: Served, tmp_path: Path) -> None:
    push(ONE, at(served, "unsigned"), workspace=saved)
    with pytest.raises(ImageError, match="is not signed"):
        pull(at(served, "unsigned"), workspace=other)
    signing.new_key(saved)
    saving.save("m", ONE, workspace=saved)
    push(ONE, at(served, "signed"), workspace=saved)
    with pytest.raises(ImageError, match="does not trust"):
        pull(at(served, "signed"), workspace=other)
    assert listing.listed(other).images == () and not list(store_of(other).root.glob("blobs/sha256/*"))
    (tmp_path / "k.pub").write_text(signing.own_key(saved).text)
    key = signing.trust(other, tmp_path / "k.pub")
    made, _ = pull(at(served, "signed"), workspace=other)
    assert made.entry.signer == key.id and listing.verify(ImageName("signed", "1"), workspace=other)["signer"] == key.id
    push(ImageName("signed", "1"), at(served, "again"), workspace=other)  # with the signature of its maker
    assert pull(at(served, "again"), workspace=saved)[0].entry.signer == key.id


def test_a_piece_that_was_changed_at_the_registry_is_named(saved: Workspace, other: Workspace, served: Served) -> None:
    push(ONE, at(served, "b"), workspace=saved)
    piece = store_of(saved).manifest(store_of(saved).must_find(ONE)).pieces[0]
    path = served.blob(piece.blob.digest)
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    try:
        with pytest.raises(ImageError, match=f"sends as {piece.blob.digest} is not what its name says"):
            pull(at(served, "b"), unsigned=True, workspace=other)
    finally:
        path.write_bytes(good)
    assert listing.listed(other).images == ()
    assert pull(at(served, "b"), unsigned=True, workspace=other)[1] < sum(
        blob.size for blob in store_of(saved).manifest(store_of(saved).must_find(ONE)).blobs
    )  # what was whole had stayed


def test_a_line_that_breaks_goes_on(saved: Workspace, other: Workspace, served: Served) -> None:
    with Line(served.port, breaks_after=700_000).running() as line:
        push(ONE, at(line, "c"), workspace=saved)
        pull(at(line, "c"), unsigned=True, workspace=other)
        total = sum(blob.size for blob in store_of(saved).manifest(store_of(saved).must_find(ONE)).blobs)
        assert line.broken >= 4 and line.carried < 1.2 * total  # no piece of 1 MiB came twice
    listing.verify(ImageName("c", "1"), workspace=other)


def test_a_pull_that_is_killed_leaves_nothing_half_and_goes_on(saved: Workspace, shell: Shell, served: Served) -> None:
    push(ONE, at(served, "d"), workspace=saved)
    with Line(served.port, breaks_after=1_500_000, stalls=True).running() as line:
        child = shell.popen("image", "pull", str(at(line, "d")), "--unsigned")
        wait_until(lambda: line.broken > 0, 60)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert shell.json("image", "list")["machine_images"] == []
    here = {path.name for path in (shell.home / "images/blobs/sha256").iterdir() if not path.name.startswith(".")}
    assert here
    came = shell.json("image", "pull", str(at(served, "d")), "--unsigned")["fetched_bytes"]
    assert came < store_of(saved).manifest(store_of(saved).must_find(ONE)).packed_bytes - 1_000_000
    assert shell.json("image", "verify", "d:1")["ok"]
    shell.run("image", "delete", "d:1", "--yes")
    assert list((shell.home / "images/blobs/sha256").iterdir()) == []


def test_two_that_fetch_the_same_come_one_after_the_other(saved: Workspace, shell: Shell, served: Served) -> None:
    push(ONE, at(served, "e"), workspace=saved)
    both = [
        shell.popen("image", "pull", str(at(served, "e")), "--unsigned", "--json", stdout=-1, stderr=-1) for _ in "ab"
    ]
    came = [json.loads(shell.ended(each).stdout.splitlines()[-1])["fetched_bytes"] for each in both]
    assert sorted(came)[0] == 0 < sorted(came)[1]


def test_skopeo_takes_images_both_ways(saved: Workspace, other: Workspace, served: Served, tmp_path: Path) -> None:
    signing.new_key(saved)
    saving.save("m", ONE, workspace=saved)
    push(ONE, at(served, "f"), workspace=saved)
    digest = listing.show(ONE, workspace=saved)["digest"].removeprefix("sha256:")
    for tag in ("1", f"sha256-{digest}.minisig"):  # as a mirror does
        source, folder = f"docker://{served.host}/tests/f:{tag}", f"dir:{tmp_path / tag}"
        run(["skopeo", "copy", "--quiet", "--src-tls-verify=false", source, folder])
        run(["skopeo", "copy", "--quiet", "--dest-tls-verify=false", folder, f"docker://{served.host}/tests/g:{tag}"])
    (tmp_path / "k.pub").write_text(signing.own_key(saved).text)
    signing.trust(other, tmp_path / "k.pub")
    made, _ = pull(at(served, "g"), workspace=other)
    assert made.manifest.blob.hex == digest and made.entry.signer
    listing.verify(ImageName("g", "1"), workspace=other)


def test_a_registry_that_wants_a_login(saved: Workspace, tmp_path: Path) -> None:
    def world(**env: str) -> Workspace:
        return Workspace(saved.home, saved.cwd, {**saved.env, "HOME": str(tmp_path), **env})

    with registry(tmp_path / "r", login=True) as served:
        with pytest.raises(ImageError, match="wants a login") as refused:
            push(ONE, at(served, "m"), workspace=world())
        assert refused.value.hint and "skopeo login" in refused.value.hint
        with pytest.raises(ConfigError, match="needed together"):
            push(ONE, at(served, "m"), workspace=world(POMMEL_REGISTRY_USER="user"))
        wrong = world(POMMEL_REGISTRY_USER="user", POMMEL_REGISTRY_PASSWORD="Wr0ng")
        with pytest.raises(ImageError, match="refuses the login of user") as refused:
            push(ONE, at(served, "m"), workspace=wrong)
        assert "Wr0ng" not in str(refused.value) + str(refused.value.hint)
        push(ONE, at(served, "m"), workspace=world(POMMEL_REGISTRY_USER="user", POMMEL_REGISTRY_PASSWORD="secret"))
        words = ["skopeo", "login", "--tls-verify=false", "--authfile", tmp_path / "auth.json", "-u", "user"]
        run([*words, "--password-stdin", served.host], input=b"secret")
        assert (
            push(ONE, at(served, "m"), workspace=world(REGISTRY_AUTH_FILE=str(tmp_path / "auth.json")))["sent_blobs"]
            == 0
        )
        (tmp_path / ".docker").mkdir()
        packed = base64.b64encode(b"user:secret").decode()
        (tmp_path / ".docker/config.json").write_text(json.dumps({"auths": {served.host: {"auth": packed}}}))
        assert push(ONE, at(served, "m"), workspace=world())["sent_blobs"] == 0


def test_a_registry_with_a_certificate_of_its_own(saved: Workspace, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    run([*words, "-keyout", key, "-out", cert, "-subj", "/CN=here", "-addext", "subjectAltName=IP:127.0.0.1"])
    home = tmp_path / "home"
    world = Workspace(saved.home, saved.cwd, {**saved.env, "HOME": str(home)})
    with registry(tmp_path / "r", cert=(cert, key)) as served:
        with pytest.raises(ImageError):
            push(ONE, at(served, "m"), workspace=world)  # which is spoken to without TLS
        with pytest.raises(ImageError, match="cannot be trusted"):
            push(ONE, at(served, "m"), way=RegistryAccess(ca=other_cert(tmp_path)), workspace=world)
        push(ONE, at(served, "m"), way=RegistryAccess(ca=cert), workspace=world)


def other_cert(folder: Path) -> Path:
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    run([*words, "-keyout", folder / "other.key", "-out", folder / "other.pem", "-subj", "/CN=there"])
    return folder / "other.pem"


def test_a_mac_goes_to_a_public_registry_only_with_a_word(workspace: Workspace, served: Served) -> None:
    make_machine(workspace, upstream="osx-kvm", macos="14")
    saving.save("m", ONE, workspace=workspace)
    public = parse_remote("oci://8.8.8.8/m:1")
    with pytest.raises(UsageError, match="Apple's licence does not allow") as refused:
        push(ONE, public, dry_run=True, workspace=workspace)
    assert refused.value.hint and "--may-distribute" in refused.value.hint
    behind = Workspace(workspace.home, workspace.cwd, {**workspace.env, "https_proxy": "http://127.0.0.1:9"})
    with pytest.raises(UsageError, match="Apple's licence"):
        push(ONE, parse_remote("oci://10.0.0.9/m:1"), workspace=behind)  # who knows where the proxy leads
    push(ONE, at(served, "mac"), workspace=workspace)  # this host


def test_what_is_not_there_and_what_is_no_image(workspace: Workspace, served: Served, tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"there is no image oci://"):
        pull(at(served, "nothing"), unsigned=True, workspace=workspace)
    (tmp_path / "layer").write_bytes(b"x" * 100)
    make_machine(workspace)
    saving.save("m", ONE, workspace=workspace)
    root = store_of(workspace).root
    (tmp_path / "oci").mkdir()
    run(["skopeo", "copy", "--quiet", f"oci:{root}:m:1", f"oci:{tmp_path / 'oci'}:m:1"])
    index = json.loads((tmp_path / "oci/index.json").read_text())
    path = tmp_path / "oci/blobs/sha256" / index["manifests"][0]["digest"].removeprefix("sha256:")
    told = json.loads(path.read_text())
    told.pop("artifactType")
    told["config"]["mediaType"] = "application/vnd.oci.image.config.v1+json"
    data = json.dumps(told).encode()
    index["manifests"][0] |= {"digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}
    (path.parent / hashlib.sha256(data).hexdigest()).write_bytes(data)
    (tmp_path / "oci/index.json").write_text(json.dumps(index))
    target = f"docker://{served.host}/tests/strange:1"
    run(["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{tmp_path / 'oci'}:m:1", target])
    with pytest.raises(ImageError, match="not the image of a machine"):
        pull(at(served, "strange"), unsigned=True, workspace=workspace)


def test_the_disk_is_full(saved: Workspace, other: Workspace, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a limit on the size of files, which the kernel answers as it answers a full disk: no write goes on (setrlimit(2))."""
    import resource

    push(ONE, at(served, "h"), workspace=saved)
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, before[1]))
    try:
        with pytest.raises(ImageError, match="cannot be read or written") as refused:
            pull(at(served, "h"), unsigned=True, workspace=other)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert refused.value.hint and "complete pieces are kept" in refused.value.hint
    assert listing.listed(other).images == () and not list(store_of(other).root.glob("blobs/sha256/.*"))
    pull(at(served, "h"), unsigned=True, workspace=other)


def home_of(shell: Shell) -> Workspace:
    return Workspace(Home.find(shell.env), shell.cwd, shell.env)


def test_push_as_a_person_types_it(shell: Shell, served: Served) -> None:
    make_machine(home_of(shell), "trial")
    shell.run("image", "save", "trial:1")
    where = str(at(served, "typed"))
    assert shell.json("image", "push", "trial:1", where, "--dry-run")["dry_run"]
    assert "would send" in shell.run("image", "push", "trial:1", where, "-n").stdout
    assert where in shell.run("image", "push", "trial:1", where).stdout
    assert "no place at a registry" in shell.run("image", "push", "trial:1", "x/y", status=2).stderr
    assert "cannot be an image's name" in shell.run("image", "pull", where, "--as", "a/b", status=2).stderr
    assert "copy:1" in shell.run("image", "pull", where, "--as", "copy:1", "--unsigned").stdout
