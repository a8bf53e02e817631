"""How steep are two policies? python -m benchmarks.policies [page] [--seconds 60] [--train]

CPU seconds of one thread. Written to benchmarks/results/policies.json; ``page`` puts the table into docs/choosing.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.environment import markdown, read_result, write_result, write_tables
from benchmarks.policies.laws import POLICIES, Policy
from lipreg import LocalLipschitz, Vector
from lipreg.budget import Budget
from lipreg.estimators import certify
from lipreg.regions import Box

CLOSED = ("spectral", "affine_relu", "fastlip", "deviation", "jacobian_crown", "lipsdp")
SEARCH, GAP = "branch_and_bound", 0.01
PAGE = Path(__file__).parents[2] / "docs" / "choosing.md"


def rows(policy: Policy, seconds: float) -> list[dict[str, Any]]:
    """One row a method: both ends that it proves, the lower one 0 where it is a bound alone, and its CPU seconds."""
    net, x, found = policy.network(), torch.zeros(1, policy.inputs), []
    box = Box([-policy.reach] * policy.inputs, [policy.reach] * policy.inputs)
    problem = LocalLipschitz(box, Vector(), p=2.0, q=2.0)
    for method in (*CLOSED, SEARCH):
        began = time.process_time()
        (end,) = certify(net, problem, x, estimator=method, budget=Budget(seconds, gap=GAP))
        row = {"policy": policy.name, "method": method, "lower": round(end.lower, 5), "upper": round(end.upper, 5)}
        found.append(row | {"cpu_seconds": round(time.process_time() - began, 2)})
        print(found[-1], flush=True)
    return found


def table(found: list[dict[str, Any]]) -> str:
    """The table of the page, one row a method."""
    told = {(row["policy"], row["method"]): row for row in found}
    lines = []
    for method in dict.fromkeys(row["method"] for row in found):
        line = {"": f"`{method}`" + (f", to a gap of {100 * GAP:g} %" if method == SEARCH else "")}
        for policy in dict.fromkeys(row["policy"] for row in found):
            row = told[policy, method]
            proved = f"{row['upper']:.4g}"
            line[f"`{policy}`"] = f"[{row['lower']:.4g}, {proved}]" if row["lower"] > 0 else proved
            line[f"`{policy}`, CPU s"] = f"{row['cpu_seconds']:.1f}"
        lines.append(line)
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.policies")
    parser.add_argument("page", nargs="?", choices=("page",), help="put the results into the page, and measure nothing")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each method and policy")
    parser.add_argument("--train", action="store_true", help="clone the policies anew")
    asked = parser.parse_args()
    if not asked.page:
        torch.set_num_threads(1)
        for policy in POLICIES if asked.train else ():
            print(f"{policy.name}: mean squared error {policy.clone():.2e}")
        write_result("policies", [row for policy in POLICIES for row in rows(policy, asked.seconds)])
    write_tables(PAGE, {"policies": table(read_result("policies"))})


if __name__ == "__main__":
    main()
