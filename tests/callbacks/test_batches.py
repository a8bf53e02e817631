"""Inputs read from batches of the usual forms, and networks found by their path."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lipreg.callbacks.batches import batch_to_inputs, find_network
from lipreg.errors import InvalidInput
from tests.callbacks.cases import Forwardless

X, Y = torch.rand(2, 4), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("batch", "labelled"),
    [
        (X, False),
        ((X,), False),
        ([X, Y], True),
        ((X, Y, "meta"), True),
        ((X, ["a", "b"]), False),
        ({"x": X, "y": Y}, True),
        ({"id": 3, "image": X, "label": Y}, True),
        ({"input": X, "target": Y}, True),
        ({"inputs": X, "labels": Y}, True),
        ({"inputs": X}, False),
    ],
)
def test_usual_batches_are_read(batch: Any, labelled: bool) -> None:
    x, y = batch_to_inputs(batch)
    assert x is X
    assert y is (Y if labelled else None)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ("text", "a str"),
        ([], "a list of nothing"),
        (((X, X), Y), "a tuple of tuple, Tensor"),
        ({"pixels": X, "y": Y}, "keys 'pixels', 'y'"),
        ({"x": [1.0]}, "keys 'x'"),
        (None, "a NoneType"),
    ],
)
def test_other_batches_are_refused(batch: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        batch_to_inputs(batch)


def test_networks_are_found_by_path() -> None:
    model = Forwardless()
    assert find_network(model, None) is model
    assert find_network(model, "model.net") is model.model["net"]
    assert find_network(model, "model.net.2") is model.model["net"][2]  # type: ignore[index]
    with pytest.raises(InvalidInput, match=r"Linear has no attribute under 'deeper'.*no submodules"):
        find_network(model, "model.net.2.deeper")
