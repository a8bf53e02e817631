"""Ranges of many derivatives: of every input, every output and every reference point that were asked about."""

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
    """The answers of one call: point by point, output by output, in the order of the inputs."""

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
        """Those of one point, one input or one output (in words), or of several of these at once."""
        wanted = {"point": point, "input": input, "output": output}
        asked = {name: value for name, value in wanted.items() if value is not None}
        return DerivativeRanges(
            tuple(found for found in self.ranges if all(getattr(found, name) == asked[name] for name in asked))
        )

    def signs(self) -> dict[Sign, int]:
        """How many ranges have each sign."""
        counted = Counter(found.sign for found in self.ranges)
        return {sign: counted[sign] for sign in get_args(Sign)}

    def plain(self) -> list[dict[str, Any]]:
        """All of them as plain JSON data."""
        return [found.plain() for found in self.ranges]

    @classmethod
    def of_plain(cls, data: Sequence[dict[str, Any]]) -> DerivativeRanges:
        """The ranges that ``plain`` wrote."""
        return cls(tuple(map(DerivativeRange.of_plain, data)))

    def records(self, run: str, epoch: int = 0, run_id: str = "") -> list[DerivativeRecord]:
        """What a record file keeps of them: ``RecordFile(path).append(*ranges.records("flats"))``.

        Args:
            run, run_id, epoch: as in ``AuditRecord``.
        """
        versions = {name: importlib.metadata.version(name) for name in ("lipreg", "torch", "highspy")}
        return [DerivativeRecord(run, epoch, found.plain(), run_id, versions) for found in self.ranges]

    def table(self) -> str:
        """A table of text, a line a range; an end is a number where it is known to five digits, else its interval."""
        lines = [HEADER, *map(_cells, self.ranges)]
        return "\n".join(aligned(lines, left=len(HEADER)))


def _cells(found: DerivativeRange) -> tuple[str, ...]:
    def shown(lower: float, upper: float) -> str:
        # numbers too small to be normal are what rounding outward left of 0
        lower, upper = (0.0 if abs(end) < sys.float_info.min else end for end in (lower, upper))
        close = upper - lower <= 1e-5 * found.size
        return written((lower + upper) / 2, 5) if close else f"[{written(lower, 5)}, {written(upper, 5)}]"

    least, largest = found.least, found.largest
    status = str(least.status) if least.status is largest.status else f"{least.status}, {largest.status}"
    ends = shown(least.lower, least.upper), shown(largest.lower, largest.upper)
    return (str(found.point), found.output, str(found.input), *ends, found.sign, status)
