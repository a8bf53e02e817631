"""The factor T with which logits predict labels best: a minimum of a convex function, and how well so many points fix it.

Source: Guo, Pleiss, Sun & Weinberger 2017 (temperature scaling; T here is one over their temperature).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot, softplus

from lipreg.records import CalibrationRecord

LARGEST_ERROR = 0.5
"""A factor is undefined where its relative standard error is larger: it is not known to be different from 0."""
HOLDING = 3.0
"""A factor is undefined where it depends on fewer points: its standard error then says little about others."""
FEW = 5.0
"""So many points that hold a factor make its standard error sqrt(2) times as large: they say little of others."""
SMALLEST = 1e-150
"""Of factors; 1 over it is the largest."""
_STEPS = 200
"""Of bisection: more than the floats that lie between two ends that differ by a factor of 2."""

Loss = Callable[[float], tuple[Tensor, Tensor, Tensor]]
"""T -> the loss of T * logits at every point, and its first and second derivative in T, ``(points,)`` each."""


@dataclass(frozen=True)
class FitTarget:
    """What a factor is fitted to: logits that are divided by ``scale``, so that whatever their size it is near 1.

    Attributes:
        loss: of the divided logits.
        scale: the largest of what the loss reads.
        at_infinity: each point's loss over T, as T grows without bound.
        right: which share of a point is classified correctly.
        frequencies: the loss of what tells nothing but how frequent the labels are.
    """

    loss: Loss
    scale: float
    at_infinity: Tensor
    right: Tensor
    frequencies: Tensor


def of_classes(logits: Tensor, y: Tensor) -> FitTarget:
    """NLL of a softmax."""
    ahead = logits - logits.gather(1, y.unsqueeze(1))  # of the rivals: a common shift of logits changes nothing
    scale, rivals = float(ahead.abs().max()), ahead.masked_fill(one_hot(y, ahead.shape[1]).bool(), -torch.inf)
    ahead = ahead / (scale or 1.0)

    def loss(factor: float) -> tuple[Tensor, Tensor, Tensor]:
        share = (factor * ahead).softmax(1)
        mean = (share * ahead).sum(1)
        spread = (share * (ahead - mean.unsqueeze(1)).square()).sum(1)
        return cross_entropy(factor * ahead, y, reduction="none"), mean, spread

    frequent = y.bincount(minlength=ahead.shape[1]).double() / len(y)
    return FitTarget(loss, scale, ahead.amax(1), (rivals.amax(1) < 0).double(), -frequent[y].log())


def of_labels(logits: Tensor, targets: Tensor) -> FitTarget:
    """NLL of sigmoids, summed over the labels of a point."""
    signed = (1 - 2 * targets) * logits  # > 0 where the label is missed
    scale = float(signed.abs().max())
    signed = signed / (scale or 1.0)

    def loss(factor: float) -> tuple[Tensor, Tensor, Tensor]:
        share = (factor * signed).sigmoid()
        slope, bend = share * signed, share * (1 - share) * signed.square()
        return softplus(factor * signed).sum(1), slope.sum(1), bend.sum(1)

    frequent = targets.mean(0)
    told = torch.where(targets == 1, frequent, 1 - frequent)
    return FitTarget(loss, scale, signed.clamp(min=0).sum(1), (signed < 0).double().mean(1), -told.log().sum(1))


def fitted(record: CalibrationRecord, task: FitTarget) -> CalibrationRecord:
    """The record with the factor at which the mean loss, which is convex in it, is smallest.

    Undefined, with a reason: where none above 0 is finite and best; where the outputs tell no more than how frequent the
    labels are, by two standard errors; and where so few points fix it that others might give any other.
    """
    loss, record = task.loss, replace(record, accuracy=float(task.right.mean()))
    raw = finite(float(loss(task.scale)[0].mean())) if math.isfinite(task.scale) else None
    record = replace(record, raw_loss=raw)
    if not math.isfinite(task.scale):
        return replace(record, why="differences of outputs are beyond the range of numbers")
    if float(loss(0.0)[1].mean()) >= 0:
        return replace(record, why="the outputs tell no more than chance: no factor above 0 is better than 0")
    if float(task.at_infinity.mean()) <= 0:
        return replace(record, why="every point is classified correctly, or tied, so that no finite factor is best")
    best = _least(lambda factor: float(loss(factor)[1].mean()))
    losses, slopes, bends = loss(best)
    gain, count = task.frequencies - losses, len(losses)
    if float(gain.mean()) <= 2 * float(gain.std(correction=0)) / math.sqrt(count):
        return replace(record, why="the outputs tell no more than how frequent the labels are")
    # those that are misclassified hold the factor down: so many points of equal weight would do as much
    down = slopes.clamp(min=0)
    holding = float(down.sum().square() / down.square().sum())
    if holding < HOLDING:
        return replace(record, why=f"T depends on {holding:.1f} misclassified points, where {HOLDING:g} are wanted")
    # of the minimiser of a mean over so many drawn points, as if each had been left out; few that hold it say less of others
    left_out = -slopes / ((bends.sum() - bends) * best) * math.sqrt(1 + FEW / holding)
    error, factor = float(left_out.square().sum().sqrt()), best / task.scale
    if not error <= LARGEST_ERROR:
        return replace(
            record, why=f"{count} points determine T only to {error:.0%}" if error < 1e6 else "nothing fixes T"
        )
    if not SMALLEST <= factor <= 1 / SMALLEST:
        return replace(record, why="T is beyond the range of numbers")
    return replace(
        record,
        factor=factor,
        error=error,
        loss=float(losses.mean()),
        loss_error=float(losses.std(correction=0)) / math.sqrt(count),
        influences=[float(f"{value:.6g}") for value in left_out.tolist()],
    )


def _least(slope: Callable[[float], float]) -> float:
    """Where a slope that rises with its argument, from below 0 at 0 to above 0, is no longer below 0."""
    low = high = 1.0
    while slope(high) < 0 and high < 1 / SMALLEST:
        low, high = high, 2 * high
    while slope(low) >= 0 and low > SMALLEST:
        low, high = low / 2, low
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return high


def finite(value: float) -> float | None:
    """A number, or None for what no record can hold."""
    return value if math.isfinite(value) else None
