"""Keys, marks in a real browser: a key names all that share a colour, and no dot hides an arrow at an end of its axis."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from lipreg.records import AuditRecord, Record, RunRecord, Source, Sources
from lipreg.reporting.html import write_runs_report
from tests.reporting.conftest import QUESTION, build
from tests.reporting.test_browser import Shown, browser

__all__ = ["browser"]


def _far() -> list[Record]:
    """The study with a truth that grew while the bound fell a little: its transfer lies far below the axis."""

    def changed(r: Record) -> Record:
        if not (isinstance(r, AuditRecord) and r.run == "penalty"):
            return r
        twin = next(
            t
            for t in build()
            if isinstance(t, AuditRecord)
            and t.run == "twin"
            and (t.epoch, t.point, t.estimator) == (r.epoch, r.point, r.estimator)
        )
        if r.epoch == 0:
            return r
        return replace(
            r, lower=3 * twin.lower, upper=0.8 * twin.upper if r.estimator == "affine_relu" else 3 * twin.upper
        )

    return [changed(r) for r in build()]


def test_a_key_names_all_roles_of_a_colour(browser: Any, tmp_path: Path) -> None:
    alone = [
        replace(r, twin=None, seed=7, settings={"seed": 7}) if isinstance(r, RunRecord) else r
        for r in build("single", "nobody")
        if getattr(r, "run", "") == "single"
    ]
    files = (Source("pair.jsonl", tuple(build())), Source("alone.jsonl", tuple(alone)))
    with Shown(browser, write_runs_report(Sources(files), tmp_path / "r.html")) as shown:
        entries = shown.page.locator("#pareto-key .key > span")
        assert entries.all_inner_texts() == ["regularised or alone", "twin"]
        assert shown.trouble == []


def test_no_dot_hides_the_arrow_of_an_interval_outside_of_the_axis(browser: Any, tmp_path: Path) -> None:
    files = (Source("far.jsonl", tuple(_far())), Source("near.jsonl", tuple(build("near", "its twin"))))
    with Shown(browser, write_runs_report(Sources(files), tmp_path / "r.html")) as shown:
        for chart, dots in (("transfers", 1), ("transfer", 0)):
            assert shown.page.locator(f"#{chart} path.arrow").count() >= 1, chart
            assert shown.page.locator(f"#{chart} circle.move").count() == dots, chart
        assert shown.trouble == []


def test_medians_are_over_the_runs_of_the_question_that_is_shown(browser: Any, tmp_path: Path) -> None:
    """Numbers of different questions are never put together."""
    wider = QUESTION | {"region": QUESTION["region"] | {"radius": 0.1}}
    other = [
        replace(r, question=wider) if isinstance(r, AuditRecord | RunRecord) else r
        for r in build("wide", "its twin")
        if not isinstance(r, AuditRecord) or r.epoch < 10
    ]
    files = (Source("one.jsonl", tuple(build())), Source("other.jsonl", tuple(other)))
    alone = []
    for i, file in enumerate(files):
        page = write_runs_report(Sources((file,)), tmp_path / f"{i}.html").read_text(encoding="utf-8")
        alone.append(re.findall(r"Raw transfer, median</h3>(.*?)<p>", page)[0])
    assert alone[0] != alone[1]
    with Shown(browser, write_runs_report(Sources(files), tmp_path / "r.html")) as shown:
        medians = shown.page.locator("#overview .card:visible", has_text="Raw transfer, median")
        for question, figure in enumerate(alone):
            shown.page.select_option("#questions select", str(question))
            assert medians.count() == 1 and medians.inner_html().count(figure) == 1
            assert "Of one compared run of this question:" in medians.inner_text()
        assert shown.trouble == []
