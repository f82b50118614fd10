"""The names in a recipe's texts."""

from __future__ import annotations

import pytest

from pommel.errors import UsageError
from pommel.recipe.model import Recipe, TypeAction
from pommel.recipe.values import VALUE_MAX, calls_of, filled, names_in

from .test_reading import WHOLE, read


@pytest.fixture
def recipe() -> Recipe:
    return read(WHOLE)


def test_names_become_values_in_what_is_typed_and_told(recipe: Recipe) -> None:
    first = filled(recipe, {"line": "ls {x} {label}"}).states[0]
    assert first.do[1] == TypeAction("ls {x} {label}\n", 0.2)  # a value is text: names in it stay
    assert (first.says, first.by_hand) == ("the first, with POMMEL", "type ls {x} {label}")
    assert names_in("{a} {b c} {{d}} {E}") == {"a", "d"} and calls_of(recipe) == {"stop"}


def test_values_that_are_missing_unknown_or_long_are_refused(recipe: Recipe) -> None:
    with pytest.raises(UsageError, match="needs a value for 'line'"):
        filled(recipe, {})
    with pytest.raises(UsageError, match="no value called 'lien'") as refusal:
        filled(recipe, {"lien": "x"})
    assert "line, label" in str(refusal.value.hint)
    with pytest.raises(UsageError, match="more than 1000"):
        filled(recipe, {"line": "x" * (VALUE_MAX + 1)})
