"""Both callbacks in trainings of other tasks than classification: labels that are no classes are none.

By hand: networks with one hidden layer over two inputs. The slopes of a region are those of the activation patterns that a
fine grid of it meets; the affine-ReLU bound is that of ``tests.callbacks.cases``, for rows c of any functional.
"""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lipreg.auditing import AuditPlan, audit
from lipreg.callbacks import LipschitzAudit, LipschitzRegularizer
from lipreg.callbacks.batches import batch_to_inputs
from lipreg.errors import InvalidInput
from lipreg.estimators.radius import certified_radii
from lipreg.labels import classes_if_any
from lipreg.outputs import AllLogits, AllMargins, AllPairs, Logit, Output, Vector
from lipreg.points import Points
from lipreg.problem import LocalLipschitz
from lipreg.records import AuditRecord, read_records
from lipreg.regions import LinfBall
from lipreg.training import LipschitzPenalty
from tests.callbacks.cases import feed, fit
from tests.given import composed

RADIUS, WEIGHT, HIDDEN = 0.3, 0.1, 4
X = torch.rand(8, 2, generator=torch.Generator().manual_seed(3))
CLASSES = torch.tensor([0, 2, 1, 1, 0, 2, 2, 1])


@dataclass(frozen=True)
class Task:
    """A loss, its targets, and the output to ask for.

    Attributes:
        loss: of (the network's outputs, targets).
        squeezed: whether the network returns ``(batch,)``.
    """

    outputs: int
    targets: Tensor
    loss: Callable[[Tensor, Tensor], Tensor]
    output: Output
    squeezed: bool = False


def multi_hot() -> Tensor:
    return torch.stack([CLASSES != 0, CLASSES == 1, CLASSES != 2], 1).float()


