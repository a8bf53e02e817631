"""SeqLip: its factors against plain loops, its place between the exact constants and the spectral product."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lipreg.errors import UnsupportedRequest
from lipreg.estimators import certify
from lipreg.estimators.sdp.layer_chain import Chain
from lipreg.estimators.yardsticks import seqlip
from lipreg.estimators.yardsticks.vertices import greedy_norm, largest_norm
from lipreg.outputs import AllLogits, Combination, Logit, Output, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, LinfBall
from lipreg.results import Certificate, CertifiedInterval, Status
from tests import oracles
from tests.conftest import Reference
from tests.test_reference import CASES, network, point, question


def ask(reference: Reference, case: str, name: str, scope: str = "regional", whole: bool = False) -> CertifiedInterval:
    """``whole``: over so large a box that nearly every unit is unstable."""
    arrays = reference.case(case)
    asked = question(arrays, Combination(tuple(arrays["c"].tolist())), "2")
    region = Box(-1e3, 1e3) if whole else asked.region
    problem = LocalLipschitz(region, asked.output, scope, 2.0)  # type: ignore[arg-type]
    (found,) = certify(network(arrays), problem, point(arrays), estimator=name)
    return found


def estimated(found: CertifiedInterval) -> float:
    assert found.certificate is Certificate.ESTIMATE and found.estimate is not None and found.upper == math.inf
    assert found.status is Status.ESTIMATED
    return found.estimate


# ---------------------------------------------------------------- reference networks


@pytest.mark.parametrize("case", CASES)
def test_it_lies_between_the_exact_constant_and_the_spectral_product(reference: Reference, case: str) -> None:
    exact = reference.exact[case]["2"]
    local, spectral = ask(reference, case, "seqlip"), ask(reference, case, "spectral").upper
    assert exact * (1 - 1e-9) <= local.upper <= spectral * (1 + 1e-9)
    assert estimated(ask(reference, case, "seqlip_greedy")) <= local.upper
    pointed = ask(reference, case, "seqlip", "pointed")
    assert ask(reference, case, "sampling", "pointed").lower <= pointed.upper <= local.upper * (1 + 1e-9)


@pytest.mark.parametrize("case", CASES)
def test_with_all_units_open_it_is_above_the_global_constant(reference: Reference, case: str) -> None:
    whole = ask(reference, case, "seqlip", whole=True).upper
    lower = max(reference.exact[case]["2"], ask(reference, case, "sampling", whole=True).lower)
    assert lower <= whole <= ask(reference, case, "spectral").upper * (1 + 1e-9)
    greedy = estimated(ask(reference, case, "seqlip_greedy", whole=True))
    assert greedy <= whole and ask(reference, case, "seqlip").upper <= whole * (1 + 1e-9)


# ---------------------------------------------------------------- small networks


def bound(net: torch.nn.Module, output: Output, name: str = "seqlip", q: float | None = None) -> CertifiedInterval:
    x = torch.full((1, oracles.input_size(net)), 0.2, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(1e4), output, p=2.0, q=q)
    return certify(net, problem, x, estimator=name)[0]


@pytest.mark.parametrize("q", [None, 2.0])
def test_one_hidden_layer_is_exact_where_every_pattern_occurs(q: float | None) -> None:
    """With as many inputs as units in general position every pattern has its cone."""
    for seed in range(3):
        torch.manual_seed(seed)
        net = oracles.mlp(4, 4, 3).double()
        left, right = (net[k].weight.detach().numpy() for k in (2, 0))
        exact = 0.0
        for bits in itertools.product([0.0, 1.0], repeat=4):
            jacobian = left @ np.diag(bits) @ right
            exact = max(exact, oracles.slope_norm(jacobian, None if q else np.eye(3), 2.0, q))
        output = Vector() if q else AllLogits()
        assert bound(net, output, q=q).upper == pytest.approx(exact, rel=1e-8)
        assert estimated(bound(net, output, "seqlip_greedy", q)) <= exact * (1 + 1e-9)


def test_two_hidden_layers_are_the_product_of_their_factors() -> None:
    """The formula of the paper, written out with numpy: singular vectors, and every phase of every layer."""
    torch.manual_seed(5)
    net = oracles.mlp(3, 5, 4, 2).double()
    first, second, third = (net[k].weight.detach().numpy() for k in (0, 2, 4))
    u, s, v = np.linalg.svd(second, full_matrices=False)

    def factor(left: np.ndarray, right: np.ndarray) -> float:
        phases = itertools.product([0.0, 1.0], repeat=left.shape[1])
        return max(float(np.linalg.norm(left @ np.diag(bits) @ right, 2)) for bits in phases)

    expected = factor(np.diag(np.sqrt(s)) @ v, first) * factor(third, u @ np.diag(np.sqrt(s)))
    assert bound(net, Vector(), q=2.0).upper == pytest.approx(expected, rel=1e-8)


def test_layers_too_wide_to_enumerate_have_the_product_of_norms(monkeypatch: Any) -> None:
    torch.manual_seed(0)
    net = oracles.mlp(3, 6, 6, 2).double()
    exact = bound(net, Logit(0)).upper
    monkeypatch.setattr(seqlip, "UNITS", 5)
    wide = bound(net, Logit(0))
    assert "layer 1: 6 unstable units, product of norms; unstable layer 2: 6 unstable units enumerated" in wide.detail
    monkeypatch.setattr(seqlip, "ROW_UNITS", 5)
    wider = bound(net, Logit(0))
    spectral = bound(net, Logit(0), "spectral").upper
    assert exact <= wide.upper <= wider.upper <= spectral * (1 + 1e-9)
    assert wider.upper == pytest.approx(spectral, rel=1e-6)  # nothing is decided and nothing enumerated


def test_networks_that_branch_have_the_product_of_norms() -> None:
    net = oracles.network("residual")
    found = bound(net, Logit(0))
    assert found.upper == pytest.approx(bound(net, Logit(0), "spectral").upper, rel=1e-8)
    assert found.status is Status.BOUNDED and "branches" in found.detail
    assert "branches" in bound(net, Logit(0), "seqlip_greedy").detail


def test_other_norms_are_refused() -> None:
    for p, q in ((math.inf, None), (1.0, None), (2.0, 1.0)):
        problem = LocalLipschitz(LinfBall(1.0), Logit(0) if q is None else Vector(), p=p, q=q)
        with pytest.raises(UnsupportedRequest, match="seqlip"):
            certify(oracles.network("deep"), problem, torch.zeros(1, 2, dtype=torch.float64), estimator="seqlip")


# ---------------------------------------------------------------- vertices and pieces


def drawn(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@given(
    seed=st.integers(0, 10**6),
    functionals=st.integers(1, 3),
    rows=st.integers(1, 3),
    units=st.integers(1, 5),
    columns=st.integers(1, 4),
)
def test_the_largest_norm_is_at_a_vertex(seed: int, functionals: int, rows: int, units: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    left, right = drawn(generator, functionals, rows, units), drawn(generator, units, columns)
    ends = torch.rand(2, units, generator=generator, dtype=torch.float64).sort(0).values
    ends[:, 0] = ends[0, 0]  # a stable unit
    by_hand = 0.0
    for bits in itertools.product([0, 1], repeat=units):
        s = torch.diag(ends[list(bits), range(units)])
        by_hand = max(by_hand, *(float(np.linalg.norm((b @ s @ right).numpy(), 2)) for b in left))
    found = largest_norm(left, right, *ends)
    assert found == pytest.approx(by_hand, rel=1e-12)
    assert 0.7 * by_hand <= greedy_norm(left, right, *ends) <= by_hand * (1 + 1e-12)
    inside = torch.diag(ends[0] + torch.rand(units, generator=generator, dtype=torch.float64) * (ends[1] - ends[0]))
    assert all(np.linalg.norm((b @ inside @ right).numpy(), 2) <= by_hand * (1 + 1e-12) for b in left)
    assert largest_norm(left, right, *ends, is_over=lambda: True) is None


@given(
    seed=st.integers(0, 10**6),
    widths=st.lists(st.integers(1, 5), min_size=3, max_size=6),
    most=st.integers(0, 8),
    decided=st.integers(0, 3),
)
def test_pieces_multiply_to_a_bound(seed: int, widths: list[int], most: int, decided: int) -> None:
    """Whatever the slopes: the chain's product lies below the pieces' norms multiplied, and folding changes nothing."""
    generator = torch.Generator().manual_seed(seed)
    maps = tuple(drawn(generator, b, a) for a, b in itertools.pairwise(widths))
    lower = tuple(torch.zeros(b, dtype=torch.float64) for b in widths[1:-1])
    upper = tuple(torch.ones(b, dtype=torch.float64) for b in widths[1:-1])
    if decided < len(upper):
        upper[decided].zero_()
    whole = Chain(maps, lower, upper)

    def product(chain: Chain, slopes: list[Tensor]) -> Tensor:
        out = chain.maps[0]
        for map, s in zip(chain.maps[1:], slopes, strict=True):
            out = map @ (s.unsqueeze(1) * out)
        return out

    slopes = [torch.rand(len(s), generator=generator, dtype=torch.float64) * s for s in upper]
    norm = float(torch.linalg.matrix_norm(product(whole, slopes), ord=2))
    for chain in (whole, whole.folded()):
        kept = slopes if chain is whole else [s for s, high in zip(slopes, upper, strict=True) if bool(high.any())]
        torch.testing.assert_close(product(chain, kept), product(whole, slopes))
        pieces, total, used = chain.cut(most), 1.0, 0
        for piece in pieces:
            layers = len(piece.lower)
            assert layers <= 1 or sum(piece.unstable_counts) <= most
            total *= float(torch.linalg.matrix_norm(product(piece, kept[used : used + layers]), ord=2))
            used += layers
        assert used == len(chain.lower)
        assert norm <= total * (1 + 1e-9) + 1e-12
        assert max(piece.slack for piece in pieces) <= 1e-12
