"""A device on a fake server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.doubles import Desk, identity
from mesh.fake_server import FakeServer, fake_server
from mesh.joined import Joined, on_server
from pommel.mesh.connection import Phase
from pommel.mesh.keys import to_pem
from pommel.mesh.membership import join


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeServer]:
    async with fake_server(tmp_path) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that has its identity already."""
    folder = tmp_path / "mac" / "mesh"
    folder.mkdir(parents=True)
    (folder / "identity.pem").write_bytes(to_pem(identity(2)))
    (folder / "identity.pem").chmod(0o600)
    return folder


@pytest.fixture
async def online(fake: FakeServer, folder: Path) -> AsyncIterator[Joined]:
    """A device that is online there."""
    async with on_server(join(folder, fake.msh_file), Desk()) as one:
        await one.until(Phase.ONLINE)
        yield one
