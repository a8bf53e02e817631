"""What users misspell, or give in another shape: the message names it, and what was meant."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import lipreg
from lipreg.callbacks import LipschitzAudit, LipschitzRegularizer
from lipreg.errors import InvalidInput, UnsupportedModel
from lipreg.estimators import ESTIMATORS, differentiable_names
from lipreg.penalties import get_penalty
from lipreg.schedules import get_schedule
from lipreg.testing import check_estimator
from tests.callbacks.test_runs_of_trainings import audit, train

PROBLEM = lipreg.LocalLipschitz(lipreg.LinfBall(0.1))
NET = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
X, Y = torch.rand(2, 4), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("ask", "where"),
    [
        (lambda bound: LipschitzRegularizer(PROBLEM, bound=bound), "LipschitzRegularizer.bound"),
        (lambda bound: lipreg.LipschitzPenalty(NET, PROBLEM, bound=bound), "LipschitzPenalty.bound"),
        (lambda bound: lipreg.estimate(NET, PROBLEM, X, Y, bound=bound), "bound"),
    ],
)
@pytest.mark.parametrize("bound", ["afine_relu", {"estimator": "afine_relu"}, "afine_relu@l2"])
def test_a_bound_that_is_none_lists_those_that_can_be_penalised(
    ask: Callable[[Any], Any], where: str, bound: Any
) -> None:
    with pytest.raises(InvalidInput, match="did you mean 'affine_relu") as told:
        ask(bound)
    assert told.value.where == where
    assert told.value.accepted == ", ".join(differentiable_names())


@pytest.mark.parametrize(
    ("ask", "meant"),
    [
        (lambda: LipschitzAudit(PROBLEM, estimators=["mpi"]), "mip"),
        (lambda: lipreg.certify(NET, PROBLEM, X, Y, estimator="branch_and_bounds"), "branch_and_bound"),
        (lambda: lipreg.compare(NET, NET, PROBLEM, X, Y, bound="fast_lip"), "fastlip"),
        (lambda: get_penalty("hing"), "hinge"),
        (lambda: get_schedule("cosin"), "cosine"),
    ],
)
def test_a_misspelt_name_is_told_which_was_meant(ask: Callable[[], Any], meant: str) -> None:
    with pytest.raises(InvalidInput, match=rf"\(did you mean '{meant}'\?\)\. Accepted: "):
        ask()


def test_a_name_like_no_other_gets_the_list_alone() -> None:
    with pytest.raises(InvalidInput) as told:
        get_penalty("quartic")
    assert "did you mean" not in str(told.value) and "hinge" in told.value.accepted


def test_of_many_names_the_nearest_are_listed_and_it_is_said_where_all_are() -> None:
    for wrong, nearest in (("no such name", ""), ("branch", "branch_and_bound"), ("lp_triangle", "lp_no_triangle")):
        with pytest.raises(InvalidInput) as told:
            check_estimator(wrong)
        names, _, more = told.value.accepted.partition(" and ")
        listed = names.split(", ")
        assert listed[0].startswith(nearest) and set(listed) <= set(ESTIMATORS.all_names()) and len(listed) <= 8
        assert more == f"{len(ESTIMATORS.all_names()) - len(listed)} more" and len(str(told.value)) < 300
        assert told.value.todo == "lipreg.estimators.ESTIMATORS.all_names() has all of them"


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.left(x) + torch.relu(self.right(x))


CONVOLUTION = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))


@pytest.mark.parametrize(
    ("network", "shape", "said"),
    [
        (NET, (5,), "points of shape (5,) have 5 features where the network's first layer, '0', takes 4"),
        (Branches(), (5,), "have 5 features where the network's first layer, 'left', takes 4"),
        (
            nn.Sequential(nn.Flatten(), NET),
            (3, 2),
            "(3, 2) have 6 features where the network's first layer, '1.0', takes 4",
        ),
        (CONVOLUTION, (3, 8, 8), "have 3 channels where the network's first layer, '0', takes 1"),
    ],
)
def test_points_of_another_width_than_the_first_layer_takes(
    network: nn.Module, shape: tuple[int, ...], said: str
) -> None:
    x = torch.rand(2, *shape)
    for ask in (
        lambda: lipreg.capture(network, x),
        lambda: lipreg.certify(network, PROBLEM, x, Y),
        lambda: lipreg.LipschitzPenalty(network, PROBLEM)(x, Y),
    ):
        with pytest.raises(InvalidInput) as told:
            ask()
        assert said in str(told.value)


def test_a_mismatch_within_the_network_is_the_networks() -> None:
    with pytest.raises(UnsupportedModel, match=r"\(98,\) meet a weight of shape \(3, 72\)"):
        lipreg.capture(CONVOLUTION, torch.rand(2, 1, 9, 9))


def test_given_reference_points_are_named_by_the_audit_s_argument() -> None:
    with pytest.raises(InvalidInput, match=r"^LipschitzAudit\(points=.*dtype torch.int64.*floating point"):
        LipschitzAudit(PROBLEM, points=(torch.zeros(2, 4, dtype=torch.int64), Y))
    with pytest.raises(InvalidInput, match=r"^LipschitzAudit\(points=.*point 1 holds NaN"):
        LipschitzAudit(PROBLEM, points=torch.tensor([[0.0, 1.0], [0.0, torch.nan]]))


def test_what_a_second_question_leaves_aside_is_said_once(tmp_path: Path) -> None:
    """No learning: every audit is of the same weights, and meets the records of the first training."""
    settings = {"points": 2, "folder": str(tmp_path), "run": "run", "module": "net"}
    still = {"limit_train_batches": 1, "max_epochs": 2, "gradient_clip_val": 1e-300}
    train(tmp_path, audit(**settings), **still)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(tmp_path, audit(problem=lipreg.LocalLipschitz(lipreg.LinfBall(0.3)), **settings), **still)
    told = [str(w.message) for w in caught if "earlier record" in str(w.message)]
    assert len(told) == 1 and "because the question is another one. They stay" in told[0]
    assert "none of " in told[0] and "folder= or run=" in told[0] and str(tmp_path) in told[0]
