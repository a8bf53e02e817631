"""A curve whose derivative jumps as the sum of a smooth curve and of ramps that start at its kinks.

With ELU's e = max(z, 0) + min(e^z - 1, 0), whose derivative is 1 on both sides of 0, and s the parabola z (z + 3) / 6
between -3 and 3 with its tangents beyond,

    ELU with alpha(z) = alpha e(z) + (1 - alpha) relu(z),      Hardswish(z) = s(z) - relu(z - 3) / 2 - relu(-z - 3) / 2.
"""

from __future__ import annotations

from dataclasses import dataclass

from lipreg.curves.curve import Curve
from lipreg.curves.functions import Elu
from lipreg.curves.gated import BentHardswish, Hardswish


@dataclass(frozen=True)
class Ramp:
    """sum_i weights_i relu(side (z - at)), a function that is 0 on one side of its kink.

    Attributes:
        at: the kink.
        side: 1 for a ramp to the right of it, -1 for one to the left.
        weights: summands of the ramp's slope, whose sum need not be a float64 number.
    """

    at: float
    side: float
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Unkinked:
    """f(z) = factor g(z) + the sum of the ramps, in real arithmetic with the float64 numbers that stand here.

    Attributes:
        smooth: g, differentiable everywhere.
        factor: what g is multiplied by.
        ramps: one for each kink of f.
    """

    smooth: Curve
    factor: float
    ramps: tuple[Ramp, ...]


def unkinked(curve: Curve) -> Unkinked | None:
    """A curve as a smooth one and ramps; None where its derivative does not jump."""
    match curve:
        case Elu(scale=scale) if scale != 1.0:
            return Unkinked(Elu(), scale, (Ramp(0.0, 1.0, (1.0, -scale)),))
        case Hardswish():
            return Unkinked(BentHardswish(), 1.0, (Ramp(-3.0, -1.0, (-0.5,)), Ramp(3.0, 1.0, (-0.5,))))
    return None
