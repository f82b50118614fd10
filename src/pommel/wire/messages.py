"""The vocabulary of MeshCentral's KVM wire: one frozen dataclass a command. Band: core, no I/O.

These are values, not bytes: the layouts are in `codec`. Names and numbers are MeshCentral's. A field holds
what the wire can hold, no more checked than that; what a value means (a quality of 0, a display that is not
there) is for whoever acts on it. Commands whose meaning depends on who sends them have one class for each:

    number   viewer to endpoint                endpoint to viewer
    11       GetDisplays                       DisplayList
    12       SetDisplay (a wish)               SetDisplay (what is shown now)
    14       InitTouch (can you?)              TouchReady (yes)
    15       Touch, MultiTouch                 ResetTouches
    17       Message                           Message
    87       InputLock (do or query)           InputLock (the state now)

Numbers from 200 on are Pommel's own, between its page and its endpoints. A viewer that never sends `Abilities` is never
sent anything that MeshCentral's does not know, and other endpoints ignore what they do not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from pommel.wire.mouse import MouseKind as MouseKind
from pommel.wire.mouse import MoveBy as MoveBy
from pommel.wire.mouse import SideButton as SideButton
from pommel.wire.mouse import Turn as Turn


class Direction(Enum):
    """Who the bytes are for."""

    TO_ENDPOINT = "viewer to endpoint"
    TO_VIEWER = "endpoint to viewer"


# The button byte of `Mouse`.
MOVE = 0x00
LEFT_DOWN, LEFT_UP = 0x02, 0x04
RIGHT_DOWN, RIGHT_UP = 0x08, 0x10
MIDDLE_DOWN, MIDDLE_UP = 0x20, 0x40
DOUBLE_CLICK = 0x88  # a remark beside the two clicks' own downs and ups, not a click

SCALE_ONE = 1024  # Compression.scaling for 100 %
ALL_DISPLAYS = 0xFFFF

# KeyState.bits
NUM_LOCK, SCROLL_LOCK, CAPS_LOCK = 1, 2, 4

# Abilities.bits
ACKNOWLEDGES, TAKES_WEBP, TAKES_PNG, TAKES_VIDEO, WANTS_BLOCKS, SHOWS_POINTER = 1, 2, 4, 8, 16, 32
KEYS_BY_LEGEND, ASKS_OF_MOUSE = 64, 128
BLOCK = 16

# Video.codec and Video.flags
H264_ANNEX_B = 2
KEY_FRAME, STREAM_BEGINS = 1, 2

POINTER_SIDE = 256  # the most of Pointer.width and Pointer.height

# InputLock.state; the last is only ever a viewer's question
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
    """1: a key by its Windows virtual key number; `extended` tells the right Ctrl, keypad Enter and so on."""

    vk: int
    down: bool
    extended: bool = False


@dataclass(frozen=True, slots=True)
class Mouse:
    """2: the pointer is at x, y of the announced Screen; `button` (LEFT_DOWN …, or MOVE) happened there."""

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
    """3: an image file (JPEG as a rule) whose upper left corner belongs at x, y."""

    x: int
    y: int
    image: bytes


@dataclass(frozen=True, slots=True)
class Copy:
    """4: move a rectangle of the picture. No known viewer acts on it."""

    source_x: int
    source_y: int
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Compression:
    """5: how the viewer wants its pictures. `quality` 1-100; `scaling` SCALE_ONE is 100 %.

    A None was not said. `frame_timer_ms`, the least time between pictures, needs `scaling` before it.
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
    """7: the size of the picture in pixels; must precede the first Picture."""

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
    """11 to the endpoint: which displays are there?"""


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
    """13: the least time between pictures."""

    frame_timer_ms: int


@dataclass(frozen=True, slots=True)
class InitTouch:
    """14 to the endpoint: can you be touched?"""


@dataclass(frozen=True, slots=True)
class TouchReady:
    """14 to the viewer: touches are welcome (1)."""

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
    """17: a line of text, in 8 bits a character."""

    text: str


@dataclass(frozen=True, slots=True)
class KeyState:
    """18: which lock keys are on: NUM_LOCK, SCROLL_LOCK, CAPS_LOCK."""

    bits: int


@dataclass(frozen=True, slots=True)
class Disconnect:
    """59: the end, as old versions said it."""


@dataclass(frozen=True, slots=True)
class Debug:
    """64: a line for the log."""

    text: str


@dataclass(frozen=True, slots=True)
class Alert:
    """65: a line the person must see; one with a leading full stop is for the browser's log only."""

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
    """82: where the displays are."""

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
    """88: the shape the pointer has; pictures do not show it."""

    shape: CursorShape


@dataclass(frozen=True, slots=True)
class Abilities:
    """200: what the viewer can do: ACKNOWLEDGES its pictures by `Shown`; TAKES_WEBP, TAKES_PNG inside `Picture`;
    TAKES_VIDEO. WANTS_BLOCKS: of pictures whose edges are all at multiples of BLOCK pixels, even if they reach past the
    screen's: MeshCentral's desktop multiplexer counts in these (agents/meshdesktopmultiplex.js). SHOWS_POINTER: it
    wants to be told `Pointer`. KEYS_BY_LEGEND: its `Key` names letters, digits and signs by what the person's own
    keyboard calls them, as MeshCentral's page does; without it by the place that they have on a US keyboard.
    ASKS_OF_MOUSE: it wants to be told `MouseKind`.
    """

    bits: int


@dataclass(frozen=True, slots=True)
class Shown:
    """201: how many Pictures and Videos of this connection have been drawn so far, modulo 2**32."""

    count: int


@dataclass(frozen=True, slots=True)
class Video:
    """202: the next chunk of the film at x, y; `codec` H264_ANNEX_B, `flags` of KEY_FRAME and STREAM_BEGINS.

    A decoder begins anew with a chunk that says STREAM_BEGINS. After that it is given every chunk, in order.
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
    """203: what the pointer looks like; the pixel at `hot_x`, `hot_y` is the one that it points with.

    Rows from top to bottom, four bytes a pixel: red, green, blue, alpha, which is not multiplied into the others.
    Of 0×0: that is not known, and the shape of `MouseCursor` counts. Whatever the picture, a shape of NONE hides it.
    """

    width: int
    height: int
    hot_x: int
    hot_y: int
    rgba: bytes


@dataclass(frozen=True, slots=True)
class Unknown:
    """A command we do not know in this direction: to be ignored, or passed on."""

    type: int
    body: bytes


Command = (
    Nop | Key | Mouse | MouseWheel | Picture | Copy | Compression | Refresh | Screen | Pause | CtrlAltDel
    | GetDisplays | DisplayList | SetDisplay | FrameRateTimer | InitTouch | TouchReady | Touch | MultiTouch
    | ResetTouches | Message | KeyState | Disconnect | Debug | Alert | DisplayInfo | KeyUnicode | InputLock
    | MouseCursor | Abilities | Shown | Video | Pointer | MouseKind | Turn | SideButton | MoveBy | Unknown
)  # fmt: skip
