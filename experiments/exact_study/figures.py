"""The study's figures: every strength's accuracy against its calibrated constant; every penalty at one point lost."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from experiments.exact_study.choosing import LOST
from experiments.exact_study.designs import PENALTIES
from experiments.exact_study.lines import Floats, lines
from experiments.exact_study.questions import QUESTIONS
from experiments.exact_study.reading import Reading, figures
from experiments.exact_study.rows import Row
from experiments.exact_study.terms import OWN_BOUNDS
from lipreg.reporting.svg import GRID, INK
from lipreg.words import written

_OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_TOL_MUTED = ("#332288", "#882255", "#999933", "#44aa99", "#aa4499", "#661100")
_COLOURS: dict[str, str] = dict(zip(PENALTIES, (*_OKABE_ITO, *_TOL_MUTED, "#7f7f7f", INK), strict=True))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
_SHOWN = 0.05
"""Strengths that lose more accuracy are left out."""
_AROUND = 3.0
"""An interval is drawn up to so many times below the least mean and above the largest; an arrow says where one goes on."""
_CERTIFIED = {
    "radius_exact": ("D", "exact"),
    "radius_closest": ("s", "jacobian_crown"),
    "radius_own": ("x", "its own bound, or affine_relu"),
    "radius_better": ("+", "the better of jacobian_crown and its own"),
}
"""Marks of the methods that certify; the last one where p = 2, as elsewhere it is jacobian_crown."""


def strengths(rows: Sequence[Row], question: str) -> Figure:
    """Change of accuracy against the calibrated constant over the twin's, a line a penalty, a panel a radius."""
    found = lines(rows, question)
    assert found is not None
    runs, twins = found
    change = 100 * (runs.selection.mean(3) - twins.selection.mean(3)).mean(1)
    seeds = np.arange(len(runs.seeds))
    figure, panels = _panels(len(runs.radii), 3.6)
    lost: dict[str, int] = {}
    unknown: dict[str, int] = {}
    for ax, radius in zip(panels, runs.radii, strict=True):
        points = np.tile(np.arange(runs.margin.shape[3]), (len(seeds), 1))
        moved = figures(runs, twins, radius, seeds, points)["calibrated"].mean(1)
        for name, x, y in zip(runs.names, np.exp(moved), change, strict=True):
            kept = (y >= -100 * _SHOWN) & ~np.isnan(x)
            lost[name], unknown[name] = int((y < -100 * _SHOWN).sum()), int((np.isnan(x) & (y >= -100 * _SHOWN)).sum())
            ax.plot(x[kept], y[kept], gid=name, **_style(name))
        ax.plot([1.0], [0.0], marker="*", color=INK, markersize=11)
        ax.axhline(-100 * LOST, color=INK, linewidth=0.8, linestyle=":")
        _log_axis(ax)
        _dressed(ax, f"radius {radius}", "calibrated constant / twin's", "accuracy, points above the twin's")
    note = f"Means over {len(seeds)} seeds; star: the twin; dotted: one point lost; solid: penalties that are bounds"
    for why, counts in ((f"more than {100 * _SHOWN:.0f} points are lost", lost), ("T is undefined at a seed", unknown)):
        if any(counts.values()):
            missing = ", ".join(f"{count} of {name}" for name, count in counts.items() if count)
            note += "\n" + textwrap.fill(f"Strengths not shown because {why}: {missing}", 130)
    return _with_legend(figure, runs.names, note)


