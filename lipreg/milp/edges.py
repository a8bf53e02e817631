"""Squares of quotients |N|_q / |D|_2 along an edge, in whole numbers: where they may be larger than at both ends of it.

N and D are linear forms of the vertices between two others, s_1 v_1 + s_2 v_2 for s_1, s_2 >= 0. The square is n(t) / d(t),
t = s_2 / s_1, forms of degree 2, over each part of the edge where one row of N counts or all keep their signs. It has one
maximum over all t, the larger l at which l d - n has a root twice:

    (d0 d2 - d1^2) l^2 - (d0 n2 - 2 d1 n1 + d2 n0) l + (n0 n2 - n1^2) = 0.

This is between the ends if the derivative, of the sign of (d1 n2 - d2 n1) t^2 + (d0 n2 - d2 n0) t + (d0 n1 - d1 n0), goes
from above 0 to below it at some t > 0. On a line through the zero of D (d0 d2 = d1^2) no point is above both ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from lipreg.milp.rounded_up import ROOT, root_above

Form = tuple[int, int, int]
"""A form of degree 2 in t: its coefficients of 1, 2 t and t^2."""


class End(NamedTuple):
    """A vertex (x, y, w), and N and D there.

    Attributes:
        vertex: the vertex.
        rise: N.
        step: D.
    """

    vertex: np.ndarray
    rise: np.ndarray
    step: np.ndarray

    def mixed(self, other: End, own: int, others: int) -> End:
        """The sum of multiples of both ends.

        Args:
            other: the other end.
            own: the factor on this one.
            others: the factor on the other one.
        """
        return End(*(a * own + b * others for a, b in zip(self, other, strict=True)))


def maxima(one: End, other: End, q: float | None) -> Iterator[tuple[int, int, End]]:
    """Squares of quotients between two ends, at least the largest there where that is above those at both.

    Args:
        one, other: the ends of the edge.
        q: the norm of N; None for the largest of its rows, as for inf.

    Yields:
        The square, as a fraction, rounded up, and about where it is attained.
    """
    d = _form(one.step, other.step)
    if d[0] * d[2] == d[1] * d[1]:
        return
    if q == 2.0:
        yield from _maximum(one, other, _form(one.rise, other.rise), d)
    elif q == 1.0:
        for here, there in pairwise(_stops(one, other)):
            if there is not other:
                yield _sum(there) ** 2, _dot(there.step, there.step), there
            a, b = _sum(here), _sum(there)
            yield from _maximum(here, there, (a * a, a * b, b * b), _form(here.step, there.step))
    else:
        for a, b in zip(one.rise.tolist(), other.rise.tolist(), strict=True):
            yield from _maximum(one, other, (a * a, a * b, b * b), d)


def _maximum(one: End, other: End, n: Form, d: Form) -> Iterator[tuple[int, int, End]]:
    slope = d[0] * n[1] - d[1] * n[0], d[0] * n[2] - d[2] * n[0], d[1] * n[2] - d[2] * n[1]
    if not _rises_and_falls(*slope):
        return
    apart, total = d[0] * d[2] - d[1] * d[1], d[0] * n[2] - 2 * d[1] * n[1] + d[2] * n[0]
    root = root_above(max(0, total * total - 4 * apart * (n[0] * n[2] - n[1] * n[1])))
    yield (total << ROOT) + root, apart << (ROOT + 1), one.mixed(other, *_root(*slope))


def _rises_and_falls(constant: int, linear: int, square: int) -> bool:
    """Whether constant + linear t + square t^2 goes from above 0 to below it at some t > 0.

    It is monotone between 0, the t > 0 where it turns, if there is one, and infinity: its signs there tell.
    """
    signs = [constant]
    if square * linear < 0:
        signs.append((4 * square * constant - linear * linear) * (1 if square > 0 else -1))
    signs.append(square or linear)
    return any(a > 0 > b for at, a in enumerate(signs) for b in signs[at + 1 :])


def _root(constant: int, linear: int, square: int) -> tuple[int, int]:
    """Shares of both ends at about the t > 0 at which constant + linear t + square t^2 goes from above 0 to below it."""
    if square == 0:
        return -linear, constant
    root, linear = math.isqrt((linear * linear - 4 * square * constant) << (2 * ROOT)), linear << ROOT
    # of both expressions of that root the one without a difference
    if linear > 0:
        return -square << (ROOT + 1), linear + root
    return root - linear, constant << (ROOT + 1)


def _stops(one: End, other: End) -> list[End]:
    """The ends, and between them where rows of N change their signs, in their order."""
    crossings = [(abs(b), abs(a)) for a, b in zip(one.rise.tolist(), other.rise.tolist(), strict=True) if a * b < 0]
    crossings.sort(key=lambda shares: Fraction(shares[1], shares[0]))
    return [one, *(one.mixed(other, *shares) for shares in crossings), other]


def _form(one: np.ndarray, other: np.ndarray) -> Form:
    return _dot(one, one), _dot(one, other), _dot(other, other)


def _dot(one: np.ndarray, other: np.ndarray) -> int:
    return int((one * other).sum())


def _sum(end: End) -> int:
    return sum(abs(int(entry)) for entry in end.rise)
