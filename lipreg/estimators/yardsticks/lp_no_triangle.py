"""The LP relaxation without the triangles of its ReLUs: the yardstick for their worth."""

from __future__ import annotations

from lipreg.estimators.base import register
from lipreg.estimators.relaxations.lp import LinearProgram


@register("lp_no_triangle")
class LinearProgramWithoutTriangle(LinearProgram):
    """The LP relaxation with each ReLU as a switch alone, h = z a: never tighter than ``lp``.

    The primitives of the published encoding put together, sigma(z) = S(z, C(z)), without the convex relaxation of the whole.
    """

    source = "Jordan & Dimakis 2020 (LipLP, ReLU as a switch)"
    triangle = False
