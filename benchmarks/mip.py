"""What each piece of the exact engine brings: python -m benchmarks.mip [SECONDS]

The reference networks (the folder named by LIPREG_REFERENCE, else ../shared/reference), both norms, one functional each,
HiGHS with one thread, SECONDS (60) of wall-clock time a program. From the published encoding to ``mip``, one piece more on
each line:

    published           LipMIP as published over interval pre-activation bounds
    + CROWN             the same encoding over all bounds of the analysis
    + folded            stable units folded away, sign binaries only where the sign is open
    + witness           a sampled witness as MIP start and cutoff, LP first
    + tightened         pre-activations tightened by LP and small MIPs: the estimator ``mip``

Seconds are CPU seconds of the whole way from the network to the bound. Written to benchmarks/results/mip.json after every
case, so that an interrupted run continues; ``python -m benchmarks.mip page`` puts its summary into docs/mathematics.md.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.environment import RESULTS, markdown, read_result, write_result, write_tables
from benchmarks.exact import folder, question
from lipreg import LocalLipschitz
from lipreg.bounds import Analysis, analyse
from lipreg.budget import Budget
from lipreg.estimators import certify, frozen_analysis
from lipreg.estimators.exact import mip
from lipreg.estimators.yardsticks.plain import encode_plain
from lipreg.milp import Highs, Program, encode
from lipreg.results import Status
from lipreg.words import written

CLOSED = 1e-5
"""Relative gap to the proved value at which a case counts as closed."""
PAGE = Path(__file__).parents[1] / "docs" / "mathematics.md"
WORDS = {
    "published": "LipMIP as published, interval pre-activations",
    "+ CROWN": "+ CROWN pre-activations",
    "+ folded": "+ stable units folded away, sign binaries only where open, limits of `jacobian_crown` on gradients",
    "+ witness": "+ LP first, a sampled witness as start",
    "+ tightened": "+ tightening: the estimator `mip`",
}
"""What the page calls the lines."""
Question = tuple[nn.Module, LocalLipschitz, torch.Tensor]


def published(asked: Question, seconds: float) -> float:
    return _solve(asked, ["interval"], encode_plain, seconds)


def with_crown(asked: Question, seconds: float) -> float:
    return _solve(asked, None, encode_plain, seconds)


def folded(asked: Question, seconds: float) -> float:
    return _solve(asked, None, lambda local, row: encode(local, row).program, seconds)


def with_witness(asked: Question, seconds: float) -> float:
    kept, mip.TIGHTEN_FROM = mip.TIGHTEN_FROM, sys.maxsize
    try:
        return tightened(asked, seconds)
    finally:
        mip.TIGHTEN_FROM = kept


def tightened(asked: Question, seconds: float) -> float:
    net, problem, x = asked
    return certify(net, problem, x, estimator="mip", budget=Budget(seconds))[0].upper


LADDER: dict[str, Callable[[Question, float], float]] = {
    "published": published,
    "+ CROWN": with_crown,
    "+ folded": folded,
    "+ witness": with_witness,
    "+ tightened": tightened,
}


def _solve(
    asked: Question, methods: list[str] | None, encoder: Callable[[Analysis, int], Program], seconds: float
) -> float:
    """The dual bound of one program; inf where the solver proved nothing."""
    net, problem, x = asked
    local = frozen_analysis(net, problem, x, None, methods)
    with torch.no_grad():
        local = analyse(local.graph, local.placed, methods)
    outcome = Highs().solve(encoder(local, 0), Budget(seconds))
    return math.inf if outcome.status is Status.FAILED else outcome.claimed


def main() -> None:
    torch.set_num_threads(1)
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    exact = json.loads((folder() / "exact.json").read_text())
    path = RESULTS / "mip.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
    done = {(row["case"], row["p"], row["engine"]) for row in rows}
    for case, values in exact.items():
        for p in ("1", "inf"):
            asked = question(case, p)
            for engine, run in LADDER.items():
                if (case, p, engine) in done:
                    continue
                began = time.process_time()
                upper = run(asked, seconds)
                spent = time.process_time() - began
                gap = upper / values[p] - 1
                row = {"case": case, "p": p, "engine": engine, "seconds": round(spent, 3), "gap": float(f"{gap:.2e}")}
                rows.append({**row, "closed": abs(gap) <= CLOSED})
                write_result("mip", rows)
                print(f"{case:18} p={p:4} {engine:12} {spent:7.2f} s  gap {gap:.1e}", flush=True)
    print(markdown(summary(rows)))


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row an engine: how many cases it closes, and how much faster it is than the published encoding."""
    by_engine = {engine: {(r["case"], r["p"]): r for r in rows if r["engine"] == engine} for engine in LADDER}
    first = by_engine["published"]
    table = []
    for engine, own in by_engine.items():
        both = [key for key, row in own.items() if row["closed"] and first[key]["closed"]]
        faster = statistics.geometric_mean(first[key]["seconds"] / own[key]["seconds"] for key in both)
        closed = sum(row["closed"] for row in own.values())
        wide = max(row["gap"] for row in own.values())
        table.append(
            {"engine": engine, "closed": f"{closed} of {len(own)}", "times faster": f"{faster:.1f}", "widest gap": wide}
        )
    return table


def shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The summary as docs/mathematics.md has it: engines in words; gaps within the tolerance are said as that."""
    return [
        {
            "engine": WORDS[row["engine"]],
            "closed": row["closed"],
            "times faster": row["times faster"],
            "widest gap left": written(row["widest gap"], 2) if row["widest gap"] > 1e-6 else "at most 1e-6",
        }
        for row in summary(rows)
    ]


if __name__ == "__main__":
    if sys.argv[1:] == ["page"]:
        write_tables(PAGE, {"mip": markdown(shown(read_result("mip")))})
    else:
        main()
