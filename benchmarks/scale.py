"""How the cost of an audit grows with undecided units, width and points: python -m benchmarks.scale [--nodes 10000]

Networks 64-w-w-10 trained on scikit-learn's digits for 20 epochs, all margins of the true class, regional scope, l_inf balls
cut to the pixels' range around validation points. Three curves, in CPU seconds of one thread, in one process:

- undecided units: w = 32, branch and bound at points and radii with more and more undecided units;
- width: closed forms and branch and bound at radius 0.02, w = 16 to 64;
- points: closed forms and sampling at 10 to 100 points at once, seconds a point.

Written to benchmarks/results/scale.json, with a figure in docs/images/scale.svg and scale.png.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from benchmarks.environment import markdown, write_result
from experiments.models import Classifier
from lipreg import LinfBall, LocalLipschitz
from lipreg.auditing import AuditPlan, PointAudit, audit
from lipreg.data import DigitsDataModule
from lipreg.estimators import frozen_analysis
from lipreg.results import Certificate

IMAGES = Path(__file__).parents[1] / "docs" / "images"
BUDGET = 3600.0
"""Searches end at a number of nodes, which does not depend on what else the machine is doing."""
CLOSED_FORMS = ("affine_relu", "fastlip")
POINTS = 5
"""Points of a search's row, of which the median is told."""


def trained(width: int) -> tuple[torch.nn.Module, Tensor, Tensor]:
    """A network of that width, and the validation points."""
    pl.seed_everything(0, verbose=False)
    model, data = Classifier([64, width, width, 10]), DigitsDataModule(seed=0)
    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    pl.Trainer(max_epochs=20, accelerator="cpu", **quiet).fit(model, data)
    x, y = (torch.cat(part) for part in zip(*data.val_dataloader(), strict=True))
    return model.net, x, y


def search(net: torch.nn.Module, x: Tensor, y: Tensor, radius: float, nodes: int) -> list[dict[str, Any]]:
    """Branch and bound at each of the points: undecided units, CPU seconds, and whether it closed."""
    problem, rows = LocalLipschitz(LinfBall(radius, low=0.0, high=1.0)), []
    undecided = frozen_analysis(net, problem, x, y).unstable_units().tolist()
    for i in range(len(x)):
        spent, (point,) = cpu(
            net, AuditPlan(problem, ["branch_and_bound"], BUDGET, nodes=nodes), x[i : i + 1], y[i : i + 1]
        )
        closed = point.exact.certificate is Certificate.EXACT
        rows.append(
            {
                "radius": radius,
                "undecided": undecided[i],
                "cpu_seconds": spent,
                "closed": closed,
                "gap": point.exact.gap,
            }
        )
    return rows


def cpu(net: torch.nn.Module, plan: AuditPlan, x: Tensor, y: Tensor) -> tuple[float, list[PointAudit]]:
    """CPU seconds of an audit in this process."""
    began = time.process_time()
    points = audit(net, plan, x, y)
    return round(time.process_time() - began, 4), points


def by_units(nodes: int, radii: Sequence[float]) -> list[dict[str, Any]]:
    net, x, y = trained(32)
    return [{"curve": "units", **row} for radius in radii for row in search(net, x[:POINTS], y[:POINTS], radius, nodes)]


def by_width(nodes: int, widths: Sequence[int]) -> list[dict[str, Any]]:
    rows = []
    for width in widths:
        net, x, y = trained(width)
        found = search(net, x[:POINTS], y[:POINTS], 0.02, nodes)
        problem = LocalLipschitz(LinfBall(0.02, low=0.0, high=1.0))
        bounds, _ = cpu(net, AuditPlan(problem, CLOSED_FORMS), x[:POINTS], y[:POINTS])
        rows.append(
            {
                "curve": "width",
                "width": width,
                "undecided": statistics.median(r["undecided"] for r in found),
                "closed": sum(r["closed"] for r in found),
                "of": len(found),
                "cpu_seconds": statistics.median(r["cpu_seconds"] for r in found),
                "closed_forms": round(bounds / POINTS, 5),
            }
        )
    return rows


def by_points(counts: Sequence[int]) -> list[dict[str, Any]]:
    net, x, y = trained(32)
    problem, rows = LocalLipschitz(LinfBall(0.02, low=0.0, high=1.0)), []
    for count in counts:
        repeated = torch.arange(count) % len(x)
        for estimators in (CLOSED_FORMS, ("sampling",)):
            spent, _ = cpu(net, AuditPlan(problem, estimators), x[repeated], y[repeated])
            method = "closed forms" if estimators is CLOSED_FORMS else "sampling"
            rows.append({"curve": "points", "points": count, "method": method, "each": spent / count})
    return rows


def figure(rows: list[dict[str, Any]]) -> None:
    """The three curves beside one another."""
    import matplotlib.pyplot as plt

    drawing, (units, width, points) = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    own = [r for r in rows if r["curve"] == "units"]
    for closed, marker, label in ((True, "o", "closed"), (False, "x", "node limit")):
        chosen = [r for r in own if r["closed"] is closed]
        units.scatter([r["undecided"] for r in chosen], [r["cpu_seconds"] for r in chosen], marker=marker, label=label)
    units.set(yscale="log", xlabel="undecided units (width 32)", ylabel="CPU seconds a point, branch and bound")
    units.legend()
    own = [r for r in rows if r["curve"] == "width"]
    width.plot([r["width"] for r in own], [r["cpu_seconds"] for r in own], "o-", label="branch and bound")
    width.plot([r["width"] for r in own], [r["closed_forms"] for r in own], "s-", label="closed forms")
    for r in own:
        width.annotate(f"{r['undecided']:.0f}", (r["width"], r["cpu_seconds"]), (0, 6), textcoords="offset points")
    width.set(xscale="log", yscale="log", xlabel="width (with the median of undecided units)")
    width.set_ylabel("CPU seconds a point, median")
    width.set_xticks([r["width"] for r in own], [str(r["width"]) for r in own])
    width.minorticks_off()
    width.legend()
    for method in ("sampling", "closed forms"):
        own = [r for r in rows if r["curve"] == "points" and r["method"] == method]
        points.plot([r["points"] for r in own], [r["each"] for r in own], "o-", label=method)
    points.set(xscale="log", yscale="log", xlabel="points in one audit", ylabel="CPU seconds a point")
    points.legend()
    IMAGES.mkdir(exist_ok=True)
    drawing.savefig(IMAGES / "scale.svg", metadata={"Date": None})
    drawing.savefig(IMAGES / "scale.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=10_000, help="limit of each search")
    parser.add_argument("--radii", type=float, nargs="+", default=[0.02, 0.05, 0.08])
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 30, 100])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for part in (
        by_points(arguments.counts),
        by_width(arguments.nodes, arguments.widths),
        by_units(arguments.nodes, arguments.radii),
    ):
        print(markdown(part), flush=True)
        rows += part
    figure(rows)
    print(f"written to {write_result('scale', rows)}")


if __name__ == "__main__":
    main()
