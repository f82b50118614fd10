"""Whose files count: this user's and root's that nobody else can write, and what the user has said to trust."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from pommel import trust
from pommel.config import find_file, read_file
from pommel.errors import ConfigError, TrustError
from pommel.overlay import laying

STRANGER = 54321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="giving files to another user takes root")


@pytest.fixture(autouse=True)
def config_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("SUDO_UID", raising=False)
    mask = os.umask(0o022)
    yield
    os.umask(mask)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a" / "b" / "pommel.toml"
    path.parent.mkdir(parents=True)
    path.write_text("[machine.mac]\n")
    return path


def test_what_is_ours_alone_is_taken(file: Path) -> None:
    assert trust.doubt(file) is None
    assert "mac" in read_file(file).machines


@pytest.mark.parametrize("below", ["a/b/pommel.toml", "a/b", "a"])
@pytest.mark.parametrize(("mode", "who"), [(0o002, "everybody"), (0o020, "the group")])
def test_what_others_can_write_is_not(tmp_path: Path, file: Path, below: str, mode: int, who: str) -> None:
    loose = tmp_path / below
    os.chown(loose, -1, _a_group()) if mode == 0o020 else None
    loose.chmod(stat.S_IMODE(loose.stat().st_mode) | mode)
    found = trust.doubt(file)
    assert found is not None and found.path == loose and who in found.why
    with pytest.raises(TrustError, match="is not used") as told:
        read_file(file)
    assert f"pommel trust {file}" in (told.value.hint or "")
    assert found.mend == f"chmod go-w {loose}"
    loose.chmod(0o755 if loose.is_dir() else 0o644)  # what the hint says
    assert trust.doubt(file) is None


@as_root
@pytest.mark.parametrize("below", ["a/b/pommel.toml", "a/b", "a"])
def test_what_belongs_to_somebody_else_is_not(tmp_path: Path, file: Path, below: str) -> None:
    os.chown(tmp_path / below, STRANGER, -1)
    found = trust.doubt(file)
    assert found is not None and (found.path, found.why, found.mend) == (
        tmp_path / below,
        f"belongs to uid {STRANGER}",
        None,
    )
    with pytest.raises(TrustError):
        read_file(find_file(file.parent, {}))
    with pytest.raises(TrustError):
        read_file(find_file(tmp_path, {"POMMEL_CONFIG": str(file)}))


@as_root
def test_a_sticky_folder_passes_and_a_strangers_file_in_it_does_not(tmp_path: Path) -> None:
    common = tmp_path / "tmp"
    common.mkdir()
    common.chmod(0o1777)
    mine, theirs = common / "mine.toml", common / "pommel.toml"
    mine.write_text("")
    theirs.write_text("")
    os.chown(theirs, STRANGER, STRANGER)
    assert trust.doubt(mine) is None
    assert trust.doubt(theirs) is not None


@as_root
def test_a_strangers_link_is_theirs_wherever_it_leads(tmp_path: Path, file: Path) -> None:
    common = tmp_path / "tmp"
    common.mkdir()
    common.chmod(0o1777)
    for target, name in ((file, "pommel.toml"), (file.parent, "folder"), ("../a/b", "relative")):
        link = common / name
        link.symlink_to(target)
        through = link if name == "pommel.toml" else link / "pommel.toml"
        assert trust.doubt(through) is None
        os.chown(link, STRANGER, -1, follow_symlinks=False)
        found = trust.doubt(through)
        assert found is not None and found.path == link


@as_root
def test_each_link_of_a_chain_counts(tmp_path: Path, file: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to(file)
    os.chown(tmp_path / "two", STRANGER, -1, follow_symlinks=False)
    found = trust.doubt(tmp_path / "one")
    assert found is not None and found.path == tmp_path / "two"


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to("y")
    (tmp_path / "y").symlink_to("x")
    with pytest.raises(OSError, match=r"[Ll]inks") as told:
        trust.doubt(tmp_path / "x")
    assert told.value.errno == errno.ELOOP


@pytest.mark.parametrize(
    ("name", "members", "own"),
    [
        ("ada", [], True),
        ("ada", ["ada"], True),
        ("ada", ["ada", "root"], True),
        ("ada", ["bob"], False),
        ("ada", ["ada", "bob"], False),
        ("users", [], False),
        ("users", ["ada"], False),
        (None, [], False),
    ],
)
def test_a_group_of_ones_own_may_write(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str | None, members: list[str], own: bool
) -> None:
    """The host's lists of users and groups are the seam: no test can add to them."""

    def group(gid: int) -> grp.struct_group:
        if name is None:
            raise KeyError(gid)
        return grp.struct_group((name, "x", gid, members))

    monkeypatch.setattr(grp, "getgrgid", group)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: pwd.struct_passwd(("ada", "x", uid, 7, "", "/", "/bin/sh")))
    gid = STRANGER if os.geteuid() == 0 else os.getegid()
    os.chown(file, -1, gid)
    file.chmod(0o664)
    found = trust.doubt(file)
    assert (found is None) is own
    assert own or (found is not None and f"the group {name or f'gid {gid}'}" in found.why)


