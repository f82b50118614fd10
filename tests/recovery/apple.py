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

from pommel.recovery.chunklist import ChunklistKey
from pommel.recovery.origin import Origin

CATALOG = "/catalogs/index.merged-1.sucatalog.gz"
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


# Two primes of 1024 bits for each key: to look for them took every run of the tests a second.
_PRIMES = {
    1: (
        "eab71cab529b97728b9d3f47844497a462e1faa4491b8f6edc59bb7f84fe09a34e1c2f72f9e1167a3da14a118a55fc2e5b4e"
        "6012868befb0d3bdc69856c1294de2a1bcfd6f20ab1fdbe3ef75172059b20e8eac3e8620e74d0d7e541ae6d9c9c45b33a9c6"
        "9782277f86e1ccc098d5a3e6faa34cd45a0322d948b70083ee09f973",
        "dc3fc6b4df9619b6cc4f0e981b77d53b1631e144d9815a6d593d40768cc3f35f925b0cec2bac2333779f5658ea1888a420c6"
        "b9b3bb76d3d4f834a421121acc7c46b87f72e786c6df1a0f28dd6b1a24643b909781bf3456e8c214787f36d5ff58878c6ad5"
        "585f534e387fc1364ba6674b5c3a6281346b1a20c263ee292964b20b",
    ),
    2: (
        "e251be8c2110d5893f8e2df7406da8816b0f4c495ab94f28107a6872d99a48fbd48f803b51c0d0d96144c509181cec19acec"
        "e21a0b56fc255d2af83e717297fb824def4f99bda280feec33f232d4ec70919c7d41fc4f5695b511f1421c03821323af56cd"
        "05cdc4ad80094c2de69c4becdb85c6778bacb3fce46447f2b048145d",
        "d3b172cbffbd2f1ad588a68b29181094670d6b18979ddd01789293c519861388179bc2c6a7ae002099f122609ec33585ae37"
        "aa89504c6172a451dbfabb7eabfcfe0f9a6b8f1267713a3ea23bc80c667f6a8ff2f8e8ec6db7d5e6376c97abf82aa87f7be9"
        "0163e8eab47597990cd2c6f3c51ac10ee361c8d3c7c88a8983d1c7d1",
    ),
}


@dataclass(frozen=True)
class TestKey:
    """An RSA key pair, of no worth: it is the same in each run."""

    __test__ = False
    modulus: int
    secret: int

    @property
    def public(self) -> ChunklistKey:
        return ChunklistKey(self.modulus)

    def sign(self, data: bytes, digest_info: bytes = DIGEST_INFO) -> bytes:
        tail = b"\x00" + digest_info + hashlib.sha256(data).digest()
        padded = b"\x00\x01" + b"\xff" * (256 - 2 - len(tail)) + tail
        return pow(int.from_bytes(padded, "big"), self.secret, self.modulus).to_bytes(256, "little")


@cache
def test_key(number: int = 1) -> TestKey:
    p, q = (int(prime, 16) for prime in _PRIMES[number])
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
        return origin_at(f"http://{here}", self.hosts or frozenset({here}), test_key().public)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeApple]:
        app = web.Application()
        self._serve(app.router)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    def _serve(self, router: web.UrlDispatcher) -> None:
        router.add_get("/", self._session)
        router.add_post("/InstallationPayload/RecoveryImage", self._post)
        router.add_get("/content/{path:.*}", self._asset)

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
    return origin_at(base_url, frozenset({base_url.removeprefix("http://")}), ChunklistKey(int(modulus)))


def origin_at(base_url: str, hosts: frozenset[str], key: ChunklistKey) -> Origin:
    return Origin(base_url, hosts, key, f"{base_url}{CATALOG}", hosts, "http")
