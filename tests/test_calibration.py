"""What outputs mean: T against a minimiser of another kind, what may not move it, and what leaves it undefined."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torch import Tensor

from lipreg.calibration import CalibrationPoints, among, calibrate, keys
from lipreg.outputs import AllLogits, Logit, Vector
from lipreg.problem import LocalLipschitz
from lipreg.records import CalibrationRecord, from_line, to_line
from lipreg.regions import L2Ball, LinfBall
from tests.sampling import EVERYTHING

PROBLEM = LocalLipschitz(LinfBall(0.1))


def drawn(seed: int, points: int = 300, classes: int = 4, sharp: float = 2.0) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, logits, and classes drawn from softmax(logits): T is 1 but for the draw."""
    generator = torch.Generator().manual_seed(seed)
    logits = sharp * torch.randn(points, classes, generator=generator, dtype=torch.float64)
    y = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    return torch.rand(points, 3, generator=generator), logits, y


def told(outputs: Tensor, x: Tensor, y: Tensor | None, problem: LocalLipschitz = PROBLEM) -> CalibrationRecord:
    record = calibrate(outputs, (x, y), problem, "run", 3, "hash")
    assert from_line(to_line(record)) == record
    return record


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 1e3), st.integers(2, 6))
def test_t_is_where_the_nll_is_least_and_undoes_whatever_the_logits_were_multiplied_by(
    seed: int, size: float, classes: int
) -> None:
    x, logits, y = drawn(seed, classes=classes)
    found = told(size * logits + 7.0, x, y)  # a common shift says nothing

    def nll(log_factor: float) -> float:
        z = math.exp(log_factor) * logits.numpy()
        return float(np.mean(np.logaddexp.reduce(z, axis=1) - z[np.arange(len(z)), y.numpy()]))

    best = minimize_scalar(nll, bounds=(-6, 6), method="bounded", options={"xatol": 1e-9})
    assert found.task == "classes" and found.points == 300 and found.factor is not None
    assert found.factor * size == pytest.approx(math.exp(best.x), rel=1e-4)
    assert found.loss == pytest.approx(best.fun, abs=1e-9)
    assert found.accuracy == float((logits.argmax(1) == y).double().mean())
    assert found.error == pytest.approx(told(logits, x, y).error, rel=1e-6)


def test_the_standard_error_is_the_spread_over_other_draws() -> None:
    found = [told(logits, x, y) for x, logits, y in (drawn(seed) for seed in range(80))]
    logs = torch.tensor([math.log(r.factor or math.nan) for r in found])
    assert float(logs.std()) == pytest.approx(float(np.mean([r.error for r in found])), rel=0.25)


def test_what_leaves_t_undefined_is_said() -> None:
    x, logits, y = drawn(0)
    for outputs, targets, why in (
        (-logits, y, "no more than chance"),
        (torch.zeros_like(logits), y, "no more than chance"),
        (logits, logits.argmax(1), "every point is classified correctly"),
        (drawn(99)[1], y, "no more than"),
        (logits, None, "no targets"),
        (logits, y + 3, "no classes of 4 outputs"),
        (logits, torch.full_like(y, -1), "no point has a class"),
        (logits * math.inf, y, "not finite"),
        (logits, torch.rand(300, 2), r"shape \(300, 2\) for outputs of shape \(300, 4\)"),
    ):
        found = told(outputs, x, targets)
        assert found.factor is None and found.loss is None
        assert re.search(why, found.why), found.why


def test_points_without_a_class_do_not_count() -> None:
    x, logits, y = drawn(1)
    marked = torch.cat([y, torch.tensor([-1, -100])])
    found = told(torch.cat([logits, 9 * logits[:2]]), torch.cat([x, x[:2]]), marked)
    assert found.points == 300 and found.factor == told(logits, x, y).factor


