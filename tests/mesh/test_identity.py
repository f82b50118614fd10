"""The key on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from pommel.errors import NotPermitted, StateError
from pommel.mesh.identity import keep_identity, read_identity


def test_it_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "identity.pem"
    made = keep_identity(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert keep_identity(file).node_id == made.node_id == read_identity(file).node_id
    assert [one.name for one in file.parent.iterdir()] == ["identity.pem"]
    file.chmod(0o640)
    with pytest.raises(NotPermitted, match="other users can read") as refused:
        keep_identity(file)
    assert refused.value.hint == f"chmod 600 {file}"


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_damaged_one_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "identity.pem"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(StateError, match="damaged") as refused:
        keep_identity(file)
    assert "join again" in str(refused.value.hint)
    assert file.read_bytes() == content


def test_a_lost_one_is_said(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="missing"):
        read_identity(tmp_path / "identity.pem")
