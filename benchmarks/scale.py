"""How the cost of an audit grows with unstable units, width and points: python -m benchmarks.scale [--nodes 20000]

``python -m benchmarks.scale page`` draws the figure again from the committed results.

Networks 64-w-w-10 trained on scikit-learn's digits for 20 epochs, all margins of the true class, regional scope, l_inf balls
cut to the pixels' range around validation points. Three curves, in CPU seconds of one thread, in one process:

- unstable units: branch and bound at points, widths and radii with more and more unstable units, until searches end at
  the limit of nodes;
- width: closed forms and branch and bound at radius 0.02;
- points: closed forms and sampling at many points at once, seconds a point.

Written to benchmarks/results/scale.json, with a figure in docs/images/scale.svg.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from torch import Tensor

from benchmarks.environment import markdown, read_result, write_result
from experiments.models import Classifier
from lipreg import LinfBall, LocalLipschitz
from lipreg.auditing import AuditPlan, PointAudit, audit
from lipreg.budget import Budget
from lipreg.data import DigitsDataModule
from lipreg.estimators import frozen_analysis
from lipreg.reporting.svg import GRID, INK, save
from lipreg.results import Certificate
from lipreg.words import written

IMAGES = Path(__file__).parents[1] / "docs" / "images"
BUDGET = 3600.0
"""Searches end at a number of nodes, which does not depend on what else the machine is doing."""
CLOSED_FORMS = ("affine_relu", "fastlip")
POINTS = 5
"""Points of a search's row, of which the median is told."""
RADIUS = 0.02
"""Of the curves over width and points."""
FEW = 1000
"""Points at which sampling is timed as well; it takes a thousand times as long as closed forms."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")

Row = dict[str, Any]
Trained = tuple[torch.nn.Module, Tensor, Tensor]


def trained(width: int) -> Trained:
    """A network of that width, and the validation points."""
    pl.seed_everything(0, verbose=False)
    model, data = Classifier([64, width, width, 10]), DigitsDataModule(seed=0)
    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    pl.Trainer(max_epochs=20, accelerator="cpu", **quiet).fit(model, data)
    x, y = (torch.cat(part) for part in zip(*data.val_dataloader(), strict=True))
    return model.net, x, y


def cpu(net: torch.nn.Module, plan: AuditPlan, x: Tensor, y: Tensor) -> tuple[float, list[PointAudit]]:
    """CPU seconds of an audit in this process."""
    began = time.process_time()
    points = audit(net, plan, x, y)
    return round(time.process_time() - began, 4), points


def search(network: Trained, width: int, radius: float, nodes: int) -> list[Row]:
    """Branch and bound at each of some points: unstable units, CPU seconds, and whether it closed."""
    net, x, y = network[0], network[1][:POINTS], network[2][:POINTS]
    problem, rows = LocalLipschitz(LinfBall(radius, low=0.0, high=1.0)), []
    unstable = frozen_analysis(net, problem, x, y).unstable_units().tolist()
    plan = AuditPlan(problem, ["branch_and_bound"], Budget(BUDGET, nodes))
    for i in range(len(x)):
        spent, (point,) = cpu(net, plan, x[i : i + 1], y[i : i + 1])
        rows.append(
            {
                "curve": "units",
                "width": width,
                "radius": radius,
                "undecided": unstable[i],
                "cpu_seconds": spent,
                "closed": point.combined.certificate is Certificate.EXACT,
                "gap": float(f"{point.combined.gap:.2g}"),
            }
        )
    return rows


def of_width(network: Trained, width: int, found: Sequence[Row]) -> Row:
    """What the searches at the radius of the width's curve say together, and the closed forms."""
    own = [r for r in found if r["radius"] == RADIUS]
    problem = LocalLipschitz(LinfBall(RADIUS, low=0.0, high=1.0))
    bounds, _ = cpu(network[0], AuditPlan(problem, CLOSED_FORMS), network[1][:POINTS], network[2][:POINTS])
    return {
        "curve": "width",
        "width": width,
        "undecided": statistics.median(r["undecided"] for r in own),
        "closed": sum(r["closed"] for r in own),
        "of": len(own),
        "cpu_seconds": statistics.median(r["cpu_seconds"] for r in own),
        "closed_forms": round(bounds / POINTS, 5),
    }


