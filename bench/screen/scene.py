"""Draw a scene whose frames can be told apart by their pixels, and say when each was drawn.

    python bench/screen/scene.py type|scroll|video|full|idle SECONDS [FPS]

The frame's number stands in the upper left corner as 16 cells of 16×16 pixels, white for one, the highest bit first.
Each frame is told on stdout as `NUMBER MONOTONIC_SECONDS`, the time just before it is given to the X server.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pygame

BITS, CELL = 16, 16
LINE = 22
Draw = Callable[[int], None]


class Scene:
    """A full-screen window and what is drawn in it."""

    def __init__(self) -> None:
        pygame.display.init()
        pygame.font.init()
        info = pygame.display.Info()
        self.width, self.height = info.current_w, info.current_h
        self.window = pygame.display.set_mode((self.width, self.height), pygame.NOFRAME)
        self.random = np.random.default_rng(20)
        self.font = pygame.font.Font(None, 22)
        self.words = ["".join(map(chr, self.random.integers(97, 123, n))) for n in self.random.integers(2, 11, 3000)]

    def page(self, height: int) -> pygame.Surface:
        """Make a page of text, as wide as the screen."""
        surface = pygame.Surface((self.width, height))
        surface.fill((252, 252, 250))
        for line, y in enumerate(range(2, height - LINE, LINE)):
            text = " ".join(self.words[(line * 29 + n) % len(self.words)] for n in range(29))
            surface.blit(self.font.render(text, True, (32, 32, 40)), (20, y))
        return surface

    def clip(self, width: int, height: int, count: int) -> list[pygame.Surface]:
        """Make a few frames of something that moves and has a camera's noise."""
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        frames = []
        for t in np.linspace(0, 2 * np.pi, count, endpoint=False):
            waves = (
                np.sin(x / 41 + t) + np.cos(y / 29 - t),
                np.sin((x + y) / 57 - t),
                np.cos((x - 2 * y) / 71 + 2 * t),
            )
            picture = 128 + 55 * np.stack(waves, -1) + self.random.normal(0, 5, (height, width, 3))
            frames.append(pygame.surfarray.make_surface(np.clip(picture, 0, 255).astype(np.uint8).swapaxes(0, 1)))
        return frames

    def number(self, count: int) -> None:
        """Write a frame's number into the corner."""
        for bit in range(BITS):
            white = count >> (BITS - 1 - bit) & 1
            self.window.fill((255 * white,) * 3, (bit * CELL, 0, CELL, CELL))


def idle(scene: Scene) -> Draw:
    """Nothing moves, not even the number."""
    return lambda _: None


def typing(scene: Scene) -> Draw:
    """A word appears each frame, among text."""

    def draw(count: int) -> None:
        word = scene.font.render(scene.words[count % len(scene.words)], True, (190, 30, 40), (252, 252, 250))
        scene.window.blit(word, (40 + count % 17 * 100, 402 + count // 17 % 20 * LINE))
        scene.number(count)

    return draw


def scroll(scene: Scene) -> Draw:
    """A long page moves up by a line each frame."""
    page = scene.page(scene.height * 3)

    def draw(count: int) -> None:
        scene.window.blit(page, (0, -(count * LINE % (scene.height * 2))))
        scene.number(count)

    return draw


def video(scene: Scene) -> Draw:
    """A quarter of the screen is a film."""
    frames = scene.clip(scene.width // 2, scene.height // 2, 24)

    def draw(count: int) -> None:
        scene.window.blit(frames[count % len(frames)], (scene.width // 4, scene.height // 4))
        scene.number(count)

    return draw


def full(scene: Scene) -> Draw:
    """All of the screen is a film."""
    frames = scene.clip(scene.width, scene.height, 8)

    def draw(count: int) -> None:
        scene.window.blit(frames[count % len(frames)], (0, 0))
        scene.number(count)

    return draw


SCENES = {"idle": idle, "type": typing, "scroll": scroll, "video": video, "full": full}


def ticks(seconds: float, fps: float) -> Iterator[int]:
    """Yield 1, 2, … in time; late ones are not made up for."""
    begun = time.monotonic()
    count = 0
    while time.monotonic() - begun < seconds:
        count += 1
        yield count
        time.sleep(max(0.0, begun + count / fps - time.monotonic()))


def main(name: str, seconds: float, fps: float) -> None:
    scene = Scene()
    scene.window.blit(scene.page(scene.height), (0, 0))
    draw = SCENES[name](scene)
    scene.number(0)
    pygame.display.flip()
    for count in ticks(seconds, fps):
        pygame.event.pump()
        draw(count)
        drawn = time.monotonic()
        if name != "idle":
            pygame.display.flip()
        print(count, f"{drawn:.6f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 30.0)
