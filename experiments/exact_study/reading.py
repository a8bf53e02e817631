"""Every penalty at one point of accuracy lost: its figures, their bootstrap intervals, and who is told apart from whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from experiments.exact_study.choosing import LOST
from experiments.exact_study.lines import AtRadius, Floats, Lines, lines
from experiments.exact_study.rows import TENTHS, Row

DRAWS = 2000
CERTIFIED = ("exact", "closest", "own")
REACHES = tuple(f"radius_{method}" for method in CERTIFIED)
FIGURES = ("margin", "calibrated", "raw", "bound", *CERTIFIED, *REACHES)
"""Logarithms against the twin's, of margin over constant, T E, E and B; then shares that are certified, and mean radii, by
the exact upper end, by the closest closed form and by the run's own bound."""
HIGHER_IS_BETTER = ("margin", *CERTIFIED, *REACHES)
Values = dict[str, Floats]


@dataclass(frozen=True)
class Places:
    """Where each penalty has lost one point: between which strengths, and how far from the lower one.

    Attributes:
        lower: index of the lower strength, ``(penalties,)``.
        share: of the way to the next one, in the logarithm.
        limited: "accuracy", "the largest strength" or "the weakest strength".
    """

    lower: np.ndarray
    share: Floats
    limited: tuple[str, ...]

    def read(self, values: Floats) -> Floats:
        """Values ``(penalties, seeds, strengths, ...)`` at the places, ``(penalties, seeds, ...)``.

        Where the upper strength's is undefined, the lower one's counts: its network has become a constant one.
        """
        each = np.arange(len(self.lower))
        upper = np.minimum(self.lower + 1, values.shape[2] - 1)
        share = self.share.reshape(-1, *[1] * (values.ndim - 2))
        below, above = values[each, :, self.lower], values[each, :, upper]
        return np.where(np.isnan(above), below, below * (1 - share) + above * share)


@dataclass(frozen=True)
class Reading:
    """One question at one radius.

    Attributes:
        names, seeds, radius: of what.
        places, strengths: where each penalty is read, and the strength there.
        lost: mean accuracy lost there, on selection data and on held-out data, ``(penalties,)`` each.
        low, high: each figure by seed, with the lower and the upper ends of constants, ``(penalties, seeds)``.
        draws: means over the seeds, a bootstrap draw a column, ``(penalties, DRAWS)``.
        factor_error: standard error of the mean of log T / T_twin that the shared calibration points leave.
    """

    names: tuple[str, ...]
    seeds: tuple[int, ...]
    radius: str
    places: Places
    strengths: Floats
    lost: tuple[Floats, Floats]
    low: Values
    high: Values
    draws: Values
    factor_error: Floats

    def mean(self, figure: str) -> Floats:
        """Of the middles, over the seeds."""
        return (self.low[figure] + self.high[figure]).mean(1) / 2

    def interval(self, figure: str) -> Floats:
        """95 % percentiles of the bootstrap, ``(penalties, 2)``."""
        return np.percentile(self.draws[figure], (2.5, 97.5), axis=1).T

    def transfer(self, calibrated: bool = False) -> tuple[Floats, Floats]:
        """log movement of the constant over that of the bound, both means over seeds: its value, and its interval."""
        return _transfer(self.mean, calibrated), np.percentile(
            _transfer(self.draws.__getitem__, calibrated), (2.5, 97.5), axis=1
        ).T

    def by_seed(self, figure: str) -> tuple[Floats, Floats]:
        """A figure's ends at each seed, of ``FIGURES`` or "transfer" or "calibrated transfer"."""
        if figure in FIGURES:
            return self.low[figure], self.high[figure]
        calibrated = figure != "transfer"
        ends = [_transfer(of.__getitem__, calibrated) for of in (self.low, self.high)]
        return np.minimum(*ends), np.maximum(*ends)

    def apart(self, one: str, other: str, figure: str) -> int:
        """-1 where ``one`` is lower than ``other`` in a figure, by the rule for claims, 1 where it is higher, else 0."""
        i, j = self.names.index(one), self.names.index(other)
        low, high = self.by_seed(figure)
        draws = self.draws[figure] if figure in FIGURES else _transfer(self.draws.__getitem__, figure != "transfer")
        ends = np.percentile(draws[i] - draws[j], (2.5, 97.5))
        if ends[1] < 0 and (high[i] < low[j]).all():
            return -1
        return int(ends[0] > 0 and (low[i] > high[j]).all())


