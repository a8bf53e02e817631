"""Every penalty at its best strength of those that lose at most one point, beside the reading at one point lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.exact_study.choosing import LOST
from experiments.exact_study.lines import Floats, lines
from experiments.exact_study.reading import DRAWS, HIGHER_IS_BETTER, draw, figures, over_seeds
from experiments.exact_study.rows import Row

READ = ("margin", "calibrated")
"""The figures, each with a best strength of its own."""


@dataclass(frozen=True)
class Best:
    """One figure at one radius: no line between strengths is drawn, every value is that of networks that were trained.

    Attributes:
        figure, radius: what was chosen by.
        names: of the penalties.
        strengths: the chosen ones, ``(penalties,)``; NaN where none loses so little.
        values: logarithms against the twin's, means over the seeds, ``(penalties,)``.
        draws: the same with the choice made again of each draw of the bootstrap, ``(penalties, draws)``.
    """

    figure: str
    radius: str
    names: tuple[str, ...]
    strengths: Floats
    values: Floats
    draws: Floats

    def interval(self) -> Floats:
        """95 % percentiles of the draws in which a strength loses so little, ``(penalties, 2)``."""
        known = [own[~np.isnan(own)] for own in self.draws]
        return np.array([np.percentile(own, (2.5, 97.5)) if own.size else (np.nan, np.nan) for own in known])


def best(rows: Sequence[Row], question: str, draws: int = DRAWS) -> list[Best]:
    """The best of every penalty, by radius and figure; none where no seed is whole.

    The figure that is told is the one that was chosen by, at the same points: it flatters, every penalty alike.

    Args:
        rows, question: of what.
        draws: of the bootstrap.
    """
    found = lines(rows, question)
    if found is None:
        return []
    runs, twins = found
    right = runs.selection - twins.selection
    seeds = np.arange(len(runs.seeds))
    points = np.tile(np.arange(runs.margin.shape[3]), (len(seeds), 1))
    whole = right.mean((1, 3))
    drawn = [
        (change, {(radius, figure): over_seeds(by[radius], figure) for radius in by for figure in READ})
        for change, by in draw(runs, twins, draws, right)
    ]
    told: list[Best] = []
    for radius in runs.radii:
        at = figures(runs, twins, radius, seeds, points)
        for figure in READ:
            chosen, values = choose(whole, over_seeds(at, figure), figure)
            again = [choose(change, by[radius, figure], figure)[1] for change, by in drawn]
            strengths = np.where(np.isnan(values), np.nan, np.take_along_axis(runs.strengths, chosen[:, None], 1)[:, 0])
            told.append(Best(figure, radius, runs.names, strengths, values, np.array(again).T))
    return told


def choose(change: Floats, values: Floats, figure: str) -> tuple[np.ndarray, Floats]:
    """The place of the best strength of each penalty, and its value; NaN where none is accurate.

    Args:
        change: of accuracy, ``(penalties, strengths)``.
        values: of the figure; NaN where it is undefined at a seed.
        figure: whose name tells which way is better.
    """
    better = 1.0 if figure in HIGHER_IS_BETTER else -1.0
    asked = (change >= -LOST - 1e-9) & ~np.isnan(values)
    chosen = np.argmax(np.where(asked, better * values, -np.inf), 1)
    read = np.take_along_axis(values, chosen[:, None], 1)[:, 0]
    return chosen, np.where(asked.any(1), read, np.nan)
