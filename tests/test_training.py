"""LipschitzPenalty in a loop of one's own: its gradients are those of the bound, its state goes on where it stopped."""

from __future__ import annotations

import copy
import pickle
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lipreg
from lipreg import AllLogits, AllMargins, L2Ball, LinfBall, LipschitzPenalty, LocalLipschitz, Logit, Points, Vector
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.estimators import ESTIMATORS, BoundEstimator, get_estimator, live_analysis
from lipreg.graph import capture
from lipreg.schedules import Linear, Target
from tests import oracles
from tests.callbacks.cases import PROBLEM, WEIGHT, batches, bounds_by_hand, loss_by_hand
from tests.sampling import one_in

DIFFERENTIABLE = sorted(n for n, e in ESTIMATORS.items() if isinstance(e, BoundEstimator) and e.differentiable)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3))


def gradients(loss: Tensor, net: nn.Module) -> Tensor:
    found = torch.autograd.grad(loss, list(net.parameters()), allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in found])


def test_two_lines_in_a_plain_loop() -> None:
    net, (batch, other) = network(), batches(2)
    penalty = LipschitzPenalty(net, PROBLEM, weight=WEIGHT)
    for x, y in (batch, other):
        loss = F.cross_entropy(net(x), y) + penalty(x, y)
        expected = gradients(loss_by_hand(net, x, y), net)
        assert (gradients(loss, net) - expected).norm() <= 1e-6 * expected.norm()
        assert penalty.last is not None
        assert torch.allclose(penalty.last.bounds, bounds_by_hand(net, x, y), rtol=1e-6)


@pytest.mark.parametrize("bound", DIFFERENTIABLE)
@pytest.mark.parametrize("p", [1.0, 2.0, torch.inf])
def test_every_differentiable_estimator_can_be_the_bound(bound: str, p: float) -> None:
    problem = LocalLipschitz(LinfBall(0.2), p=p, scope="pointed")
    if p not in ESTIMATORS[bound].norms:
        pytest.skip(f"{bound} does not cover p = {p:g}")
    net, ((x, y),) = network().double(), batches(1)
    x = x.double()
    recipe = lipreg.Bound(bound, "all", "exact")
    term = LipschitzPenalty(net, problem, bound=recipe, weight=2.0)(x, y)
    expected = 2.0 * lipreg.estimate(net, problem, x, y, bound=recipe).mean()
    assert term.item() == pytest.approx(expected.item(), rel=1e-12)
    ours, theirs = gradients(term, net), gradients(expected, net)
    assert (ours - theirs).norm() <= 1e-12 * theirs.norm()


def test_weight_zero_computes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    net, ((x, y),) = network(), batches(1)
    penalty = LipschitzPenalty(net, PROBLEM, schedule=Linear(batches=3))
    assert penalty.weight == 0.01
    with monkeypatch.context() as patched:
        patched.setattr(penalty, "_evaluate", None)
        first = penalty(x, y)
    assert first.item() == 0
    assert not first.requires_grad
    terms = [penalty(x, y).item() for _ in range(3)]
    mean = LipschitzPenalty(net, PROBLEM, weight=1.0)(x, y).item()
    assert terms == pytest.approx([0.005 * mean, 0.01 * mean, 0.01 * mean], rel=1e-6)


def test_the_target_schedule_follows_the_bound() -> None:
    net, ((x, y),) = network(), batches(1)
    bound = LipschitzPenalty(net, PROBLEM, weight=1.0)(x, y).item()
    penalty = LipschitzPenalty(net, PROBLEM, weight=1.0, schedule=Target(bound / 2, rate=1.0))
    assert [penalty(x, y).item() / bound for _ in range(3)] == pytest.approx([1, 2, 4], rel=1e-5)


def test_fixed_points_are_bounded_whatever_the_batch() -> None:
    net, (fixed, batch) = network(), batches(2)
    penalty = LipschitzPenalty(net, PROBLEM, points=fixed)
    penalty(*batch)
    assert penalty.last is not None
    assert torch.allclose(penalty.last.bounds, bounds_by_hand(net, *fixed), rtol=1e-6)
    bare = LipschitzPenalty(net, LocalLipschitz(LinfBall(0.1), Logit(0)), points=fixed[0][:2])
    bare(*batch)
    assert bare.last is not None
    assert bare.last.bounds.shape == (2,)


