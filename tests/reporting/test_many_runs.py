"""The report of more runs than can be drawn one by one: one shape for all marks, a histogram, words of one run at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from lipreg.records import AuditRecord, EpochRecord, RunRecord, Source, Sources
from lipreg.reporting.html import write_runs_report
from tests.reporting.conftest import build
from tests.reporting.test_browser import Shown, browser

__all__ = ["browser"]


def many(count: int) -> Sources:
    """So many weights, each with the same twin; exact constants fall as the weight grows."""
    files = []
    for i in range(count):
        changed = []
        for r in build("regularised", "twin"):
            mine = r.run == "regularised"
            if isinstance(r, RunRecord):
                r = replace(r, weight=float(i) if r.twin else 0.0)
            elif isinstance(r, EpochRecord) and mine:
                r = replace(r, metrics={"val_accuracy": 0.9 - 0.001 * i})
            elif isinstance(r, AuditRecord) and r.epoch == 0:
                r = replace(r, fingerprint="start")
            elif isinstance(r, AuditRecord) and mine:
                r = replace(r, lower=r.lower / (1 + i / count), upper=r.upper / (1 + i / count))
            changed.append(r)
        files.append(Source(f"{i}/records.jsonl", tuple(changed)))
    return Sources(tuple(files))


def test_charts_of_many_runs_stay_small(browser: Any, tmp_path: Path) -> None:
    with Shown(browser, write_runs_report(many(120), tmp_path / "r.html")) as shown:
        page, drawn = shown.page, shown.drawn()
        assert drawn["transfers"] <= 10 and drawn["pareto"] <= 10
        assert page.locator("#transfers").evaluate("(e) => e.clientHeight") < 400
        dots = page.locator("#pareto .cloud.run").get_attribute("d")
        assert dots.count("M") == 120
        assert page.locator("section.entry").count() == 1
        page.locator("#transfers svg").focus()
        runs, words = 0, ""
        for _ in range(60):
            page.keyboard.press("ArrowRight")
            words = page.locator("#transfers .tip").inner_text()
            runs += int(words.split()[0])
            if runs >= 120:
                break
        assert runs == 120, "every run is in one of the bars"
        label = words.rsplit("a click shows ", 1)[1].strip()
        page.keyboard.press("Enter")
        assert page.locator("#single-title").inner_text() == f"One run: {label}"
        assert page.locator("#entries select option:checked").inner_text() == label
        assert page.locator("#transfers .dot.chosen").count() == 1
        assert shown.trouble == []
