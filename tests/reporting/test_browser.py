"""The report in a real browser: charts are drawn, numbers are the records', tables sort and filter, nothing is loaded."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipreg.records import AuditRecord, EpochRecord, LeftOut, PointRecord, Record, RunRecord, Source, Sources
from lipreg.reporting.html import write_report, write_runs_report
from lipreg.reporting.wording import at_most, ends
from lipreg.transfer import Interval, compare
from tests.reporting.conftest import build, calibration
from tests.reporting.pages import HOSTILE, hostile

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
SIZES = [(1400, "light"), (1400, "dark"), (400, "light"), (400, "dark")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on the path")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


def sweep() -> Sources:
    """Three weights at two seeds, each file with its own twin; the last one's twin is in another file."""
    files = []
    for seed in (0, 1):
        for weight in (0.001, 0.01, 0.1):
            factor = 1.0 - 0.1 * seed - weight**0.5
            changed = []
            for r in build("regularised", "twin"):
                if isinstance(r, RunRecord):
                    r = replace(r, seed=seed, weight=weight if r.twin else 0.0, settings={"seed": seed})
                elif isinstance(r, EpochRecord) and r.run == "regularised":
                    r = replace(r, metrics={"val_accuracy": 0.95 - weight})
                elif isinstance(r, AuditRecord) and r.epoch == 0:
                    r = replace(r, fingerprint=f"start of seed {seed}")
                elif isinstance(r, AuditRecord) and r.run == "regularised":
                    r = replace(r, lower=r.lower * factor, upper=r.upper * factor)
                if (seed, weight) != (1, 0.1) or r.run == "regularised":
                    changed.append(r)
            files.append(Source(f"seed={seed},weight={weight}/records.jsonl", tuple(changed)))
    return Sources(tuple(files), (LeftOut("broken.jsonl", "line 3: not a record"),))


