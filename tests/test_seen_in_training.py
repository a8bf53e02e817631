"""What penalties and quantities see in a training step: margins, labels and weights of the points that count."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lipreg import AllLogits, L2Ball, LinfBall, LipschitzPenalty, LocalLipschitz, Points, Vector, estimate
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.labels import labelled
from lipreg.penalties import PENALTIES, Penalty, RadiusHinge, Sum, register
from lipreg.quantities import QUANTITIES, values
from lipreg.results import Certificate
from lipreg.seen import Seen
from tests.callbacks.cases import PROBLEM, batches, bounds_by_hand

(X, Y), *_ = batches(1)


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3))


def gradients(value: Tensor, net: nn.Module) -> Tensor:
    found = torch.autograd.grad(value, list(net.parameters()), allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in found])


def test_a_radius_that_is_missing_by_hand() -> None:
    """The pull on margin and bound at once, through a sum with the bounds' mean."""
    net = network()
    with torch.no_grad():
        net[2].weight.mul_(5.0)
    bounds, outputs = bounds_by_hand(net, X, Y), net(X)
    rivals = torch.where(F.one_hot(Y, 3).bool(), -torch.inf, outputs).amax(1)
    margins = outputs.gather(1, Y.unsqueeze(1)).squeeze(1) - rivals
    missing = torch.relu(0.5 - margins.clamp(min=0) / bounds)
    assert 0 < (missing < 0.5).sum() < len(missing), "certified and wrong points, both"
    wanted = 0.3 * (missing.mean() + 0.1 * bounds.mean())
    penalty = LipschitzPenalty(net, PROBLEM, weight=0.3, penalty=Sum([RadiusHinge(0.5), (0.1, "mean")]))
    term = penalty(X, Y)
    assert term.item() == pytest.approx(wanted.item(), rel=1e-5)
    ours, theirs = gradients(term, net), gradients(wanted, net)
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


@dataclass(frozen=True)
class Decayed(Penalty):
    """Mean value plus the squares of all weights."""

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return values.mean() + torch.stack([weight.square().sum() for weight in seen.weights]).sum()


def test_a_penalty_sees_the_trained_weights() -> None:
    before, net = dict(PENALTIES), network()
    try:
        register("decayed")(Decayed)
        term = LipschitzPenalty(net, PROBLEM, weight=1.0, penalty="decayed")(X, Y)
    finally:
        PENALTIES.clear()
        PENALTIES.update(before)
    size = sum(float(layer.weight.detach().square().sum()) for layer in net if isinstance(layer, nn.Linear))
    assert term.item() == pytest.approx(float(bounds_by_hand(net, X, Y).detach().mean()) + size, rel=1e-5)


@pytest.mark.parametrize("missing", [-1, -100, 2])
def test_points_without_a_class_are_left_out_where_labels_are_read(missing: int) -> None:
    net, y = network(), Y.clone()
    y[1:3] = missing
    kept = torch.tensor(
        [i for i in range(len(y)) if (i not in (1, 2) and y[i] != 2) or (missing != 2 and i not in (1, 2))]
    )
    problem = LocalLipschitz(LinfBall(0.1), AllLogits())
    points = Points("all", ignore_index=2) if missing == 2 else "all"
    penalty = LipschitzPenalty(net, problem, quantity="gradient", weight=1.0, points=points)
    penalty(X, y)
    assert penalty.last is not None
    torch.testing.assert_close(penalty.last.values, values("gradient", net, problem, X[kept], y[kept]).detach())
    every = LipschitzPenalty(net, problem, quantity="jacobian", weight=1.0, points=points)
    every(X, y)
    assert every.last is not None and len(every.last.values) == len(X), "which reads no labels"