@pytest.mark.parametrize("columns", [1, 3])
def test_labels_of_sigmoids_are_calibrated_like_classes(columns: int) -> None:
    """One logit z is two classes with logits (0, z), several are so many points of one."""
    generator = torch.Generator().manual_seed(2)
    z = 3 * torch.randn(200, columns, generator=generator, dtype=torch.float64)
    y = (torch.rand(z.shape, generator=generator, dtype=torch.float64) < z.sigmoid()).long()
    x = torch.rand(200, 2)
    found = told(z, x, y if columns > 1 else y.squeeze(1), LocalLipschitz(LinfBall(0.1), AllLogits()))
    two = torch.stack([torch.zeros_like(z.flatten()), z.flatten()], 1)
    other = told(two, torch.rand(len(two), 2), y.flatten())
    assert found.task == "labels" and found.factor == pytest.approx(other.factor, rel=1e-9)
    assert found.accuracy == pytest.approx(other.accuracy)


def test_regression_is_read_in_standard_deviations() -> None:
    """y = 3 x_0 - x_1: one standard deviation in both inputs moves the target by a known share of its own."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(4000, 2, generator=generator, dtype=torch.float64) * torch.tensor([2.0, 5.0])
    y = (3 * x[:, :1] - x[:, 1:]).double()
    linf = told(y, x, y, LocalLipschitz(LinfBall(0.1), Logit(0)))
    assert linf.task == "values" and linf.loss == 0.0
    assert linf.input_scale == pytest.approx(5.0, rel=0.05) and linf.target_scale == pytest.approx(61**0.5, rel=0.05)
    assert linf.factor == pytest.approx((linf.input_scale or 0) / (linf.target_scale or 1))
    l2 = told(y, x, y, LocalLipschitz(L2Ball(0.1), Vector()))
    assert l2.input_scale == pytest.approx(29**0.5, rel=0.05)
    units = told(100 * y, 1000 * x, 100 * y, LocalLipschitz(LinfBall(0.1), Logit(0)))  # metres for kilometres
    assert units.factor == pytest.approx(10 * (linf.factor or 0), rel=1e-9) and units.loss == 0.0
    assert (
        told(y, x, torch.ones_like(y) * 0.5, LocalLipschitz(LinfBall(0.1), Logit(0))).why == "all targets are the same"
    )
    near = told(0.3 * (y - y.mean()) + y.mean(), x, y, LocalLipschitz(LinfBall(0.1), Logit(0)))
    assert near.loss == pytest.approx(0.49, rel=0.01)
    useless = told(0 * y, x, y, LocalLipschitz(LinfBall(0.1), Logit(0)))
    assert useless.factor is None and "no closer to the targets than" in useless.why


def test_networks_are_calibrated_part_by_part_and_told_by_their_points() -> None:
    x, _, y = drawn(4, points=700, classes=3)
    net = torch.nn.Linear(3, 3)
    found = CalibrationPoints(x, y, PROBLEM).of(net, "run", 1, "hash")
    whole = calibrate(net(x).detach().double(), (x, y), PROBLEM, "run", 1, "hash")
    assert found == whole
    assert found.reference != CalibrationPoints(x, y.flip(0), PROBLEM).of(net, "run", 1, "hash").reference
    empty = CalibrationPoints(x[:0], y[:0], PROBLEM).of(net, "run", 1, "hash")
    assert empty.why == "there is no point that is not audited" and empty.factor is None
    assert among(x, set(keys(x[3:5]))).nonzero().flatten().tolist() == [3, 4]


def test_few_points_that_are_told_wrongly_fix_nothing() -> None:
    """T of separable logits hangs on them: whether one is among the points decides it."""
    x = torch.linspace(-1, 1, 400, dtype=torch.float64).unsqueeze(1)
    logits, y = torch.cat([-x, x], 1), (x.squeeze(1) > 0).long()
    for wrong in (1, 2):
        flipped = y.clone()
        flipped[200 : 200 + wrong] = 0
        assert "T depends on" in told(logits, x, flipped).why, wrong
    generator = torch.Generator().manual_seed(0)
    noisy = torch.where(torch.rand(400, generator=generator) < 0.1, 1 - y, y)
    assert told(logits, x, noisy).factor is not None
    assert told(logits[:1], x[:1], y[:1]).factor is None


@pytest.mark.parametrize("points", [20, 50, 100, 400])
def test_two_standard_errors_hold_the_true_factor(points: int) -> None:
    """Of draws whose labels follow softmax(logits), T is 1: two errors hold it in nine of ten."""
    draws = 150 if EVERYTHING else 60
    found = [told(logits, x, y) for x, logits, y in (drawn(seed, points) for seed in range(draws))]
    known = [r for r in found if r.factor is not None]
    held = sum(abs(math.log(r.factor or math.nan)) <= 2 * r.error for r in known)
    assert points < 100 or len(known) > 0.8 * draws
    assert held >= 0.9 * len(known)


def test_what_is_drawn_twice_counts_once() -> None:
    x, logits, y = drawn(5)
    once = told(logits, x, y)
    assert told(logits.repeat(3, 1), x.repeat(3, 1), y.repeat(3)) == once and once.points == 300


def test_outputs_that_tell_how_frequent_the_classes_are_tell_nothing_of_the_point() -> None:
    generator = torch.Generator().manual_seed(6)
    y = (torch.rand(1000, generator=generator) < 0.03).long()
    logits = torch.tensor([[0.9, 0.0]]) + 1e-4 * torch.randn(1000, 2, generator=generator)
    found = told(logits.double(), torch.rand(1000, 2, generator=generator), y)
    assert found.accuracy == pytest.approx(0.97, abs=0.02) and "how frequent" in found.why


def test_the_size_of_logits_is_nothing_from_the_smallest_to_the_largest_numbers() -> None:
    x, logits, y = drawn(7)
    once = told(logits, x, y)
    for size in (1e-140, 1e-30, 1e30, 1e140):
        found = told(size * logits, x, y)
        assert found.factor is not None and found.factor * size == pytest.approx(once.factor, rel=1e-9)
    for size in (1e-200, 1e-320, 1e200, 1e305):
        assert "range of numbers" in told(size * logits, x, y).why


def test_labels_of_small_types_are_read_as_numbers() -> None:
    """255 and 156 are -1 and -100 in uint8, and classes like any other."""
    generator = torch.Generator().manual_seed(8)
    y = torch.tensor([255, 156, 3], dtype=torch.uint8).repeat(40)
    logits = torch.randn(120, 256, generator=generator, dtype=torch.float64)
    assert told(logits, torch.rand(120, 2, generator=generator), y).points == 120


def test_soft_labels_are_no_values_that_the_logits_come_near() -> None:
    generator = torch.Generator().manual_seed(9)
    z = 4 * torch.randn(200, 3, generator=generator, dtype=torch.float64)
    soft = 0.05 + 0.9 * (z > 0).double()
    problem = LocalLipschitz(LinfBall(0.1), AllLogits())
    for outputs in (z, 0.01 * z):
        assert told(outputs, torch.rand(200, 2, generator=generator), soft, problem).factor is None


def test_a_zero_is_a_zero_whatever_its_sign() -> None:
    assert among(torch.tensor([[-0.0, 1.0]]), set(keys(torch.tensor([[0.0, 1.0]])))).all()


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.float64])
@pytest.mark.parametrize("output", [Logit(0), Vector()])
def test_whole_numbers_are_values_of_a_network_with_one_output(dtype: torch.dtype, output: Any) -> None:
    generator = torch.Generator().manual_seed(10)
    x = torch.randn(60, 2, generator=generator, dtype=torch.float64)
    y = (3 * x[:, 0] - x[:, 1]).round()
    problem = LocalLipschitz(LinfBall(0.1), output)
    assert (y == -1).any()  # which is a value, and leaves no point out
    found, floats = told(y[:, None], x, y.to(dtype), problem), told(y[:, None], x, y + 0.0, problem)
    assert found.task == "values" and found.points == 60
    assert found.factor == floats.factor is not None


def test_whole_numbers_that_may_be_labels_without_a_class_are_not_guessed() -> None:
    x, problem = torch.rand(40, 2, generator=torch.Generator().manual_seed(11)), LocalLipschitz(LinfBall(0.1), Logit(0))
    y = torch.tensor([-1, 0, 1, 1]).repeat(10)
    found = told(y[:, None].double(), x, y, problem)
    assert found.factor is None and found.why.startswith("targets -1, 0, 1, which may be labels of a sigmoid or values")
    assert told(y[:, None].double(), x, y.double(), problem).task == "values"
