"""Movement, tightness and transfer against values worked out by hand, and against every choice inside the intervals."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from lipreg.errors import CrossingBounds, IncomparableResults, InvalidInput
from lipreg.records import AuditRecord, CalibrationRecord, EpochRecord, Record, RunRecord
from lipreg.transfer import (
    Interval,
    certified_radius,
    compare,
    find_pair,
    geometric_mean,
    rank_correlation,
    ratio,
    transfer,
)

QUESTION: dict[str, Any] = {
    "scope": "regional",
    "p": "inf",
    "q": None,
    "region": {"kind": "LinfBall", "norm": "inf", "radius": 0.1, "low": None, "high": None},
    "output": {"kind": "AllMargins", "target": None},
}


def audit(run: str, point: int, estimator: str, lower: float, upper: float, epoch: int = 3, **more: Any) -> AuditRecord:
    known = {
        "label": point,
        "certificate": "exact" if lower == upper else "bracket",
        "status": "proved",
        "seconds": 0.0,
        "functional": f"margins of class {point}",
        "question": QUESTION,
        "fingerprint": f"{run} {epoch}",
    }
    return AuditRecord(run, epoch, point, estimator=estimator, lower=lower, upper=upper, **{**known, **more})


def two_points(epoch: int = 3, **more: Any) -> list[Record]:
    """Point 0: E 2 against 4, B 4 against 16. Point 1: E in [1, 2] against 8, B 8 against 8."""
    records: list[Record] = [
        RunRecord("reg", "twin", seed=1, bound="affine_relu", weight=0.1, question=QUESTION, sentence="a question"),
        RunRecord("twin", seed=1, question=QUESTION),
        EpochRecord("reg", epoch, {"val_accuracy": 0.9}),
        EpochRecord("twin", epoch, {"val_accuracy": 0.95}),
    ]
    for run, point, bound, lp, lower, upper in (
        ("reg", 0, 4.0, 3.0, 2.0, 2.0),
        ("reg", 1, 8.0, 5.0, 1.0, 2.0),
        ("twin", 0, 16.0, 9.0, 4.0, 4.0),
        ("twin", 1, 8.0, 8.0, 8.0, 8.0),
    ):
        records.append(audit(run, point, "affine_relu", 0.0, bound, epoch, **more))
        records.append(audit(run, point, "lp", 0.0, lp, epoch, **more))
        records.append(audit(run, point, "combined", lower, upper, epoch, **more))
    return records


def without(records: list[Record], run: str, point: int, estimator: str) -> list[Record]:
    drop = (run, point, estimator)
    return [r for r in records if not (isinstance(r, AuditRecord) and (r.run, r.point, r.estimator) == drop)]


def about(interval: Interval | None) -> Any:
    """The ends, to be compared with what they are but for the last digits."""
    assert interval is not None
    return pytest.approx((interval.lower, interval.upper), rel=1e-14)


class TestIntervals:
    def test_crossing_ends_raise(self) -> None:
        with pytest.raises(CrossingBounds):
            Interval(2.0, 1.0)
        with pytest.raises(InvalidInput):
            Interval(math.nan, 1.0)

    def test_ratio_by_hand(self) -> None:
        assert ratio(Interval(1, 2), Interval(4, 8)) == Interval(0.125, 0.5)
        assert ratio(Interval(0, 2), Interval(4, 8)) == Interval(0, 0.5)
        assert ratio(Interval(1, 2), Interval(0, 8)) == Interval(0.125, math.inf)
        assert ratio(Interval(1, math.inf), Interval(4, math.inf)) == Interval(0, math.inf)
        assert ratio(Interval(0, 0), Interval(0, 8)) == Interval(0, 0)
        assert ratio(Interval(1, 2), Interval(0, 0)) is None

    def test_geometric_mean_by_hand(self) -> None:
        mean = geometric_mean([Interval(1, 2), Interval(4, 8)])
        assert (mean.lower, mean.upper) == pytest.approx((2, 4))
        assert geometric_mean([Interval(0, 0), Interval(1, math.inf)]) == Interval(0, math.inf)

    def test_transfer_by_hand(self) -> None:
        def share(lower: float, upper: float, bound_movement: float) -> Interval:
            found, reason = transfer(Interval(lower, upper), bound_movement)
            assert found is not None and reason == ""
            return found

        assert about(share(0.5, 0.5, 0.25)) == (0.5, 0.5)
        assert about(share(2, 2, 0.25)) == (-0.5, -0.5)
        assert about(share(0.5, 4, 0.25)) == (-1, 0.5)  # a negative denominator swaps the ends
        assert about(share(0.5, 4, 4)) == (-0.5, 1)
        assert about(share(0, 0.25, 0.25)) == (1, math.inf)
        assert about(share(0.25, math.inf, 0.25)) == (-math.inf, 1)
        assert share(1, 1, 0.25) == Interval(0, 0)

    @pytest.mark.parametrize("bound_movement", [0.0, 1.0, 1.0005, 0.9995])
    def test_transfer_is_undefined_with_a_reason(self, bound_movement: float) -> None:
        share, reason = transfer(Interval(0.5, 0.5), bound_movement)
        assert share is None and "bound" in reason


sizes = st.floats(1e-3, 1e3)
inside = st.floats(0, 1)


@st.composite
def interval_with_member(draw: st.DrawFn) -> tuple[Interval, float]:
    """An interval of sizes, its lower end sometimes 0 and its upper end sometimes inf, and a number above 0 in it."""
    low, high = sorted((draw(sizes), draw(sizes)))
    member = low + draw(inside) * (high - low)
    interval = Interval(draw(st.sampled_from([low, 0.0])), draw(st.sampled_from([high, math.inf])))
    return interval, min(max(member, low), high)


@given(st.lists(st.tuples(interval_with_member(), interval_with_member()), min_size=1, max_size=4), sizes)
def test_every_choice_inside_the_intervals_gives_a_transfer_inside(pairs: list[Any], bound_movement: float) -> None:
    ratios = [ratio(mine, other) for (mine, _), (other, _) in pairs]
    share, _ = transfer(geometric_mean([r for r in ratios if r is not None]), bound_movement)
    if abs(math.log(bound_movement)) < 1e-3:
        assert share is None
        return
    logs = [math.log(mine) - math.log(other) for (_, mine), (_, other) in pairs]
    chosen = sum(logs) / len(logs) / math.log(bound_movement)
    slack = 1e-9 * (1 + abs(chosen))
    assert share is not None and share.lower - slack <= chosen <= share.upper + slack


@given(interval_with_member(), interval_with_member(), sizes)
def test_swapping_run_and_twin_leaves_transfer_alone(mine: Any, other: Any, bound_movement: float) -> None:
    there, back = ratio(mine[0], other[0]), ratio(other[0], mine[0])
    assert there is not None and back is not None
    one, two = transfer(there, bound_movement)[0], transfer(back, 1 / bound_movement)[0]
    if one is not None and two is not None:
        assert (one.lower, one.upper) == pytest.approx((two.lower, two.upper), rel=1e-9, abs=1e-9)


class TestRankCorrelation:
    def test_by_hand(self) -> None:
        assert rank_correlation([(1, 10), (2, 20), (5, 30)]) == pytest.approx(1)
        assert rank_correlation([(1, 30), (2, 20), (5, 10)]) == pytest.approx(-1)
        assert rank_correlation([(1, 1), (2, 3), (3, 2)]) == pytest.approx(0.5)  # 1 - 6 * 2 / (3 * 8)

    def test_constant_or_short_input_has_none(self) -> None:
        assert rank_correlation([(1, 1), (1, 2), (1, 3)]) is None
        assert rank_correlation([(1, 1), (2, 2)]) is None
        assert rank_correlation([]) is None

    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=20))
    def test_ties_agree_with_scipy(self, pairs: list[tuple[float, float]]) -> None:
        first, second = zip(*pairs, strict=True)
        if len(set(first)) == 1 or len(set(second)) == 1:
            assert rank_correlation(pairs) is None
        else:
            assert rank_correlation(pairs) == pytest.approx(spearmanr(first, second)[0], abs=1e-12)


class TestCertifiedRadius:
    def radius(self, margin: float | None = 0.2, upper: float = 4.0, label: int = 1, **question: Any) -> float | None:
        record = audit("reg", 1, "combined", 0.0, upper, margin=margin, label=label, question=QUESTION | question)
        return certified_radius(record)

    def test_margin_over_upper_end(self) -> None:
        assert self.radius() == pytest.approx(0.05)
        assert self.radius(output={"kind": "AllLogits"}) == pytest.approx(0.025)
        assert self.radius(output={"kind": "Vector"}, p="2", q="2", region={"norm": "2", "radius": 9}) == pytest.approx(
            0.2 / (math.sqrt(2) * 4)
        )
        assert self.radius(output={"kind": "Vector"}, q="inf") == pytest.approx(0.025)

    def test_never_beyond_the_region(self) -> None:
        assert self.radius(upper=0.5) == 0.1
        assert self.radius(upper=0.0) == 0.1
        assert self.radius(upper=math.inf) == 0.0

    def test_none_where_nothing_is_certified(self) -> None:
        assert self.radius(margin=-0.1) is None
        assert self.radius(margin=None) is None
        assert self.radius(output={"kind": "Logit", "index": None}) is None
        assert self.radius(output={"kind": "AllMargins", "target": 0}) is None
        assert self.radius(output={"kind": "AllMargins", "target": 1}) == pytest.approx(0.05)
        assert self.radius(region={"kind": "Box", "norm": "inf", "lower": 0, "upper": 1}) is None
        assert self.radius(region={"kind": "L1Ball", "norm": "1", "radius": 0.1}) is None
        assert self.radius(p="1") == pytest.approx(0.05)  # the l1 ball lies inside the l_inf ball of the same radius


class TestCompare:
    def test_two_points_by_hand(self) -> None:
        found = compare(two_points(), "reg")
        assert (found.epoch, found.bound_name, found.left_out, found.sentence) == (3, "affine_relu", (), "a question")
        mine, twin = found.regularised, found.twin
        assert (mine.run, mine.metric, twin.run, twin.metric) == ("reg", 0.9, "twin", 0.95)
        assert (mine.bound, mine.lp, mine.combined) == (6, 4, Interval(1.5, 2))
        assert (twin.bound, twin.lp, twin.combined) == (12, 8.5, Interval(6, 6))
        assert (mine.share_exact, twin.share_exact) == (0.5, 1)
        # tightness 2 and [4, 8], so [sqrt 8, 4]; the twin's 4 and 1, so 2
        assert mine.tightness is not None and twin.tightness is not None
        assert (mine.tightness.lower, mine.tightness.upper) == pytest.approx((math.sqrt(8), 4))
        assert (twin.tightness.lower, twin.tightness.upper) == pytest.approx((2, 2))

    def test_movement_and_transfer_by_hand(self) -> None:
        found = compare(two_points(), "reg")
        first, second = found.movements
        assert (first.combined, first.bound) == (Interval(0.5, 0.5), 0.25)
        assert about(first.transfer) == (0.5, 0.5)
        assert (second.combined, second.bound, second.transfer) == (Interval(0.125, 0.25), 1.0, None)
        assert "less than" in second.note
        # geometric means: exact [sqrt(1/16), sqrt(1/8)] = [1/4, 2^-1.5], bound sqrt(1/4) = 1/2
        total = found.movement
        assert total.combined is not None and total.transfer is not None and total.points == 2
        assert (total.combined.lower, total.combined.upper, total.bound) == pytest.approx((0.25, 2**-1.5, 0.5))
        assert (total.transfer.lower, total.transfer.upper) == pytest.approx((1.5, 2))

    def test_rank_correlation_over_points_and_epochs(self) -> None:
        later = [r for r in two_points(epoch=5) if not isinstance(r, RunRecord)]
        found = compare(two_points() + later, "reg", epoch=3)
        assert found.epoch == 3
        # bounds 4, 8, 16, 8 against truths 2, 1.5, 4, 8, each twice: doubling changes no rank order
        assert found.rank_correlation == pytest.approx(spearmanr([4, 8, 16, 8] * 2, [2, 1.5, 4, 8] * 2)[0])
        assert found.regularised.rank_correlation == pytest.approx(-1)

    def test_the_last_epoch_audited_in_both_is_the_default(self) -> None:
        only_mine = [r for r in two_points(epoch=9) if isinstance(r, AuditRecord) and r.run == "reg"]
        assert compare(two_points() + only_mine, "reg").epoch == 3
        with pytest.raises(InvalidInput, match="epoch 9"):
            compare(two_points() + only_mine, "reg", epoch=9)

    def test_missing_points_are_left_out_and_named(self) -> None:
        found = compare(without(two_points(), "twin", 1, "combined"), "reg")
        assert found.left_out == (1,)
        assert [p.point for p in found.regularised.points] == [0]
        assert found.regularised.bound == 4 and found.movement.points == 1
        with pytest.raises(InvalidInput, match="no point"):
            compare(without(without(two_points(), "twin", 1, "combined"), "reg", 0, "affine_relu"), "reg")

    def test_a_missing_relaxation_has_no_mean(self) -> None:
        found = compare(without(two_points(), "reg", 0, "lp"), "reg")
        assert found.regularised.lp is None and found.twin.lp == 8.5

    def test_nothing_proved_leaves_ratios_undefined(self) -> None:
        records = without(two_points(), "reg", 0, "affine_relu")
        found = compare([*records, audit("reg", 0, "affine_relu", 0.0, math.inf)], "reg")
        assert found.regularised.bound == math.inf and found.regularised.tightness is None
        assert found.movements[0].transfer is None and found.movement.points == 1
        assert "1 of 2 points" in found.movement.note

    def test_radii_average_the_same_points(self) -> None:
        records = [r for r in two_points() if not (isinstance(r, AuditRecord) and r.estimator == "combined")]
        for run, point, lower, upper, margin in (
            ("reg", 0, 2.0, 2.0, 0.1),
            ("reg", 1, 1.0, 2.0, 0.15),
            ("twin", 0, 4.0, 4.0, 0.1),
            ("twin", 1, 8.0, 8.0, -0.2),
        ):
            records.append(audit(run, point, "combined", lower, upper, margin=margin))
        found = compare(records, "reg")
        assert found.radius_points == 1
        assert (found.regularised.radius, found.twin.radius) == pytest.approx((0.05, 0.025))

    def test_the_later_of_two_records_counts(self) -> None:
        records = [*two_points(), audit("reg", 1, "combined", 2.0, 2.0)]
        assert compare(records, "reg").regularised.combined == Interval(2, 2)

    def test_records_read_back_from_a_file_are_the_same_question(self) -> None:
        box = {**QUESTION, "region": {"kind": "Box", "norm": "inf", "lower": (0.0, 0.0), "upper": (1.0, 1.0)}}
        fresh = [r for r in two_points(question=box) if not isinstance(r, RunRecord)]
        read = json.loads(json.dumps(box))
        runs = [RunRecord("reg", "twin", bound="affine_relu", question=read), RunRecord("twin", question=read)]
        assert compare([*runs, *fresh], "reg").movement.bound == pytest.approx(0.5)


class TestRefusals:
    @pytest.mark.parametrize(
        "change", [{"scope": "pointed"}, {"p": "2"}, {"region": {"kind": "LinfBall", "norm": "inf", "radius": 0.2}}]
    )
    def test_other_questions_are_not_compared(self, change: dict[str, Any]) -> None:
        records = [*two_points(), audit("twin", 2, "combined", 1.0, 1.0, question=QUESTION | change)]
        for work in (compare, find_pair):
            with pytest.raises(IncomparableResults, match=next(iter(change))):
                work(records, "reg")

    def test_another_question_of_the_penalty_is_not_compared(self) -> None:
        records = [r for r in two_points() if not isinstance(r, RunRecord)]
        pointed = RunRecord("reg", "twin", bound="affine_relu", question=QUESTION | {"scope": "pointed"})
        with pytest.raises(IncomparableResults, match="scope"):
            compare([pointed, *records], "reg")

    def test_other_functionals_are_not_compared(self) -> None:
        records = without(two_points(), "twin", 0, "combined")
        with pytest.raises(IncomparableResults, match="point 0"):
            compare([*records, audit("twin", 0, "combined", 4.0, 4.0, functional="margin 0 - 7")], "reg")
        swapped = [r for r in two_points() if not (isinstance(r, AuditRecord) and r.run == "twin" and r.point == 0)]
        other = [audit("twin", 0, name, 0.0, 16.0, functional="margin 0 - 7") for name in ("affine_relu", "combined")]
        with pytest.raises(IncomparableResults, match="margin 0 - 7"):
            compare([*swapped, *other], "reg")

    def test_a_bound_below_a_witness_raises(self) -> None:
        with pytest.raises(CrossingBounds, match="affine_relu"):
            compare([*two_points(), audit("reg", 0, "affine_relu", 0.0, 1.9)], "reg")
        rounding = audit("reg", 0, "affine_relu", 0.0, 2.0 * (1 - 1e-14))
        assert compare([*two_points(), rounding], "reg").regularised.points[0].bound < 2

    def test_a_twin_must_be_one(self) -> None:
        records = two_points()
        for twin in (RunRecord("twin", seed=2), RunRecord("twin", seed=1, weight=0.5)):
            with pytest.raises(IncomparableResults, match="no twin"):
                compare([*records, twin], "reg")

    def test_runs_without_a_pair(self) -> None:
        with pytest.raises(InvalidInput, match="'reg'"):
            compare(two_points(), "unknown")
        with pytest.raises(InvalidInput, match="no twin"):
            compare(two_points(), "twin")
        with pytest.raises(InvalidInput, match="no penalised bound"):
            find_pair([RunRecord("reg", "twin")], "reg")

    def test_two_networks_under_one_name(self) -> None:
        with pytest.raises(InvalidInput, match="different weights"):
            compare([*two_points(), audit("reg", 0, "lp", 0.0, 3.0, fingerprint="other")], "reg")


def test_the_earlier_name_of_the_combined_interval_says_the_name_of_now() -> None:
    found = compare(two_points(), "reg")
    for each in (found.movement, found.regularised, found.regularised.points[0]):
        with pytest.raises(AttributeError, match=rf"{type(each).__name__}\.exact is named combined now"):
            _ = each.exact
        assert not hasattr(each, "exact") and each.combined is not None
        assert "exact" not in vars(each) and "exact" not in {f.name for f in fields(each)}


INTERVAL = {"estimator": "affine_relu", "preactivations": ["interval"], "spectral_norms": "exact"}
ALL = INTERVAL | {"preactivations": "all"}


def by_recipes(mine: dict[str, Any], twins: dict[str, Any], penalty: dict[str, Any]) -> list[Record]:
    """The two points, the bound of each run by its own recipe."""
    found: list[Record] = []
    for r in two_points():
        if isinstance(r, AuditRecord) and r.estimator == "affine_relu":
            r = replace(r, recipe=mine if r.run == "reg" else twins)
        if isinstance(r, RunRecord) and r.run == "reg":
            r = replace(r, recipe=penalty)
        found.append(r)
    return found


class TestRecipes:
    def test_the_recipe_of_the_penalty_is_compared_whatever_it_measured_norms_with(self) -> None:
        records = by_recipes(INTERVAL, INTERVAL, INTERVAL | {"spectral_norms": "estimate"})
        assert compare(records, "reg").movement == compare(two_points(), "reg").movement

    def test_it_is_found_under_another_label(self) -> None:
        records = by_recipes(INTERVAL, ALL, INTERVAL)
        looser = [
            replace(r, estimator="affine_relu-interval", upper=20.0, recipe=INTERVAL)
            for r in records
            if isinstance(r, AuditRecord) and (r.run, r.estimator) == ("twin", "affine_relu")
        ]
        assert [p.bound for p in compare([*records, *looser], "reg").twin.points] == [20.0, 20.0]

    @pytest.mark.parametrize("penalty", [INTERVAL, {}], ids=["recipe of the penalty", "not recorded"])
    def test_bounds_of_two_recipes_are_not_compared(self, penalty: dict[str, Any]) -> None:
        """One estimator with other pre-activation bounds is another bound, and its movement is no movement."""
        with pytest.raises(IncomparableResults, match="preactivations 'all' against") as refused:
            compare(by_recipes(INTERVAL, ALL, penalty), "reg")
        assert "Bound('affine_relu', preactivations=['interval'])" in refused.value.todo

    def test_what_the_twin_lacks_is_said_with_what_adds_it(self) -> None:
        records = without(
            without(by_recipes(INTERVAL, {}, INTERVAL), "twin", 0, "affine_relu"), "twin", 1, "affine_relu"
        )
        with pytest.raises(InvalidInput, match="no point has both") as refused:
            compare(records, "reg")
        assert "estimators=[..., Bound('affine_relu', preactivations=['interval'])]" in refused.value.todo
        assert "'twin' was not audited with the penalised bound, affine_relu" in refused.value.got


class TestTrajectory:
    def test_means_by_epoch(self) -> None:
        later = [r for r in two_points(epoch=5) if not isinstance(r, RunRecord)]
        sampled = [audit("reg", point, "sampling", 0.5 + point, math.inf, epoch=5) for point in (0, 1)]
        records = [*later, *two_points(), *sampled, EpochRecord("reg", 4, {"val_accuracy": 0.8, "val_loss": 1.0})]
        mine, twin = find_pair(records, "reg").sides
        assert (mine.name, twin.name) == ("reg", "twin")
        assert [p.epoch for p in mine.trajectory] == [p.epoch for p in twin.trajectory] == [3, 5]
        third, fifth = mine.trajectory
        assert (third.bound, third.lp, third.combined, third.sampling) == (6, 4, Interval(1.5, 2), None)
        assert (len(third.points), third.metric) == (2, 0.9)
        assert mine.metric == {3: 0.9, 4: 0.8, 5: 0.9}, "of epochs without an audit too"
        assert fifth.sampling == 1.0

    def test_the_twin_is_measured_by_the_bound_of_the_penalty(self) -> None:
        found = find_pair([*two_points(), audit("twin", 0, "fastlip", 0.0, 5.0)], "reg")
        assert found.twin.trajectory[0].bound == 12


def test_audits_at_other_reference_points_are_not_compared() -> None:
    told = [replace(r, reference=f"at {r.point}") if isinstance(r, AuditRecord) else r for r in two_points()]
    assert compare(told, "reg").movement == compare(two_points(), "reg").movement
    moved = [replace(r, reference="elsewhere") if isinstance(r, AuditRecord) and r.run == "twin" else r for r in told]
    with pytest.raises(IncomparableResults, match="another reference point"):
        compare(moved, "reg")


@pytest.mark.parametrize(
    "wrong",
    [("combined", 1.0, 1.0), ("sampling", 5.0, math.inf), ("combined", 3.0, 3.0), ("branch_and_bound", 0.0, 1.0)],
    ids=["combined below a witness", "witness above combined", "combined twice", "search below a witness"],
)
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
def test_records_that_contradict_each_other_raise(wrong: tuple[str, float, float], last: bool) -> None:
    """Whichever of them counts, and whether or not its point has the penalised bound."""
    fitting = [
        *two_points(),
        audit("reg", 0, "sampling", 1.9, math.inf),
        audit("reg", 0, "branch_and_bound", 1.0, 2.5),
    ]
    contrary = audit("reg", 0, *wrong)
    found = [*fitting, contrary] if last else [*fitting[:2], contrary, *fitting[2:]]
    for records in (found, without(found, "reg", 0, "affine_relu")):
        with pytest.raises(CrossingBounds, match="run 'reg', epoch 3, point 0"):
            compare(records, "reg")
    elsewhere = replace(contrary, fingerprint="retrained in the same folder", functional="another")
    assert compare([elsewhere, *fitting], "reg") == compare(fitting, "reg")


def calibration(run: str, factor: float, **more: Any) -> CalibrationRecord:
    known: dict[str, Any] = {
        "fingerprint": f"{run} 3",
        "task": "classes",
        "points": 3,
        "reference": "held out",
        "error": 0.1,
        "influences": [0.1, 0.0, -0.05],
    }
    return CalibrationRecord(run, 3, factor=factor, **{**known, **more})


def test_calibrated_movements_are_the_raw_ones_times_the_quotient_of_the_factors() -> None:
    records = [*two_points(), calibration("reg", 3.0), calibration("twin", 1.5)]
    found = compare(records, "reg")
    raw, calibrated = found.movement, found.calibrated
    assert raw.combined is not None and calibrated.movement.combined is not None and raw.bound is not None
    assert calibrated.movement.combined.lower == pytest.approx(2 * raw.combined.lower)
    assert calibrated.movement.bound == pytest.approx(2 * raw.bound) and calibrated.noise == 0.0
    other = calibration("twin", 1.5, influences=[0.1, 0.3, -0.05])
    assert compare([*two_points(), records[-2], other], "reg").calibrated.noise == pytest.approx(0.3)
    untold = calibration("twin", 1.5, influences=[])
    assert compare([*two_points(), records[-2], untold], "reg").calibrated.noise == pytest.approx(math.hypot(0.1, 0.1))


def test_calibrations_that_are_of_something_else_are_not_compared() -> None:
    mine = calibration("reg", 3.0)
    for twin, why in (
        (calibration("twin", 1.5, reference="others"), "other points"),
        (calibration("twin", 1.5, fingerprint="another network"), "what the outputs of the twin mean"),
        (CalibrationRecord("twin", 3, "twin 3", task="classes", why="of a reason"), "undefined: of a reason"),
    ):
        found = compare([*two_points(), mine, twin], "reg").calibrated
        assert found.movement.combined is None and why in found.movement.note


def test_two_calibrations_of_the_same_weights_that_contradict_each_other_are_refused() -> None:
    records = [*two_points(), calibration("reg", 3.0), calibration("twin", 1.5)]
    assert compare([*records, calibration("twin", 1.5001)], "reg").twin.calibration is not None
    with pytest.raises(InvalidInput, match=r"two calibrations of the same weights and points, with T = 1\.5 and 4\.5"):
        compare([*records, calibration("twin", 4.5)], "reg")


def test_a_region_that_is_proved_and_attacked_is_a_contradiction() -> None:
    records = [
        replace(r, margin=1.0, correct=True, attacked=True) if isinstance(r, AuditRecord) else r for r in two_points()
    ]
    with pytest.raises(CrossingBounds, match="a point of another was found in it"):
        _ = compare(records, "reg").regularised.certified
