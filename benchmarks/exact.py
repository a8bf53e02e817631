"""The exact engines against each other: python -m benchmarks.exact [--seconds 60] [--engines mip,branch_and_bound]

The reference networks of LIPREG_REFERENCE (see CONTRIBUTING.md), one functional each, one thread. An engine is an exact
estimator of lipreg, or one with another solver behind it: mip@gurobi, part of the default where Gurobi is installed (its pip
licence is large enough). Times are CPU seconds of the whole answer: pre-activation bounds, starting points and search.

One row a case, norm and engine, written to benchmarks/results/exact.json; beside it a cactus plot: how many questions each
engine closes within so many seconds a question.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from torch import nn

from benchmarks.environment import RESULTS, markdown, write_result
from lipreg import Box, Combination, LocalLipschitz
from lipreg.estimators import certify, get_estimator
from lipreg.estimators.settings import Settings
from lipreg.milp import installed_solvers

matplotlib.use("Agg")

NORMS = ("inf", "2", "1")
CLOSED = 1e-5
"""Relative gap at which an answer counts as closed, as for ``Certificate.EXACT``."""


def folder() -> Path:
    """Where the reference networks are."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "reference"
    return Path(os.environ.get("LIPREG_REFERENCE") or beside)


def question(case: str, norm: str) -> tuple[nn.Module, LocalLipschitz, torch.Tensor]:
    """A reference network, what is asked of it, and the reference point."""
    arrays = dict(np.load(folder() / "cases" / f"{case}.npz"))
    layers: list[nn.Module] = []
    for k in itertools.takewhile(lambda k: f"W{k}" in arrays, itertools.count()):
        weight, bias = torch.from_numpy(arrays[f"W{k}"]), torch.from_numpy(arrays[f"b{k}"])
        layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
        layer.weight.data, layer.bias.data = weight, bias
        layers += [layer, nn.ReLU()]
    box = Box(arrays["lo"].tolist(), arrays["hi"].tolist())
    output = Combination(tuple(arrays["c"].tolist()))
    problem = LocalLipschitz(box, output, p=norm)  # type: ignore[arg-type]
    return nn.Sequential(*layers[:-1]), problem, torch.from_numpy(arrays["x0"]).unsqueeze(0)


def answer(engine: str, case: str, norm: str, seconds: float) -> tuple[float, float, float] | None:
    """CPU seconds, lower and upper end; None where the engine does not cover the question."""
    net, problem, x = question(case, norm)
    name, _, solver = engine.partition("@")
    if get_estimator(name).uncovered(problem) is not None:
        return None
    began = time.process_time()
    (found,) = certify(net, problem, x, estimator=name, budget=seconds, settings=Settings(solver or "highs"))
    return time.process_time() - began, found.lower, found.upper


def measure(engines: list[str], seconds: float) -> list[dict[str, Any]]:
    """One row a case, norm and engine."""
    exact = json.loads((folder() / "exact.json").read_text())
    known = json.loads((folder() / "best_known.json").read_text())
    rows = []
    for case, norm, engine in itertools.product(exact, NORMS, engines):
        found = answer(engine, case, norm, seconds)
        if found is None:
            continue
        spent, lower, upper = found
        gap = max(0.0, (upper - lower) / upper)
        rows.append(
            {
                "case": case,
                "p": norm,
                "engine": engine,
                "closed": gap <= CLOSED,
                "cpu_seconds": round(spent, 3),
                "gap": float(f"{gap:.2g}"),
                "error": float(f"{abs(upper / exact[case][norm] - 1):.1g}") if gap <= CLOSED else None,
                "best_known_seconds": known[case][norm]["seconds"],
            }
        )
        print(rows[-1], flush=True)
    return rows


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row an engine: how many it closed, and how much faster branch and bound is where both close."""
    times = {(r["case"], r["p"], r["engine"]): r["cpu_seconds"] for r in rows if r["closed"]}
    lines = []
    for engine in dict.fromkeys(r["engine"] for r in rows):
        own = [r for r in rows if r["engine"] == engine]
        pairs = [
            (times[r["case"], r["p"], engine], times[r["case"], r["p"], "branch_and_bound"])
            for r in own
            if r["closed"] and (r["case"], r["p"], "branch_and_bound") in times
        ]
        beaten = sum(r["closed"] and r["cpu_seconds"] <= r["best_known_seconds"] for r in own)
        lines.append(
            {
                "engine": engine,
                "closed": f"{sum(r['closed'] for r in own)} of {len(own)}",
                "CPU seconds, all": f"{sum(r['cpu_seconds'] for r in own):.1f}",
                "largest gap": f"{max(r['gap'] for r in own):.2g}",
                "as fast as best known": f"{beaten} of {len(own)}",
                "branch and bound is faster by": f"{statistics.geometric_mean(a / b for a, b in pairs):.1f}"
                if pairs
                else "",
            }
        )
    return lines


def cactus(rows: list[dict[str, Any]]) -> None:
    """How many questions each engine closes within a time each, as SVG and PNG."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for engine in dict.fromkeys(r["engine"] for r in rows):
        closed = sorted(r["cpu_seconds"] for r in rows if r["engine"] == engine and r["closed"])
        asked = sum(r["engine"] == engine for r in rows)
        axes.step(
            [*closed, math.nan], [*range(1, len(closed) + 1), math.nan], where="post", label=f"{engine} ({asked})"
        )
    best = sorted({(r["case"], r["p"]): r["best_known_seconds"] for r in rows}.values())
    axes.step(best, range(1, len(best) + 1), where="post", label="best known", color="gray", linestyle=":")
    axes.set(xscale="log", xlabel="CPU seconds a question", ylabel="questions closed")
    figure.legend(title="engine (questions it covers)", loc="outside right upper")
    figure.savefig(RESULTS / "exact.svg", metadata={"Date": None})
    figure.savefig(RESULTS / "exact.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="wall-clock limit of an answer")
    gurobi = ",mip@gurobi" if "gurobi" in installed_solvers() else ""
    parser.add_argument("--engines", default=f"lipmip,mip{gurobi},branch_and_bound")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    question("rand0", "inf")  # imports and first calls are nobody's time
    for engine in arguments.engines.split(","):
        answer(engine, "digits_s_p0_e0.05", "inf", 5.0)
    rows = measure(arguments.engines.split(","), arguments.seconds)
    write_result("exact", rows)
    cactus(rows)
    print(markdown(summary(rows)))


if __name__ == "__main__":
    main()
