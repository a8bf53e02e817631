"""Draw: in which order the points of a finite data set are drawn, by a seed that is recorded; and a digest of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lipreg.errors import InvalidInput
from lipreg.population.between import whole_number


@dataclass(frozen=True)
class Draw:
    """A random order of a data set's points; the first so many of them are a sample without replacement.

    Args:
        size: how many points the data set has.
        seed: of the order; every subset of the data set is as likely as any other of its size.

    Raises:
        InvalidInput: no points, or a seed that is none.
    """

    size: int
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("size", 1), ("seed", 0)):
            value = getattr(self, name)
            if not whole_number(value, least):
                raise InvalidInput(f"{name}={value!r}", where="Draw", accepted=f"a whole number of at least {least}")

    def first(self, count: int) -> list[int]:
        """Indices of the first ``count`` points in the order of the draw; all of them where there are no more.

        Raises:
            InvalidInput: fewer than none.
        """
        if count < 0:
            raise InvalidInput(f"count={count!r}", where="Draw", accepted="a whole number of at least 0")
        return self.order()[:count]

    def order(self) -> list[int]:
        """Indices of all points in the order of the draw."""
        return np.random.Generator(np.random.PCG64(self.seed)).permutation(self.size).tolist()


def digest(parts: Iterable[bytes]) -> str:
    """A hash of a data set's points and labels, by which it is distinguished from others: 16 hexadecimal digits."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(part)
    return hasher.hexdigest()[:16]
