"""The part of the report that says what holds for a whole data set of which points were drawn at random."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lipreg.population import Sample
from lipreg.population.wording import percent, told
from lipreg.records import PopulationRecord, Source
from lipreg.reporting.sections import text
from lipreg.reporting.wording import nearest

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 260, 48, 36
VALUES = 160
"""At which the band is evaluated."""


def population_section(files: Iterable[Source]) -> str:
    """Statements and a figure for the last draw of each run; empty where none was recorded."""
    last: dict[tuple[str, str], PopulationRecord] = {}
    for file in files:
        for record in file.records:
            if isinstance(record, PopulationRecord):
                last[record.run_id, record.run] = record
    if not last:
        return ""
    return f"<section><h2>What holds for the whole data set</h2>{''.join(map(_one, last.values()))}</section>"


def _one(record: PopulationRecord) -> str:
    sample = record.sample
    first, *others = told(sample, record.seed, record.until, record.met, record.figure)
    items = "".join(f"<li>{text(line[:1].upper() + line[1:])}.</li>" for line in others[1:])
    said = f"{first}. {others[0][:1].upper()}{others[0][1:]}:"
    caption = (
        "<strong>How many points have at most such a constant.</strong> The share lies in the band; at each value by itself "
        f"with a confidence of {percent(record.confidence)}."
    )
    figure = f'<figure><figcaption>{caption}</figcaption><div class="chart">{_band(sample)}</div></figure>'
    return f"<h3>{text(record.run)}</h3><p>{text(said)}</p><ul>{items}</ul>{figure}"


def _band(sample: Sample) -> str:
    """The band as SVG: shares of points with at most a value, between two ends."""
    low, high = sample.everywhere
    seen = np.concatenate([low, high[np.isfinite(high)]])
    start, end = float(seen.min()), float(seen.max())
    if not end > start:
        start, end = start - 0.5 * (abs(start) or 1.0), end + 0.5 * (abs(end) or 1.0)
    values = np.linspace(start, end, VALUES)
    shares = [sample.share_above(float(value)) for value in values]

    def place(value: float, share: float) -> str:
        across = LEFT + (value - start) / (end - start) * (WIDTH - LEFT - 12)
        return f"{across:.1f},{10 + (1 - share) * (HEIGHT - BOTTOM - 10):.1f}"

    upper = [place(value, 1 - found.low) for value, found in zip(values, shares, strict=True)]
    lower = [place(value, 1 - found.high) for value, found in zip(values, shares, strict=True)]
    style = 'fill="var(--run)" fill-opacity="0.25" stroke="var(--run)"'
    band = f'<polygon points="{" ".join([*upper, *lower[::-1]])}" {style}/>'
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
        f'<g class="grid">{"".join(grid)}</g>{band}{"".join(words)}</svg>'
    )
