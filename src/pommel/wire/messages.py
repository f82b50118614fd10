"""The vocabulary of MeshCentral's KVM wire: one frozen dataclass for each command. Band: core, no I/O.

These are values, not bytes: the layouts are in `bodies` and `codec`. Names and numbers are MeshCentral's. A field is
only checked to fit its place in the bytes. The receiver decides what a value means (a quality of 0, a display that does
not exist). Commands whose meaning depends on the sender have one class for each direction:

    number   viewer to endpoint                endpoint to viewer
    11       GetDisplays                       DisplayList
    12       SetDisplay (a wish)               SetDisplay (what is shown now)
    14       InitTouch (can you?)              TouchReady (yes)
    15       Touch, MultiTouch                 ResetTouches
    17       Message                           Message
    87       InputLock (do or query)           InputLock (the state now)

Numbers from 200 on are Pommel's own, between its page and its endpoints. A viewer that never sends `Abilities` gets
only commands that MeshCentral's knows, and other endpoints ignore unknown commands.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from pommel.wire.mouse import MouseKind as MouseKind
from pommel.wire.mouse import MoveBy as MoveBy
from pommel.wire.mouse import SideButton as SideButton
from pommel.wire.mouse import Turn as Turn


class Direction(Enum):
    """The receiver of the bytes."""

    TO_ENDPOINT = "viewer to endpoint"
    TO_VIEWER = "endpoint to viewer"


# The button byte of `Mouse`.
MOVE = 0x00
LEFT_DOWN, LEFT_UP = 0x02, 0x04
RIGHT_DOWN, RIGHT_UP = 0x08, 0x10
MIDDLE_DOWN, MIDDLE_UP = 0x20, 0x40
DOUBLE_CLICK = 0x88  # an addition to the two clicks' own downs and ups, not a click

SCALE_ONE = 1024  # Compression.scaling for 100 %
ALL_DISPLAYS = 0xFFFF

# KeyState.bits
NUM_LOCK, SCROLL_LOCK, CAPS_LOCK = 1, 2, 4

# Abilities.bits
ACKNOWLEDGES, TAKES_WEBP, TAKES_PNG, TAKES_VIDEO, WANTS_BLOCKS, SHOWS_POINTER = 1, 2, 4, 8, 16, 32
KEYS_BY_LEGEND, ASKS_OF_MOUSE, TAKES_MOVES = 64, 128, 256
BLOCK = 16

# Video.codec and Video.flags
H264_ANNEX_B = 2
KEY_FRAME, STREAM_BEGINS = 1, 2

POINTER_SIDE = 256  # the maximum of Pointer.width and Pointer.height

# InputLock.state; only viewers send the last, as a question
UNLOCKED, LOCKED, QUERY_LOCK = 0, 1, 2


class ImageFormat(IntEnum):
    """Image formats a viewer may ask for in `Compression`."""

    JPEG = 1
    PNG = 2
    TIFF = 3
    WEBP = 4


class CursorShape(IntEnum):
    """Shapes of `MouseCursor`; the comment is the CSS cursor."""

    ARROW = 0  # default
    PROGRESS = 1  # progress
    CROSSHAIR = 2  # crosshair
    POINTER = 3  # pointer
    HELP = 4  # help
    TEXT = 5  # text
    NO_DROP = 6  # no-drop
    MOVE = 7  # move
    NESW_RESIZE = 8  # nesw-resize
    NS_RESIZE = 9  # ns-resize
    NWSE_RESIZE = 10  # nwse-resize
    EW_RESIZE = 11  # ew-resize
    ALIAS = 12  # alias
    WAIT = 13  # wait
    NONE = 14  # none: hidden
    NOT_ALLOWED = 15  # not-allowed
    COL_RESIZE = 16  # col-resize
    ROW_RESIZE = 17  # row-resize
    COPY = 18  # copy
    ZOOM_IN = 19  # zoom-in
    ZOOM_OUT = 20  # zoom-out


@dataclass(frozen=True, slots=True)
class Nop:
    """0: nothing."""


@dataclass(frozen=True, slots=True)
class Key:
    """1: a key by its Windows virtual key number; `extended` distinguishes the right Ctrl, keypad Enter and so on."""

    vk: int
    down: bool
    extended: bool = False


@dataclass(frozen=True, slots=True)
class Mouse:
    """2: the pointer is at x, y of the announced Screen; `button` (LEFT_DOWN …, or MOVE) is the event there."""

    x: int
    y: int
    button: int = MOVE


@dataclass(frozen=True, slots=True)
class MouseWheel:
    """2: the wheel turned at x, y; ±120 is one notch, positive is away from the user. -32767..32767."""

    x: int
    y: int
    delta: int


@dataclass(frozen=True, slots=True)
class Picture:
    """3: an image file (usually JPEG) with its upper left corner at x, y."""

    x: int
    y: int
    image: bytes


@dataclass(frozen=True, slots=True)
class Copy:
    """4: move a rectangle of the picture. No known viewer supports it."""

    source_x: int
    source_y: int
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Compression:
    """5: the viewer's wishes for its pictures. `quality` 1-100; `scaling` SCALE_ONE is 100 %.

    None: not sent. `frame_timer_ms`, the minimum time between pictures, needs `scaling` before it.
    """

    format: int
    quality: int
    scaling: int | None = None
    frame_timer_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Refresh:
    """6: announce the Screen again, then send everything."""


@dataclass(frozen=True, slots=True)
class Screen:
    """7: the size of the picture in pixels; it must come before the first Picture."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Pause:
    """8: send no pictures (True), or send them again (False)."""

    paused: bool


@dataclass(frozen=True, slots=True)
class CtrlAltDel:
    """10: press Ctrl-Alt-Del."""