def readings(
    rows: Sequence[Row], question: str, draws: int = DRAWS, by: Literal["selection", "held"] = "selection"
) -> list[Reading]:
    """The reading at every radius; none where no seed is whole.

    Args:
        rows, question: of what.
        draws: of the bootstrap.
        by: on which data a point of accuracy is lost.
    """
    found = lines(rows, question)
    if found is None:
        return []
    runs, twins = found
    every = np.arange(len(runs.seeds))
    change = {data: getattr(runs, data).mean(3) - getattr(twins, data).mean(3) for data in ("selection", "held")}
    places = place(change[by].mean(1))
    lost = (-places.read(change["selection"]).mean(1), -places.read(change["held"]).mean(1))
    all_points = np.tile(np.arange(runs.margin.shape[3]), (len(every), 1))
    drawn = _drawn(runs, twins, draws, getattr(runs, by) - getattr(twins, by))
    return [
        Reading(
            runs.names,
            runs.seeds,
            radius,
            places,
            np.exp(places.read(np.log(runs.strengths)[:, None])[:, 0]),
            lost,
            *_ends(runs, twins, radius, places, every, all_points),
            drawn[radius],
            _factor_error(runs, twins, places),
        )
        for radius in runs.radii
    ]


def place(change: Floats) -> Places:
    """Where the mean change of accuracy ``(penalties, strengths)``, made non-increasing, falls through minus ``LOST``."""
    lower, share, limited = [], [], []
    for own in change:
        smooth = non_increasing(own)
        below = np.flatnonzero(smooth < -LOST)
        if not len(below):
            lower, share, limited = [*lower, len(own) - 1], [*share, 0.0], [*limited, "the largest strength"]
        elif below[0] == 0:
            lower, share, limited = [*lower, 0], [*share, 0.0], [*limited, "the weakest strength"]
        else:
            k = int(below[0]) - 1
            part = (smooth[k] + LOST) / (smooth[k] - smooth[k + 1])
            lower, share, limited = [*lower, k], [*share, float(part)], [*limited, "accuracy"]
    return Places(np.array(lower), np.array(share), tuple(limited))


def non_increasing(values: Floats) -> Floats:
    """The closest non-increasing sequence in the sum of squares: neighbours that violate it are pooled."""
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((float(value), 1))
        while len(pools) > 1 and pools[-1][0] > pools[-2][0]:
            (late, n), (early, m) = pools.pop(), pools.pop()
            pools.append(((late * n + early * m) / (n + m), n + m))
    return np.concatenate([np.full(n, value) for value, n in pools])


def figures(runs: Lines, twins: Lines, radius: str, seeds: np.ndarray, points: np.ndarray) -> Values:
    """All figures ``(penalties, seeds, strengths)``, of some seeds and of some audited points of each, with middles of E.

    All of a run whose network is constant around a point are NaN.
    """
    mine, twin = runs.radii[radius], twins.radii[radius]

    def taken(values: Floats) -> Floats:
        return np.take_along_axis(values[:, seeds], points[None, :, None, :], 3)

    exact, other = ((taken(at.low) + taken(at.high)) / 2 for at in (mine, twin))
    factor = runs.factor[:, seeds] - twins.factor[:, seeds]
    raw = exact.mean(3) - other.mean(3)
    found = {
        "margin": _median(taken(runs.margin), exact) - _median(taken(twins.margin), other),
        "calibrated": raw + factor,
        "raw": raw,
        "bound": taken(mine.bound).mean(3) - taken(mine.twin_bound).mean(3),
        "factor": factor,
        "exact": taken(mine.exact).mean(3),
        "closest": mine.closest[:, seeds].mean(3),
        "own": mine.own[:, seeds].mean(3),
        **{
            name: _reach(taken(runs.margin), taken(upper), float(radius))
            for name, upper in zip(REACHES, (mine.high, mine.near, mine.bound), strict=True)
        },
    }
    constant = np.isnan(mine.high[:, seeds]).any(3)
    return {name: np.where(constant, np.nan, values) for name, values in found.items()}


