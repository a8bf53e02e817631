"""What an audit was asked for and the training does not have: a metric, more points."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from lipreg.callbacks.batches import batch_to_inputs
from lipreg.callbacks.reference_points import LabelsRead, draw_reference_points
from lipreg.outputs import AllMargins
from tests.callbacks.test_runs_of_trainings import audit, dataset, train

NEVER = "had a finite value in no epoch"


def told_of(folder: Path, said: str, metric: str | None, **settings: int) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ours = audit(points=2, metric=metric, every_n_epochs=9, at_start=False, at_end=False)
        train(folder, ours, limit_train_batches=1, **settings)
    return [str(w.message) for w in caught if said in str(w.message)]


def test_a_metric_that_was_never_logged_is_named_with_those_that_were(tmp_path: Path) -> None:
    (told,) = told_of(tmp_path, NEVER, "val_acuracy")
    assert "metric='val_acuracy'" in told and "Logged were: " in told and told.endswith("Did you mean 'val_accuracy'?")
    (told,) = told_of(tmp_path, NEVER, "f1")
    assert "val_accuracy" in told and "Did you mean" not in told


@pytest.mark.parametrize("metric", [None, "val_accuracy"])
def test_a_metric_that_the_last_epoch_alone_logs_is_one(tmp_path: Path, metric: str | None) -> None:
    assert told_of(tmp_path, NEVER, metric, check_val_every_n_epoch=2) == []


def test_more_points_than_there_are_warns_with_both_numbers(tmp_path: Path) -> None:
    there = len(dataset())
    with pytest.warns(UserWarning, match=rf"LipschitzAudit: points=100, and the validation data has {there} points"):
        train(tmp_path, audit(points=100, at_start=False, at_end=False, every_n_epochs=9), max_epochs=1)


@pytest.mark.parametrize("stream", [False, True])
def test_points_without_a_class_do_not_count(stream: bool) -> None:
    x, y = torch.rand(5, 2), torch.tensor([0, -1, 1, -1, 0])
    data = TensorDataset(x, y)
    loader = DataLoader([data[:2], data[2:]], batch_size=None) if stream else DataLoader(data, batch_size=2)
    labels = LabelsRead(AllMargins())
    with pytest.warns(UserWarning, match="points=4, and the training data has 3 points with a class"):
        points, _ = draw_reference_points(loader, "training", 4, 0, batch_to_inputs, "test", labels)
    assert len(points) == 3
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*points=3")
        assert len(draw_reference_points(loader, "training", 3, 0, batch_to_inputs, "test", labels)[0]) == 3
