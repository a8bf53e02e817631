"""Statements on a whole data set of which points were drawn at random: a part of the report, and a page of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from lipreg.errors import LipregError
from lipreg.population import Sample
from lipreg.population.comparing import compared, holding, refusal
from lipreg.population.wording import percent, population_sentences
from lipreg.records import PopulationRecord, RunRecord, Source
from lipreg.reporting.markup import text
from lipreg.reporting.wording import nearest
from lipreg.words import capitalised

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 260, 48, 36
VALUES = 160
"""The number of values at which the band is evaluated."""
TITLE = "How many points have at most such a constant"


def population_section(files: Iterable[Source]) -> str:
    """The section with the last draw of each run, in statements and a figure, and its comparison with the twin's.

    It is empty where no draw was recorded.
    """
    records = [record for file in files for record in file.records]
    drawn: dict[tuple[str, str], dict[int, PopulationRecord]] = {}
    for record in records:
        if isinstance(record, PopulationRecord):
            drawn.setdefault((record.run_id, record.run), {}).pop(record.epoch, None)
            drawn[record.run_id, record.run][record.epoch] = record
    if not drawn:
        return ""
    runs = {(record.id, record.run): record for record in records if isinstance(record, RunRecord)}
    parts = []
    for key, epochs in drawn.items():
        parts += [_one(list(epochs.values())[-1]), beside_twin(epochs, drawn, runs.get(key))]
    return f"<section><h2>What holds for the whole data set</h2>{''.join(parts)}</section>"


def beside_twin(
    own: Mapping[int, PopulationRecord],
    drawn: Mapping[tuple[str, str], Mapping[int, PopulationRecord]],
    run: RunRecord | None,
) -> str:
    """The comparison of a run with its twin over all points of the data set, after the last epoch at which both have a draw.

    Args:
        own: the draws of the run, by epochs.
        drawn: those of all runs, by their ids and names.
        run: its record; None where there is none, and so no twin.
    """
    if run is None or run.twin is None:
        return ""
    named = [key for key in drawn if (key[0] == run.twin_id if run.twin_id else key[1] == run.twin)]
    epochs = sorted(own.keys() & drawn[named[0]].keys()) if len(named) == 1 else []
    if not epochs:
        return ""
    mine, twin = own[epochs[-1]], drawn[named[0]][epochs[-1]]
    try:
        sentences = compared(mine, twin)
    except LipregError as error:
        return f"<p>{text(capitalised(refusal(error)))}.</p>"
    items = "".join(f"<li>{text(capitalised(line))}.</li>" for line in sentences)
    return f"<p>Beside its twin, {text(twin.run)}, at the same points, {text(holding(mine, twin))}:</p><ul>{items}</ul>"


class Steps(NamedTuple):
    """Two step functions between which the share of points with at most a value lies; most values are there twice.

    Attributes:
        values: ascending, ``(steps,)``.
        low, high: the ends of the share at each value, in [0, 1].
    """

    values: np.ndarray[Any, Any]
    low: np.ndarray[Any, Any]
    high: np.ndarray[Any, Any]


def band(sample: Sample) -> Steps | None:
    """The band around the distribution of a constant over a data set, between all proved ends; None without any."""
    proved = np.concatenate(sample.everywhere)  # infinite where nothing is known of a point that was not drawn
    proved = proved[np.isfinite(proved)]
    start, end = float(proved.min(initial=math.inf)), float(proved.max(initial=-math.inf))
    if math.isinf(start):
        return None
    if not end > start:
        start, end = start - 0.5 * (abs(start) or 1.0), end + 0.5 * (abs(end) or 1.0)
    values = np.linspace(start, end, VALUES)
    low, high = (count / sample.size for count in sample.band().counts(values))
    # between two values the share is no less than at the first and no more than at the second: steps, not slopes
    return Steps(values.repeat(2)[1:-1], low[:-1].repeat(2), high[1:].repeat(2))


def statements(record: PopulationRecord) -> tuple[str, list[str]]:
    """The statements on the data set: how its points were drawn; and what holds, each in a sentence."""
    first, second, *others = population_sentences(record)
    return f"{capitalised(first)}. {capitalised(second)}:", [f"{capitalised(line)}." for line in others]


def reading(record: PopulationRecord) -> str:
    """The caption that says how the figure is read."""
    confidence = percent(record.confidence)
    at_once = f"at all values at once with a confidence of {confidence}"
    return f"The share lies in the band, {at_once}. Constants as they are, in units of the output."


def population_page(record: PopulationRecord) -> str:
    """Statements and figure as an HTML page that needs nothing else, for a dashboard's panel."""
    style = (
        "body{font:14px system-ui,sans-serif;margin:8px;color:#1b1b1d;background:#fff}text{font-size:12px;fill:#555}"
    )
    style += ".grid line{stroke:#d2d2d6}h3{display:none}:root{--run:#0072b2}ul{padding-left:20px}figure{margin:0}"
    head = f'<meta charset="utf-8"><title>{text(record.run)}</title><style>{style}</style>'
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{_one(record)}</body></html>'


def _one(record: PopulationRecord) -> str:
    first, others = statements(record)
    items = "".join(f"<li>{text(line)}</li>" for line in others)
    caption = f"<strong>{TITLE}.</strong> {reading(record)}"
    figure = f'<figure><figcaption>{caption}</figcaption><div class="chart">{_svg(record.sample)}</div></figure>'
    return f"<h3>{text(record.run)}</h3><p>{text(first)}</p><ul>{items}</ul>{figure}"


def _svg(sample: Sample) -> str:
    """The band as SVG."""
    steps = band(sample)
    if steps is None:
        return "<p>Nothing is known of any point.</p>"
    values, low, high = steps
    start, end = float(values[0]), float(values[-1])

    def place(value: float, share: float) -> str:
        across = LEFT + (value - start) / (end - start) * (WIDTH - LEFT - 12)
        return f"{across:.1f},{10 + (1 - share) * (HEIGHT - BOTTOM - 10):.1f}"

    upper = [place(value, share) for value, share in zip(values, high, strict=True)]
    lower = [place(value, share) for value, share in zip(values, low, strict=True)]
    style = 'fill="var(--run)" fill-opacity="0.25" stroke="var(--run)"'
    drawn = f'<polygon points="{" ".join([*upper, *lower[::-1]])}" {style}/>'
    grid, words = [], []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        (x0, y), (x1, _) = (place(value, share).split(",") for value in (start, end))
        grid.append(f'<line x1="{x0}" x2="{x1}" y1="{y}" y2="{y}"/>')
        words.append(f'<text x="{LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{100 * share:g} %</text>')
    for value in np.linspace(start, end, 5):
        x, y = place(float(value), 0.0).split(",")
        words.append(f'<text x="{x}" y="{float(y) + 18:.1f}" text-anchor="middle">{text(nearest(float(value)))}</text>')
    label = "share of points with at most a constant, as a band"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}" style="max-width:{WIDTH}px;width:100%">'
        f'<g class="grid">{"".join(grid)}</g>{drawn}{"".join(words)}</svg>'
    )
