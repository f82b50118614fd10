"""A recipe as data: a state machine; each state has conditions and actions. Band: core, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

END = "end"  # as the state after the last
VISITS_MAX = 20  # of one state in one run, by default: a recipe with an endless loop must end

Area = tuple[int, int, int, int]  # x, y, width, height in pixels of the machine's screen


@dataclass(frozen=True, slots=True)
class Likeness:
    """A reference picture of the whole screen: a PNG file, relative to the recipe's own."""

    file: str
    tolerance: float


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition: all its parts must hold at the same time. None: this part is not checked.

    `region` is where `rest_s`, `changed`, `bright`, `like` and `text` look; None: at the whole screen.
    """

    rest_s: float | None = None  # the picture has not changed for this time
    changed: float | None = None  # more than this share of the pixels differ from the picture before the actions
    bright: tuple[float, float] | None = None  # the mean brightness is between these two, of 0 to 1
    like: Likeness | None = None
    text: str | None = None  # a regular expression for what tesseract reads there
    region: Area | None = None
    serial: str | None = None  # a regular expression for a line of the serial port since the state began
    told: str | None = None  # the guest has reported this word since the state began
    silent_s: float | None = None  # the guest has reported nothing new for this time
    running: bool | None = None  # QEMU runs
    ssh: bool | None = None  # the guest answers SSH
    disk_bytes: int | None = None  # the machine's disk uses at least this much space on the host
    disk_rest_s: float | None = None  # for this time, the disk has grown by less than 5 MiB a minute
    after_s: float | None = None  # this time has passed since the wait began

    @property
    def looks(self) -> bool:
        """Whether it takes a look at the screen."""
        return any(part is not None for part in (self.rest_s, self.changed, self.bright, self.like, self.text))


@dataclass(frozen=True, slots=True)
class PressAction:
    """Press and release a chord, such as `shift-cmd-t`."""

    chord: str


@dataclass(frozen=True, slots=True)
class TypeAction:
    """Type a text, key by key, with a pause after each; a newline is Return."""

    text: str
    pause_s: float


@dataclass(frozen=True, slots=True)
class ClickAction:
    """Click at a pixel of the screen."""

    x: int
    y: int


@dataclass(frozen=True, slots=True)
class PauseAction:
    """Do nothing for a while."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CallAction:
    """Call a function of the host by its name, such as `start` or `stop`."""

    name: str


Action = PressAction | TypeAction | ClickAction | PauseAction | CallAction


@dataclass(frozen=True, slots=True)
class Branch:
    """Go to the state `go` once `when` holds. Where `go` is None, the recipe has failed, and `why` says how.

    Then `resume` is the state to begin with when it is taken up again; None: as the state that is left says.
    """

    when: Condition
    go: str | None
    why: str = ""
    resume: str | None = None


@dataclass(frozen=True, slots=True)
class RecipeState:
    """One state: wait for `first`, do the actions, wait for `until`; if that does not come in time, try again.

    `says` is what the person reads meanwhile, `by_hand` what they can do when the tries are used up. Then `otherwise`
    is the state that comes; None: the recipe ends there. `resume` is the state to begin with when the recipe is taken
    up again in this one; None: this one. It may be entered `most` times in one run.
    """

    name: str
    says: str
    first: Condition | None
    first_within_s: float
    do: tuple[Action, ...]
    until: Condition | None
    within_s: float
    tries: int
    before_retry: tuple[Action, ...]
    branches: tuple[Branch, ...]
    then: str
    otherwise: str | None
    resume: str | None
    by_hand: str
    most: int = VISITS_MAX


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole recipe. `values` are its {names} with their defaults; None: a value must be given."""

    title: str
    macos: tuple[str, ...]  # versions it is for, by number; empty: any
    values: Mapping[str, str | None]
    states: tuple[RecipeState, ...]

    def state(self, name: str) -> RecipeState:
        """The state with this name; it exists, because `reading` has checked it."""
        return next(state for state in self.states if state.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """The states' names, in order."""
        return tuple(state.name for state in self.states)
