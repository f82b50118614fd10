"""Joining and leaving, on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesh.doubles import identity
from pommel.errors import ProtocolError, StateError, UsageError
from pommel.mesh.membership import has_joined, join, leave, load

MSH = f"\r\nMeshName=g\r\nMeshID=0x{'01' * 48}\r\nServerID={'02' * 48}\r\nMeshServer=wss://h/agent.ashx\r\n".encode()


def test_join_load_and_leave(folder: Path) -> None:
    assert not has_joined(folder)
    member = join(folder, MSH, agent_id=29)
    assert has_joined(folder)
    assert (member.agent_id, member.name, member.identity.node_id) == (29, None, identity(2).node_id)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(one.stat().st_mode & 0o777 == 0o600 for one in folder.iterdir())
    assert member.store_name("mac-one").name == load(folder).name == "mac-one"
    assert load(folder).msh == member.msh
    (folder / ".identity.pem.abc").write_text("left by a join that was killed")
    (folder / ".joined.json.abc").write_text("")
    leave(folder)
    assert list(folder.iterdir()) == []
    with pytest.raises(StateError, match="has joined"):
        leave(folder)


def test_joining_again_keeps_the_identity_and_takes_the_new_server(folder: Path) -> None:
    join(folder, MSH).store_name("mac-one")
    again = join(folder, MSH.replace(b"wss://h/", b"wss://other/"))
    assert again.identity.node_id == identity(2).node_id
    assert again.msh.servers[0].url == "wss://other/agent.ashx"
    assert again.name is None


def test_a_bad_file_or_agent_changes_nothing(folder: Path) -> None:
    join(folder, MSH)
    with pytest.raises(ProtocolError):
        join(folder, b"<html>")
    with pytest.raises(UsageError):
        join(folder, MSH, agent_id=4)
    assert load(folder).agent_id == 10005


@pytest.mark.parametrize(
    "damage", ["", "[]", "{}", '{"msh": "x", "agent_id": 29, "name": null}', '{"msh": 1}', "\udcff"]
)
def test_damage_is_said(folder: Path, damage: str) -> None:
    join(folder, MSH)
    (folder / "joined.json").write_bytes(damage.encode(errors="surrogateescape"))
    with pytest.raises(StateError) as refused:
        load(folder)
    assert "join again" in str(refused.value.hint)


def test_who_has_not_joined_is_told_how(tmp_path: Path) -> None:
    with pytest.raises(StateError) as refused:
        load(tmp_path)
    assert "pommel mesh join" in str(refused.value.hint)
