"""weight="auto": found once by gradients taken by hand, kept, recorded, and enough for deep networks to train."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor, nn

from lipreg import LinfBall, LipschitzPenalty, LocalLipschitz
from lipreg.callbacks import LipschitzAudit
from lipreg.callbacks.introduction import introduction
from lipreg.errors import InvalidInput
from lipreg.records import AuditRecord, RunRecord, read_records
from lipreg.runs import recorded_runs
from lipreg.schedules import Linear
from lipreg.training import Auto
from lipreg.training.auto import HIGH
from tests.callbacks.cases import PROBLEM, Classifier, batches, bounds_by_hand, fit, regularizer


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3))


def lengths(value: Tensor, net: nn.Sequential) -> Tensor:
    """Of the gradients in the two matrices."""
    weights = [layer.weight for layer in net if isinstance(layer, nn.Linear)]
    return torch.stack([g.norm() for g in torch.autograd.grad(value, weights, retain_graph=True)])


def by_hand(net: nn.Sequential, x: Tensor, y: Tensor, fraction: float) -> float:
    of_loss, of_penalty = lengths(F.cross_entropy(net(x), y), net), lengths(bounds_by_hand(net, x, y).mean(), net)
    return fraction * float((of_loss / of_penalty).min())


@pytest.mark.parametrize("weight, fraction", [("auto", Auto().fraction), (Auto(0.7), 0.7), ({"fraction": 2.0}, 2.0)])
def test_it_is_found_at_the_first_batch_and_stays(weight: Any, fraction: float) -> None:
    net, ((x, y), other) = network(), batches(2)
    penalty, wanted = LipschitzPenalty(net, PROBLEM, weight=weight), by_hand(net, x, y, fraction)
    assert (penalty.weight, penalty.describe()["weight"]) == (0.0, None)
    loss = F.cross_entropy(net(x), y)
    term = penalty(x, y, loss=loss)
    assert penalty.weight == pytest.approx(wanted, rel=1e-5)
    assert term.item() == pytest.approx(wanted * float(bounds_by_hand(net, x, y).detach().mean()), rel=1e-5)
    assert float((lengths(term, net) / lengths(loss, net)).max()) == pytest.approx(fraction, rel=1e-5)
    found = penalty.weight
    penalty(*other)  # needs no loss
    assert penalty.weight == penalty.describe()["weight"] == found


@pytest.mark.parametrize("wanted", [20.0, 40.0])
def test_a_weight_that_is_found_high_is_warned_of(wanted: float) -> None:
    net, (x, y) = network(), batches(1)[0]
    penalty = LipschitzPenalty(net, PROBLEM, weight=Auto(wanted / by_hand(net, x, y, 1.0)))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        penalty(x, y, loss=F.cross_entropy(net(x), y))
    assert penalty.weight == pytest.approx(wanted, rel=1e-4)
    assert ["was found to be 40: " in str(warning.message) for warning in said] == [True] * (wanted > HIGH)


def test_without_the_loss_it_says_what_to_write() -> None:
    with pytest.raises(InvalidInput, match=r"penalty\(x, y, loss=loss\)"):
        LipschitzPenalty(network(), PROBLEM, weight="auto")(*batches(1)[0])
    for wrong in ("automatic", {"share": 1.0}, -1.0, None):
        with pytest.raises(InvalidInput, match="weight="):
            LipschitzPenalty(network(), PROBLEM, weight=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"fraction=0\.0"):
        Auto(0.0)


def test_a_state_holds_it_and_a_number_is_not_taken_over() -> None:
    net, (x, y) = network(), batches(1)[0]
    one = LipschitzPenalty(net, PROBLEM, weight="auto")
    before = one.state_dict()
    one(x, y, loss=F.cross_entropy(net(x), y))
    other, number, early = (LipschitzPenalty(net, PROBLEM, weight=w) for w in ("auto", 0.3, "auto"))
    other.load_state_dict(one.state_dict())
    number.load_state_dict(one.state_dict())
    early.load_state_dict(before)
    assert (other.weight, number.weight, early.weight_pending) == (one.weight, 0.3, True)
    assert other(x, y).item() == one(x, y).item()


def test_it_waits_for_a_gradient() -> None:
    """A warm-up that begins with 0, and points without labels, tell nothing yet."""
    net, ((x, y),) = network(), batches(1)
    late = LipschitzPenalty(net, PROBLEM, weight="auto", schedule=Linear(batches=3))
    terms = [late(x, y, loss=F.cross_entropy(net(x), y)).item() for _ in range(3)]
    assert terms[0] == 0 and terms[2] == pytest.approx(2 * terms[1])
    assert late.weight == pytest.approx(by_hand(net, x, y, Auto().fraction), rel=1e-5)
    none = LipschitzPenalty(net, PROBLEM, weight="auto")
    assert none(x, torch.full_like(y, -1), loss=F.cross_entropy(net(x), y)).item() == 0
    assert none.weight_pending
    none(x, y, loss=F.cross_entropy(net(x), y))
    assert none.weight == pytest.approx(late.weight, rel=1e-5)


@pytest.mark.parametrize("quantity", [None, "jacobian"])
def test_a_training_records_it_and_a_resumed_one_keeps_it(quantity: str | None, tmp_path: Path) -> None:
    data = batches(3)

    def audit() -> LipschitzAudit:
        return LipschitzAudit(PROBLEM, data_points(), ["affine_relu"], folder=str(tmp_path))

    def own() -> Any:
        return regularizer(weight="auto", quantity=quantity, bound="affine_relu")

    torch.manual_seed(0)
    model, one = Classifier(), own()
    run = fit(model, data, one, audit(), max_epochs=2)
    assert one.weight > 0
    run.save_checkpoint(tmp_path / "last.ckpt")
    again = own()
    fit(Classifier(), data, again, audit(), max_epochs=3, ckpt_path=str(tmp_path / "last.ckpt"))
    assert again.weight == one.weight
    records = read_records(tmp_path / "records.jsonl")
    (found,) = recorded_runs(records)
    name = quantity or "affine_relu"
    assert found.record.weight == one.weight and found.penalised and not found.course
    told = found.record.penalty
    assert (told["quantity"], told["weight"], told["auto"]) == (name, one.weight, Auto().fraction)
    assert told["certificate"] == ("estimate" if quantity else "upper")
    assert sorted({record.epoch for record in found.audits}) == [0, 1, 2, 3]
    # the bound is audited either way, and marked as penalised where it is what was lowered
    bounds = [r for r in records if isinstance(r, AuditRecord) and r.estimator == "affine_relu"]
    assert bounds and all(r.penalised == (quantity is None) for r in bounds)
    assert found.bound == "affine_relu"
    metrics = {name.removeprefix("lipreg/") for name in run.callback_metrics if name.startswith("lipreg/")}
    values = {"jacobian_mean", "jacobian_max"} if quantity else {"bound_mean", "bound_max"}
    assert metrics == {"penalty", "weight", *values}
    assert "audit/bound" in run.callback_metrics


def data_points() -> Any:
    return batches(1, size=2)[0]


def test_dashboards_are_told_the_weight_once_it_is_found(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    hparams = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2")
    own, board = regularizer(weight="auto", bound="affine_relu"), TensorBoardLogger(tmp_path / "board")
    audit = LipschitzAudit(PROBLEM, data_points(), ["affine_relu"], folder=str(tmp_path))
    fit(Classifier(), batches(2), own, audit, logger=board)
    (events,) = (tmp_path / "board").rglob("events.out*")
    read = accumulator.EventAccumulator(str(events))
    read.Reload()
    content = read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    values = hparams.HParamsPluginData.FromString(content).session_start_info.hparams
    assert values["lipreg_weight"].number_value == own.weight > 0
    begun = next(r for r in read_records(tmp_path / "records.jsonl") if isinstance(r, RunRecord))
    assert "lipreg_weight" not in introduction(begun) and introduction(begun)["lipreg_role"] == "with penalty"


def test_two_penalties_of_one_training_are_both_recorded(tmp_path: Path) -> None:
    held = regularizer(weight=0.1)
    beside = regularizer(weight="auto", quantity="gradient", name="sharp")
    audit = LipschitzAudit(PROBLEM, data_points(), ["affine_relu"], folder=str(tmp_path))
    run = fit(Classifier(), batches(2), beside, held, audit)
    assert {"lipreg/bound_mean", "sharp/gradient_mean"} <= run.callback_metrics.keys()
    (found,) = recorded_runs(read_records(tmp_path / "records.jsonl"))
    told = found.record.penalty
    assert (told["quantity"], told["weight"]) == ("affine_relu", 0.1)
    assert [(other["quantity"], other["weight"]) for other in told["beside"]] == [("gradient", beside.weight)]
    assert beside.weight > 0


class Block(nn.Module):
    """Of a residual network, with batch norm."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.two = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        same = before == after and stride == 1
        short = nn.Conv2d(before, after, 1, stride, bias=False)
        self.skip = nn.Identity() if same else nn.Sequential(short, nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm2(self.two(self.relu1(self.norm1(self.one(x)))))
        return self.relu2(h + self.skip(x))


def resnet18(width: int = 16) -> nn.Module:
    """ResNet-18's shapes at a quarter of its width, for small images."""
    stem = nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    sizes = [(1, 1, 1), (1, 1, 1), (1, 2, 2), (2, 2, 1), (2, 4, 2), (4, 4, 1), (4, 8, 2), (8, 8, 1)]
    blocks = (Block(before * width, after * width, stride) for before, after, stride in sizes)
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, 4))


