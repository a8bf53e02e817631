"""Numbers in float64 with a radius each: whatever was rounded on the way, the true number is no farther from the middle.

With u = 2^-53 a computed sum of n products is off by at most n u / (1 - n u) times the sum of their magnitudes, whatever
the order of the sum, and (n + 2) u is more than that. EPS is 2 u. Radii are sums of n numbers that are not
negative, so what rounding takes from them is a share as well, and they are multiplied by 1 + (n + 16) 2 EPS. No product
of two numbers underflows, as none that is not 0 is below FLOOR. What overflows becomes infinite or NaN, and no comparison
by which something is accepted holds for these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipreg.checking.integers import Array

U = 2.0**-53
EPS = 2.0**-52
FLOOR = 2.0**-400


@dataclass(frozen=True)
class Balls:
    """Numbers with a radius each.

    Attributes:
        mid, rad: middles and radii, of one shape.
    """

    mid: Array
    rad: Array

    @staticmethod
    def exactly(numbers: Array) -> Balls:
        """Numbers that are what they are."""
        return settled(numbers, np.zeros_like(numbers))

    @staticmethod
    def near(numbers: Array, bits: int) -> Balls:
        """Whole numbers times 2^-bits, each rounded to the nearest float.

        Raises:
            OverflowError: there is no such float.
        """
        mid = np.array([int(n) / (1 << bits) for n in numbers.ravel()], dtype=float).reshape(numbers.shape)
        return settled(mid, EPS * np.abs(mid) + FLOOR * (numbers != 0))

    def __getitem__(self, index: object) -> Balls:
        return Balls(self.mid[index], self.rad[index])  # type: ignore[index]

    def __add__(self, other: Balls) -> Balls:
        mid = self.mid + other.mid
        return settled(mid, (self.rad + other.rad + U * np.abs(mid)) * (1 + 16 * EPS))

    def __neg__(self) -> Balls:
        return Balls(-self.mid, self.rad)

    def __matmul__(self, other: Balls) -> Balls:
        terms, size, others = self.mid.shape[-1], np.abs(self.mid), np.abs(other.mid)
        share = (terms + 2) * U
        rad = size @ (other.rad + share * others) + self.rad @ (others + other.rad)
        return settled(self.mid @ other.mid, rad * raised(terms))

    def __mul__(self, other: Balls) -> Balls:
        mid, size, others = self.mid * other.mid, np.abs(self.mid), np.abs(other.mid)
        rad = size * other.rad + self.rad * (others + other.rad) + EPS * np.abs(mid)
        return settled(mid, rad * (1 + 16 * EPS))

    @property
    def zero(self) -> Array:
        """Which are 0 and nothing else."""
        return (self.mid == 0) & (self.rad == 0)


def raised(terms: int) -> float:
    """What a sum of so many numbers that are not negative is multiplied by, so that rounding has not made it smaller."""
    return 1.0 + (terms + 16) * 2 * EPS


def settled(mid: Array, rad: Array) -> Balls:
    """Balls none of whose numbers lies between 0 and FLOOR."""
    small = (np.abs(mid) < FLOOR) & (mid != 0)
    if small.any():
        rad = (rad + FLOOR * small) * (1 + 4 * EPS)
        mid = np.where(small, 0.0, mid)
    low = (rad < FLOOR) & (rad > 0)
    return Balls(mid, np.where(low, FLOOR, rad) if low.any() else rad)


def outward(low: Array, high: Array) -> tuple[Array, Array]:
    """Ends a little farther out than they were computed."""
    return low - EPS * np.abs(low), high + EPS * np.abs(high)


def stacked(*parts: Balls) -> Balls:
    """Several below each other."""
    return Balls(np.concatenate([p.mid for p in parts]), np.concatenate([p.rad for p in parts]))


def padded(balls: Balls, width: int) -> Balls:
    """With columns of 0 up to a width."""
    missing = ((0, 0), (0, width - balls.mid.shape[1]))
    return Balls(np.pad(balls.mid, missing), np.pad(balls.rad, missing))
