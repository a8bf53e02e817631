"""A penalty at every k-th batch alone: k times as heavy there, nothing at the others, and in step after a resume."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg import LipschitzPenalty
from lipreg.errors import InvalidInput
from lipreg.schedules import Target
from tests.callbacks.cases import (
    PROBLEM,
    WEIGHT,
    Classifier,
    Gradients,
    assert_gradients,
    batches,
    bounds_by_hand,
    fit,
    regularizer,
)


def by_hand(net: nn.Sequential, groups: list[Any], every: int) -> list[list[Tensor]]:
    """Gradients of descent at rate 0.1 on the mean loss of each group, the penalty at every so many batches."""
    net, seen, number = copy.deepcopy(net), [], 0
    for group in groups:
        losses = []
        for x, y in group:
            weight = 0.0 if number % every else every * WEIGHT
            losses.append(F.cross_entropy(net(x), y) + weight * bounds_by_hand(net, x, y).mean())
            number += 1
        seen.append(list(torch.autograd.grad(torch.stack(losses).mean(), list(net.parameters()))))
        with torch.no_grad():
            for parameter, gradient in zip(net.parameters(), seen[-1], strict=True):
                parameter -= 0.1 * gradient
    return seen


@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize("every", [2, 3])
def test_gradients_are_those_by_hand(every: int, accumulate: int) -> None:
    model, data, notes = Classifier(), batches(6), Gradients()
    groups = [data[i : i + accumulate] for i in range(0, len(data), accumulate)]
    expected = by_hand(model.net, groups, every)
    run = fit(model, data, regularizer(every=every), notes, accumulate_grad_batches=accumulate)
    assert_gradients(notes.seen, expected)
    assert run.callback_metrics["lipreg/weight"].item() == pytest.approx(WEIGHT), "the share of each batch"


def test_batches_between_are_left_as_they_are() -> None:
    net, data = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3)), batches(5)
    whole = LipschitzPenalty(net, PROBLEM, weight=WEIGHT)
    penalty = LipschitzPenalty(net, PROBLEM, weight=WEIGHT, every=3)
    for number, (x, y) in enumerate(data):
        term, there = penalty(x, y), number in (0, 3)
        assert term.requires_grad == there
        assert term.item() == pytest.approx(3 * whole(x, y).item() if there else 0.0, rel=1e-6)
        assert (penalty.last is not None) == there
        if penalty.last is not None:
            assert penalty.last.weight == WEIGHT


def test_the_target_schedule_moves_by_what_was_seen() -> None:
    net, (x, y) = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3)), batches(1)[0]
    bound = LipschitzPenalty(net, PROBLEM, weight=1.0)(x, y).item()
    penalty = LipschitzPenalty(net, PROBLEM, weight=1.0, every=2, schedule=Target(bound / 2, rate=1.0))
    assert [penalty(x, y).item() / bound for _ in range(5)] == pytest.approx([2, 0, 4, 0, 8], rel=1e-5)


def test_the_callback_follows_what_was_seen() -> None:
    """A bound is followed once, not again at the batches after it."""
    runs = [regularizer(every=every, schedule=Target(1e-3, rate=0.5, high=1e9)) for every in (1, 3)]
    model = Classifier(rate=0.0)
    for run in runs:
        fit(model, batches(1) * 7, run)
    one, three = (run.term._factor for run in runs)
    assert three == pytest.approx(one ** (2 / 6), rel=1e-4), "after the batches 0 and 3, against 0 to 5"


def test_a_resumed_run_keeps_in_step(tmp_path: Path) -> None:
    """Four batches an epoch and every third of them: the second epoch begins in the middle of a round."""
    start, data, settings = Classifier(), batches(4, size=8), {"every": 3, "points": 2}
    whole, half, rest = (copy.deepcopy(start) for _ in range(3))
    fit(whole, data, regularizer(**settings), max_epochs=2)
    stopped = fit(half, data, regularizer(**settings))
    stopped.save_checkpoint(tmp_path / "half.ckpt")
    fit(rest, data, regularizer(**settings), max_epochs=2, ckpt_path=str(tmp_path / "half.ckpt"))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), rest.parameters(), strict=True))


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "2"])
def test_refusals(every: Any) -> None:
    with pytest.raises(InvalidInput, match="every"):
        regularizer(every=every)


def test_state_keys_tell_it() -> None:
    assert regularizer(every=2).state_key != regularizer().state_key
