"""Random points: from the batch, by the callback's own generator, the same after a resume."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, SequentialSampler

from lipreg import LipschitzPenalty
from lipreg.callbacks import LipschitzAudit, LipschitzRegularizer
from lipreg.callbacks.batches import batch_to_inputs
from lipreg.callbacks.reference_points import draw_reference_points
from lipreg.points import Points
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from tests.callbacks.cases import (
    RADIUS,
    Classifier,
    Stochastic,
    WatchedBall,
    batches,
    bounds_by_hand,
    feed,
    fit,
    regularizer,
)


def watched(**arguments: Any) -> LipschitzRegularizer:
    WatchedBall.placed.clear()
    return regularizer(problem=LocalLipschitz(region=WatchedBall(RADIUS)), **arguments)


def test_random_points_come_from_the_batch_and_leave_the_global_generator_alone() -> None:
    data, states = batches(6, size=8), []
    for callbacks in ([], [watched(points=3)]):
        torch.manual_seed(5)
        model = Stochastic()
        fit(model, data, *callbacks)
        states.append(model.states)
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    indices = []
    for placed, (x, _) in zip(WatchedBall.placed, data, strict=True):
        same = (placed.unsqueeze(1) == x).all(-1)
        assert same.sum(1).tolist() == [1, 1, 1]
        indices.append(tuple(same.nonzero()[:, 1].tolist()))
        assert len(set(indices[-1])) == 3
    assert len(set(indices)) > 1, "drawn anew for every batch"


def test_points_follow_the_seed() -> None:
    drawn = []
    for seed in (0, 0, 1):
        ours = watched(points=Points(3, seed=seed))
        torch.manual_seed(seed + 40)
        fit(Classifier(), batches(3, size=8), ours)
        drawn.append(torch.cat(WatchedBall.placed))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_labels_go_with_their_points() -> None:
    (batch,) = batches(1, size=8)
    model = Classifier(rate=0.0)
    ours = watched(points=3)
    run = fit(model, [batch], ours)
    chosen = (WatchedBall.placed[0].unsqueeze(1) == batch[0]).all(-1).nonzero()[:, 1]
    expected = bounds_by_hand(model.net, *batch)[chosen].mean().item()
    assert run.callback_metrics["lipreg/bound_mean"].item() == pytest.approx(expected, rel=1e-6)


def test_more_points_than_the_batch_are_all_of_it() -> None:
    (batch,) = batches(1)
    fit(Classifier(), [batch], watched(points=100))
    assert torch.equal(WatchedBall.placed[0], batch[0])


def test_an_optimizer_that_repeats_the_step_sees_one_choice_a_batch() -> None:
    class Newton(Classifier):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.LBFGS(self.parameters(), max_iter=3)

    fit(Newton(), batches(1, size=8), watched(points=2))
    assert len(WatchedBall.placed) > 1
    assert all(torch.equal(placed, WatchedBall.placed[0]) for placed in WatchedBall.placed)


def test_batches_of_several_sizes_may_pass_as_one() -> None:
    """As under a learning rate finder, which runs its steps without the callback's hooks."""
    penalty = LipschitzPenalty(Classifier().net, LocalLipschitz(region=LinfBall(RADIUS)), points=1)
    penalty.next_batch()
    (large,), (small,) = batches(1, size=60), batches(1, size=2)
    for x, y in (large, small, large):
        assert penalty.term(x, y) is not None


class Stream(IterableDataset):
    """Batches whose first entry is no tensor."""

    def __iter__(self) -> Any:
        return iter([{"id": ["a", "b"], "x": x, "y": y} for x, y in batches(3, size=2)])


