"""What stands for the number of points while lowering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BatchSize:
    """What ``x.shape[0]`` and ``x.size(0)`` are while lowering: the size of the batch axis, which is not known here.

    Args:
        times: rows for every point, more than 1 where another axis was joined with that of the points.
    """

    times: int = 1

    def __mul__(self, other: Any) -> BatchSize:
        return BatchSize(self.times * other) if type(other) is int and other > 0 else NotImplemented

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> BatchSize | int:
        by = other.times if isinstance(other, BatchSize) else other
        if type(by) is not int or by < 1 or self.times % by:
            return NotImplemented
        return self.times // by if isinstance(other, BatchSize) else BatchSize(self.times // by)

    def __truediv__(self, other: Any) -> float:
        return self.times / other.times if isinstance(other, BatchSize) else NotImplemented
