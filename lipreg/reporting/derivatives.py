"""The part of the report that tells of derivatives: along which inputs the outputs of a run are monotone, and where."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence

from lipreg.ranges import DerivativeRange
from lipreg.records import Source
from lipreg.reporting.sections import table
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
    """A row for each output and input of each run, with the signs at its points; empty where none were recorded."""
    runs = [run for run in runs_of(files) if run.derivatives]
    if not runs:
        return ""
    rows = [row for run in runs for row in _rows(run)]
    words = (
        "At how many reference points the output is proved never to fall (increasing) or never to rise (decreasing) along "
        "the input anywhere in the region, is seen to do both, or neither is known. Least and largest: between what the "
        "derivative is proved to lie, over all of these points."
    )
    asked = counted(sum(len(run.derivatives) for run in runs), "range")
    head = (
        f'<h2>Derivatives and their signs</h2><p class="soft">{words} Of {asked}, each of the last epoch recorded.</p>'
    )
    return f'<section>{head}<div class="scroll">{table(HEADS, rows, range(4, len(HEADS)))}</div></section>'


def _rows(run: RecordedRun) -> list[Sequence[str]]:
    last = max(record.epoch for record in run.derivatives)
    asked: dict[str, dict[tuple[str, int], DerivativeRange]] = {}
    for record in run.derivatives:
        if record.epoch == last:
            found = record.found
            # of the same question about the same point the last one counts
            asked.setdefault(json.dumps(found.question, sort_keys=True), {})[found.subject, found.point] = found
    return [_row(run.label, last, list(found.values())) for found in asked.values()]


def _row(label: str, epoch: int, found: list[DerivativeRange]) -> Sequence[str]:
    signs = [one.sign for one in found]
    numbers = len(found), *(sum(map(one.__eq__, signs)) for one in ("increasing", "decreasing", "both signs", "open"))
    unit = "" if found[0].unit == 1.0 else f" (per {written(found[0].unit)})"
    least = min(one.lower for one in found)
    return (
        label,
        str(epoch),
        found[0].output,
        f"{found[0].input}{unit}",
        *map(str, numbers),
        "not proved" if least == -math.inf else at_least(least),
        at_most(max(one.upper for one in found)),
    )
