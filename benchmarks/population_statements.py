"""Statements about two networks, all values at once, and all statements together: how often they miss, over draws.

    python -m benchmarks.population_statements               # 2,000 draws of each, some minutes
    python -m benchmarks.population_statements --draws 200
    python -m benchmarks.population_statements page          # the table of docs/statistics.md

Populations that are made, of which everything is known: the margins of two networks and their constants, a tenth of these
between two ends alone. Writes benchmarks/results/population_statements.json.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from benchmarks.environment import markdown, read_result, write_result, write_tables
from benchmarks.population import PAGE, POINTS, Whole, covered
from lipreg.population import (
    AnyTime,
    Between,
    Draw,
    Evidence,
    Planned,
    Sample,
    difference_of_shares,
    over_constants,
    ratio_of_quantiles,
)

WORKERS = 4
"""Processes that draw."""
ROUNDED = 1e-7
"""Relative: by more than this no statement may miss; margins are known to 1e-8."""


@dataclass(frozen=True)
class Network:
    """The margins and constants of a network at all points of a population, and the margins over the constants."""

    margins: np.ndarray
    constants: Whole

    @property
    def truth(self) -> np.ndarray:
        """0 where the class is wrong."""
        return np.maximum(self.margins, 0.0) / self.constants.truth

    def samples(self, drawn: list[int], evidence: Evidence) -> tuple[Sample, Sample]:
        """The constant, and the margin over it."""
        constants = self.constants.sample(drawn, evidence)
        return constants, over_constants(constants, self.margins[drawn], self.margins)


def pairs() -> dict[str, tuple[Network, Network]]:
    """A network and its twin, by what is known of every point beforehand."""
    random, size = np.random.default_rng(1), 800
    constants = np.exp(random.normal(3, 0.5, size))
    moved = constants * np.exp(random.normal(-0.3, 0.3, size))
    margins = random.normal(4, 3, size)
    kept = margins * np.exp(random.normal(-0.1, 0.2, size)) + random.normal(0, 0.3, size)
    found = {}
    for name, known in (("ends known of every point", True), ("one ceiling", False)):
        networks = []
        for truth, ahead in ((moved, kept), (constants, margins)):
            open_ = random.random(size) < 0.1
            low, high = np.where(open_, 0.7 * truth, truth), np.where(open_, 1.5 * truth, truth)
            ceiling = truth * random.uniform(1.5, 4, size) if known else np.full(size, 4 * truth.max())
            floor = truth * random.uniform(0.3, 1, size) if known else np.zeros(size)
            networks.append(Network(ahead, Whole(name, truth, low, high, floor, ceiling)))
        found[f"a tenth wrong, {name}"] = (networks[0], networks[1])
    return found


def quantile(values: np.ndarray, share: float) -> float:
    """The smallest value that so many do not exceed."""
    return float(np.sort(values)[math.ceil(share * len(values) - 1e-9) - 1])


Drawn = tuple[tuple[Sample, Sample], tuple[Sample, Sample]]
"""Of each network the constant and the margin over it."""
Said = list[tuple[Between, float, float]]
"""Intervals, and the least and the largest number that has to lie in each."""


def statements(mine: Network, twin: Network) -> dict[str, Callable[[Drawn], Said]]:
    """What is said at a draw, and the truth of it."""
    one, other, E, F = mine.truth, twin.truth, mine.constants.truth, twin.constants.truth
    value, above = quantile(E, 0.8), quantile(one, 0.3)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = one / other  # 0 / 0 may be anything: both ends have to lie within
    least, most = (quantile(np.nan_to_num(ratio, nan=nan, posinf=math.inf), 0.5) for nan in (0.0, math.inf))
    ranked = np.unique(np.concatenate([E, np.nextafter(E, -math.inf)]))
    counts = np.searchsorted(np.sort(E), ranked, "right")

    def exact(say: Callable[[Drawn], Between], truth: float) -> Callable[[Drawn], Said]:
        return lambda drawn: [(say(drawn), truth, truth)]

    def band(drawn: Drawn) -> Said:
        """The share above a value; and above the one at which the band is furthest out, which stands for all."""
        band = drawn[0][0].band()
        low, high = band.counts(ranked)
        at = int(np.argmax(np.maximum(low - counts, counts - high)))
        return [(band.share_above(v), *[float((v < E).mean())] * 2) for v in (value, float(ranked[at]))]

    def several(drawn: Drawn) -> Said:
        constants, margins = (sample.together(5) for sample in drawn[0])
        return [
            (constants.quantile(0.5), *[quantile(E, 0.5)] * 2),
            (constants.quantile(0.9), *[quantile(E, 0.9)] * 2),
            (constants.mean(), *[float(E.mean())] * 2),
            (margins.quantile(0.5), *[quantile(one, 0.5)] * 2),
            (constants.share_above(value), *[float((value < E).mean())] * 2),
        ]

    return {
        "margin over constant: median": exact(lambda d: d[0][1].quantile(0.5), quantile(one, 0.5)),
        "margin over constant: 90 % quantile": exact(lambda d: d[0][1].quantile(0.9), quantile(one, 0.9)),
        "margin over constant: mean": exact(lambda d: d[0][1].mean(), float(one.mean())),
        "margin over constant: share above a value": exact(
            lambda d: d[0][1].share_above(above), float((one > above).mean())
        ),
        "share of points at which the constant fell": exact(
            lambda d: d[0][0].minus(d[1][0]).share_below(0.0), float((E < F).mean())
        ),
        "share of points at which the margin over it rose": exact(
            lambda d: d[0][1].minus(d[1][1]).share_above(0.0), float((one > other).mean())
        ),
        "median ratio of the constants": exact(lambda d: d[0][0].over(d[1][0]).quantile(0.5), quantile(E / F, 0.5)),
        "median ratio of margins over constants": lambda d: [(d[0][1].over(d[1][1]).quantile(0.5), least, most)],
        "ratio of the medians of margins over constants": exact(
            lambda d: ratio_of_quantiles(d[0][1], d[1][1], 0.5), quantile(one, 0.5) / quantile(other, 0.5)
        ),
        "difference of the shares above a value": exact(
            lambda d: difference_of_shares(d[0][1], d[1][1], above),
            float((one > above).mean() - (other > above).mean()),
        ),
        "band: shares above all values at once": band,
        "five statements at once": several,
    }


def coverage(mine: Network, twin: Network, evidence: Evidence, draws: int) -> dict[str, Any]:
    """How often each statement misses, and how wide its interval is in the median (of several the first)."""
    said: dict[str, list[float]] = {}
    missed: dict[str, int] = {}
    asked = statements(mine, twin)
    for seed in range(draws):
        drawn = Draw(len(mine.margins), seed).first(POINTS)
        samples = mine.samples(drawn, evidence), twin.samples(drawn, evidence)
        for name, say in asked.items():
            found = say(samples)
            missed[name] = missed.get(name, 0) + any(_misses(*one) for one in found)
            said.setdefault(name, []).append(found[0][0].high - found[0][0].low)
    widths = {name: float(median(of)) for name, of in said.items()}
    return {
        name: {"missed": missed[name], "width": width if math.isfinite(width) else None}
        for name, width in widths.items()
    }


def _misses(found: Between, least: float, most: float) -> bool:
    slack = ROUNDED * max(abs(least), 1e-3)
    return not (found.low - slack <= least and most <= found.high + slack)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The table of docs/statistics.md."""
    return markdown([row for entry in rows for row in covered(entry, ".3g")])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("what", nargs="?", choices=("measure", "page"), default="measure")
    asked = parser.parse_args()
    if asked.what == "measure":
        kinds: list[Evidence] = [Planned(), AnyTime()]
        with ProcessPoolExecutor(WORKERS) as pool:
            under_way = {
                name: [pool.submit(coverage, *networks, kind, asked.draws) for kind in kinds]
                for name, networks in pairs().items()
            }
            rows: list[dict[str, Any]] = []
            for name, found in under_way.items():
                row = {kind.name: own.result() for kind, own in zip(kinds, found, strict=True)}
                rows.append({"population": name, "draws": asked.draws} | row)
                print(json.dumps(rows[-1]), flush=True)
        write_result("population_statements", rows)
    write_tables(PAGE, {"statements": table(read_result("population_statements"))})


if __name__ == "__main__":
    main()
