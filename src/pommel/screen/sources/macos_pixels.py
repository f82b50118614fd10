"""Pixels from macOS: memory to draw into, and streams of ScreenCaptureKit. Band: shell. Not run on a Mac yet.

Like `macos_frameworks`, it only calls macOS. From Apple's headers: CGBitmapContext.h, CVPixelBuffer.h,
CMSampleBuffer.h, SCStream.h. Memory whose length C does not know is a `varlist` in pyobjc. A stream calls back in
threads of macOS, where an uncaught exception ends the process, so all exceptions are caught here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

from pommel.errors import StateError
from pommel.screen.frame import BYTES_PER_PIXEL, Pixels
from pommel.screen.geometry import Rect, Size
from pommel.screen.sources.macos_displays import Floats
from pommel.screen.sources.macos_frameworks import Frameworks, MacError

_BITS = 8
_FRAMES_PER_S = 60
# ScreenCaptureKit draws into this many surfaces in turn: we copy from one, one waits for us, and two are free to draw
# in.
_QUEUE_DEPTH = 4


class Canvas:
    """Memory in the frame's own format that Quartz draws into."""

    def __init__(self, frameworks: Frameworks, size: Size) -> None:
        """Make it. StateError: there is no memory."""
        Quartz = self._quartz = frameworks.Quartz
        stride = size.width * BYTES_PER_PIXEL
        space = Quartz.CGColorSpaceCreateWithName(Quartz.kCGColorSpaceSRGB)
        form = Quartz.kCGImageAlphaNoneSkipFirst | Quartz.kCGBitmapByteOrder32Little  # blue first in memory
        self._context = Quartz.CGBitmapContextCreate(None, size.width, size.height, _BITS, stride, space, form)
        if self._context is None:
            raise StateError(f"macOS has no memory for a picture of {size.width}×{size.height}")
        memory = Quartz.CGBitmapContextGetData(self._context).as_buffer(stride * size.height)
        self._size, self.pixels = size, _view(memory, size, stride)

    def draw(self, image: Any, place: Rect) -> None:
        """Draw a CGImage at `place`, scaled to its size. Any thread, one at a time."""
        Quartz = self._quartz
        bottom = self._size.height - place.bottom  # Quartz has its origin at the bottom
        Quartz.CGContextDrawImage(self._context, Quartz.CGRectMake(place.x, bottom, place.width, place.height), image)


class MacFrame:
    """One frame of a stream, as long as this object lives."""

    def __init__(self, frameworks: Frameworks, buffer: Any) -> None:
        CoreMedia, self._quartz = frameworks.CoreMedia, frameworks.Quartz
        self._buffer = buffer  # while we keep it, macOS does not draw into its surface again
        self._image = CoreMedia.CMSampleBufferGetImageBuffer(buffer)
        notes = CoreMedia.CMSampleBufferGetSampleAttachmentsArray(buffer, False)
        key = frameworks.ScreenCaptureKit.SCStreamFrameInfoDirtyRects
        self._dirty = notes[0].get(key) if notes else None

    @property
    def has_picture(self) -> bool:
        """Whether the frame has pixels: a frame that only reports "nothing changed" has none."""
        return self._image is not None

    @property
    def dirty(self) -> list[Floats] | None:
        """Return the rectangles that changed since the stream's last frame; None if they are unknown."""
        if self._dirty is None:
            return None
        rects = [self._quartz.CGRectMakeWithDictionaryRepresentation(one, None) for one in self._dirty]
        if not all(known for known, _ in rects):
            return None
        return [(rect.origin.x, rect.origin.y, rect.size.width, rect.size.height) for _, rect in rects]

    @contextlib.contextmanager
    def pixels(self) -> Iterator[Pixels | None]:
        """Lock its pixels and return them, without a copy; None if they are not available."""
        Quartz, image = self._quartz, self._image
        if Quartz.CVPixelBufferLockBaseAddress(image, Quartz.kCVPixelBufferLock_ReadOnly) != Quartz.kCVReturnSuccess:
            yield None
            return
        try:
            size = Size(Quartz.CVPixelBufferGetWidth(image), Quartz.CVPixelBufferGetHeight(image))
            stride = Quartz.CVPixelBufferGetBytesPerRow(image)
            address = Quartz.CVPixelBufferGetBaseAddress(image)
            yield _view(address.as_buffer(stride * size.height), size, stride) if address is not None else None
        finally:
            Quartz.CVPixelBufferUnlockBaseAddress(image, Quartz.kCVPixelBufferLock_ReadOnly)


