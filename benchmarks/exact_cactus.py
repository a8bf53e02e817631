"""The figure of docs/branch_and_bound.md: how many questions each exact engine closes within a time each."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.environment import RESULTS
from lipreg.words import written

FIGURE = RESULTS / "exact.svg"
LINES = (("#0072b2", "--"), ("#d55e00", "-."), ("#cc79a7", (0, (6, 2, 1, 2, 1, 2))), ("#000000", "-"))
"""Colours that stay apart for every kind of colour blindness (Okabe and Ito), and the styles of their lines."""


def cactus(rows: list[dict[str, Any]]) -> Figure:
    """How many questions each engine closes within a time each; every line has a style of its own beside its colour."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    engines = dict.fromkeys(r["engine"] for r in rows)
    for engine, (colour, style) in zip(engines, LINES, strict=False):
        closed = sorted(r["cpu_seconds"] for r in rows if r["engine"] == engine and r["closed"])
        label = f"{engine} ({sum(r['engine'] == engine for r in rows)})"
        counts = range(1, len(closed) + 1)
        axes.step(closed, counts, where="post", label=label, color=colour, linestyle=style, linewidth=2)
    best = sorted({(r["case"], r["p"]): r["best_known_seconds"] for r in rows}.values())
    known: dict[str, Any] = {"color": "#5a5d68", "linestyle": ":", "linewidth": 1.5}
    axes.step(best, range(1, len(best) + 1), where="post", label="best known", **known)
    axes.set(xscale="log", xlabel="CPU seconds a question", ylabel="questions closed")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value)))
    axes.grid(color="#e1e1de")
    figure.legend(title="engine (questions it covers)", loc="outside right upper")
    return figure