def by_points(network: Trained, counts: Sequence[int]) -> list[Row]:
    """Closed forms at all of the counts, sampling at the smaller ones."""
    net, x, y = network
    problem, rows = LocalLipschitz(LinfBall(RADIUS, low=0.0, high=1.0)), []
    for count in counts:
        repeated = torch.arange(count) % len(x)
        for method, estimators in (("closed forms", CLOSED_FORMS), ("sampling", ("sampling",))):
            if method == "closed forms" or count <= FEW:
                spent, _ = cpu(net, AuditPlan(problem, estimators), x[repeated], y[repeated])
                rows.append({"curve": "points", "points": count, "method": method, "each": round(spent / count, 6)})
    return rows


def figure(rows: Sequence[Row]) -> Figure:
    """The three curves beside one another."""
    drawing = Figure(figsize=(13, 4.6), layout="constrained")
    FigureCanvasAgg(drawing)
    units, width, points = drawing.subplots(1, 3)
    own = [r for r in rows if r["curve"] == "units"]
    for colour, size in zip(COLOURS, sorted({r["width"] for r in own}), strict=False):
        for closed in (True, False):
            chosen = [r for r in own if r["width"] == size and r["closed"] is closed]
            fill = {"color": colour} if closed else {"facecolors": "none", "edgecolors": colour}
            label = f"width {size}" if closed else None
            units.scatter(
                [r["undecided"] for r in chosen], [r["cpu_seconds"] for r in chosen], s=26, label=label, **fill
            )
    if not all(r["closed"] for r in own):
        units.scatter([], [], s=26, facecolors="none", edgecolors=INK, label="ended at the node limit, not exact")
    _dress(units, "Branch and bound against unstable units", "unstable units at the point", "CPU seconds a point")
    own = [r for r in rows if r["curve"] == "width"]
    for key, colour, label in (("cpu_seconds", COLOURS[0], "branch and bound"), ("closed_forms", INK, "closed forms")):
        width.plot([r["width"] for r in own], [r[key] for r in own], "o-", color=colour, label=label)
    for r in own:
        last = r is own[-1]  # names stand below the line, and the last one above it, inside the frame
        side, offset = ("right", (-6, 5)) if last else ("left", (6, -11))
        place = {"xytext": offset, "textcoords": "offset points", "ha": side, "fontsize": 8, "color": INK}
        width.annotate(f"{r['undecided']:.0f} unstable", (r["width"], r["cpu_seconds"]), **place)
    head, unit = f"Median of {POINTS} points, radius {written(RADIUS)}", "CPU seconds a point"
    _dress(width, head, "width of both hidden layers", unit, [r["width"] for r in own])
    for method, colour in (("sampling", COLOURS[1]), ("closed forms", INK)):
        own = [r for r in rows if r["curve"] == "points" and r["method"] == method]
        points.plot([r["points"] for r in own], [r["each"] for r in own], "o-", color=colour, label=method)
    counts = sorted({r["points"] for r in rows if r["curve"] == "points"})
    _dress(points, f"Many points in one audit, width 32, radius {written(RADIUS)}", "points", unit, counts)
    return drawing


def _dress(ax: Axes, head: str, x: str, y: str, ticks: Sequence[float] | None = None) -> None:
    """Words, a logarithmic axis of seconds, and one of what is counted where there are ticks for it."""
    ax.set_title(head, loc="left", fontsize=10, color=INK)
    ax.set_xlabel(x, color=INK)
    ax.set_ylabel(y, color=INK)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value)))
    if ticks is not None:
        ax.set_xscale("log")
        ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        ax.minorticks_off()
    ax.margins(y=0.12)
    ax.grid(True, color=GRID, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=9)


def main() -> None:
    if sys.argv[1:] == ["page"]:
        save(figure(read_result("scale")), IMAGES / "scale.svg")
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=20_000, help="limit of each search")
    parser.add_argument("--radii", type=float, nargs="+", default=[0.02, 0.05, 0.08, 0.12, 0.16])
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 100, 1_000, 10_000, 100_000])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = by_points(trained(32), arguments.counts)
    print(markdown(rows), flush=True)
    for width in arguments.widths:
        network, found = trained(width), []
        for radius in sorted({RADIUS, *arguments.radii}):
            found += search(network, width, radius, arguments.nodes)
            print(markdown(found[-POINTS:]), flush=True)
            if not any(r["closed"] for r in found[-POINTS:]):
                break  # larger radii are harder still
        rows += [*found, of_width(network, width, found)]
    save(figure(rows), IMAGES / "scale.svg")
    print(f"written to {write_result('scale', rows)}")


if __name__ == "__main__":
    main()
