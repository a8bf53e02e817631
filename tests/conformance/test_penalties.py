"""Every registered penalty and schedule: a pure function of what it is handed."""

from __future__ import annotations

from typing import Any

import pytest

from lipreg.penalties import PENALTIES
from lipreg.schedules import SCHEDULES
from lipreg.testing import check_penalty, check_schedule

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "worst_k": [{"k": 1}, {"k": 2}, {"k": 9}],
    "hinge": [{"target": 2.5}, {"target": 0.0}, {"target": 100.0}],
    "log": [{}, {"floor": 1.0}],
    "radius_hinge": [{"radius": 0.1}, {"radius": 10.0}],
    "sum": [
        {"parts": ["mean", [0.5, {"kind": "hinge", "target": 2.5}]]},
        {"parts": [[2.0, "layer_sum"]]},
        {"parts": [{"kind": "radius_hinge", "radius": 0.1}, [0.1, "log"]]},
    ],
    "linear": [{}, {"batches": 1}, {"batches": 7, "start": 2.0}],
    "cosine": [{}, {"batches": 7, "start": 2.0, "end": 0.5}],
    "target": [{"target": 2.0}, {"target": 2.0, "rate": 1.0, "low": 0.5, "high": 4.0}],
}
"""What each is checked with; without options where nothing is said."""


def asked(registry: Any) -> list[dict[str, Any]]:
    return [{"kind": name, **options} for name in registry for options in OPTIONS.get(name, [{}])]


@pytest.mark.parametrize("penalty", asked(PENALTIES), ids=str)
def test_a_penalty(penalty: dict[str, Any]) -> None:
    check_penalty(penalty)


@pytest.mark.parametrize("schedule", asked(SCHEDULES), ids=str)
def test_a_schedule(schedule: dict[str, Any]) -> None:
    check_schedule(schedule)