class DisplayStream:
    """One display's stream. Its callbacks are called in threads of macOS."""

    def __init__(
        self, frameworks: Frameworks, display: Any, size: Size,
        arrived: Callable[[MacFrame], None], stopped: Callable[[MacError], None],
    ) -> None:  # fmt: skip
        """Prepare it for an SCDisplay; `size` is the wanted size of its frames."""
        ScreenCaptureKit, self._frameworks = frameworks.ScreenCaptureKit, frameworks
        self._listener = _listener_class(frameworks.objc, frameworks.AppKit.NSObject).alloc().init()
        self._listener.arrived = lambda buffer: arrived(MacFrame(frameworks, buffer))
        self._listener.stopped = lambda error: stopped(frameworks.problem(error))
        self._listener.failed = lambda why: stopped(MacError(0, why))
        only = ScreenCaptureKit.SCContentFilter.alloc().initWithDisplay_excludingWindows_(display, [])
        self._stream = ScreenCaptureKit.SCStream.alloc().initWithFilter_configuration_delegate_(
            only, _configuration(frameworks, size), self._listener
        )

    def start(self, started: Callable[[MacError | None], None]) -> None:
        """Begin; `started` is called with the error, or None."""
        ScreenCaptureKit, problem = self._frameworks.ScreenCaptureKit, self._frameworks.problem
        # With None as the queue it uses a serial queue of its own.
        added, error = self._stream.addStreamOutput_type_sampleHandlerQueue_error_(
            self._listener, ScreenCaptureKit.SCStreamOutputTypeScreen, None, None
        )
        if not added:
            started(problem(error))
            return
        self._stream.startCaptureWithCompletionHandler_(
            lambda error: started(problem(error) if error is not None else None)
        )

    def stop(self) -> None:
        """End; a frame on its way may still arrive."""
        self._stream.stopCaptureWithCompletionHandler_(lambda error: None)


def _configuration(frameworks: Frameworks, size: Size) -> Any:
    CoreMedia, Quartz = frameworks.CoreMedia, frameworks.Quartz
    made = frameworks.ScreenCaptureKit.SCStreamConfiguration.alloc().init()
    made.setWidth_(size.width)
    made.setHeight_(size.height)
    made.setPixelFormat_(Quartz.kCVPixelFormatType_32BGRA)
    made.setColorSpaceName_(Quartz.kCGColorSpaceSRGB)
    made.setShowsCursor_(False)
    made.setQueueDepth_(_QUEUE_DEPTH)
    made.setMinimumFrameInterval_(CoreMedia.CMTimeMake(1, _FRAMES_PER_S))
    return made


@cache  # Objective-C finds classes by name: making the same class twice is an error
def _listener_class(objc: Any, base: Any) -> Any:
    protocols = [objc.protocolNamed(name) for name in ("SCStreamOutput", "SCStreamDelegate")]

    class PommelStreamListener(base, protocols=protocols):  # type: ignore[misc, call-arg]
        """The receiver of a stream's frames and of its end."""

        def stream_didOutputSampleBuffer_ofType_(self, stream: Any, buffer: Any, kind: int) -> None:
            try:
                self.arrived(buffer)
            except Exception as surprise:
                self.failed(f"{type(surprise).__name__}: {surprise}")

        def stream_didStopWithError_(self, stream: Any, error: Any) -> None:
            try:
                self.stopped(error)
            except Exception as surprise:
                self.failed(f"{type(surprise).__name__}: {surprise}")

    return PommelStreamListener


def _view(memory: Any, size: Size, stride: int) -> Pixels:
    """View memory with rows `stride` bytes apart as a picture; nothing is copied."""
    return np.ndarray((size.height, size.width, BYTES_PER_PIXEL), np.uint8, memory, 0, (stride, BYTES_PER_PIXEL, 1))