@dataclass(frozen=True, slots=True)
class GetDisplays:
    """11 to the endpoint: a question for the displays."""


@dataclass(frozen=True, slots=True)
class DisplayList:
    """11 to the viewer: display ids (ALL_DISPLAYS is one of them if it can be chosen). No ids: no choice."""

    ids: tuple[int, ...]
    selected: int


@dataclass(frozen=True, slots=True)
class SetDisplay:
    """12: show this display, or (to the viewer) this display is shown."""

    id: int


@dataclass(frozen=True, slots=True)
class FrameRateTimer:
    """13: the minimum time between pictures."""

    frame_timer_ms: int


@dataclass(frozen=True, slots=True)
class InitTouch:
    """14 to the endpoint: a question whether touches are supported."""


@dataclass(frozen=True, slots=True)
class TouchReady:
    """14 to the viewer: touches are supported (1)."""

    value: int = 1


@dataclass(frozen=True, slots=True)
class TouchPoint:
    """One finger; `flags` are Windows' POINTER_FLAGS."""

    id: int
    flags: int
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Touch:
    """15 to the endpoint, form 1: one finger."""

    point: TouchPoint


@dataclass(frozen=True, slots=True)
class MultiTouch:
    """15 to the endpoint, form 2: any number of fingers."""

    points: tuple[TouchPoint, ...]


@dataclass(frozen=True, slots=True)
class ResetTouches:
    """15 to the viewer: forget all fingers."""


@dataclass(frozen=True, slots=True)
class Message:
    """17: a line of text, with 8 bits for each character."""

    text: str


@dataclass(frozen=True, slots=True)
class KeyState:
    """18: which lock keys are on: NUM_LOCK, SCROLL_LOCK, CAPS_LOCK."""

    bits: int


@dataclass(frozen=True, slots=True)
class Disconnect:
    """59: the end, in old versions."""


@dataclass(frozen=True, slots=True)
class Debug:
    """64: a line for the log."""

    text: str


@dataclass(frozen=True, slots=True)
class Alert:
    """65: a line for the person; one that begins with a full stop is for the browser's log only."""

    text: str


@dataclass(frozen=True, slots=True)
class Display:
    """One display's place on the desktop, in pixels."""

    id: int
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class DisplayInfo:
    """82: the places of the displays."""

    displays: tuple[Display, ...]


@dataclass(frozen=True, slots=True)
class KeyUnicode:
    """85: a UTF-16 code unit is typed; both halves of a surrogate pair are sent one after the other."""

    code_unit: int
    down: bool


@dataclass(frozen=True, slots=True)
class InputLock:
    """87: LOCKED or UNLOCKED for the machine's own input, or QUERY_LOCK; the answer is the state."""

    state: int


@dataclass(frozen=True, slots=True)
class MouseCursor:
    """88: the shape of the pointer; pictures do not contain it."""

    shape: CursorShape


@dataclass(frozen=True, slots=True)
class Abilities:
    """200: the viewer's abilities: ACKNOWLEDGES its pictures by `Shown`; TAKES_WEBP, TAKES_PNG inside `Picture`;
    TAKES_VIDEO. WANTS_BLOCKS: it needs pictures whose edges are all at multiples of BLOCK pixels, even past the edges
    of the screen: MeshCentral's desktop multiplexer counts in these (agents/meshdesktopmultiplex.js). SHOWS_POINTER: it
    needs `Pointer`. KEYS_BY_LEGEND: its `Key` names letters, digits and signs by the legends of the person's own
    keyboard, as MeshCentral's page does; without it, by their places on a US keyboard. ASKS_OF_MOUSE: it needs
    `MouseKind`. TAKES_MOVES: it acts on `Move`.
    """

    bits: int


@dataclass(frozen=True, slots=True)
class Shown:
    """201: the number of Pictures and Videos of this connection that have been drawn so far, modulo 2**32."""

    count: int


@dataclass(frozen=True, slots=True)
class Video:
    """202: the next chunk of the video at x, y; `codec` H264_ANNEX_B, `flags` of KEY_FRAME and STREAM_BEGINS.

    A decoder begins again with a chunk with STREAM_BEGINS. After that it gets every chunk, in order.
    """

    x: int
    y: int
    width: int
    height: int
    codec: int
    flags: int
    chunk: bytes


@dataclass(frozen=True, slots=True)
class Pointer:
    """203: the picture of the pointer; the pixel at `hot_x`, `hot_y` is its hot spot.

    Rows from top to bottom, four bytes per pixel: red, green, blue, alpha; the colours are not multiplied by alpha.
    0×0: the picture is unknown, and the shape of `MouseCursor` is used. A shape of NONE hides any picture.
    """

    width: int
    height: int
    hot_x: int
    hot_y: int
    rgba: bytes


@dataclass(frozen=True, slots=True)
class Move:
    """208: a rectangle of the picture, as it is after all commands before, belongs at `to_x`, `to_y` too.

    The two places may overlap. Not a `Copy`: recordings of MeshCentral's know that, and would skip it.
    """

    x: int
    y: int
    width: int
    height: int
    to_x: int
    to_y: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """An unknown command in this direction: it is ignored, or passed on."""

    type: int
    body: bytes


Command = (
    Nop | Key | Mouse | MouseWheel | Picture | Copy | Compression | Refresh | Screen | Pause | CtrlAltDel
    | GetDisplays | DisplayList | SetDisplay | FrameRateTimer | InitTouch | TouchReady | Touch | MultiTouch
    | ResetTouches | Message | KeyState | Disconnect | Debug | Alert | DisplayInfo | KeyUnicode | InputLock
    | MouseCursor | Abilities | Shown | Video | Pointer | MouseKind | Turn | SideButton | MoveBy | Move
    | Unknown
)  # fmt: skip
