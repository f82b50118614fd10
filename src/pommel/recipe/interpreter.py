"""Chooses a recipe's next order from the observations so far. Band: core, no I/O.

`interpret` is a generator: it yields orders, and is sent an answer for each. It knows neither a clock nor a machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass

from pommel.recipe.model import END, Action, Branch, Condition, Recipe, RecipeState


@dataclass(frozen=True, slots=True)
class Entered:
    """A try of a state begins: store the position before any action."""

    state: RecipeState
    attempt: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Keep the present picture: `changed` compares with it."""


@dataclass(frozen=True, slots=True)
class Act:
    """Do this action."""

    action: Action


@dataclass(frozen=True, slots=True)
class Await:
    """Wait until one of `conditions` holds, at most `within_s`. The answer is its index; None after the timeout."""

    conditions: tuple[Condition, ...]
    within_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The last order: the recipe cannot go on in `state`, and `why` says how.

    `resume`: where the next run begins, if not in this state.
    """

    state: RecipeState
    why: str
    resume: str | None = None


Order = Entered | Mark | Act | Await | Failed
Orders = Generator[Order, int | None, None]


def interpret(recipe: Recipe, begin: str | None = None) -> Orders:
    """The orders of a recipe from the state `begin` on (None: the first). It returns when the recipe is done."""
    visits: Counter[str] = Counter()
    name = recipe.states[0].name if begin is None else begin
    while name != END:
        state = recipe.state(name)
        visits[name] += 1
        if visits[name] > state.most:
            yield Failed(state, f"it was entered more than {state.most} times")
            return
        outcome = yield from _state(state)
        if isinstance(outcome, Failed):
            yield outcome
            return
        name = outcome


def _state(state: RecipeState) -> Generator[Order, int | None, str | Failed]:
    """One state with all its tries: returns the name of the next state, or the failure."""
    late = ""
    for attempt in range(1, state.tries + 1):
        yield Entered(state, attempt)
        if attempt > 1:
            for action in state.before_retry:
                yield Act(action)
        outcome = yield from _try(state)
        if isinstance(outcome, Branch):
            return Failed(state, outcome.why, outcome.resume) if outcome.go is None else outcome.go
        if outcome == _DONE:
            return state.then
        late = outcome
    if state.otherwise is not None:
        return state.otherwise
    tries = f" in {state.tries} tries" if state.tries > 1 else ""
    return Failed(state, f"{late}{tries}")


_DONE = ""


def _try(state: RecipeState) -> Generator[Order, int | None, str | Branch]:
    """One try: returns _DONE, the branch to take, or the condition that timed out."""
    if state.first is not None:
        found = yield from _await(state, state.first, state.first_within_s)
        if isinstance(found, Branch):
            return found
        if not found:
            return f"what it needs before it acts did not come within {state.first_within_s:g} s"
    yield Mark()
    for action in state.do:
        yield Act(action)
    if state.until is None:
        return _DONE
    found = yield from _await(state, state.until, state.within_s)
    if isinstance(found, Branch) or found:
        return found if isinstance(found, Branch) else _DONE
    return f"what it waits for did not come within {state.within_s:g} s"


def _await(state: RecipeState, condition: Condition, within_s: float) -> Generator[Order, int | None, bool | Branch]:
    """Whether it came, or the branch that came first. A branch counts more than the condition at the same moment."""
    count = len(state.branches)
    found = yield Await((*(branch.when for branch in state.branches), condition), within_s)
    if found is None:
        return False
    return state.branches[found] if found < count else True
