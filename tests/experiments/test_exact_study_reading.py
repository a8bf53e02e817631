"""What is read of the study's rows: planted effects, outputs that are merely rescaled, half a study, and the page."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression

from experiments.exact_study import views
from experiments.exact_study.best import best, choose
from experiments.exact_study.choosing import short
from experiments.exact_study.designs import DIGITS, PENALTIES, TWIN
from experiments.exact_study.figures import strengths
from experiments.exact_study.lines import lines, whole
from experiments.exact_study.questions import QUESTIONS
from experiments.exact_study.reading import FIGURES, non_increasing, place, readings
from experiments.exact_study.rows import CLOSEST, TENTHS, Row, bits, bounds_of
from experiments.exact_study.tables import fill, pairs
from experiments.result_file import ResultFile
from tests.conftest import ROOT

LADDER, POINTS, AUDIT = DIGITS.ladder, DIGITS.points, DIGITS.audit
LIMIT = 0.003
SEEDS = range(5)


def right(count: int, wrong: int) -> str:
    return bits(torch.arange(count) >= wrong)


def row(penalty: str, step: float, seed: int, effect: float = 0.0, scale: float = 1.0, **more: Any) -> Row:
    """A run whose constants are exp(-effect * (1 + log_3 of 9 step)) of the twin's, all logits times ``scale``.

    It loses no accuracy up to a step of 1, and two points at the last one, so that one point is lost half-way.
    """
    moved = 0.0 if penalty == TWIN else effect * (1 + math.log(9 * step, 3))
    noise = np.random.default_rng(seed).normal(size=POINTS) * 0.1
    exact = 100 * scale * np.exp(noise - moved)
    bound = exact * np.exp(2.0 - moved)  # never below the constant
    audit = {
        "exact": [[e * (1 - 1e-7), e * (1 + 1e-7)] for e in exact.tolist()],
        "status": ["proved"] * POINTS,
        "bounds": {name: bound.tolist() for name in bounds_of(penalty)},
        "certified": {name: right(AUDIT, 50) for name in bounds_of(penalty)},
    }
    return {
        **{"question": "linf", "stage": "run", "penalty": penalty, "seed": seed, "rate": 0.03, "epochs": 80},
        "strength": 0.0 if penalty == TWIN else short(LIMIT * step),
        "selection": right(DIGITS.selection, 20 + (8 if step > 1 else 0)),
        "held": right(DIGITS.held, 30),
        "accuracy": 0.95,
        "factor": 1 / scale,
        "tenths": [1 / scale] * TENTHS,
        "margins": (8.0 * scale * np.ones(POINTS)).tolist(),
        "audits": {"0.05": audit, "0.15": audit},
        "last": True,
        **more,
    }


def study(effects: dict[str, float], scale: float = 1.0, seeds: Any = SEEDS) -> list[Row]:
    twins = [row(TWIN, 0.0, seed) for seed in seeds]
    return twins + [
        row(name, step, seed, effect, scale) for seed in seeds for name, effect in effects.items() for step in LADDER
    ]


def test_the_closest_non_increasing_sequence_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        values = generator.normal(size=generator.integers(1, 9))
        expected = IsotonicRegression(increasing=False).fit_transform(np.arange(len(values)), values)
        np.testing.assert_allclose(non_increasing(values), expected)


def test_a_point_is_lost_between_the_strengths_where_the_line_says_so() -> None:
    found = place(np.array([[0.0, 0.002, -0.005, -0.015, -0.04], [0.0] * 5, [-0.02] * 5]))
    assert found.lower.tolist() == [2, 4, 0]
    assert found.share[0] == pytest.approx(0.5)
    assert found.limited == ("accuracy", "the largest strength", "the weakest strength")
    assert found.read(np.arange(15.0).reshape(3, 1, 5))[:, 0] == pytest.approx([2.5, 9.0, 10.0])


def test_planted_effects_are_found_and_told_apart() -> None:
    read = readings(study({"fastlip": 0.2, "jacobian": 0.4}), "linf", 50)
    assert [each.radius for each in read] == ["0.05", "0.15"]
    for each in read:
        assert each.places.limited == ("accuracy", "accuracy")
        assert each.lost[0] == pytest.approx([0.01, 0.01])
        at = 1 + math.log(9, 3) + 0.25  # half-way in the logarithm from the limit to sqrt(3) of it
        for i, effect in enumerate((0.2, 0.4)):
            assert each.mean("raw")[i] == pytest.approx(-effect * at, rel=1e-5)
            assert each.mean("calibrated")[i] == pytest.approx(-effect * at, rel=1e-5)
            assert each.mean("margin")[i] == pytest.approx(effect * at, rel=1e-5)
            assert each.transfer()[0][i] == pytest.approx(0.5, rel=1e-5)
            assert each.transfer(calibrated=True)[0][i] == pytest.approx(0.5, rel=1e-5)
        assert each.apart("jacobian", "fastlip", "calibrated") == -1
        assert each.apart("fastlip", "jacobian", "calibrated") == 1
        assert each.apart("jacobian", "fastlip", "margin") == 1
        assert each.apart("jacobian", "jacobian", "margin") == 0


def test_the_table_of_pairs_has_the_best_first_and_its_signs_the_right_way_round() -> None:
    rows = study({"fastlip": 0.2, "jacobian": 0.4})
    told = pairs(rows, "linf", readings(rows, "linf", 50))
    margin, calibrated = told.split("\n\n")[:2]
    assert margin.splitlines()[2:] == ["| 1. `jacobian` |  | > |", "| 2. `fastlip` | < |  |"]
    assert calibrated.splitlines()[2:] == ["| 1. `jacobian` |  | < |", "| 2. `fastlip` | > |  |"]


def test_a_certified_radius_ends_at_the_region_and_is_zero_where_the_class_is_wrong() -> None:
    rows = study({"fastlip": 0.0})
    for each in rows:
        each["margins"] = [-3.0, 2.0, 4.0, *[8.0] * (POINTS - 3)]
        for audit in each["audits"].values():
            audit["exact"], audit["bounds"] = [[40.0, 50.0]] * POINTS, dict.fromkeys(audit["bounds"], [80.0] * POINTS)
    small, large = readings(rows, "linf", 5)
    assert small.mean("radius_exact")[0] == pytest.approx((0.04 + 6 * 0.05) / POINTS)
    assert large.mean("radius_closest")[0] == pytest.approx((2 / 80 + 4 / 80 + 5 * 8 / 80) / POINTS)


def test_the_better_closed_form_certifies_what_either_does() -> None:
    rows = study({"fastlip": 0.0})
    for each in rows:
        for audit in each["audits"].values():
            audit["bounds"] = {name: [100.0, 400.0] * (POINTS // 2) for name in audit["bounds"]}
            audit["bounds"][CLOSEST] = [200.0] * POINTS
    read = readings(rows, "linf", 5)[1]
    assert read.mean("radius_closest")[0] == pytest.approx(8 / 200)
    assert read.mean("radius_own")[0] == pytest.approx((8 / 100 + 8 / 400) / 2)
    assert read.mean("radius_better")[0] == pytest.approx((8 / 100 + 8 / 200) / 2)


def test_for_the_largest_of_all_inputs_no_committed_bound_is_below_the_closest_closed_form() -> None:
    """Why the tables of that norm have no certified radius by the better of the two."""
    found = [each for path in views.RESULTS for each in ResultFile(path).rows if each["stage"] == "run"]
    audits = [audit for each in found if each["question"] != "l2" for audit in each.get("audits", {}).values()]
    assert len(audits) > 100
    for audit in audits:
        for bound in audit["bounds"].values():
            assert (np.array(bound) >= np.array(audit["bounds"][CLOSEST]) * (1 - 1e-6)).all()


def test_a_bound_that_may_not_have_moved_has_no_transfer() -> None:
    rows = study({"fastlip": 0.2, "jacobian": 0.4, "pgd": 0.3})
    for each in rows:
        if each["penalty"] == "pgd":
            noise = np.exp(np.random.default_rng(each["seed"]).normal(size=POINTS))
            for audit in each["audits"].values():  # as far above its twin's as below
                audit["bounds"] = {name: (700 * noise).tolist() for name in audit["bounds"]}
                audit["exact"] = [
                    [e * min(1.0, 690 * n / e) for e in pair] for pair, n in zip(audit["exact"], noise, strict=True)
                ]
    read = readings(rows, "linf", 200)[0]
    low, high = np.percentile(read.draws["bound"][read.names.index("pgd")], (2.5, 97.5))
    assert low < 0 < high
    place = read.names.index("pgd")
    for calibrated in (False, True):
        value, ends = read.transfer(calibrated)
        assert np.isnan(value).tolist() == np.isnan(ends).any(1).tolist() == [i == place for i in range(3)]
    assert read.apart("pgd", "fastlip", "transfer") == read.apart("fastlip", "pgd", "calibrated transfer") == 0


def test_the_best_strength_is_one_that_loses_at_most_a_point() -> None:
    change = np.array([[0.0, -0.005, -0.01, -0.02], [-0.02, -0.02, -0.03, -0.04], [0.01, 0.0, 0.0, 0.0]])
    values = np.log([[1.0, 3.0, 2.0, 9.0], [5.0, 6.0, 7.0, 8.0], [4.0, np.nan, 5.0, 1.0]])
    place, value = choose(change, values, "margin")
    assert place[[0, 2]].tolist() == [1, 2]
    np.testing.assert_allclose(np.exp(value), [3.0, np.nan, 5.0])
    place, value = choose(change, values, "calibrated")
    assert place[[0, 2]].tolist() == [0, 3]
    np.testing.assert_allclose(np.exp(value), [1.0, np.nan, 1.0])


def test_the_best_of_planted_effects_is_the_limit_where_more_loses_two_points() -> None:
    for found in best(study({"fastlip": 0.2, "jacobian": 0.4}), "linf", 20):
        assert found.strengths == pytest.approx([LIMIT] * 2)
        sign = 1 if found.figure == "margin" else -1
        assert found.values == pytest.approx([sign * effect * (1 + math.log(9, 3)) for effect in (0.2, 0.4)], rel=1e-5)
        low, high = found.interval().T
        assert (low <= found.values + 1e-6).all() and (high >= found.values - 1e-6).all()


def test_other_twins_are_compared_with_apart() -> None:
    at = {radius: row(TWIN, 0.0, 0)["audits"]["0.05"] for radius in ("0.2", "0.6")}
    rows = [{**each, "question": "l2"} for each in study({"fastlip": 0.2})]
    for each in rows:
        each["audits"] = dict.fromkeys(at, each["audits"]["0.05"])
    assert readings(rows, "l2", 5, other_twins=True) == []
    twins = [each for each in rows if each["penalty"] == TWIN]
    others = [
        {**each, "epochs": QUESTIONS["l2"].other_twins, "factor": 2.0, "tenths": [2.0] * TENTHS} for each in twins
    ]
    chosen, other = readings([*others, *rows], "l2", 5)[0], readings([*rows, *others], "l2", 5, other_twins=True)[0]
    assert chosen.mean("calibrated") == pytest.approx(readings(rows, "l2", 5)[0].mean("calibrated"))
    assert other.mean("calibrated") == pytest.approx(chosen.mean("calibrated") - math.log(2))
    alone = [{**each, "epochs": QUESTIONS["l2"].other_twins} for each in rows]  # where the rule chose the same
    assert readings(alone, "l2", 5)[0].mean("calibrated") == pytest.approx(chosen.mean("calibrated"))


def test_rescaled_outputs_move_the_raw_constant_alone() -> None:
    plain, scaled = (readings(study({"fastlip": 0.2}, scale), "linf", 20)[0] for scale in (1.0, 0.01))
    for figure in ("margin", "calibrated", "exact"):
        np.testing.assert_allclose(scaled.mean(figure), plain.mean(figure), rtol=1e-9)
        np.testing.assert_allclose(scaled.draws[figure], plain.draws[figure], rtol=1e-9)
    assert scaled.mean("raw")[0] == pytest.approx(plain.mean("raw")[0] + math.log(0.01))
    np.testing.assert_allclose(scaled.transfer(calibrated=True)[0], plain.transfer(calibrated=True)[0])


def test_between_a_strength_and_one_that_makes_a_constant_network_nothing_is_read() -> None:
    rows = study({"fastlip": 0.2, "jacobian": 0.4})
    strongest = max(each["strength"] for each in rows)
    for each in rows:
        if each["penalty"] == "jacobian" and each["strength"] == strongest:
            each |= {"factor": None, "selection": right(DIGITS.selection, 360)}
            del each["tenths"]
            for name, audit in each["audits"].items():
                nothing = {key: [0.0] * POINTS for key in audit["bounds"]}
                each["audits"] = {**each["audits"], name: {**audit, "exact": [[0.0, 0.0]] * POINTS, "bounds": nothing}}
    read = readings(rows, "linf", 50)[0]
    limit = 1 + math.log(9, 3)
    assert read.names == ("fastlip", "jacobian") and read.places.limited == ("accuracy", "a constant network")
    assert read.lost[0] == pytest.approx([0.01, 0.0])  # what the networks lose that are read
    for figure, sign in (("raw", -1), ("calibrated", -1), ("margin", 1)):
        assert read.mean(figure) == pytest.approx([sign * 0.2 * (limit + 0.25), sign * 0.4 * limit], rel=1e-5)
        assert np.isfinite(read.interval(figure)).all()


def test_one_seed_that_says_otherwise_takes_a_claim_away() -> None:
    rows = study({"fastlip": 0.2, "jacobian": 0.4})
    swapped = {"fastlip": "jacobian", "jacobian": "fastlip"}
    rows = [{**r, "penalty": swapped.get(r["penalty"], r["penalty"])} if r["seed"] == 3 else r for r in rows]
    for each in rows:  # the bound that a run is asked for belongs to its name
        for audit in each["audits"].values():
            value = next(iter(audit["bounds"].values()))
            audit["bounds"] |= dict.fromkeys(bounds_of(each["penalty"]), value)
            audit["certified"] |= dict.fromkeys(bounds_of(each["penalty"]), right(AUDIT, 50))
    assert readings(rows, "linf", 50)[0].apart("jacobian", "fastlip", "calibrated") == 0


def test_an_audit_that_did_not_close_keeps_its_interval() -> None:
    rows = study({"fastlip": 0.2, "jacobian": 0.22})
    assert readings(rows, "linf", 50)[0].apart("jacobian", "fastlip", "calibrated") == -1
    for each in rows:
        if each["penalty"] == "jacobian":
            each["audits"]["0.05"] = json.loads(json.dumps(each["audits"]["0.05"]))
            each["audits"]["0.05"]["exact"][0][1] = None
            each["audits"]["0.05"]["status"][0] = "time limit"
    read = readings(rows, "linf", 50)[0]
    assert read.apart("jacobian", "fastlip", "calibrated") == 0
    low, high = read.by_seed("calibrated")
    first = read.names.index("jacobian")
    assert (high - low)[first] == pytest.approx([(2.0 - read_bound_over_exact()) / POINTS] * 5, rel=1e-4)


def read_bound_over_exact() -> float:
    """How much nearer than 2, in the logarithm, the planted closed form comes at the place that is read."""
    return 0.22 * (1 + math.log(9, 3) + 0.25)


def test_half_a_seed_is_not_compared() -> None:
    rows = study({"fastlip": 0.2, "jacobian": 0.4})
    assert whole(rows, "linf") == (("fastlip", "jacobian"), (0, 1, 2, 3, 4))
    assert whole(rows[:-1], "linf") == (("fastlip",), (0, 1, 2, 3, 4))
    few = [each for each in rows if each["seed"] < 3 and (each["seed"] < 2 or each["penalty"] != "jacobian")]
    assert whole(few, "linf") == (("fastlip", "jacobian"), (0, 1))
    assert whole(rows, "l2") == ((), ())
    assert lines([], "linf") is None
    assert readings(rows[:3], "linf") == []


def test_the_page_says_what_there_is(tmp_path: Path) -> None:
    page = (ROOT / "docs/study_results.md").read_text(encoding="utf-8")

    def filled(page: str, rows: list[Row]) -> str:
        return fill(page, rows, {question: readings(rows, question, 10) for question in QUESTIONS})

    part = filled(page, study({"fastlip": 0.2}, seeds=[0]))
    assert "**Partial.** 6 of 355 runs are done, with 96 exact audits, 96 of which closed" in part
    assert "Nothing is said of the expectations" in part
    everything = filled(page, study(dict.fromkeys(PENALTIES, 0.2)))
    assert "**Partial.**" not in everything.split("l2 balls on the digits")[0]
    assert "Not refuted: none dominates every other one, but none is told apart as better than" in everything
    assert filled(everything, study(dict.fromkeys(PENALTIES, 0.2))) == everything
    results = tmp_path / "rows.jsonl"
    told = [{"asked": {}}, *study({"fastlip": 0.2, "pgd": 0.1})]
    results.write_text("".join(json.dumps(each) + "\n" for each in told), encoding="utf-8")
    (tmp_path / "page.md").write_text(page, encoding="utf-8")
    made = views.remake([results], [tmp_path / "page.md"], tmp_path, 10)
    assert len(made) == 3
    text = made[1].read_text(encoding="utf-8")
    assert "pgd" in text
    assert views.remake([results], [tmp_path / "page.md"], tmp_path, 10)[1].read_text(encoding="utf-8") == text
    assert all(figure in FIGURES for figure in ("margin", "calibrated", CLOSEST.replace("jacobian_crown", "closest")))


def test_no_two_penalties_have_one_colour() -> None:
    drawn = strengths(study(dict.fromkeys(PENALTIES, 0.2)), "linf").axes[0].get_lines()
    colours = {line.get_gid(): line.get_color() for line in drawn if line.get_gid() in PENALTIES}
    assert set(colours) == set(PENALTIES)
    assert len(set(colours.values())) == len(PENALTIES)


@pytest.mark.parametrize("page", views.PAGES, ids=lambda page: page.name)
def test_tables_without_intervals_are_those_of_the_committed_rows(page: Path) -> None:
    """The others take 2,000 draws of the bootstrap, half a minute of each question."""
    rows = [each for path in views.RESULTS for each in ResultFile(path).rows]
    read = {question: readings(rows, question, 2) for question in QUESTIONS}
    kept, made = page.read_text(encoding="utf-8"), fill(page.read_text(encoding="utf-8"), rows, read)
    for kind in ("state", "choices", "strengths", "drawn"):
        place = re.compile(rf"<!-- study {kind} (\w+) -->\n(.*?)<!-- end -->", re.DOTALL)
        assert place.findall(made) == place.findall(kept), "python -m experiments.exact_study.views"