@pytest.mark.parametrize("missing", [-1, -100, 255])
def test_labels_of_bytes_are_compared_as_numbers(missing: int) -> None:
    """In uint8, -1 is 255 and -100 is 156, which are classes here; a count of 300 is 44."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 300))
    y, points = torch.tensor([255, 156, 0, 200, 44, 43]), Points("all", ignore_index=missing)
    for quantity in (None, "jacobian", "gradient"):
        terms = [
            LipschitzPenalty(net, PROBLEM, quantity=quantity, weight=1.0, points=points)(X, own)
            for own in (y.to(torch.uint8), y.int())
        ]
        assert terms[0].item() == terms[1].item() != 0
    assert labelled(y.to(torch.uint8), missing).tolist() == [missing != 255, *[True] * 5]


@pytest.mark.parametrize("quantity", [None, *QUANTITIES])
def test_an_empty_batch_is_0_without_gradient(quantity: str | None) -> None:
    net = network()
    for weight in (1.0, "auto"):
        penalty = LipschitzPenalty(net, PROBLEM, quantity=quantity, weight=weight)
        term = penalty(X[:0], Y[:0], loss=net(X).sum())
        assert term.item() == 0 and not term.requires_grad and penalty.last is None
        assert penalty(X, Y, loss=F.cross_entropy(net(X), Y)).requires_grad and penalty.last is not None


def test_targets_of_a_regression_are_read() -> None:
    net, target = network(), torch.rand(len(X), 3, generator=torch.Generator().manual_seed(0))
    problem = LocalLipschitz(LinfBall(0.1, low=0.0, high=1.0), Vector())
    penalty = LipschitzPenalty(net, problem, quantity={"kind": "fgsm", "radius": 0.05}, weight=1.0)
    x = X.clone().requires_grad_()
    loss = (net(x) - target).square().mean()
    moved = (X + 0.05 * torch.autograd.grad(loss, x, retain_graph=True)[0].sign()).clamp(0, 1)
    wanted = (net(moved) - target).square().mean()
    assert (F.mse_loss(net(X), target) + penalty(X, target)).item() == pytest.approx(wanted.item(), rel=1e-5)
    with pytest.raises(InvalidInput, match="no labels for 6 points"):
        penalty(X)


def test_an_evaluation_says_what_its_values_are() -> None:
    net, l2 = network(), LocalLipschitz(L2Ball(0.2))
    cases = [
        (PROBLEM, {}, "affine_relu", Certificate.UPPER),
        (l2, {}, "affine_relu", Certificate.ESTIMATE),
        (l2, {"bound": {"estimator": "affine_relu", "spectral_norms": "exact"}}, "affine_relu", Certificate.UPPER),
        (l2, {"bound": "fastlip"}, "fastlip", Certificate.UPPER),
        (PROBLEM, {"quantity": {"kind": "bound", "estimator": "fastlip"}}, "fastlip", Certificate.UPPER),
        (PROBLEM, {"quantity": "jacobian"}, "jacobian", Certificate.ESTIMATE),
    ]
    for problem, given, name, certificate in cases:
        penalty = LipschitzPenalty(net, problem, weight=1.0, **given)  # type: ignore[arg-type]
        penalty(X, Y)
        found = penalty.last
        assert found is not None
        assert (found.name, found.certificate) == (name, certificate)
        assert penalty.describe()["certificate"] == certificate == str(certificate)
        if name == "jacobian":
            with pytest.raises(UnsupportedRequest, match="values of jacobian, which are no bounds"):
                _ = found.bounds
        else:
            assert torch.equal(found.bounds, found.values)
    fast = estimate(net, PROBLEM, X, Y, bound="fastlip")
    jacobian = values("jacobian", net, PROBLEM, X, Y)
    assert (jacobian <= fast * (1 + 1e-6)).all()


def test_what_is_no_quantity() -> None:
    wrong = {"jacobean": "did you mean 'jacobian'", 3: "got 3"}
    for given, says in (*wrong.items(), ({"kind": "pgd", "stepps": 3}, "did you mean 'steps'")):
        with pytest.raises(InvalidInput, match=says):
            LipschitzPenalty(network(), PROBLEM, quantity=given)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedRequest, match="'layer_sum' of 'jacobian', which is no product"):
        LipschitzPenalty(network(), PROBLEM, quantity="jacobian", penalty="layer_sum")


def test_draws_differ_by_batch_and_process_and_a_resumed_training_draws_the_same() -> None:
    net, quantity = network(), "jacobian_frobenius"

    def drawn(penalty: LipschitzPenalty, rank: int = 0) -> list[float]:
        penalty.next_batch(rank=rank)
        penalty.term(X, Y)
        assert penalty.last is not None
        return penalty.last.values.tolist()

    one, other, seeded = (
        LipschitzPenalty(net, PROBLEM, quantity=quantity, weight=1.0, points=Points("all", seed=s)) for s in (0, 0, 1)
    )
    first, second = drawn(one), drawn(one)
    assert first != second
    assert drawn(seeded) != first != drawn(other, rank=1)
    again = LipschitzPenalty(net, PROBLEM, quantity=quantity, weight=1.0)
    state = one.state_dict()
    again.load_state_dict(state)
    assert drawn(again) == drawn(one)
