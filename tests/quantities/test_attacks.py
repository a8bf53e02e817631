"""Moved points: where they may be, what the loss is there, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lipreg import AllLogits, Box, L1Ball, L2Ball, LinfBall, LipschitzPenalty, LocalLipschitz, Logit, Vector
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.outputs import Output
from lipreg.quantities import FastGradientSign, ProjectedGradient, get_quantity, values
from lipreg.quantities.attacks import AttackQuantity
from lipreg.quantities.losses import point_loss
from lipreg.testing import networks

X = torch.tensor([[0.13, 0.21], [0.05, 0.4], [0.95, 0.2]], dtype=torch.float64)
Y = torch.tensor([0, 1, 1])


def moved_points(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The points at which losses are taken, as they come."""
    seen: list[Tensor] = []
    gained = AttackQuantity.gained

    def spy(self: AttackQuantity, query: object, loss: object, moved: Tensor) -> Tensor:
        seen.append(moved)
        return gained(self, query, loss, moved)  # type: ignore[arg-type]

    monkeypatch.setattr(AttackQuantity, "gained", spy)
    return seen


def test_fgsm_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    module, seen = networks.network("deep"), moved_points(monkeypatch)
    x = X.clone().requires_grad_()
    loss = F.cross_entropy(module(x), Y, reduction="none")
    (slope,) = torch.autograd.grad(loss.sum(), x)
    for given, radius in ((FastGradientSign(), 0.1), (FastGradientSign(radius=0.3), 0.3)):
        found = values(given, module, LocalLipschitz(LinfBall(0.1, low=0.0, high=1.0)), X, Y)
        moved = (X + radius * slope.sign()).clamp(0, 1)
        torch.testing.assert_close(seen[-1], moved)
        wanted = F.cross_entropy(module(moved), Y, reduction="none") - loss
        torch.testing.assert_close(found, wanted.detach())


def test_one_step_in_l2_goes_along_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    module, seen = networks.network("deep"), moved_points(monkeypatch)
    own, y = X[:2], Y[:2]  # at the third the network is flat
    x = own.clone().requires_grad_()
    (slope,) = torch.autograd.grad(F.cross_entropy(module(x), y, reduction="sum"), x)
    values("fgsm", module, LocalLipschitz(L2Ball(0.1)), own, y)
    torch.testing.assert_close(seen[-1], own + 0.1 * slope / slope.norm(dim=1, keepdim=True))
    values("fgsm", module, LocalLipschitz(L1Ball(0.1)), own, y)
    step = seen[-1] - own
    assert (step != 0).sum(1).tolist() == [1, 1]
    assert step.abs().sum(1).tolist() == pytest.approx([0.1] * 2)


BALLS = [LinfBall(0.2, low=0.0, high=1.0), L2Ball(0.2, low=0.0), L1Ball(0.2), Box([0.0, 0.1], [1.0, 0.5])]


@pytest.mark.parametrize("region", BALLS)
def test_pgd_stays_in_the_region_and_more_tries_find_more(region: LinfBall, monkeypatch: pytest.MonkeyPatch) -> None:
    module, seen, problem = networks.network("deep"), moved_points(monkeypatch), LocalLipschitz(region)
    one, many = (values(ProjectedGradient(restarts=k), module, problem, X, Y, seed=5) for k in (1, 6))
    for moved in seen:
        assert region.place(X).contains(moved.unsqueeze(1)).all()
    assert (many >= one - 1e-12).all()
    assert many[0] > 0


def test_a_radius_needs_a_ball() -> None:
    with pytest.raises(UnsupportedRequest, match=r"radius=0\.1 in a Box"):
        values(FastGradientSign(radius=0.1), networks.network("deep"), LocalLipschitz(Box([0.0] * 2, [1.0] * 2)), X, Y)
    for wrong in (0.0, math.nan, "0.1"):
        with pytest.raises(InvalidInput, match="radius="):
            FastGradientSign(radius=wrong)  # type: ignore[arg-type]


ONE = torch.tensor([[0.3], [-1.2], [2.0]], dtype=torch.float64)
THREE = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
NUMBERS = torch.tensor([0.5, 0.1, 3.0])
SOFT = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.0, 0.0, 1.0]], dtype=torch.float64)
MANY = torch.tensor([[1, 1, 0], [0, 0, 0], [0, 1, 0]])


def binary(outputs: Tensor, targets: Tensor) -> Tensor:
    """What BCEWithLogitsLoss makes of each point alone."""
    return torch.stack(
        [F.binary_cross_entropy_with_logits(o, t.double()) for o, t in zip(outputs, targets, strict=True)]
    )