def maps(outputs: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(outputs.unflatten(1, (3, 2)), y, ignore_index=-1)


TASKS = {
    "one logit": Task(1, (CLASSES > 1).float(), F.binary_cross_entropy_with_logits, Logit(0), squeezed=True),
    "one logit in a column": Task(1, (CLASSES > 1).float().unsqueeze(1), F.binary_cross_entropy_with_logits, Logit(0)),
    "one logit, integers": Task(
        1, (CLASSES > 1).long(), lambda z, y: F.binary_cross_entropy_with_logits(z[:, 0], y.float()), Logit(0)
    ),
    "scalar regression": Task(1, X.sum(1) * 3, F.mse_loss, Vector(), squeezed=True),
    "regression on whole numbers": Task(1, CLASSES * 3 - 1, lambda z, y: F.mse_loss(z[:, 0], y.float()), Logit(0)),
    "vector regression": Task(2, X.flip(1), F.l1_loss, Vector()),
    "counts": Task(3, CLASSES * 20, lambda z, y: F.poisson_nll_loss(z[:, 0], y.float()), Logit(0)),
    "several labels": Task(3, multi_hot(), F.binary_cross_entropy_with_logits, AllLogits()),
    "autoencoder": Task(2, X, F.mse_loss, Vector()),
    "soft labels": Task(3, multi_hot() / multi_hot().sum(1, keepdim=True), F.cross_entropy, AllPairs()),
    "maps of classes": Task(6, torch.stack([CLASSES, CLASSES.flip(0) - 1], 1), maps, Vector()),
}


class Module(pl.LightningModule):
    def __init__(self, task: Task) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.net = nn.Sequential(nn.Linear(2, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, task.outputs))
        self.task = task

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).squeeze() if self.task.squeezed else self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.task.loss(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.task.loss(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Unvalidated(Module):
    """Validates nothing, so Lightning asks for no validation data."""

    validation_step = pl.LightningModule.validation_step  # type: ignore[assignment]


def rows(output: Output, outputs: int, y: Tensor, points: int = 8) -> Tensor:
    """c at each point, ``(points, rows, outputs)``."""
    eye = torch.eye(outputs)
    if isinstance(output, AllMargins):
        return torch.stack([eye[k] - eye[[j for j in range(outputs) if j != k]] for k in y.tolist()])
    chosen = eye
    if isinstance(output, Logit):
        chosen = eye[[output.index or 0]]
    if isinstance(output, AllPairs):
        chosen = torch.stack([eye[i] - eye[j] for i in range(outputs) for j in range(i)])
    return chosen.expand(points, -1, -1)


def weights(model: Module) -> tuple[Tensor, Tensor, Tensor]:
    first, last = model.net[0], model.net[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    return first.weight.detach(), first.bias.detach(), last.weight.detach()


def bounds_by_hand(model: Module, x: Tensor, c: Tensor) -> Tensor:
    first, bias, last = weights(model)
    sizes = first.abs().sum(1)
    active = (x @ first.T + bias + RADIUS * sizes > 0).float()
    return (active * sizes).amax(1) * ((c @ last).abs() * active.unsqueeze(1)).sum(2).amax(1)


def constant_by_hand(model: Module, x: Tensor, c: Tensor) -> float:
    """Of one point, from the patterns on a grid of its region: each is the sign of a slope that the region has."""
    first, bias, last = weights(model)
    steps = torch.linspace(-RADIUS, RADIUS, 151)
    grid = x + torch.cartesian_prod(steps, steps)
    patterns = (grid @ first.T + bias > 0).float().unique(dim=0)
    return float(torch.stack([(c @ last @ (p.unsqueeze(1) * first)).abs().sum(1).max() for p in patterns]).max())


def callbacks(output: Output, **settings: Any) -> tuple[LipschitzRegularizer, LipschitzAudit]:
    problem = LocalLipschitz(LinfBall(RADIUS), output)
    asked = {"points": 3, "estimators": ("branch_and_bound", "affine_relu"), "at_start": False, "every_n_epochs": 9}
    return LipschitzRegularizer(problem, weight=WEIGHT), LipschitzAudit(
        problem, **composed(**{**asked, "progress": False, **settings})
    )


def exact(folder: Path) -> list[AuditRecord]:
    found = [r for r in read_records(folder / "records.jsonl") if isinstance(r, AuditRecord)]
    return [r for r in found if r.estimator == "combined"]


@pytest.mark.parametrize("name", TASKS)
def test_labels_that_are_no_classes_are_none(name: str, tmp_path: Path) -> None:
    task = TASKS[name]
    batch = (X, task.targets)
    regularizer, ours = callbacks(task.output)
    model = Module(task)
    c = rows(task.output, task.outputs, CLASSES)
    bounds, before = bounds_by_hand(model, X, c), weights(model)[2].clone()
    trainer = fit(model, [batch], regularizer, ours, validation=[batch], default_root_dir=tmp_path)
    assert float(trainer.callback_metrics["lipreg/bound_mean"]) == pytest.approx(float(bounds.mean()), rel=1e-5)
    assert not torch.equal(before, weights(model)[2])
    found = exact(tmp_path)
    assert [r.point for r in found] == [0, 1, 2]
    for record in found:
        assert (record.label, record.correct, record.margin) == (-1, None, None)
        truth = constant_by_hand(model, X[record.point], c[record.point])
        assert record.lower * (1 - 1e-5) <= truth <= record.upper * (1 + 1e-5)
        assert record.upper <= record.lower * (1 + 1e-5)


def test_classes_are_read_where_nothing_needs_them() -> None:
    model = Module(TASKS["several labels"])
    plan = AuditPlan(LocalLipschitz(LinfBall(RADIUS), Vector()), ("affine_relu",))
    z = model.net(X).detach()
    labels = CLASSES.clone()
    labels[0], labels[1] = -1, -100
    for i, point in enumerate(audit(model.net, plan, X, labels)):
        if i < 2:
            assert (point.label, point.correct, point.margin) == (-1, None, None)
            continue
        others = torch.cat([z[i, : CLASSES[i]], z[i, CLASSES[i] + 1 :]])
        assert point.label == CLASSES[i]
        assert point.margin == pytest.approx(float(z[i, CLASSES[i]] - others.max()), rel=1e-5)
        assert point.correct == (point.margin > 0)
    assert all(p.margin is None for p in audit(model.net, plan, X, CLASSES + 1)), "class 3 of 3 outputs"


@pytest.mark.parametrize(
    ("labels", "read"),
    [
        (torch.tensor([0, 2]), [0, 2]),
        (torch.tensor([1, 0], dtype=torch.uint8), [1, 0]),
        (torch.tensor([True, False]), [1, 0]),
        (torch.tensor([-1, 1]), [None, 1]),
        (torch.tensor([0, 3]), [None, None]),
        (torch.tensor([-2, 1]), [None, None]),
        (torch.tensor([0.0, 1.0]), [None, None]),
        (torch.tensor([[0], [1]]), [None, None]),
        (torch.tensor([0, 1, 1]), [None, None]),
        (None, [None, None]),
    ],
)
def test_what_counts_as_classes(labels: Tensor | None, read: list[int | None]) -> None:
    assert classes_if_any(labels, 2, 3) == read
    assert classes_if_any(labels, 2, 1) == [None, None], "one output has no classes"


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        (multi_hot(), r"labels of shape \(8, 3\) and dtype float32 for 8 points, and AllMargins starts from classes"),
        (X.sum(1), r"labels of shape \(8,\) and dtype float32"),
        (CLASSES.unsqueeze(1), r"labels of shape \(8, 1\) and dtype int64"),
        (CLASSES + 1, "label 3 for 3 outputs, and AllMargins starts from classes.*Accepted: 0 to 2"),
        (CLASSES - 5, "label -[345] for 3 outputs.*ignore_index="),
        (None, "no labels, which AllMargins starts from"),
    ],
)
def test_what_a_functional_that_starts_from_labels_refuses(targets: Tensor | None, says: str, tmp_path: Path) -> None:
    todo = r".*batch_to_inputs=.*Vector\(\) for regression.*Logit\(0\).*AllLogits\(\)"
    problem = LocalLipschitz(LinfBall(RADIUS))
    model = Module(Task(3, CLASSES, lambda z, y: z.square().mean(), AllMargins()))
    with pytest.raises(InvalidInput, match=says + todo):
        LipschitzPenalty(model.net, problem)(X, targets)
    with pytest.raises(InvalidInput, match=says + todo):
        audit(model.net, AuditPlan(problem, ("affine_relu",)), X, targets)
    batch = X if targets is None else (X, targets)
    regularizer, ours = callbacks(AllMargins())
    says = says.replace("8", "[38]")  # an audit has three points
    with pytest.raises(InvalidInput, match=says + todo):
        fit(model, [batch], regularizer, default_root_dir=tmp_path)
    with pytest.raises(InvalidInput, match=says + todo):
        fit(model, [(X, CLASSES)], ours, validation=[batch], default_root_dir=tmp_path)


@pytest.mark.parametrize("output", [AllMargins(), AllPairs(), Logit()])
def test_one_output_has_no_classes(output: Output) -> None:
    net, y = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), (CLASSES > 1).long()
    problem = LocalLipschitz(LinfBall(RADIUS), output)
    for run in (
        lambda: LipschitzPenalty(net, problem)(X, y),
        lambda: audit(net, AuditPlan(problem, ("affine_relu",)), X, y),
    ):
        with pytest.raises(InvalidInput, match=r"Logit\(0\)"):
            run()
    with pytest.raises(InvalidInput, match=r"one output has no margins.*Logit\(0\)"):
        certified_radii(net, X, y)


