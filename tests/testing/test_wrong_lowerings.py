"""Lowerings with the layer's values whose derivatives at ties, or values in training mode, are another function's: found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lipreg.graph import Example, lowers
from lipreg.graph.registry import Refusal
from lipreg.linalg import gather
from lipreg.testing import CheckFailed, check_lowering


class Kinked(nn.Module):
    """0.3 z where z < 0, and z elsewhere."""

    def forward(self, z: Tensor) -> Tensor:
        return nn.functional.leaky_relu(z, 0.3)


class LargerHalf(nn.Module):
    """The larger of each entry of the first half and its neighbour in the second."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.maximum(z[:, :2], z[:, 2:])


class Learned(nn.Module):
    """max(z, t) for a learned t."""

    def __init__(self) -> None:
        super().__init__()
        self.least = nn.Parameter(torch.tensor([0.25, -0.5, 0.0, 1.0]))

    def forward(self, z: Tensor) -> Tensor:
        return torch.maximum(z, self.least)


def example(layer: Callable[[], nn.Module], width: int = 4) -> Example:
    return Example(lambda: nn.Sequential(nn.Linear(3, 4), layer(), nn.Linear(width, 2)), (3,))


def _less(context: Any, one: Any, other: Any) -> Any:
    return one.plus(other.scaled(context.tensor(-1.0)))


def _both_sides(context: Any, module: nn.Module, z: Any) -> Any:
    """relu(z) - 0.3 relu(-z): each of the two is flat at 0."""
    below = context.relu(z.scaled(context.tensor(-1.0)))
    return context.relu(z).plus(below.scaled(context.tensor(-0.3)))


def _one_side(context: Any, module: nn.Module, z: Any) -> Any:
    return z.scaled(context.tensor(0.3)).plus(context.relu(z).scaled(context.tensor(0.7)))


def _halves(context: Any, z: Any) -> tuple[Any, Any]:
    like = context.tensor(1.0)
    one, other = (gather(torch.arange(2) + start, torch.Size([4]), torch.Size([2]), like) for start in (0, 2))
    return z.then(one), z.then(other)


def _split(context: Any, z: Any) -> Any:
    """relu(z) - relu(-z), which is z, and has no slope at 0."""
    return _less(context, context.relu(z), context.relu(z.scaled(context.tensor(-1.0))))


def _larger(context: Any, module: nn.Module, z: Any) -> Any:
    a, b = _halves(context, z)
    return b.plus(context.relu(_less(context, a, b)))


def _larger_by_parts(context: Any, module: nn.Module, z: Any) -> Any:
    """The mean, and half of a difference, twice: where both are equal, a and b have slopes 3/2 and -1/2."""
    a, b = _halves(context, z)
    d = _less(context, a, b)
    size = context.relu(d).plus(context.relu(d.scaled(context.tensor(-1.0))))
    twice = a.plus(b).plus(d.scaled(context.tensor(2.0))).plus(_split(context, d).scaled(context.tensor(-2.0)))
    return twice.plus(size).scaled(context.tensor(0.5))


def _around(context: Any, module: Any, z: Any) -> Any:
    least = context.tensor(module.least)
    return context.relu(z.shifted(-least)).shifted(least)


def _around_by_parts(context: Any, module: Any, z: Any) -> Any:
    """2 z - t - (z - t) + relu(t - z), of which z - t is written as something that has no slope where it is 0."""
    gain = z.shifted(-context.tensor(module.least))
    below = context.relu(gain.scaled(context.tensor(-1.0)))
    return _less(context, z.plus(gain).plus(below), _split(context, gain))


@pytest.mark.parametrize(
    ("layer", "width", "right", "wrong"),
    [
        (Kinked, 4, _one_side, _both_sides),
        (LargerHalf, 2, _larger, _larger_by_parts),
        (Learned, 4, _around, _around_by_parts),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_derivatives_that_are_wrong_at_ties_alone_are_found(
    layer: type[nn.Module], width: int, right: Callable[..., Any], wrong: Callable[..., Any]
) -> None:
    lowers(layer, example=example(layer, width))(right)
    check_lowering(layer)
    lowers(layer, example=example(layer, width), replace=True)(wrong)
    check_lowering(layer, aspects=["values", "gradients", "jacobians", "constants"])
    says = r"ties: the (live|frozen) graph's (gradient|slope) at x=.*, a kink or a tie of a pool, is none"
    with pytest.raises(CheckFailed, match=f"{layer.__name__}, {says}"):
        check_lowering(layer)


# ---------------------------------------------------------------- modes


class Stronger(nn.Module):
    """Twice its input while it is trained."""

    def forward(self, z: Tensor) -> Tensor:
        return 2.0 * z if self.training else 1.0 * z


class Centred(nn.Module):
    """Without the mean of its batch while it is trained."""

    def forward(self, z: Tensor) -> Tensor:
        return z - z.mean(0) if self.training else 1.0 * z


class Noisy(nn.Module):
    """With noise while it is trained."""

    def forward(self, z: Tensor) -> Tensor:
        return z + torch.randn_like(z) if self.training else 1.0 * z


def _of_evaluation(context: Any, module: nn.Module, z: Any) -> Any:
    return z.scaled(context.tensor(1.0))


def _refused(context: Any, module: nn.Module, z: Any) -> Any:
    if context.training:
        raise Refusal("settings", "it computes something else while it is trained")
    return z.scaled(context.tensor(1.0))


def _as_trained(context: Any, module: nn.Module, z: Any) -> Any:
    return z.scaled(context.tensor(2.0 if context.training else 1.0))


@pytest.mark.parametrize(
    ("layer", "lowering", "says"),
    [
        (
            Stronger,
            _of_evaluation,
            "in training mode the graph's values and the module's; .* context.training refuses it",
        ),
        (Stronger, _refused, ""),
        (Stronger, _as_trained, ""),
        (Centred, _of_evaluation, "in training mode the module's values of points alone and together; .* refuses it"),
        (Centred, _refused, ""),
        (Noisy, _of_evaluation, ""),
        (Noisy, _as_trained, "in training mode the graph's values and the module's at evaluation"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_a_layer_computes_in_training_mode_is_lowered_or_refused(
    layer: type[nn.Module], lowering: Callable[..., Any], says: str
) -> None:
    lowers(layer, example=example(layer))(lowering)
    if not says:
        check_lowering(layer)
        return
    check_lowering(layer, aspects=["values", "gradients", "jacobians"])
    with pytest.raises(CheckFailed, match=f"(?s){layer.__name__}, training mode: {says}"):
        check_lowering(layer)
