"""The parts of matplotlib that figures are drawn with: its object API alone, no pyplot, no global state, no display."""

from __future__ import annotations

from lipreg.extras import require

require("views", "matplotlib", where="lipreg.reporting.figures")
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

__all__ = [
    "Axes",
    "Figure",
    "FigureCanvasAgg",
    "Line2D",
    "LogFormatter",
    "LogLocator",
    "MaxNLocator",
    "NullFormatter",
    "PercentFormatter",
    "rc_context",
]
