"""The study's figures: accuracy against the exact constant, the constant through training, truth against bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from experiments.regularizers.jobs import BOUNDS, TWIN, Row
from experiments.regularizers.summary import (
    EQUAL_ACCURACY,
    NAMES,
    POINTED,
    Spread,
    Strength,
    datasets,
    strengths,
    whole_seeds,
)
from lipreg.reporting.svg import GRID, INK
from lipreg.words import written

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_TITLES = {"digits": "Digits", "mnist": "MNIST"}
_OF_BOUNDS = (*BOUNDS, POINTED)
GROUPS = (
    ("bounds", (TWIN, *_OF_BOUNDS)),
    ("others", tuple(name for name in NAMES if name not in _OF_BOUNDS)),
)
"""What is drawn in panels of its own: where all lines meet none could be followed."""
_SHOWN = 0.05
"""Runs whose accuracy is further below the twin's are left out of the Pareto figure."""


def pareto(rows: Sequence[Row]) -> Figure:
    """Accuracy against the exact constant, a line a regulariser through its strengths, bars the ranges over seeds."""

    def draw(ax: Axes, dataset: str, shown: Collection[str]) -> None:
        found = strengths(rows, dataset)
        floor = found[0].spread("accuracy")
        assert floor is not None
        for name, line in _lines(found, shown).items():
            kept = [s for s in line if _known(s, "accuracy").mean >= floor.mean - _SHOWN]
            _draw_line(ax, name, [(_known(s, "exact"), _known(s, "accuracy")) for s in kept])
        ax.axhline(floor.mean - EQUAL_ACCURACY, color=INK, linewidth=0.8, linestyle=":")
        ax.set_xscale("log")
        _log_axis(ax, "x")
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
        ax.set_xlabel("exact regional constant, mean over points")
        ax.set_ylabel("validation accuracy (%)")

    note = f"Dotted: one point of accuracy below the twin; runs more than {100 * _SHOWN:g} points below are left out"
    return _figure(rows, draw, note, GROUPS)


def training(rows: Sequence[Row]) -> Figure:
    """The exact constant after the first audited epoch and after the last, a row a regulariser, at its strongest setting
    within the accuracy limit, in the order of the first data set's last constants."""
    found = {dataset: _through_training(rows, dataset) for dataset in datasets(rows)}
    first = next(iter(found.values()))
    drawn = [name for name in NAMES if any(max(line.get(name, {0: 0.0})) > 0 for line in found.values())]
    order = sorted(drawn, key=lambda name: first[name][max(first[name])] if name in first else math.inf, reverse=True)

    def draw(ax: Axes, dataset: str, shown: Collection[str]) -> None:
        begin: dict[int, float] = {}
        for place, name in enumerate(order):
            means = found[dataset].get(name, {})
            begin.update({epoch: mean for epoch, mean in means.items() if epoch == 0})
            later = sorted((epoch, mean) for epoch, mean in means.items() if epoch > 0)
            if not later:
                continue
            style: dict[str, Any] = _style(name) | {"linestyle": "-" if name == TWIN or name in _OF_BOUNDS else ":"}
            ends = later[:1] + later[1:][-1:]
            ax.plot([mean for _, mean in ends], [place] * len(ends), **{**style, "marker": ""})
            for (_, mean), filled in zip(ends, (len(ends) == 1, True), strict=False):
                own: dict[str, Any] = {
                    "marker": "o",
                    "markersize": 7,
                    "markerfacecolor": style["color"] if filled else "white",
                }
                ax.plot([mean], [place], **style | own)
            words = " and ".join(str(epoch) for epoch, _ in ends)
            ax.set_xlabel(f"exact constant, mean, after epochs {words}")
        ax.set_xscale("log")
        _log_axis(ax, "x")
        ax.set_ylim(-0.7, len(order) - 0.3)
        ax.set_yticks(range(len(order)), [NAMES[name] for name in order])
        if begin:
            ax.annotate(
                f"all start at {begin[0]:.2g}",
                (0.98, 0.02),
                xycoords="axes fraction",
                fontsize=8,
                color=INK,
                ha="right",
            )

    note = (
        "From empty to filled; each at its strongest setting that costs at most one point of accuracy; dotted: no bound"
    )
    return _figure(rows, draw, note, (("", tuple(NAMES)),), height=0.27 * len(order) + 1.0, keys=False)


def _through_training(rows: Sequence[Row], dataset: str) -> dict[str, dict[int, float]]:
    """Mean constants over points and seeds by epoch, of each regulariser's strongest setting within the accuracy limit."""
    seeds, means = whole_seeds(rows, dataset), {}
    start = [r for r in rows if (r["dataset"], r["regularizer"], r["epoch"]) == (dataset, TWIN, 0)]
    for name, line in _lines(strengths(rows, dataset), tuple(NAMES)).items():
        accurate = [s for s in line if _known(s, "change").mean >= -EQUAL_ACCURACY]
        if not accurate:
            continue
        weight = accurate[-1].weight
        own = [r for r in rows if (r["dataset"], r["regularizer"], r["weight"]) == (dataset, name, weight)]
        epochs: dict[int, list[float]] = {}
        for row in [*(start if name != TWIN else []), *own]:
            if row["seed"] in seeds and "exact" in row:
                mean = math.fsum(sum(ends) / 2 for ends in row["exact"]) / len(row["exact"])
                epochs.setdefault(row["epoch"], []).append(mean)
        means[name] = {epoch: math.fsum(values) / len(values) for epoch, values in epochs.items()}
    return means


