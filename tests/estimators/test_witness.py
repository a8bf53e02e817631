"""What a witness attains: never above the true value at its point, in rationals, and hardly below it."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lipreg import AllLogits, AllMargins, Box, L1Ball, L2Ball, LinfBall, LocalLipschitz, Vector, certify
from lipreg.bounds import Analysis
from lipreg.estimators.evaluate import frozen_analysis
from lipreg.estimators.witnesses.witness import attained, best_witness, proved_value
from lipreg.graph import Graph, capture
from lipreg.problem import Scope
from lipreg.results import Witness
from tests.conformance.questions import EVERYTHING
from tests.graph.test_accurate import NETWORKS, exact_gradient, exact_values, network
from tests.linalg.test_limbs import Fractions, dot, exact

SHARP = 1 - Fraction(1, 10**9)
NORMS = [(p, None) for p in (1.0, 2.0, math.inf)]
OPERATORS = [
    (1.0, 1.0),
    (1.0, 2.0),
    (1.0, math.inf),
    (2.0, 1.0),
    (2.0, math.inf),
    (math.inf, 1.0),
    (math.inf, math.inf),
]


# ---------------------------------------------------------------- the truth, in rationals


def norm_ends(vector: Fractions, p: float) -> tuple[Fraction, Fraction]:
    """|vector|_p, between two rationals."""
    if p == math.inf:
        return (max(abs(v) for v in vector),) * 2
    if p == 1.0:
        return (sum((abs(v) for v in vector), Fraction(0)),) * 2
    return root_ends(dot(vector, vector))


def root_ends(square: Fraction) -> tuple[Fraction, Fraction]:
    """The root of a rational, between two that are 2^-200 of it apart."""
    shift = max(0, 400 - square.numerator.bit_length() + square.denominator.bit_length())
    whole = math.isqrt((square.numerator << 2 * shift) // square.denominator)
    return Fraction(whole, 1 << shift), Fraction(whole + 1, 1 << shift) if square else Fraction(0)


def operator_ends(rows: list[Fractions], p: float, q: float | None) -> tuple[Fraction, Fraction]:
    """max_k |row_k|_{p*}, or |rows|_{p -> q} with p = 1, q = inf or q = 1; between two rationals."""
    dual = {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}[p]
    if q is None or q == math.inf:
        vectors, norm = rows, dual
    elif p == 1.0:
        vectors, norm = [list(column) for column in zip(*rows, strict=True)], q
    else:
        codes = range(2 ** (len(rows) - 1))
        signs = [[-1 if code >> k & 1 else 1 for k in range(len(rows))] for code in codes]
        vectors, norm = [[dot(s, column) for column in zip(*rows, strict=True)] for s in signs], dual
    ends = [norm_ends(vector, norm) for vector in vectors]
    return max(low for low, _ in ends), max(high for _, high in ends)


def true_ends(analysis: Analysis, x: Tensor) -> tuple[Fraction, Fraction]:
    """What the point x attains, between two rationals."""
    graph, placed = analysis.graph, analysis.placed
    problem, rows = placed.problem, [exact(row) for row in placed.rows[0]]
    values = exact_values(graph, x)
    if problem.scope == "regional":
        return operator_ends([exact_gradient(graph, values, row) for row in rows], problem.p, problem.q)
    center = placed.region.center[0]
    change = [a - b for a, b in zip(values[-1], exact_values(graph, center)[-1], strict=True)]
    rise = norm_ends([dot(row, change) for row in rows], problem.q or math.inf)
    run = norm_ends([a - b for a, b in zip(exact(x), exact(center), strict=True)], problem.p)
    return rise[0] / run[1], rise[1] / run[0]


def check(analysis: Analysis, witness: Witness | None) -> None:
    """The witness attains the truth at its point, but for a billionth."""
    assert witness is not None
    x = torch.tensor(witness.point, dtype=torch.float64).reshape(analysis.placed.region.shape)
    low, high = true_ends(analysis, x)
    assert high * SHARP <= Fraction(witness.attained) <= low


def asked(graph: Graph, problem: LocalLipschitz, x: Tensor) -> tuple[Analysis, Tensor]:
    """The question at a point, and random points of its region."""
    analysis = frozen_analysis(graph, problem, x.unsqueeze(0), None)
    return analysis, analysis.placed.region.sample(5, torch.Generator().manual_seed(0))[0]


# ---------------------------------------------------------------- properties


@given(
    st.sampled_from(sorted(NETWORKS)),
    st.integers(0, 10**6),
    st.sampled_from([0.0, 3.0]),
    st.sampled_from(["regional", "pointed"]),
    st.sampled_from(NORMS + OPERATORS),
)
@settings(max_examples=120 if EVERYTHING else 50)
def test_witnesses_attain_what_they_say(
    name: str, seed: int, decades: float, scope: Scope, norms: tuple[float, float | None]
) -> None:
    graph, (p, q) = network(name, seed, decades), norms
    output = AllMargins(0) if q is None and graph.output.bias.numel() > 1 else AllLogits() if q is None else Vector()
    problem = LocalLipschitz(LinfBall(0.5), output, scope, p, q)
    analysis, points = asked(graph, problem, torch.randn(graph.input_shape, dtype=torch.float64))
    values = attained(analysis, points.unsqueeze(0))[0]
    for x, value in zip(points, values.tolist(), strict=True):
        own = proved_value(analysis, x)
        low, high = true_ends(analysis, x)
        assert Fraction(own) <= low, "whatever the point"
        assert value == -math.inf or Fraction(own) >= high * SHARP
    if (values > 0).any():
        check(analysis, best_witness(analysis, 0, points))


@given(
    st.integers(0, 10**6),
    st.sampled_from([(15, 4), (15, 32), (25, 8), (40, 8)]),
    st.sampled_from(["regional", "pointed"]),
)
@settings(max_examples=6, deadline=None)
def test_witnesses_behind_many_layers(seed: int, size: tuple[int, int], scope: Scope) -> None:
    graph = deep(seed, *size)
    analysis, points = asked(
        graph, LocalLipschitz(LinfBall(0.3), AllLogits(), scope), torch.zeros(3, dtype=torch.float64)
    )
    check(analysis, best_witness(analysis, 0, points))


def deep(seed: int, depth: int, width: int) -> Graph:
    torch.manual_seed(seed)
    between = [layer for _ in range(depth - 1) for layer in (nn.Linear(width, width), nn.LeakyReLU(0.2))]
    net = nn.Sequential(nn.Linear(3, width), nn.LeakyReLU(0.2), *between, nn.Linear(width, 2)).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2.0)
    return capture(net, torch.zeros(1, 3, dtype=torch.float64)).frozen()


def dense(layers: list[tuple[list[list[float]], list[float]]]) -> Graph:
    modules: list[nn.Module] = []
    for weight, bias in layers:
        layer = nn.Linear(len(weight[0]), len(weight)).double()
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(weight, dtype=torch.float64))
            layer.bias.copy_(torch.tensor(bias, dtype=torch.float64))
        modules += [layer, nn.ReLU()]
    net = nn.Sequential(*modules[:-1])
    return capture(net, torch.zeros(1, len(layers[0][0][0]), dtype=torch.float64)).frozen()


@pytest.mark.parametrize("scope", ["regional", "pointed"])
@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_large_weights_that_cancel(scope: Scope, p: float) -> None:
    """1e8 x + x - 1e8 x, of which float64 sums make 0 or 2; the constant is 1."""
    graph = dense([([[1e8], [1.0], [1e8]], [1e9] * 3), ([[1e8, 1.0, -1e8]], [0.0])])
    problem = LocalLipschitz(LinfBall(1.0), AllLogits(), scope, p)
    analysis, points = asked(graph, problem, torch.zeros(1, dtype=torch.float64))
    witness = best_witness(analysis, 0, points)
    check(analysis, witness)
    assert witness is not None and 1 - 1e-9 <= witness.attained <= 1
    (found,) = certify(graph, problem, torch.zeros(1, 1, dtype=torch.float64), estimator="sampling")
    assert 1 - 1e-9 <= found.lower <= 1


@given(st.integers(0, 10**6), st.sampled_from(["regional", "pointed"]), st.sampled_from(NORMS))
@settings(max_examples=20, deadline=None)
def test_several_layers_that_cancel(seed: int, scope: Scope, norms: tuple[float, None]) -> None:
    """Layers of 1e4 whose products cancel but for parts of the size 1, all units active."""
    draw = torch.Generator().manual_seed(seed)

    def layer(rows: int, columns: int, bias: float) -> tuple[list[list[float]], list[float]]:
        mixing = torch.randn(rows, columns, generator=draw, dtype=torch.float64)
        large = torch.randn(rows, 1, generator=draw, dtype=torch.float64).sign() * 1e4
        return (mixing + large).tolist(), [bias] * rows

    last = torch.randn(2, 4, generator=draw, dtype=torch.float64)
    last = (last - last.mean(1, keepdim=True)) * 1e4
    graph = dense([layer(4, 3, 1e5), layer(4, 4, 1e10), (last.tolist(), [0.0, 0.0])])
    problem = LocalLipschitz(LinfBall(0.5), AllLogits(), scope, norms[0])
    analysis, points = asked(graph, problem, torch.zeros(3, dtype=torch.float64))
    check(analysis, best_witness(analysis, 0, points))


@pytest.mark.parametrize("scope", ["regional", "pointed"])
def test_regions_that_are_tiny_beside_their_coordinates(scope: Scope) -> None:
    graph = network("residual", 3, 0.0)
    x = torch.tensor([1.7e9, -1.7e9, 0.3], dtype=torch.float64)
    for radius in (1e-5, 1e-3):
        analysis, points = asked(graph, LocalLipschitz(LinfBall(radius), AllLogits(), scope), x)
        check(analysis, best_witness(analysis, 0, points))


def test_a_witness_lies_in_the_region_and_off_the_kinks() -> None:
    graph = dense([([[1.0], [3.0]], [0.0, -1.0]), ([[1.0, 1.0]], [0.0])])
    analysis, _ = asked(graph, LocalLipschitz(LinfBall(1.0), AllLogits()), torch.zeros(1, dtype=torch.float64))
    outside = math.nextafter(1.0, 2.0)
    for point, value in ((1.0, 4.0), (outside, 0.0), (0.0, 0.0), (1e-300, 1.0), (-0.5, 0.0), (0.2, 1.0)):
        at = torch.tensor([point], dtype=torch.float64)
        assert proved_value(analysis, at) == pytest.approx(value, rel=1e-12, abs=0.0), point
        assert proved_value(analysis, at) <= value
    third = torch.tensor([1 / 3], dtype=torch.float64)  # 3 x - 1 is -2^-54 there, and 0 in float64
    assert proved_value(analysis, third) == pytest.approx(1.0, rel=1e-12)
    assert best_witness(analysis, 0, torch.zeros(1, 1, dtype=torch.float64)) is None


def test_only_what_beats_the_known_counts() -> None:
    graph = network("dense", 0, 0.0)
    analysis, points = asked(graph, LocalLipschitz(LinfBall(1.0), AllLogits()), torch.zeros(3, dtype=torch.float64))
    best = best_witness(analysis, 0, points)
    assert best is not None
    assert best_witness(analysis, 0, points, lower=best.attained) is None
    assert best_witness(analysis, 0, points, lower=best.attained * 0.999) == best


def test_coordinates_without_room_do_not_count() -> None:
    graph = dense([([[1.0, 5.0], [-2.0, 7.0]], [1.0, 1.0])])
    box = Box((-1.0, 0.5), (1.0, 0.5))
    analysis, points = asked(
        graph, LocalLipschitz(box, AllLogits(), p=1.0), torch.tensor([0.0, 0.5], dtype=torch.float64)
    )
    witness = best_witness(analysis, 0, points)
    assert witness is not None and witness.attained == pytest.approx(2.0, rel=1e-12) and witness.attained <= 2.0


def test_windows_whose_members_differ_by_less_than_rounding() -> None:
    """Beside a bias of 1e12: the largest member is found in digits that float64 has not."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.pool, self.b = nn.Conv1d(1, 2, 3), nn.MaxPool1d(2), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.pool(self.a(x)).flatten(1))

    torch.manual_seed(0)
    net = Net().double()
    with torch.no_grad():
        net.a.weight.mul_(1e-5)
        net.a.bias.fill_(1e12)
    graph = capture(net, torch.zeros(1, 1, 8, dtype=torch.float64)).frozen()
    for scope in ("regional", "pointed"):
        analysis, points = asked(
            graph, LocalLipschitz(LinfBall(0.1), AllLogits(), scope), torch.randn(1, 8, dtype=torch.float64)
        )
        assert not (attained(analysis, points.unsqueeze(0)) > 0).any()
        check(analysis, best_witness(analysis, 0, points))


