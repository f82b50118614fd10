"""Run a recipe with a machine, order by order, and store its position on disk. Band: app.

`recipe.interpreter` decides the next order; this module carries it out. Each state is stored before its first action:
so after a kill -9, the next run begins with that state, or with the state in its `resume`.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from pommel import locks
from pommel.app.machine import hands, power
from pommel.app.recipe import files, position, signs
from pommel.app.recipe.files import LoadedRecipe
from pommel.app.recipe.position import Position
from pommel.app.recipe.signs import ConditionCheck, Observation, Signs
from pommel.app.workspace import Workspace
from pommel.errors import DeadlineError, StateError, UsageError
from pommel.machine import journal, qmp
from pommel.machine import state as machine_state
from pommel.machine.boot_choices import BootChoice
from pommel.machine.events import note_event
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report, ignore, note
from pommel.recipe.interpreter import Act, Await, Entered, Failed, Mark, Order, interpret
from pommel.recipe.model import (
    Action,
    CallAction,
    ClickAction,
    PauseAction,
    PressAction,
    Recipe,
    RecipeState,
    TypeAction,
)
from pommel.recipe.values import calls_of, filled
from pommel.screen.frame import Frame
from pommel.settings import format_size

_SOONEST_S, _LATEST_S = 0.1, 1.0  # from one look to the next: soon at first, as many waits are short
_LATER = 1 / 8  # of what was waited
_QMP_S = 10.0
_SAID_MAX = 100  # characters of the guest's text in a line of progress
_EVENT = "recipe"

Calls = Mapping[str, Callable[[], object]]


@dataclass(frozen=True, slots=True)
class Beside:
    """The extras of a run. `calls` are further calls for its recipe.

    `hear` returns the guest's reports since its last call; `again` tells the user how to continue.
    """

    calls: Calls = field(default_factory=dict)
    hear: Callable[[], list[signs.Report]] = list
    again: str = "run the recipe again"


@dataclass(frozen=True, slots=True)
class Visit:
    """One state of a run: its name, the number of tries, and its time in seconds."""

    name: str
    tries: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RecipeResult:
    """The result of a finished run."""

    name: str
    title: str
    states: tuple[Visit, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Begin:
    """The user's wish where to begin. `restart`: ignore the position of an earlier run."""

    state: str | None = None
    restart: bool = False


@dataclass(frozen=True, slots=True)
class Beginning:
    """The state where a run begins, and why."""

    begin: str
    why: str


