"""Where a passphrase is kept: a file of the user's alone, or a real keyring on a session bus of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyring import keyring
from pommel.errors import MissingProgram, StateError
from pommel.machine import passphrase
from pommel.machine.passphrase import Passphrase


@pytest.fixture(scope="module")
def bus() -> Iterator[dict[str, str]]:
    with keyring() as env:
        yield env


@pytest.fixture
def desktop(bus: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in bus.items():
        monkeypatch.setenv(key, value)


def file(folder: Path, data: bytes, mode: int = 0o600) -> Path:
    path = folder / "key file"
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("data", "phrase"),
    [
        (b"open sesame\n", b"open sesame"),
        (b"open sesame", b"open sesame"),
        (b" blanks stay \n", b" blanks stay "),
        ("Schlüssel\n".encode(), "Schlüssel".encode()),
        (b"x" * 1024 + b"\n", b"x" * 1024),
    ],
)
def test_one_line_without_its_end(tmp_path: Path, data: bytes, phrase: bytes) -> None:
    assert passphrase.from_file(file(tmp_path, data)) == phrase


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"one\ntwo\n", "more than one line"),
        (b"one\n\n", "more than one line"),
        (b"one\r\n", "more than one line of text, or a line that does not end"),
        (b"o\0ne", "more than one line"),
        (b"\xff\xfe", "is no text"),
        (b"x" * 1025, "more than 1024 bytes"),
        (b"x" * 9999, "more than 1024 bytes"),
    ],
)
def test_what_is_no_passphrase(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(StateError, match=said) as refusal:
        passphrase.from_file(file(tmp_path, data))
    assert "key file" in refusal.value.message and "umask 077" in str(refusal.value.hint)


def test_a_file_that_is_not_this_users_alone(tmp_path: Path) -> None:
    for mode in (0o640, 0o604, 0o620, 0o666):
        with pytest.raises(StateError, match="other users may read or write") as refusal:
            passphrase.from_file(file(tmp_path, b"x", mode))
        assert refusal.value.hint == f"chmod 600 '{tmp_path}/key file'"
    path = file(tmp_path, b"x")
    os.chown(path, 12345, -1)
    with pytest.raises(StateError, match="is another user's"):
        passphrase.from_file(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="is not there") as refusal:
        passphrase.from_file(tmp_path / "none")
    made = str(refusal.value.hint).rpartition(": ")[2]
    subprocess.run(made, shell=True, check=True)
    assert len(passphrase.from_file(tmp_path / "none")) == 44  # 32 bytes in base64
    with pytest.raises(StateError, match="is not a file"):
        passphrase.from_file(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(StateError, match="is not a file"):  # and nothing hangs
        passphrase.from_file(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "none")
    assert passphrase.from_file(tmp_path / "link") == passphrase.from_file(tmp_path / "none")


def test_the_keyring_keeps_it(desktop: None) -> None:
    one, other = str(uuid.uuid4()), str(uuid.uuid4())
    assert passphrase.from_keyring(one) is None
    phrase, _ = passphrase.new_random()
    passphrase.to_keyring(one, "m", phrase)
    assert passphrase.from_keyring(one) == phrase and passphrase.from_keyring(other) is None
    shown = subprocess.run(passphrase.shown_lookup(one), shell=True, check=True, capture_output=True).stdout
    assert shown == phrase
    subprocess.run(passphrase.shown_store(one, "m o"), shell=True, check=True, input="typed, ä\n".encode())
    assert passphrase.from_keyring(one) == "typed, ä".encode()
    passphrase.forget_in_keyring(one)
    assert passphrase.from_keyring(one) is None


def test_a_session_without_a_keyring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(StateError, match="the keyring cannot be used") as refusal:
        passphrase.from_keyring(str(uuid.uuid4()))
    assert "passphrase_file" in str(refusal.value.hint)


def test_a_keyring_that_stays_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    with keyring(unlocked=False) as env:
        for key, value in env.items():
            monkeypatch.setenv(key, value)
        assert passphrase.from_keyring(str(uuid.uuid4())) is None
        with pytest.raises(StateError, match="the keyring cannot be used"):
            passphrase.to_keyring(str(uuid.uuid4()), "m", b"x")


def test_without_secret_tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = "from pommel.machine import passphrase; from pathlib import Path; passphrase.from_keyring('x')"
    done = subprocess.run(
        ["bwrap", "--dev-bind", "/", "/", "--bind", "/dev/null", "/usr/bin/secret-tool", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert MissingProgram.__name__ in done.stderr and "secret-tool is not installed" in done.stderr


def test_it_is_asked_for_once_and_only_if_it_is_needed() -> None:
    asked = list[int]()

    def ask() -> Passphrase:
        asked.append(1)
        return Passphrase(b"open sesame", "the test", "")

    with pytest.raises(StateError, match="cannot be done with an encrypted disk"):
        passphrase.key()
    with passphrase.with_key(ask):
        assert asked == []
        assert passphrase.key() is passphrase.key()
    assert asked == [1]
    with pytest.raises(StateError):
        passphrase.key()


def test_a_key_is_not_printed() -> None:
    assert "sesame" not in repr(Passphrase(b"open sesame", "the test", ""))
