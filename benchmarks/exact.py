"""The exact engines against each other: python -m benchmarks.exact [--set NAME] [--seconds 60] [--engines mip,lipmip]

An engine is an exact estimator of lipreg, or one with another solver behind it: mip@gurobi, part of the default where Gurobi
is installed (its pip licence is large enough). Times are CPU seconds of the whole answer on one thread: pre-activation
bounds, starting points and search. One row a question and engine is written to benchmarks/results.

``reference``, the default, asks one functional of each of the networks of LIPREG_REFERENCE (see CONTRIBUTING.md):
exact.json, and beside it a cactus plot: how many questions each engine closes within so many seconds a question. ``balls``
asks the same in an l2 ball about each reference point, of radius 0.5 sqrt(inputs) times the box's half-width and cut by
nothing, beside the box: exact_balls.json. ``pointed`` asks for the pointed constants at the reference points, over the
same boxes, by the two engines that have it: exact_pointed.json. The other names but one are sets of
``benchmarks.published``, with their own limit of CPU seconds and engines unless others are named: exact_NAME.json.

``size`` asks questions of a size at which searches do not end at once (``benchmarks.at_size``), each in a process of
its own; ``--label before`` keeps its results beside those of later code, in exact_size_before.json.

``python -m benchmarks.exact page`` puts the results of these into docs/branch_and_bound.md, and of ``size``, before and
after, into docs/scale.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import exact_sets, size_page
from benchmarks.environment import markdown, read_result, write_result, write_tables
from benchmarks.exact_cactus import FIGURE, cactus
from benchmarks.exact_sets import SETS
from lipreg import Box, Combination, L2Ball, LocalLipschitz
from lipreg.estimators import certify, get_estimator
from lipreg.estimators.settings import Settings
from lipreg.milp import installed_solvers
from lipreg.reporting.svg import save
from lipreg.words import written

NORMS = ("inf", "2", "1")
POINTED = ["mip_pointed", "branch_and_bound"]
CLOSED = 1e-5
"""Relative gap at which an answer counts as closed, as for ``Certificate.EXACT``."""


PAGE = exact_sets.PAGE
Question = tuple[nn.Module, LocalLipschitz, torch.Tensor]


def folder() -> Path:
    """Where the reference networks are."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "reference"
    return Path(os.environ.get("LIPREG_REFERENCE") or beside)


def question(case: str, norm: str) -> Question:
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


def in_ball(case: str, norm: str) -> Question:
    """The same in an l2 ball about the reference point."""
    net, box, x = question(case, norm)
    arrays = np.load(folder() / "cases" / f"{case}.npz")
    radius = 0.5 * math.sqrt(x.numel()) * float((arrays["hi"] - arrays["lo"]).max()) / 2
    return net, LocalLipschitz(L2Ball(radius), box.output, p=norm), x  # type: ignore[arg-type]


def pointed(case: str, norm: str) -> Question:
    """The pointed constant at the reference point, over the same box."""
    net, problem, x = question(case, norm)
    return net, replace(problem, scope="pointed"), x


def answer(
    engine: str, case: str, norm: str, seconds: float, ask: Callable[[str, str], Question] = question
) -> tuple[float, float, float] | None:
    """CPU seconds, lower and upper end; None where the engine does not cover the question."""
    net, problem, x = ask(case, norm)
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
                "largest gap": written(max(r["gap"] for r in own), 2),
                "as fast as best known": f"{beaten} of {len(own)}",
                "branch and bound is faster by": f"{statistics.geometric_mean(a / b for a, b in pairs):.1f}"
                if pairs
                else "",
            }
        )
    return lines


def measure_balls(engines: list[str], seconds: float) -> list[dict[str, Any]]:
    """One row a case, norm and engine, over the ball and over the box."""
    rows = []
    for case, norm, engine in itertools.product(json.loads((folder() / "exact.json").read_text()), NORMS, engines):
        row: dict[str, Any] = {"case": case, "p": norm, "engine": engine}
        for name, ask in (("ball", in_ball), ("box", question)):
            found = answer(engine, case, norm, seconds, ask)
            if found is None:
                break
            spent, lower, upper = found
            gap = max(0.0, (upper - lower) / upper)
            row |= {f"{name}_closed": gap <= CLOSED, f"{name}_cpu_seconds": round(spent, 3)}
            row |= {f"{name}_gap": float(f"{gap:.2g}"), f"{name}_upper": float(f"{upper:.9g}")}
        else:
            rows.append(row)
            print(row, flush=True)
    return rows


