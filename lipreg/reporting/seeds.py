"""Runs that differ in their seed alone, put together: means over seeds, with the span of the single runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from lipreg.plain import frozen
from lipreg.reporting.penalised import penalty_key
from lipreg.reporting.runs import Entry
from lipreg.reporting.wording import MISSING, TableCell, percent
from lipreg.transfer import Comparison, Interval
from lipreg.words import rounded

_COLUMNS: dict[str, Callable[[Comparison], float | None]] = {
    "metric": lambda c: c.regularised.metric,
    "metric of twins": lambda c: c.twin.metric,
    "margin over constant": lambda c: _middle(c.regularised.margin_over_constant),
    "margin / twin's": lambda c: _middle(c.margin_ratio),
    "calibrated": lambda c: _middle(c.regularised.calibrated),
    "calibrated moved": lambda c: _middle(c.calibrated.movement.combined),
    "calibrated transfer": lambda c: _middle(c.calibrated.movement.transfer),
    "certified accuracy": lambda c: _middle(c.regularised.certified),
    "under attack": lambda c: c.regularised.attacked,
    "mean bound": lambda c: c.regularised.bound,
    "combined": lambda c: c.regularised.combined.midpoint,
    "bound moved": lambda c: c.movement.bound,
    "truth moved": lambda c: _middle(c.movement.combined),
    "transfer": lambda c: _middle(c.movement.transfer),
}
"""The figures that are averaged, scale-free ones first; of certified intervals the middle, so these are no bounds."""
_SHARES = ("certified accuracy", "under attack")


@dataclass(frozen=True)
class SeedGroup:
    """Compared runs that differ in their seed alone.

    Attributes:
        question: that all of them answer.
        name: of the group.
        members: the comparison of each run with its twin.
    """

    question: dict[str, Any]
    name: str
    members: list[Comparison] = field(default_factory=list)

    def cells(self, heading: str) -> dict[str, TableCell]:
        """The mean and the span of each column, under its heading."""
        return {_named(title, heading): _cell(self.members, title, read) for title, read in _COLUMNS.items()}


def metric_heading(entries: Sequence[Entry]) -> str:
    """The heading of the column of the entries' own metrics: "accuracy", the name that all share, or "metric"."""
    metrics = [entry.pair.metric for entry in entries if entry.pair.metric is not None]
    names = {metric.title for metric in metrics}
    if all(metric.share for metric in metrics):
        return "accuracy"
    return next(iter(names)) if len(names) == 1 else "metric"


def columns(heading: str) -> list[str]:
    """The headings of the averaged figures, with ``heading`` for that of the metric."""
    return [_named(title, heading) for title in _COLUMNS]


def seed_groups(entries: Sequence[Entry]) -> list[SeedGroup]:
    """The groups of compared runs with at least two seeds. Of runs of one seed the one that began last counts; a group's
    name says how many others there are."""
    of_seeds: dict[Hashable, Entry] = {}
    for entry in sorted(_seeded(entries), key=lambda entry: entry.regularised.run.record.started):
        of_seeds[_alike(entry), entry.regularised.run.record.seed] = entry
    counted = {id(entry) for entry in of_seeds.values()}
    repeated = Counter(_alike(entry) for entry in _seeded(entries) if id(entry) not in counted)
    groups: dict[Hashable, SeedGroup] = {}
    for entry in entries:
        if entry.last is not None and id(entry) in counted:
            again = repeated[_alike(entry)]
            name = entry.group + (f", the last of each seed ({again} earlier left out)" if again else "")
            groups.setdefault(_alike(entry), SeedGroup(entry.pair.question, name)).members.append(entry.last)
    return [group for group in groups.values() if len(group.members) > 1]


def _seeded(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.last is not None and entry.regularised.run.record.seed is not None]


def _alike(entry: Entry) -> Hashable:
    """A key that is equal for entries that differ in their seed alone: question, settings, bound and penalty."""
    return frozen(entry.pair.question), entry.group, entry.regularised.bound, penalty_key(entry.regularised.run.record)


def _middle(interval: Interval | None) -> float | None:
    return None if interval is None else interval.midpoint


def _named(title: str, heading: str) -> str:
    return title.replace("metric", heading, 1)


def _cell(members: Sequence[Comparison], title: str, read: Callable[[Comparison], float | None]) -> TableCell:
    values = [v for v in map(read, members) if v is not None and math.isfinite(v)]
    metrics = {c.metric for c in members} if title.startswith("metric") else set()
    if len(values) < len(members) or len({metric.name for metric in metrics if metric is not None}) > 1:
        return TableCell(MISSING, None)
    share = (bool(metrics) and all(metric is not None and metric.share for metric in metrics)) or title in _SHARES
    show = percent if share else rounded
    return TableCell(f"{show(fmean(values))}\n{show(min(values))} to {show(max(values))}", fmean(values))
