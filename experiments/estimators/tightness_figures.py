"""Figures of how tight estimators are: bounds against radius, tightness against seconds, tightness of growing networks."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from experiments.estimators.names_beside import Mark, name_marks
from experiments.estimators.tightness import Row, only, rows_of
from experiments.estimators.tightness_tables import NORMS, ranked
from lipreg.errors import InvalidInput
from lipreg.estimators import get_estimator
from lipreg.reporting.labels import FONT_SIZE, LineLabel, name_lines
from lipreg.reporting.svg import GRID, INK
from lipreg.reporting.wording import counted
from lipreg.words import written

if TYPE_CHECKING:
    import pandas as pd

# Tol's muted colours, which colour-blind readers tell apart, the two lightest darker; each stands for one line of a panel
COLOURS = ("#cc6677", "#332288", "#117733", "#aa4499", "#2b9ccc", "#999933", "#882255", "#b8860b", "#44aa99")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
LINES = {"lower": "--", "estimate": ":"}
CLOSE = 1e-3
"""An estimator this close to the constant at every radius is named in the panel's head, not drawn over its line."""
PLAIN = FuncFormatter(lambda value, _: written(value))
RESOLUTION = 1e-4
"""Seconds that records resolve."""
CLOSED, SOUGHT = "in closed form", "by programs, searches and samples"
"""What bounds of a norm and a scope are parted into, so that few lines share a panel."""
BESIDE = 0.01
"""Lines that lie closer than this share of a panel's height at both of the last places cover one another."""
CONSTANT = "Black: the constant itself, with a grey band down to the best witness where it is not known exactly."
LINE = "Black, at 1: the constant itself, or the best witness where it is not known exactly."
KINDS = "Solid lines: proved upper bounds; dashed: lower bounds; dotted: estimates. Lines beneath others are wider."
FILLED = "Filled marks: proved upper bounds; hollow marks: lower bounds and estimates."
_PANEL = (5.0, 3.9)  # inches, the names beside the lines included
_WORDS = 8.5  # inches that the text above the panels needs


def radius_figure(summary: pd.DataFrame, network: str) -> Figure:
    """What every estimator says against the radius, a panel for each norm and scope, around the constant itself.

    Values are geometric means over the reference points. Where the constant is not exact at all points the black line is
    the best proved upper end, with a band down to the best witness.
    """
    rows = only(rows_of(summary), network=network)
    title = f"{network}: local Lipschitz constant and its bounds"
    figure, panels = _grid(rows, title, rows, f"{CONSTANT} {KINDS}")
    styles = _styles(rows)
    for ax, head, part in panels:
        truth = _along(part, "radius")
        radii = [row["radius"] for row in truth]
        low, high = ([row[end] for row in truth] for end in ("truth_lower", "truth_upper"))
        ax.fill_between(radii, low, high, color=INK, alpha=0.2, linewidth=0, gid="band")
        ax.plot(radii, high, color=INK, linewidth=2.4, gid="constant", zorder=5)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.margins(y=0.1)
        labels, meets = _lines(ax, part, "radius", "value", styles)
        labels.append(LineLabel(radii[-1], high[-1], "constant", INK))
        _dress(ax, head, meets)
        ax.set_xlabel("radius of the region", color=INK, fontsize=FONT_SIZE)
        ax.set_ylabel("Lipschitz constant, or its bound", color=INK, fontsize=FONT_SIZE)
        _ticks(ax, radii)
        name_lines(ax, labels)
    return figure


def seconds_figure(summary: pd.DataFrame, network: str, radius: float) -> Figure:
    """Tightness against cost at one radius, a panel for each norm and scope: best is left and low, on the line at 1."""
    rows = only(rows_of(summary), network=network)
    title = f"{network}: tightness against cost at radius {written(radius)}"
    figure, panels = _grid(only(rows, radius=radius), title, rows, f"{LINE} {FILLED}")
    styles = _styles(rows)
    spent = [max(row["seconds"], RESOLUTION) for row in only(rows, radius=radius) if row["answers"]]
    across = min(spent) / 3, max(spent) * 3  # the same in all panels, so that costs are compared at a glance
    for ax, head, part in panels:
        ax.axhline(1.0, color=INK, linewidth=1.2, gid="constant")
        ax.set_xscale("log")
        ax.set_yscale("log")
        marks = []
        for row in part:
            if 0 < row["ratio"] < math.inf:
                colour, mark = styles[row["estimator"]]
                seconds = max(row["seconds"], RESOLUTION)
                inside = "white" if row["certificate"] in LINES else colour
                point: dict[str, Any] = {"color": colour, "markerfacecolor": inside, "markersize": 6}
                ax.plot([seconds], [row["ratio"]], mark, gid=row["estimator"], **point)
                marks.append(Mark(seconds, row["ratio"], row["estimator"], colour))
        ax.margins(0.16, 0.12)
        ax.set_xlim(*across)
        ax.xaxis.set_minor_formatter(NullFormatter())
        _dress(ax, head, _caveat(part))
        ax.set_xlabel("CPU seconds a point (median)", color=INK, fontsize=FONT_SIZE)
        ax.set_ylabel("bound / constant", color=INK, fontsize=FONT_SIZE)
        name_marks(ax, marks, line=1.0)
    return figure


