"""Every penalty at one point of accuracy lost: its figures, their bootstrap intervals, and who is told apart from whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from experiments.exact_study.choosing import LOST
from experiments.exact_study.lines import AtRadius, Floats, Lines, lines
from experiments.exact_study.rows import TENTHS, Row

DRAWS = 2000
CERTIFIED = ("exact", "closest", "own")
REACHES = tuple(f"radius_{method}" for method in (*CERTIFIED, "better"))
FIGURES = ("margin", "calibrated", "raw", "bound", *CERTIFIED, *REACHES)
"""Logarithms against the twin's, of margin over constant, T E, E and B; then shares that are certified, and mean radii, by
the exact upper end, by the closest closed form and by the run's own bound; radii by the better one of these two as well."""
HIGHER_IS_BETTER = ("margin", *CERTIFIED, *REACHES)
Values = dict[str, Floats]


@dataclass(frozen=True)
class Places:
    """Where each penalty has lost one point: between which strengths, and how far from the lower one.

    Attributes:
        lower: index of the lower strength, ``(penalties,)``.
        share: of the way to the next one, in the logarithm.
        limited: "accuracy", "the largest strength", "the weakest strength", or "a constant network".
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
        factor_error: standard error of the mean of log T / T_twin that the shared calibration points leave; the draws
            have it too.
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
        return (over_seeds(self.low, figure) + over_seeds(self.high, figure)) / 2

    def interval(self, figure: str) -> Floats:
        """95 % percentiles of the bootstrap, ``(penalties, 2)``."""
        return np.percentile(self.draws[figure], (2.5, 97.5), axis=1).T

    def transfer(self, calibrated: bool = False) -> tuple[Floats, Floats]:
        """log movement of the constant over that of the bound, both means over seeds: its value, and its interval.

        Undefined where the interval of the bound's movement holds 0: a share of what may be nothing says nothing.
        """
        known = self._bound_moved(calibrated)
        ends = np.nanpercentile(_transfer(self.draws.__getitem__, calibrated), (2.5, 97.5), axis=1).T
        return np.where(known, _transfer(self.mean, calibrated), np.nan), np.where(known[:, None], ends, np.nan)

    def _bound_moved(self, calibrated: bool) -> np.ndarray:
        low, high = np.percentile(_movement(self.draws.__getitem__, calibrated), (2.5, 97.5), axis=1)
        return (low > 0) | (high < 0)

    def by_seed(self, figure: str) -> tuple[Floats, Floats]:
        """A figure's ends at each seed, of ``FIGURES`` or "transfer" or "calibrated transfer"."""
        if figure in FIGURES:
            return self.low[figure], self.high[figure]
        calibrated = figure != "transfer"
        known = self._bound_moved(calibrated)[:, None]
        ends = [np.where(known, _transfer(of.__getitem__, calibrated), np.nan) for of in (self.low, self.high)]
        return np.minimum(*ends), np.maximum(*ends)

    def apart(self, one: str, other: str, figure: str) -> int:
        """-1 where ``one`` is lower than ``other`` in a figure, by the rule for claims, 1 where it is higher, else 0."""
        i, j = self.names.index(one), self.names.index(other)
        low, high = self.by_seed(figure)
        draws = self.draws[figure] if figure in FIGURES else _transfer(self.draws.__getitem__, figure != "transfer")
        ends = np.nanpercentile(draws[i] - draws[j], (2.5, 97.5))
        if ends[1] < 0 and (high[i] < low[j]).all():
            return -1
        return int(ends[0] > 0 and (low[i] > high[j]).all())

    def difference(self, one: str, other: str, figure: str) -> tuple[float, Floats, int]:
        """Of two means of one of ``FIGURES``: its value, its interval, and in how many seeds it has the value's sign."""
        i, j = self.names.index(one), self.names.index(other)
        value = float(self.mean(figure)[i] - self.mean(figure)[j])
        ends = np.percentile(self.draws[figure][i] - self.draws[figure][j], (2.5, 97.5))
        low, high = self.by_seed(figure)
        seeds = (low[i] > high[j]) if value > 0 else (high[i] < low[j])
        return value, ends, int(seeds.sum())


