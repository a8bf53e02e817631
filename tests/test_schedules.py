"""Schedules against their formulas, and a controller that reaches its target on a bound that answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest

from lipreg.errors import InvalidInput
from lipreg.schedules import SCHEDULES, Constant, Cosine, Linear, Moment, Schedule, Target, get_schedule, register


def factors(name: str, options: dict[str, Any] | None, count: int, batches: int | None = None) -> list[float]:
    schedule, found = get_schedule({"kind": name, **(options or {})}), []
    for batch in range(count):
        found.append(schedule.factor(Moment(batch, batches, found[-1] if found else 1.0)))
    return found


def test_constant() -> None:
    assert factors("constant", None, 3) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("made", [Constant(), Linear(batches=5), Cosine(start=2.0), Target(3.0, rate=0.2)], ids=str)
def test_an_object_and_plain_data_are_the_same_schedule(made: Schedule) -> None:
    assert get_schedule(made) is made
    assert get_schedule(made.describe()) == made
    with pytest.raises(InvalidInput, match=r"got the class.*Write schedule="):
        get_schedule(type(made))  # type: ignore[arg-type]


def test_names_do_where_no_option_is_needed() -> None:
    assert [get_schedule(name) for name in ("constant", "linear", "cosine")] == [Constant(), Linear(), Cosine()]
    with pytest.raises(InvalidInput, match=r"Write schedule=Target\(target=\.\.\.\) \(from lipreg\.schedules"):
        get_schedule("target")


def test_linear_warm_up() -> None:
    assert factors("linear", {"batches": 5}, 7) == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1, 1])
    assert factors("linear", {"start": 0.5}, 3, batches=3) == pytest.approx([0.5, 0.75, 1])
    assert factors("linear", {"batches": 1}, 2) == [1.0, 1.0]


def test_cosine() -> None:
    ramp = factors("cosine", {"batches": 5}, 6)
    assert ramp == pytest.approx([0, (1 - math.sqrt(0.5)) / 2, 0.5, (1 + math.sqrt(0.5)) / 2, 1, 1])
    fall = factors("cosine", {"start": 2.0, "end": 0.5}, 3, batches=3)
    assert fall == pytest.approx([2.0, 1.25, 0.5])


def test_target_holds_a_bound() -> None:
    """A bound that falls as the weight grows, B = 10 / (1 + factor), is held at 2: the factor has to become 4."""
    schedule, factor, bound = get_schedule({"kind": "target", "target": 2.0, "rate": 0.2}), 1.0, None
    for batch in range(200):
        factor = schedule.factor(Moment(batch, None, factor, bound))
        bound = 10.0 / (1.0 + factor)
    assert factor == pytest.approx(4.0, rel=1e-6)
    assert bound == pytest.approx(2.0, rel=1e-6)


def test_target_stays_within_its_limits() -> None:
    schedule = get_schedule({"kind": "target", "target": 1.0, "rate": 1.0, "low": 0.5, "high": 4.0})
    assert schedule.factor(Moment(1, None, 1.0, 1e9)) == 4.0
    assert schedule.factor(Moment(1, None, 1.0, 0.0)) == 0.5
    assert schedule.factor(Moment(1, None, 2.0, 1.5)) == 3.0
    for unknown in (None, math.nan, math.inf):
        assert schedule.factor(Moment(1, None, 2.0, unknown)) == 2.0


def test_a_length_that_nobody_knows_is_asked_for() -> None:
    with pytest.raises(InvalidInput, match=r"schedule 'cosine'.*not known.*option batches"):
        get_schedule("cosine").factor(Moment(3))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("step", None, "constant, cosine, linear, target"),
        ("constant", {"batches": 3}, "unknown option 'batches'"),
        ("linear", {"batches": 0}, "batches=0"),
        ("linear", {"batches": 2.5}, "batches=2.5"),
        ("cosine", {"end": -1.0}, "end=-1.0"),
        ("cosine", {"start": math.nan}, "start=nan"),
        ("target", None, "option 'target' is missing"),
        ("target", {"target": 0.0}, "target=0.0"),
        ("target", {"target": 1.0, "rate": 0}, "rate=0"),
        ("target", {"target": 1.0, "low": 2.0, "high": 1.0}, "low=2.0 above high=1.0"),
    ],
)
def test_refusals_say_what_is_wrong(name: str, options: dict[str, Any] | None, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        get_schedule({"kind": name, **(options or {})})


def test_one_decorator_adds_a_schedule() -> None:
    before = dict(SCHEDULES)
    try:

        @register("halving")
        @dataclass(frozen=True)
        class Halving(Schedule):
            every: int

            def factor(self, now: Moment) -> float:
                return 0.5 ** (now.batch // self.every)

        assert factors("halving", {"every": 2}, 5) == [1.0, 1.0, 0.5, 0.5, 0.25]
        assert get_schedule({"kind": "halving", "every": 2}).describe() == {"kind": "halving", "every": 2}
    finally:
        SCHEDULES.clear()
        SCHEDULES.update(before)