def run(
    name: str,
    file: str,
    *,
    values: Mapping[str, str] | None = None,
    begin: Begin | None = None,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> RecipeResult:
    """Run the recipe `file` with machine `name`: from where it stopped, or from the first state, or as `begin` says.

    Ctrl-C ends the run and does not change the machine.

    Raises:
        UsageError: no such recipe, state or value.
        ConfigError: the recipe cannot be used.
        StateError: the machine does not exist, or is not running where the recipe needs it.
        BusyError: another process runs a recipe with it.
        DeadlineError: a state did not end in time; the message says what was seen last, the hint what to do by hand.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    loaded = _usual_only(name, files.load(file))
    recipe = filled(loaded.recipe, values or {})
    return carry_out(loaded, recipe, workspace, paths, begin or Begin(), report=report)


def way(loaded: LoadedRecipe, paths: MachinePaths, begin: Begin) -> Beginning:
    """The state where a run would begin.

    Raises:
        UsageError: the recipe has no such state.
    """
    recipe, kept = loaded.recipe, position.load(paths)
    if begin.state is not None:
        if begin.state not in recipe.names:
            raise UsageError(f"the recipe has no state {begin.state!r}", hint=f"states: {', '.join(recipe.names)}")
        return Beginning(begin.state, "as asked")
    if kept is None or begin.restart:
        return Beginning(recipe.states[0].name, "the first")
    if kept.file != loaded.name:
        return Beginning(recipe.states[0].name, f"the first; a run of {kept.file} stopped in its state {kept.state!r}")
    if kept.state not in recipe.names:
        return Beginning(recipe.states[0].name, f"the first; the state {kept.state!r}, where it stopped, is no more")
    return Beginning(
        recipe.state(kept.state).resume or kept.state, f"it stopped in the state {kept.state!r} ({kept.since})"
    )


def plan(
    name: str, file: str, *, values: Mapping[str, str] | None = None, begin: Begin, workspace: Workspace | None = None
) -> tuple[Recipe, Beginning]:
    """The recipe with its values, and where a run would begin. Nothing is done. Raises as `run`."""
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    loaded = _usual_only(name, files.load(file))
    return filled(loaded.recipe, values or {}), way(loaded, paths, begin)


def _usual_only(name: str, loaded: LoadedRecipe) -> LoadedRecipe:
    """Refuse a recipe with calls that exist only during an installation of macOS."""
    if others := sorted(calls_of(loaded.recipe) - set(files.CALLS)):
        raise UsageError(
            f"the recipe calls {others[0]!r}, which is possible only while macOS is installed without a person",
            hint=f"pommel up {name} --unattended --recipe {shlex.quote(loaded.name)}",
        )
    return loaded


def carry_out(
    loaded: LoadedRecipe,
    recipe: Recipe,
    workspace: Workspace,
    paths: MachinePaths,
    begin: Begin,
    *,
    beside: Beside | None = None,
    report: Report = ignore,
) -> RecipeResult:
    """Run `recipe` from the file `loaded`.

    Raises: as `run`; and the errors of its calls.
    """
    signs.must_be_checkable(files.conditions(recipe))
    busy = f"a recipe is already being run with {paths.name}"
    with locks.hold(position.lock_of(paths), busy=busy):
        start = way(loaded, paths, begin)
        if start.begin != recipe.states[0].name or start.why != "the first":
            note(report, f"{recipe.title}: beginning with the state {start.begin!r} ({start.why})")
        beside = beside or Beside()
        known = {**_usual(workspace, paths, report), **beside.calls}
        running = _Run(loaded, recipe, workspace, paths, known, beside.again, report)
        ran = running.go(start.begin, Signs(paths, beside.hear))
        position.forget(paths)
        note_event(paths, _EVENT, f"{recipe.title}: done")
        return ran


def _usual(workspace: Workspace, paths: MachinePaths, report: Report) -> Calls:
    """The calls that every recipe has; see `files.CALLS`."""

    def start(choice: BootChoice) -> None:
        if not machine_state.observe(paths).alive:
            power.start(paths.name, workspace=workspace, choice=choice, report=report)

    def stop(*, force: bool) -> None:
        if machine_state.observe(paths).alive:
            power.stop(paths.name, workspace=workspace, force=force, report=report)

    return {
        "start": partial(start, BootChoice()),
        "start-recovery": partial(start, BootChoice(installer="yes")),
        "start-installed": partial(start, BootChoice(installer="no")),
        "stop": partial(stop, force=False),
        "power-button": partial(_press_power, paths),
        "end": partial(stop, force=True),
    }


def _press_power(paths: MachinePaths) -> None:
    if machine_state.observe(paths).alive:
        qmp.run(qmp.within(paths.qmp, _QMP_S, lambda monitor: monitor.execute("system_powerdown")))


@dataclass
class _Run:
    """One run: carries out the orders of the interpreter, one at a time."""

    loaded: LoadedRecipe
    recipe: Recipe
    workspace: Workspace
    paths: MachinePaths
    calls: Calls
    again: str
    report: Report
    before: Frame | None = None
    seen_last: str = ""
    said_last: str = ""  # by the guest
    visits: list[Visit] = field(default_factory=list)
    state: RecipeState | None = None
    since_s: float = 0.0

    def go(self, begin: str, looking: Signs) -> RecipeResult:
        began_s = time.monotonic()
        orders = interpret(self.recipe, begin)
        answer: int | None = None
        while True:
            try:
                order = orders.send(answer)
            except StopIteration:
                self._leave()
                return RecipeResult(
                    self.paths.name, self.recipe.title, tuple(self.visits), round(time.monotonic() - began_s, 1)
                )
            answer = self._obey(order, looking)

    def _obey(self, order: Order, looking: Signs) -> int | None:
        match order:
            case Entered(state, attempt):
                self._enter(state, attempt, looking)
            case Mark():
                if self.state and self.state.until and self.state.until.changed is not None:
                    self.before = self._must_see(looking)
            case Act(action):
                self._act(action)
            case Await():
                return self._wait(order, looking)
            case Failed(state, why, resume):
                if resume is not None:
                    position.save(self.paths, Position.now(self.loaded.name, resume, 1))
                self._fail(state, why)
        return None

    def _enter(self, state: RecipeState, attempt: int, looking: Signs) -> None:
        self._leave()
        if attempt == 1:
            self.since_s = time.monotonic()
        self.state, self.said_last = state, ""
        self.visits.append(Visit(state.name, attempt, 0.0))
        looking.begin_state()
        position.save(self.paths, Position.now(self.loaded.name, state.name, attempt))
        again = f", try {attempt} of {state.tries}" if state.tries > 1 else ""
        note_event(self.paths, _EVENT, f"{state.name}{again}: {state.says}")
        self.report(Progress(self._step(), again.removeprefix(", "), unit="s"))

    def _leave(self) -> None:
        """End the state in the progress and in the result, where all its tries are one entry."""
        if self.state is None:
            return
        self.report(Progress(self._step(), finished=True, unit="s"))
        last = self.visits.pop()
        if last.tries > 1:
            self.visits.pop()
        self.visits.append(Visit(last.name, last.tries, round(time.monotonic() - self.since_s, 1)))

    def _step(self) -> str:
        return self.state.says if self.state else ""

    def _act(self, action: Action) -> None:
        name = self.paths.name
        match action:
            case PressAction(chord):
                hands.press_key(name, chord, workspace=self.workspace)
            case TypeAction(text, pause_s):
                hands.type_text(name, text, pause_s=pause_s, workspace=self.workspace)
            case ClickAction(x, y):
                hands.click(name, x, y, workspace=self.workspace)
            case PauseAction(seconds):
                time.sleep(seconds)
            case CallAction(called):
                self.calls[called]()

    def _wait(self, order: Await, looking: Signs) -> int | None:
        checks = [ConditionCheck(one, self.loaded, self.before, self.workspace, self.paths) for one in order.conditions]
        with_screen = any(one.looks for one in order.conditions)
        began_s = time.monotonic()
        while True:
            seen = looking.look(with_screen=with_screen)
            if seen.reports:
                said = seen.reports[-1]
                self.said_last = journal.clean(" ".join(said.text.split())) or said.word
            for index, check in enumerate(checks):
                if check.holds(seen):
                    return index
            self.seen_last = checks[-1].told
            waited_s = time.monotonic() - began_s
            if waited_s >= order.within_s:
                return None
            if not seen.alive and not any(one.running is not None for one in order.conditions):
                self._must_run(order)
            self.report(Progress(self._step(), self._progress_text(seen), waited_s, order.within_s, "s"))
            time.sleep(min(max(_SOONEST_S, waited_s * _LATER), _LATEST_S, max(order.within_s - waited_s, 0.01)))

    def _progress_text(self, seen: Observation) -> str:
        """The text of the progress during a wait. With reports of the guest, the growing disk is shown too."""
        if not seen.reports:
            return self.seen_last
        return f"{self.seen_last}; disk {format_size(seen.disk_bytes)}; it says: {self.said_last[-_SAID_MAX:]}"

    def _must_run(self, order: Await) -> None:
        """Raise an error if the wait needs a running machine."""
        if any(one.looks or one.ssh is not None or one.serial or one.told for one in order.conditions):
            raise StateError(
                f"{self.paths.name} is not running, and the recipe waits for it in the state {self._name()!r}",
                hint=f"pommel start {self.paths.name}, then {self.again}: it goes on from there",
            )

    def _must_see(self, looking: Signs) -> Frame | None:
        return looking.look(with_screen=True).frame

    def _name(self) -> str:
        return self.state.name if self.state else ""

    def _fail(self, state: RecipeState, why: str) -> None:
        note_event(self.paths, _EVENT, f"{state.name}: stopped: {why}")
        last = f"; last seen: {self.seen_last}" if self.seen_last else ""
        last += f"; the guest said: {self.said_last}" if self.said_last else ""
        by_hand = f"{state.by_hand}; then {self.again}: it goes on from there" if state.by_hand else None
        raise DeadlineError(
            f"{self.paths.name}: the recipe stopped in the state {state.name!r} ({state.says}): {why}{last}",
            hint=by_hand or f"look at its screen: pommel console {self.paths.name}; then {self.again}",
        )
