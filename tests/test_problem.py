"""The question as a value: what it accepts, when two questions are the same, and what its functionals are."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.outputs import AllLogits, AllMargins, AllPairs, Combination, Logit, Margin, Output, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, L1Ball, L2Ball, LinfBall, Region
from tests import oracles

OUTPUTS = torch.tensor([[0.1, 0.7, -0.3, 0.6], [2.0, -1.0, 1.5, 1.9]], dtype=torch.float64)
LABELS = torch.tensor([1, 0])


# ---------------------------------------------------------------- functionals


@pytest.mark.parametrize(
    ("output", "labels", "expected", "names"),
    [
        (Logit(2), None, [[[0, 0, 1, 0]], [[0, 0, 1, 0]]], ["logit 2", "logit 2"]),
        (Logit(), LABELS, [[[0, 1, 0, 0]], [[1, 0, 0, 0]]], ["logit 1", "logit 0"]),
        (Margin(3, 1), None, [[[0, -1, 0, 1]], [[0, -1, 0, 1]]], ["margin 3 - 1", "margin 3 - 1"]),
        (Margin(), LABELS, [[[0, 1, 0, -1]], [[1, 0, 0, -1]]], ["margin 1 - 3", "margin 0 - 3"]),
        (Margin(2), None, [[[0, -1, 1, 0]], [[-1, 0, 1, 0]]], ["margin 2 - 1", "margin 2 - 0"]),
        (Margin(None, 2), LABELS, [[[0, 1, -1, 0]], [[1, 0, -1, 0]]], ["margin 1 - 2", "margin 0 - 2"]),
        (Combination((1, 0, -2, 0.5)), None, [[[1, 0, -2, 0.5]]] * 2, ["combination"] * 2),
        (AllLogits(), None, [np.eye(4)] * 2, ["largest of 4 logits"] * 2),
        (Vector(), None, [np.eye(4)] * 2, ["whole output"] * 2),
        (
            AllMargins(),
            LABELS,
            [
                [[-1, 1, 0, 0], [0, 1, -1, 0], [0, 1, 0, -1]],
                [[1, -1, 0, 0], [1, 0, -1, 0], [1, 0, 0, -1]],
            ],
            ["largest of 3 margins of class 1", "largest of 3 margins of class 0"],
        ),
        (
            AllMargins(3),
            None,
            [[[-1, 0, 0, 1], [0, -1, 0, 1], [0, 0, -1, 1]]] * 2,
            ["largest of 3 margins of class 3"] * 2,
        ),
        (
            AllPairs(),
            None,
            [[[1, -1, 0, 0], [1, 0, -1, 0], [1, 0, 0, -1], [0, 1, -1, 0], [0, 1, 0, -1], [0, 0, 1, -1]]] * 2,
            ["largest of 6 pairs"] * 2,
        ),
    ],
    ids=lambda value: repr(value) if isinstance(value, Output) else "",
)
def test_rows_and_names(output: Output, labels: torch.Tensor | None, expected: list, names: list[str]) -> None:
    rows = output.rows(OUTPUTS, labels)
    np.testing.assert_array_equal(rows.numpy(), np.array(expected, dtype=float))
    assert rows.dtype == OUTPUTS.dtype
    assert output.names(OUTPUTS, labels) == names
    assert output.needs_labels == (labels is not None)
    assert json.loads(json.dumps(output.describe()))["kind"] == type(output).__name__


@pytest.mark.parametrize("output", [Logit(), Margin(), AllMargins(), Margin(None, 2)], ids=repr)
def test_functionals_of_the_label_need_fitting_labels(output: Output) -> None:
    for bad in (
        None,
        torch.tensor([1]),
        torch.tensor([0.0, 1.0]),
        torch.tensor([[1], [0]]),
        torch.tensor([0, 4]),
        torch.tensor([-1, 0]),
    ):
        with pytest.raises(InvalidInput):
            output.rows(OUTPUTS, bad)


@pytest.mark.parametrize(
    "output",
    [Logit(4), Logit(-1), Margin(0, 4), Margin(7), AllMargins(9), AllMargins(-1), Combination((1.0, 2.0))],
    ids=repr,
)
def test_indices_must_be_outputs(output: Output) -> None:
    with pytest.raises(InvalidInput):
        output.rows(OUTPUTS, LABELS)


@pytest.mark.parametrize(
    "build", [lambda: Logit(1.5), lambda: Margin(0.5, 1), lambda: AllMargins("0")], ids=["logit", "margin", "text"]
)  # type: ignore[arg-type]
def test_indices_must_be_whole_numbers(build) -> None:
    with pytest.raises(InvalidInput):
        build().rows(OUTPUTS, None)


@pytest.mark.parametrize(
    "weights", [(), (0.0, 0.0), (1.0, math.nan), (math.inf, 1.0), ((1.0, 2.0), (3.0, 4.0))], ids=repr
)
def test_weights_of_a_combination(weights: tuple) -> None:
    with pytest.raises(InvalidInput, match="weights"):
        Combination(weights)


def test_a_margin_needs_two_outputs() -> None:
    with pytest.raises(InvalidInput):
        Margin(1, 1)
    with pytest.raises(InvalidInput):
        Margin(None, 1).rows(OUTPUTS, LABELS)
    single = torch.ones(2, 1, dtype=torch.float64)
    for output in (Margin(0), AllMargins(0)):
        with pytest.raises(InvalidInput):
            output.rows(single, None)


def test_runner_ups_carry_no_gradient_and_leave_the_outputs_alone() -> None:
    outputs = OUTPUTS.clone().requires_grad_()
    rows = Margin().rows(outputs, LABELS)
    assert not rows.requires_grad
    assert torch.equal(outputs.detach(), OUTPUTS)


# ---------------------------------------------------------------- the question


def test_the_input_norm_defaults_to_the_region_and_q_to_p() -> None:
    for region, p in ((LinfBall(0.1), math.inf), (L2Ball(0.1), 2.0), (L1Ball(0.1), 1.0), (Box(0.0, 1.0), math.inf)):
        assert LocalLipschitz(region, Logit(0)).p == p
        assert LocalLipschitz(region, Logit(0)).q is None
        assert LocalLipschitz(region, Vector()).q == p
    problem = LocalLipschitz(LinfBall(0.1), Logit(0), p="2")  # type: ignore[arg-type]
    assert (problem.p, problem.dual) == (2.0, 2.0)
    assert LocalLipschitz(LinfBall(0.1)).output == AllMargins()
    assert LocalLipschitz(LinfBall(0.1)).scope == "regional"
    assert (LocalLipschitz(L1Ball(1.0)).dual, LocalLipschitz(LinfBall(1.0)).dual) == (math.inf, 1.0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"region": 0.1},
        {"output": "logit"},
        {"output": Logit},
        {"scope": "local"},
        {"p": 3},
        {"p": "two"},
        {"q": 2},
        {"output": Vector(), "q": 0.5},
    ],
    ids=lambda arguments: ", ".join(f"{k}={v!r}" for k, v in arguments.items()),
)
def test_wrong_arguments_are_refused(arguments: dict) -> None:
    with pytest.raises(InvalidInput, match="LocalLipschitz"):
        LocalLipschitz(**{"region": LinfBall(0.1), "output": Logit(0), **arguments})


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("q", [1.0, 2.0, math.inf])
def test_all_pairs_of_norms(p: float, q: float) -> None:
    assert LocalLipschitz(LinfBall(0.1), Vector(), p=p, q=q).q == q


DIFFERENT = [
    LocalLipschitz(LinfBall(0.1), Logit(0)),
    LocalLipschitz(LinfBall(0.2), Logit(0)),
    LocalLipschitz(LinfBall(0.1, low=0.0), Logit(0)),
    LocalLipschitz(L2Ball(0.1), Logit(0)),
    LocalLipschitz(L2Ball(0.1), Logit(0), p=math.inf),
    LocalLipschitz(Box(0.0, 1.0), Logit(0)),
    LocalLipschitz(Box([0.0, 0.5], [1.0, 1.5]), Logit(0)),
    LocalLipschitz(LinfBall(0.1), Logit(1)),
    LocalLipschitz(LinfBall(0.1), Margin(0, 1)),
    LocalLipschitz(LinfBall(0.1), Margin(0)),
    LocalLipschitz(LinfBall(0.1), AllMargins(0)),
    LocalLipschitz(LinfBall(0.1), AllLogits()),
    LocalLipschitz(LinfBall(0.1), Combination((1.0, 2.0))),
    LocalLipschitz(LinfBall(0.1), Combination((1.0, 3.0))),
    LocalLipschitz(LinfBall(0.1), Logit(0), scope="pointed"),
    LocalLipschitz(LinfBall(0.1), Logit(0), p=2),
    LocalLipschitz(LinfBall(0.1), Vector()),
    LocalLipschitz(LinfBall(0.1), Vector(), p=1, q=1),
    LocalLipschitz(LinfBall(0.1), Vector(), p=1, q=2),
]


def test_different_questions_describe_themselves_differently() -> None:
    described = [json.dumps(problem.describe(), sort_keys=True) for problem in DIFFERENT]
    assert len(set(described)) == len(DIFFERENT)
    assert len(set(DIFFERENT)) == len(DIFFERENT)
    assert all(problem.scope in problem.sentence() for problem in DIFFERENT)


@pytest.mark.parametrize("problem", DIFFERENT, ids=range(len(DIFFERENT)))
def test_a_description_survives_a_record(problem: LocalLipschitz) -> None:
    """Comparisons use the description, also the one read back from a file."""
    assert json.loads(json.dumps(problem.describe())) == problem.describe()
    assert pickle.loads(pickle.dumps(problem)) == problem


def test_equal_questions_are_equal_however_they_are_written() -> None:
    one = LocalLipschitz(LinfBall(1, low=0), Combination((1, 2)), p="inf")  # type: ignore[arg-type]
    two = LocalLipschitz(LinfBall(1.0, low=0.0), Combination((1.0, 2.0)))
    assert one == two and hash(one) == hash(two) and one.describe() == two.describe()


# ---------------------------------------------------------------- placing


@pytest.mark.parametrize("region", [LinfBall(0.1), L2Ball(0.1, low=0.0, high=1.0), Box([0.0] * 3, [1.0] * 3)])
def test_placing_puts_rows_and_regions_together(region: Region) -> None:
    x0 = torch.full((2, 3), 0.5, dtype=torch.float64)
    placed = LocalLipschitz(region, Margin()).place(x0, OUTPUTS, LABELS)
    assert placed.batch == 2 and placed.rows.shape == (2, 1, 4)
    assert placed.functional_names == ("margin 1 - 3", "margin 0 - 3")
    part = placed[1:]
    assert part.batch == 1 and part.functional_names == ("margin 0 - 3",)
    assert torch.equal(part.rows, placed.rows[1:])


def test_placing_checks_outputs() -> None:
    x0 = torch.zeros(2, 3, dtype=torch.float64)
    for outputs in (OUTPUTS[:1], OUTPUTS[0], OUTPUTS.unsqueeze(1)):
        with pytest.raises(InvalidInput, match="one vector of outputs"):
            LocalLipschitz(LinfBall(0.1), Logit(0)).place(x0, outputs)


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf], ids=["p1", "p2", "pinf"])
def test_combine_is_the_operator_norm_on_the_coordinates_with_room(p: float) -> None:
    """Scalar functionals: the largest dual norm over the rows. Vector: |J|_{p->q} by the extreme points of the unit ball."""
    x0 = torch.tensor([[0.2, 0.5, 0.3], [0.4, 0.5, 0.6]], dtype=torch.float64)
    region = Box([0.0, 0.5, 0.0], [1.0, 0.5, 1.0])
    jacobians = torch.randn(2, 5, 4, 3, dtype=torch.float64)  # (batch, points, outputs, inputs)
    free = [0, 2]
    for kind, q in [(Margin(1, 2), None), (AllLogits(), None), (AllMargins(0), None), (AllPairs(), None)] + [
        (Vector(), q) for q in (1.0, 2.0, math.inf) if (p, q) != (math.inf, 2.0)
    ]:
        placed = LocalLipschitz(region, kind, p=p, q=q).place(x0, OUTPUTS)
        gradients = torch.einsum("bkm,bnmi->bnki", placed.rows, jacobians)
        norms = placed.combine(gradients)
        assert norms.shape == (2, 5)
        for b in range(2):
            for n in range(5):
                matrix = jacobians[b, n].numpy()[:, free]
                rows = None if kind.joint else placed.rows[b].numpy()
                assert float(norms[b, n]) == pytest.approx(oracles.slope_norm(matrix, rows, p, q), rel=1e-12), (kind, q)


def test_the_norm_into_l1_has_a_limit_of_outputs() -> None:
    problem = LocalLipschitz(LinfBall(0.1), Vector(), q=1)
    x0 = torch.zeros(1, 3, dtype=torch.float64)
    assert problem.place(x0, torch.zeros(1, 16)).rows.shape == (1, 16, 16)
    with pytest.raises(UnsupportedRequest, match="of 17 outputs"):
        problem.place(x0, torch.zeros(1, 17))
    assert LocalLipschitz(L1Ball(0.1), Vector(), q=1).place(x0, torch.zeros(1, 17)).batch == 1


@pytest.mark.parametrize("p", [1.0, math.inf])
def test_apart_is_the_same_constant_of_scalar_functionals(p: float) -> None:
    x0 = torch.zeros(2, 3, dtype=torch.float64)
    jacobian = torch.randn(2, 5, 4, 3, dtype=torch.float64)
    for kind, q in ((AllPairs(), None), (Vector(), math.inf), (Vector(), 1.0)):
        placed = LocalLipschitz(LinfBall(0.1), kind, p=p, q=q).place(x0, OUTPUTS)
        apart = placed.scalarised()
        assert not apart.problem.output.joint
        one, other = (t.combine(torch.einsum("bkm,bnmi->bnki", t.rows, jacobian)) for t in (placed, apart))
        assert torch.allclose(one, other, rtol=1e-12)
    whole = LocalLipschitz(L1Ball(0.1), Vector(), q=2).place(x0, OUTPUTS)
    assert whole.scalarised() is whole


def test_norms_that_nobody_named_follow_another_region() -> None:
    ball = LocalLipschitz(LinfBall(0.1), Vector())
    moved = replace(ball, region=L2Ball(0.1))
    assert (moved.p, moved.q) == (2.0, 2.0) and moved == LocalLipschitz(L2Ball(0.1), Vector())
    assert replace(pickle.loads(pickle.dumps(ball)), region=L1Ball(0.1)).p == 1.0
    named = LocalLipschitz(LinfBall(0.1), Vector(), p="inf", q=1)
    assert (replace(named, region=L2Ball(0.1)).p, replace(named, region=L2Ball(0.1)).q) == (math.inf, 1.0)
    kept = replace(ball, region=L2Ball(0.1), p=math.inf)
    assert kept.p == math.inf and replace(kept, region=L1Ball(0.1)).p == math.inf, "named from now on"
    assert asdict(ball)["p"] == asdict(ball)["q"] == math.inf, "and never left out"
    of_another = LocalLipschitz(L2Ball(0.1), AllLogits(), p=ball.p)
    assert of_another.p == math.inf and replace(of_another, region=L1Ball(0.1)).p == math.inf
    assert replace(ball, output=AllLogits()).q is None and replace(ball, p=1, q=None).q == 1.0
    assert ball == LocalLipschitz(LinfBall(0.1), Vector(), p="inf", q="inf") and ball.describe()["p"] == "inf"
