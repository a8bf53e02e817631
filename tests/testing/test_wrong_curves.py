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

    inflections = (Extreme(0.0, 1.0),)
    kinds = ("convex", "concave")
    curvature_extrema = (Extreme(-0.5, STEEP), Extreme(0.5, -STEEP))
    asymptotic_slopes, limits = (0.0, 0.0), (-1.0, 1.0)

    def value(self, z: Tensor) -> Tensor:
        return z / torch.hypot(z, torch.ones_like(z))

    def slope(self, z: Tensor) -> Tensor:
        return torch.hypot(z, torch.ones_like(z)) ** -3

    def curvature(self, z: Tensor) -> Tensor:
        return -3.0 * z * torch.hypot(z, torch.ones_like(z)) ** -5

    def value_decimal(self, z: Decimal, places: Any) -> Decimal:
        return z / (1 + z * z).sqrt()

    def slope_decimal(self, z: Decimal, places: Any) -> Decimal:
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
    "kinds too few": ({"kinds": ("convex",)}, r"1 kinds where its inflections leave 2 pieces"),
    "no inflections": (
        {"inflections": (), "kinds": ("convex",)},
        r"kinds: convex from -inf to inf, where its second derivative",
    ),
    "a bend's value": (
        {"inflections": (Extreme(0.0, 0.9),)},
        r"inflections: 0\.9 at 0\.0, beside which its derivative is 1",
    ),
    "a bend's place": ({"inflections": (Extreme(1e-7, 1.0),)}, r"kinds: convex from -inf to 1e-07, where"),
    "a bend nearly": (
        {"inflections": (Extreme(0.0, 1.0 + 1e-12),)},
        r"inflections: 1\.000000000001 at 0\.0, where its derivative is 1",
    ),
    "no curvature extrema": (
        {"curvature_extrema": ()},
        r"curvature_extrema: none between -inf and inf, where its second derivative grows",
    ),
    "curvature_extrema": (
        {"curvature_extrema": (Extreme(-0.5, STEEP), Extreme(0.5, -0.5 * STEEP))},
        r"curvature_extrema: -0\.42\d* at 0\.5",
    ),
    "curvature extrema in another order": (
        {"curvature_extrema": Root.curvature_extrema[::-1]},
        r"curvature_extrema are not in order",
    ),
    "a turn that is none": (
        {"extrema": (Extreme(0.3, 0.7),)},
        r"extrema: 0\.7 at 0\.3, beside which its value is 0\.28",
    ),
    "limits": ({"limits": (-0.9, 0.9)}, r"limits at -1e\+300 is -0\.9, and value_decimal at -inf -1\.0"),
    "no limits": ({"limits": (-1.0, math.inf)}, r"limits: inf at inf, where value_decimal at 1e\+300 is 1"),
    "asymptotic_slopes": (
        {"asymptotic_slopes": (0.1, 0.1)},
        r"asymptotic_slopes at -1e\+300 is 0\.1, and slope_decimal at -inf 0\.0",
    ),
    "curvature": (
        {"curvature": lambda self, z: -z * torch.hypot(z, torch.ones_like(z)) ** -5},
        r"curvature at .* difference of",
    ),
    "value_decimal": ({"value_decimal": lambda self, z, places: z}, r"value at .*, and value_decimal -20\.0"),
    "slope_decimal": (
        {"slope_decimal": lambda self, z, places: Decimal(1)},
        r"slope_decimal at .* is 1\.0, and a difference of value_decimal",
    ),
    "few places": (
        {"value_decimal": lambda self, z, places: Decimal(float(z) / math.hypot(1.0, z))},
        r"slope_decimal at .*, and a difference of value_decimal 0\.0",
    ),
    "overflow": (
        {"value": lambda self, z: z / (1.0 + z * z).sqrt()},
        r"value at -1e\+300 is -0\.0, and value_decimal -1\.0",
    ),
    "equality": ({"__eq__": object.__eq__, "__hash__": object.__hash__}, r"a copy is not equal to it"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_one_is_found(wrong: str) -> None:
    changes, says = WRONG[wrong]
    with pytest.raises(CheckFailed, match=f"Layer, curves: .*{says}"):
        checked(type("Wrong", (Root,), changes)(), aspects=["curves"])
