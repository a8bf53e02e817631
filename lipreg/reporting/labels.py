"""Names of lines written beside their ends, in place of a legend."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lipreg.reporting.plotting import Axes

FONT_SIZE = 9.0
_LEAD: dict[str, Any] = {"arrowstyle": "-", "linewidth": 0.6, "shrinkA": 1, "shrinkB": 1, "relpos": (0, 0.5)}
"""The thin lead from the end of a line to the left of its name, so that it crosses no other name."""


@dataclass(frozen=True)
class LineLabel:
    """A line's name, and the data point where the line ends.

    Attributes:
        epoch, value: the data point.
        text: the name.
        colour: of the line.
    """

    epoch: float
    value: float
    text: str
    colour: str


def name_lines(ax: Axes, labels: list[LineLabel]) -> None:
    """Writes each line's name beside its end, moved apart where they would overlap, with a thin lead to the end."""
    low, high = map(_scaled(ax), ax.get_ylim())
    points_high = ax.get_window_extent().height * 72 / ax.figure.dpi
    ordered = sorted(labels, key=lambda label: label.value)
    wanted = [(_scaled(ax)(label.value) - low) / (high - low) for label in ordered]
    for label, place in zip(ordered, separate(wanted, 1.45 * FONT_SIZE / points_high), strict=True):
        ax.annotate(
            label.text,
            xy=(label.epoch, label.value),
            xytext=(1.045, place),
            textcoords="axes fraction",
            va="center",
            color=label.colour,
            fontsize=FONT_SIZE,
            arrowprops=_LEAD | {"color": label.colour},
        )


def _scaled(ax: Axes) -> Callable[[float], float]:
    floor = ax.get_ylim()[0]
    # on a log scale a value of 0 lies below the axis: its name goes to the axis' foot
    return (lambda value: math.log(max(value, floor))) if ax.get_yscale() == "log" else float


def separate(places: Sequence[float], gap: float) -> list[float]:
    """The ascending places, moved as little as needed to lie at least ``gap`` apart, around their own centre."""
    groups: list[tuple[float, int]] = []  # (centre, members): overlapping groups merge at their common centre
    for place in places:
        centre, members = place, 1
        while groups and centre - groups[-1][0] < gap * (members + groups[-1][1]) / 2:
            other, count = groups.pop()
            centre, members = (centre * members + other * count) / (members + count), members + count
        groups.append((centre, members))
    return [centre + gap * (i - (members - 1) / 2) for centre, members in groups for i in range(members)]
