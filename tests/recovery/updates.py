"""A stand-in for Apple's servers of software updates: the catalogue, distributions, and one package in chunks.

The catalogue and the distributions have the shape that mist-cli, gibMacOS and installinstallmacos.py read.
"""

from __future__ import annotations

import datetime
import gzip
import hashlib
import plistlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from .apple import CATALOG, FakeApple, split, unsigned

POSTED = datetime.datetime(2026, 9, 1, 17, 0, 0)


@dataclass(frozen=True)
class Offer:
    """One product of the catalogue; all have the same package."""

    version: str
    build: str
    boards: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    day: int = 0


OFFERS = {
    "012-92138": Offer("13.7.8", "22H730", day=1),
    "042-11111": Offer("14.7.1", "23H222", day=2),
    "042-22222": Offer("14.8.4", "23J319", boards=("Mac-7BA5B2D9E42DDD94",), day=3),
    "082-33333-A": Offer("26.1", "25B78", refused=("iMacPro1,1",), day=4),
}


def digested(image: bytes, chunk: int) -> bytes:
    """A chunklist with a bare digest (signature method 2)."""
    parts = [(len(part), hashlib.sha256(part).digest()) for part in split(image, chunk)]
    body = unsigned(parts, signature_method=2)
    return body + hashlib.sha256(body).digest()


def distribution(offer: Offer) -> str:
    """An installer's distribution, as far as it is read."""

    def array(words: tuple[str, ...]) -> str:
        return ",".join(f"'{word}'" for word in words)

    script = f"var supportedBoardIDs = [{array(offer.boards)}];\n" if offer.boards else ""
    script += f"var nonSupportedModels = [{array(offer.refused)}];\n" if offer.refused else ""
    return f"""<?xml version="1.0" encoding="utf-8"?>
<installer-gui-script minSpecVersion="2"><options hostArchitectures="x86_64"/><script><![CDATA[{script}]]></script>
<auxinfo>
<dict>
  <key>BUILD</key>
  <string>{offer.build}</string>
  <key>VERSION</key>
  <string>{offer.version}</string>
</dict>
</auxinfo></installer-gui-script>"""


@dataclass
class FakeUpdates(FakeApple):
    """What the update servers offer; `image` is the package, and its faults are those of FakeApple."""

    offers: Mapping[str, Offer] = field(default_factory=lambda: dict(OFFERS))
    integrity: bytes = b""
    broken: frozenset[str] = frozenset()  # products whose distribution cannot be used
    redirect: str = ""

    def catalog(self) -> bytes:
        """The catalogue, packed."""
        products: dict[str, object] = {
            "001-00001": {"PostDate": POSTED, "Packages": [{"URL": "http://swcdn.apple.com/x/Safari.pkg", "Size": 1}]}
        }
        return gzip.compress(
            plistlib.dumps({"CatalogVersion": 2, "Products": products | {k: self._product(k) for k in self.offers}})
        )

    def _product(self, key: str) -> dict[str, object]:
        base = f"http://127.0.0.1:{self.port}/downloads/{key}"
        package = f"{base}/InstallAssistant.pkg"
        return {
            "PostDate": POSTED + datetime.timedelta(days=self.offers[key].day),
            "ExtendedMetaInfo": {"InstallAssistantPackageIdentifiers": {"SharedSupport": "com.apple.pkg.x"}},
            "Distributions": {"English": f"{base}/{key}.English.dist"},
            "Packages": [
                {"URL": f"{base}/MajorOSInfo.pkg", "Size": 9},
                {"URL": package, "Size": len(self.image), "IntegrityDataURL": f"{package}.integrityDataV1"},
            ],
        }

    def _serve(self, router: web.UrlDispatcher) -> None:
        super()._serve(router)
        router.add_get(CATALOG, self._catalog)
        router.add_get("/downloads/{key}/{file}", self._download)

    async def _catalog(self, request: web.Request) -> web.Response:
        self.requests.append("GET catalog")
        return web.Response(body=self.catalog())

    async def _download(self, request: web.Request) -> web.StreamResponse:
        key, file = request.match_info["key"], request.match_info["file"]
        self.requests.append(f"GET {file}")
        if file.endswith(".dist"):
            return web.Response(text="" if key in self.broken else distribution(self.offers[key]))
        if file.endswith(".integrityDataV1"):
            return web.Response(body=self.integrity or digested(self.image, self.chunk_size))
        if self.redirect:
            return web.Response(status=302, headers={"Location": self.redirect})
        return await self._image(request, self.image)
