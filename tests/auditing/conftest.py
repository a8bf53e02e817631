"""Estimators registered for one test, and worker processes that the tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lipreg.auditing import Processes
from lipreg.estimators import Estimator, register
from lipreg.estimators.base import ESTIMATORS
from tests.auditing.cases import Registers


@pytest.fixture
def known_as() -> Iterator[Registers]:
    """Registers an estimator class under a name, until the test is over."""
    before = dict(ESTIMATORS)

    def add(name: str, kind: type[Estimator]) -> str:
        register(name)(kind)
        return name

    yield add
    ESTIMATORS.clear()
    ESTIMATORS.update(before)


@pytest.fixture(scope="session")
def shared_workers() -> Iterator[Processes]:
    """Two processes, started once: an audit leaves them as it found them."""
    with Processes(2) as workers:
        yield workers
