"""The trajectory figure: what is drawn, in which words, and that it leaves no trace in matplotlib's global state."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lipreg.errors import InvalidInput
from lipreg.records import AuditRecord, EpochRecord, Record, RunRecord
from lipreg.reporting.figures import trajectory_figure
from lipreg.reporting.labels import separate
from lipreg.reporting.svg import save, svg
from tests.reporting.conftest import build


def line(ax: Axes, name: str) -> Any:
    return next(drawn for drawn in ax.lines if drawn.get_gid() == name)


def texts(figure: Figure) -> str:
    return "\n".join([t.get_text() for t in figure.texts] + [t.get_text() for ax in figure.axes for t in ax.texts])


def test_lines_hold_the_means_of_the_records(records: Sequence[Record]) -> None:
    constants, margins, accuracy = trajectory_figure(records, "penalty").axes
    scale = 7 / 3
    assert line(constants, "bound-regularised").get_xdata().tolist() == [0, 5, 10]
    assert line(constants, "bound-regularised").get_ydata() == pytest.approx([4 * scale, 8 * scale, 10 * scale])
    assert line(constants, "bound-twin").get_ydata() == pytest.approx([4 * scale, 20 * scale, 40 * scale])
    assert line(constants, "LP-twin").get_ydata() == pytest.approx([2.5 * scale, 9 * scale, 16 * scale])
    assert line(constants, "sampling-twin").get_ydata()[-1] == pytest.approx(3.6 * scale)
    middle = line(constants, "combined-regularised").get_ydata()
    assert middle == pytest.approx([scale, math.sqrt(4.4) * scale, math.sqrt(5) * scale])
    # margin 0.1 over 1, 2.5 and 2.5 at point 0, the same at point 1, less at point 2: the median is point 0's
    assert line(margins, "margin-regularised").get_ydata() == pytest.approx([0.1, 0.1 / 2.2, 0.04])
    assert line(accuracy, "accuracy-twin").get_ydata() == pytest.approx([0.1, 0.88, 0.935])


def test_the_band_spans_the_certified_interval(records: Sequence[Record]) -> None:
    constants = trajectory_figure(records, "penalty").axes[0]
    band = next(c for c in constants.collections if c.get_gid() == "band-twin")
    at_ten = [y for x, y in np.asarray(band.get_paths()[0].vertices) if x == 10]
    assert (min(at_ten), max(at_ten)) == pytest.approx((4 * 7 / 3, 5 * 7 / 3))
    assert constants.get_yscale() == "log"


def test_a_stranger_is_told_what_is_drawn(records: Sequence[Record]) -> None:
    figure = trajectory_figure(records, "penalty")
    said = " ".join(texts(figure).split())
    assert "Regional constant of AllMargins(target=None), LinfBall radius 0.05" in said
    assert "affine_relu, the bound that the penalty lowers" in said and "Means over 3 points" in said
    for label in ("twin: bound 93.34", "regularised: LP 14", "regularised: combined [4.666, 5.834]", "twin: 93.5%"):
        assert label in said
    assert "output per unit of input" in figure.axes[0].get_ylabel()
    assert "margin over" in figure.axes[1].get_ylabel() and "which rescaling the outputs does not move" in said
    assert figure.axes[2].get_xlabel() == "completed training epochs" and "%" in figure.axes[2].get_ylabel()


def test_a_narrow_figure_names_its_lines_in_a_legend(records: Sequence[Record]) -> None:
    figure = trajectory_figure(records, "penalty", (3.8, 7.4))
    assert not figure.axes[0].texts
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "regularised: combined" in names and len(names) == 6


def test_zero_lower_ends_and_unproved_upper_ends_are_drawn_as_far_as_known(records: Sequence[Record]) -> None:
    open_ended = [
        r if not (isinstance(r, AuditRecord) and r.estimator == "combined") else AuditRecord(**{**vars(r), **ends})
        for r in records
        for ends in [{"lower": 0.0, "upper": math.inf if r.run == "twin" else vars(r).get("upper")}]
    ]
    figure = trajectory_figure(open_ended, "penalty")
    constants = figure.axes[0]
    assert np.isnan(line(constants, "combined-regularised").get_ydata()).all()
    low, high = constants.get_ylim()
    assert 0 < low < high < math.inf
    svg(figure)  # renders


def test_accuracy_alone_or_absent(records: Sequence[Record]) -> None:
    assert len(trajectory_figure([r for r in records if not isinstance(r, EpochRecord)], "penalty").axes) == 2
    unclassified = build(label=-1, correct=None, margin=None)
    assert len(trajectory_figure(unclassified, "penalty").axes) == 2, "without margins"
    with pytest.raises(InvalidInput, match="affine_relu"):
        trajectory_figure([r for r in records if not isinstance(r, AuditRecord)], "penalty")


def test_hostile_names_are_drawn_as_they_are(records: Sequence[Record]) -> None:
    sentence = "$\\frac{1}{$ <script>alert(1)</script> & \x00"
    renamed = [r if not isinstance(r, RunRecord) else RunRecord(**{**vars(r), "sentence": sentence}) for r in records]
    text = svg(trajectory_figure(renamed, "penalty"))
    ElementTree.fromstring(text)
    assert "<script" not in text and "\x00" not in text
    assert "&lt;script&gt;" in text


def test_saving(records: Sequence[Record], tmp_path: Path) -> None:
    figure = trajectory_figure(records, "penalty")
    assert save(figure, tmp_path / "new" / "a.png").read_bytes().startswith(b"\x89PNG")
    first = save(figure, tmp_path / "a.svg").read_text()
    assert ElementTree.fromstring(first).tag.endswith("svg")
    assert first == svg(trajectory_figure(records, "penalty"))
    with pytest.raises(InvalidInput, match=r"\.png"):
        save(figure, tmp_path / "a.doc")


def test_no_global_state_is_touched(records: Sequence[Record]) -> None:
    before = dict(matplotlib.rcParams)
    svg(trajectory_figure(records, "penalty"))
    assert dict(matplotlib.rcParams) == before


@given(st.lists(st.floats(0, 1), max_size=8).map(sorted), st.floats(0.01, 0.3))
def test_spread_keeps_order_and_distance(places: list[float], gap: float) -> None:
    moved = separate(places, gap)
    assert len(moved) == len(places)
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(moved))
    if all(b - a >= gap for a, b in pairwise(places)):
        assert moved == pytest.approx(places)
    assert sum(moved) == pytest.approx(sum(places), abs=1e-9)