def growth_figure(summary: pd.DataFrame, axis: str, radius: float) -> Figure:
    """Tightness against the size of the network at one radius, a panel for each norm and scope.

    Args:
        summary: of networks that differ in ``axis``.
        axis: the column of the size: "inputs", "hidden layers" or "units a layer".
        radius: at which.

    Raises:
        InvalidInput: the summary has no such sizes.
    """
    rows = [row for row in rows_of(summary) if not math.isnan(row.get(axis, math.nan))]
    if not rows:
        raise InvalidInput(f"no sizes {axis!r}", where="growth_figure", accepted=", ".join(summary.columns))
    title = f"Tightness of networks that grow in {axis}, radius {written(radius)}"
    figure, panels = _grid(only(rows, radius=radius), title, rows, f"{LINE} {KINDS}")
    styles = _styles(rows)
    for ax, head, part in panels:
        ax.axhline(1.0, color=INK, linewidth=1.6, gid="constant")
        ax.set_yscale("log")
        if axis != "hidden layers":
            ax.set_xscale("log")
        ax.margins(y=0.1)
        labels, meets = _lines(ax, part, axis, "ratio", styles)
        _dress(ax, head, meets or _caveat(part))
        ax.set_xlabel(axis, color=INK, fontsize=FONT_SIZE)
        ax.set_ylabel("bound / constant", color=INK, fontsize=FONT_SIZE)
        _ticks(ax, [row[axis] for row in _along(part, axis)])
        name_lines(ax, labels)
    return figure


def _lines(
    ax: Axes, part: list[Row], x: str, y: str, styles: dict[str, tuple[str, str]]
) -> tuple[list[LineLabel], str]:
    """Draws the estimators' lines, with gaps where one did not answer at all points.

    Returns:
        The labels of the lines, and the names of those that are the constant everywhere, which are not drawn.
    """
    labels, meets = [], []
    drawn: dict[str, dict[float, float]] = {}
    for name in ranked(part):
        mine = _along(only(part, estimator=name), x)
        if all(abs(row["ratio"] - 1) <= CLOSE and row["answers"] == row["known"] == row["points"] for row in mine):
            meets.append(name)
            continue
        colour, mark = styles[name]
        shape = LINES.get(mine[-1]["certificate"], "-")
        values = [row[y] if row["answers"] == row["points"] else math.nan for row in mine]
        at = [row[x] for row in mine]
        ax.plot(at, values, shape, color=colour, marker=mark, markersize=4, linewidth=1.3, gid=name)
        drawn[name] = {a: v for a, v in zip(at, values, strict=True) if v > 0}
        ends = [(a, v) for a, v in zip(at, values, strict=True) if math.isfinite(v) and v > 0]
        labels += [LineLabel(*ends[-1], name, colour)] if ends else []
    _widened(ax, drawn)
    return labels, f"on the line of the constant: {', '.join(meets)}" if meets else ""


def _widened(ax: Axes, drawn: dict[str, dict[float, float]]) -> None:
    """Lets every line be seen: one that others cover, drawn later, is wider than they are."""
    low, high = map(math.log, ax.get_ylim())

    def covers(one: dict[float, float], other: dict[float, float]) -> bool:
        last = sorted(one.keys() & other.keys())[-2:]
        return len(last) == 2 and all(abs(math.log(one[x] / other[x])) <= BESIDE * (high - low) for x in last)

    lines = {line.get_gid(): line for line in ax.get_lines()}
    later: list[dict[float, float]] = []
    for name, values in reversed(drawn.items()):
        under = sum(covers(values, other) for other in later)
        later.append(values)
        lines[name].set(linewidth=1.3 + 1.9 * under, markersize=4 + 1.9 * under)


def _along(rows: list[Row], column: str) -> list[Row]:
    """The first row of each value of a column, ascending."""
    first: dict[float, Row] = {}
    for row in rows:
        first.setdefault(row[column], row)
    return [first[value] for value in sorted(first)]


def _caveat(part: list[Row]) -> str:
    known = all(row["known"] == row["points"] for row in part)
    return "" if known else "not every constant is exact: ratios to the best witness"


