"""A device's life: welcome, silence, refusal, loss and return."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mesh.doubles import Desk, identity
from mesh.fake_server import FakeServer, fake_server
from mesh.joined import Joined, on_server
from pommel.mesh.backoff import REFUSED_S
from pommel.mesh.connection import Phase
from pommel.mesh.membership import join, load
from pommel.mesh.mesh_agent import introduction
from waits import until

pytestmark = pytest.mark.usefixtures("impatient")


async def test_it_says_who_it_is_and_keeps_its_name(fake: FakeServer, online: Joined) -> None:
    info = await fake.hears(action="coreinfo")
    assert (info["osdesc"], info["value"], info["caps"]) == ("macOS 15.1", "Pommel 0.1", 9)
    assert "name" not in info
    assert (await fake.hears(action="netinfo"))["netif2"]["en0"][0]["mac"] == "52:54:00:12:34:56"
    assert fake.introductions == [introduction(online.desk.facts(), fake.msh.mesh_id, 10005)]
    assert load(online.member.folder).name == "mac-one"
    assert [one.phase for one in online.stood] == [Phase.CONNECTING, Phase.ONLINE]


async def test_a_machine_that_was_renamed_meanwhile_says_so_once(fake: FakeServer, folder: Path) -> None:
    member = join(folder, fake.msh_file).store_name("before")
    async with on_server(member, Desk()) as one:
        assert (await fake.hears(action="coreinfo"))["name"] == "mac-one"
        fake.heard.clear()
        one.desk.rename("mac-two")
        one.connection.refresh()
        assert (await fake.hears(action="coreinfo"))["name"] == "mac-two"
        fake.heard.clear()
        one.connection.refresh()
        assert "name" not in await fake.hears(action="coreinfo")


async def test_a_lost_connection_comes_back(fake: FakeServer, online: Joined) -> None:
    for count in (2, 3):
        since = len(online.stood)
        await fake.agents[-1].close()
        waiting = await online.until(Phase.WAITING, since)
        assert "closed the connection" in waiting.why
        assert 0.05 <= waiting.pause_s <= 0.3
        await online.until(Phase.ONLINE, since)
        assert len(fake.agents) == count


@pytest.mark.parametrize(("silent_after", "said"), [(0, "has sent nothing"), (2, "accepted this device but")])
async def test_a_silent_server_is_explained(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, silent_after: int, said: str
) -> None:
    monkeypatch.setattr("pommel.mesh.connection.DEADLINE_S", 0.3)
    async with (
        fake_server(tmp_path, silent_after=silent_after) as fake,
        on_server(join(folder, fake.msh_file), Desk()) as one,
    ):
        waiting = await one.until(Phase.WAITING)
        assert said in waiting.why
        assert waiting.hint
        assert not any(stood.phase is Phase.ONLINE for stood in one.stood)


async def test_a_server_that_hangs_up_early(tmp_path: Path, folder: Path) -> None:
    async with fake_server(tmp_path, hangs_up=True) as fake, on_server(join(folder, fake.msh_file), Desk()) as one:
        assert "closed the connection before" in (await one.until(Phase.WAITING)).why


async def test_a_wrong_server_is_refused_and_rarely_asked_again(tmp_path: Path, folder: Path) -> None:
    async with fake_server(tmp_path, key=identity(3)) as fake, on_server(join(folder, fake.msh_file), Desk()) as one:
        refused = await one.until(Phase.REFUSED)
        assert "not the server of the .msh file" in refused.why
        assert "pommel mesh join" in str(refused.hint)
        assert refused.pause_s == REFUSED_S
        assert fake.introductions == []  # it was told nothing


async def test_a_server_without_the_key_is_refused(tmp_path: Path, folder: Path) -> None:
    async with fake_server(tmp_path, lies=True) as fake, on_server(join(folder, fake.msh_file), Desk()) as one:
        assert "signature is wrong" in (await one.until(Phase.REFUSED)).why
        assert fake.introductions == []


async def test_nobody_there_then_the_next_server(fake: FakeServer, folder: Path) -> None:
    two = fake.msh_file.replace(b"MeshServer=", b"MeshServer=wss://127.0.0.1:1/agent.ashx,")
    async with on_server(join(folder, two), Desk()) as one:
        waiting = await one.until(Phase.WAITING)
        assert "127.0.0.1:1 cannot be connected to" in waiting.why
        await one.until(Phase.ONLINE)


async def test_no_meshcentral_server_at_that_address(fake: FakeServer, folder: Path) -> None:
    elsewhere = fake.msh_file.replace(b"agent.ashx", b"elsewhere/agent.ashx")
    async with on_server(join(folder, elsewhere), Desk()) as one:
        assert "answers with status 404" in (await one.until(Phase.WAITING)).why


async def test_nonsense_from_the_server_ends_that_connection_only(fake: FakeServer, online: Joined) -> None:
    since = len(online.stood)
    await fake.agents[-1].send_bytes(b"{ no JSON")
    assert "not a command or JSON" in (await online.until(Phase.WAITING, since)).why
    await online.until(Phase.ONLINE, since)


async def test_a_network_that_swallows_everything_is_noticed(
    fake: FakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pommel.mesh.network.HEARTBEAT_S", 0.3)
    async with on_server(join(folder, fake.msh_file), Desk()) as one:
        await one.until(Phase.ONLINE)
        since = len(one.stood)
        transport = fake.agents[-1]._req.transport  # type: ignore[union-attr]
        transport.pause_reading()  # type: ignore[union-attr]
        await one.until(Phase.WAITING, since)
        await one.until(Phase.ONLINE, since)
        transport.abort()  # type: ignore[union-attr]


async def test_stopping_it_is_at_once_and_tells_the_device(fake: FakeServer, folder: Path) -> None:
    desk = Desk()
    async with on_server(join(folder, fake.msh_file), desk) as one:
        await one.until(Phase.ONLINE)
        begun = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begun < 2.5
    assert desk.watched[-1] == ((), None)
    await until(lambda: fake.agents[-1].closed)


async def test_a_full_disk_does_not_keep_it_offline(
    fake: FakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = join(folder, fake.msh_file)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pommel.mesh.membership.json_file.write", full)
    async with on_server(member, Desk()) as one:
        await one.until(Phase.ONLINE)
    assert load(folder).name is None


async def test_a_bug_of_the_device_is_not_hidden(fake: FakeServer, folder: Path) -> None:
    class Broken(Desk):
        async def console(self, line: str) -> str:
            raise ZeroDivisionError(line)

    with pytest.raises(ZeroDivisionError):
        async with on_server(join(folder, fake.msh_file), Broken()) as one:
            await one.until(Phase.ONLINE)
            await fake.say(action="msg", type="console", value="x", rights=0xFFFFFFFF, sessionid="s")
            await until(lambda: fake.agents[-1].closed)


async def test_binary_requests_get_zeros(fake: FakeServer, online: Joined) -> None:
    await fake.hears(action="coreinfo")
    fake.binary.clear()
    for request in (b"\0\x0c\0\1", b"\0\x0a\0\0", b"\0\x0b\0\2", b"\0\x10\0\0"):
        await fake.agents[-1].send_bytes(request)
    await until(lambda: len(fake.binary) == 2)
    assert fake.binary == [b"\0\x0c\0\1" + bytes(48), b"\0\x0b\0\2" + bytes(48)]