def test_each_process_draws_points_of_its_own() -> None:
    net, (batch,) = network(), batches(1, size=30)
    drawn = []
    for rank in (0, 1, 0):
        penalty = LipschitzPenalty(net, PROBLEM, points=5)
        penalty.next_batch(rank=rank)
        penalty.term(*batch)
        assert penalty.last is not None
        drawn.append(penalty.last.bounds)
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize("bound", ["affine_relu", "spectral"])
@pytest.mark.parametrize("p", [1.0, 2.0, torch.inf])
def test_layer_sum_is_the_sum_of_the_factors(bound: str, p: float) -> None:
    """The factors multiply to the bound; by hand for one hidden layer, where they are two norms."""
    problem, net = LocalLipschitz(LinfBall(0.2), p=p), network().double()
    x, y = batches(1)[0]
    x = x.double()
    graph = capture(net, x).live()
    estimator = get_estimator(bound)
    assert isinstance(estimator, BoundEstimator)
    analysis = live_analysis(graph, problem, x, y, estimator)
    factors = estimator.factors(analysis)
    assert factors.shape == (len(x), 2)
    assert torch.allclose(factors.prod(1), estimator.bound(analysis), rtol=1e-12)
    recipe = lipreg.Bound(bound, "all", "exact")
    penalty = LipschitzPenalty(net, problem, bound=recipe, weight=1.0, penalty="layer_sum")
    assert penalty(x, y).item() == pytest.approx(factors.sum(1).mean().item(), rel=1e-12)
    first, last = net[0].weight, net[2].weight
    if bound == "spectral":
        layer = torch.linalg.matrix_norm(first, ord={1.0: 1, 2.0: 2, torch.inf: torch.inf}[p])
        rows = torch.linalg.vector_norm(
            last[y].unsqueeze(1) - last, ord={1.0: torch.inf, 2.0: 2, torch.inf: 1}[p], dim=2
        )
        assert torch.allclose(factors, torch.stack([layer.expand(len(x)), rows.amax(1)], 1), rtol=1e-12)


def test_state_goes_on_where_it_stopped() -> None:
    data = batches(6, size=8)
    options: dict[str, Any] = {"points": 3, "schedule": {"kind": "target", "target": 0.2, "rate": 0.3}}
    net = network()
    whole, first, second = (LipschitzPenalty(net, PROBLEM, **options) for _ in range(3))
    expected = [whole(*batch).item() for batch in data]
    assert [first(*batch).item() for batch in data[:3]] == expected[:3]
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    assert [second(*batch).item() for batch in data[3:]] == expected[3:]


def test_a_copy_is_of_the_copied_network() -> None:
    """A module that holds its penalty can be copied, and the copy trains itself."""
    net, ((x, y),) = network(), batches(1)
    penalty = LipschitzPenalty(net, PROBLEM, weight=1.0)
    penalty(x, y)
    other = copy.deepcopy({"net": net, "penalty": penalty})
    with torch.no_grad():
        other["net"][0].weight.mul_(2)
        other["net"][0].bias.mul_(2)
    assert other["penalty"].network is other["net"]
    expected = LipschitzPenalty(other["net"], PROBLEM, weight=1.0)(x, y).item()
    assert other["penalty"](x, y).item() == pytest.approx(expected, rel=1e-6)


def test_new_parameter_objects_are_read() -> None:
    """Loading, replacing or adding parameters after the first batch: the bound is of the network as it is."""
    net, ((x, y),) = network(), batches(1)
    penalty = LipschitzPenalty(net, PROBLEM, weight=1.0)
    penalty(x, y)
    changes: list[Any] = [
        lambda: net.load_state_dict({k: 2 * v for k, v in net.state_dict().items()}),
        lambda: setattr(net[0], "weight", nn.Parameter(3 * net[0].weight.detach())),
        lambda: net.__setitem__(2, nn.Linear(7, 3)),
        lambda: net.double(),
    ]
    for change in changes:
        change()
        inputs = x.to(net[0].weight.dtype)
        term, by_hand = penalty(inputs, y), bounds_by_hand(net, inputs, y).mean()
        assert term.item() == pytest.approx(by_hand.item(), rel=1e-6)
        ours, theirs = gradients(term, net), gradients(by_hand, net)
        assert (ours - theirs).norm() <= 1e-6 * theirs.norm()


