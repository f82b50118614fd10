"""Who looks on."""

from __future__ import annotations

from dataclasses import dataclass

from pommel.mesh.orders import Person
from pommel.mesh.seats import Seats, filled


@dataclass
class One:
    person: Person
    bar: str | None = None


ANN, BOB = Person("user//ann", "Ann {1}", "ann"), Person("user//bob", "Bob", "bob")


def test_they_are_counted_named_and_gone_again() -> None:
    changes: list[int] = []
    seats = Seats(lambda: changes.append(1))
    with seats.taken(One(ANN)), seats.taken(One(ANN)), seats.taken(One(BOB, "{0} look on as {1}")):
        now = seats.now()
        assert dict(now.counts) == {"user//ann": 2, "user//bob": 1}
        assert now.people == (ANN, ANN, BOB)
        assert now.bar == "Ann {1}, Bob look on as ann, bob"
        assert len(changes) == 3
    assert seats.now().people == ()
    assert seats.now().bar is None
    assert len(changes) == 6


def test_a_name_is_no_pattern() -> None:
    assert filled("{0}/{1}/{2}", ANN) == "Ann {1}/ann/{2}"
