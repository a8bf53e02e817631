"""The trajectory figure: bound, LP relaxation and certified exact band over training, for a run and its twin.

Drawn with matplotlib's object API alone: no pyplot, no global state, no display.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from lipreg.errors import InvalidInput
from lipreg.records import Record
from lipreg.reporting.labels import FONT_SIZE, Label, name_lines
from lipreg.reporting.svg import GRID, INK, RUN_COLOURS
from lipreg.reporting.wording import at_most, between, counted, measured, plain
from lipreg.transfer import Metric, TrajectoryPoint, TwinAudits, trajectory

WIDE, NARROW = (9.2, 6.4), (3.8, 6.4)

_ROLES = ("regularised", "twin")
_STYLES: dict[str, Literal["--", ":", "-"]] = {"bound": "--", "LP": ":", "exact": "-"}


def trajectory_figure(
    records: Sequence[Record], run: str, size: tuple[float, float] = WIDE, metric: str | None = None
) -> Figure:
    """Bound, LP and exact band over epochs on a log axis, the task's own metric below: a regularised run and its twin.

    Args:
        records: of both runs.
        run: the regularised run; its ``RunRecord`` names the twin and the bound.
        size: width and height in inches. Below 6 inches the lines are named in a legend instead of beside them.
        metric: name of the logged metric to show; see ``lipreg.transfer.compare``.

    Raises:
        InvalidInput: no such run, no twin, or nothing audited.
        IncomparableResults: the records answer different questions.
    """
    audits = TwinAudits(records, run, metric)
    courses = list(trajectory(records, run, metric).values())
    if not any(point.points for course in courses for point in course):
        raise InvalidInput(
            f"no point of {run!r} or its twin has both {audits.bound_name!r} and 'exact' audits",
            where="trajectory_figure",
            accepted="records of at least one audit",
        )
    figure = Figure(figsize=size, facecolor="white")
    FigureCanvasAgg(figure)
    wide, has_metric = size[0] >= 6, any(p.metric is not None for course in courses for p in course)
    rows = figure.subplots(
        2 if has_metric else 1, 1, sharex=True, squeeze=False, height_ratios=[3, 1][: 1 + has_metric]
    )
    axes: list[Axes] = list(rows[:, 0])
    top = 1 - (_titles(figure, audits, courses, wide) + 0.12) / size[1]
    bottom = (0.55 if wide else 1.25) / size[1]
    figure.subplots_adjust(left=0.92 / size[0], right=0.7 if wide else 0.97, top=top, bottom=bottom, hspace=0.12)

    labels = _draw_constants(axes[0], courses)
    unit = {"inf": "∞"}.get(str(audits.question.get("p")), plain(str(audits.question.get("p", "p")), 4))
    axes[0].set_ylabel(f"Lipschitz constant\n(output per unit of input, l{unit} norm)", color=INK, fontsize=FONT_SIZE)
    for ax in axes:
        _dress(ax)
    if has_metric:
        metric_labels = _draw_metric(axes[1], courses, audits.metric)
        if wide:
            name_lines(axes[1], metric_labels)
    axes[-1].set_xlabel("completed training epochs", color=INK, fontsize=FONT_SIZE)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    if wide:
        name_lines(axes[0], labels)
    else:
        _legend(figure)
    return figure


def _draw_constants(ax: Axes, courses: list[list[TrajectoryPoint]]) -> list[Label]:
    points = [p for course in courses for p in course if p.points]
    ends = [v for p in points for v in (p.bound, p.lp, *((p.exact.lower, p.exact.upper) if p.exact else ()))]
    positive = [v for v in ends if v is not None and 0 < v < math.inf]
    floor = min(positive, default=0.1) / 1.6
    ax.set_yscale("log", nonpositive="clip")
    ax.set_ylim(floor, max(positive, default=1.0) * 1.6)
    labels: list[Label] = []
    for role, colour, course in zip(_ROLES, RUN_COLOURS, courses, strict=True):
        audited = [p for p in course if p.points and p.exact is not None]
        epochs = [p.epoch for p in audited]
        bounds, relaxed = [p.bound for p in audited], [p.lp for p in audited]
        lower, upper = [p.exact.lower for p in audited if p.exact], [p.exact.upper for p in audited if p.exact]
        # a lower end of 0 has no place on a log axis: the band reaches down to the axis, and the middle line has a gap
        middle = [math.sqrt(lo * up) if lo > 0 and up < math.inf else None for lo, up in zip(lower, upper, strict=True)]
        ax.fill_between(
            epochs,
            [max(v, floor) for v in lower],
            _finite(upper),
            color=colour,
            alpha=0.22,
            linewidth=0,
            gid=f"band-{role}",
        )
        for what, values in (("bound", bounds), ("LP", relaxed), ("exact", middle)):
            drawn = _finite(values)
            ax.plot(
                epochs,
                drawn,
                _STYLES[what],
                color=colour,
                marker="o",
                markersize=3,
                linewidth=1.6,
                gid=f"{what}-{role}",
            )
            if drawn and math.isfinite(drawn[-1]):
                last = between(audited[-1].exact) if what == "exact" else at_most(values[-1])
                labels.append(Label(epochs[-1], drawn[-1], f"{role}: {what} {last}", colour))
        sampled = _finite([p.sampling for p in audited])
        ax.plot(epochs, sampled, linestyle="none", color=colour, marker="+", markersize=6, gid=f"sampling-{role}")
    return labels


def _draw_metric(ax: Axes, courses: list[list[TrajectoryPoint]], metric: Metric | None) -> list[Label]:
    kind = "accuracy" if metric is not None and metric.share else "metric"
    labels: list[Label] = []
    for role, colour, course in zip(_ROLES, RUN_COLOURS, courses, strict=True):
        known = [(p.epoch, p.metric) for p in course if p.metric is not None]
        if known:
            style = "-" if role == "regularised" else "--"
            ax.plot(
                *zip(*known, strict=True),
                style,
                color=colour,
                marker="o",
                markersize=3,
                linewidth=1.6,
                gid=f"{kind}-{role}",
            )
            labels.append(Label(*known[-1], f"{role}: {measured(metric, known[-1][1])}", colour))
    if metric is not None and metric.share:
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    title = plain("" if metric is None else metric.title, 24)
    title = f"{title.replace(' ', chr(10))} (%)" if kind == "accuracy" else title
    ax.set_ylabel(title, color=INK, fontsize=FONT_SIZE)
    ax.margins(y=0.2)
    return labels


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


def _titles(figure: Figure, audits: TwinAudits, courses: list[list[TrajectoryPoint]], wide: bool) -> float:
    """Writes question and key at the top; returns the inches they take."""
    counts = {p.points for course in courses for p in course if p.points}
    span = ("" if len(counts) == 1 else f"{min(counts)} to ") + counted(max(counts), "point")
    sentence = plain(audits.regularised.sentence, 220) or "Lipschitz constant over training"
    key = (
        f"dashed: {plain(audits.bound_name, 40)}, the bound that the penalty lowers; dotted: LP relaxation; solid, "
        f"with band: certified interval of the exact constant; plus: best random sample. Means over {span}."
    )
    width, inch = figure.get_size_inches()[0], figure.get_figheight()
    title = _lines(sentence[:1].upper() + sentence[1:], int(width * (11 if wide else 10.5)))
    below = _lines(key, int(width * (15.5 if wide else 14.5)))
    offset = 0.12
    for lines, size, line, weight in (
        (title, 11.0 if wide else 9.5, 0.2 if wide else 0.175, "bold"),
        (below, 8.0, 0.155, "normal"),
    ):
        text = figure.text(0.1 / width, 1 - offset / inch, "\n".join(lines), va="top", ha="left", color=INK)
        text.set(fontsize=size, fontweight=weight, parse_math=False)
        offset += len(lines) * line + 0.08
    return offset


def _lines(text: str, width: int) -> list[str]:
    """Lines of about equal length, so that no word is left alone on the last one."""
    count = len(textwrap.wrap(text, width))
    return min(
        (textwrap.wrap(text, w) for w in range(width, width // 2, -1)),
        key=lambda ls: (len(ls) > count, max(map(len, ls))),
    )


def _legend(figure: Figure) -> None:
    entries = [
        (f"{role}: {what}", Line2D([], [], color=colour, linestyle=style, linewidth=1.6))
        for role, colour in zip(_ROLES, RUN_COLOURS, strict=True)
        for what, style in _STYLES.items()
    ]
    legend = figure.legend(
        [line for _, line in entries],
        [text for text, _ in entries],
        loc="lower left",
        ncols=2,
        frameon=False,
        fontsize=FONT_SIZE - 1,
        labelcolor=INK,
        handlelength=1.8,
        columnspacing=1.0,
    )
    legend.set_gid("legend")


def _finite(values: Iterable[float | None]) -> list[float]:
    """NaN, which leaves a gap in a line, for what is missing or was not proved."""
    return [v if v is not None and math.isfinite(v) else math.nan for v in values]
