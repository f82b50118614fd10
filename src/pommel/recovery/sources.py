"""The source of a file that is downloaded in chunks: its token, and the list of its chunks. Band: shell.

A recovery image is asked for with a board, and its token grows stale. A full installer is open to all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from pommel.errors import RecoveryError
from pommel.recovery.catalog import Board
from pommel.recovery.chunklist import FILE_BYTES_MAX, Chunklist, ChunklistKey, parse, parse_digested
from pommel.recovery.client import AskAgain, Client, Stale
from pommel.recovery.service import Asset, BoardRefused, BoardReply
from pommel.recovery.software_catalog import Product


class Source(Protocol):
    """One file at Apple's."""

    @property
    def product(self) -> str:
        """Apple's id; empty before `begin`."""

    async def begin(self) -> tuple[Asset, bytes]:
        """The file, and its chunklist, unchecked; once."""

    async def renew(self, stale: Asset) -> Asset:
        """The same file again, when the server no longer gives `stale`.

        Raises:
            RecoveryError: it cannot be had, or is another one by now.
        """

    def parse(self, raw: bytes) -> Chunklist:
        """The chunklist, checked. ChunklistError: it cannot be trusted."""


@dataclass
class BoardSource:
    """The recovery image of one board."""

    client: Client
    board: Board
    key: ChunklistKey
    product: str = field(default="", init=False)

    async def begin(self) -> tuple[Asset, bytes]:
        """Ask for the image, and fetch its chunklist."""
        answer = await self.client.ask(self.board)
        self.product = answer.product
        try:
            return answer.image, await self.client.fetch_chunklist(answer.chunklist)
        except Stale:
            raise AskAgain("the chunklist's token was refused") from None

    async def renew(self, stale: Asset) -> Asset:
        """Ask for a new token."""
        fresh = await self._ask()
        if fresh.image.path != stale.path:
            raise RecoveryError("Apple has a newer image since this download began", hint="run the same command again")
        return fresh.image

    async def _ask(self) -> BoardReply:
        try:
            return await self.client.ask(self.board)
        except BoardRefused:
            raise RecoveryError(
                f"Apple gives no new token for board {self.board.board_id}", hint="try again later"
            ) from None

    def parse(self, raw: bytes) -> Chunklist:
        """By Apple's signature."""
        return parse(raw, self.key)


@dataclass
class PackageSource:
    """A full installer of the software catalogue. Its chunklist has a digest and no signature."""

    client: Client
    package: Product

    @property
    def product(self) -> str:
        """Apple's id."""
        return self.package.id

    async def begin(self) -> tuple[Asset, bytes]:
        """Fetch the chunklist."""
        what = "fetching the installer's chunklist"
        raw = await self.client.fetch_whole(self.package.integrity, FILE_BYTES_MAX, what)
        return Asset(self.package.package, "", ""), raw

    async def renew(self, stale: Asset) -> Asset:
        """There is no token to renew."""
        raise RecoveryError(
            f"Apple no longer gives {stale.file_name} of product {self.product}",
            hint="see which installers there are: pommel installer list",
        )

    def parse(self, raw: bytes) -> Chunklist:
        """By its digest, and by the size that the catalogue says."""
        found = parse_digested(raw)
        if found.total_size != self.package.size_bytes:
            raise RecoveryError(
                f"the installer has {self.package.size_bytes} bytes in Apple's catalogue, but {found.total_size} in its"
                " chunklist",
                hint="run the same command again; Apple may be publishing another one",
            )
        return found
