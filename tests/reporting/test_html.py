"""The report as a parser reads it: balanced, self-contained, escaped, of bounded size, and with the right figures in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lipreg.errors import CrossingBounds, IncomparableResults, InvalidInput
from lipreg.records import AuditRecord, EpochRecord, LeftOut, Record, RunRecord, Source, Sources
from lipreg.reporting.html import write_report, write_runs_report
from lipreg.results import Status
from tests.reporting.conftest import audit, build
from tests.reporting.pages import HOSTILE, Page, hostile


@pytest.fixture(scope="module")
def source(records: Sequence[Record], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "new" / "report.html"
    assert write_report(records, path, "penalty") == path
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_the_page_needs_nothing_else(page: Page, source: str) -> None:
    assert not {"link", "img", "iframe", "object", "base", "form"} & set(page.tags)
    assert page.tags.count("script") == 2 and page.targets == []
    assert not any(name.startswith("on") for name in page.attributes)
    assert "@import" not in source and "url(" not in source and "fetch(" not in source
    assert set(re.findall(r"https?://[^\"\s<)]+", source)) == {"http://www.w3.org/2000/svg"}  # the name of SVG
    assert "prefers-color-scheme: dark" in source and 'name="viewport"' in source


def test_only_the_page_s_own_script_may_run(page: Page, source: str) -> None:
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', source)
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert "innerHTML" not in source and "document.write" not in source and "eval(" not in source


def test_identifiers_are_unique(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))


def test_cards_and_tables_show_the_hand_computed_figures(page: Page) -> None:
    for said in (
        "91.0% regularised",
        "93.5% twin",
        "[4.666, 5.834] regularised",
        "[9.333, 11.67] twin",
        "Certificate: exact at 0 of 6 intervals of both runs, else wider.",
        "23.34 regularised",
        "Tightness [4, 5] regularised [8, 10] twin Bound / combined, geometric mean over the points.",
        "[0.04, 0.05] regularised [0.02, 0.025] twin Median over the points. [1.6, 2.5] of the twin's.",
        "Movement [0.4, 0.625] truth 0.25 bound [0.339, 0.661] transfer",
        "33% to 67% of that, measured in logarithms, is found in the exact constant.",
        "Regional constant of AllMargins(target=None), LinfBall radius 0.05, cut to the data range, inputs in linf.",
        "After 10 epochs.",
        "settings.model.hidden [32, 32]",
        "question.region.radius 0.05",
        "versions.torch 2.13.0",
    ):
        assert said in page.text, said


def test_the_data_for_the_scripts_are_the_records(page: Page, records: Sequence[Record]) -> None:
    data = json.loads(page.scripts[0])
    audits = [r for r in records if isinstance(r, AuditRecord)]
    told = data["records"]
    columns, strings, estimators = told["plain"], told["strings"], told["texts"]["estimator"]
    names = [(data["sides"][i]["name"], strings[e]) for i, e in zip(told["sides"], estimators, strict=True)]
    lower = zip(names, columns["epoch"], columns["point"], columns["lower"], columns["upper"], strict=True)
    found = {(*name, epoch, point): (low, high) for name, epoch, point, low, high in lower}
    assert found == {
        (r.run, r.estimator, r.epoch, r.point): (r.lower, None if r.upper == float("inf") else r.upper) for r in audits
    }
    ends = {"lower": pytest.approx(0.339036), "upper": pytest.approx(0.660964)}
    assert data["entries"][0]["transfer"][-1] == {"epoch": 10, **ends, "words": "[0.339, 0.661]"}
    sizes = {"bound": 40 * 7 / 3, "LP": 16 * 7 / 3, "lower": 4 * 7 / 3, "upper": 5 * 7 / 3, "factor": None}
    sizes |= {"marginLower": 0.02, "marginUpper": 0.025}
    assert data["sides"][1]["course"][-1] == pytest.approx({"epoch": 10, **sizes, "metric": 0.935, "why": ""})
    assert data["sides"][1]["metric"][-1] == {"epoch": 10, "value": 0.935}


def test_every_term_certificate_and_status_is_explained(page: Page) -> None:
    assert Status.TIME_LIMIT.advice in page.text and Status.FAILED.advice not in page.text
    for term in ("pointed constant", "certified interval", "LP relaxation", "tightness", "movement", "transfer"):
        assert term in page.text
    assert "Exact constant" not in page.text, "the interval has one name, that of tables and records"
    assert "a solver's word is no proof" in page.text


def test_misclassified_points_are_marked(records: Sequence[Record], tmp_path: Path) -> None:
    wrong = [
        replace(r, correct=False, margin=-0.1) if isinstance(r, AuditRecord) and r.point == 1 else r for r in records
    ]
    page = Page(write_report(wrong, tmp_path / "report.html", "penalty").read_text(encoding="utf-8"))
    assert "it averages the 2 points that are classified rightly in both runs" in page.text
    points = json.loads(page.scripts[0])["sides"][0]["points"]["10"]
    assert [point["correct"] for point in points] == [True, False, True]


def test_hostile_texts_stay_texts(records: Sequence[Record], tmp_path: Path) -> None:
    source = write_report(hostile(records), tmp_path / "r.html", "penalty" + HOSTILE).read_text(encoding="utf-8")
    page = Page(source)
    assert page.tags.count("script") == 2 and "img" not in page.tags
    assert source.count("<script") == 2 and source.count("</script") == 2 and "<!--" not in source
    assert not any(name.startswith("on") for name in page.attributes)
    assert "onerror=alert(1)>" not in source
    assert "penalty</title></script><script>alert('x')</script>" in page.text
    assert "$question" in page.text  # a template field in a name is not filled in
    assert HOSTILE in json.loads(page.scripts[0])["records"]["strings"]


def test_hostile_paths_and_reasons_stay_texts(records: Sequence[Record], tmp_path: Path) -> None:
    sources = Sources((Source(HOSTILE, tuple(records)),), (LeftOut(HOSTILE, HOSTILE),))
    page = Page(write_runs_report(sources, tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.tags.count("script") == 2 and "img" not in page.tags
    assert page.text.count("<img src=x onerror=alert(1)>") == 3


def test_an_undefined_transfer_says_why(records: Sequence[Record], tmp_path: Path) -> None:
    still = [r if isinstance(r, RunRecord) else replace(r, epoch=1) for r in records if getattr(r, "epoch", 0) == 0]
    page = Page(write_report(still, tmp_path / "r.html", "penalty").read_text(encoding="utf-8"))
    assert "Transfer is undefined: the bound moved by less than 0.1%" in page.text
    assert "undefined transfer" in page.text


@pytest.mark.parametrize(
    ("open_runs", "shown"), [({"penalty"}, r"\[0\.\d+, inf\]"), ({"penalty", "twin"}, r"\[-inf, inf\]")]
)
def test_what_is_known_of_transfer_in_the_middle_is_an_interval(
    records: Sequence[Record], tmp_path: Path, open_runs: set[str], shown: str
) -> None:
    """Of points whose lower end is 0 a transfer has no end on one side, or on both."""
    known = [
        replace(r, lower=0.0, certificate="upper", status="time limit")
        if isinstance(r, AuditRecord) and r.estimator == "combined" and r.run in open_runs
        else r
        for r in records
    ]
    page = Page(write_report(known, tmp_path / "r.html", "penalty").read_text(encoding="utf-8"))
    assert re.search(f"Raw transfer, median {shown} Of one compared run: {shown}", page.text)


def test_gaps_in_the_records_make_gaps_in_the_page(records: Sequence[Record], tmp_path: Path) -> None:
    bare = [
        r
        for r in records
        if not isinstance(r, EpochRecord) and getattr(r, "estimator", "combined") in ("combined", "affine_relu")
    ]
    page = Page(write_report(bare, tmp_path / "r.html", "penalty").read_text(encoding="utf-8"))
    shown = page.text.partition("What the numbers mean")[0]
    assert "alidation accuracy" not in shown and "LP relaxation n/a" not in shown


def test_the_same_records_give_the_same_page(records: Sequence[Record], tmp_path: Path, source: str) -> None:
    assert write_report(records, tmp_path / "r.html", "penalty").read_text(encoding="utf-8") == source


@pytest.mark.parametrize("size", [64, 784, 3072])
def test_five_hundred_records_stay_below_three_mebibytes(tmp_path: Path, size: int) -> None:
    """With long texts, and witnesses of the digits', MNIST's and CIFAR-10's sizes at every record."""
    text = (
        "branch and bound: 1234 nodes, interval and semidefinite bounds at each; dual bound of the last one open. " * 3
    )
    records: list[Record] = [r for r in build() if isinstance(r, RunRecord)]
    for i in range(500):
        name, estimator = ("penalty", "twin")[i % 2], ("combined", "affine_relu")[i // 2 % 2]
        witness = [(i * j % 97) / 97.3 for j in range(size)]
        records.append(
            audit(
                name, i // 100, i // 4 % 25, estimator, 1.0 + i / 997, 7.1 + i / 7, witness=witness, detail=f"{text}{i}"
            )
        )
    path = write_report(records, tmp_path / "r.html", "penalty")
    assert path.stat().st_size < 3 * 2**20


def test_refusals(records: Sequence[Record], tmp_path: Path) -> None:
    stray = next(r for r in records if isinstance(r, AuditRecord) and r.run == "twin")
    pointed = replace(stray, question={**stray.question, "scope": "pointed"})
    with pytest.raises(IncomparableResults, match="scope"):
        write_report([*records, pointed], tmp_path / "r.html", "penalty")
    crossing = audit("penalty", 10, 0, "lp", 0.0, 1.0)
    with pytest.raises(CrossingBounds, match="a witness attains 2"):
        write_runs_report(Sources((Source("a", (*records, crossing)),)), tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()
    with pytest.raises(InvalidInput, match="cannot write"):
        write_report(records, tmp_path, "penalty")
    with pytest.raises(InvalidInput, match="no run was audited"):
        write_runs_report(Sources((Source("a", (RunRecord("a", twin="b"),)),)), tmp_path / "r.html")
