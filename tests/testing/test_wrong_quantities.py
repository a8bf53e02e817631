"""Quantities that are wrong, each in one way, and found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from lipreg.errors import UnsupportedRequest
from lipreg.problem import LocalLipschitz
from lipreg.quantities import Jacobian, Quantity, Query, register
from lipreg.results import Certificate
from lipreg.testing import CheckFailed, check_quantity


def norms(query: Query) -> Tensor:
    return Jacobian().values(query)


@dataclass(frozen=True)
class Above(Quantity):
    """Twice what is proved from below."""

    from_below = True

    def values(self, query: Query) -> Tensor:
        return 2.0 * norms(query) + 10.0


@dataclass(frozen=True)
class NoBound(Quantity):
    """A norm at a point is no upper bound."""

    def certificate(self, problem: LocalLipschitz) -> Certificate:
        return Certificate.UPPER

    def values(self, query: Query) -> Tensor:
        return 0.5 * norms(query)


@dataclass(frozen=True)
class Detached(Quantity):
    """Half of its gradient is lost."""

    def values(self, query: Query) -> Tensor:
        return norms(query) * norms(query).detach()


@dataclass(frozen=True)
class Cut(Quantity):
    """Has no gradient."""

    def values(self, query: Query) -> Tensor:
        return norms(query).detach()


@dataclass(frozen=True)
class OfTheBatch(Quantity):
    """Depends on who else is there."""

    def values(self, query: Query) -> Tensor:
        return norms(query) + norms(query).mean()


@dataclass(frozen=True)
class ReadsLabels(Quantity):
    """Reads labels, and does not say so."""

    def values(self, query: Query) -> Tensor:
        assert query.labels is not None
        return norms(query) * (1.0 + query.labels)


@dataclass(frozen=True)
class Raises(Quantity):
    def values(self, query: Query) -> Tensor:
        raise KeyError("nothing")


@dataclass(frozen=True)
class OneNumber(Quantity):
    """A scalar in place of one number a point."""

    def values(self, query: Query) -> Tensor:
        return norms(query).mean()


@dataclass(frozen=True)
class Disturbs(Quantity):
    """Draws from torch's own state."""

    draws = True

    def values(self, query: Query) -> Tensor:
        torch.rand(1)
        return norms(query)


@dataclass(frozen=True)
class Counts(Quantity):
    """Remembers how often it was asked."""

    asked: ClassVar[list[int]] = []

    def values(self, query: Query) -> Tensor:
        self.asked.append(1)
        return norms(query) * len(self.asked)


@dataclass(frozen=True)
class Moves(Quantity):
    """Changes the points."""

    def values(self, query: Query) -> Tensor:
        found = norms(query)
        query.x.add_(0.1)
        return found + 0.0 * query.x.flatten(1).sum(1)


@dataclass(frozen=True)
class Picky(Quantity):
    """Covers nothing."""

    def check(self, problem: LocalLipschitz, graph: object = None) -> None:
        raise UnsupportedRequest("everything", where="picky")

    def values(self, query: Query) -> Tensor:
        return norms(query)


@dataclass(frozen=True)
class Infinite(Quantity):
    """Has no gradient where units are dead."""

    def values(self, query: Query) -> Tensor:
        return query.outputs.square().sum(1) + query.weights[0][0].square().sum().sqrt()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Above, "says from_below, and the constant is"),
        (NoBound, "says UPPER, and the constant is"),
        (Detached, "the gradient is not that of finite differences"),
        (Cut, "no gradient reaches the parameters"),
        (OfTheBatch, "each point alone"),
        (ReadsLabels, "(?s)with(out| other) labels.*; a quantity that reads labels says reads_labels = True"),
        (Raises, "KeyError: 'nothing'"),
        (OneNumber, "is no number a point"),
        (Disturbs, "torch's own random state"),
        (Counts, "asked again"),
        (Moves, "asked again|has changed the points"),
        (Picky, "it refuses every question"),
        (Infinite, "a gradient is not finite"),
    ],
)
def test_a_quantity_that_is_wrong_is_found(wrong: type[Quantity], says: str) -> None:
    register("wrong")(wrong)
    with pytest.raises(CheckFailed, match=says):
        check_quantity("wrong")
