"""The report of more runs than can be drawn one by one: one shape for all marks, a histogram, words of one run at a time."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lipreg.command.progress import StageLine
from lipreg.errors import InvalidInput
from lipreg.records import AuditRecord, EpochRecord, Record, RecordFile, RunRecord, Source, Sources
from lipreg.reporting import report
from lipreg.reporting.html import write_runs_report
from lipreg.reporting.runs import find_entries
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
        words = page.locator("#words").evaluate("(e) => [e.children.length, e.textContent.match(/<section/g).length]")
        assert words == [0, 120], "runs that are not shown are text, which costs a browser no time"
        folded = page.locator("summary:visible").all_inner_texts()
        assert {"120 runs", "120 files"} <= set(folded) and not page.locator(".settings.differ").is_visible()
        assert shown.trouble == []


def test_what_is_not_drawn_has_its_own_reason(browser: Any, tmp_path: Path) -> None:
    files = many(4).files
    without = [r for r in files[0].records if (r.run, getattr(r, "estimator", "")) != ("twin", "affine_relu")]
    unlogged = [r for r in files[1].records if not (isinstance(r, EpochRecord) and r.run == "regularised")]
    own = replace(files[0], records=tuple(without)), replace(files[1], records=tuple(unlogged)), *files[2:]
    with Shown(browser, write_runs_report(Sources(own), tmp_path / "r.html")) as shown:
        said = shown.page.locator("#pareto-words").inner_text()
        metric = "1 for want of a constant in units of the output or of validation accuracy"
        bound = "1 for want of an audit with the bound that constants are compared with"
        assert f"2 of 8 runs, twins among them, are not drawn: {metric}, {bound}." in said
    alone = [replace(f, records=tuple(r for r in f.records if r.run == "twin")) for f in files]
    with Shown(browser, write_runs_report(Sources(tuple(alone)), tmp_path / "r.html")) as shown:
        assert not shown.page.locator("#transfers").is_visible() and shown.trouble == []
        assert "No transfer. " in shown.page.locator("figure:has(#transfers)").inner_text()


def test_a_long_page_says_how_far_it_is(tmp_path: Path, records: Sequence[Record]) -> None:
    said: list[tuple[str, int, int]] = []
    path = tmp_path / "records.jsonl"
    RecordFile(path).append(*[replace(r, detail=str(i)) for i in range(40) for r in records if hasattr(r, "detail")])
    RecordFile(path).append(*[r for r in records if not hasattr(r, "detail")])
    report(path, tmp_path / "r.html", on_progress=lambda *told: said.append(told))
    assert [what for what, _, _ in said if what.startswith("reading")] == [f"reading {path}"] * 2
    assert {"comparing runs", "putting the page together"} < {what for what, _, _ in said}
    assert all(0 <= done <= total for _, done, total in said)


def test_a_line_of_stages_is_quiet_at_first_and_then_rewritten() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    now, stream = [0.0], Terminal()
    line = StageLine(stream, lambda: now[0])
    line.at("reading", 1, 100)
    assert stream.getvalue() == ""
    now[0] = 1.0
    line.at("reading", 40, 100)
    line.end()
    assert stream.getvalue() == "\r\x1b[Kreading: 40 %\r\x1b[K"


def test_any_setting_that_varies_gives_a_chart_for_each_value(browser: Any, tmp_path: Path) -> None:
    files = []
    for i, source in enumerate(many(6).files):
        told = {"model": {"hidden": [16, 128, 9][i % 3]}, "same": 1}
        changed = [replace(r, settings=told) if isinstance(r, RunRecord) else r for r in source.records]
        changed = [r for r in changed if i or not (isinstance(r, EpochRecord) and r.run == "regularised")]
        files.append(replace(source, records=tuple(changed)))
    with Shown(browser, write_runs_report(Sources(tuple(files)), tmp_path / "r.html")) as shown:
        page = shown.page
        options = page.locator("#facet-choice option").all_inner_texts()
        assert options[0] == "none" and {"weight", "model.hidden"} <= set(options) and "same" not in options
        page.select_option("#facet-choice select", label="model.hidden")
        heads = page.locator("#facet-charts figcaption strong").all_inner_texts()
        assert heads == ["model.hidden 9.", "model.hidden 16.", "model.hidden 128."], "as numbers"
        undrawn = "is not drawn, for want of a constant in units of the output or of validation accuracy."
        assert re.search(rf"1 of \d+ runs, twins among them, {undrawn}", page.locator("#pareto-words").inner_text())
        names = page.locator("#transfers .rowname").all_text_contents()
        assert len(names) > 2 and len(set(names)) == len(names), "a name that is cut still tells its run from others"
        captions = page.locator("#facet-charts figcaption").all_inner_texts()
        assert [undrawn in caption for caption in captions] == [False, True, False]
        ticks = "(e) => [...e.querySelectorAll('.axis text')].map((t) => t.textContent)"
        axes = [chart.evaluate(ticks) for chart in page.locator("#facet-charts .chart").all()]
        assert len(axes) == 3 and axes[0] == axes[1] == axes[2]
        other = page.context.new_page()
        other.goto(page.url)
        assert other.locator("#facet-charts figure").count() == 3
        page.select_option("#facet-choice select", label="none")
        assert page.locator("#facet-charts figure").count() == 0 and shown.trouble == []


def test_a_page_without_audits_names_a_few_of_many(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    RecordFile(path).append(*[RunRecord(f"run {i}", weight=0.1, id=str(i)) for i in range(300)])
    with pytest.raises(InvalidInput, match=r"run 0: nothing was audited, .* and 297 more") as told:
        report(path, tmp_path / "r.html")
    assert len(str(told.value)) < 600


def test_a_page_folds_a_long_list_of_what_it_leaves_out(tmp_path: Path, records: Sequence[Record]) -> None:
    path = tmp_path / "records.jsonl"
    RecordFile(path).append(*records, *[RunRecord(f"run {i}", weight=0.1, id=str(i)) for i in range(300)])
    page = report(path, tmp_path / "r.html").read_text()
    notice = page[page.index("Not in this report") :]
    assert notice.index("run 4: nothing") < notice.index("<summary>295 more") < notice.index("run 299: nothing")


def test_a_run_without_a_seed_says_what_tells_its_twin(tmp_path: Path, records: Sequence[Record]) -> None:
    one = [replace(r, seed=None, twin="lost") if isinstance(r, RunRecord) and r.twin else r for r in records]
    (entry, _), _ = find_entries([Source("r.jsonl", tuple(one))])
    assert "tells no seed" in entry.trouble and "seed_everything" in entry.trouble and "None" not in entry.trouble