class Shown:
    """A page that is open, with everything that went wrong in it and everything it asked for."""

    def __init__(self, browser: Any, path: Path, width: int = 1400, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.trouble: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda m: self.trouble.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.trouble.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def cells(self, table: str, column: str) -> list[str]:
        """The cells under a heading, as shown."""
        heads = self.page.locator(f"#{table} thead tr:last-child th").all_inner_texts()
        place = [re.sub(r"[↑↓↕\s]+$", "", head) for head in heads].index(column) + 1
        return self.page.locator(f"#{table} tbody tr > :nth-child({place})").all_inner_texts()

    def drawn(self) -> dict[str, int]:
        """How many shapes each visible chart has."""
        return self.page.evaluate(
            """() => Object.fromEntries([...document.querySelectorAll('.chart')].filter((c) => c.clientWidth)
            .map((c) => [c.id, c.querySelectorAll('.marks path, .marks circle, .marks line').length]))"""
        )


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs_report(sweep(), tmp_path_factory.mktemp("sweep") / "report.html")


@pytest.mark.parametrize("width, scheme", SIZES)
def test_charts_are_drawn_at_every_width_and_scheme(browser: Any, swept: Path, width: int, scheme: str) -> None:
    with Shown(browser, swept, width, scheme) as shown:
        charts = shown.drawn()
        assert charts.keys() == {"pareto", "transfers", "trajectory", "margins", "accuracy", "transfer", "scatter"}
        assert min(charts.values()) >= 2 and charts["trajectory"] >= 28
        assert shown.trouble == [] and shown.requests == [swept.as_uri()]
        assert shown.page.evaluate("document.documentElement.scrollWidth") == width, "the page itself scrolls sideways"
        inside = "(e) => { const b = e.getBoundingClientRect(); return b.left >= -1 && b.right <= innerWidth + 1; }"
        for chart in shown.page.locator(".chart svg").all():
            assert chart.evaluate(inside)
            assert "NaN" not in chart.evaluate("(e) => e.outerHTML") and "Infinity" not in chart.evaluate(
                "(e) => e.outerHTML"
            )
        dark, colour = scheme == "dark", "(n) => getComputedStyle(document.body)[n].match(/\\d+/g).map(Number)"
        paper, ink = (sum(shown.page.evaluate(colour, name)) for name in ("backgroundColor", "color"))
        assert (paper < 150 < 600 < ink) if dark else (ink < 150 < 600 < paper)


def test_numbers_on_the_page_are_those_of_the_records(browser: Any, records: Sequence[Record], tmp_path: Path) -> None:
    path = write_report(records, tmp_path / "r.html", "penalty")
    comparison = compare(records, "penalty")
    with Shown(browser, path) as shown:
        audits = [r for r in records if isinstance(r, AuditRecord)]
        while shown.page.locator("button.more:visible").count():
            shown.page.locator("button.more:visible").first.click()
        for column, wanted in (
            ("lower", [ends(Interval(r.lower, r.upper)).strip("[]").split(", ")[0] for r in audits]),
            ("upper", [ends(Interval(r.lower, r.upper)).strip("[]").split(", ")[1] for r in audits]),
            ("certificate", [r.certificate for r in audits]),
            ("estimator", [r.estimator for r in audits]),
            ("point", [str(r.point) for r in audits]),
        ):
            order = sorted(
                range(len(audits)), key=lambda i: (-audits[i].epoch, audits[i].run != "penalty")
            )  # as on the page
            assert shown.cells("records-table", column) == [wanted[i] for i in order], column
        points = [p for pair in zip(comparison.regularised.points, comparison.twin.points, strict=True) for p in pair]
        assert shown.cells("points-table", "bound") == [at_most(p.bound) for p in points]
        assert shown.cells("points-table", "upper") == [at_most(p.combined.upper) for p in points]
        cards = shown.page.locator("section.entry .card").all_inner_texts()
        assert [" ".join(card.split()).startswith(head) for card, head in zip(cards, (
            "Validation accuracy 91.0% regularised 93.5% twin", "Margin over constant [0.04, 0.05] regularised",
            "Certified accuracy 0.0% regularised 0.0% twin", "Combined [4.666, 5.834] regularised",
            "Bound (affine_relu) 23.34 regularised 93.34 twin",
            "Movement [0.4, 0.625] truth 0.25 bound [0.339, 0.661] transfer",
            "Tightness [4, 5] regularised [8, 10] twin"), strict=True)] == [True] * 7  # fmt: skip
        end = shown.page.locator("#trajectory text.name").all_text_contents()
        assert "bound 93.34" in end and "combined [4.666, 5.834]" in end
        shown.page.select_option("#epochs select", "0")
        assert shown.cells("points-table", "bound") == ["4", "4", "8", "8", "16", "16"]


def test_a_click_on_a_heading_sorts_and_words_and_choices_filter(browser: Any, swept: Path) -> None:
    with Shown(browser, swept) as shown:
        page = shown.page
        heading = page.locator("#records-table thead button", has_text="upper")
        heading.click()
        shown_upper = [float(text) for text in shown.cells("records-table", "upper")]
        assert shown_upper == sorted(shown_upper) and len(shown_upper) == 25
        assert page.locator("#records-table th[aria-sort=ascending]").inner_text().startswith("upper")
        heading.click()
        largest = [float(text) for text in shown.cells("records-table", "upper")]
        assert largest == sorted(largest, reverse=True) and largest[0] == 160.0
        page.select_option("#records-table select[aria-label='Filter by estimator']", label="combined")
        assert set(shown.cells("records-table", "estimator")) == {"combined"}
        page.fill("#records-table input", "weight 0.01, seed 1")
        assert set(shown.cells("records-table", "run")) == {"weight 0.01, seed 1"}
        assert page.locator("#records-table .count").inner_text().startswith("18 of 396 rows")
        page.fill("#records-table input", "no such words")
        assert page.locator("#records-table tbody tr").count() == 0
        page.fill("#records-table input", "")
        page.locator("#records-table tbody tr").first.click()
        told = page.locator("#records-table .detail").inner_text()
        assert "ENGINE" not in told.upper() and "For developers" in told
        assert "proof of the upper end" in told and "made up" in told
        page.locator("#records-table tbody tr").first.click()
        assert page.locator("#records-table .detail").count() == 0
        page.locator("#runs-table thead button", has_text="transfer").click()
        page.locator("#runs-table thead button", has_text="transfer").click()
        assert page.locator("#runs-table th[aria-sort=descending]").count() == 1
        assert shown.trouble == []


def test_choosing_a_run_shows_it_everywhere(browser: Any, swept: Path) -> None:
    with Shown(browser, swept) as shown:
        page = shown.page
        assert "weight 0.001, seed 0" in page.locator("#single-title").inner_text()
        row = page.locator("#runs-table tbody tr", has_text="weight 0.1, seed 1")
        row.click()
        assert "weight 0.1, seed 1" in page.locator("#single-title").inner_text()
        assert page.locator("section.entry:visible").count() == 1
        assert "chosen" in str(row.get_attribute("class"))
        assert "85.0% regularised" in " ".join(page.locator("section.entry:visible").inner_text().split())
        page.locator("#pareto svg").focus()
        page.keyboard.press("ArrowRight")
        assert "weight 0.001, seed 0" in page.locator(".tip").inner_text()
        page.keyboard.press("Enter")
        assert "weight 0.001, seed 0" in page.locator("#single-title").inner_text()
        assert page.locator("#seeds-table tbody tr").count() == 3
        assert "Not in this report" in page.locator("main").inner_text()
        assert shown.trouble == []


def test_charts_take_calibrated_constants_or_those_as_they_are(browser: Any, tmp_path: Path) -> None:
    told = [calibration("penalty", 10, 2.0), calibration("twin", 10, 0.5), calibration("twin", 5, 0.5)]
    with Shown(browser, write_report([*build(), *told], tmp_path / "r.html", "penalty")) as shown:
        page, names = shown.page, "#trajectory text.name"
        assert page.input_value("#units select") == "0", "T of the run is known at one of three audits"
        page.select_option("#units select", "1")
        calibrated = page.locator(names).all_text_contents()
        assert "bound 46.67" in calibrated and "combined [9.333, 11.67]" in calibrated, "twice 23.34 and [4.666, 5.834]"
        assert "Transfer, per unit of calibrated output." in page.locator("#transfer-figure").inner_text()
        assert "per unit of calibrated output" in page.locator("#scatter").inner_text()
        page.select_option("#epochs select", "0")
        assert "in units of the output" in page.locator("#scatter").inner_text(), "T is not known at that epoch"
        page.select_option("#units select", "0")
        end = page.locator(names).all_text_contents()
        assert "bound 23.34" in end and "bound 93.34" in end and "combined [4.666, 5.834]" in end
        assert "Transfer, in units of the output." in page.locator("#transfer-figure").inner_text()
        assert shown.cells("points-table", "margin over constant")[:2] == ["0.1", "0.1"], "of the epoch that was chosen"
        assert shown.trouble == []


WORSE = "the outputs are no closer to the targets than the targets' mean is"


@pytest.mark.parametrize(
    ("known", "opens", "says"),
    [
        ((5, 10), "1", "After epoch 0 "),
        ((5,), "0", "After epoch 0, 10 "),
        ((10,), "0", "After epoch 0 to 5 "),
        ((), None, "After epoch 0 to 10 "),
    ],
)
def test_a_page_of_a_regression_opens_on_what_is_defined_and_says_why_the_rest_is_not(
    browser: Any, tmp_path: Path, known: tuple[int, ...], opens: str | None, says: str
) -> None:
    told = [
        calibration("penalty", epoch, 2.0, task="values", input_scale=1.0, target_scale=0.5)
        if epoch in known
        else calibration("penalty", epoch, None, task="values", why=WORSE)
        for epoch in (0, 5, 10)
    ]
    records = [r for r in build() if getattr(r, "run", "") == "penalty"]
    with Shown(
        browser, write_runs_report(Sources((Source("r.jsonl", (*records, *told)),), ()), tmp_path / "r.html")
    ) as shown:
        page = shown.page
        assert page.locator("#units").is_hidden() == (opens is None)
        words = page.locator("#trajectory-words").inner_text()
        assert f"{says}constants in standard deviations are undefined: {WORSE}." in words
        drawn = page.locator("#trajectory circle.dot.bound").count()
        if opens is None:
            assert drawn == 3 and "in units of the output" in page.locator("#trajectory-figure").inner_text()
        else:
            assert page.input_value("#units select") == opens
            assert drawn == (len(known) if opens == "1" else 3)
            page.select_option("#units select", "1")
            assert page.locator("#trajectory circle.dot.bound").count() == len(known)
            gaps = 2 if known == (5,) else 1
            assert page.locator("#trajectory rect.blank").count() == gaps
            assert page.locator("#trajectory text.note").all_text_contents() == ["undefined"] * gaps
            page.select_option("#units select", "0")
            assert page.locator("#trajectory rect.blank").count() == 0
        assert {"0", "10"} <= set(page.locator("#trajectory text").all_text_contents()), "the axis holds every audit"
        if known != (5, 10) and known != (10,):
            said = f"Constants in standard deviations are undefined: {WORSE} (this run)."
            assert said in page.locator("#single").inner_text()
        assert shown.trouble == []


def test_a_witness_is_shown_as_the_image_it_is(browser: Any, tmp_path: Path) -> None:
    witness = [i / 15 for i in range(16)]
    records = [replace(r, witness=witness) if isinstance(r, AuditRecord) else r for r in build()]
    with Shown(browser, write_report(records, tmp_path / "r.html", "penalty")) as shown:
        shown.page.locator("#records-table tbody tr", has_text="combined").first.click()
        pixels = shown.page.evaluate(
            "() => [...document.querySelector('canvas').getContext('2d').getImageData(0, 0, 4, 4).data]"
        )
        assert [pixels[4 * i] for i in range(16)] == [round(255 * v) for v in witness]
        assert shown.trouble == []


def with_points(records: Sequence[Record], size: int = 16) -> list[Record]:
    """The points of both runs, and witnesses in which two entries differ."""
    x = {point: [(i + point) % 16 / 15 for i in range(size)] for point in (0, 1, 2)}
    kept = [PointRecord.of(np.array(x[0]), "penalty", "", 0), PointRecord.of(np.array(x[1]), "penalty", "", 1)]
    hashes = {point.point: point.reference for point in kept}
    changed = []
    for r in records:
        if isinstance(r, AuditRecord):
            moved = [*x[r.point][:-2], x[r.point][-2] + 0.05, x[r.point][-1] - 0.025]
            classes = {"predicted": r.point, "witness_class": 2} if r.estimator == "combined" else {}
            r = replace(r, witness=moved, reference=hashes.get(r.point, "lost"), **classes)
        changed.append(r)
    return [*changed, *kept]


def test_a_point_stands_beside_its_witness(browser: Any, records: Sequence[Record], tmp_path: Path) -> None:
    path = write_report(with_points(records), tmp_path / "r.html", "penalty")
    with Shown(browser, path) as shown:
        page, detail = shown.page, shown.page.locator("#points-table .detail")
        page.locator("#points-table tbody tr").nth(1).click()
        captions = detail.locator("figcaption").all_inner_texts()
        assert captions[0] == "reference point, class 0" and captions[1] == "witness of the lower end, class 2"
        assert captions[2].endswith("at most 0.05")
        last = "(c) => [...c.getContext('2d').getImageData(2, 3, 2, 1).data]"
        more, _, _, _, _, _, less, _ = detail.locator("canvas").nth(2).evaluate(last)
        assert more == 0 and less in (127, 128), "full blue where it is most; half orange where it is half as much less"
        told = " ".join(detail.inner_text().split())
        assert "class at the witness 2, another one" in told
        assert "2 of 16 entries; largest 0.05, Euclidean 0.0559" in told
        detail.locator("details summary").click()
        rows = [row.split() for row in detail.locator(".entries tbody tr").all_inner_texts()]
        assert [row[0] for row in rows] == ["14", "15"] and [float(row[-1]) for row in rows] == [0.05, -0.025]
        address = page.url
        other = page.context.new_page()
        other.goto(address)
        assert other.locator("#points-table .detail figcaption").first.inner_text() == captions[0]
        page.locator("#points-table tbody tr", has_text="regularised").last.click()
        assert "do not hold the reference point" in page.locator("#points-table .detail").inner_text(), "point 2"
        assert shown.trouble == []


def test_a_click_on_a_dot_opens_its_row(browser: Any, records: Sequence[Record], tmp_path: Path) -> None:
    with Shown(browser, write_report(with_points(records), tmp_path / "r.html", "penalty")) as shown:
        shown.page.locator("#scatter circle.twin").first.click()
        above = shown.page.locator("#points-table tr:has(+ .detail)").inner_text().split()
        assert above[:2] == ["0", "twin"]
        shown.page.locator("#scatter svg").focus()
        for key in ("ArrowRight", "Enter"):
            shown.page.keyboard.press(key)
        assert shown.page.locator("#points-table .detail").count() == 1 and shown.trouble == []


def test_inputs_that_are_no_images_are_told_in_numbers(browser: Any, records: Sequence[Record], tmp_path: Path) -> None:
    with Shown(browser, write_report(with_points(records, size=5), tmp_path / "r.html", "penalty")) as shown:
        shown.page.locator("#points-table tbody tr").first.click()
        detail = shown.page.locator("#points-table .detail")
        assert detail.locator("canvas").count() == 0 and detail.locator(".entries tbody tr").count() == 2
        assert "2 of 5 entries" in detail.inner_text() and shown.trouble == []


def test_hostile_texts_run_nothing(browser: Any, records: Sequence[Record], tmp_path: Path) -> None:
    files = (Source(HOSTILE, tuple(hostile(records))), Source("two" + HOSTILE, tuple(hostile(records))))
    path = write_runs_report(Sources(files, (LeftOut(HOSTILE, HOSTILE),)), tmp_path / "r.html")
    with Shown(browser, path) as shown:
        assert min(shown.drawn().values()) >= 2
        shown.page.locator("#records-table tbody tr").first.click()
        assert "<script>alert('x')</script>" in shown.page.locator("#records-table .detail").inner_text()
        assert shown.page.locator("img, iframe, main script").count() == 0
        assert shown.trouble == [] and shown.requests == [path.as_uri()]


def test_without_scripts_every_run_is_still_told(browser: Any, swept: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(swept.as_uri())
    assert page.locator("section.entry:visible").count() == 6
    assert "Without it every run is shown in words below" in page.locator("noscript").first.inner_text()
    context.close()


def test_point_by_point_the_epoch_of_the_verdict_is_shown_first(
    browser: Any, records: Sequence[Record], tmp_path: Path
) -> None:
    shorter = [r for r in records if isinstance(r, RunRecord) or r.run != "twin" or r.epoch != 10]
    with Shown(browser, write_report(shorter, tmp_path / "r.html", "penalty")) as shown:
        words = shown.page.locator("#scatter-words")
        assert words.inner_text().startswith("After 5 epochs. ") and "Each line leads" in words.inner_text()
        shown.page.locator("#epochs select").select_option("10")
        assert words.inner_text().startswith("After 10 epochs. ") and "Each line leads" not in words.inner_text()
        assert shown.trouble == []


def test_columns_fit_or_the_page_says_that_they_scroll(browser: Any, records: Sequence[Record], tmp_path: Path) -> None:
    path = write_report(records, tmp_path / "r.html", "penalty")
    cut = """() => [...document.querySelectorAll('.scroll')].filter((box) => box.clientWidth).map((box) =>
        [box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1,
         box.previousElementSibling?.matches('.cue:not([hidden])') ?? false])"""
    for width in (1400, 400):
        with Shown(browser, path, width) as shown:
            page = shown.page
            page.locator("details.side-by-side summary").click()
            page.wait_for_timeout(100)
            found = page.evaluate(cut)
            assert found and all(hidden == said for hidden, said in found), found
            table = page.locator("#points-table .scroll")
            assert table.evaluate("(box) => box.scrollWidth > box.clientWidth + 1") == (width == 400)
            if width == 400:
                cue = page.locator("#points-table .cue")
                assert "further to the right" in cue.inner_text()
                table.evaluate("(box) => box.scrollTo(box.scrollWidth, 0)")
                page.wait_for_timeout(100)
                assert "for the first columns" in cue.inner_text()
            assert shown.trouble == []


def test_the_last_epoch_comes_first(browser: Any, records: Sequence[Record], tmp_path: Path) -> None:
    with Shown(browser, write_report(records, tmp_path / "r.html", "penalty")) as shown:
        epochs = list(map(int, shown.cells("records-table", "epoch")))
        assert epochs[0] == 10 and epochs == sorted(epochs, reverse=True)
        assert shown.page.locator("#epochs option").all_inner_texts() == ["10", "5", "0"]
        shown.page.locator("#points-table tbody tr").first.click()
        told = shown.page.locator("#points-table .detail").inner_text()
        assert "largest of 9 margins of class 0" in told and "time limit" in told


def test_every_table_is_saved_as_csv(browser: Any, records: Sequence[Record], tmp_path: Path) -> None:
    named = [replace(r, detail="=1+1") if isinstance(r, AuditRecord) else r for r in records]
    with Shown(browser, write_report(named, tmp_path / "r.html", "penalty")) as shown:
        page = shown.page
        page.locator("details.side-by-side summary").click()
        tables, buttons = page.locator(".scroll:visible"), page.locator("button.save:visible")
        assert tables.count() == buttons.count() >= 4
        with page.expect_download() as saved:
            page.locator("#records-table button.save").click()
        with open(saved.value.path(), newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        audits = [r for r in records if isinstance(r, AuditRecord)]
        assert sorted(float(row["lower"]) for row in rows) == sorted(r.lower for r in audits), "in all their digits"
        assert {row["estimator"] for row in rows} == {r.estimator for r in audits}
        page.fill("#records-table input", "sampling")
        with page.expect_download() as saved:
            page.locator("#records-table button.save").click()
        assert saved.value.suggested_filename == "audit-records.csv"
        assert Path(saved.value.path()).read_text("utf-8-sig").count("sampling") == 18, "what the filter leaves"
        assert shown.trouble == []


def test_an_address_opens_the_same_view(browser: Any, swept: Path) -> None:
    with Shown(browser, swept) as shown:
        page = shown.page
        page.locator("#runs-table tbody tr", has_text="weight 0.1, seed 1").click()
        page.select_option("#epochs select", "5")
        address, wanted = page.url, page.locator("#points-table").inner_text()
        assert "#" in address and page.locator("#single-title").inner_text().endswith("weight 0.1, seed 1")
        other = page.context.new_page()
        other.goto(address)
        assert other.locator("#single-title").inner_text().endswith("weight 0.1, seed 1")
        assert other.locator("#points-table").inner_text() == wanted
        assert not other.locator("#unknown").is_visible()
        other.goto(f"{swept.as_uri()}#run=no+such+run&epoch=x&question=7&point=twin+99")
        assert other.locator("#single-title").inner_text().endswith("weight 0.001, seed 0")
        told = (
            "The link names run no such run and question 7 and epoch x and point twin 99, which are not on this page."
        )
        assert told in other.locator("#unknown").inner_text()
        other.locator("#runs-table tbody tr").nth(1).click()
        assert not other.locator("#unknown").is_visible()
        assert shown.trouble == []


def test_what_matters_is_in_sight_on_a_telephone(browser: Any, swept: Path) -> None:
    """The name of a run and the first two figures; axes with their units; colours with what they mean."""
    with Shown(browser, swept, 400) as shown:
        page = shown.page
        inside = "(heads) => heads.filter((h) => h.getBoundingClientRect().right <= innerWidth).length"
        for table, least in (("runs-table", 3), ("points-table", 3), ("records-table", 3)):
            assert page.locator(f"#{table} thead tr:last-child th").evaluate_all(inside) >= least, table
        assert (
            "in units of the output"
            in page.locator("#pareto .axis .title").last.text_content()
            + page.locator("#pareto .axis .title").first.text_content()
        )
        for figure in ("accuracy-figure", "pareto-key", "margins-words", "trajectory-words"):
            key = page.locator(f"#{figure} .key").inner_text()
            assert "regularised" in key and "twin" in key, figure
        assert "of 19 rows" not in page.locator("#runs-table").inner_text()
        assert shown.trouble == []


def test_a_box_that_scrolls_down_says_so(browser: Any, records: Sequence[Record], tmp_path: Path) -> None:
    many = {f"setting {i}": i for i in range(40)}
    long = [replace(r, settings=r.settings | many) if isinstance(r, RunRecord) else r for r in records]
    with Shown(browser, write_report(long, tmp_path / "r.html", "penalty")) as shown:
        box = shown.page.locator(".scroll.settings").first
        cue = shown.page.locator(".cue:has(+ .scroll.settings)").first
        assert re.search(r"^\d+ of \d+ rows further down: scroll the table", cue.inner_text())
        box.evaluate("(box) => box.scrollTo(0, box.scrollHeight)")
        shown.page.wait_for_timeout(100)
        assert "for the first rows" in cue.inner_text()


def test_a_constant_has_the_same_digits_in_every_table(browser: Any, records: Sequence[Record], tmp_path: Path) -> None:
    with Shown(browser, write_report(records, tmp_path / "r.html", "penalty")) as shown:
        points = {end: set(shown.cells("points-table", end)) for end in ("lower", "upper")}
        while shown.page.locator("#records-table button.more:visible").count():
            shown.page.locator("#records-table button.more:visible").first.click()
        for end, shown_there in points.items():
            assert shown_there <= set(shown.cells("records-table", end))
        groups = shown.page.locator("#points-table thead .groups th").all_inner_texts()
        assert "in units of the output" in groups, "transfer too is of the constants as they are"
