"""Questions at size before and after, in a table and a figure: results/exact_size_before.json beside exact_size.json.

``python -m benchmarks.exact page`` puts both into docs/scale.md.
"""

from __future__ import annotations

from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.environment import RESULTS, markdown, read_result, write_tables
from benchmarks.scale import COLOURS, IMAGES
from lipreg.reporting.svg import GRID, INK, save
from lipreg.words import written

PAGE = IMAGES.parent / "scale.md"
WHEN = {"before": "exact_size_before", "after": "exact_size"}
LEAST = 1e-4
"""Gap at which the figure draws what is closed."""

Row = dict[str, Any]


def results() -> dict[str, list[Row]]:
    """The rows before and after, as far as there are any."""
    return {when: read_result(name) if (RESULTS / f"{name}.json").exists() else [] for when, name in WHEN.items()}


def table(found: dict[str, list[Row]]) -> str:
    """One line a question and engine: both ends, gap, CPU seconds, memory and nodes, before and after.

    Where nothing is known from below there is no gap, but an upper end alone.
    """
    lines: dict[tuple[str, str, str], Row] = {}
    for when, rows in found.items():
        for row in rows:
            key = row["question"], row["member"], row["engine"]
            line = lines.setdefault(key, {"question": f"{key[0]}, {key[1]}", "engine": key[2], "unstable": ""})
            line["unstable"] = row.get("undecided") or line["unstable"]
            line |= {f"{when}: {name}": text for name, text in _told(row).items()}
    blank = {f"{when}: {name}": "" for when in found for name in _told({})}
    first = ("question", "engine", "unstable")
    return markdown([{**{key: line[key] for key in first}, **blank, **line} for line in lines.values()])


def _told(row: Row) -> dict[str, str]:
    if not row:
        return dict.fromkeys(("interval", "gap", "CPU seconds", "GiB", "nodes"), "")
    if row["upper"] is None:
        return {"interval": f"died: {row['detail']}"}
    closed, above = row["closed"], row["lower"] == 0.0
    interval = f"at most {written(row['upper'], 5)}" if above else f"[{row['lower']:.5g}, {row['upper']:.5g}]"
    return {
        "interval": written(row["upper"]) if closed else interval,
        "gap": "" if closed or above else f"{written(100 * row['gap'], 2)} %",
        "CPU seconds": written(row["cpu_seconds"], 3),
        "GiB": f"{row['peak_gib']:.1f}",
        "nodes": "" if row["nodes"] is None else f"{row['nodes']:,}",
    }


def figure(found: dict[str, list[Row]]) -> Figure:
    """CPU seconds and gaps against unstable units; a line joins what was before and after of a question."""
    drawing = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.subplots(1, 2)
    for axis, head, of in zip(
        axes, ("CPU seconds", f"gap, {LEAST:g} where closed"), ("cpu_seconds", "gap"), strict=True
    ):
        places: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for (when, rows), fill in zip(found.items(), ("none", COLOURS[0]), strict=True):
            own = [row for row in rows if row["engine"] == "branch_and_bound" and row.get("undecided")]
            points = [(row["undecided"], max(LEAST, row[of])) for row in own]
            if own:
                axis.scatter(*zip(*points, strict=True), s=28, facecolors=fill, edgecolors=COLOURS[0], label=when)
            for row, point in zip(own, points, strict=True):
                places.setdefault((row["question"], row["member"]), []).append(point)
        for pair in places.values():
            axis.plot(*zip(*pair, strict=True), color=GRID, linewidth=1.0, zorder=0)
        axis.set(xscale="log", yscale="log", xlabel="unstable units")
        axis.set_title(head, loc="left", fontsize=10, color=INK)
        for along in (axis.xaxis, axis.yaxis):
            along.set_major_formatter(FuncFormatter(lambda value, _: written(value)))
        axis.grid(True, color=GRID, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=9, loc="lower right")
    return drawing


def to_page() -> None:
    """Both into docs/scale.md, where there are results."""
    found = results()
    if any(found.values()):
        save(figure(found), IMAGES / "size.svg")
        write_tables(PAGE, {"size": table(found)})