@given(st.sampled_from(sorted(NETWORKS)), st.integers(0, 10**6), st.sampled_from([0.0, 3.0]))
@settings(max_examples=30)
def test_spectral_norms(name: str, seed: int, decades: float) -> None:
    """a <= |J|_2 iff a^2 - J J^T is not positive definite."""
    graph = network(name, seed, decades)
    problem = LocalLipschitz(L2Ball(0.5), Vector(), p=2, q=2)
    analysis, points = asked(graph, problem, torch.randn(graph.input_shape, dtype=torch.float64))
    outputs = graph.output.bias.numel()
    for x in points:
        own, values = Fraction(proved_value(analysis, x)), exact_values(graph, x)
        rows = [exact_gradient(graph, values, [Fraction(i == k) for i in range(outputs)]) for k in range(outputs)]
        gram = [[dot(a, b) for b in rows] for a in rows]
        assert not own or not positive_definite(own**2, gram)
        if any(any(row) for row in rows):
            assert positive_definite((own / SHARP) ** 2, gram)


def positive_definite(shift: Fraction, gram: list[Fractions]) -> bool:
    """Whether shift - gram is, by elimination."""
    left = [[shift * (i == j) - g for j, g in enumerate(row)] for i, row in enumerate(gram)]
    while left:
        pivot = left.pop(0)
        if pivot[0] <= 0:
            return False
        left = [[a - row[0] / pivot[0] * b for a, b in zip(row[1:], pivot[1:], strict=True)] for row in left]
    return True


def test_engines_end_at_points_that_attain_what_they_say() -> None:
    graph = network("residual", 5, 1.0)
    x = torch.zeros(3, dtype=torch.float64)
    for scope, names in (
        ("regional", ("sampling", "branch_and_bound", "mip")),
        ("pointed", ("sampling", "mip_pointed")),
    ):
        problem = LocalLipschitz(LinfBall(1.0), AllLogits(), scope)  # type: ignore[arg-type]
        for name in names:
            (found,) = certify(graph, problem, x.unsqueeze(0), estimator=name)
            check(asked(graph, problem, x)[0], found.witness)
            assert found.witness is not None and found.lower == found.witness.attained


def test_balls_of_every_norm() -> None:
    graph = network("convolutional", 2, 1.0)
    for region in (L1Ball(0.7), L2Ball(0.5)):
        for scope in ("regional", "pointed"):
            problem = LocalLipschitz(region, AllLogits(), scope)
            analysis, points = asked(graph, problem, torch.randn(graph.input_shape, dtype=torch.float64))
            check(analysis, best_witness(analysis, 0, points))
