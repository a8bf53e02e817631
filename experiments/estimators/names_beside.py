"""Names of single marks written beside them, each where it covers neither another name nor another mark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from lipreg.reporting.labels import FONT_SIZE

SIZE = FONT_SIZE - 1
_CHARACTER, _LINE = 0.56 * SIZE, 1.25 * SIZE  # points that a character and a line take, about
_REACH = 8.0  # points from the middle of a mark to its name


@dataclass(frozen=True)
class Mark:
    """A mark's place in data coordinates and its name."""

    x: float
    y: float
    text: str
    colour: str


def name_marks(ax: Axes, marks: Sequence[Mark], line: float | None = None) -> None:
    """Writes the names, to the right of the marks if there is room, else around them, else farther off with a lead.

    Call it when limits, scales and the figure's layout are final.

    Args:
        ax: where the marks are.
        marks: all of them.
        line: the height of a horizontal line that no name should cross.
    """
    scale = 72 / ax.figure.dpi
    pixels = ax.transData.transform([(mark.x, mark.y) for mark in marks]) if marks else []
    places = [(float(x) * scale, float(y) * scale) for x, y in pixels]
    taken = [Bbox.from_extents(x - 4, y - 4, x + 4, y + 4) for x, y in places]
    frame = ax.get_window_extent()
    inside = Bbox.from_extents(frame.xmin * scale, frame.ymin * scale, math.inf, frame.ymax * scale)
    if line is not None:
        height = float(ax.transData.transform((marks[0].x if marks else 1.0, line))[1]) * scale
        taken.append(Bbox.from_extents(frame.xmin * scale, height - 0.5, frame.xmax * scale, height + 0.5))
    for mark, (x, y) in sorted(zip(marks, places, strict=True), key=lambda item: -item[1][1]):
        best = min(
            offsets(len(mark.text) * _CHARACTER),
            key=lambda offset: (_covered(_box(x, y, offset, mark.text), taken, inside), _length(offset)),
        )
        taken.append(_box(x, y, best, mark.text))
        far = _length(best) > 2.5 * _REACH
        ax.annotate(
            mark.text,
            xy=(mark.x, mark.y),
            xytext=(best[0], best[1]),
            textcoords="offset points",
            va="center",
            color=mark.colour,
            fontsize=SIZE,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": mark.colour, "linewidth": 0.6} if far else None,
        )


def offsets(width: float) -> list[tuple[float, float]]:
    """Where the left end of a name of that width may lie, in points from the mark."""
    left = -width - _REACH
    near = [(_REACH, 0.0), (left, 0.0), (-width / 2, 12.0), (-width / 2, -12.0)]
    return near + [(x, step * 6.0) for step in range(-12, 13) if step for x in (_REACH, left)]


def _box(x: float, y: float, offset: tuple[float, float], text: str) -> Bbox:
    left, middle = x + offset[0], y + offset[1]
    return Bbox.from_extents(left, middle - _LINE / 2, left + len(text) * _CHARACTER, middle + _LINE / 2)


def _covered(box: Bbox, taken: Sequence[Bbox], inside: Bbox) -> float:
    """The area, in square points, that is taken already, and what sticks out above, below or to the left."""
    area = sum(shared.width * shared.height for other in taken if (shared := Bbox.intersection(box, other)) is not None)
    out = (inside.ymin - box.ymin, box.ymax - inside.ymax, inside.xmin - box.xmin)
    return round(area + 1e3 * sum(max(0.0, over) for over in out), 3)


def _length(offset: tuple[float, float]) -> float:
    return abs(offset[1]) + (0.0 if offset[0] > 0 else 0.5)
