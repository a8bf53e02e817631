"""Vector norms, their names and their duals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lipreg.errors import InvalidInput
from lipreg.linalg import dual_norm, norm_name, parse_norm, safe_sqrt, vector_norm

NORMS = {"1": 1.0, "2": 2.0, "inf": math.inf}
each_norm = pytest.mark.parametrize("p", NORMS.values(), ids=NORMS)


@pytest.mark.parametrize(
    ("text", "value"),
    [(1, 1.0), ("1", 1.0), (2, 2.0), ("2.0", 2.0), ("inf", math.inf), ("Infinity", math.inf), (math.inf, math.inf)],
)
def test_norms_are_read_from_numbers_and_text(text: float | str, value: float) -> None:
    assert parse_norm(text) == value


@pytest.mark.parametrize("bad", [0, 3, -1, -math.inf, math.nan, "two", None, [1]], ids=repr)
def test_other_norms_are_refused(bad: object) -> None:
    with pytest.raises(InvalidInput, match="here"):
        parse_norm(bad, "here")  # type: ignore[arg-type]


@each_norm
def test_names_round_trip(p: float) -> None:
    assert parse_norm(norm_name(p)) == p


@each_norm
def test_dual_norm_is_attained(p: float) -> None:
    """|c|_{p*} = max c . v over |v|_p <= 1: never exceeded, and met at the extreme points or at c / |c|."""
    rng = np.random.default_rng(0)
    c = rng.normal(size=4)
    v = rng.normal(size=(2000, 4))
    v /= np.linalg.norm(v, p, axis=1, keepdims=True)
    best = {1.0: np.eye(4) * np.sign(c), 2.0: c[None] / np.linalg.norm(c), math.inf: np.sign(c)[None]}[p]
    dual = np.linalg.norm(c, dual_norm(p))
    assert (v @ c).max() <= dual * (1 + 1e-12)
    assert (best @ c).max() == pytest.approx(dual)
    assert dual_norm(dual_norm(p)) == p


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12),
    p=st.sampled_from([1.0, 2.0, math.inf]),
)
def test_vector_norm_is_numpys(values: list[float], p: float) -> None:
    x = np.array(values)
    assert float(vector_norm(torch.from_numpy(x), p)) == pytest.approx(
        float(np.linalg.norm(x, p)), rel=1e-12, abs=1e-150
    )


@each_norm
def test_vector_norm_over_several_dimensions(p: float) -> None:
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    own = np.linalg.norm(x.reshape(2, 3, 20).numpy(), p, axis=-1)
    np.testing.assert_allclose(vector_norm(x, p, dims=2).numpy(), own)
    assert vector_norm(x, p).shape == (2, 3, 4)


@each_norm
def test_gradient_at_zero_is_zero(p: float) -> None:
    x = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(vector_norm(x, p).sum(), x)
    assert torch.isfinite(gradient).all()
    if p == 2.0:
        assert not gradient.any()


def test_safe_sqrt_keeps_values_and_tames_the_gradient() -> None:
    x = torch.tensor([0.0, 4.0, 1e-300], dtype=torch.float64, requires_grad=True)
    y = safe_sqrt(x)
    np.testing.assert_allclose(y.detach().numpy(), np.sqrt(x.detach().numpy()))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient[0] == 0 and gradient[1] == 0.25 and torch.isfinite(gradient).all()
    assert torch.autograd.gradcheck(safe_sqrt, torch.rand(5, dtype=torch.float64, requires_grad=True))
