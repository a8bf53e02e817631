"""The bounds of a pointed search, each against points that lie in its nodes, and what it proves, against enumeration."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import nn

from lipreg import AllLogits, LocalLipschitz, Logit
from lipreg.budget import UNLIMITED, Budget
from lipreg.errors import UnsupportedRequest
from lipreg.estimators import certify, frozen_analysis
from lipreg.folding import fold
from lipreg.milp.steepest import Piece, steepest
from lipreg.regions import Box, L1Ball, L2Ball, LinfBall, Region
from lipreg.results import Certificate
from lipreg.search.directions import Directions
from lipreg.search.forward_bounds import tighten
from lipreg.search.linear_pieces import settle_piece
from lipreg.search.quotients import quotient_bound
from lipreg.search.rise_forms import rise_forms
from lipreg.search.rises import OutputDifferences, ShellNodes
from lipreg.search.secants import secant_bound, secants
from lipreg.search.shells import narrow, roots, shell_nodes, split
from lipreg.testing import exact_constants
from tests import oracles
from tests.conformance.questions import sampled
from tests.sampling import one_in

NORMS = (1.0, 2.0, math.inf)
REGIONS: dict[str, Region] = {
    "linf": LinfBall(0.8, low=-0.5),
    "l1": L1Ball(1.2),
    "l2_cut": L2Ball(0.9, low=-0.5),
    "box": Box((-0.5, -0.6), (0.9, 0.7)),
}
UNITS = [1.0, 2.5]


def rises_of(net: nn.Module, region: Region, p: float, scale: list[float] | None = None) -> OutputDifferences:
    """Of the first two outputs around (0.2, 0.2)."""
    x = torch.full((1, 2), 0.2, dtype=torch.float64)
    problem = LocalLipschitz(region, AllLogits(), "pointed", p, scale=scale)
    local = frozen_analysis(net, problem, x, None)
    regional = replace(local.placed, problem=replace(problem, scope="regional"))
    return OutputDifferences.of(local, fold(local.for_question(regional)))


def displacements(rises: OutputDifferences, count: int = 400) -> torch.Tensor:
    region = rises.network.domain.region
    return rises.network.domain.of(region.sample(count, torch.Generator().manual_seed(0))[0])


def around_points(rises: OutputDifferences, d: torch.Tensor, known: float) -> ShellNodes:
    """A node around each point: some of its phases, distances on both sides of its own, rises in turn."""
    generator = torch.Generator().manual_seed(1)
    length = torch.linalg.vector_norm(d / rises.units, ord=rises.network.p, dim=-1)
    share = torch.rand(2, len(d), generator=generator, dtype=torch.float64)
    far = length + share[1] * (rises.farthest - length).clamp(min=0.0)
    nodes = shell_nodes(rises, torch.full_like(length, math.inf), length * (0.2 + 0.8 * share[0]), far)
    phase = rises.network.phases(d)
    fixed = torch.rand(phase.shape, generator=generator) < known
    nodes.phase = torch.where(fixed, phase, torch.zeros_like(phase))
    nodes.row = torch.arange(len(d)) % len(rises.on_input)
    return nodes


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("scale", [None, UNITS], ids=["plain", "units"])
@one_in(3)
def test_bounds_hold_at_points_of_their_nodes(p: float, region: str, scale: list[float] | None) -> None:
    """Secants and forms of each node are above what its point attains, and so are the quotients that they prove."""
    rises = rises_of(oracles.network("deep"), REGIONS[region], p, scale)
    d = displacements(rises)
    length = torch.linalg.vector_norm(d / rises.units, ord=p, dim=-1)
    d, length = d[length > 1e-3], length[length > 1e-3]
    values = rises.quotients(d)
    for known in (0.0, 0.5, 1.0):
        nodes = around_points(rises, d, known)
        true = values[torch.arange(len(d)), nodes.row]
        forms = tighten(rises.network, nodes, lambda form, nodes=nodes: rises.within(nodes, form))
        narrow(rises, nodes, forms)
        assert (nodes.near <= length * (1 + 1e-9)).all() and (nodes.far >= length * (1 - 1e-9)).all()
        directions = Directions.of(rises, nodes)
        assert (directions.lower <= d / rises.units / length.unsqueeze(1) + 1e-9).all()
        assert (secant_bound(rises, nodes, directions) >= true - 1e-9).all()
        above = [rise_forms(rises, nodes, own_side) for own_side in (True, False)]
        for form in above:
            assert ((form.slope * d / rises.units).sum(-1) + form.constant >= true * length - 1e-9).all()
        bound, points = quotient_bound(rises, nodes, above, forms, directions, -math.inf)
        assert (bound >= true - 1e-9).all() and points.shape == d.shape
        if known == 1.0:
            for at in range(0, len(d), 40):
                upper, point = settle_piece(rises, nodes[at : at + 1], UNLIMITED.started())
                assert true[at] - 1e-9 <= upper <= float(bound[at]) + 1e-6
                assert point is not None
                point = rises.network.domain.inside(point.unsqueeze(0))
                inside = torch.linalg.vector_norm(point / rises.units, ord=p) >= nodes.near[at] * (1 - 1e-6)
                if inside and upper > 0:  # else directions are short
                    found = float(rises.quotients(point)[0, nodes.row[at]])
                    assert found == pytest.approx(upper, rel=1e-5, abs=1e-7), "the steepest attains the bound"


@pytest.mark.parametrize("p", NORMS)
def test_secants_are_those_of_the_units(p: float) -> None:
    rises = rises_of(oracles.network("deep"), REGIONS["linf"], p)
    d = displacements(rises)
    network = rises.network
    v, k = d @ network.z.on_input.T, torch.zeros(len(d), network.count, dtype=torch.float64)
    for level in network.levels:
        v[:, level] = v[:, level] + k[:, :] @ network.z.on_unit[level].T
        z = rises.y[level] + v[:, level]
        k[:, level] = z.clamp(min=0) - rises.y[level].clamp(min=0)
    nodes = around_points(rises, d, 0.5)
    tighten(network, nodes, lambda form: rises.within(nodes, form))
    found = secants(rises, nodes)
    moved = v.abs() > 1e-6
    assert ((k / v - found.middle).abs()[moved] <= found.half[moved] + 1e-9).all()


def test_every_point_stays_in_one_of_the_children() -> None:
    rises = rises_of(oracles.network("deep"), REGIONS["l2_cut"], 2.0)
    d = displacements(rises, 200)
    length = torch.linalg.vector_norm(d, dim=-1)
    phase = rises.network.phases(d)
    nodes = roots(rises, torch.full((1,), math.inf, dtype=torch.float64))
    for _ in range(6):
        held = (nodes.phase.unsqueeze(1) == 0) | (nodes.phase.unsqueeze(1) == phase)
        in_shell = (nodes.near.unsqueeze(1) <= length * (1 + 1e-12)) & (length <= nodes.far.unsqueeze(1) * (1 + 1e-12))
        # within the innermost shell a quotient is that of the point at its outer distance along the same ray
        first = length <= nodes.near[0]
        assert ((held.all(-1) & in_shell).any(0) | first).all()
        nodes = split(rises, nodes)


@pytest.mark.parametrize("p", NORMS)
def test_support_of_directions_is_that_of_a_program(p: float) -> None:
    """sup form . u over |u|_p <= 1 and a box: never below a general solver's, and equal to it."""
    generator = np.random.default_rng(3)
    for _ in range(20):
        form, ends = generator.normal(size=4), np.sort(generator.uniform(-0.8, 0.8, (2, 4)), axis=0)
        lower, upper = np.minimum(ends[0], 0.0), np.maximum(ends[1], 0.0)
        directions = Directions(p, torch.from_numpy(lower)[None], torch.from_numpy(upper)[None])
        found = float(directions.support(torch.from_numpy(form).reshape(1, 1, -1)))
        if p == 2.0:
            limits = [{"type": "ineq", "fun": lambda u: 1.0 - u @ u}]
            solved = scipy.optimize.minimize(
                lambda u, form=form: -form @ u,
                0 * form,
                bounds=list(zip(lower, upper, strict=True)),
                constraints=limits,
            )
        else:
            # u = up - down, both at least 0
            length = np.ones((1, 8)) if p == 1.0 else None
            sides = [(0.0, end) for end in (*upper, *-lower)]
            solved = scipy.optimize.linprog(
                np.append(-form, form), length, None if length is None else [1.0], bounds=sides
            )
        assert found == pytest.approx(-solved.fun, rel=1e-6)
        inside = directions.project(torch.from_numpy(3 * form).reshape(1, 1, -1))[0, 0]
        assert ((inside >= directions.lower[0] - 1e-12) & (inside <= directions.upper[0] + 1e-12)).all()
        assert torch.linalg.vector_norm(inside, ord=p) <= 1 + 1e-6