class Indexed(Dataset):
    """Fetches the batch of a list of indices."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, indices: Any) -> Any:
        x, y = batches(1, size=8)[0]
        return x[indices], y[indices]


@pytest.mark.parametrize(
    "loader",
    [
        lambda: DataLoader(batches(3, size=2), batch_size=None),  # type: ignore[arg-type]
        lambda: DataLoader(Indexed(), sampler=BatchSampler(SequentialSampler(Indexed()), 2, False), batch_size=None),
        lambda: DataLoader(Stream(), batch_size=None),
    ],
    ids=["batches", "batch sampler", "stream"],
)
def test_fixed_points_come_from_loaders_of_whole_batches_too(loader: Any) -> None:
    x, y = draw_reference_points(loader(), "training", 3, 0, batch_to_inputs, "test")
    batch = next(iter(loader()))
    first_x, first_y = batch_to_inputs(batch)
    assert x.shape == (3, 4)
    assert torch.equal(x[:2], first_x)
    assert y is not None
    assert first_y is not None
    assert torch.equal(y[:2], first_y)


def test_fixed_points_of_several_loaders_come_from_their_batches_together() -> None:
    class Two(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch["first"], batch_idx)

        def train_dataloader(self) -> Any:
            first, second = batches(2), batches(4, size=2)
            return {"first": feed(first), "second": feed(second)}

    ours = regularizer(points=Points(5, fixed=True, batch_to_inputs=lambda batch: batch["first"]))
    run = fit(Two(), None, ours, limit_train_batches=2)
    assert ours.term.points.fixed is not None
    assert torch.equal(ours.term.points.fixed[0], batches(2)[0][0][:5])
    assert run.callback_metrics["lipreg/bound_mean"] > 0


def test_fixed_and_audited_points_are_what_steps_see(tmp_path: Path) -> None:
    """A module that normalises on the device: points of the same data are the same, fixed or of the batch."""

    class Normalising(Classifier):
        def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return batch[0] - 0.5, batch[1]

        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            if self.trainer.training:
                augmented.append(len(batch[0]))
            return batch[0] / 0.25, batch[1]

        def validation_step(self, batch: Any, batch_idx: int) -> None: ...

    augmented: list[int] = []
    model, data = Normalising(rate=0.0), batches(1)
    audit = LipschitzAudit(LocalLipschitz(region=LinfBall(RADIUS)), points=6, folder=str(tmp_path))
    runs = [regularizer(points=Points(6, fixed=True)), regularizer(name="all")]
    run = fit(model, data, *runs, audit, validation=data)
    metrics = run.callback_metrics
    assert sum(augmented) == 12, "the fixed points and the batch, and no audited point"
    assert metrics["lipreg/bound_mean"].item() == pytest.approx(metrics["all/bound_mean"].item(), rel=1e-6)
    logits = model.net((data[0][0] - 0.5) / 0.25)
    right = logits.argmax(1) == data[0][1]
    assert [point.correct for point in audit.last] == right.tolist()
    others = logits.masked_fill(torch.nn.functional.one_hot(data[0][1], 3).bool(), -torch.inf).amax(1)
    margins = logits.gather(1, data[0][1].unsqueeze(1)).squeeze(1) - others
    assert [point.margin for point in audit.last] == pytest.approx(margins.tolist(), rel=1e-4)


def test_a_resumed_run_draws_the_points_it_would_have_drawn(tmp_path: Path) -> None:
    start, data = Classifier(), batches(3, size=8)
    whole, half, rest = (copy.deepcopy(start) for _ in range(3))
    fit(whole, data, regularizer(points=2), max_epochs=2)
    stopped = fit(half, data, regularizer(points=2))
    stopped.save_checkpoint(tmp_path / "half.ckpt")
    fit(rest, data, regularizer(points=2), max_epochs=2, ckpt_path=str(tmp_path / "half.ckpt"))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), rest.parameters(), strict=True))

    forgetful = copy.deepcopy(half)
    fit(forgetful, data, regularizer(points=2))
    assert not torch.equal(next(forgetful.parameters()), next(whole.parameters())), (
        "the choice of points must matter here"
    )


def test_state_keys_tell_settings_apart() -> None:
    different = [
        regularizer(),
        regularizer(bound="fastlip"),
        regularizer(penalty="log"),
        regularizer(points=4),
        regularizer(module="net"),
        regularizer(points=Points(seed=1)),
        regularizer(name="second"),
        regularizer(problem=LocalLipschitz(region=LinfBall(0.1))),
    ]
    assert len({callback.state_key for callback in different}) == len(different)
    assert regularizer(weight=1.0).state_key == regularizer(weight=2.0).state_key