def at_equal_accuracy(read: Sequence[Reading], question: str) -> Figure:
    """Margin over constant, calibrated constant and certified radius at one point lost, a row a penalty."""
    certified = dict(list(_CERTIFIED.items())[: None if QUESTIONS[question].p == 2 else -1])
    figure, panels = _panels(3, 0.42 * len(read[0].names) + 1.8, width=2.6)
    order = np.argsort(read[-1].mean("margin"))
    colours = [_style(read[0].names[i])["color"] for i in order]
    for ax, name, told in zip(
        panels[:2], ("margin", "calibrated"), ("margin over constant", "calibrated constant"), strict=True
    ):
        for each, shift, filled in zip(read, (0.16, -0.16), (True, False), strict=False):
            mean, ends = np.exp(each.mean(name)), np.exp(each.interval(name))
            for row, (i, colour) in enumerate(zip(order, colours, strict=True)):
                low, high = np.clip(ends[i], *_near(mean))
                ax.plot([low, high], [row + shift] * 2, color=colour, linewidth=1.3)
                if low > ends[i][0]:
                    ax.plot(low, row + shift, marker="<", markersize=4, color=colour)
                face = colour if filled else "white"
                ax.plot(mean[i], row + shift, marker="o", markersize=5, color=colour, markerfacecolor=face)
        ax.axvline(1.0, color=INK, linewidth=0.8, linestyle=":")
        _log_axis(ax)
        _dressed(ax, told, "over the twin's", "")
    for row, (i, colour) in enumerate(zip(order, colours, strict=True)):
        for (name, (marker, _)), shift in zip(certified.items(), (0.2, 0.0, -0.2, -0.2), strict=False):
            own: dict[str, Any] = {"marker": marker, "color": colour, "markerfacecolor": "white", "markersize": 6}
            panels[2].plot(read[-1].mean(name)[i], row + shift, **own)
    _dressed(panels[2], f"certified radius, up to {read[-1].radius}", "mean over points", "")
    for ax in panels:
        ax.set_ylim(-0.6, len(order) - 0.4)
        ax.set_yticks(range(len(order)), [read[0].names[i] for i in order] if ax is panels[0] else [""] * len(order))
    radii = zip(read, (INK, "white"), strict=False)
    handles = [_mark("o", f"radius {each.radius}, 95 % of the paired bootstrap", face) for each, face in radii]
    handles += [_mark(marker, label, "white") for marker, label in certified.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8, labelcolor=INK)
    return figure


def _near(means: Floats) -> tuple[float, float]:
    return float(np.nanmin(means)) / _AROUND, float(np.nanmax(means)) * _AROUND


def _mark(marker: str, label: str, face: str) -> Line2D:
    return Line2D([], [], marker=marker, color=INK, linestyle="", markerfacecolor=face, markersize=5, label=label)


def _panels(count: int, height: float, width: float = 3.5) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width * count + 1.8, height), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def _dressed(ax: Axes, title: str, x: str, y: str) -> None:
    ax.set_title(title, fontsize=10, fontweight="bold", color=INK)
    ax.set_xlabel(x, fontsize=9, color=INK)
    ax.set_ylabel(y, fontsize=9, color=INK)
    ax.grid(True, which="major", color=GRID, linewidth=0.7)
    ax.tick_params(which="both", colors=INK, labelsize=8)
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))


def _log_axis(ax: Axes) -> None:
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    subs = (1.0, 2.0, 5.0) if math.log10(high / low) > 0.5 else tuple(range(1, 10))
    ax.xaxis.set_major_locator(LogLocator(subs=subs))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value)))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _with_legend(figure: Figure, names: Sequence[str], note: str) -> Figure:
    handles = [Line2D([], [], **_style(name)) for name in names]
    figure.legend(handles, names, loc="outside right upper", frameon=False, fontsize=8, labelcolor=INK)
    figure.supxlabel(note, fontsize=8, color=INK)
    return figure


def _style(name: str) -> dict[str, Any]:
    """Penalties that are bounds have solid lines and filled marks, all others dashed lines and empty ones."""
    bound = name in OWN_BOUNDS
    place = [other for other in PENALTIES if (other in OWN_BOUNDS) == bound].index(name)
    return {
        "color": _COLOURS[name],
        "marker": _MARKERS[place % len(_MARKERS)],
        "markersize": 5,
        "linewidth": 1.4,
        "linestyle": "-" if bound else "--",
        "markerfacecolor": _COLOURS[name] if bound else "white",
    }
