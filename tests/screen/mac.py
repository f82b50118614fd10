"""A stand-in for macOS as pyobjc shows it, for tests of what is above the seam. Written from Apple's documentation.

It is no Mac: it knows what the headers say and nothing of what macOS really does. That its functions have the right
names and numbers of arguments, and its constants their values, is checked against pyobjc's wheels (test_macos_names).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from pommel.screen.geometry import Rect
from pommel.screen.sources.macos_frameworks import Frameworks

PADDING = 64  # bytes at the end of a row that are no pixels, as IOSurfaces have them


@dataclass
class FakeDisplay:
    """A display: its place in points, its pixels to the point, and what it shows; `asleep` ones show nothing."""

    id: int
    x: float
    y: float
    width: int
    height: int
    scale: int = 1
    asleep: bool = False
    pixels: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.pixels = np.zeros((self.height * self.scale, self.width * self.scale, 4), np.uint8)


@dataclass
class Event:
    """What was posted."""

    type: str | int
    key: int = 0
    down: bool = False
    at: tuple[float, float] = (0.0, 0.0)
    button: int = 0
    text: str = ""
    lines: tuple[int, ...] = ()
    flags: int = 0
    fields: dict[int, int] = field(default_factory=dict)


class Mac:
    """One Mac. Its frameworks' threads are one serial queue."""

    def __init__(self, *displays: FakeDisplay, release: int = 14) -> None:
        self.displays = list(displays)
        self.release = release
        self.screen_recording = self.accessibility = True
        self.silent = False  # ScreenCaptureKit answers nothing
        self.dirty_in_points = False
        self.no_application = False
        self.caps = False
        self.pointer: str | None = "arrowCursor"
        self.asked: list[str] = []
        self.posted: list[Event] = []
        self.streams: list[Any] = []
        self.stills = 0
        self.pools = 0
        self.queue = ThreadPoolExecutor(1, "dispatch-queue")
        self.modules: dict[str, Any] = {
            "Quartz": Quartz(self), "AppKit": AppKit(self), "HIServices": HIServices(self), "CoreMedia": CoreMedia(),
            "ScreenCaptureKit": screen_capture_kit(self), "objc": Objc(self),
        }  # fmt: skip

    def frameworks(self) -> Frameworks:
        return Frameworks(self.modules.__getitem__, release=self.release)

    def close(self) -> None:
        self.queue.shutdown(wait=True)

    def display(self, number: int) -> FakeDisplay:
        return next(one for one in self.displays if one.id == number)

    def draw(self, number: int, rect: Rect, colour: int) -> None:
        """Fill pixels of a display."""
        shown = self.display(number)
        shown.pixels[rect.y : rect.bottom, rect.x : rect.right] = (colour, colour // 2, 255 - colour, 0)
        for stream in [one for one in self.streams if one.running and one.display is shown]:
            stream.deliver([rect])

    def truth(self, number: int) -> np.ndarray:
        return self.display(number).pixels[:, :, :3]

    def stop_streams(self, code: int, words: str) -> None:
        for stream in [one for one in self.streams if one.running]:
            stream.running = False
            self.queue.submit(stream.delegate.stream_didStopWithError_, stream, NSError(code, words))

    def settle(self) -> None:
        """Wait until all that is on its way has arrived."""
        self.queue.submit(lambda: None).result()


@contextlib.contextmanager
def mac(*displays: FakeDisplay, release: int = 14) -> Iterator[Mac]:
    one = Mac(*(displays or (FakeDisplay(1, 0, 0, 160, 100),)), release=release)
    try:
        yield one
    finally:
        one.close()


def _rect(x: float, y: float, width: float, height: float) -> Any:
    return SimpleNamespace(origin=SimpleNamespace(x=x, y=y), size=SimpleNamespace(width=width, height=height))


def _scaled(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    rows = np.arange(height) * pixels.shape[0] // height
    columns = np.arange(width) * pixels.shape[1] // width
    return np.ascontiguousarray(pixels[rows][:, columns])


class Varlist:
    """objc.varlist."""

    def __init__(self, memory: Any) -> None:
        self._memory = memory

    def as_buffer(self, count: int) -> memoryview:
        whole = memoryview(self._memory).cast("B")
        assert count <= len(whole), "past the end of the memory"
        return whole[:count]


class Quartz:
    """Quartz: CoreGraphics, CoreVideo, CoreFoundation."""

    kCGErrorSuccess = 0
    kCFRunLoopDefaultMode = "kCFRunLoopDefaultMode"
    kCGEventSourceStateCombinedSessionState = 0
    kCGEventSourceStatePrivate = -1
    kCGEventFlagMaskAlphaShift = 1 << 16
    kCGColorSpaceSRGB = "kCGColorSpaceSRGB"
    kCGImageAlphaNoneSkipFirst = 6
    kCGBitmapByteOrder32Little = 2 << 12
    kCVPixelFormatType_32BGRA = int.from_bytes(b"BGRA")
    kCVPixelBufferLock_ReadOnly = 1
    kCVReturnSuccess = 0
    kCGHIDEventTap = 0
    kCGScrollEventUnitLine = 1
    kCGKeyboardEventAutorepeat = 8
    kCGMouseEventClickState = 1
    kCGMouseEventDeltaX = 4
    kCGMouseEventDeltaY = 5
    kCGMouseButtonLeft, kCGMouseButtonRight, kCGMouseButtonCenter = 0, 1, 2
    kCGEventLeftMouseDown, kCGEventLeftMouseUp, kCGEventLeftMouseDragged = 1, 2, 6
    kCGEventRightMouseDown, kCGEventRightMouseUp, kCGEventRightMouseDragged = 3, 4, 7
    kCGEventOtherMouseDown, kCGEventOtherMouseUp, kCGEventOtherMouseDragged = 25, 26, 27
    kCGEventMouseMoved = 5

    def __init__(self, mac: Mac) -> None:
        self._mac = mac

    # displays

    def CGGetActiveDisplayList(self, most: int, ids: None, count: None) -> tuple[int, tuple[int, ...], int]:
        found = tuple(one.id for one in self._mac.displays)[:most]
        return 0, found, len(found)

    def CGDisplayBounds(self, display: int) -> Any:
        one = self._mac.display(display)
        return _rect(one.x, one.y, one.width, one.height)

    def CGDisplayCopyDisplayMode(self, display: int) -> FakeDisplay:
        return self._mac.display(display)

    def CGDisplayModeGetWidth(self, mode: FakeDisplay) -> int:
        return mode.width

    def CGDisplayModeGetPixelWidth(self, mode: FakeDisplay) -> int:
        return mode.width * mode.scale

    def CFRunLoopRunInMode(self, mode: str, seconds: float, once: bool) -> int:
        assert self._mac.pools, "what a run loop leaves behind needs a pool"
        return 1

    # permissions

    def CGPreflightScreenCaptureAccess(self) -> bool:
        return self._mac.screen_recording

    def CGRequestScreenCaptureAccess(self) -> bool:
        self._mac.asked.append("screen")
        return False

    def CGPreflightPostEventAccess(self) -> bool:
        return self._mac.accessibility

    def CGRequestPostEventAccess(self) -> bool:
        self._mac.asked.append("post")
        return False

    def CGEventSourceFlagsState(self, state: int) -> int:
        return 0x10000 if self._mac.caps else 0x100

    # pictures

    def CGDisplayCreateImage(self, display: int) -> np.ndarray | None:
        self._mac.stills += 1
        one = self._mac.display(display)
        return None if one.asleep else one.pixels.copy()

    def CGColorSpaceCreateWithName(self, name: str) -> str:
        return name

    def CGBitmapContextCreate(
        self, data: None, width: int, height: int, bits: int, stride: int, space: Any, info: int
    ) -> Any:
        assert (bits, info, stride) == (8, 6 | 2 << 12, width * 4)
        return np.zeros((height, width, 4), np.uint8)

    def CGBitmapContextGetData(self, context: np.ndarray) -> Varlist:
        return Varlist(context.data)

    def CGRectMake(self, x: float, y: float, width: float, height: float) -> Any:
        return _rect(x, y, width, height)

    def CGContextDrawImage(self, context: np.ndarray, rect: Any, image: np.ndarray) -> None:
        width, height = rect.size.width, rect.size.height
        top = context.shape[0] - rect.origin.y - height
        context[top : top + height, rect.origin.x : rect.origin.x + width] = _scaled(image, width, height)

    def CGRectMakeWithDictionaryRepresentation(self, rect: Any, out: None) -> tuple[bool, Any]:
        if not isinstance(rect, dict):
            return False, _rect(0, 0, 0, 0)
        return True, _rect(rect["X"], rect["Y"], rect["Width"], rect["Height"])

    def CVPixelBufferLockBaseAddress(self, buffer: Surface, flags: int) -> int:
        buffer.locks += 1
        return 0

    def CVPixelBufferUnlockBaseAddress(self, buffer: Surface, flags: int) -> int:
        buffer.locks -= 1
        return 0

    def CVPixelBufferGetWidth(self, buffer: Surface) -> int:
        return buffer.width

    def CVPixelBufferGetHeight(self, buffer: Surface) -> int:
        return buffer.height

    def CVPixelBufferGetBytesPerRow(self, buffer: Surface) -> int:
        return buffer.stride

    def CVPixelBufferGetBaseAddress(self, buffer: Surface) -> Varlist:
        assert buffer.locks > 0, "not locked"
        return Varlist(buffer.memory)

    # events

    def CGEventSourceCreate(self, state: int) -> Any:
        assert state == -1
        return SimpleNamespace(suppression_s=0.25)

    def CGEventSourceSetLocalEventsSuppressionInterval(self, source: Any, seconds: float) -> None:
        source.suppression_s = seconds

    def CGEventCreateKeyboardEvent(self, source: Any, key: int, down: bool) -> Event:
        return Event("key", key=key, down=down)

    def CGEventKeyboardSetUnicodeString(self, event: Event, units: int, text: str) -> None:
        assert units == len(text.encode("utf-16-le")) // 2
        event.text = text

    def CGEventCreateMouseEvent(self, source: Any, kind: int, at: tuple[float, float], button: int) -> Event:
        return Event(kind, at=at, button=button)

    def CGEventCreateScrollWheelEvent2(
        self, source: Any, unit: int, wheels: int, up: int, left: int, in_: int
    ) -> Event:
        assert (unit, wheels, in_) == (1, 2, 0)
        return Event("wheel", lines=(up, left))

    def CGEventSetIntegerValueField(self, event: Event, name: int, value: int) -> None:
        assert isinstance(value, int)
        event.fields[name] = value

    def CGEventSetFlags(self, event: Event, flags: int) -> None:
        event.flags = flags

    def CGEventPost(self, tap: int, event: Event) -> None:
        assert tap == 0
        self._mac.posted.append(event)


class HIServices:
    """HIServices: accessibility."""

    def __init__(self, mac: Mac) -> None:
        self._mac = mac

    def AXIsProcessTrusted(self) -> bool:
        return self._mac.accessibility


class Objc:
    """The bridge."""

    class error(Exception):
        """An Objective-C exception."""

    def __init__(self, mac: Mac) -> None:
        self._mac = mac

    @contextlib.contextmanager
    def autorelease_pool(self) -> Iterator[None]:
        self._mac.pools += 1
        try:
            yield
        finally:
            self._mac.pools -= 1

    def protocolNamed(self, name: str) -> str:
        return name


class NSObject:
    """What classes of ours derive from."""

    adopted: tuple[Any, ...]

    def __init_subclass__(cls, protocols: Any = ()) -> None:
        cls.adopted = tuple(protocols)

    @classmethod
    def alloc(cls) -> Any:
        return cls()

    def init(self) -> Any:
        return self


class NSError:
    def __init__(self, code: int, words: str) -> None:
        self._code, self._words = code, words

    def code(self) -> int:
        return self._code

    def localizedDescription(self) -> str:
        return self._words


class AppKit:
    """AppKit: cursors and the application."""

    NSApplicationActivationPolicyProhibited = 2
    NSCursorFrameResizeDirectionsAll = 3
    NSCursorFrameResizePositionTopLeft = 3
    NSCursorFrameResizePositionTopRight = 9
    NSCursorFrameResizePositionBottomLeft = 6
    NSCursorFrameResizePositionBottomRight = 12

    def __init__(self, mac: Mac) -> None:
        self.NSObject = NSObject
        self.NSCursor = NSCursor(mac)
        self.NSApplication = NSApplication(mac)


class NSApplication:
    def __init__(self, mac: Mac) -> None:
        self._mac, self.policy = mac, 0

    def sharedApplication(self) -> Any:
        if self._mac.no_application:
            raise self._mac.modules["objc"].error("no window server")
        return self

    def setActivationPolicy_(self, policy: int) -> bool:
        self.policy = policy
        return True


class NSCursor:
    """NSCursor's class methods; those of macOS 15 are there from then on."""

    OLD = (
        "arrowCursor", "IBeamCursor", "IBeamCursorForVerticalLayout", "pointingHandCursor", "crosshairCursor",
        "openHandCursor", "closedHandCursor", "operationNotAllowedCursor", "disappearingItemCursor", "dragLinkCursor",
        "dragCopyCursor", "contextualMenuCursor", "resizeLeftCursor", "resizeRightCursor", "resizeLeftRightCursor",
        "resizeUpCursor", "resizeDownCursor", "resizeUpDownCursor",
    )  # fmt: skip
    NEW = ("columnResizeCursor", "rowResizeCursor", "zoomInCursor", "zoomOutCursor")

    def __init__(self, mac: Mac) -> None:
        self._mac = mac
        for name in (*self.OLD, *(self.NEW if mac.release >= 15 else ())):
            setattr(self, name, self._finder(name))
        if mac.release >= 15:
            self.frameResizeCursorFromPosition_inDirections_ = lambda at, ways: Cursor(f"frame {at} {ways}")

    @staticmethod
    def _finder(name: str) -> Callable[[], Cursor]:
        return lambda: Cursor(name)

    def currentSystemCursor(self) -> Cursor | None:
        assert self._mac.pools, "what AppKit leaves behind needs a pool"
        return Cursor(self._mac.pointer) if self._mac.pointer is not None else None


class Cursor:
    def __init__(self, name: str) -> None:
        self._name = name

    def image(self) -> Cursor:
        return self

    def TIFFRepresentation(self) -> bytes:
        return b"II*\0" + self._name.encode()


@dataclass
class Surface:
    """An IOSurface: rows of pixels with padding."""

    width: int
    height: int
    stride: int
    memory: bytearray
    locks: int = 0


class CoreMedia:
    """CoreMedia: a stream's frames."""

    def CMTimeMake(self, value: int, scale: int) -> tuple[int, int]:
        return value, scale

    def CMSampleBufferGetImageBuffer(self, sample: Any) -> Surface | None:
        return sample.surface

    def CMSampleBufferGetSampleAttachmentsArray(self, sample: Any, make: bool) -> list[dict[str, Any]] | None:
        return sample.attachments


class SCStreamConfiguration(NSObject):
    def __init__(self) -> None:
        self.set: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Callable[[Any], None]:
        if not (name.startswith("set") and name.endswith("_")):
            raise AttributeError(name)
        return lambda value: self.set.__setitem__(name[3:-1], value)


def screen_capture_kit(mac: Mac) -> Any:
    """ScreenCaptureKit of one Mac."""

    class SCShareableContent:
        @staticmethod
        def getShareableContentWithCompletionHandler_(handler: Callable[[Any, Any], None]) -> None:
            if mac.silent:
                return
            shown = [SimpleNamespace(displayID=lambda one=one: one.id) for one in mac.displays]
            error = None if mac.screen_recording else NSError(-3801, "The user declined TCCs")
            content = SimpleNamespace(displays=lambda: shown) if error is None else None
            mac.queue.submit(handler, content, error)

    class SCContentFilter(NSObject):
        def initWithDisplay_excludingWindows_(self, display: Any, windows: list[Any]) -> Any:
            self.display = display
            return self

    class SCStream(NSObject):
        def initWithFilter_configuration_delegate_(self, only: Any, how: SCStreamConfiguration, delegate: Any) -> Any:
            self.display, self.how, self.delegate = mac.display(only.display.displayID()), how.set, delegate
            self.running = False
            self.output: Any = None
            mac.streams.append(self)
            return self

        def addStreamOutput_type_sampleHandlerQueue_error_(self, output: Any, kind: int, queue: None, out: None) -> Any:
            assert kind == 0
            self.output = output
            return True, None

        def startCaptureWithCompletionHandler_(self, handler: Callable[[Any], None]) -> None:
            self.running = True
            mac.queue.submit(handler, None)
            if not self.display.asleep:
                self.deliver(None)

        def stopCaptureWithCompletionHandler_(self, handler: Callable[[Any], None]) -> None:
            self.running = False
            mac.queue.submit(handler, None)

        def deliver(self, dirty: list[Rect] | None) -> None:
            width, height = self.how["Width"], self.how["Height"]
            stride = width * 4 + PADDING
            memory = np.full((height, stride), 0xEE, np.uint8)
            memory[:, : width * 4] = _scaled(self.display.pixels, width, height).reshape(height, -1)
            surface = Surface(width, height, stride, bytearray(memory.tobytes()))
            by = (width / self.display.pixels.shape[1]) / (self.display.scale if mac.dirty_in_points else 1)
            notes: dict[str, Any] = {"SCStreamUpdateFrameStatus": 0}
            if dirty is not None:
                notes["SCStreamUpdateFrameDirtyRect"] = [
                    {"X": r.x * by, "Y": r.y * by, "Width": r.width * by, "Height": r.height * by} for r in dirty
                ]
            self.send(SimpleNamespace(surface=surface, attachments=[notes]))

        def send(self, sample: Any) -> None:
            mac.queue.submit(self.output.stream_didOutputSampleBuffer_ofType_, self, sample, 0)

    return SimpleNamespace(
        SCShareableContent=SCShareableContent, SCContentFilter=SCContentFilter, SCStream=SCStream,
        SCStreamConfiguration=SCStreamConfiguration, SCStreamOutputTypeScreen=0,
        SCStreamFrameInfoDirtyRects="SCStreamUpdateFrameDirtyRect",
        SCStreamErrorUserDeclined=-3801, SCStreamErrorMissingEntitlements=-3803, SCStreamErrorUserStopped=-3817,
    )  # fmt: skip