def test_the_radius_is_one_of_classes() -> None:
    net = nn.Linear(2, 3)
    for wrong in (X.sum(1), CLASSES + 1, multi_hot()):
        with pytest.raises(InvalidInput, match="certified_radii starts from classes"):
            certified_radii(net, X, wrong)


class Some(Dataset):
    """Examples, most of them without a class."""

    def __init__(self, ignored: int) -> None:
        self.labels = torch.where(torch.arange(8) % 2 == 0, CLASSES, torch.tensor([-1, ignored]).repeat(4))

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return X[index], self.labels[index]


@pytest.mark.parametrize("ignored", [-100, 7, 0])
def test_points_without_a_class_are_left_out(ignored: int, tmp_path: Path) -> None:
    """The penalty of a batch is that of the others; the audit draws others, and says so."""
    data, settings = Some(ignored), {} if ignored == -100 else {"ignore_index": ignored}
    kept = (data.labels != -1) & (data.labels != ignored)
    task = Task(3, data.labels, lambda z, y: F.cross_entropy(z[y >= 1], y[y >= 1].clamp(max=2)), AllMargins())
    model, problem = Module(task), LocalLipschitz(LinfBall(RADIUS))
    by_hand = bounds_by_hand(model, X[kept], rows(AllMargins(), 3, data.labels[kept])).mean()
    term = LipschitzPenalty(model.net, problem, weight=1.0, points=Points(**settings))  # type: ignore[arg-type]
    assert term(X, data.labels).item() == pytest.approx(float(by_hand), rel=1e-5)
    assert term(X[~kept], data.labels[~kept]).item() == 0.0
    assert term.last is None

    regularizer = LipschitzRegularizer(problem, weight=WEIGHT, points=Points(2, fixed=True, **settings))  # type: ignore[arg-type]
    own = {"points": 8, "estimators": ("affine_relu",), "progress": False, "at_start": False, **settings}
    ours = LipschitzAudit(problem, **composed(**own))
    trainer = pl.Trainer(
        max_epochs=1, callbacks=[regularizer, ours], default_root_dir=tmp_path, logger=False, accelerator="cpu",
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="examples of the validation data have no class"):
        trainer.fit(model, DataLoader(data, batch_size=8), DataLoader(data, batch_size=4))
    assert sorted(r.label for r in exact(tmp_path)) == sorted(data.labels[kept].tolist())
    fixed = regularizer.term.points.fixed
    assert fixed is not None
    assert all(int(label) not in (-1, ignored) for label in fixed[1])  # type: ignore[union-attr]


