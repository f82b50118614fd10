"""A device on a fake server, the real server for the whole room, and what may not be left behind."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mesh.doubles import Desk, identity
from mesh.fake_server import FakeServer, fake_server
from mesh.joined import Joined, on_server
from mesh.server import LOOKER, RECORDED, SHARED, STRANGER, TYPIST, MeshCentral, mesh_central
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


@pytest.fixture(scope="package", autouse=True)
def imported() -> Iterator[None]:
    """Have `leaks` look at what the tests make, not at all that was ever imported: it takes a tenth of the time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def leaks() -> Iterator[None]:
    """Have what a test leaves unclosed fail that test, not one after it: pytest raises what is collected here."""
    yield
    gc.collect()


@pytest.fixture(scope="package")
def server() -> Iterator[MeshCentral]:
    """The real server."""
    with mesh_central(LOOKER, TYPIST, STRANGER, domains=(RECORDED, SHARED)) as one:
        yield one


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a lost device come back at once."""
    monkeypatch.setattr("pommel.mesh.backoff.FIRST_S", (0.05, 0.1))
    monkeypatch.setattr("pommel.mesh.backoff.LONGEST_S", (0.2, 0.3))
