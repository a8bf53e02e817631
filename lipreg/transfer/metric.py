"""The task's own metric beside the constants: which of the logged ones is shown, and how it reads."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from lipreg.errors import InvalidInput

USUAL = "val_accuracy"
"""The name of the metric that is shown where it was logged and no other is named."""

_VALIDATION = {"val", "valid", "validation"}
_ACCURACY = {"acc", "accuracy"}


@dataclass(frozen=True)
class Metric:
    """A logged metric. Whether more or less of it is better is not known.

    Attributes:
        name: the key of ``EpochRecord.metrics``.
        share: whether it is an accuracy with values in [0, 1], which reads as per cent; others are plain numbers.
    """

    name: str
    share: bool = False

    @property
    def title(self) -> str:
        """What it is called in words: its own name, but for the accuracy on validation data."""
        return "validation accuracy" if self.share and _words(self.name) & _VALIDATION else self.name


def choose_metric(wanted: Iterable[str], logged: Collection[str]) -> str | None:
    """The name of the metric that is shown.

    Args:
        wanted: names in order of preference, such as that of a report's argument and those of the runs; empty ones do not
            count. The first other one is taken, logged or not.
        logged: all names.

    Returns:
        The wanted one; else ``val_accuracy``, another accuracy on validation data, a loss on it, anything else on it, or an
        accuracy or a loss of any data. None where nothing of the kind was logged.
    """
    for name in wanted:
        if name:
            return name
    ranked = sorted((rank, len(name), name) for name in logged if (rank := _rank(name)) is not None)
    return ranked[0][2] if ranked else None


def check_metric(name: object, where: str) -> str:
    """A metric's name as it is kept in records, empty for None.

    Args:
        name: what the user gave.
        where: the function or class that was given it, for the error.

    Raises:
        InvalidInput: it is no text, or empty.
    """
    if name is None:
        return ""
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"metric={name!r}", where=where, accepted="the name of a logged metric, or None")
    return name


def shown_metric(wanted: Iterable[str], logged: Iterable[Mapping[str, float]]) -> Metric | None:
    """The metric that is shown of what some epochs have logged; None where it has no value.

    Args:
        wanted: as for ``choose_metric``.
        logged: values by name, for each epoch.
    """
    logged = list(logged)
    name = choose_metric(wanted, {name for metrics in logged for name in metrics})
    values = [] if name is None else [metrics[name] for metrics in logged if name in metrics]
    return read_as(name, values) if name is not None and values else None


def read_as(name: str, values: Iterable[float]) -> Metric:
    """The metric of that name: a share if its name says accuracy and all its values lie in [0, 1]."""
    return Metric(name, bool(_words(name) & _ACCURACY) and all(0.0 <= value <= 1.0 for value in values))


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", name.lower()))


def _rank(name: str) -> int | None:
    words = _words(name)
    if name == USUAL:
        return 0
    if words & {"step", "audit", "lipreg"}:  # of a batch, or our own
        return None
    accuracy, loss, validation = bool(words & _ACCURACY), "loss" in words, bool(words & _VALIDATION)
    if validation:
        return 1 if accuracy else 2 if loss else 3
    return 4 if accuracy else 5 if loss else None
