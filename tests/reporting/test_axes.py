"""Axes of the report: a factor is as long on both axes of bound over truth, and accuracies near 100 % lie apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import lipreg.reporting
from lipreg.records import Record
from lipreg.reporting.html import write_report
from lipreg.words import written
from tests.reporting.test_browser import Shown, browser
from tests.test_words import NUMBERS

__all__ = ["browser"]


@pytest.mark.parametrize("width", [1400, 400])
def test_factors_and_errors(browser: Any, records: Sequence[Record], tmp_path: Path, width: int) -> None:
    with Shown(browser, write_report(records, tmp_path / "r.html", "penalty"), width) as shown:
        ticks = """(svg) => [...svg.querySelectorAll('.axis text:not(.title)')].map((text) =>
            [text.getAttribute('text-anchor'), +text.getAttribute('x'), +text.getAttribute('y'), text.textContent])"""
        found = shown.page.locator("#scatter svg").evaluate(ticks)
        across = [(x, float(words)) for anchor, x, _, words in found if anchor == "middle"]
        up = [(-y, float(words)) for anchor, _, y, words in found if anchor == "end"]
        units = [(b[0] - a[0]) / math.log(b[1] / a[1]) for a, b in ((across[0], across[-1]), (up[0], up[-1]))]
        assert units[0] == pytest.approx(units[1], rel=0.01)

        # 10 %, 85 %, 91 % of the run and 10 %, 88 %, 93.5 % of the twin: errors 0.09 and 0.065 at the end
        lines = (
            "(svg) => [...svg.querySelectorAll('.line')].map((line) => Number(line.getAttribute('d').split(' ').pop()))"
        )
        mine, twin = shown.page.locator("#accuracy svg").evaluate(lines)
        named = shown.page.locator("#accuracy svg").evaluate(ticks)
        places = {words: y for anchor, _, y, words in named if anchor == "end"}
        decade = (places["50%"] - places["90%"]) / math.log(5)
        assert mine - twin == pytest.approx(decade * math.log(0.09 / 0.065), abs=0.2) and mine - twin > 15
        assert shown.trouble == []


def test_numbers_are_written_as_everywhere(browser: Any) -> None:
    script = (Path(lipreg.reporting.__file__).parent / "assets" / "plot.js").read_text(encoding="utf-8")
    page = browser.new_page()
    told = page.evaluate(f"(values) => {{ {script}; return values.map(writeNumber); }}", list(NUMBERS))
    few = page.evaluate(f"(values) => {{ {script}; return values.map((value) => short(value)); }}", list(NUMBERS))
    page.close()
    assert told == list(NUMBERS.values()) and few == [written(value, 4) for value in NUMBERS]
