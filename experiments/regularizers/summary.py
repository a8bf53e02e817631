"""From the study's rows to its figures: each run against its twin, then over the seeds, then at equal accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from experiments.regularizers.jobs import BOUNDS, POINTED_BOUND, TWIN, Row
from lipreg.transfer import Interval, geometric_mean, mean_of, mean_tightness, ratio, tightness, transfer

POINTED = "affine_relu_pointed"
NAMES = {
    TWIN: "none",
    "weight_decay": "weight decay",
    "l1": "l1 on weights",
    "dropout": "dropout",
    "fgsm": "FGSM training",
    "pgd": "PGD training",
    "gradient_penalty": "gradient penalty",
    "jacobian_frobenius": "Jacobian Frobenius",
    "jacobian": "Jacobian norm",
    "spectral": "spectral product",
    POINTED: "affine-ReLU, pointed",
    "affine_relu": "affine-ReLU, regional",
    "abs_chain": "abs-chain",
    "fastlip": "interval Jacobian",
}
"""What tables and figures call the regularisers, in their order."""
YARDSTICK = "affine_relu"
"""The bound that regularisers without one of their own are seen by."""
EQUAL_ACCURACY = 0.01
"""How far the accuracy may lie below the twin's and still count as equal."""


@dataclass(frozen=True)
class Against:
    """A run against its twin, both after the same epoch and at the same reference points.

    Attributes:
        accuracy, change: the run's accuracy, and how far it lies above the twin's; shares.
        exact: mean of the exact constants over the points.
        movement: of the truth, E_run / E_twin, geometric mean over the points.
        bound, tightness, bound_movement, transfer: of the run's own bound, or of the yardstick; None where the run has no
            such audit, transfer also where the bound did not move.
    """

    accuracy: float
    change: float
    exact: Interval
    movement: Interval
    bound: float | None
    tightness: Interval | None
    bound_movement: float | None
    transfer: Interval | None


