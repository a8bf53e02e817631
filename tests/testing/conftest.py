"""Whatever a test of these registers is gone after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lipreg.auditing.executors import EXECUTORS
from lipreg.estimators import ESTIMATORS
from lipreg.graph.registry import CALLS, EXAMPLES, MODULES
from lipreg.milp import SOLVERS
from lipreg.penalties import PENALTIES
from lipreg.quantities import QUANTITIES
from lipreg.schedules import SCHEDULES


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    known: list[dict[Any, Any]]
    known = [ESTIMATORS, SOLVERS, EXECUTORS, PENALTIES, SCHEDULES, QUANTITIES, MODULES, CALLS, EXAMPLES]
    before = [dict(each) for each in known]
    yield
    for each, old in zip(known, before, strict=True):
        each.clear()
        each.update(old)
