"""A real MeshCentral server on the loopback address, its users, and a viewer: for the tests that want the real thing."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from driver import cache_folder
from free_ports import free_port
from isolation import patient
from pommel.locks import hold
from pommel.mesh.network import network
from pommel.wire import messages as wire
from pommel.wire.codec import Decoder, encode
from pommel.wire.messages import Direction
from waits import wait_until

VERSION = "1.1.55"
# The second is what recordings and the multiplexer need. The server would fetch it for itself when it starts, with an
# npm that takes away whatever it does not find in a package.json.
PACKAGES = (f"meshcentral@{VERSION}", "image-size@2.0.2")
PATIENCE_S = 60.0  # for the other load of this machine
ADMIN, PASSWORD = "admin", f"Pw-{os.getpid()}-x"
GROUP = "pommel tests"
LOOKER, TYPIST, STRANGER = "looker", "typist", "stranger"
# Domains of the server; its addresses begin with them. In one all desktops are recorded, in the other they go through
# the multiplexer too.
RECORDED, SHARED = "recorded", "shared"


def program() -> Path:
    """The server as npm installs it, kept between test runs."""
    folder = cache_folder() / "-".join(PACKAGES)
    with hold(folder.with_suffix(".lock"), busy="somebody else installs MeshCentral", wait_s=600):
        if not folder.is_dir():
            aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            words = ["npm", "install", "--prefix", str(aside), "--no-package-lock", "--no-audit", "--no-fund"]
            subprocess.run([*words, "--ignore-scripts", *PACKAGES], check=True, timeout=580)
            aside.rename(folder)
    return folder / "node_modules" / "meshcentral"


@dataclass
class MeshCentral:
    """The server. `stop` and `start` may be called as often as one likes."""

    root: Path
    port: int
    running: subprocess.Popen[bytes] | None = None

    def at(self, domain: str, path: str, scheme: str = "wss") -> str:
        """An address of it."""
        return f"{scheme}://127.0.0.1:{self.port}/{domain + '/' if domain else ''}{path}"

    @property
    def log(self) -> str:
        return (self.root / "log").read_text()

    def start(self) -> None:
        with (self.root / "log").open("ab") as log:
            self.running = subprocess.Popen(
                self._words(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._listens, PATIENCE_S)

    def stop(self, how: int = signal.SIGKILL) -> None:
        if self.running is not None:
            os.killpg(self.running.pid, how)
            self.running.wait()
            self.running = None
            wait_until(lambda: not self._answers(), PATIENCE_S, 0.01)  # it has a child, which dies on its own

    def account(self, name: str, *, admin: bool = False, domain: str = "") -> None:
        """Make a user, while the server does not run."""
        where = ["--domain", domain] if domain else []
        self._once("--createaccount", name, "--pass", PASSWORD, "--email", f"{name}@example.org", *where)
        if admin:
            self._once("--adminaccount", name, *where)

    def forget(self, what: str) -> None:
        """Take away files of its data, while it does not run: it makes new ones."""
        for file in (self.root / "data").glob(what):
            file.unlink()

    def recordings(self, domain: str) -> list[Path]:
        return sorted((self.root / domain).glob("*.mcrec"))

    def configure(self) -> None:
        """Write its configuration."""
        ours = {"cert": "127.0.0.1", "WANonly": True, "port": self.port, "redirPort": 0, "mpsPort": 0}
        ours |= {"selfUpdate": False, "exactPorts": True, "noAgentUpdate": 1, "agentTimeStampServer": False}
        ours |= {"autoBackup": False}
        recording = {"onlySelectedDeviceGroups": False, "protocols": [2]}
        domains: dict[str, dict[str, Any]] = {"": {}, RECORDED: {}, SHARED: {"desktopMultiplex": True}}
        for name in (RECORDED, SHARED):
            domains[name]["sessionRecording"] = recording | {"filepath": str(self.root / name)}
        (self.root / "data").mkdir(exist_ok=True)
        said = {"settings": ours, "domains": {name: {"newAccounts": False} | one for name, one in domains.items()}}
        (self.root / "data" / "config.json").write_text(json.dumps(said))

    def _words(self, *more: str) -> list[str]:
        where = ["--datapath", str(self.root / "data"), "--filespath", str(self.root / "files")]
        return ["node", str(program()), *where, *more]

    def _once(self, *words: str) -> None:
        subprocess.run(self._words(*words), check=True, capture_output=True, timeout=PATIENCE_S)

    def _listens(self) -> bool:
        assert self.running is not None
        assert self.running.poll() is None, self.log
        return self._answers()

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


@contextlib.contextmanager
def mesh_central(*users: str, domains: Iterable[str] = ()) -> Iterator[MeshCentral]:
    """A server with these users, and an administrator in its first domain and each of these."""
    root = Path(tempfile.mkdtemp(prefix="pmm-"))
    server = MeshCentral(root, free_port())
    try:
        server.configure()
        for domain in ("", *domains):
            server.account(ADMIN, admin=True, domain=domain)
        for name in users:
            server.account(name)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(root, ignore_errors=True)


@dataclass
class User:
    """Somebody who is logged in, by the control socket that the pages use."""

    server: MeshCentral
    name: str
    http: aiohttp.ClientSession
    control: aiohttp.ClientWebSocketResponse
    domain: str = ""
    heard: list[dict[str, Any]] = field(default_factory=list)
    viewers: list[Viewer] = field(default_factory=list)

    async def send(self, **said: Any) -> None:
        await self.control.send_json(said)

    async def ask(self, action: str, **said: Any) -> dict[str, Any]:
        await self.send(action=action, **said)
        return await self.hears(action=action)

    async def hears(self, **want: Any) -> dict[str, Any]:
        """The next message with these fields; all others are kept in `heard`."""
        async with asyncio.timeout(patient(PATIENCE_S)):
            while True:
                said = json.loads((await self.control.receive()).data)
                self.heard.append(said)
                if all(said.get(key) == value for key, value in want.items()):
                    return said

    async def group(self) -> str:
        """The id of the test's device group, made now if there is none."""
        groups = [one["_id"] for one in (await self.ask("meshes"))["meshes"] if one["name"] == GROUP]
        if groups:
            return str(groups[0])
        await self.send(action="createmesh", meshname=GROUP, meshtype=2)
        while not groups:
            groups = [one["_id"] for one in (await self.ask("meshes"))["meshes"] if one["name"] == GROUP]
        return str(groups[0])

    async def msh(self) -> bytes:
        where = f"meshsettings?id={(await self.group()).split('/')[2]}"
        async with self.http.get(self.server.at(self.domain, where, "https"), ssl=False) as answer:
            return await answer.read()

    async def lets(self, name: str, rights: int) -> None:
        """Give another user rights to the group."""
        said = {"meshid": await self.group(), "usernames": [name], "meshadmin": rights}
        answer = await self.ask("addmeshuser", responseid="lets", **said)
        assert answer["success"] == 1, answer

    async def asks_consent(self, bits: int) -> None:
        """Have sessions in the group need consent."""
        await self.send(action="editmesh", meshid=(group := await self.group()), consent=bits)
        while (
            next(one for one in (await self.ask("meshes"))["meshes"] if one["_id"] == group).get("consent", 0) != bits
        ):
            await asyncio.sleep(0.05)

    async def node(self, node_id: str, *, online: bool = True) -> dict[str, Any]:
        """The device as the server lists it, once it is as online as wanted."""
        async with asyncio.timeout(patient(PATIENCE_S)):
            while True:
                for group, nodes in (await self.ask("nodes"))["nodes"].items():
                    for node in nodes:
                        if node["_id"].endswith(node_id) and bool(node.get("conn", 0) & 1) == online:
                            return {"group": group, **node}
                await asyncio.sleep(0.1)

    async def viewer(self, node: str, protocol: int | None = 2) -> Viewer:
        """Open a desktop session as the page does."""
        cookies = await self.ask("authcookie")
        tunnel = f"p=2&nodeid={node}&id={secrets.token_hex(6)}"
        there = self.server.at(self.domain, f"meshrelay.ashx?browser=1&{tunnel}&auth={cookies['cookie']}")
        stream = await self.http.ws_connect(there, ssl=False, max_msg_size=0)
        where = f"*/meshrelay.ashx?{tunnel}&rauth={cookies['rcookie']}"
        await self.send(action="msg", type="tunnel", nodeid=node, value=where, usage=2)
        viewer = Viewer(stream)
        self.viewers.append(viewer)
        await viewer.joined()
        if protocol is not None:
            await stream.send_str(str(protocol))
        return viewer