def test_a_piece_without_points_gets_multipliers_that_prove_it() -> None:
    """u_1 >= t and u_1 <= -t: their sum is below 0 for every t >= 1."""
    cuts, levels = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([-1.0, -1.0])
    wide = np.full(2, 5.0)
    piece = Piece(np.array([1.0, 2.0]), 0.5, cuts, levels, -wide, wide, 2.0, 2.0, math.inf, math.inf, np.ones(2))
    found = steepest(piece, Budget(60.0).started())
    assert found is not None and found.point is None
    assert np.linalg.norm(piece.form + found.cuts @ cuts) + (piece.constant + found.cuts @ levels) * 1.0 < 0


def tiny(seed: int) -> tuple[nn.Module, LocalLipschitz, torch.Tensor]:
    """A network of one to three inputs, of ReLUs or leaky ones, some with all kinks through the point, and a question."""
    generator = np.random.default_rng(seed)
    inputs = int(generator.choice([1, 2, 2, 2, 3]))
    hidden = [int(n) for n in generator.integers(2, 6, generator.integers(1, 4))]
    widths, leak = [inputs, *hidden, int(generator.integers(1, 4))], float(generator.choice([0.0, 0.0, 0.2]))
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after, dtype=torch.float64), nn.LeakyReLU(leak) if leak else nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    at_kinks = generator.random() < 0.2
    with torch.no_grad():
        for layer in net[::2]:
            layer.weight.mul_(float(generator.choice([1.0, 2.0, 3.0])))  # type: ignore[operator]
            layer.bias.mul_(0.0 if at_kinks else 1.0)  # type: ignore[operator]
    x = torch.zeros(1, inputs).double() if at_kinks else torch.rand(1, inputs, dtype=torch.float64) - 0.5
    regions = [
        LinfBall(0.7),
        LinfBall(1.0, low=float(x.min()), high=float(x.max()) + 0.4),
        L1Ball(1.0),
        L1Ball(0.9, low=-0.55, high=0.8),
        L2Ball(0.8),
        L2Ball(1.0, low=-0.6, high=0.7),
        Box([-0.9] * inputs, [0.8] * inputs),
    ]
    region = regions[int(generator.integers(len(regions)))]
    p, output = float(generator.choice(NORMS)), (Logit(0), AllLogits())[int(generator.integers(2))]
    scale = [1.0 + 0.7 * i for i in range(inputs)] if generator.random() < 0.3 else None
    return net, LocalLipschitz(region, output, "pointed", p, scale=scale), x


