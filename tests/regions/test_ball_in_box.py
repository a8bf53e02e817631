"""Supports and projections of an l2 ball that a box cuts, against points of both, whether or not the box holds 0."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lipreg.regions.ball_in_box import project, support_above


def boxed(seed: int, off: bool) -> tuple[Tensor, Tensor, float, Tensor]:
    """Ends of a box, the radius of a ball that meets it, and points of both ``(k, n)``."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    n = int(torch.randint(1, 7, (1,), generator=generator))
    lower, upper = -draw(n) * (draw(n) < 0.8), draw(n) * (draw(n) < 0.8)
    if off:
        lower, upper = lower + (shift := 0.3 * draw(n)), upper + shift
    points = lower + draw(4000, n) * (upper - lower)
    size = points.norm(dim=1)
    radius = float(size.quantile(0.3)) or 1.0
    return lower, upper, radius, points[size <= radius]


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 10**6), off=st.booleans(), scale=st.sampled_from([1e-160, 1.0, 1e150]))
def test_no_point_beats_the_support_and_none_is_nearer_than_the_projection(seed: int, off: bool, scale: float) -> None:
    lower, upper, radius, points = boxed(seed, off)
    forms = torch.randn(20, len(lower), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    above = support_above(forms * scale, lower, upper, radius)
    assert ((points @ forms.T).amax(0) <= above / scale * (1 + 1e-12) + 1e-15).all()
    box = torch.maximum(forms * lower, forms * upper).sum(-1)
    nearest = project(forms, lower, upper, radius)
    assert ((nearest >= lower) & (nearest <= upper)).all()
    if off:
        return
    assert (above / scale <= torch.minimum(box, radius * forms.norm(dim=-1)) * (1 + 1e-12) + 1e-15).all()
    assert (nearest.norm(dim=-1) <= radius * (1 + 1e-12)).all()
    apart = torch.cdist(forms, points).amin(-1)
    assert ((forms - nearest).norm(dim=-1) <= apart + 0.02).all()


def test_it_is_tight_where_a_few_coordinates_meet_their_ends() -> None:
    """In the plane: half of the unit disc, 0 <= d_1 <= 0.6, where (0.6, 0.8) is the corner."""
    lower, upper = torch.tensor([[0.0, -1.0], [0.6, 1.0]], dtype=torch.float64)
    forms = torch.tensor([[1.0, 1.0], [0.1, 1.0], [-1.0, 1.0], [1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    expected = [1.4, 1.01**0.5, 1.0, 0.6, 0.0]
    assert support_above(forms, lower, upper, 1.0).tolist() == pytest.approx(expected, rel=1e-13, abs=1e-15)
    assert project(2 * forms, lower, upper, 1.0)[0].tolist() == pytest.approx([0.6, 0.8], rel=1e-12)
