"""Closed forms beside exact constants for p = 2, and what ``lipsdp`` costs: python -m benchmarks.two_norm [page]

- The ten reference networks of LIPREG_REFERENCE, one functional each: bound / exact constant of two other programs.
- Networks 64-w-w-1 with torch's weights of seed 0 over the unit cube, every unit unstable: CPU seconds of ``lipsdp``,
  and of its program by SCS for the two smallest.

One thread, CPU seconds of the whole answer. Written to benchmarks/results/two_norm.json; ``page`` puts both tables into
docs/choosing.md, from the results.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.environment import markdown, read_result, write_result, write_tables
from benchmarks.exact import folder, question
from lipreg import LocalLipschitz, Logit, UnitCube
from lipreg.estimators import certify, frozen_analysis
from lipreg.estimators.settings import Settings
from lipreg.testing.networks import mlp

PAGE = Path(__file__).parents[1] / "docs" / "choosing.md"
CLOSED = ("spectral", "affine_relu", "fastlip", "seqlip", "lipsdp_global", "lipsdp")
WIDTHS = (32, 64, 128, 256, 500)
"""Of both hidden layers."""
BY_SCS = 64
"""The largest width that SCS is asked about."""

Row = dict[str, Any]


def upper(
    net: nn.Module, problem: LocalLipschitz, x: torch.Tensor, name: str, solver: str | None = None
) -> tuple[float, float]:
    """What an estimator proves, and its CPU seconds."""
    began = time.process_time()
    (found,) = certify(net, problem, x, estimator=name, budget=600.0, settings=Settings(sdp_solver=solver))
    return found.upper, time.process_time() - began


def tightness() -> list[Row]:
    """One row a reference network."""
    rows = []
    for case, exact in json.loads((folder() / "exact.json").read_text()).items():
        net, problem, x = question(case, "2")
        layers = [layer for layer in net if isinstance(layer, nn.Linear)]  # type: ignore[attr-defined]
        row: Row = {
            "curve": "tightness",
            "case": case,
            "network": "-".join(map(str, [layers[0].in_features, *(layer.out_features for layer in layers)])),
            "undecided": int(frozen_analysis(net, problem, x, None).unstable_units()),
        }
        for name in CLOSED:
            found, row[f"{name}_seconds"] = (round(value, 4) for value in upper(net, problem, x, name))
            row[name] = round(found / exact["2"], 5)
        rows.append(row)
        print(row, flush=True)
    return rows


def cost() -> list[Row]:
    """One row a width."""
    rows = []
    for width in WIDTHS:
        torch.manual_seed(0)
        net, problem = mlp(64, width, width, 1).double(), LocalLipschitz(UnitCube(), Logit(0), p=2.0)
        x = torch.full((1, 64), 0.5, dtype=torch.float64)
        row: Row = {"curve": "cost", "width": width}
        row["undecided"] = int(frozen_analysis(net, problem, x, None).unstable_units())
        found, seconds = upper(net, problem, x, "lipsdp")
        row |= {"upper": float(f"{found:.7g}"), "seconds": round(seconds, 2)}
        if width <= BY_SCS:
            found, seconds = upper(net, problem, x, "lipsdp", "SCS")
            row |= {"scs": float(f"{found:.7g}"), "scs_seconds": round(seconds, 1)}
        rows.append(row)
        print(row, flush=True)
    return rows


def tables(rows: list[Row]) -> dict[str, str]:
    """Both tables of the page, by name."""
    kind = {"d": "digits", "r": "untrained"}
    first = [
        {
            "bound / exact, p = 2": f"{kind[row['case'][0]]} {row['network']}{_radius(row['case'])}",
            "unstable": row["undecided"],
            **{f"`{name}`": f"{row[name]:.4g}" for name in CLOSED},
            "`lipsdp`, CPU s": f"{row['lipsdp_seconds']:.2f}",
        }
        for row in rows
        if row["curve"] == "tightness"
    ]
    second = [
        {
            "unstable": row["undecided"],
            "`lipsdp`": f"{row['upper']:.5g}",
            "CPU s": row["seconds"],
            "by SCS": f"{row['scs']:.5g}" if "scs" in row else "",
            "SCS, CPU s": row.get("scs_seconds", ""),
        }
        for row in rows
        if row["curve"] == "cost"
    ]
    return {"two_norm": markdown(first), "lipsdp": markdown(second)}


def _radius(case: str) -> str:
    return f", radius {case.partition('_e')[2]}" if "_e" in case else ""


def main(arguments: list[str]) -> None:
    if arguments != ["page"]:
        torch.set_num_threads(1)
        for solver in (None, "SCS"):  # imports and first calls are nobody's time
            upper(*question("rand0", "2"), "lipsdp", solver)
        write_result("two_norm", tightness() + cost())
    write_tables(PAGE, tables(read_result("two_norm")))


if __name__ == "__main__":
    main(sys.argv[1:])
