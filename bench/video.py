"""Would a video codec be a better way for areas that change every frame? JPEG beside H.264 and VP8, frame by frame.

    pip install -e '.[bench]'; python bench/video.py

For 960×540 at 30 fps, each codec at settings for live use: bytes and milliseconds a frame, and PSNR in dB against what was
drawn. *Bytes at JPEG's PSNR* is read off each codec's curve between two settings, so that all rows show equal pictures.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from statistics import median

import av
import numpy as np
import simplejpeg

WIDTH, HEIGHT, FRAMES, QUALITY = 960, 540, 60, 50
Clip = list[np.ndarray]
Result = tuple[float, float, float]  # bytes a frame, ms a frame, dB


def film(grain: float) -> Callable[[np.random.Generator], Clip]:
    """Smooth colours that move, with a camera's noise."""

    def make(random: np.random.Generator) -> Clip:
        y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
        frames = []
        for t in np.linspace(0, 2 * np.pi, FRAMES, endpoint=False):
            waves = (
                np.sin(x / 41 + t) + np.cos(y / 29 - t),
                np.sin((x + y) / 57 - t),
                np.cos((x - 2 * y) / 71 + 2 * t),
            )
            frames.append(_bytes(128 + 55 * np.stack(waves, -1) + random.normal(0, grain, (HEIGHT, WIDTH, 3))))
        return frames

    return make


def pan(random: np.random.Generator) -> Clip:
    """A view over something with the spectrum of nature (1/f), moving 3 pixels a frame, with a little noise."""
    width = WIDTH + 3 * FRAMES
    fy, fx = np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(width)[None]
    fall = 1 / np.maximum(np.hypot(fy, fx), 1 / width)
    waves = [np.fft.rfft2(random.normal(size=(HEIGHT, width))) for _ in range(3)]
    light = np.fft.irfft2(waves[0] * fall, (HEIGHT, width))
    tints = [np.fft.irfft2(wave * fall**2, (HEIGHT, width)) for wave in waves]  # colour is smoother than light
    scene = np.stack([128 + 38 * light / light.std() + 12 * tint / tint.std() for tint in tints], -1)
    shots = (scene[:, 3 * n : 3 * n + WIDTH] for n in range(FRAMES))
    return [_bytes(shot + random.normal(0, 2, shot.shape)) for shot in shots]


def _bytes(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture, 0, 255).astype(np.uint8)


def psnr(clip: Clip, shown: Clip) -> float:
    errors = [np.mean((a.astype(np.float32) - b) ** 2) for a, b in zip(clip, shown, strict=True)]
    return float(10 * np.log10(255**2 / np.mean(errors)))


def jpeg(clip: Clip, quality: int) -> Result:
    times, files = [], []
    for frame in clip:
        begun = time.perf_counter()
        files.append(simplejpeg.encode_jpeg(frame, quality, "RGB", "420"))
        times.append(time.perf_counter() - begun)
    shown = [simplejpeg.decode_jpeg(file) for file in files]
    return sum(map(len, files)) / len(clip), 1000 * median(times), psnr(clip, shown)


def video(codec: str, decoder: str, options: dict[str, str], bit_rate: int | None = None) -> Callable[[Clip], Result]:
    def run(clip: Clip) -> Result:
        coder = av.CodecContext.create(codec, "w")
        coder.width, coder.height, coder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        coder.time_base, coder.framerate, coder.options, coder.thread_count = Fraction(1, 30), Fraction(30), options, 1
        if bit_rate:
            coder.bit_rate = bit_rate
        times, packets = [], []
        for number, pixels in enumerate(clip):
            begun = time.perf_counter()
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            frame.pts = number
            packets += [bytes(packet) for packet in coder.encode(frame)]
            times.append(time.perf_counter() - begun)
        reader = av.CodecContext.create(decoder, "r")
        packets += [bytes(packet) for packet in coder.encode(None)]
        shown = [out.to_ndarray(format="rgb24") for one in packets for out in reader.decode(av.Packet(one))]
        shown += [out.to_ndarray(format="rgb24") for out in reader.decode(None)]
        return sum(map(len, packets)) / len(clip), 1000 * median(times), psnr(clip, shown)

    return run


def h264(preset: str) -> list[Callable[[Clip], Result]]:
    settings = {"preset": preset, "tune": "zerolatency"}
    return [video("libx264", "h264", settings | {"crf": str(crf)}) for crf in (12, 16, 20, 24, 28, 33)]


def vp8() -> list[Callable[[Clip], Result]]:
    settings = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    return [video("libvpx", "vp8", settings, rate * 1_000_000) for rate in (1, 2, 4, 8, 16)]


def at_quality(results: list[Result], wanted_db: float) -> tuple[float, float]:
    """Bytes and ms a frame where a codec's curve has the wanted PSNR; not a number where it never has."""
    curve = sorted(results, key=lambda result: result[2])
    decibels = [result[2] for result in curve]
    if not decibels[0] <= wanted_db <= decibels[-1]:
        return float("nan"), float("nan")
    size = np.exp(np.interp(wanted_db, decibels, [np.log(result[0]) for result in curve]))
    return float(size), float(np.interp(wanted_db, decibels, [result[1] for result in curve]))


def main() -> None:
    random = np.random.default_rng(20)
    codecs = {"H.264 ultrafast": h264("ultrafast"), "H.264 superfast": h264("superfast"), "VP8 realtime": vp8()}
    print(
        f"| clip | PSNR dB | JPEG {QUALITY}: bytes, ms | "
        + " | ".join(codecs)
        + " |\n|---|---|---|"
        + "---|" * len(codecs)
    )
    for name, make in {"film, no noise": film(0), "film, grain": film(5), "pan over nature": pan}.items():
        clip = make(random)
        size, took, decibels = jpeg(clip, QUALITY)
        cells = []
        for runs in codecs.values():
            other, cost = at_quality([run(clip) for run in runs], decibels)
            cells.append(
                f"{other:.0f}, {cost:.1f} ({size / other:.1f}× fewer)" if other == other else "never that good"
            )
        print(f"| {name} | {decibels:.1f} | {size:.0f}, {took:.1f} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
