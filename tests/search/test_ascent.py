"""Bounds of forms over nodes against the linear programs that they are the duals of, solved by HiGHS, and against points."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from lipreg.regions.ball_in_box import project
from lipreg.search.ascent import QUICK, THOROUGH, UnitBall, UnitBox, dual_bounds

CUTS, INPUTS, FORMS = 6, 12, 3


def drawn(count: int, room: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Forms and cuts of size 1, ``(N, t, m)``, ``(N, k, m)`` and ``(N, k)``; the less room, the fewer nodes hold a point."""
    generator = torch.Generator().manual_seed(seed)

    def rows(rows: int) -> Tensor:
        parts = torch.randn(count, rows, INPUTS, generator=generator, dtype=torch.float64)
        return parts / parts.norm(dim=-1, keepdim=True)

    level = room * torch.rand(count, CUTS, generator=generator, dtype=torch.float64) - room / 2
    return rows(FORMS), rows(CUTS), level


def solved(form: Tensor, cut: Tensor, level: Tensor) -> float:
    """sup form . d over the unit box and the cuts, -inf where they hold no point."""
    found = linprog(-form.numpy(), A_ub=-cut.numpy(), b_ub=level.numpy(), bounds=(-1, 1), method="highs")
    return -math.inf if found.status == 2 else -found.fun


@pytest.mark.parametrize("room", [0.0, 1.0, 4.0])
def test_no_bound_lies_below_what_a_program_attains(room: float) -> None:
    form, cut, level = drawn(350, room)
    goal = torch.full((len(form), FORMS + 1), -torch.inf, dtype=torch.float64)
    goal[:, -1] = -1e-9
    bound, point = dual_bounds(form, goal, cut, level, UnitBox(), THOROUGH)
    truth = torch.tensor([solved(form[i, 0], cut[i], level[i]) for i in range(len(form))], dtype=torch.float64)
    empty = truth == -torch.inf
    assert (bound[~empty, 0] >= truth[~empty] - 1e-9).all()
    assert (bound[~empty, -1] >= 0).all(), "a node that holds a point was called empty"
    assert (point.abs() <= 1).all()
    # and they are worth having: most of the way from the box's bound to the program's, and of the empty nodes most
    box = form[:, 0].abs().sum(-1)
    way = (box - bound[:, 0])[~empty].sum() / (box - truth)[~empty].sum()
    assert way > 0.9
    if empty.any():
        assert (bound[empty, -1] < 0).double().mean() > 0.5


def test_no_bound_in_a_ball_lies_below_one_of_its_points() -> None:
    form, cut, room = drawn(200, 0.4, seed=1)
    generator = torch.Generator().manual_seed(2)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, INPUTS, generator=generator, dtype=torch.float64)

    ends = torch.full((len(form), 1, INPUTS), 0.4, dtype=torch.float64)
    within = UnitBall(-ends, 2 * ends)
    center = project(noise(len(form), 1), within.lower, within.upper, 0.7)
    level = room.abs() - (cut @ center.mT).squeeze(-1)
    goal = torch.full((len(form), FORMS + 1), -torch.inf, dtype=torch.float64)
    bound, _ = dual_bounds(form, goal, cut, level, within, THOROUGH)
    points = torch.cat([center, center + 0.1 * noise(len(form), 400), center + 0.3 * form], 1)
    points = project(points, within.lower, within.upper, 1.0)
    held = ((points @ cut.mT + level.unsqueeze(1)) >= 0).all(-1) & (points.norm(dim=-1) <= 1)
    assert held[:, 0].all() and held[:, 1:].any(-1).double().mean() > 0.5
    best = torch.where(held.unsqueeze(1), form @ points.mT, -torch.inf).amax(-1)
    assert (bound[:, :-1] >= best - 1e-12).all()
    assert (bound[:, -1] >= 0).all(), "a node that holds a point was called empty"


def test_forms_that_are_settled_are_left_alone_and_the_others_gain_by_more_steps() -> None:
    form, cut, level = drawn(50, 1.0, seed=3)
    far = torch.full((50, FORMS + 1), torch.inf, dtype=torch.float64)  # every bound is below that
    least = torch.full_like(far, -torch.inf)
    least[:, -1] = -1.0
    first, _ = dual_bounds(form, far, cut, level, UnitBox(), THOROUGH)
    quick, _ = dual_bounds(form, least, cut, level, UnitBox(), QUICK)
    thorough, _ = dual_bounds(form, least, cut, level, UnitBox(), THOROUGH)
    assert (first >= quick - 1e-12).all() and (quick >= thorough).all()
    assert (thorough < quick).any() and (quick < first).any()


def test_nodes_are_bounded_alike_in_a_batch_and_alone() -> None:
    form, cut, level = drawn(20, 1.0, seed=4)
    goal = torch.full((20, FORMS + 1), -0.1, dtype=torch.float64)
    together, points = dual_bounds(form, goal, cut, level, UnitBox(), THOROUGH)
    for i in range(20):
        one = slice(i, i + 1)
        alone, point = dual_bounds(form[one], goal[one], cut[one], level[one], UnitBox(), THOROUGH)
        assert np.allclose(alone, together[one], atol=0.05) and np.allclose(point, points[one], atol=0.05)
