"""The metric that reports are asked to show beside the constants, held against what the training logs."""

from __future__ import annotations

import warnings

from lipreg.options import nearest_name
from lipreg.records import EpochRecord, Record


class LoggedNames:
    """The names of all metrics that one fit has recorded."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._epochs = 0
        self._said = False

    def see(self, record: Record) -> None:
        """Takes in what an epoch's record has."""
        if isinstance(record, EpochRecord):
            self._epochs += 1
            self._names |= record.metrics.keys()

    def warn_of(self, metric: str, where: str) -> None:
        """Warns, once, if no epoch has recorded the metric; an empty name asks for none.

        Asked at the end: validation may be in the last epoch alone.
        """
        if not metric or not self._epochs or metric in self._names or self._said:
            return
        self._said = True
        near = nearest_name(metric, self._names)
        meant = f" Did you mean {near!r}?" if near else ""
        listed = ", ".join(sorted(self._names)) or "nothing"
        warnings.warn(
            f"{where}: metric={metric!r} had a finite value in no epoch, so reports cannot show it beside the constants. "
            f"Logged were: {listed}.{meant}",
            stacklevel=4,
        )