def readings(
    rows: Sequence[Row],
    question: str,
    draws: int = DRAWS,
    by: Literal["selection", "held"] = "selection",
    other_twins: bool = False,
    names: Sequence[str] = (),
) -> list[Reading]:
    """The reading at every radius; none where no seed is whole.

    Args:
        rows, question: of what.
        draws: of the bootstrap.
        by: on which data a point of accuracy is lost.
        other_twins: whether all is compared with the question's other twins.
        names: of the penalties; those of the design, where none is given.
    """
    found = lines(rows, question, other_twins, names)
    if found is None:
        return []
    runs, twins = found
    every = np.arange(len(runs.seeds))
    change = {data: getattr(runs, data).mean(3) - getattr(twins, data).mean(3) for data in ("selection", "held")}
    constant = _constant(runs)
    places = place(change[by].mean(1))
    places = replace(places, limited=tuple(_limits(places, constant)))
    lost = [-places.read(np.where(constant, np.nan, change[data])).mean(1) for data in ("selection", "held")]
    all_points = np.tile(np.arange(runs.margin.shape[3]), (len(every), 1))
    drawn = _drawn(runs, twins, draws, getattr(runs, by) - getattr(twins, by), by == "held")
    return [
        Reading(
            runs.names,
            runs.seeds,
            radius,
            places,
            np.exp(places.read(np.log(runs.strengths)[:, None])[:, 0]),
            (lost[0], lost[1]),
            *_ends(runs, twins, radius, places, every, all_points),
            drawn[radius],
            _factor_error(runs, twins, places),
        )
        for radius in runs.radii
    ]


def _constant(runs: Lines) -> np.ndarray:
    """Where a network has become constant around a point, ``(penalties, seeds, strengths)``."""
    return np.any([np.isnan(at.high).any(3) for at in runs.radii.values()], axis=0)


def _limits(places: Places, constant: np.ndarray) -> Iterator[str]:
    """What stopped each penalty; the lower of two strengths counts where networks of the upper one are constant."""
    for i, (lower, limited) in enumerate(zip(places.lower, places.limited, strict=True)):
        collapsed = limited == "accuracy" and constant[i, :, lower + 1].any()
        yield "a constant network" if collapsed else limited


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


def over_seeds(values: Values, figure: str) -> Floats:
    """The mean of a figure over the second axis.

    That of the margin is the logarithm of a ratio of means: one seed whose median point is wrong counts as 0 there, and
    would be all of a mean of logarithms.
    """
    if figure == "margin":
        own, twin = (np.log(np.exp(values[name]).mean(1)) for name in ("own margin", "twin's margin"))
        return own - twin
    return values[figure].mean(1)


def _moved(tenths: Floats, shares: np.ndarray) -> Floats:
    """What log T moves where each tenth of the calibration points counts so often, to first order, by the jackknife."""
    known = ~np.isnan(tenths)
    mean = np.nansum(tenths, axis=-1, keepdims=True) / np.maximum(known.sum(-1, keepdims=True), 1)
    left = np.where(known, mean - tenths, 0.0)
    return (TENTHS - 1) / TENTHS * (left * (shares - 1)).sum(-1)


