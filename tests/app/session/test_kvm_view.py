"""Another system's session on a page: what is in the way is told there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from clipboard.conftest import Sshd
from pommel.app.session import kvm_view
from pommel.app.session.kvm_view import Viewed
from pommel.app.session.reach import Reach
from pommel.errors import UsageError
from pommel.session.places import Places


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    made = Sshd(tmp_path, {})
    yield made
    made.stop()


async def test_the_page_says_what_to_type(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Reach("ada@mac", ("--host", "ada@mac"), target=sshd.target)
    monkeypatch.setattr(kvm_view, "reach", lambda *_: there)
    assert not Path(Places.of("linux").viewers).exists(), "this system has no daemon"
    ready: asyncio.Future[Viewed] = asyncio.get_running_loop().create_future()
    serving = asyncio.ensure_future(kvm_view.serve("ada@mac", listen=(None, 0), on_ready=ready.set_result))
    viewed = await ready
    assert viewed.name == "ada@mac"
    async with connect(viewed.ws) as page:
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await page.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013
    assert closed.value.rcvd.reason == (
        "Pommel is not installed in the guest yet; type: pommel guest install --host ada@mac"
    )
    serving.cancel()
    await asyncio.wait([serving])


async def test_no_host() -> None:
    with pytest.raises(UsageError):
        await kvm_view.serve("-oProxyCommand=x", on_ready=print)