@pytest.mark.parametrize(
    ("outputs", "labels", "output", "asked", "wanted"),
    [
        (THREE, Y, AllLogits(), None, F.cross_entropy(THREE, Y, reduction="none")),
        (THREE, Y.to(torch.uint8), AllLogits(), "cross_entropy", F.cross_entropy(THREE, Y, reduction="none")),
        (THREE, SOFT, AllLogits(), "cross_entropy", F.cross_entropy(THREE, SOFT, reduction="none")),
        *(
            (ONE, Y.to(dtype), Logit(0), None, binary(ONE, Y[:, None]))
            for dtype in (torch.int64, torch.float32, torch.bool)
        ),
        (ONE, Y.float()[:, None], Vector(), None, binary(ONE, Y[:, None])),
        *((THREE, MANY.to(dtype), AllLogits(), None, binary(THREE, MANY)) for dtype in (torch.int64, torch.float32)),
        (THREE, SOFT, AllLogits(), "binary", binary(THREE, SOFT)),
        (ONE, NUMBERS, Logit(0), None, (ONE[:, 0] - NUMBERS).square()),
        (ONE, Y, Logit(0), "squared", (ONE[:, 0] - Y).square()),
        (THREE, SOFT, Vector(), None, (THREE - SOFT).square().mean(1)),
        (THREE, THREE.flip(0), AllLogits(), None, (THREE - THREE.flip(0)).square().mean(1)),
    ],
)
def test_losses_go_by_the_targets(
    outputs: Tensor, labels: Tensor, output: Output, asked: str | None, wanted: Tensor
) -> None:
    found = point_loss(outputs, labels, output, asked)
    torch.testing.assert_close(found.each(outputs), wanted)
    own = outputs.clone().requires_grad_()
    (slope,) = torch.autograd.grad(found.each(own).sum(), own)
    torch.testing.assert_close(found.slopes(outputs), slope)


@pytest.mark.parametrize(
    ("outputs", "labels", "asked", "says"),
    [
        *((THREE, labels, None, "labels") for labels in (None, torch.rand(3), torch.tensor([0, 1, 3]), Y[:2])),
        (THREE, SOFT, None, 'soft labels or values.*loss="binary"'),
        (ONE, NUMBERS.clamp(max=1.0), None, "soft labels or values.*loss="),
        (ONE, torch.tensor([0, 1, 2]), None, "from 0 to 2.*squared"),
        (ONE, NUMBERS, "binary", "from 0.1 to 3 with loss='binary'"),
        (THREE, Y, "binary", "with loss='binary'"),
        (ONE, Y, "cross_entropy", "of 1 output,.*with loss='cross_entropy'"),
    ],
)
def test_targets_that_no_loss_reads(outputs: Tensor, labels: Tensor | None, asked: str | None, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        point_loss(outputs, labels, AllLogits(), asked)


@pytest.mark.parametrize("kind", ["fgsm", "pgd", "gradient"])
def test_binary_targets_of_any_dtype_train_alike(kind: str) -> None:
    """BCEWithLogitsLoss wants floats: the penalty is of its loss all the same, and -1 is a value only of a squared one."""
    problem, module = LocalLipschitz(LinfBall(0.1), Logit(0)), networks.network("deep")
    torch.manual_seed(0)
    one = torch.nn.Sequential(module, torch.nn.Linear(3, 1, dtype=torch.float64))
    targets = Y, Y.float()
    by_ints, by_floats = (LipschitzPenalty(one, problem, quantity=kind, weight=1.0)(X, y) for y in targets)
    assert by_ints.item() == by_floats.item() != 0
    assert get_quantity(kind).describe()["loss"] is None
    with pytest.raises(InvalidInput, match="loss='mse'"):
        get_quantity({"kind": kind, "loss": "mse"})
    penalty = LipschitzPenalty(one, problem, quantity={"kind": kind, "loss": "squared"}, weight=1.0)
    penalty(X, torch.tensor([-1, 2, 1]))
    assert penalty.last is not None and len(penalty.last.values) == len(X)


def test_weights_alone_need_no_graph() -> None:
    """Of a network that no bound covers."""
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Softmax(1), torch.nn.Linear(3, 2))
    problem = LocalLipschitz(LinfBall(0.1), Logit(0))
    sizes = [module[0].weight, module[2].weight]
    assert values("weight_l1", module, problem, X.float()).item() == pytest.approx(
        sum(float(w.detach().abs().sum()) for w in sizes)
    )
    half = 0.5 * sum(float(w.detach().square().sum()) for w in sizes)
    assert values("weight_decay", module, problem, X.float()).item() == pytest.approx(half)
    module[0].weight.requires_grad_(False)
    assert values("weight_l1", module, problem, X.float()).item() == pytest.approx(float(sizes[1].abs().sum()))
    with pytest.raises(InvalidInput, match="no trained matrices"):
        values("weight_l1", torch.nn.ReLU(), LocalLipschitz(LinfBall(0.1), AllLogits()), X)