def _reach(margin: Floats, upper: Floats, radius: float) -> Floats:
    """The mean certified radius, min(radius, margin / U); 0 where the class is wrong."""
    return np.minimum(np.maximum(margin, 0) * np.exp(-upper), radius).mean(3)


def _median(margin: Floats, exact: Floats) -> Floats:
    """Of margin over constant, its logarithm; 0 where the class is wrong."""
    return np.log(np.maximum(np.median(np.maximum(margin, 0) * np.exp(-exact), axis=3), 1e-9))


def _ends(
    runs: Lines, twins: Lines, radius: str, places: Places, seeds: np.ndarray, points: np.ndarray
) -> tuple[Values, Values]:
    """Every figure by seed at the places, with the lower ends of E and with the upper ones: smaller and larger values.

    The twin's constants, which all figures are compared with alike, are taken in the middle; what is certified is so by the
    upper ends alone.
    """

    def found(end: str) -> Values:
        at: AtRadius = runs.radii[radius]
        one: Floats = getattr(at, end)
        moved = replace(runs, radii={radius: replace(at, low=one, high=one)})
        return {name: places.read(each) for name, each in figures(moved, twins, radius, seeds, points).items()}

    whole = {name: places.read(each) for name, each in figures(runs, twins, radius, seeds, points).items()}
    low, high = ({**found(end), **{name: whole[name] for name in (*CERTIFIED, *REACHES)}} for end in ("low", "high"))
    return {n: np.minimum(low[n], high[n]) for n in whole}, {n: np.maximum(low[n], high[n]) for n in whole}


def _drawn(runs: Lines, twins: Lines, draws: int, right: Floats) -> dict[str, Values]:
    """Means over seeds at the places, by radius, with seeds, images and audited points drawn anew each time.

    ``right`` has right answers minus the twins', at the images that tell what accuracy is lost.
    """
    generator, count = np.random.default_rng(0), len(runs.seeds)
    images, audited = right.shape[3], runs.margin.shape[3]
    found: dict[str, list[Values]] = {radius: [] for radius in runs.radii}
    for _ in range(draws):
        seeds = generator.integers(count, size=count)
        weights = generator.multinomial(images, np.full(images, 1 / images), size=count) / images
        points = generator.integers(audited, size=(count, audited))
        places = place(np.einsum("nskm,sm->nk", right[:, seeds], weights) / count)
        for radius, of in found.items():
            values = figures(runs, twins, radius, seeds, points)
            of.append({name: places.read(each).mean(1) for name, each in values.items()})
    return {r: {name: np.array([each[name] for each in of]).T for name in of[0]} for r, of in found.items()}


def _factor_error(runs: Lines, twins: Lines, places: Places) -> Floats:
    """The jackknife's standard error of the mean of log T / T_twin over the seeds, ``(penalties,)``."""
    left = places.read(runs.tenths - twins.tenths).mean(1)
    return np.sqrt((TENTHS - 1) / TENTHS * np.square(left - left.mean(1, keepdims=True)).sum(1))


def _transfer(read: Callable[[str], Floats], calibrated: bool) -> Floats:
    """log E / log B, of T E and T B where it is calibrated; NaN where the bound hardly moved."""
    bound = read("bound") + (read("factor") if calibrated else 0.0)
    moved = read("calibrated" if calibrated else "raw")
    return np.where(np.abs(bound) < 0.01, np.nan, moved / np.where(bound == 0, 1.0, bound))