def figures(
    runs: Lines, twins: Lines, radius: str, seeds: np.ndarray, points: np.ndarray, shares: np.ndarray | None = None
) -> Values:
    """All figures ``(penalties, seeds, strengths)``, of some seeds and of some audited points of each, with middles of E.

    All of a run whose network is constant around a point are NaN. ``shares`` say how often each tenth of the calibration
    points counts.
    """
    mine, twin = runs.radii[radius], twins.radii[radius]

    def taken(values: Floats) -> Floats:
        return np.take_along_axis(values[:, seeds], points[None, :, None, :], 3)

    exact, other = ((taken(at.low) + taken(at.high)) / 2 for at in (mine, twin))
    factor = runs.factor[:, seeds] - twins.factor[:, seeds]
    if shares is not None:
        factor = factor + _moved(runs.tenths, shares)[:, seeds] - _moved(twins.tenths, shares)[:, seeds]
    medians = [_median(taken(of.margin), at) for of, at in ((runs, exact), (twins, other))]
    better = np.minimum(mine.near, mine.bound)
    raw = exact.mean(3) - other.mean(3)
    found = {
        "margin": medians[0] - medians[1],
        "own margin": medians[0],
        "twin's margin": np.broadcast_to(medians[1], medians[0].shape),
        "calibrated": raw + factor,
        "raw": raw,
        "bound": taken(mine.bound).mean(3) - taken(mine.twin_bound).mean(3),
        "factor": factor,
        "exact": taken(mine.exact).mean(3),
        "closest": mine.closest[:, seeds].mean(3),
        "own": mine.own[:, seeds].mean(3),
        **{
            name: _reach(taken(runs.margin), taken(upper), float(radius))
            for name, upper in zip(REACHES, (mine.high, mine.near, mine.bound, better), strict=True)
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


def draw(
    runs: Lines, twins: Lines, draws: int, right: Floats, shared: bool = False
) -> Iterator[tuple[Floats, dict[str, Values]]]:
    """The bootstrap: change of accuracy ``(penalties, strengths)`` and all figures by radius, a draw at a time.

    Seeds, images, audited points and tenths of the calibration points are drawn anew each time.

    Args:
        runs, twins: of one question.
        draws: how many.
        right: right answers minus the twins', at the images that tell what accuracy is lost.
        shared: whether these are the same images for all seeds.
    """
    generator, count = np.random.default_rng(0), len(runs.seeds)
    images, audited = right.shape[3], runs.margin.shape[3]
    of_tenths = np.random.default_rng(1)
    for _ in range(draws):
        seeds = generator.integers(count, size=count)
        weights = generator.multinomial(images, np.full(images, 1 / images), size=1 if shared else count) / images
        points = generator.integers(audited, size=(count, audited))
        shares = of_tenths.multinomial(TENTHS, np.full(TENTHS, 1 / TENTHS))
        weights = np.broadcast_to(weights, (count, images))
        change = np.einsum("nskm,sm->nk", right[:, seeds], weights) / count
        yield change, {radius: figures(runs, twins, radius, seeds, points, shares) for radius in runs.radii}


def _drawn(runs: Lines, twins: Lines, draws: int, right: Floats, shared: bool) -> dict[str, Values]:
    """Means over seeds at the places, a draw a column, by radius."""
    found: dict[str, list[Values]] = {radius: [] for radius in runs.radii}
    for change, values in draw(runs, twins, draws, right, shared):
        places = place(change)
        for radius, of in found.items():
            read = {name: places.read(each) for name, each in values[radius].items()}
            of.append({name: over_seeds(read, name) for name in read})
    return {r: {name: np.array([each[name] for each in of]).T for name in of[0]} for r, of in found.items()}


def _factor_error(runs: Lines, twins: Lines, places: Places) -> Floats:
    """The jackknife's standard error of the mean of log T / T_twin over the seeds, ``(penalties,)``."""
    left = places.read(runs.tenths - twins.tenths).mean(1)
    return np.sqrt((TENTHS - 1) / TENTHS * np.square(left - left.mean(1, keepdims=True)).sum(1))


def _transfer(read: Callable[[str], Floats], calibrated: bool) -> Floats:
    """log E / log B, of T E and T B where it is calibrated."""
    bound = _movement(read, calibrated)
    moved = read("calibrated" if calibrated else "raw")
    return np.where(bound == 0, np.nan, moved / np.where(bound == 0, 1.0, bound))


def _movement(read: Callable[[str], Floats], calibrated: bool) -> Floats:
    """log B, of T B where it is calibrated."""
    return read("bound") + (read("factor") if calibrated else 0.0)
