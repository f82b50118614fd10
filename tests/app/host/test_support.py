"""The support archive: what of a machine, its settings and what runs is private, and is not in it in any spelling."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from string import hexdigits

import pytest

from pommel.app.host import privacy, support
from pommel.app.workspace import Workspace
from pommel.paths import Home, write_atomic

SECRETS = {
    "uuid": "1a2b3c4d-1111-4222-8333-abcdefabcdef",
    "mac": "52:54:00:ab:cd:ef",
    "serial": "C02WDFZ0HX87",
    "mlb": "C02810899CDJG36ZQ",
    "rom": "0A1B2C3D4E5F",
    "token": "Tk9Q-not_a_real_one",
    "who": "grace.hopper",
    "where": "mac.hopper-family.example",
    "passphrase": "correct,horse",
    "mesh": "9F" * 48,
    "server": "mesh.hopper-family.example",
    "environment": "Env-secret-17",
}
SETTINGS = f"""
[machine.m]
upstream = "{{up}}"
ssh_user = "{SECRETS["who"]}"
ssh_host = "{SECRETS["where"]}"
network = "bridge:br0"
qemu_args = ["-object", "secret,id=s0,data=correct,,horse"]
boot_env = {{{{ VNC_PASSWORD = "{SECRETS["environment"]}", RAM = "8192" }}}}
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    (tmp_path / "cwd").mkdir()
    (tmp_path / "up").mkdir()
    (tmp_path / "cwd" / "pommel.toml").write_text(SETTINGS.format(up=tmp_path / "up"))
    monkeypatch.chdir(tmp_path / "cwd")
    made = Workspace(Home(tmp_path / "h", tmp_path / "h" / "run", tmp_path / "c"), tmp_path / "cwd", dict(os.environ))
    paths = made.paths("m")
    record = {"format": 1, "name": "m", "upstream": str(tmp_path / "up"), "ssh_port": 2299, "created": "2026-01-01"}
    record |= {key: SECRETS[key] for key in ("uuid", "mac", "serial", "mlb", "rom")} | {"model": "iMacPro1,1"}
    write_atomic(paths.record, json.dumps(record))
    write_atomic(paths.console_record, json.dumps({"token": SECRETS["token"], "url": "http://127.0.0.1:8006/"}))
    msh = f"MeshID=0x{SECRETS['mesh']}\r\nMeshServer=wss://{SECRETS['server']}:443/agent.ashx\r\nMeshType=2"
    write_atomic(paths.mesh / "joined.json", json.dumps({"msh": msh, "agent_id": 16, "name": "m"}))
    write_atomic(paths.directory / "broken.json", "{")
    return made


def spellings(value: str) -> list[str]:
    bare = value.replace(":", "").replace("-", "")
    pairs = [bare[at : at + 2] for at in range(0, len(bare), 2)]
    return [value, value.upper(), value.lower(), *([bare, "-".join(pairs)] if set(bare) <= set(hexdigits) else [])]


def test_the_values_and_what_stands_for_them(workspace: Workspace) -> None:
    found = privacy.private_values(workspace)
    labels = {name: found.get(value) for name, value in SECRETS.items()}
    assert labels == {
        "uuid": "<uuid>", "mac": "<mac>", "serial": "<serial>", "mlb": "<serial>", "rom": "<serial>",
        "token": "<secret>", "who": "<user>", "where": "<host>", "passphrase": "<secret>", "mesh": "<mesh id>",
        "server": "<host>", "environment": "<secret>",
    }  # fmt: skip
    assert found[str(Path.home())] == "~" and found[str(workspace.home.root)] == "<POMMEL_HOME>"
    assert found[os.uname().nodename] == "<host>"
    assert not {"m", "on", "8192", "2", "127.0.0.1", "br0", "", "/"} & found.keys()


def test_what_cannot_be_read_is_no_obstacle(workspace: Workspace) -> None:
    workspace.paths("m").record.write_text("{")
    file = workspace.cwd / "pommel.toml"
    whole = file.read_bytes()
    for more in (b"[[[", b"\xff", b"x"):
        file.write_bytes(whole + more)
        found = privacy.private_values(Workspace(workspace.home, workspace.cwd, {}))
        assert found[SECRETS["token"]] == "<secret>"
        assert found[SECRETS["who"]] == "<user>" and found[SECRETS["passphrase"]] == "<secret>"


def test_none_of_it_is_in_the_archive(workspace: Workspace, tmp_path: Path) -> None:
    paths = workspace.paths("m")
    talk = "\n".join(each for value in SECRETS.values() for each in spellings(value))
    write_atomic(paths.serial_log, f"{talk}\nROM=<0a1b2c3d 4e5f> ChssPU5f\n{'x' * 100_000}")
    write_atomic(paths.log, talk)
    target = support.bundle(tmp_path / "out.tar.gz", "m", workspace=workspace)
    with tarfile.open(target) as archive:
        texts = {entry.name: (archive.extractfile(entry) or entry).read().decode() for entry in archive}
    everything = "\n".join(texts.values())
    for name, value in SECRETS.items():
        for each in spellings(value):
            assert each.casefold() not in everything.casefold(), name
    assert "ChssPU5f" not in everything and "correct,,horse" not in everything
    assert str(workspace.home.root) not in everything
    assert '"iMacPro1,1"' in texts["pommel-support/machine.json"] and "8192" in texts["pommel-support/pommel.toml"]
    assert max(map(len, everything.split("\n"))) < 10_000