def summary_of_balls(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row an engine."""
    lines = []
    for engine in dict.fromkeys(r["engine"] for r in rows):
        own = [r for r in rows if r["engine"] == engine]
        line: dict[str, Any] = {"engine": engine}
        for name in ("ball", "box"):
            line[f"{name}: closed"] = f"{sum(r[f'{name}_closed'] for r in own)} of {len(own)}"
            line[f"{name}: CPU seconds, all"] = f"{sum(r[f'{name}_cpu_seconds'] for r in own):.1f}"
        line["ball: longest"] = f"{max(r['ball_cpu_seconds'] for r in own):.2f}"
        lines.append(line)
    return lines


def measure_pointed(engines: list[str], seconds: float) -> list[dict[str, Any]]:
    """One row a case, norm and engine, in pointed scope."""
    rows = []
    for case, norm, engine in itertools.product(json.loads((folder() / "exact.json").read_text()), NORMS, engines):
        found = answer(engine, case, norm, seconds, pointed)
        if found is None:
            continue
        spent, lower, upper = found
        gap = max(0.0, (upper - lower) / upper)
        row = {"case": case, "p": norm, "engine": engine, "closed": gap <= CLOSED, "cpu_seconds": round(spent, 3)}
        rows.append(row | {"gap": float(f"{gap:.2g}"), "upper": float(f"{upper:.9g}")})
        print(rows[-1], flush=True)
    return rows


def summary_of_pointed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row an engine, and how much faster branch and bound is where both answer."""
    times = {(r["case"], r["p"], r["engine"]): r["cpu_seconds"] for r in rows}
    lines = []
    for engine in dict.fromkeys(r["engine"] for r in rows):
        own = [r for r in rows if r["engine"] == engine]
        ratios = [r["cpu_seconds"] / times[r["case"], r["p"], "branch_and_bound"] for r in own]
        line = {"engine": engine, "closed": f"{sum(r['closed'] for r in own)} of {len(own)}"}
        line["CPU seconds, all"] = f"{sum(r['cpu_seconds'] for r in own):.1f}"
        line["longest"] = f"{max(r['cpu_seconds'] for r in own):.2f}"
        lines.append(line | {"branch and bound is faster by": f"{statistics.geometric_mean(ratios):.1f}"})
    return lines


def to_page() -> None:
    """Puts figure and tables of the reference networks into docs/branch_and_bound.md."""
    save(cactus(read_result("exact")), FIGURE)
    write_tables(PAGE, tables())


def tables() -> dict[str, str]:
    """The page's tables of the reference networks, by name."""
    asked = {"engines": summary(read_result("exact")), "pointed": summary_of_pointed(read_result("exact_pointed"))}
    return {name: markdown(rows) for name, rows in asked.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", nargs="?", choices=("page",), help="put the results of the sets into the page")
    parser.add_argument("--seconds", type=float, help="limit of an answer")
    parser.add_argument(
        "--set", default="reference", choices=("reference", "balls", "pointed", *SETS), help="what is asked"
    )
    parser.add_argument(
        "--only", default="", help="questions of such a set whose name holds this text; others are kept"
    )
    parser.add_argument("--label", default="", help="results of such a set go to exact_SET_LABEL.json")
    parser.add_argument("--engines", type=lambda names: names.split(","))
    arguments = parser.parse_args()
    if arguments.page:
        to_page()
        exact_sets.to_page()
        size_page.to_page()
        return
    torch.set_num_threads(1)
    asked = SETS.get(arguments.set)
    gurobi = ["mip@gurobi"] if "gurobi" in installed_solvers() else []
    usual = POINTED if arguments.set == "pointed" else ["lipmip", "mip", *gurobi, "branch_and_bound"]
    engines = arguments.engines or (list(asked.engines) if asked else usual)
    seconds = arguments.seconds or 60.0
    question("rand0", "inf")  # imports and first calls are nobody's time
    asking = pointed if arguments.set == "pointed" else question
    for engine in engines:
        answer(engine, "digits_s_p0_e0.05", "inf", 5.0, asking)
    if asked:
        rows = exact_sets.measure(arguments.set, engines, arguments.seconds, arguments.only, arguments.label)
        print(
            f"closed: {sum(r['closed'] for r in rows)} of {len(rows)}; agree: {sum(r.get('agrees', False) for r in rows)}"
        )
    elif arguments.set == "balls":
        rows = measure_balls(engines, seconds)
        write_result("exact_balls", rows)
        print(markdown(summary_of_balls(rows)))
    elif arguments.set == "pointed":
        rows = measure_pointed(engines, seconds)
        write_result("exact_pointed", rows)
        print(markdown(summary_of_pointed(rows)))
    else:
        rows = measure(engines, seconds)
        write_result("exact", rows)
        save(cactus(rows), FIGURE)
        print(markdown(summary(rows)))


if __name__ == "__main__":
    main()