def test_refusals() -> None:
    net, ((x, y),) = network(), batches(1)
    with pytest.raises(UnsupportedRequest, match=r"layer_sum.*fastlip.*no product over layers"):
        LipschitzPenalty(net, PROBLEM, bound="fastlip", penalty="layer_sum")
    with pytest.raises(InvalidInput, match=r"no labels, which AllMargins"):
        LipschitzPenalty(net, PROBLEM)(x)
    with pytest.raises(InvalidInput, match=r"no network"):
        LipschitzPenalty(None, PROBLEM)(x, y)
    with pytest.raises(InvalidInput, match=r"inputs of dtype torch.int64"):
        LipschitzPenalty(net, PROBLEM)(y, y)
    for points in ("some", 0, 2.5, (x, y[:2]), x[:0], None):
        with pytest.raises(InvalidInput, match=r"points"):
            LipschitzPenalty(net, PROBLEM, points=points)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"constant, cosine"):
        LipschitzPenalty(net, PROBLEM, schedule="step")
    vector = LocalLipschitz(LinfBall(0.1), Vector())
    assert LipschitzPenalty(net, vector)(x).item() > 0
    assert LocalLipschitz(LinfBall(0.1), AllMargins()).output.needs_labels


@pytest.mark.parametrize("bound", DIFFERENTIABLE)
@pytest.mark.parametrize("scope", ["regional", "pointed"])
@pytest.mark.parametrize("region", [LinfBall(0.05), L2Ball(0.05)], ids=["linf", "l2"])
@one_in(3)
def test_gradients_are_those_of_finite_differences(bound: str, scope: Any, region: Any) -> None:
    """Of what ``estimate`` returns, whatever of the analysis it left without gradient; also where all units are decided."""
    x, y = (part[:3] for part in batches(1)[0])
    x = x.double()
    if region.norm not in ESTIMATORS[bound].norms:
        pytest.skip(f"{bound} does not cover p = {region.norm:g}")
    for spread in (1.0, 20.0):  # biases that leave units open, and that decide them all
        net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).double()
        with torch.no_grad():
            for layer in (net[0], net[2]):
                layer.bias.mul_(spread)
        problem = LocalLipschitz(region, scope=scope)

        def total(net: nn.Module = net, problem: LocalLipschitz = problem) -> Tensor:
            return lipreg.estimate(net, problem, x, y, bound=lipreg.Bound(bound, ["ball", "interval"], "exact")).sum()

        ours = torch.autograd.grad(total(), list(net.parameters()), allow_unused=True, materialize_grads=True)
        for parameter, gradient in zip(net.parameters(), ours, strict=True):
            direction, step = torch.randn_like(parameter), 1e-6
            with torch.no_grad():
                parameter.add_(step * direction)
                above = total()
                parameter.sub_(2 * step * direction)
                below = total()
                parameter.add_(step * direction)
            expected = ((above - below) / (2 * step)).item()
            assert (gradient * direction).sum().item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_it_goes_to_spawned_processes_with_its_draws() -> None:
    """Two generators' states, as tensors that are gone once they are written, would share one file descriptor there."""
    net, ((x, y),) = network(), batches(1)
    ours = LipschitzPenalty(None, PROBLEM, points=Points(4, seed=3))
    ours.next_batch()
    sent = bytes(ForkingPickler.dumps(ours))
    assert b"rebuild_storage" not in sent
    theirs = pickle.loads(sent)
    for penalty in (ours, theirs):
        penalty.network = net
    for _ in range(3):
        assert ours(x, y).item() == theirs(x, y).item()


@pytest.mark.parametrize("name", ["batch_norm", "residual", "leaky"])
@pytest.mark.parametrize("bound", ["affine_relu", "abs_chain"])
def test_inference_mode_gives_the_number(name: str, bound: str) -> None:
    """Weights that are computed there, of batch norm say, have no version that could change."""
    net, problem = oracles.network(name), LocalLipschitz(LinfBall(0.1), AllLogits())
    x = torch.rand(3, oracles.input_size(net), dtype=torch.float64)
    penalty = LipschitzPenalty(net, problem, bound=bound, weight=1.0)
    wanted = penalty(x).item()
    with torch.inference_mode():
        assert penalty(x).item() == pytest.approx(wanted, rel=1e-12)
        assert LipschitzPenalty(net, problem, bound=bound, weight=1.0)(x).item() == pytest.approx(wanted, rel=1e-12)