def movements(rows: Sequence[Row]) -> Figure:
    """How far the truth went against how far the bound went, for the regularisers that are bounds."""

    def draw(ax: Axes, dataset: str, shown: Collection[str]) -> None:
        for name, line in _lines(strengths(rows, dataset), shown).items():
            known = [s for s in line if s.spread("transfer") is not None and s.regularizer in (*BOUNDS, POINTED)]
            moved = [(_known(s, "bound_movement", True), _own_movement(s)) for s in known]
            _draw_line(ax, name, moved)
        ax.set_xscale("log")
        ax.set_yscale("log")
        low = min(ax.get_xlim()[0], ax.get_ylim()[0])
        for share in (1.0, 0.5):
            ax.plot([low, 1.0], [low**share, 1.0], color=INK, linewidth=0.8, linestyle=":")
            place = low * 0.93, low**share
            ax.annotate(f"transfer {written(share)}", place, fontsize=8, color=INK, ha="right", va="center")
        ax.set_xlim(left=0.3 * low)
        _log_axis(ax, "x")
        _log_axis(ax, "y")
        ax.set_xlabel("its own bound / twin's")
        ax.set_ylabel("the constant that it bounds / twin's")

    note = "On the upper dotted line half of the bound's movement, in logarithms, is real; bars: seeds"
    return _figure(rows, draw, note, (("", tuple(NAMES)),))


FIGURES: dict[str, Callable[[Sequence[Row]], Figure]] = {
    "study_pareto": pareto,
    "study_training": training,
    "study_movements": movements,
}
"""By file name without suffix."""


def _figure(
    rows: Sequence[Row],
    draw: Callable[[Axes, str, Collection[str]], None],
    note: str,
    groups: Sequence[tuple[str, Collection[str]]],
    height: float = 3.4,
    keys: bool = True,
) -> Figure:
    """A column a data set, a row a group of regularisers with its own key, on axes that all rows of a column share.

    A page shows it 720 pixels wide, at which letters keep their size."""
    names = datasets(rows)
    size = 3.5 * len(names) + 1.9, height * len(groups) + 0.4
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(len(groups), len(names), squeeze=False, sharex="col", sharey="col" if keys else "all")
    for row, (title, shown) in zip(places, groups, strict=True):
        drawn: set[str] = set()
        for ax, dataset in zip(row, names, strict=True):
            draw(ax, dataset, shown)
            head = _TITLES.get(dataset, dataset) + (f": {title}" if title else "")
            ax.set_title(head, fontsize=10, fontweight="bold", color=INK)
            ax.grid(True, which="major", color=GRID, linewidth=0.7)
            ax.tick_params(which="both", colors=INK, labelsize=8, labelbottom=True)
            ax.xaxis.label.set(fontsize=9, color=INK)
            ax.yaxis.label.set(fontsize=9, color=INK)
            for side, spine in ax.spines.items():
                spine.set_visible(side in ("left", "bottom"))
            drawn |= {str(line.get_gid()) for line in ax.lines}
        if not keys:
            continue
        order = [name for name in NAMES if name in drawn]
        key = [Line2D([], [], **_style(name)) for name in order], [NAMES[name] for name in order]
        beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0), "borderaxespad": 0.0}
        row[-1].legend(*key, **beside, frameon=False, fontsize=8, labelcolor=INK)
    figure.supxlabel(note, fontsize=8, color=INK)
    return figure


def _draw_line(ax: Axes, name: str, places: Sequence[tuple[Spread, Spread]], bars: bool = True) -> None:
    if not places:
        return
    style = _style(name)
    ax.plot([x.mean for x, _ in places], [y.mean for _, y in places], gid=name, **style)
    if bars:
        for x, y in places:
            ax.plot([x.low, x.high], [y.mean, y.mean], color=style["color"], linewidth=0.7, alpha=0.5)
            ax.plot([x.mean, x.mean], [y.low, y.high], color=style["color"], linewidth=0.7, alpha=0.5)


def _style(name: str) -> dict[str, Any]:
    """Lipschitz bounds have solid lines, all others dashed ones, and the twin is a star."""
    if name == TWIN:
        return {"color": INK, "marker": "*", "markersize": 10, "linewidth": 1.6, "linestyle": "-"}
    bound = name in (*BOUNDS, POINTED)
    group = [other for other in NAMES if other != TWIN and (other in (*BOUNDS, POINTED)) == bound]
    place = group.index(name)
    return {
        "color": _COLOURS[place % len(_COLOURS)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "markersize": 5,
        "linewidth": 1.4,
        "linestyle": "-" if bound else "--",
        "markerfacecolor": _COLOURS[place % len(_COLOURS)] if bound else "white",
    }


def _lines(found: Sequence[Strength], shown: Collection[str]) -> dict[str, list[Strength]]:
    lines: dict[str, list[Strength]] = {}
    for strength in (each for each in found if each.regularizer in shown):
        lines.setdefault(strength.regularizer, []).append(strength)
    return lines


def _own_movement(strength: Strength) -> Spread:
    """Of the constant that the regulariser's own bound is about: movement of the bound to the power of transfer."""
    if strength.regularizer != POINTED:
        return _known(strength, "movement", True)
    moved = [
        s.bound_movement**s.transfer.midpoint
        for s in strength.seeds
        if s.bound_movement is not None and s.transfer is not None
    ]
    return Spread(math.exp(math.fsum(map(math.log, moved)) / len(moved)), min(moved), max(moved))


def _known(strength: Strength, name: str, logarithmic: bool = False) -> Spread:
    spread = strength.spread(name, logarithmic)
    assert spread is not None
    return spread


def _log_axis(ax: Axes, which: str) -> None:
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: written(value)))
    axis.set_minor_formatter(NullFormatter())