@contextlib.asynccontextmanager
async def logged_in(server: MeshCentral, name: str = ADMIN, domain: str = "") -> AsyncIterator[User]:
    login = ",".join(base64.b64encode(word.encode()).decode() for word in (name, PASSWORD))
    async with network() as http:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                control = await http.ws_connect(
                    server.at(domain, "control.ashx"), ssl=False, headers={"x-meshauth": login}, max_msg_size=0
                )
                break
            except (aiohttp.ClientError, OSError):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)
        user = User(server, name, http, control, domain)
        try:
            await user.hears(action="userinfo")
            yield user
        finally:
            for viewer in user.viewers:
                await viewer.leave()
            await control.close()


PING = {"ctrlChannel": "102938", "type": "ping"}


class Viewer:
    """A desktop session, as the page has it: what it was shown, and its hands."""

    def __init__(self, stream: aiohttp.ClientWebSocketResponse) -> None:
        self.stream = stream
        self.texts: list[str] = []
        self.commands: list[wire.Command] = []
        self._canvas = Image.new("RGB", (1, 1))
        self._drawn = 0

    async def joined(self) -> None:
        """Read on until the other end is there."""
        await self._until(lambda: {"c", "cr"} & set(self.texts))

    async def sees(self, kind: type[wire.Command], more_than: int = 0) -> wire.Command:
        """Read on until more commands of this kind have come; return the last."""
        await self._until(lambda: self.count(kind) > more_than)
        return next(one for one in reversed(self.commands) if isinstance(one, kind))

    def count(self, kind: type[wire.Command]) -> int:
        """How many commands of this kind have come."""
        return sum(isinstance(one, kind) for one in self.commands)

    def pictures(self, since: int = 0) -> list[Image.Image]:
        """The pictures among the commands from there on."""
        return [Image.open(io.BytesIO(one.image)) for one in self.commands[since:] if isinstance(one, wire.Picture)]

    def canvas(self) -> NDArray[np.int_]:
        """What is shown now: (height, width, 3), red first."""
        for command in self.commands[self._drawn :]:
            if isinstance(command, wire.Screen):
                self._canvas = Image.new("RGB", (command.width, command.height))
            elif isinstance(command, wire.Picture):
                self._canvas.paste(Image.open(io.BytesIO(command.image)), (command.x, command.y))
        self._drawn = len(self.commands)
        return np.asarray(self._canvas).astype(int)

    async def told(self, kind: str) -> dict[str, Any]:
        """Read on until a control text of this type comes."""
        await self._until(lambda: any(one.get("type") == kind for one in self._control()))
        return next(one for one in reversed(self._control()) if one.get("type") == kind)

    async def closed(self) -> None:
        """Read on until the session is over."""
        await self._until(lambda: self.stream.closed)

    async def does(self, *commands: wire.Command) -> None:
        for command in commands:
            await self.stream.send_bytes(encode(command))

    async def leave(self) -> None:
        await self.stream.close()

    def _control(self) -> list[dict[str, Any]]:
        found = [json.loads(text) for text in self.texts if text.startswith("{")]
        return [one for one in found if str(one.get("ctrlChannel")) == "102938"]

    async def _until(self, true: Any) -> None:
        async with asyncio.timeout(patient(PATIENCE_S)):
            while not true():
                message = await self.stream.receive()
                if message.type is aiohttp.WSMsgType.TEXT:
                    self.texts.append(message.data)
                    if self._control()[-1:] == [PING] and message.data.startswith("{"):  # as the page does
                        await self.stream.send_str(json.dumps(PING | {"type": "pong"}))
                elif message.type is aiohttp.WSMsgType.BINARY:
                    self._take(message.data)
                else:
                    assert true(), (message, self.texts)

    def _take(self, data: bytes) -> None:
        decoder = Decoder(Direction.TO_VIEWER)
        decoder.receive_data(data)
        decoder.receive_eof()
        (command,) = decoder.events()  # one a message, or the page's stream is poisoned
        assert struct.unpack_from(">H", data, 2)[0] in (len(data), 8)
        self.commands.append(command)


def certificate(port: int) -> bytes:
    """DER of the TLS certificate that the server shows."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port)))