@as_root
def test_a_list_of_others_in_an_own_group_counts(file: Path) -> None:
    file.chmod(0o664)
    assert trust.doubt(file) is None
    # acl(5) in its binary form, linux/posix_acl_xattr.h: version 2; tag, permissions, id.
    none = 0xFFFFFFFF
    entries = [(1, 6, none), (2, 6, STRANGER), (4, 6, none), (16, 6, none), (32, 4, none)]
    packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(file, "system.posix_acl_access", packed)
    except OSError as refusal:
        pytest.skip(f"no access control lists here: {refusal}")
    assert trust.doubt(file) is not None


@as_root
def test_whoever_became_root_by_sudo_is_still_themselves(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (file, file.parent, file.parent.parent):
        os.chown(path, STRANGER, -1)
    assert trust.doubt(file) is not None
    monkeypatch.setenv("SUDO_UID", str(STRANGER))
    assert trust.doubt(file) is None
    monkeypatch.setenv("SUDO_UID", "no number")
    assert trust.doubt(file) is not None


def test_the_users_word_counts_until_it_is_taken_back(file: Path, tmp_path: Path) -> None:
    file.chmod(0o666)
    other = tmp_path / "a" / "other.toml"
    other.write_text("")
    other.chmod(0o666)
    trust.trust(file)
    trust.trust(file)
    assert trust.trusted().paths == (str(file),)
    assert "mac" in read_file(file).machines
    with pytest.raises(TrustError):
        read_file(other)
    trust.trust(file.parent.parent)
    assert not read_file(other).machines
    assert trust.distrust(file.parent.parent) and not trust.distrust(file.parent.parent)
    with pytest.raises(TrustError):
        read_file(other)
    assert "mac" in read_file(file).machines
    file.unlink()
    assert trust.distrust(file)


def test_a_folder_that_is_trusted_is_not_one_that_begins_alike(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "workshop").mkdir()
    trust.trust(tmp_path / "work")
    assert not trust.is_trusted(tmp_path / "workshop")
    assert not trust.is_trusted(tmp_path / "work" / ".." / "workshop")


@pytest.mark.parametrize("text", ["", "[]", '{"paths": []}', '{"paths": 5, "scripts": {}}', "\0"])
def test_a_damaged_store_is_told_and_trusts_nothing(file: Path, text: str) -> None:
    file.chmod(0o666)
    trust.trust(file)
    trust.store_of_trust().write_text(text)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_file(file)


def test_a_store_that_others_can_write_trusts_nothing(file: Path) -> None:
    file.chmod(0o666)
    trust.trust(file)
    trust.store_of_trust().chmod(0o666)
    with pytest.raises(ConfigError, match="can be written by everybody"):
        read_file(file)


@pytest.mark.parametrize("loose", ["patches", "patches/0001-x.patch", "files", "files/deep/x.sh"])
def test_patches_and_files_are_the_users_own_too(tmp_path: Path, loose: str) -> None:
    repo = tmp_path / "repo"
    (repo / "patches").mkdir(parents=True)
    (repo / "patches" / "0001-x.patch").write_text("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n")
    (repo / "files" / "deep").mkdir(parents=True)
    (repo / "files" / "deep" / "x.sh").write_text("")
    laying.read(repo)
    (repo / loose).chmod(0o777)
    with pytest.raises(TrustError, match="can be written by everybody") as told:
        laying.read(repo)
    assert (told.value.hint or "").endswith(f"pommel trust {repo}")
    trust.trust(repo)
    laying.read(repo)


def _a_group() -> int:
    """A group that is not this user's own: another of theirs, or any for root."""
    others = [gid for gid in (os.getgroups() if os.geteuid() else [STRANGER]) if not trust._is_own_group(gid)]
    if not others:
        pytest.skip("this user is in no other group")
    return others[0]
