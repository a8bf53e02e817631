"""Ways in which a wrong answer could pass for a proof, and what stops each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import lipreg.estimators.relaxations.lp as lp
from lipreg import AllLogits, LinfBall, LocalLipschitz, Logit, certify, estimate
from lipreg.errors import IncomparableResults, InvalidInput
from tests import oracles


def question() -> tuple[nn.Module, torch.Tensor, LocalLipschitz]:
    torch.manual_seed(1)
    net = oracles.mlp(3, 8, 8, 2).double()
    return net, torch.rand(1, 3, dtype=torch.float64), LocalLipschitz(LinfBall(0.8), Logit(0))


def test_a_program_that_leaves_cells_out_contradicts_the_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    """With binaries fixed to one side the program misses the maximiser; the witness's cutoff must not paper over that,
    and nothing is proved by it."""
    net, x, single = question()
    problem = replace(single, output=AllLogits())  # a single functional has no cutoff
    (right,) = certify(net, problem, x, estimator="mip")
    real = lp.encode

    def sabotaged(*args: Any, **options: Any) -> Any:
        encoding = real(*args, **options)
        upper = encoding.program.upper.copy()
        upper[encoding.program.columns["a"]] = 0.0
        return replace(encoding, program=replace(encoding.program, upper=upper))

    monkeypatch.setattr(lp, "encode", sabotaged)
    (known,) = certify(net, problem, x, estimator="sampling")
    assert known.lower > 0.5 * right.upper
    (found,) = certify(net, problem, x, estimator="mip", known=(known,))
    assert "is wrong: a point attains more" in found.detail
    assert found.lower <= right.upper and found.upper >= right.lower
    # without a cutoff the program has no point at all: the solver, or the program, is wrong
    (failed,) = certify(net, single, x, estimator="mip")
    assert failed.status.value == "failed"
    assert failed.upper >= certify(net, single, x, estimator="sampling")[0].lower


def test_an_infeasible_relaxation_is_a_failure_and_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference point is feasible, so a solver that says otherwise proves nothing."""
    net, x, problem = question()
    (cheap,) = certify(net, problem, x, estimator="jacobian_crown")
    solved = lp.relaxation

    def infeasible(*args: Any) -> Any:
        encoding, outcome = solved(*args)
        return encoding, replace(outcome, claimed=-float("inf"), dual_bound=float("inf"))

    monkeypatch.setattr(lp, "relaxation", infeasible)
    (result,) = certify(net, problem, x, estimator="lp")
    assert result.status.value == "failed"
    assert result.upper == pytest.approx(cheap.upper)


def test_what_is_known_must_answer_the_same_question() -> None:
    net, x, problem = question()
    pointed = replace(problem, scope="pointed")
    (other,) = certify(net, pointed, x, estimator="affine_relu")
    with pytest.raises(IncomparableResults):
        certify(net, problem, x, estimator="mip", known=(other,))
    (same,) = certify(net, problem, x, estimator="affine_relu")
    with pytest.raises(InvalidInput, match="2 known intervals for 1 points"):
        certify(net, problem, x, estimator="mip", known=(same, same))


def test_intervals_of_other_points_or_networks_do_not_meet() -> None:
    net, x, problem = question()
    (here,) = certify(net, problem, x, estimator="sampling")
    (there,) = certify(net, problem, x + 0.01, estimator="spectral")
    (elsewhere,) = certify(oracles.mlp(3, 8, 8, 2).double(), problem, x, estimator="spectral")
    (own,) = certify(net, problem, x, estimator="spectral")
    for other in (there, elsewhere):
        with pytest.raises(IncomparableResults):
            here.intersect(other)
    assert here.intersect(own).upper == own.upper


def test_a_hook_that_changes_the_function_is_found() -> None:
    net, x, problem = question()
    handle = net[0].register_forward_hook(lambda module, args, output: 10 * output)  # type: ignore[index]
    with pytest.raises(InvalidInput, match="differs from the module"):
        certify(net, problem, x, estimator="mip")
    handle.remove()
    assert certify(net, problem, x, estimator="mip")


@pytest.mark.parametrize("radius, dtype", [(1e-18, torch.float64), (1e-9, torch.float32)])
def test_a_radius_that_rounding_swallows_is_refused(radius: float, dtype: torch.dtype) -> None:
    net = oracles.mlp(2, 4, 2).to(dtype)
    with pytest.raises(InvalidInput, match="lost in rounding"):
        estimate(net, LocalLipschitz(LinfBall(radius), AllLogits()), torch.full((1, 2), 0.5, dtype=dtype))


def test_inputs_that_are_no_floating_point_tensors_are_refused() -> None:
    net, x, problem = question()
    for bad in ([[0.1, 0.2, 0.3]], torch.tensor([[1, 2, 3]])):
        with pytest.raises(InvalidInput):
            certify(net, problem, bad, estimator="mip")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput):
        certify(net, problem, x, [0], estimator="mip")  # type: ignore[arg-type]
