"""H.264 as it is made here, read back by a decoder."""

from __future__ import annotations

import importlib

import av
import numpy as np
import pytest

from pommel.screen import video
from pommel.screen.geometry import Rect
from pommel.screen.video import H264Encoder, VideoError, fits

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128), (255, 255, 255), (0, 0, 0), (210, 170, 40)]


def waves(count: int, width: int = 320, height: int = 192) -> list[np.ndarray]:
    """Smooth colours that move; BGRX."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    frames = []
    for t in np.linspace(0, 2, count):
        parts = np.sin(x / 41 + t), np.cos(y / 29 - t), np.sin((x + y) / 57 - t), np.zeros_like(x)
        frames.append((128 + 90 * np.stack(parts, -1)).astype(np.uint8))
    return frames


class Screening:
    """A decoder that is given one chunk at a time."""

    def __init__(self) -> None:
        self._decoder = av.CodecContext.create("h264", "r")
        self._decoder.thread_count = 1
        self._decoder.flags |= av.codec.context.Flags.low_delay

    def show(self, chunk: bytes) -> np.ndarray:
        (frame,) = self._decoder.decode(av.Packet(chunk))  # out at once: nothing waits for the next
        assert (frame.color_range, frame.colorspace) == (2, 1)
        return frame.reformat(format="bgra", src_colorspace=1, src_color_range=2).to_ndarray()


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a[..., :3].astype(int) - b[..., :3]).mean())


def test_each_frame_comes_out_at_once_and_looks_like_what_went_in() -> None:
    encoder, screening = H264Encoder(320, 192, 20), Screening()
    for pixels in waves(12):
        assert error(screening.show(encoder.encode(pixels, key=False).data), pixels) < 3


def test_the_first_is_a_key_frame_and_then_only_those_asked_for() -> None:
    encoder = H264Encoder(320, 192, 26)
    keys = [encoder.encode(pixels, key=n == 5).is_key for n, pixels in enumerate(waves(10))]
    assert keys == [n in (0, 5) for n in range(10)]


def test_who_begins_at_a_key_frame_needs_nothing_before_it() -> None:
    encoder, late = H264Encoder(320, 192, 20), Screening()
    frames = waves(8)
    chunks = [encoder.encode(pixels, key=n == 4).data for n, pixels in enumerate(frames)]
    for chunk, pixels in list(zip(chunks, frames, strict=True))[4:]:
        assert error(late.show(chunk), pixels) < 3


@pytest.mark.parametrize("colour", COLOURS)
def test_colours_are_what_they_were(colour: tuple[int, int, int]) -> None:
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[..., :3] = colour
    shown = Screening().show(H264Encoder(64, 64, 26).encode(pixels, key=True).data)
    assert np.abs(shown[..., :3].astype(int) - pixels[..., :3]).max() <= 4


def test_a_part_of_a_larger_frame_is_taken_from_its_place() -> None:
    whole = np.full((400, 700, 4), 77, np.uint8)
    (pixels,) = waves(1)
    whole[100:292, 200:520] = pixels
    there = H264Encoder(320, 192, 20).encode(whole[100:292, 200:520], key=True)
    assert there == H264Encoder(320, 192, 20).encode(pixels, key=True)


def test_a_lower_factor_is_more_bytes_and_less_error() -> None:
    random = np.random.default_rng(1)
    pixels = np.clip(waves(1)[0] + random.normal(0, 8, (192, 320, 4)), 0, 255).astype(np.uint8)
    fine, coarse = (H264Encoder(320, 192, crf).encode(pixels, key=True).data for crf in (18, 30))
    assert len(fine) > len(coarse)
    assert error(Screening().show(fine), pixels) < error(Screening().show(coarse), pixels)


def test_what_it_cannot_do_is_one_kind_of_error() -> None:
    with pytest.raises(VideoError, match="cannot be encoded"):
        H264Encoder(321, 191, 26).encode(np.zeros((191, 321, 4), np.uint8), key=True)  # 4:2:0 has no odd sides


def test_without_pyav_there_is_no_video_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    monkeypatch.setattr(video, "find_spec", lambda name: None)
    assert not video.is_there()
    with pytest.raises(VideoError, match="PyAV cannot be used"):
        H264Encoder(320, 192, 26).encode(waves(1)[0], key=True)


def test_areas_that_fit() -> None:
    assert fits(Rect(0, 0, 1920, 1080)) and fits(Rect(64, 64, 4096, 2304))
    assert not fits(Rect(0, 0, 4160, 1080)) and not fits(Rect(0, 0, 1920, 2306)) and not fits(Rect(0, 0, 1919, 1080))
