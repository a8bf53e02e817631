"""What an audit builds ends with it: fifty audits of a training need no more memory than one."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from lipreg.auditing import AuditPlan, audit
from lipreg.bounds import Analysis
from lipreg.graph import Graph
from lipreg.outputs import AllMargins, Logit, Output, Vector
from lipreg.problem import LocalLipschitz, Scope
from lipreg.regions import LinfBall


def dense() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def pooled() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 3))


@pytest.fixture(autouse=True)
def _earlier_objects_are_left_out() -> None:
    """The collector looks at what this test makes alone, which in the process of a whole suite saves seconds.

    Nothing is given back to it after the test: that would be all that the suite has loaded (``tests/conftest.py``).
    """
    gc.collect()
    gc.freeze()


def alive() -> list[str]:
    """Graphs and analyses that somebody still holds."""
    gc.collect()
    return [type(thing).__name__ for thing in gc.get_objects() if type(thing) in (Graph, Analysis)]


SEARCHES = ("lp", "lp_no_triangle", "branch_and_bound", "mip", "sampling", "affine_relu")


@pytest.mark.parametrize(
    "output, estimators, scope",
    [
        (Logit(0), SEARCHES, "regional"),
        (AllMargins(), SEARCHES, "regional"),
        (Vector(), SEARCHES, "regional"),
        (Logit(0), ("mip_pointed", "sampling"), "pointed"),
    ],
)
@pytest.mark.parametrize("make, shape", [(dense, (4,)), (pooled, (1, 3, 3))])
def test_no_network_outlives_its_audit(
    output: Output, estimators: Sequence[str], scope: Scope, make: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    x, y = torch.rand(1, *shape), torch.tensor([0])
    plan = AuditPlan(LocalLipschitz(LinfBall(0.2), output, scope=scope), estimators, budget=600.0)
    (found,) = audit(make(), plan, x, y)
    assert set(estimators) < set(found.intervals)
    assert alive() == []
