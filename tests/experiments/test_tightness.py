"""The table of cells, its summary, the tables and the figures, from records with known answers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from experiments.estimators.tightness import cell_frame, geometric_mean, only, rows_of, summary_frame
from experiments.estimators.tightness_figures import growth_figure, radius_figure, seconds_figure
from experiments.estimators.tightness_tables import overview, question_tables, wandb_table
from lipreg.errors import CrossingBounds, InvalidInput
from lipreg.records import AuditRecord, Record, RunRecord
from lipreg.reporting.svg import svg

RADII = (0.1, 0.2)


def asked(radius: float, scope: str = "regional", p: str = "inf") -> dict[str, Any]:
    return {
        "scope": scope,
        "p": p,
        "q": None,
        "region": {"kind": "LinfBall", "radius": radius},
        "output": {"kind": "L"},
    }


def cell(estimator: str, point: int, lower: float, upper: float, question: Any, **more: Any) -> AuditRecord:
    kind = "exact" if lower == upper else "bracket" if lower > 0 and upper < math.inf else "upper"
    kind = "lower" if upper == math.inf else kind
    known = {"certificate": kind, "status": "bounded", "seconds": 0.5, "functional": "f", "fingerprint": "n", **more}
    known |= {"question": question, "subject": f"s{point}"}
    return AuditRecord("net", 0, point, 0, estimator, lower=lower, upper=upper, **known)


def study(network: str = "net", layers: int = 1, factor: float = 1.0) -> list[Record]:
    """Constants 1 and 4 at two points, twice that at the larger radius; the search is exact at the smaller radius only."""
    records: list[Record] = []
    for scale, radius in enumerate(RADII, 1):
        question = asked(radius)
        settings: dict[str, Any] = {"output": "logit 0", "undecided": 3.0, "sizes": {"hidden layers": layers}}
        settings["refused"] = {"picky": "p is not covered"}
        records.append(RunRecord("net", question=question, settings=settings))
        for point, constant in enumerate((1.0 * scale, 4.0 * scale)):
            loose = cell("loose", point, 0.0, 3 * factor * constant, question)
            found = constant if scale == 1 else 0.8 * constant
            search = cell("search", point, found, constant, question, seconds=2.0 + point)
            records += [loose, search, cell("random", point, 0.5 * constant, math.inf, question)]
    broken = cell("broken", 0, 0.0, math.inf, asked(0.1), status="failed", detail="it broke | badly")
    records += [broken, cell("broken", 1, 0.0, 8.0, asked(0.1))]
    records += [cell("guess", 0, 0.0, math.inf, asked(0.1), certificate="estimate", estimate=1.1)]
    return [replace(record, run=network) for record in records]


def test_a_cell_is_compared_with_what_all_prove_together() -> None:
    rows = rows_of(cell_frame(study()))
    (loose,) = only(rows, estimator="loose", point=1, radius=0.1)
    assert (loose["truth_lower"], loose["truth_upper"], loose["exact"], loose["ratio"]) == (4.0, 4.0, True, 3.0)
    (open_,) = only(rows, estimator="loose", point=1, radius=0.2)
    assert (open_["truth_lower"], open_["truth_upper"], open_["exact"]) == (6.4, 8.0, False)
    assert open_["ratio"] == pytest.approx(24 / 6.4), "over the best witness: the constant may be larger"
    (random,) = only(rows, estimator="random", point=0, radius=0.1)
    assert (random["value"], random["ratio"]) == (0.5, 0.5)
    (guess,) = only(rows, estimator="guess")
    assert (guess["value"], guess["certificate"]) == (1.1, "estimate")


def test_the_last_record_of_the_network_that_is_there_counts() -> None:
    records = study()
    repeated = [*records, replace(cell("loose", 1, 0.0, 40.0, asked(0.1)))]
    assert only(rows_of(cell_frame(repeated)), estimator="loose", point=1, radius=0.1)[0]["ratio"] == 10.0
    retrained = [*records, replace(cell("loose", 1, 0.0, 0.5, asked(0.1)), subject="another")]
    rows = only(rows_of(cell_frame(retrained)), point=1, radius=0.1)
    assert [(row["estimator"], row["upper"]) for row in rows] == [("loose", 0.5)], (
        "old weights are not compared with new"
    )


def test_contradictions_are_raised() -> None:
    with pytest.raises(CrossingBounds, match="search proves at least 4, low at most 3"):
        cell_frame([*study(), cell("low", 1, 0.0, 3.0, asked(0.1))])


def test_nothing_makes_an_empty_table() -> None:
    assert len(cell_frame([])) == 0 and "ratio" in cell_frame([]) and len(summary_frame([])) == 0


def test_a_constant_of_zero() -> None:
    exact, loose = (cell(name, 0, 0.0, upper, asked(0.1)) for name, upper in (("exact engine", 0.0), ("loose", 2.0)))
    rows = rows_of(cell_frame([replace(exact, certificate="exact"), loose]))
    assert rows[0]["ratio"] == 1.0 and math.isnan(rows[1]["ratio"]) and rows[1]["exact"]


def test_the_summary() -> None:
    rows = rows_of(summary_frame(study()))
    (loose,) = only(rows, estimator="loose", radius=0.1)
    assert (loose["certificate"], loose["points"], loose["known"], loose["undecided"]) == ("upper", 2, 2, 3.0)
    assert loose["ratio"] == pytest.approx(3.0) and loose["value"] == pytest.approx(6.0)
    assert loose["truth_upper"] == pytest.approx(2.0), "the geometric mean of 1 and 4"
    search = [row["certificate"] for row in only(rows, estimator="search")]
    assert search == ["exact", "bracket"]
    (broken,) = only(rows, estimator="broken")
    assert (broken["answers"], broken["failed"], broken["remark"]) == (1, 1, "it broke | badly")
    assert broken["ratio"] == 2.0 and math.isnan(broken["value"])
    picky = only(rows, estimator="picky")
    assert [row["certificate"] for row in picky] == ["refused", "refused"] and picky[0]["points"] == 0
    assert geometric_mean([]) != geometric_mean([]) and geometric_mean([0.0, 2.0]) == 0.0


def test_the_table_of_a_question() -> None:
    (table,) = question_tables(summary_frame(study()))
    assert table.title == "net, regional, p = ∞: bound / constant"
    assert table.headings == ("estimator", "certificate", "radius 0.1", "radius 0.2", "CPU s", "remarks")
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == ["constant", "loose", "broken", "search", "guess", "random"], (
        "from the loosest to the tightest"
    )
    assert rows["constant"][1:3] == ("2", "3.2 to 4")
    assert rows["loose"] == ("upper", "3.000", "<= 3.750", "0.5", "")
    assert rows["search"] == ("bracket", "1.000", "<= 1.250", "2.5", "exact at 2 of 4")
    assert rows["broken"] == ("upper", "2.000 (1 of 2)", "", "0.5", "failed at 1 of 2; it broke | badly")
    assert table.below == ("Refused by picky: p is not covered.",)
    assert "it broke \\| badly" in table.markdown() and table.rich().row_count == 6


def test_the_overview_has_a_column_for_each_scope_and_norm() -> None:
    pointed = [
        cell("loose", 0, 0.0, 3.0, asked(0.1, "pointed")),
        cell("random", 0, 2.0, math.inf, asked(0.1, "pointed")),
    ]
    table = overview(summary_frame([*study(), *pointed]), "net", 0.1)
    assert table.headings[2:] == ("regional, p = ∞", "pointed, p = ∞", "CPU s a point")
    assert table.rows[0][2:] == ("2", "2 to 3", "")
    assert next(row for row in table.rows if row[0] == "loose")[2:4] == ("3.000", "<= 1.500")


def test_wandb_gets_numbers_or_nothing() -> None:
    table = wandb_table(summary_frame(study()))
    assert len(table.data) == len(summary_frame(study()))
    assert not [v for row in table.data for v in row if isinstance(v, float) and not math.isfinite(v)]


def drawn(ax: Any, name: str) -> Any:
    return next(line for line in ax.lines if line.get_gid() == name)


def test_the_figure_of_radii() -> None:
    figure = radius_figure(summary_frame(study()), "net")
    (ax,) = figure.axes
    assert drawn(ax, "loose").get_xdata() == pytest.approx(RADII)
    assert drawn(ax, "loose").get_ydata() == pytest.approx([6.0, 12.0])
    assert drawn(ax, "constant").get_ydata() == pytest.approx([2.0, 4.0])
    band = [c for c in ax.collections if c.get_gid() == "band"]
    assert min(y for _, y in band[0].get_paths()[0].vertices) == pytest.approx(2.0)
    assert drawn(ax, "random").get_linestyle() == "--"
    words = "\n".join(t.get_text() for t in (*figure.texts, *ax.texts))
    assert "logit 0" in words and "2 reference points" in " ".join(words.split()) and "loose" in words
    svg(figure)  # renders


def test_who_meets_the_constant_is_named_above_the_panel() -> None:
    records = [r for r in study() if not (isinstance(r, AuditRecord) and r.question["region"]["radius"] == 0.2)]
    (ax,) = radius_figure(summary_frame(records), "net").axes
    assert next(t.get_text() for t in ax.texts if t.get_gid() == "note") == "on the line of the constant: search"
    assert "search" not in [line.get_gid() for line in ax.lines]


def test_the_figure_of_seconds() -> None:
    (ax,) = seconds_figure(summary_frame(study()), "net", 0.1).axes
    assert (drawn(ax, "search").get_xdata()[0], drawn(ax, "search").get_ydata()[0]) == pytest.approx((2.5, 1.0))
    assert drawn(ax, "random").get_markerfacecolor() == "white"
    assert {t.get_text() for t in ax.texts} >= {"loose", "search", "random", "broken", "guess"}
    with pytest.raises(InvalidInput, match="nothing was answered"):
        seconds_figure(summary_frame(study()), "net", 0.3)


def test_the_figure_of_growing_networks() -> None:
    grown = summary_frame([*study(), *study("deep", 4, 2.0)])
    (ax,) = growth_figure(grown, "hidden layers", 0.1).axes
    assert drawn(ax, "loose").get_xdata() == pytest.approx([1, 4])
    assert drawn(ax, "loose").get_ydata() == pytest.approx([3.0, 6.0])
    with pytest.raises(InvalidInput, match="units a layer"):
        growth_figure(grown, "units a layer", 0.1)
