"""A stand-in for Apple's recovery servers: a real HTTP server on loopback, with a key of its own, and faults on demand.

In a coroutine: `async with FakeApple(...).running() as apple`. From anywhere else, for subprocesses to ask:

    with served(FakeApple(image=udif.make_dmg(udif.macos_disk("14.8.4")))) as apple:
        ... driver_words(apple) ...   # base URL and modulus, from which `origin_from(words)` makes the Origin over there
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache

from aiohttp import web

from pommel.recovery.chunklist import PublicKey
from pommel.recovery.origin import Origin

DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def _is_prime(number: int, dice: random.Random) -> bool:
    if any(number % small == 0 for small in range(3, 2000, 2)):
        return False
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(8):
        x = pow(dice.randrange(2, number - 1), odd, number)
        if x in (1, number - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % number
            if x == number - 1:
                break
        else:
            return False
    return True


def _prime(dice: random.Random) -> int:
    while True:
        number = dice.getrandbits(1024) | 3 << 1022 | 1
        if number % 65537 != 1 and _is_prime(number, dice):
            return number


@dataclass(frozen=True)
class TestKey:
    """An RSA key pair, of no worth: it follows from its seed."""

    __test__ = False
    modulus: int
    secret: int

    @property
    def public(self) -> PublicKey:
        return PublicKey(self.modulus)

    def sign(self, data: bytes, digest_info: bytes = DIGEST_INFO) -> bytes:
        tail = b"\x00" + digest_info + hashlib.sha256(data).digest()
        padded = b"\x00\x01" + b"\xff" * (256 - 2 - len(tail)) + tail
        return pow(int.from_bytes(padded, "big"), self.secret, self.modulus).to_bytes(256, "little")


@cache
def test_key(seed: int = 1) -> TestKey:
    dice = random.Random(seed)
    p, q = _prime(dice), _prime(dice)
    return TestKey(p * q, pow(65537, -1, (p - 1) * (q - 1)))


test_key.__test__ = False  # type: ignore[attr-defined]


def split(image: bytes, size: int) -> list[bytes]:
    return [image[at : at + size] for at in range(0, len(image), size)]


def unsigned(parts: list[tuple[int, bytes]], **header: int) -> bytes:
    """Header and records of a chunklist; `header` overrides its fields."""
    count = header.get("count", len(parts))
    head = struct.pack(
        "<4sIBBBxQQQ",
        b"CNKL",
        header.get("header_size", 0x24),
        header.get("version", 1),
        header.get("chunk_method", 1),
        header.get("signature_method", 1),
        count,
        header.get("chunks_at", 0x24),
        header.get("signature_at", 0x24 + 36 * len(parts)),
    )
    return head + b"".join(struct.pack("<I32s", size, digest) for size, digest in parts)


def make_chunklist(image: bytes, size: int, key: TestKey | None = None, **header: int) -> bytes:
    body = unsigned([(len(part), hashlib.sha256(part).digest()) for part in split(image, size)], **header)
    return body + (key or test_key()).sign(body)


@dataclass
class FakeApple:
    """What it serves, what it was asked, and what shall go wrong (each fault is used up)."""

    image: bytes = field(default_factory=lambda: random.Random(7).randbytes(10 * 16384 - 99))
    chunk_size: int = 16384
    chunklist: bytes = b""
    boards: set[str] = field(default_factory=lambda: {"Mac-27AD2F918AE68F61"})
    product: str = "062-58679"
    others: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # board -> product and image, if not `image`
    hosts: frozenset[str] | None = None
    file: str = "BaseSystem"
    port: int = 0
    # what it was asked
    posts: list[dict[str, str]] = field(default_factory=list)
    ranges: list[int] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    # faults
    post_faults: deque[tuple[int, dict[str, str]]] = field(default_factory=deque)
    session_faults: deque[tuple[int, dict[str, str]]] = field(default_factory=deque)
    asset_faults: deque[tuple[int, dict[str, str]]] = field(default_factory=deque)
    corrupt: Counter[int] = field(default_factory=Counter)
    cut: Counter[int] = field(default_factory=Counter)
    token_uses: int = 10**9
    delay_s: float = 0.0
    whole_files: bool = False
    no_session: bool = False
    too_much: bytes = b""
    drop_key: str = ""
    _tokens: Counter[str] = field(default_factory=Counter)
    _sessions: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.chunklist = self.chunklist or make_chunklist(self.image, self.chunk_size)

    @property
    def origin(self) -> Origin:
        here = f"127.0.0.1:{self.port}"
        return Origin(f"http://{here}", self.hosts or frozenset({here}), test_key().public)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeApple]:
        app = web.Application()
        app.router.add_get("/", self._session)
        app.router.add_post("/InstallationPayload/RecoveryImage", self._post)
        app.router.add_get("/content/{path:.*}", self._asset)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _session(self, request: web.Request) -> web.Response:
        self.requests.append("GET /")
        if self.session_faults:
            status, headers = self.session_faults.popleft()
            return web.Response(status=status, headers=headers)
        response = web.Response()
        response.headers.add("Set-Cookie", "geo=HU; path=/")
        if not self.no_session:
            name = f"{int(time.time())}~{len(self._sessions):08X}"
            self._sessions.add(name)
            response.headers.add("Set-Cookie", f"session={name}; path=/; HttpOnly")
        return response

    async def _post(self, request: web.Request) -> web.Response:
        self.requests.append("POST")
        fields = dict(line.split("=", 1) for line in (await request.text()).split("\n"))
        self.posts.append(fields)
        if self.post_faults:
            status, headers = self.post_faults.popleft()
            return web.Response(status=status, headers=headers)
        if request.headers["Cookie"].removeprefix("session=") not in self._sessions:
            return web.Response(status=401)
        if fields["bid"] not in self.boards | set(self.others):
            return web.Response(status=403)
        product = self.others[fields["bid"]][0] if fields["bid"] in self.others else self.product
        folder = f"http://127.0.0.1:{self.port}/content/downloads/10/50/{product}/abc123/RecoveryImage/{self.file}"
        lines = {"AP": "694-1", "AU": f"{folder}.dmg", "AH": "A" * 64, "AT": self._token()}
        lines |= {"CU": f"{folder}.chunklist", "CH": "B" * 64, "CT": self._token()}
        lines.pop(self.drop_key, None)
        return web.Response(text="".join(f"{key}: {value}\n" for key, value in lines.items()))

    def _token(self) -> str:
        token = f"expires={int(time.time()) + 2700}~access=/content/*~md5={len(self._tokens):032x}"
        self._tokens[token] = self.token_uses
        return token

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"GET {request.path.rpartition('.')[2]}")
        if self.asset_faults:
            status, headers = self.asset_faults.popleft()
            return web.Response(status=status, headers=headers)
        token = request.headers["Cookie"].removeprefix("AssetToken=")
        if self._tokens[token] <= 0:
            return web.Response(status=403)
        self._tokens[token] -= 1
        image, chunklist = self._files(request.path.split("/")[5])
        if request.path.endswith(".chunklist"):
            return web.Response(body=chunklist)
        return await self._image(request, image)

    def _files(self, product: str) -> tuple[bytes, bytes]:
        other = dict(self.others.values()).get(product)
        if other is None:
            return self.image, self.chunklist
        return other, make_chunklist(other, self.chunk_size)

    async def _image(self, request: web.Request, image: bytes) -> web.StreamResponse:
        if self.whole_files:
            return web.Response(body=image)
        first, last = (int(word) for word in request.headers["Range"].removeprefix("bytes=").split("-"))
        if first >= len(image):
            return web.Response(status=416)
        body, index = image[first : last + 1], first // self.chunk_size
        self.ranges.append(index)
        if self.corrupt[index] > 0:
            self.corrupt[index] -= 1
            body = bytes([body[0] ^ 1]) + body[1:]
        response = web.StreamResponse(status=206)
        response.headers["Content-Range"] = f"bytes {first}-{first + len(body) - 1}/{len(image)}"
        response.content_length = len(body) + len(self.too_much)
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        await asyncio.sleep(self.delay_s)
        if self.cut[index] > 0:
            self.cut[index] -= 1
            if request.transport is not None:
                request.transport.abort()
            return response
        await response.write(body[len(body) // 2 :] + self.too_much)
        return response


@contextmanager
def served(apple: FakeApple) -> Iterator[FakeApple]:
    """Serve from a thread of its own."""
    up, loop = threading.Event(), asyncio.new_event_loop()
    down = asyncio.Event()

    async def serve() -> None:
        async with apple.running():
            up.set()
            await down.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        if not up.wait(30):
            raise RuntimeError("the stand-in for Apple does not start")
        yield apple
    finally:
        loop.call_soon_threadsafe(down.set)
        thread.join()
        loop.close()


def driver_words(apple: FakeApple) -> list[str]:
    """What another process needs to ask `apple`."""
    return [apple.origin.base_url, str(apple.origin.key.modulus)]


def origin_from(words: Sequence[str]) -> Origin:
    base_url, modulus = words
    return Origin(base_url, frozenset({base_url.removeprefix("http://")}), PublicKey(int(modulus)))
