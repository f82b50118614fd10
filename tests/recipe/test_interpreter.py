"""Which orders come of a recipe, for every way that a wait can end."""

from __future__ import annotations

from pommel.recipe.interpreter import Act, Await, Entered, Failed, Mark, Order, interpret
from pommel.recipe.model import VISITS_MAX, Branch, Condition, PauseAction, PressAction, Recipe, RecipeState

DARK, STILL, TOLD = Condition(bright=(0, 0.1)), Condition(rest_s=1), Condition(told="x")
A, ESC = PressAction("a"), PressAction("esc")


def state(name: str, then: str = "end", **more: object) -> RecipeState:
    usual: dict[str, object] = {
        "says": "", "first": None, "first_within_s": 5.0, "do": (A,), "until": STILL, "within_s": 9.0, "tries": 1,
        "before_retry": (), "branches": (), "otherwise": None, "resume": None, "by_hand": "",
    }  # fmt: skip
    return RecipeState(name=name, then=then, **{**usual, **more})  # type: ignore[arg-type]


def run(recipe: Recipe, *answers: int | None, begin: str | None = None) -> list[Order]:
    """All orders; each wait is answered by the next of `answers`."""
    orders, left, told, answer = interpret(recipe, begin), list(answers), [], None
    try:
        while True:
            told.append(order := orders.send(answer))
            answer = left.pop(0) if isinstance(order, Await) else None
    except StopIteration:
        assert not left
        return told


def recipe(*states: RecipeState) -> Recipe:
    return Recipe("t", (), {}, states)


def test_a_state_waits_acts_waits_and_the_next_begins() -> None:
    one, two = state("one", "two", first=DARK), state("two", until=None, do=(PauseAction(1),))
    assert run(recipe(one, two), 0, 0) == [
        Entered(one, 1), Await((DARK,), 5.0), Mark(), Act(A), Await((STILL,), 9.0),
        Entered(two, 1), Mark(), Act(PauseAction(1)),
    ]  # fmt: skip


def test_nothing_is_pressed_before_what_comes_first() -> None:
    one = state("one", first=DARK, tries=2, before_retry=(ESC,))
    told = run(recipe(one), None, None)
    assert Act(A) not in told
    assert told[-1] == Failed(one, "what it needs before it acts did not come within 5 s in 2 tries")


def test_a_try_that_is_late_is_made_good_and_made_again() -> None:
    one = state("one", tries=3, before_retry=(ESC,))
    assert run(recipe(one), None, 0) == [
        Entered(one, 1), Mark(), Act(A), Await((STILL,), 9.0),
        Entered(one, 2), Act(ESC), Mark(), Act(A), Await((STILL,), 9.0),
    ]  # fmt: skip


def test_when_all_tries_are_used_up_it_fails_or_goes_elsewhere() -> None:
    assert run(recipe(state("one", tries=2)), None, None)[-1] == Failed(
        state("one", tries=2), "what it waits for did not come within 9 s in 2 tries"
    )
    one, other = state("one", otherwise="other"), state("other")
    assert Entered(other, 1) in run(recipe(one, other), None, 0)


def test_a_branch_ends_the_wait_before_and_after_the_actions() -> None:
    fails = state("one", branches=(Branch(TOLD, None, "it broke"),), first=DARK, tries=3)
    assert run(recipe(fails), 0)[-1] == Failed(fails, "it broke")
    goes = state("one", "end", branches=(Branch(TOLD, "two"),))
    two = state("two", until=None)
    told = run(recipe(goes, two), 0)
    assert told[3:] == [Await((TOLD, STILL), 9.0), Entered(two, 1), Mark(), Act(A)]
    assert run(recipe(goes, two), 1)[-1] == Await((TOLD, STILL), 9.0)


def test_it_begins_where_it_is_told() -> None:
    one, two = state("one", "two"), state("two")
    assert run(recipe(one, two), 0, begin="two")[0] == Entered(two, 1)


def test_a_recipe_that_goes_round_ends() -> None:
    one = state("one", "one", until=None, do=())
    told = run(recipe(one))
    assert isinstance(told[-1], Failed) and "more than 20 times" in told[-1].why
    assert told.count(Entered(one, 1)) == VISITS_MAX