def test_given_points_without_a_class_are_left_out() -> None:
    problem = LocalLipschitz(LinfBall(RADIUS))
    labels = torch.tensor([0, -1, 2, -100, 1, 1, 1, 1])
    given = LipschitzAudit(problem, points=(X, labels))._points
    assert given is not None
    assert torch.equal(given[0], X[[0, 2, 4, 5, 6, 7]])
    with pytest.raises(InvalidInput, match="AllMargins starts from"):
        LipschitzAudit(problem, points=X)
    with pytest.raises(InvalidInput, match="ignore_index='none'"):
        LipschitzAudit(problem, points=Points(8, ignore_index="none"))  # type: ignore[arg-type]


def test_only_points_without_a_class(tmp_path: Path) -> None:
    data = TensorDataset(X, torch.full((8,), -1))
    ours = callbacks(AllMargins())[1]
    with pytest.raises(InvalidInput, match="no point with a label but -1 and -100"):
        fit(Module(TASKS["counts"]), [(X, CLASSES)], ours, validation=[data[:]], default_root_dir=tmp_path)


class Data(pl.LightningDataModule):
    def train_dataloader(self) -> DataLoader:
        return feed([(X, CLASSES)])

    def val_dataloader(self) -> DataLoader:
        return feed([(X + 1, CLASSES)])


@pytest.mark.parametrize("place", ["datamodule", "module", "fit"])
def test_validation_data_that_nothing_validates_on(place: str, tmp_path: Path) -> None:
    class Own(Unvalidated):
        def val_dataloader(self) -> DataLoader:
            return feed([(X + 1, CLASSES)])

    model = (Own if place == "module" else Unvalidated)(TASKS["counts"])
    ours = callbacks(Logit(0))[1]
    trainer = pl.Trainer(
        max_epochs=1, callbacks=[ours], default_root_dir=tmp_path, logger=False, accelerator="cpu",
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    if place == "datamodule":
        trainer.fit(model, datamodule=Data())
    else:
        trainer.fit(model, feed([(X, CLASSES)]), feed([(X + 1, CLASSES)]) if place == "fit" else None)
    assert ours._points is not None
    assert torch.equal(ours._points[0], X[:3] + 1)


def test_no_validation_data_at_all(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no validation data.*points=\(x, y\).*training data"):
        fit(Unvalidated(TASKS["counts"]), [(X, CLASSES)], callbacks(Logit(0))[1], default_root_dir=tmp_path)


Named = namedtuple("Named", ["label", "image"])
Other = namedtuple("Other", ["first", "second"])


@dataclasses.dataclass
class Kept:
    x: Tensor
    target: Tensor
    weight: float = 1.0


@dataclasses.dataclass
class Foreign:
    pixels: Tensor


@pytest.mark.parametrize("batch", [Named(CLASSES, X), Other(X, CLASSES), Kept(X, CLASSES), (X, CLASSES, X)])
def test_batches_with_names(batch: Any) -> None:
    x, y = batch_to_inputs(batch)
    assert x is X
    assert y is CLASSES


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        ({"pixels": X}, "a dict with keys 'pixels'"),
        (Foreign(X), "a Foreign with fields 'pixels'"),
        ((torch.arange(8), X, CLASSES), r"shape \(8,\) and dtype int64"),
        ((["a"], X), "a list of list, Tensor"),
    ],
)
def test_batches_that_cannot_be_read(batch: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=says + ".*batch_to_inputs="):
        fit(
            Unvalidated(TASKS["counts"]), [batch], callbacks(Logit(0))[1], validation=[batch], default_root_dir=tmp_path
        )