@dataclass(frozen=True)
class Spread:
    """A figure over the seeds: a mean of the middles, and the range of all that the seeds' intervals hold."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Strength:
    """One regulariser at one strength, over the seeds at its last epoch."""

    regularizer: str
    weight: float
    seeds: tuple[Against, ...]

    def spread(self, name: str, logarithmic: bool = False) -> Spread | None:
        """A figure of ``Against`` over the seeds; None where a seed lacks it.

        Args:
            name: of the attribute.
            logarithmic: the mean is a geometric one, as ratios need it.
        """
        values = [getattr(seed, name) for seed in self.seeds]
        if any(value is None for value in values):
            return None
        intervals = [value if isinstance(value, Interval) else Interval(value, value) for value in values]
        middles = [interval.midpoint for interval in intervals]
        if logarithmic:
            mean = math.exp(math.fsum(map(math.log, middles)) / len(middles)) if min(middles) > 0 else 0.0
        else:
            mean = math.fsum(middles) / len(middles)
        return Spread(mean, min(i.lower for i in intervals), max(i.upper for i in intervals))


@dataclass(frozen=True)
class AtEqualAccuracy:
    """How far a regulariser gets before it costs accuracy: the lowest place on the line through its strengths.

    Attributes:
        regularizer: its name.
        below, above: the strengths between which the place lies; equal at a strength itself. 0 is the twin.
        movement, bound_movement: of the truth and of the bound there.
        transfer: log movement of the truth over log movement of the bound; None where the bound did not move.
        limited: whether accuracy stopped it, rather than the strengths that were tried.
    """

    regularizer: str
    below: float
    above: float
    movement: Spread
    bound_movement: Spread | None
    transfer: float | None
    limited: bool


def datasets(rows: Iterable[Row]) -> list[str]:
    """The data sets that have at least one whole seed, in the order of the rows."""
    rows = list(rows)
    return [name for name in dict.fromkeys(row["dataset"] for row in rows) if whole_seeds(rows, name)]


def whole_seeds(rows: Iterable[Row], dataset: str) -> list[int]:
    """The seeds for which every run is there that any seed has: a study that was cut short compares no other."""
    runs: dict[int, set[tuple[str, float]]] = {}
    for row in rows:
        if row["dataset"] == dataset and row["last"]:
            runs.setdefault(row["seed"], set()).add((row["regularizer"], row["weight"]))
    everything = set().union(*runs.values())
    return sorted(seed for seed, found in runs.items() if found == everything and (TWIN, 0.0) in found)


def strengths(rows: Iterable[Row], dataset: str) -> list[Strength]:
    """All regularisers and strengths of a data set over its whole seeds, the twin first, each in ascending strength.

    A strength at which a training diverged, so that there is no constant, is left out.
    """
    rows = list(rows)
    seeds = whole_seeds(rows, dataset)
    last = {(r["regularizer"], r["weight"], r["seed"]): r for r in rows if r["dataset"] == dataset and r["last"]}
    order = list(NAMES)
    runs = sorted({key[:2] for key in last if key[2] in seeds}, key=lambda run: (order.index(run[0]), run[1]))
    found = []
    for name, weight in runs:
        mine, twins = ([last[run[0], run[1], seed] for seed in seeds] for run in ((name, weight), (TWIN, 0.0)))
        if all("exact" in row for row in (*mine, *twins)):
            compared = tuple(against(row, twin) for row, twin in zip(mine, twins, strict=True))
            found.append(Strength(name, weight, compared))
    return found


def against(row: Row, twin: Row) -> Against:
    """Compares a run's row with its twin's."""
    exact, movement = _constants(row), _movement(row, twin)
    bounds = _own_bound(row, twin)
    tight, bound_movement, share = None, None, None
    if bounds is not None:
        mine, other, truth, its_movement = bounds
        tight = mean_tightness([tightness(bound, exact) for bound, exact in zip(mine, truth, strict=True)])
        steps = [ratio(Interval(b, b), Interval(t, t)) for b, t in zip(mine, other, strict=True)]
        moved = geometric_mean([step for step in steps if step is not None])
        bound_movement, share = moved.midpoint, transfer(its_movement, moved)[0]
    return Against(
        accuracy=row["accuracy"],
        change=row["accuracy"] - twin["accuracy"],
        exact=mean_of(exact),
        movement=movement,
        bound=None if bounds is None else _mean(bounds[0]),
        tightness=tight,
        bound_movement=bound_movement,
        transfer=share,
    )


def own_bound(regularizer: str) -> str:
    """The bound that a regulariser lowers, else the yardstick."""
    return regularizer if regularizer in BOUNDS else POINTED_BOUND if regularizer == POINTED else YARDSTICK


def at_equal_accuracy(found: Sequence[Strength], loss: float = EQUAL_ACCURACY) -> list[AtEqualAccuracy]:
    """For each regulariser, how far down it brings the truth at a mean accuracy at most ``loss`` below the twins'.

    The strengths of a regulariser, in ascending order from the twin on, are joined by lines in mean accuracy and log
    movement; the lowest place on them that is accurate enough counts. Sorted by the movement of the truth.
    """
    by_name: dict[str, list[Strength]] = {}
    for strength in found:
        by_name.setdefault(strength.regularizer, []).append(strength)
    twin = by_name.pop(TWIN)[0]
    places = [_lowest(name, [twin, *sorted(own, key=lambda s: s.weight)], loss) for name, own in by_name.items()]
    return sorted(places, key=lambda place: place.movement.mean)


def _lowest(name: str, line: Sequence[Strength], loss: float) -> AtEqualAccuracy:
    changes = [_mean([seed.change for seed in strength.seeds]) for strength in line]
    places = [(i, i, 0.0) for i, change in enumerate(changes) if change >= -loss]
    for i, (first, second) in enumerate(pairwise(changes)):
        if (first + loss) * (second + loss) < 0:  # the line crosses the limit between two strengths
            places.append((i, i + 1, (first + loss) / (first - second)))

    def spread(read: Callable[[Against], float], place: tuple[int, int, float]) -> Spread:
        seeds = [
            math.exp((1 - place[2]) * math.log(read(one)) + place[2] * math.log(read(two)))
            for one, two in zip(line[place[0]].seeds, line[place[1]].seeds, strict=True)
        ]
        return Spread(math.exp(_mean([math.log(value) for value in seeds])), min(seeds), max(seeds))

    def truth(place: tuple[int, int, float]) -> Spread:
        return spread(lambda seed: seed.movement.midpoint, place)

    best = min(places, key=lambda place: truth(place).mean)
    movement, bound, share = truth(best), None, None
    if all(seed.bound_movement is not None for i in best[:2] for seed in line[i].seeds):
        bound = spread(lambda seed: seed.bound_movement or math.nan, best)
        if name != POINTED:
            share = _share(movement.mean, bound.mean)
        else:  # its own truth is the pointed constant, which moves by itself
            shares = [s.spread("transfer") for s in (line[best[0]], line[best[1]])]
            known = [s.mean for s in shares if s is not None]
            share = _mean(known) if known else None
    return AtEqualAccuracy(
        name, line[best[0]].weight, line[best[1]].weight, movement, bound, share, min(changes[1:]) < -loss
    )


def _share(movement: float, bound_movement: float) -> float | None:
    found = transfer(Interval(movement, movement), bound_movement)[0]
    return None if found is None else found.midpoint


def _own_bound(row: Row, twin: Row) -> tuple[list[float], list[float], list[Interval], Interval] | None:
    """The bounds of run and twin, the truth they bound, and its movement; None where it was not audited."""
    name = own_bound(row["regularizer"])
    if row["regularizer"] == POINTED:
        if "pointed" not in row or "pointed" not in twin:
            return None
        row, twin = row["pointed"], twin["pointed"]
    return row["bounds"][name], twin["bounds"][name], _constants(row), _movement(row, twin)


def _constants(row: Row) -> list[Interval]:
    return [Interval(*ends) for ends in row["exact"]]


def _movement(row: Row, twin: Row) -> Interval:
    ratios = [ratio(mine, other) for mine, other in zip(_constants(row), _constants(twin), strict=True)]
    return geometric_mean([r for r in ratios if r is not None])


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