def mlp12() -> nn.Module:
    layers = [layer for _ in range(10) for layer in (nn.Linear(64, 64), nn.ReLU())]
    return nn.Sequential(nn.Linear(12, 64), nn.ReLU(), *layers, nn.Linear(64, 4))


DEEP = [(resnet18, (3, 8, 8), 10), (mlp12, (12,), 100)]


@pytest.mark.parametrize("quantity", [None, "jacobian"])
@pytest.mark.parametrize("make, shape, steps", DEEP, ids=["resnet18", "mlp12"])
def test_deep_networks_train_with_it(
    make: Callable[[], nn.Module], shape: tuple[int, ...], steps: int, quantity: str | None
) -> None:
    """Four clusters, which a network learns in a few steps, with the penalty as without."""
    torch.manual_seed(0)
    net, y = make(), torch.arange(32) % 4
    x = (0.5 + 0.5 * torch.randn(4, *shape))[y] + 0.05 * torch.randn(32, *shape)
    problem = LocalLipschitz(LinfBall(0.02))
    penalty = LipschitzPenalty(net, problem, quantity=quantity, weight="auto", points=4)
    for _ in range(22):  # running statistics settle, so that the weight is found at the first step
        net(x)
    optimizer, losses = torch.optim.Adam(net.parameters(), lr=2e-3), []
    for _ in range(steps):
        loss = F.cross_entropy(net(x), y)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        (loss + penalty(x, y, loss=loss)).backward()
        optimizer.step()
    assert penalty.last is not None and penalty.weight > 0
    assert all(torch.isfinite(p).all() for p in net.parameters())
    assert torch.isfinite(penalty.last.values).all()
    assert losses[-1] < 0.5 * losses[0]
