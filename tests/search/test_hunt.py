"""Hunts: promises are what the network attains, moves go where they say, and nothing found lies above the truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import lipreg.search.incumbent as incumbent
from benchmarks.published import PROPERTY_3, acas_xu, default, folder
from lipreg.bounds import Analysis
from lipreg.budget import Budget
from lipreg.estimators import ESTIMATORS, frozen_analysis
from lipreg.estimators.settings import Settings
from lipreg.estimators.witnesses.sampling import Sampling
from lipreg.estimators.witnesses.witness import attained
from lipreg.outputs import AllLogits, Logit, Output, Vector
from lipreg.problem import LocalLipschitz, Scope
from lipreg.regions import Box, L1Ball, L2Ball, LinfBall, Polytope, Region, WholeSpace
from lipreg.search.hunt import POINTS, WitnessSearch, first_turn
from lipreg.search.screen import AIMS, PointEvaluator
from lipreg.testing import exact_constants
from tests import oracles
from tests.sampling import one_in

REGIONS: dict[str, Region] = {
    "linf": LinfBall(0.8, low=-0.5),
    "l1": L1Ball(1.2),
    "l2": L2Ball(0.9, low=-0.5),
    "polytope": Polytope([[1.0, 1.0], [-1.0, 0.5], [0.0, -1.0], [1.0, -1.0]], [1.0, 0.7, 0.6, 0.8]),
    "everywhere": WholeSpace(),
}
NETS = ("shallow", "deep", "leaky", "residual")


def asked(
    net: nn.Module, region: Region, scope: Scope = "regional", p: float = math.inf, output: Output | None = None
) -> Analysis:
    output = output or AllLogits()
    q = 2.0 if isinstance(output, Vector) else None
    x = torch.full((1, oracles.input_size(net)), 0.1, dtype=torch.float64)
    return frozen_analysis(net, LocalLipschitz(region, output, scope, p, q), x, None)


def hunted(local: Analysis, turns: int, seed: int = 0) -> WitnessSearch:
    hunt = WitnessSearch(PointEvaluator(local), torch.Generator().manual_seed(seed))
    for _ in range(turns):
        hunt.round(lambda: False)
    return hunt


@pytest.mark.parametrize("scope", ["regional", "pointed"])
@pytest.mark.parametrize("region", REGIONS)
def test_what_is_promised_is_what_the_network_attains(region: str, scope: Scope) -> None:
    """Of many points at once, one functional or all of them; and every point found lies in the region."""
    turn = list(REGIONS).index(region) + (scope == "pointed")
    name, p, output = NETS[turn % len(NETS)], (1.0, 2.0, math.inf)[turn % 3], (AllLogits(), Vector())[turn % 2]
    local = asked(oracles.network(name), REGIONS[region], scope, p, output)
    hunt = hunted(local, 5)
    x = hunt.best_points(40)
    assert local.placed.region.contains(x.unsqueeze(0)).all()
    truth = attained(local, x.unsqueeze(0))[0]
    seen = torch.isfinite(truth)
    assert seen.sum() >= min(3, len(x) // 2)
    x = x.to(hunt.screen.dtype)
    promised = hunt.screen.all_values(x)
    torch.testing.assert_close(promised.amax(-1).double()[seen], truth[seen], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(hunt.screen.values(x, promised.argmax(-1)), promised.amax(-1))


def test_switching_a_unit_adds_at_least_its_gain() -> None:
    """The norm is convex in each slope, so the first order is below what switching the unit alone adds."""
    net = oracles.network("deep")
    screen = PointEvaluator(asked(net, LinfBall(0.8)))
    x = screen.sample(6, torch.Generator().manual_seed(0))
    value, choice = screen.all_values(x).max(-1)
    sign, gain = screen.switch_gains(x, choice)
    patterns = screen.graph.patterns(screen.graph.values(x))
    tried = 0
    for i, _ in screen.graph.relus():
        for unit in range(sign[i].shape[1]):
            switched = {k: s.clone() for k, s in patterns.items()}
            switched[i][:, unit] = (sign[i][:, unit] < 0).to(sign[i])
            rows = screen.rows[choice].unsqueeze(1)
            found = screen.graph.gradients({k: s.unsqueeze(1) for k, s in switched.items()}, rows)
            after = found.flatten(1).abs().sum(1)
            assert (after >= value + gain[i][:, unit] - 1e-4 * (1 + value)).all()
            tried += int((gain[i][:, unit].abs() > 1e-3).sum())
    assert tried > 10


def test_points_follow_the_signs_that_are_wanted() -> None:
    """In 40 inputs the signs of any three of eight units can be had together with those of the others."""
    torch.manual_seed(0)
    screen = PointEvaluator(asked(nn.Sequential(nn.Linear(40, 8), nn.ReLU(), nn.Linear(8, 2)).double(), LinfBall(1.0)))
    x = screen.sample(20, torch.Generator().manual_seed(0))
    (source,) = (node.source for _, node in screen.graph.relus())
    wanted = screen.graph.values(x)[source].sign()
    wanted[:, :3] *= -1
    ((i, _),) = screen.graph.relus()
    missing = x
    for _ in range(60):
        x, missing = screen.towards(x, {i: wanted}, 1e-3, 1.5)
    assert float((missing == 0).double().mean()) > 0.9
    reached = (screen.graph.values(x)[source].sign() == wanted).all(1)
    assert reached[missing == 0].all()


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_points_along_the_gradient_are_the_best_of_an_affine_network(p: float) -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(6, 3)).double()
    screen = PointEvaluator(asked(net, Box(-1.0, 1.0), "pointed", p))
    x = screen.sample(4, torch.Generator().manual_seed(0))
    found = screen.points_along_gradient(x, torch.zeros(4, dtype=torch.long))
    assert len(found) == 4 * AIMS
    weight = net[0].weight
    assert isinstance(weight, Tensor)
    norm = {1.0: weight.abs().amax(1), 2.0: weight.norm(dim=1), math.inf: weight.abs().sum(1)}[p]
    # each point aims along the functional that rises most there
    rises = (weight @ (x - 0.1).T).abs().argmax(0)
    own = screen.all_values(found).reshape(4, AIMS, 3).amax(1).gather(1, rises.unsqueeze(1))[:, 0]
    torch.testing.assert_close(own, norm[rises].detach())


@pytest.mark.parametrize("region", ["linf", "l1", "l2"])
@pytest.mark.parametrize("scope", ["regional", "pointed"])
@one_in(2)
def test_never_above_the_constant_and_more_turns_find_no_less(region: str, scope: Scope) -> None:
    for name, p in (("shallow", 1.0), ("deep", math.inf)):
        net = oracles.network(name)
        local = asked(net, REGIONS[region], scope, p)
        x = local.placed.region.center
        ((known, truth),) = exact_constants(net, local.placed.problem, x)
        before = 0.0
        for turns in (1, 3, 6):
            (found,) = Sampling(turns).intervals(local, Budget())
            assert before * (1 - 1e-9) <= found.lower <= truth * (1 + 1e-9)
            before = found.lower
        assert before >= 0.9 * known


def test_a_batch_is_its_points_and_the_seed_decides() -> None:
    torch.manual_seed(3)
    net, x = oracles.network("deep"), torch.rand(3, 2, dtype=torch.float64) - 0.5
    state = torch.random.get_rng_state()
    analysis = frozen_analysis(net, LocalLipschitz(LinfBall(0.5), AllLogits(), p=2), x, None)
    for turns in (1, 4):
        together = [found.witness for found in Sampling(turns).intervals(analysis, Budget())]
        alone = [Sampling(turns).intervals(analysis[i : i + 1], Budget())[0].witness for i in range(3)]
        assert together == alone
    other = Sampling(1).intervals(analysis, Budget(), Settings(seed=7))
    assert [found.witness for found in other] != [found.witness for found in Sampling(1).intervals(analysis, Budget())]
    assert torch.equal(state, torch.random.get_rng_state()), "training draws as if nothing had been audited"


@pytest.mark.parametrize(("widths", "radius"), [((5, 20, 20, 20, 5), 1.0), ((3, 20, 20, 3), 100.0)])
def test_at_least_the_best_of_many_uniform_points(widths: tuple[int, ...], radius: float) -> None:
    """Deep networks of few inputs with weights that keep their scale, over small and large boxes."""
    net = default(*widths, seed=0)
    for parameter in net.parameters():
        if parameter.dim() == 2:
            parameter.data *= math.sqrt(6.0)
    local = asked(net, LinfBall(radius))
    (found,) = Sampling(12).intervals(local, Budget())
    assert found.lower >= best_uniform(local) * (1 - 1e-5)


def test_at_least_the_best_of_many_uniform_points_of_a_published_network() -> None:
    if not (folder() / "onnx").is_dir():
        pytest.skip(f"no networks at {folder()}; set LIPREG_NETS to the folder that holds onnx/")
    middle = torch.tensor(PROPERTY_3, dtype=torch.float64).mean(0, keepdim=True)
    problem = LocalLipschitz(Box(*PROPERTY_3), Logit(0), p=math.inf)
    local = frozen_analysis(acas_xu("1_1"), problem, middle, None)
    (found,) = Sampling(20).intervals(local, Budget())
    assert found.lower >= best_uniform(local) * (1 - 1e-5)


def best_uniform(local: Analysis, count: int = 20_000) -> float:
    """The largest gradient at uniform points of a box, by plain products of matrices; the median of three draws."""
    return sorted(_best_uniform(local, count, seed) for seed in (5, 6, 7))[1]


def _best_uniform(local: Analysis, count: int, seed: int) -> float:
    region, affines = local.placed.region, [node for _, node in local.graph.affines()]
    matrices = [node.maps[0].dense().float() for node in affines]
    unit = torch.rand(count, *region.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    value, signs = (region.lower + unit * (region.upper - region.lower)).float(), []
    for matrix, node in zip(matrices, affines, strict=True):
        value = value @ matrix.T + node.bias.float()
        signs.append((value > 0).float())
        value = value.clamp(min=0.0)
    best = 0.0
    for row in local.placed.rows[0].float():
        gradient = (row @ matrices[-1]).expand(count, -1)
        for matrix, on in zip(matrices[-2::-1], signs[-2::-1], strict=True):
            gradient = (gradient * on) @ matrix
        best = max(best, float(gradient.abs().sum(-1).max()))
    return best


def test_float32_serves_where_it_tells_points_apart() -> None:
    net = oracles.network("deep")
    assert PointEvaluator(asked(net, LinfBall(0.5))).dtype == torch.float32
    assert PointEvaluator(asked(net, LinfBall(0.5), "pointed")).dtype == torch.float64
    far = torch.full((1, 2), 1e7, dtype=torch.float64)
    moved = nn.Sequential(nn.Linear(2, 2), oracles.network("deep")).double()
    first = moved[0]
    assert isinstance(first, nn.Linear)
    first.weight.data, first.bias.data = torch.eye(2, dtype=torch.float64), -far[0] + 0.1
    problem = LocalLipschitz(LinfBall(0.8), AllLogits(), p=math.inf)
    local = frozen_analysis(moved, problem, far, None)
    assert PointEvaluator(local).dtype == torch.float64
    near = frozen_analysis(net, problem, torch.full((1, 2), 0.1, dtype=torch.float64), None)
    ends = [Sampling().intervals(analysis, Budget())[0].lower for analysis in (local, near)]
    assert ends[0] == pytest.approx(ends[1], rel=1e-6)


def test_a_region_of_one_cell_needs_no_turns() -> None:
    local = asked(nn.Sequential(nn.Linear(3, 2)).double(), LinfBall(1.0))
    (found,) = Sampling().intervals(local, Budget())
    assert "0 turns" in found.detail and found.lower > 0


def test_small_searches_end_before_a_hunt_and_larger_ones_pay_for_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    net = default(3, 8, 8, 2, seed=0)
    local, works, ends = asked(net, LinfBall(1.0)), {}, {}
    original = WitnessSearch.within

    def within(self: WitnessSearch, numbers: float, ended: Callable[[], bool]) -> None:
        original(self, numbers, ended)
        works[hunted] = max(works.get(hunted, 0), self.screen.work)

    monkeypatch.setattr(WitnessSearch, "within", within)
    for hunted in (1e-9, 10.0):
        monkeypatch.setattr(incumbent, "HUNTED", hunted)
        (ends[hunted],) = ESTIMATORS["branch_and_bound"].intervals(local, Budget(nodes=40))
    assert 1e-9 not in works and works[10.0] > first_turn(local) > POINTS
    ((_, truth),) = exact_constants(net, local.placed.problem, local.placed.region.center)
    assert ends[1e-9].lower * (1 - 1e-6) <= ends[10.0].lower <= truth * (1 + 1e-9) <= ends[10.0].upper * (1 + 2e-9)


def test_turns_stay_within_what_is_paid_for() -> None:
    """Of a small network most is the calls, which count as numbers: random points fill what is left, at most."""
    local = asked(default(3, 8, 8, 2, seed=0), LinfBall(1.0))
    for paid in (2**18, 2**21, 2**25):
        screen = PointEvaluator(local)
        hunt = WitnessSearch(screen, torch.Generator().manual_seed(0))
        hunt.within(paid, lambda: False)
        assert paid / 8 < screen.work <= 1.1 * paid, (paid, hunt.turns)


@pytest.mark.parametrize("region", [name for name in REGIONS if name != "everywhere"])
def test_points_on_faces_are_points_of_the_region(region: str) -> None:
    """Of every dimension: coordinates of a box at its ends, or of a ball those that have moved."""
    local = asked(oracles.network("shallow"), REGIONS[region])
    x = PointEvaluator(local).on_faces(400, torch.Generator().manual_seed(0)).double()
    placed = local.placed.region
    torch.testing.assert_close(placed.project(x.unsqueeze(0))[0], x, rtol=0, atol=1e-6)
    ends = torch.stack([end[0] for end in placed.ends])
    at_end = ((x - ends.unsqueeze(1)).abs() < 1e-6).any(0)
    if placed.radius < math.inf:
        at_end = (x - placed.center).abs() > 1e-6
    if placed.halfspaces is None:
        assert set(range(x.shape[1] + 1)) <= set(at_end.sum(1).tolist())


def test_a_cell_at_a_vertex_of_a_ball_is_found() -> None:
    """Of 12 inputs one unit reads one alone, and only where that has nearly all of the radius is it active."""
    net = nn.Sequential(nn.Linear(12, 1), nn.ReLU(), nn.Linear(1, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(12)[:1])
        net[0].bias.fill_(-1.05)
        net[2].weight.fill_(1.0)
    local = asked(net, L1Ball(1.0))
    assert hunted(local, 1).best == pytest.approx(1.0)


@pytest.mark.parametrize("region", ["linf", "l1", "l2"])
def test_other_origins_are_points_of_the_region_and_leave_the_hunt_as_it_is(region: str) -> None:
    """Each time another one; ended at once it still is a point."""
    local = asked(oracles.network("deep"), REGIONS[region], "regional", 2.0)
    hunt = WitnessSearch(PointEvaluator(local), torch.Generator().manual_seed(0))
    hunt.go(lambda: False, turns=2)
    points = hunt.points.clone()
    found = [incumbent.fresh_start(hunt, lambda ended=ended: ended) for ended in (False, False, True)]
    for point in found:
        assert local.placed.region.contains(point.unsqueeze(0).unsqueeze(1)).all()
    assert not torch.equal(found[0], found[1])
    assert torch.equal(hunt.points, points)


def test_a_first_turn_that_ends_early_has_looked_at_points_of_every_kind() -> None:
    """Points spread through a box, corners, and points on faces between them."""
    net = nn.Sequential(nn.Linear(20, 4), nn.ReLU(), nn.Linear(4, 1)).double()
    local = frozen_analysis(net, LocalLipschitz(LinfBall(0.5), Logit(0)), torch.zeros(1, 20, dtype=torch.float64), None)
    screen, looked = PointEvaluator(local), list[Tensor]()

    def seen(x: Tensor) -> Tensor:
        looked.append(x)
        return torch.zeros(len(x), 1, dtype=x.dtype)

    screen.all_values = seen  # type: ignore[method-assign]
    WitnessSearch(screen, torch.Generator().manual_seed(0)).round(lambda: False)
    first = torch.cat(looked[1:])[:64]
    at_end = (first.abs() == 0.5).double().mean(1)
    for kind in (at_end == 0, at_end == 1, (at_end > 0) & (at_end < 1)):
        assert int(kind.sum()) >= 5
