"""The synthetic set: its points, its classes, and that the seed alone decides them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from experiments.data import ClustersDataModule
from lipreg.errors import InvalidInput


def prepared(**arguments: Any) -> ClustersDataModule:
    data = ClustersDataModule(**arguments)
    data.setup("fit")
    return data


def test_each_point_has_the_class_of_its_nearest_leader() -> None:
    data = prepared(dimension=3, leaders=6, classes=3, train_size=50, validation_size=20)
    x, y = data.train_set.tensors
    assert x.shape == (50, 3) and x.min() >= 0 and x.max() <= 1
    for part in (data.train_set, data.validation_set):
        for point, label in zip(*part.tensors, strict=True):
            distances = [float(((point.double() - leader.double()) ** 2).sum()) for leader in x[:6]]
            assert int(label) == distances.index(min(distances)) % 3
    assert y[:6].tolist() == [0, 1, 2, 0, 1, 2], "a leader is its own"


def test_the_seed_decides_all_of_it() -> None:
    one, same, other = (prepared(seed=seed, train_size=30) for seed in (0, 0, 1))
    assert torch.equal(one.train_set.tensors[0], same.train_set.tensors[0])
    assert not torch.equal(one.train_set.tensors[0], other.train_set.tensors[0])
    first, again = (next(iter(data.train_dataloader())) for data in (one, same))
    assert torch.equal(first[0], again[0])


@pytest.mark.parametrize(
    "arguments, says",
    [
        ({"dimension": 0}, "dimension=0"),
        ({"classes": 1}, "classes=1"),
        ({"leaders": 2, "classes": 3}, "leaders=2"),
        ({"leaders": 9, "train_size": 8}, "up to 8"),
    ],
)
def test_what_cannot_be_drawn(arguments: dict[str, int], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        ClustersDataModule(**arguments)
