"""Fingers on a page, by the browser's own touch events."""

from __future__ import annotations

from collections.abc import Sequence

from playwright.async_api import CDPSession, Page

Point = tuple[float, float]


class Fingers:
    """Up to as many as a hand has; where they are is where they were put or moved last. Points are CSS pixels."""

    def __init__(self, session: CDPSession) -> None:
        self._session = session

    @classmethod
    async def on(cls, page: Page) -> Fingers:
        return cls(await page.context.new_cdp_session(page))

    async def put(self, *points: Point) -> None:
        """Have these fingers down, of which the first ones may be down already."""
        await self._tell("touchStart", points)

    async def move(self, *points: Point) -> None:
        await self._tell("touchMove", points)

    async def lift(self, *stay: Point) -> None:
        """Lift all but these."""
        await self._tell("touchEnd", stay)

    async def lose(self) -> None:
        """Have the browser take them away, as for a gesture of its own."""
        await self._tell("touchCancel", ())

    async def slide(self, begins: Sequence[Point], ends: Sequence[Point], steps: int = 8) -> None:
        """Move fingers that are down, along straight lines."""
        for step in range(1, steps + 1):
            part = step / steps
            await self.move(
                *[
                    (x0 + (x1 - x0) * part, y0 + (y1 - y0) * part)
                    for (x0, y0), (x1, y1) in zip(begins, ends, strict=True)
                ]
            )

    async def tap(self, *points: Point) -> None:
        await self.put(*points)
        await self.lift()

    async def _tell(self, kind: str, points: Sequence[Point]) -> None:
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        await self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
