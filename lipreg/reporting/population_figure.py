"""The figure of a constant's distribution over a whole data set, with matplotlib: for TensorBoard and for files."""

from __future__ import annotations

from lipreg.records import PopulationRecord
from lipreg.reporting.plotting import Figure, FigureCanvasAgg, PercentFormatter
from lipreg.reporting.population import TITLE, band, reading
from lipreg.reporting.svg import GRID, INK, RUN_COLOURS


def population_figure(record: PopulationRecord, size: tuple[float, float] = (6.4, 3.6)) -> Figure:
    """The share of points with at most a constant, as a band over the constant; empty axes where nothing is known.

    Args:
        record: the draw, and what was proved at its points.
        size: width and height in inches.
    """
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    steps = band(record.sample)
    if steps is not None:
        axes.fill_between(*steps, color=RUN_COLOURS[0], alpha=0.25, gid="band")
        for end, shares in (("low", steps.low), ("high", steps.high)):
            axes.plot(steps.values, shares, color=RUN_COLOURS[0], linewidth=1.0, gid=end)
    axes.set_title(f"{TITLE}\n{reading(record)}", fontsize=8.5, loc="left", color=INK)
    axes.set_xlabel("constant" if steps is not None else "constant (nothing is known of any point)", color=INK)
    axes.set_ylabel("share of points", color=INK)
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(True, color=GRID, linewidth=0.7)
    return figure
