"""A curve with a wrong formula or table is found by the check of the layer that uses it, in words that name which."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lipreg.curves import Curve, Extreme
from lipreg.graph import Example, lowers
from lipreg.testing import CheckFailed, check_lowering
from lipreg.testing.curves import check_curve
from tests.curves.test_curves import CURVES

STEEP = 1.5 * 1.25**-2.5


@dataclass(frozen=True)
class Root(Curve):
    """z / sqrt(1 + z^2)."""

    bends = (Extreme(0.0, 1.0),)
    kinds = ("convex", "concave")
    peaks = (Extreme(-0.5, STEEP), Extreme(0.5, -STEEP))
    flat, limits = (0.0, 0.0), (-1.0, 1.0)

    def value(self, z: Tensor) -> Tensor:
        return z / torch.hypot(z, torch.ones_like(z))

    def slope(self, z: Tensor) -> Tensor:
        return torch.hypot(z, torch.ones_like(z)) ** -3

    def curvature(self, z: Tensor) -> Tensor:
        return -3.0 * z * torch.hypot(z, torch.ones_like(z)) ** -5

    def value_in(self, z: Decimal, places: Any) -> Decimal:
        return z / (1 + z * z).sqrt()

    def slope_in(self, z: Decimal, places: Any) -> Decimal:
        return 1 / ((1 + z * z) * (1 + z * z).sqrt())


class Layer(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / (1.0 + x * x).sqrt()


def checked(curve: Curve, **how: Any) -> None:
    def lower(context: Any, module: Layer, x: Any) -> Any:
        return context.curved(x, curve)

    example = Example(lambda: nn.Sequential(nn.Linear(3, 4), Layer(), nn.Linear(4, 2)), (3,))
    lowers(Layer, example=example, replace=True)(lower)
    check_lowering(Layer, **how)


def test_a_right_one_passes() -> None:
    checked(Root())


@pytest.mark.parametrize("curve", CURVES, ids=repr)
def test_those_of_lipreg_pass(curve: Curve) -> None:
    check_curve(curve, "ours")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "kinds swapped": ({"kinds": ("concave", "convex")}, r"kinds: concave from -inf to 0, where its second derivative"),
    "kinds too few": ({"kinds": ("convex",)}, r"1 kinds where its bends leave 2 pieces"),
    "no bends": ({"bends": (), "kinds": ("convex",)}, r"kinds: convex from -inf to inf, where its second derivative"),
    "a bend's value": ({"bends": (Extreme(0.0, 0.9),)}, r"bends: 0\.9 at 0\.0, beside which its derivative is 1"),
    "a bend's place": ({"bends": (Extreme(1e-7, 1.0),)}, r"kinds: convex from -inf to 1e-07, where"),
    "a bend nearly": (
        {"bends": (Extreme(0.0, 1.0 + 1e-12),)},
        r"bends: 1\.000000000001 at 0\.0, where its derivative is 1",
    ),
    "no peaks": ({"peaks": ()}, r"peaks: none between -inf and inf, where its second derivative grows"),
    "peaks": ({"peaks": (Extreme(-0.5, STEEP), Extreme(0.5, -0.5 * STEEP))}, r"peaks: -0\.42\d* at 0\.5"),
    "peaks in another order": ({"peaks": Root.peaks[::-1]}, r"peaks are not in order"),
    "a turn that is none": ({"turns": (Extreme(0.3, 0.7),)}, r"turns: 0\.7 at 0\.3, beside which its value is 0\.28"),
    "limits": ({"limits": (-0.9, 0.9)}, r"limits at -1e\+300 is -0\.9, and value_in at -inf -1\.0"),
    "no limits": ({"limits": (-1.0, math.inf)}, r"limits: inf at inf, where value_in at 1e\+300 is 1"),
    "flat": ({"flat": (0.1, 0.1)}, r"flat at -1e\+300 is 0\.1, and slope_in at -inf 0\.0"),
    "curvature": (
        {"curvature": lambda self, z: -z * torch.hypot(z, torch.ones_like(z)) ** -5},
        r"curvature at .* difference of",
    ),
    "value_in": ({"value_in": lambda self, z, places: z}, r"value at .*, and value_in -20\.0"),
    "slope_in": (
        {"slope_in": lambda self, z, places: Decimal(1)},
        r"slope_in at .* is 1\.0, and a difference of value_in",
    ),
    "few places": (
        {"value_in": lambda self, z, places: Decimal(float(z) / math.hypot(1.0, z))},
        r"slope_in at .*, and a difference of value_in 0\.0",
    ),
    "overflow": (
        {"value": lambda self, z: z / (1.0 + z * z).sqrt()},
        r"value at -1e\+300 is -0\.0, and value_in -1\.0",
    ),
    "equality": ({"__eq__": object.__eq__, "__hash__": object.__hash__}, r"a copy is not equal to it"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_one_is_found(wrong: str) -> None:
    changes, says = WRONG[wrong]
    with pytest.raises(CheckFailed, match=f"Layer, curves: .*{says}"):
        checked(type("Wrong", (Root,), changes)(), aspects=["curves"])