def _grid(
    rows: list[Row], title: str, spoken: list[Row], key: str
) -> tuple[Figure, Iterator[tuple[Axes, str, list[Row]]]]:
    """A figure with a row of panels for each norm and scope, with bounds in closed form and the others beside them.

    Told are axes, heading and rows of each panel.

    Args:
        rows: what is drawn.
        title: of the figure.
        spoken: more rows of the same network, one of which says what it is.
        key: how the panels are read.
    """
    answered = [row for row in rows if row["answers"]]
    if not answered:
        raise InvalidInput("nothing was answered", where="figure", accepted="a summary of at least one answer")
    scopes = sorted({row["scope"] for row in answered}, key=["regional", "pointed"].index)
    norms = sorted({row["p"] for row in answered}, key=list(NORMS).index)
    kinds = [kind for kind in (CLOSED, SOUGHT) if any(_kind(row) == kind for row in answered)]
    down = [(p, scope) for p in norms for scope in scopes if only(answered, p=p, scope=scope)]
    width = max(_PANEL[0] * len(kinds), _WORDS)
    height = _PANEL[1] * len(down) + 0.75
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    grid: Any = figure.subplots(len(down), len(kinds), squeeze=False)
    figure.subplots_adjust(
        left=0.75 / width, right=1 - 1.6 / width, top=1 - 1.6 / height, bottom=0.55 / height,
        wspace=2.1 / (_PANEL[0] - 2.1), hspace=0.95 / (_PANEL[1] - 0.95),
    )  # fmt: skip
    about, output = (next((row[c] for row in spoken if row[c]), "") for c in ("about", "output"))
    said = (
        f"{about or title}. Lipschitz constant of {output or 'the output'}; p: norm of input distances. Regional: between "
        f"any two points of the region; pointed: against its reference point. {key} Geometric means over "
        f"{counted(max(row['points'] for row in answered), 'reference point')}."
    )
    figure.text(0.15 / width, 1 - 0.14 / height, title, va="top", color=INK, fontsize=12, fontweight="bold")
    lines = "\n".join(textwrap.wrap(said, int(width * 15)))
    figure.text(0.15 / width, 1 - 0.42 / height, lines, va="top", color=INK, fontsize=8, parse_math=False)

    def panels() -> Iterator[tuple[Axes, str, list[Row]]]:
        for (i, (p, scope)), (j, kind) in product(enumerate(down), enumerate(kinds)):
            part = [row for row in only(answered, p=p, scope=scope) if _kind(row) == kind]
            if part:
                yield grid[i][j], f"{scope}, p = {NORMS[p]}" + (f": {kind}" if len(kinds) > 1 else ""), part
            else:
                grid[i][j].set_axis_off()

    return figure, panels()


def _styles(rows: list[Row]) -> dict[str, tuple[str, str]]:
    """A colour and a mark for each estimator, the same in all panels: one that no other of its panels has, while there is
    one."""
    names = ranked(rows)
    drawn = [row for row in rows if row["answers"]]
    beside = {name: {_panel(row) for row in drawn if row["estimator"] == name} for name in names}
    found: dict[str, int] = {}
    for name in sorted(
        names, key=lambda name: -len(beside[name])
    ):  # those of many panels have the fewest to choose from
        taken = {style for other, style in found.items() if beside[other] & beside[name]}
        free = [style for style in range(len(COLOURS)) if style not in taken]
        found[name] = free[0] if free else len(found) % len(COLOURS)
    return {name: (COLOURS[style], MARKS[style]) for name, style in found.items()}


def _panel(row: Row) -> tuple[str, str, str]:
    return row["p"], row["scope"], _kind(row)


def _kind(row: Row) -> str:
    """Which of the two parts a bound is of."""
    try:
        return CLOSED if get_estimator(row["estimator"]).proves_at_once else SOUGHT
    except InvalidInput:  # of a study that has a method of its own
        return SOUGHT


def _ticks(ax: Axes, values: list[float]) -> None:
    """Ticks on the x axis at the values that were measured."""
    ax.xaxis.set_major_locator(FixedLocator(values))
    ax.xaxis.set_minor_locator(FixedLocator([]))
    ax.xaxis.set_major_formatter(PLAIN)


def _dress(ax: Axes, head: str, below: str) -> None:
    lines = textwrap.wrap(below, 80)
    pad = 18 + 9 * max(0, len(lines) - 1)  # points
    ax.set_title(head, loc="left", color=INK, fontsize=FONT_SIZE + 1, fontweight="bold", pad=pad)
    words = {"fontsize": FONT_SIZE - 1.5, "color": INK, "va": "bottom"}
    note = ax.text(0, 1.02, "\n".join(lines), transform=ax.transAxes, **words)
    note.set_gid("note")
    ax.tick_params(which="both", colors=INK, labelsize=FONT_SIZE - 1)
    ax.grid(True, which="major", color=GRID, linewidth=0.7)
    ax.set_axisbelow(True)
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
    low, high = ax.get_ylim()
    few = LogLocator(subs=(1.0, 2.0, 5.0) if high < 3e3 * low else (1.0,))
    ax.yaxis.set_major_locator(MaxNLocator(5) if high < 4 * low else few)
    ax.yaxis.set_major_formatter(PLAIN)
    ax.yaxis.set_minor_formatter(NullFormatter())
