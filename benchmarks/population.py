"""What a sample says of a data set, against the whole of it: coverage over thousands of draws, and what a rule saves.

    python -m benchmarks.population            # audits all 719 held-out digits exactly, then draws: some minutes
    python -m benchmarks.population --draws 200
    python -m benchmarks.population page       # the tables of docs/statistics.md

Writes benchmarks/results/population.json: for each kind of population and evidence, how many draws missed the truth of each
statement, and how wide the intervals were in the median; for the rules, how many points they took.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from benchmarks.environment import markdown, read_result, write_result, write_tables
from lipreg import LinfBall, LocalLipschitz
from lipreg.auditing import AuditPlan
from lipreg.population import AnyTime, Between, Draw, Evidence, MeanWithin, Planned, QuantileWithin, Rule, Sample
from lipreg.surveys import Population, next_points, survey

PAGE = Path(__file__).parents[1] / "docs" / "statistics.md"
RADIUS, HELD_OUT, EPOCHS, POINTS = 0.05, 719, 60, 60
ABOVE = 0.8
"""The share statement asks about this quantile of the truth."""


@dataclass(frozen=True)
class Whole:
    """A population of which everything is known.

    Attributes:
        name: of what.
        truth: the quantity at every point.
        low, high: the ends that an audit of the point would have.
        floor, ceiling: the ends that are known of every point beforehand.
    """

    name: str
    truth: np.ndarray
    low: np.ndarray
    high: np.ndarray
    floor: np.ndarray
    ceiling: np.ndarray

    def sample(self, drawn: list[int], evidence: Evidence) -> Sample:
        ends = self.low[drawn], self.high[drawn], self.floor, self.ceiling
        return Sample(len(self.truth), drawn, *ends, evidence=evidence)


def digits() -> tuple[Whole, float]:
    """The held-out digits and a network trained on the others, audited at every point; and the seconds that it took."""
    data: Any = load_digits()
    x, y = torch.tensor(data.data / 16, dtype=torch.float32), torch.tensor(data.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, held_out = order[HELD_OUT:], order[:HELD_OUT]
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(EPOCHS):
        for part in train[torch.randperm(len(train))].split(32):
            loss = nn.functional.cross_entropy(net(x[part]), y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    began = time.process_time()
    problem = LocalLipschitz(LinfBall(RADIUS))
    plan = AuditPlan(problem, ["branch_and_bound"], budget=7200.0, attack=None)  # type: ignore[arg-type]
    found = survey(net, plan, Population(x[held_out], y[held_out], until=HELD_OUT))
    seconds = time.process_time() - began
    at = [point.point for point in found.points]
    low, high = np.empty(HELD_OUT), np.empty(HELD_OUT)
    low[at], high[at] = found.sample.ends
    print(f"{sum(p.combined.gap < 1e-6 for p in found.points)} of {HELD_OUT} exact in {seconds:.0f} s")
    return Whole(f"digits, radius {RADIUS}", (low + high) / 2, low, high, *found.prior_bounds), seconds


def populations() -> list[Whole]:
    """Made populations: with heavy tails, few values, and a tenth of the points known between two ends only."""
    random, found = np.random.default_rng(0), []
    for name, truth in {
        "log-normal": np.exp(random.normal(3, 0.5, 1000)),
        "heavy tail": 1 + random.pareto(1.5, 1000),
        "few values": random.integers(1, 6, 400).astype(float),
        "two kinds": np.where(random.random(700) < 0.1, 100.0, 1.0) * random.uniform(0.9, 1.1, 700),
    }.items():
        size, open_ = len(truth), random.random(len(truth)) < 0.1
        low, high = np.where(open_, 0.7 * truth, truth), np.where(open_, 1.5 * truth, truth)
        ceiling = truth * random.uniform(1.5, 4, size)
        floor, top = truth * random.uniform(0.3, 1, size), np.full(size, ceiling.max())
        found += [Whole(f"{name}, ends known of every point", truth, low, high, floor, ceiling)]
        found += [Whole(f"{name}, one ceiling", truth, low, high, np.zeros(size), top)]
    return found


def statements(whole: Whole) -> dict[str, tuple[Callable[[Sample], Between], float]]:
    """What is said, and the truth of it."""
    ranked, size = np.sort(whole.truth), len(whole.truth)

    def quantile(share: float) -> float:
        return float(ranked[int(np.ceil(share * size - 1e-9)) - 1])

    value = quantile(ABOVE)
    return {
        "median": (lambda sample: sample.quantile(0.5), quantile(0.5)),
        "90 % quantile": (lambda sample: sample.quantile(0.9), quantile(0.9)),
        "mean": (lambda sample: sample.mean(), float(whole.truth.mean())),
        "share above": (lambda sample: sample.share_above(value), float((whole.truth > value).mean())),
    }


def fixed(whole: Whole, evidence: Evidence, draws: int) -> dict[str, Any]:
    """POINTS points a draw: how often each statement misses, and its width over its truth in the median."""
    found, samples = {}, [whole.sample(Draw(len(whole.truth), seed).first(POINTS), evidence) for seed in range(draws)]
    for name, (say, truth) in statements(whole).items():
        said = [say(sample) for sample in samples]
        missed = sum(not one.low - 1e-9 <= truth <= one.high + 1e-9 for one in said)
        width = float(median((one.high - one.low) / truth for one in said))
        found[name] = {"missed": missed, "width": width if math.isfinite(width) else None}
    return found


def stopped(whole: Whole, rule: Rule, draws: int) -> dict[str, Any]:
    """Draws that a rule ends: how often each statement misses when it does, and at how many points."""
    asked = statements(whole)
    missed, points = dict.fromkeys(asked, 0), []
    for seed in range(draws):
        order, done = Draw(len(whole.truth), seed).order(), 0
        sample = whole.sample([], AnyTime())
        while done < len(order) and not (done and rule.met(sample)):
            done += next_points(rule, done, len(order))
            sample = whole.sample(order[:done], AnyTime())
        points.append(done)
        for name, (say, truth) in asked.items():
            said = say(sample)
            missed[name] += not said.low - 1e-9 <= truth <= said.high + 1e-9
    return {"missed": missed, "points, median": median(points), "points, most": max(points), "of": len(whole.truth)}


def covered(entry: dict[str, Any], digits: str) -> list[dict[str, Any]]:
    """A row for each statement of a data set: how often it missed, and how wide it was, in the format ``digits``."""
    rows = []
    for name in entry["planned"]:
        row = {"data set": entry["population"], "statement": name, "draws": entry["draws"]}
        for kind in ("planned", "at any time"):
            found = entry[kind][name]
            width = "no bound" if found["width"] is None else f"{found['width']:{digits}}"
            row |= {f"{kind}: missed": f"{100 * found['missed'] / entry['draws']:.1f} %", f"{kind}: width": width}
        rows.append(row)
    return rows


def tables() -> list[str]:
    """The tables of docs/statistics.md, from the committed results."""
    coverage, rules = [], []
    for entry in read_result("population")[1:]:
        coverage += covered(entry, ".2f")
        for name, found in entry["rules"].items():
            worst = max(found["missed"].values())
            points = f"{found['points, median']:g}", f"{found['points, most']:g}", f"{found['of']:g}"
            row = {"data set": entry["population"], "until": name}
            row |= dict(zip(("points, median", "most", "of"), points, strict=True))
            rules.append(row | {"the statement that missed most": f"{100 * worst / entry['draws']:.1f} %"})
    return [markdown(coverage), markdown(rules)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000, help="of the digits; of made populations a quarter")
    parser.add_argument("what", nargs="?", choices=("measure", "page"), default="measure")
    asked = parser.parse_args()
    if asked.what == "measure":
        measure(asked.draws)
    write_tables(PAGE, dict(zip(("coverage", "rules"), tables(), strict=True)))


def measure(most: int) -> None:
    """Audits, draws, and writes the results."""
    real, seconds = digits()
    name, nothing = f"{real.name}, without ends known beforehand", np.full(HELD_OUT, np.inf)
    bare = replace(real, name=name, floor=np.zeros(HELD_OUT), ceiling=nothing)
    rules = {"90 % quantile within 10 %": QuantileWithin(0.9, 0.1), "mean within 10 %": MeanWithin(0.1)}
    found = []
    for whole in (real, bare, *populations()):
        draws = most if any(whole is one for one in (real, bare)) else most // 4
        entry: dict[str, Any] = {"population": whole.name, "draws": draws}
        entry |= {evidence.name: fixed(whole, evidence, draws) for evidence in (Planned(), AnyTime())}
        asked = {
            name: rule for name, rule in rules.items() if whole is not bare or "mean" not in name
        }  # it has no range
        entry["rules"] = {name: stopped(whole, rule, draws) for name, rule in asked.items()}
        print(json.dumps(entry), flush=True)
        found.append(entry)
    write_result("population", [{"audit seconds": round(seconds)}, *found])


if __name__ == "__main__":
    main()
