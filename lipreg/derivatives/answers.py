"""Ranges of many derivatives: of the inputs, outputs and reference points of a call."""

from __future__ import annotations

import importlib.metadata
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args, overload

from lipreg.ranges import DerivativeRange, Sign
from lipreg.records import DerivativeRecord
from lipreg.words import aligned, written

HEADER = ("point", "output", "input", "least", "largest", "sign", "status")


@dataclass(frozen=True)
class DerivativeRanges(Sequence[DerivativeRange]):
    """The ranges of one call: point by point, output by output, in the order of the inputs.

    Attributes:
        ranges: all of them, in this order.
    """

    ranges: tuple[DerivativeRange, ...]

    def __len__(self) -> int:
        return len(self.ranges)

    @overload
    def __getitem__(self, index: int) -> DerivativeRange: ...
    @overload
    def __getitem__(self, index: slice) -> DerivativeRanges: ...
    def __getitem__(self, index: int | slice) -> DerivativeRange | DerivativeRanges:
        return DerivativeRanges(self.ranges[index]) if isinstance(index, slice) else self.ranges[index]

    def __iter__(self) -> Iterator[DerivativeRange]:
        return iter(self.ranges)

    def of(self, point: int | None = None, input: int | None = None, output: str | None = None) -> DerivativeRanges:
        """The ranges of one point, one input or one output, or of several of these at once.

        Args:
            point: index of the reference point; None for all, as for the others.
            input: flat position of the input.
            output: the output in words, as of ``DerivativeRange.output``.
        """
        wanted = {"point": point, "input": input, "output": output}
        criteria = {name: value for name, value in wanted.items() if value is not None}
        return DerivativeRanges(
            tuple(each for each in self.ranges if all(getattr(each, name) == criteria[name] for name in criteria))
        )

    def signs(self) -> dict[Sign, int]:
        """How many ranges have each sign."""
        counted = Counter(each.sign for each in self.ranges)
        return {sign: counted[sign] for sign in get_args(Sign)}

    def plain(self) -> list[dict[str, Any]]:
        """All of them as plain JSON data."""
        return [each.plain() for each in self.ranges]

    @classmethod
    def of_plain(cls, data: Sequence[dict[str, Any]]) -> DerivativeRanges:
        """The ranges that ``plain`` wrote."""
        return cls(tuple(map(DerivativeRange.of_plain, data)))

    def records(self, run: str, epoch: int = 0, run_id: str = "") -> list[DerivativeRecord]:
        """The ranges as records of a file: ``RecordFile(path).append(*ranges.records("flats"))``.

        Args:
            run, run_id, epoch: as in ``AuditRecord``.
        """
        versions = {name: importlib.metadata.version(name) for name in ("lipreg", "torch", "highspy")}
        return [DerivativeRecord(run, epoch, each.plain(), run_id, versions) for each in self.ranges]

    def table(self) -> str:
        """A table of text, a line a range; an end is a number where that has five digits, else an interval."""
        lines = [HEADER, *map(_cells, self.ranges)]
        return "\n".join(aligned(lines, left_columns=len(HEADER)))


def _cells(result: DerivativeRange) -> tuple[str, ...]:
    def shown(lower: float, upper: float) -> str:
        # rounding outward makes of 0 a number too small to be normal
        lower, upper = (0.0 if abs(end) < sys.float_info.min else end for end in (lower, upper))
        close = upper - lower <= 1e-5 * result.size
        return written((lower + upper) / 2, 5) if close else f"[{written(lower, 5)}, {written(upper, 5)}]"

    least, largest = result.least, result.largest
    status = str(least.status) if least.status is largest.status else f"{least.status}, {largest.status}"
    ends = shown(least.lower, least.upper), shown(largest.lower, largest.upper)
    return (str(result.point), result.output, str(result.input), *ends, result.sign, status)
