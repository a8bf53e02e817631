"""docs/estimators.md shows what the command makes of the committed results."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest

from experiments.estimators import page
from experiments.estimators.tightness import only, rows_of
from experiments.estimators.tightness_figures import COLOURS, _panel, _styles
from lipreg.estimators import ESTIMATORS
from tests.sampling import EVERYTHING
from tests.test_first_page import same_picture

SETTINGS = sorted(file.stem.removeprefix("estimators_") for file in page.RESULTS.glob("estimators_*.csv"))
TEXT = page.PAGE.read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_results() -> None:
    assert page.with_tables(TEXT) == TEXT, "python -m experiments.estimators.page"
    assert {found[3].split(", ")[0] for found in page.BLOCK.finditer(TEXT)} == set(SETTINGS)


def test_the_figures_are_those_of_the_results() -> None:
    """The first of each kind; ``make test-all`` draws every one, which takes seconds each."""
    shown = [*page.FIGURE.finditer(TEXT)]
    first = shown if EVERYTHING else [*{found[2]: found for found in reversed(shown)}.values()]
    for name, figure in page.figures("\n".join(found[0] for found in first)).items():
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=110)
        assert same_picture(page.IMAGES / name, drawn.getvalue()), "python -m experiments.estimators.page"
    names = {f"estimators_{found[1]}.png" for found in shown}
    assert names == {path.name for path in page.IMAGES.glob("estimators_*.png")} and len(names) >= 4 and len(first) >= 3
    assert TEXT.count("](images/") == len(shown)


@pytest.mark.parametrize("setting", SETTINGS)
def test_committed_results_are_in_order(setting: str) -> None:
    rows = rows_of(page.read(setting))
    assert {row["estimator"] for row in rows} <= set(ESTIMATORS)
    for row in rows:
        name = (row["network"], row["scope"], row["p"], row["radius"], row["estimator"])
        if row["certificate"] == "refused":
            assert row["scope"] not in ESTIMATORS[row["estimator"]].scopes or row["remark"], name
            continue
        assert row["truth_lower"] <= row["truth_upper"], name
        assert row["answers"] + row["failed"] + row["cut"] >= row["points"], name
        if row["answers"] < row["points"]:
            continue
        rounding = 1e-4  # of five digits
        if row["certificate"] in ("upper", "bracket", "exact"):
            assert row["value"] >= row["truth_upper"] * (1 - rounding), name
        elif row["certificate"] == "lower":
            assert row["value"] <= row["truth_lower"] * (1 + rounding), name
        assert math.isclose(row["ratio"], row["value"] / row["truth_lower"], rel_tol=1e-3), name
    exact = [row for row in only(rows, scope="regional") if row["estimator"] == "branch_and_bound"]
    assert sum(row["certificate"] == "exact" for row in exact) >= len(exact) / 2, "the divisor is mostly the constant"


def test_results_are_taken_over_with_five_digits(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    page.read("digits").assign(ratio=1.23456789, remark="x" * 200).to_csv(
        tmp_path / "digits" / "summary.csv", index=False
    )
    path = page.take_over(tmp_path / "digits", tmp_path)
    kept = page.read("digits", tmp_path)
    assert path.name == "estimators_digits.csv" and set(kept["ratio"]) == {1.2346}
    assert kept["about"].notna().sum() == 1 and set(kept["remark"].str.len()) == {90}


@pytest.mark.parametrize("setting", SETTINGS)
def test_each_colour_stands_for_one_line_of_a_panel(setting: str) -> None:
    everything = rows_of(page.read(setting))
    for network in {row["network"] for row in everything}:
        rows = [row for row in only(everything, network=network) if row["answers"]]
        styles, panels = _styles(rows), {_panel(row) for row in rows}
        for panel in panels:
            names = {row["estimator"] for row in rows if _panel(row) == panel}
            assert len({styles[name][0] for name in names}) == len(names) <= len(COLOURS), panel