def told(seed: int) -> tuple[nn.Module, LocalLipschitz, torch.Tensor, float, float]:
    """A network with the interval that holds its constant; another where rounding hides a kink from the enumeration."""
    for turn in itertools.count():
        net, problem, x = tiny(seed + 1000 * turn)
        try:
            ((low, high),) = exact_constants(net, problem, x)
            return net, problem, x, low, high
        except UnsupportedRequest:
            continue
    raise AssertionError


@pytest.mark.parametrize("seed", [seed for seed in range(200) if sampled(16, seed)])
def test_tiny_networks_have_the_constants_of_the_enumeration(seed: int) -> None:
    net, problem, x, low, high = told(seed)
    ((_, regional),) = exact_constants(net, replace(problem, scope="regional"), x)
    (found,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(math.inf))
    assert found.certificate is Certificate.EXACT, found
    assert low * (1 - 1e-9) <= found.upper <= min(high, regional) * (1 + 1e-5), (found, low, high, regional)
    assert found.lower <= high * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("region", [L2Ball(0.8), LinfBall(0.7, low=-0.3)], ids=["l2", "linf_cut"])
def test_in_l2_it_is_the_largest_of_cone_programs_over_the_linear_pieces(region: Region, seed: int) -> None:
    """p = 2, where no list of points holds the maximum: sup (g u + e t) over |u|_2 <= 1 and each piece's own cone."""
    import cvxpy

    torch.manual_seed(seed)
    net = oracles.mlp(2, 5, 4, 1).double()
    x = torch.rand(1, 2, dtype=torch.float64) * 0.4 - 0.2
    problem = LocalLipschitz(region, Logit(0), "pointed", 2)
    (found,) = certify(net, problem, x, estimator="branch_and_bound", budget=Budget(math.inf))
    down = np.maximum(-0.7, -0.3 - x[0].numpy()) if isinstance(region, LinfBall) else np.full(2, -0.8)
    up = np.full(2, 0.7 if isinstance(region, LinfBall) else 0.8)
    domain = oracles.Domain(x[0].numpy(), x[0].numpy() + down, x[0].numpy() + up)
    truth, start = 0.0, oracles.evaluate(net, x.numpy())[0]
    for cell in oracles.cells(net, domain):
        u, t = cvxpy.Variable(2), cvxpy.Variable()
        inner = scipy.optimize.linprog(
            [0, 0, -1.0],
            np.hstack([cell.a, np.linalg.norm(cell.a, axis=1)[:, None]]),
            cell.b,
            bounds=[(None, None), (None, None), (0, None)],
        ).x[:2]
        rise = oracles.evaluate(net, x.numpy() + inner)[0] - start
        form, constant = cell.matrix[0], float(rise[0] - cell.matrix[0] @ inner)
        limits = [cell.a @ u <= cell.b * t, cvxpy.norm(u, 2) <= 1, t >= 0, t <= 1e6]
        if isinstance(region, L2Ball):
            limits.append(t >= 1 / 0.8)
        for sign in (1.0, -1.0):
            program = cvxpy.Problem(cvxpy.Maximize(sign * (form @ u + constant * t)), limits)
            value = program.solve(solver=cvxpy.CLARABEL)
            truth = max(truth, float(value) if program.status in ("optimal", "optimal_inaccurate") else 0.0)
    assert found.certificate is Certificate.EXACT
    assert found.upper == pytest.approx(truth, rel=1e-5)
