"""The part of the report on derivatives: along which inputs the outputs of a run are monotone, and where."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence

from lipreg.ranges import DerivativeRange
from lipreg.records import Source
from lipreg.reporting.markup import table
from lipreg.reporting.wording import at_least, at_most, counted
from lipreg.runs import RecordedRun, runs_of
from lipreg.words import written

HEADS = (
    "run",
    "epoch",
    "output",
    "input",
    "points",
    "increasing",
    "decreasing",
    "both signs",
    "open",
    "least",
    "largest",
)


def derivative_section(files: Iterable[Source]) -> str:
    """The section with a row for each output and input of each run, and the signs at its points; empty without records."""
    runs = [run for run in runs_of(files) if run.derivatives]
    if not runs:
        return ""
    rows = [row for run in runs for row in _rows(run)]
    words = (
        "At how many reference points the output is proved never to fall (increasing) or never to rise (decreasing) along "
        "the input anywhere in the region, is seen to do both, or neither is known. Least and largest: between what the "
        "derivative is proved to lie, over all of these points."
    )
    count = counted(sum(len(run.derivatives) for run in runs), "range")
    head = (
        f'<h2>Derivatives and their signs</h2><p class="soft">{words} Of {count}, each of the last epoch recorded.</p>'
    )
    return f'<section>{head}<div class="scroll">{table(HEADS, rows, range(4, len(HEADS)))}</div></section>'


def _rows(run: RecordedRun) -> list[Sequence[str]]:
    last = max(record.epoch for record in run.derivatives)
    by_question: dict[str, dict[tuple[str, int], DerivativeRange]] = {}
    for record in run.derivatives:
        if record.epoch == last:
            interval = record.derivative_range
            # of the same question about the same point the last one counts
            by_question.setdefault(json.dumps(interval.question, sort_keys=True), {})[
                interval.subject, interval.point
            ] = interval
    return [_row(run.label, last, list(ranges.values())) for ranges in by_question.values()]


def _row(label: str, epoch: int, ranges: list[DerivativeRange]) -> Sequence[str]:
    signs = [one.sign for one in ranges]
    numbers = len(ranges), *(sum(map(one.__eq__, signs)) for one in ("increasing", "decreasing", "both signs", "open"))
    unit = "" if ranges[0].unit == 1.0 else f" (per {written(ranges[0].unit)})"
    least = min(one.lower for one in ranges)
    return (
        label,
        str(epoch),
        ranges[0].output,
        f"{ranges[0].input}{unit}",
        *map(str, numbers),
        "not proved" if least == -math.inf else at_least(least),
        at_most(max(one.upper for one in ranges)),
    )
