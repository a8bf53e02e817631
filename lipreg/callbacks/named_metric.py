"""The check that a training logs the metric that reports are to show beside the constants."""

from __future__ import annotations

import warnings

from lipreg.records import EpochRecord, Record
from lipreg.spelling import nearest_name


class LoggedNames:
    """The names of all metrics that one fit has recorded."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._epochs = 0
        self._warned = False

    def see(self, record: Record) -> None:
        """Takes in the names of an epoch's record; other records are ignored."""
        if isinstance(record, EpochRecord):
            self._epochs += 1
            self._names |= record.metrics.keys()

    def warn_of(self, metric: str, where: str) -> None:
        """Warns, once, if no epoch has recorded the metric; an empty name stands for none.

        Called at the end, as validation may be in the last epoch alone.

        Args:
            metric: its name.
            where: the run, for the warning.
        """
        if not metric or not self._epochs or metric in self._names or self._warned:
            return
        self._warned = True
        near = nearest_name(metric, self._names)
        meant = f" Did you mean {near!r}?" if near else ""
        listed = ", ".join(sorted(self._names)) or "nothing"
        warnings.warn(
            f"{where}: metric={metric!r} had a finite value in no epoch, so reports cannot show it beside the constants. "
            f"Logged were: {listed}.{meant}",
            stacklevel=4,
        )
