"""The .msh file: what the server hands out is read, anything else is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import ProtocolError
from pommel.mesh.msh import Msh, Server, parse_msh

MESH_ID, SERVER_ID = bytes(range(48)), bytes(range(48, 96))
FILE = (
    "\r\nMeshName=Büro = Süd\r\nMeshType=2\r\n"
    f"MeshID=0x{MESH_ID.hex().upper()}\r\nServerID={SERVER_ID.hex().upper()}\r\n"
    "MeshServer=wss://mesh.example.org:8443/customer/agent.ashx\r\nInstallFlags=2\r\n"
    "translation=" + '{"en":"x=1"}' * 4000 + "\r\n"
)


def test_a_file_as_the_server_hands_it_out() -> None:
    msh = parse_msh(FILE.encode())
    server = Server("wss://mesh.example.org:8443/customer/agent.ashx", SERVER_ID)
    assert msh == Msh(MESH_ID, "Büro = Süd", (server,))
    assert server.base == "wss://mesh.example.org:8443/customer/"


@pytest.mark.parametrize("change", [lambda t: t.replace("\r\n", "\n"), lambda t: "\ufeff" + t, lambda t: t + "Tag=a\n"])
def test_line_ends_marks_and_further_keys_do_not_matter(change: object) -> None:
    text = change(FILE)  # type: ignore[operator]
    assert parse_msh(text.encode()).servers == parse_msh(FILE.encode()).servers


def test_several_servers_each_with_its_hash_or_one_for_all() -> None:
    two = "wss://a.example/agent.ashx, wss://b.example/agent.ashx"
    text = f"MeshID={MESH_ID.hex()}\nServerID={SERVER_ID.hex()}\nMeshServer={two}\n"
    assert [one.server_id for one in parse_msh(text.encode()).servers] == [SERVER_ID, SERVER_ID]
    text = text.replace(SERVER_ID.hex(), f"{SERVER_ID.hex()},{MESH_ID.hex()}")
    assert [one.server_id for one in parse_msh(text.encode()).servers] == [SERVER_ID, MESH_ID]
    with pytest.raises(ProtocolError, match="2 servers and 3"):
        parse_msh(text.replace("ServerID=", f"ServerID={MESH_ID.hex()},").encode())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("wss://mesh", "ws://mesh", "not an address like wss://"),
        ("wss://mesh.example.org:8443", "wss://mesh.example.org:99999", "not an address"),
        ("wss://mesh.example.org:8443/customer/agent.ashx", "local", "local network"),
        ("MeshServer=", "Server=", "no MeshServer"),
        ("MeshID=0x00", "MeshID=0x", "MeshID"),
        ("MeshID=", "Mesh=", "no MeshID"),
        ("ServerID=30", "ServerID=zz", "ServerID"),
        ("ServerID=", "Server-ID=", "1 servers and 0 server hashes"),
        ("MeshType=2", "MeshType=1", "accepts no agents"),
        ("\r\nMeshName", "<!DOCTYPE html>\r\nMeshName", "web page"),
    ],
)
def test_what_cannot_be_joined_with_is_refused_with_the_reason(old: str, new: str, said: str) -> None:
    assert old in FILE
    with pytest.raises(ProtocolError, match=said) as refused:
        parse_msh(FILE.replace(old, new, 1).encode())
    assert refused.value.hint


def test_too_long_and_no_text() -> None:
    with pytest.raises(ProtocolError, match="bytes"):
        parse_msh(b"MeshID=" + b"0" * (1 << 20))
    with pytest.raises(ProtocolError, match="UTF-8"):
        parse_msh(b"MeshName=\xff\n")


LINES = st.sampled_from(FILE.encode().split(b"\r\n")[:-2]) | st.binary(max_size=40)


@given(st.binary(max_size=300) | st.lists(LINES, max_size=8).map(b"\r\n".join))
def test_any_bytes_are_read_or_refused_by_name(data: bytes) -> None:
    try:
        msh = parse_msh(data)
    except ProtocolError:
        return
    assert len(msh.mesh_id) == 48
    assert msh.servers
    assert all(one.url.startswith("wss://") and len(one.server_id) == 48 for one in msh.servers)


def test_names_have_no_blanks_around_them() -> None:
    odd = FILE.replace("Büro = Süd", "\x01 Büro \x02" + "x" * 249 + " y").encode()
    assert parse_msh(odd).mesh_name == "Büro  " + "x" * 249
