"""The trajectory figure: bound, LP, combined band and margin over constant over training, for a run and its twin."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from typing import Any, Literal

from lipreg.errors import InvalidInput
from lipreg.records import Record
from lipreg.reporting.labels import FONT_SIZE, LineLabel, name_lines
from lipreg.reporting.penalised import bound_description
from lipreg.reporting.plotting import (
    Axes,
    Figure,
    FigureCanvasAgg,
    Line2D,
    LogFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
)
from lipreg.reporting.rows import region_radius
from lipreg.reporting.svg import GRID, INK, RUN_COLOURS
from lipreg.reporting.wording import at_most, between, distance, measured
from lipreg.transfer import Metric, Pair, Side, find_pair
from lipreg.words import capitalised, counted, plain, written

WIDE = (9.2, 7.4)
"""The size of a figure of several panels, in inches."""

_ROLES = ("regularised", "twin")
_LINE: dict[str, Any] = {"marker": "o", "markersize": 3, "linewidth": 1.6}
_STYLES: dict[str, Literal["--", ":", "-"]] = {"bound": "--", "LP": ":", "combined": "-"}


def trajectory_figure(
    records: Iterable[Record], run: str, size: tuple[float, float] = WIDE, metric: str | None = None
) -> Figure:
    """The figure of a regularised run and its twin: bound, LP and combined band over epochs on a log axis; below them the
    median margin over constant, which rescaling does not change, and the task's own metric.

    Args:
        records: of both runs.
        run: the regularised run; its ``RunRecord`` names the twin and the bound.
        size: width and height in inches. Below 6 inches the lines are named in a legend instead of beside them.
        metric: name of the logged metric to show; see ``lipreg.transfer.compare``.

    Raises:
        InvalidInput: no such run, no twin, or nothing audited.
        IncomparableResults: the records answer different questions.
    """
    pair = find_pair(records, run, metric)
    if not any(side.trajectory for side in pair.sides):
        raise InvalidInput(
            f"no point of {run!r} or its twin has both {pair.regularised.bound!r} and 'combined' audits",
            where="trajectory_figure",
            accepted="records of at least one audit",
        )
    figure = Figure(figsize=size, facecolor="white")
    FigureCanvasAgg(figure)
    margins = any(p.margin_over_constant is not None for side in pair.sides for p in side.trajectory)
    wide, heights = size[0] >= 6, [3.0] + [1.0] * (margins + (pair.metric is not None))
    axes: list[Axes] = list(figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)[:, 0])
    top = 1 - (_titles(figure, pair, wide) + 0.12) / size[1]
    bottom = (0.55 if wide else 1.25) / size[1]
    figure.subplots_adjust(left=0.92 / size[0], right=0.7 if wide else 0.97, top=top, bottom=bottom, hspace=0.12)

    labels = _draw_constants(axes[0], pair)
    unit = plain(str(pair.question.get("p", "p")), 4).replace("inf", "∞")
    of = "scale" if "scale" in pair.question else "input"
    axes[0].set_ylabel(f"Lipschitz constant\n(output per unit of {of}, l{unit} norm)", color=INK, fontsize=FONT_SIZE)
    for ax in axes:
        _dress(ax)
    below = [_draw_margins(axes[1], pair)] if margins else []
    below += [] if pair.metric is None else [_draw_metric(axes[-1], pair, pair.metric)]
    for ax, beside in zip(axes[1:], below, strict=True):
        name_lines(ax, beside if wide else [])
    axes[-1].set_xlabel("completed training epochs", color=INK, fontsize=FONT_SIZE)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    name_lines(axes[0], labels) if wide else _legend(figure)
    return figure


def _draw_constants(ax: Axes, pair: Pair) -> list[LineLabel]:
    points = [p for side in pair.sides for p in side.trajectory]
    ends = [v for p in points for v in (p.bound, p.lp, p.combined.lower, p.combined.upper)]
    positive = [v for v in ends if v is not None and 0 < v < math.inf]
    floor = min(positive, default=0.1) / 1.6
    ax.set_yscale("log", nonpositive="clip")
    ax.set_ylim(floor, max(positive, default=1.0) * 1.6)
    labels: list[LineLabel] = []
    for role, colour, side in _drawn(pair):
        course, epochs = side.trajectory, [p.epoch for p in side.trajectory]
        lower, upper = [p.combined.lower for p in course], [p.combined.upper for p in course]
        # a lower end of 0 has no place on a log axis: the band extends down to the axis, and the middle line has a gap
        middle = [math.sqrt(lo * up) if lo > 0 and up < math.inf else None for lo, up in zip(lower, upper, strict=True)]
        band = [max(v, floor) for v in lower], _finite(upper)
        ax.fill_between(epochs, *band, color=colour, alpha=0.22, linewidth=0, gid=f"band-{role}")
        lines = {"bound": [p.bound for p in course], "LP": [p.lp for p in course], "combined": middle}
        for what, values in lines.items():
            drawn = _finite(values)
            ax.plot(epochs, drawn, _STYLES[what], color=colour, gid=f"{what}-{role}", **_LINE)
            if drawn and math.isfinite(drawn[-1]):
                last = between(course[-1].combined) if what == "combined" else at_most(values[-1])
                labels.append(LineLabel(epochs[-1], drawn[-1], f"{role}: {what} {last}", colour))
        sampled = _finite([p.sampling for p in course])
        ax.plot(epochs, sampled, linestyle="none", color=colour, marker="+", markersize=6, gid=f"sampling-{role}")
    return labels


def _draw_margins(ax: Axes, pair: Pair) -> list[LineLabel]:
    """The certified end of the median margin over constant, with a band up to the other; gaps where there is no end."""
    labels: list[LineLabel] = []
    for role, colour, side in _drawn(pair):
        defined = [(p.epoch, m) for p in side.trajectory if (m := p.margin_over_constant) is not None]
        if not defined:
            continue
        epochs, lower = [epoch for epoch, _ in defined], _finite(m.lower for _, m in defined)
        ax.fill_between(epochs, lower, _finite(m.upper for _, m in defined), color=colour, alpha=0.22, linewidth=0)
        ax.plot(epochs, lower, "-", color=colour, gid=f"margin-{role}", **_LINE)
        if math.isfinite(lower[-1]):
            labels.append(LineLabel(epochs[-1], lower[-1], f"{role}: {distance(defined[-1][1])}", colour))
    end = _exceeded_radius(pair)
    if end is not None:
        ax.axhline(end, color=INK, linewidth=0.9, linestyle=(0, (2, 2)), gid="reach")
    ax.set_ylabel("margin over\nconstant", color=INK, fontsize=FONT_SIZE)
    ax.set_ylim(bottom=0.0)
    ax.margins(y=0.2)
    return labels


def _exceeded_radius(pair: Pair) -> float | None:
    """The radius of the audited region, if a margin over constant exceeds it, which proves no distance; else None."""
    ends = [(p.margin_over_constant, region_radius(p)) for side in pair.sides for p in side.trajectory]
    return next((end for margin, end in ends if margin and end is not None and margin.lower > end), None)


def _draw_metric(ax: Axes, pair: Pair, metric: Metric) -> list[LineLabel]:
    kind = "accuracy" if metric.share else "metric"
    labels: list[LineLabel] = []
    for role, colour, side in _drawn(pair):
        logged = sorted(side.metric.items())
        if logged:
            style = "-" if role == "regularised" else "--"
            ax.plot(*zip(*logged, strict=True), style, color=colour, gid=f"{kind}-{role}", **_LINE)
            labels.append(LineLabel(*logged[-1], f"{role}: {measured(metric, logged[-1][1])}", colour))
    title = plain(metric.title, 24)
    if metric.share:
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
        title = f"{title.replace(' ', chr(10))} (%)"
    ax.set_ylabel(title, color=INK, fontsize=FONT_SIZE)
    ax.margins(y=0.2)
    return labels


def _drawn(pair: Pair) -> Iterable[tuple[str, str, Side]]:
    """Role, colour and run of both sides."""
    return zip(_ROLES, RUN_COLOURS, pair.sides, strict=True)


def _dress(ax: Axes) -> None:
    ax.set_facecolor("none")
    ax.tick_params(which="both", colors=INK, labelsize=FONT_SIZE - 1)
    ax.grid(True, which="major", color=GRID, linewidth=0.7)
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
    if ax.get_yscale() == "log":
        low, high = ax.get_ylim()
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 1e4 * low else (1.0,)))
        ax.yaxis.set_major_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(math.inf, math.inf)))
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        ax.yaxis.set_major_locator(MaxNLocator(4))


def _titles(figure: Figure, pair: Pair, wide: bool) -> float:
    """Writes question and key at the top, and returns their height in inches."""
    counts = {len(p.points) for side in pair.sides for p in side.trajectory}
    span = ("" if len(counts) == 1 else f"{min(counts)} to ") + counted(max(counts), "point")
    sentence = plain(pair.regularised.run.record.sentence, 220) or "Lipschitz constant over training"
    key = (
        f"dashed: {bound_description(pair.regularised.run.record, pair.regularised.bound)}; dotted: LP relaxation; solid, "
        f"with band: certified interval of the exact constant; plus: best random sample. Means over {span}, of the "
        "margin over constant, which rescaling the outputs does not move, the median"
    )
    end = _exceeded_radius(pair)
    key += (
        "." if end is None else f" (thin line: the radius of the region, {written(end)}; beyond it nothing is proved)."
    )
    width, inch = figure.get_size_inches()[0], figure.get_figheight()
    offset = 0.12

    def write(words: str, letters: float, size: float, line: float, weight: str) -> None:
        nonlocal offset
        lines = _lines(words, int(width * letters))
        text = figure.text(0.1 / width, 1 - offset / inch, "\n".join(lines), va="top", ha="left", color=INK)
        text.set(fontsize=size, fontweight=weight, parse_math=False)
        offset += len(lines) * line + 0.08

    write(capitalised(sentence), *((11, 11.0, 0.2) if wide else (10.5, 9.5, 0.175)), weight="bold")
    write(key, 15.5 if wide else 14.5, 8.0, 0.155, "normal")
    return offset


def _lines(text: str, width: int) -> list[str]:
    """The text in lines of about equal length, so that the last one is not a single word."""
    wrapped = [textwrap.wrap(text, w) for w in range(width, width // 2, -1)]
    return min(wrapped, key=lambda lines: (len(lines), max(map(len, lines))))


def _legend(figure: Figure) -> None:
    lines = [
        Line2D([], [], color=colour, linestyle=style, linewidth=1.6, label=f"{role}: {what}")
        for role, colour in zip(_ROLES, RUN_COLOURS, strict=True)
        for what, style in _STYLES.items()
    ]
    form: dict[str, Any] = {"fontsize": FONT_SIZE - 1, "labelcolor": INK, "handlelength": 1.8, "columnspacing": 1.0}
    figure.legend(handles=lines, loc="lower left", ncols=2, frameon=False, **form).set_gid("legend")


def _finite(values: Iterable[float | None]) -> list[float]:
    """The values, with NaN, which makes a gap in a line, for those that are missing or were not proved."""
    return [v if v is not None and math.isfinite(v) else math.nan for v in values]
