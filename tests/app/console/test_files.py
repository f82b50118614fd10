"""The files of a guest behind a real sshd, and those of this process's own user."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from clipboard.conftest import Sshd
from pommel import account
from pommel.app.console import files as files_module
from pommel.app.console.files import guest_files, session_files
from pommel.errors import MissingProgram, PommelError
from pommel.sftp.browsing import Upload
from pommel.ssh import ssh_argv


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Sshd]:
    (tmp_path / "ssh").mkdir()
    made = Sshd(tmp_path / "ssh", {})
    yield made
    made.close()


async def given(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_a_guest_s_files_also_after_its_sshd_came_back(guest: Sshd, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    upload = Upload(str(tmp_path / "there/file").encode(), 4, 0)
    async with guest_files(lambda: guest.ssh, key_hint="copy it") as shared:
        files = shared.service
        assert await files.receive(upload, await files.begin(upload), given(b"ab")) == 2
        guest.stop()
        guest.start()
        assert await files.begin(upload) == 2
        assert await files.receive(upload, 2, given(b"cd")) == 4
        await files.finish(upload)
        guest.stop()
        with pytest.raises(PommelError, match=r"the machine does not answer SSH \(yet\)"):
            for _ in range(2):
                await files.listing(b"~")
    assert (tmp_path / "there/file").read_bytes() == b"abcd"


async def test_a_guest_that_refuses_our_keys(guest: Sshd) -> None:
    (guest.root / "authorized").write_text("")
    argv = ssh_argv(guest.target, batch=True, connect_timeout_s=2)
    async with guest_files(lambda: argv, key_hint="pommel ssh box --copy-id") as shared:
        with pytest.raises(PommelError, match="refuses this computer's SSH keys") as refusal:
            await shared.service.listing(b"~")
        assert refusal.value.hint == "type: pommel ssh box --copy-id"


async def test_the_session_s_own_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in it").touch()
    monkeypatch.setattr(account, "home", lambda: tmp_path)
    async with session_files() as shared:
        found, _ = await asyncio.gather(shared.service.listing(b"~"), shared.service.listing(b"/"))
        assert found.path == str(tmp_path).encode() and [one.name for one in found.entries] == [b"in it"]


async def test_without_the_server_s_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "_SERVERS", ())
    async with session_files() as shared:
        with pytest.raises(MissingProgram, match="sftp-server") as missing:
            await shared.service.listing(b"~")
        assert "apt install openssh-sftp-server" in (missing.value.hint or "")
