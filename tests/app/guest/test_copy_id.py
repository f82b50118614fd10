"""Which keys are taken, and what the program in the guest makes of them, run by the shells a guest may have."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.clips import alive, machine_behind
from clipboard.conftest import Clip, Sshd
from pommel import process
from pommel.app.guest.copy_id import REMOTE_COMMAND, SshPublicKey, copy_id, read_public
from pommel.errors import PommelError, StateError, UsageError

SHELLS = [shell for shell in ("dash", "bash", "zsh", "fish", "tcsh") if shutil.which(shell)]
ODD = "me $(touch pwned) `touch pwned` ; touch pwned 'q \"d \\ % ü"


def key(comment: str = "", seed: str = "A") -> SshPublicKey:
    return SshPublicKey(f"ssh-ed25519 {'AAAAC3NzaC1lZDI1NTE5' + seed * 47}=", comment)


def copied(home: Path, *keys: SshPublicKey, shell: str = "sh") -> list[str]:
    told = "".join(f"{each.key}\n{each.line}\n" for each in keys)
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    argv = [shell, "-c", REMOTE_COMMAND]
    done = subprocess.run(argv, input=told.encode(), env=env, cwd=home, capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout.decode().split()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_key_is_kept_once_by_any_login_shell(tmp_path: Path, shell: str) -> None:
    one, two = key(ODD), key("other", "B")
    assert copied(tmp_path, one, shell=shell) == ["new"]
    assert copied(tmp_path, one, two, shell=shell) == ["there", "new"]
    kept = tmp_path / ".ssh" / "authorized_keys"
    assert kept.read_text() == f"{one.line}\n{two.line}\n"
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [path.name for path in tmp_path.rglob("*")] == [".ssh", "authorized_keys"]


def test_what_is_there_stays_and_a_last_line_without_end_gets_one(tmp_path: Path) -> None:
    kept = tmp_path / ".ssh" / "authorized_keys"
    kept.parent.mkdir()
    kept.write_text("# mine\nssh-rsa AAAA me")
    assert copied(tmp_path, key("x")) == ["new"]
    assert kept.read_text() == f"# mine\nssh-rsa AAAA me\n{key('x').line}\n"
    # The same key under another comment, or with options before it, is there.
    kept.write_text(f'restrict,command="x" {key().key} another comment\n')
    assert copied(tmp_path, key("x")) == ["there"]


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\x85\u2028\u2029"), max_size=30))
def test_any_comment_arrives_as_it_is(tmp_path: Path, comment: str) -> None:
    path = tmp_path / "k.pub"
    path.write_text(f"{key().key} {comment}\n")
    kept = tmp_path / ".ssh" / "authorized_keys"
    kept.unlink(missing_ok=True)
    read = read_public(path)
    assert copied(tmp_path, read) == ["new"]
    assert kept.read_text() == f"{key().key} {comment.strip()}".rstrip() + "\n"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".ssh", "k.pub"]


def test_real_keys_are_read_and_a_private_one_goes_nowhere(tmp_path: Path) -> None:
    for kind in ("ed25519", "rsa", "ecdsa"):
        process.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "a b", "-f", tmp_path / kind])
        assert read_public(tmp_path / f"{kind}.pub").comment == "a b"
        with pytest.raises(UsageError, match="is a private key, which must not be copied") as refusal:
            read_public(tmp_path / kind)
        assert refusal.value.hint == f"give the public key: {tmp_path / kind}.pub"


@pytest.mark.parametrize(
    "text", ["", "\n", "x", "ssh-ed25519", "ssh-ed25519 AAA\nssh-rsa AAA", "ssh-rsa A\x07 x", "ssh-rsa $(x)"]
)
def test_what_is_no_key(tmp_path: Path, text: str) -> None:
    path = tmp_path / "k.pub"
    path.write_text(text)
    with pytest.raises(UsageError, match="is not an OpenSSH public key"):
        read_public(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_public(tmp_path / "none.pub")


def test_over_a_real_sshd(posix_guest: Sshd, tmp_path: Path, display: str, guest_clip: Clip) -> None:
    workspace = machine_behind(posix_guest, tmp_path / "w", display)
    public = tmp_path / "mine.pub"
    public.write_text(key(ODD).line + "\n")
    with pytest.raises(StateError, match="trial is not running"):
        copy_id(workspace, "trial")
    # This sshd's sessions have another HOME than its user; what it lets in is a file elsewhere.
    for program in ("mkdir", "touch", "tail"):
        (tmp_path / "bin" / program).symlink_to(process.which(program))
    with alive(workspace):
        assert [each.new for each in copy_id(workspace, "trial", public)] == [True, True]
        assert [each.new for each in copy_id(workspace, "trial", public)] == [False, False]
        assert key(ODD).line in (posix_guest.root / ".ssh" / "authorized_keys").read_text().splitlines()
        process.run(
            ["ssh", "-O", "exit", "-o", f"ControlPath={workspace.paths('trial').runtime}/ssh", "x"], check=False
        )
        (posix_guest.root / "authorized").write_text("")
        with pytest.raises(PommelError, match="trial allows no login as") as refusal:
            copy_id(workspace, "trial")
        assert "Remote Login" in (refusal.value.hint or "")
