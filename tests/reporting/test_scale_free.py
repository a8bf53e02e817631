"""Words lead with what rescaling does not move, and claim no more than intervals and the noise of T support."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import lipreg
from lipreg import AllLogits, LinfBall, LocalLipschitz, Logit
from lipreg.records import AuditRecord, Record, RunRecord, Source
from lipreg.reporting.figures import trajectory_figure
from lipreg.reporting.frames import audit_frame, calibration_frame
from lipreg.reporting.html import write_report
from lipreg.reporting.notes import WHICH, WHICH_VALUES, notes
from lipreg.reporting.page_data import page_data
from lipreg.reporting.penalised import bound_description, penalised
from lipreg.reporting.rows import AS_THEY_ARE, OF_AUDIT, SCALE_FREE, comparison_blocks
from lipreg.reporting.runs import find_entries
from lipreg.reporting.tables import comparison_text
from lipreg.reporting.verdicts import HOW, verdict
from lipreg.reporting.wording import distance, percent_between
from lipreg.transfer import CalibratedMovement, Comparison, Interval, Movement, compare, transfer
from tests.reporting.conftest import audit, build, calibration
from tests.reporting.pages import Page
from tests.test_scale_free import AUDITED, HELD_OUT, PROBLEM, changed, logits_by, trained

A_SHIFT = "one function of the input added to all logits changes them, and no decision"


def told(comparison: Comparison) -> dict[str, tuple[str, ...]]:
    """The rows of the final table by name."""
    return {row.name: tuple(row[1:]) for block in comparison_blocks(comparison) for row in block.rows}


def with_factors(mine: float | None, twin: float | None, **more: Any) -> list[Record]:
    """The made-up pair, calibrated at its end: bound 1/4 and truth [0.4, 0.625] of the twin's as they are."""
    return [*build(), calibration("penalty", 10, mine, **more), calibration("twin", 10, twin)]


def at_the_end(record: Record) -> bool:
    return isinstance(record, AuditRecord) and record.estimator == "combined" and record.epoch == 10


def networks(net: nn.Module, twin: nn.Module, held_out: Any = HELD_OUT) -> Comparison:
    return lipreg.compare(net, twin, PROBLEM, *AUDITED, estimators=["branch_and_bound"], calibration=held_out)


@pytest.fixture(scope="module")
def twin() -> nn.Sequential:
    return trained(1)


def test_logits_that_are_divided_by_a_hundred_are_said_to_be(twin: nn.Sequential) -> None:
    comparison = networks(changed(twin, logits_by(0.01)), twin)
    said = verdict(comparison)
    assert said.startswith(
        "Rescaled: the raw constant is 0.01 of the twin's, the calibrated one 1: what moved is the size"
    )
    assert said.endswith("what moved is the size of the outputs, not what the network tells apart.")
    free, raw, audited = comparison_blocks(comparison)
    assert (free.name, raw.name, audited.name) == (SCALE_FREE, AS_THEY_ARE, OF_AUDIT) and len(free.rows) == 7
    for row in free.rows:
        assert row.regularised == row.twin and row.ratio in ("1", "+0.0 points"), row
    assert {row.name: row.ratio for row in raw.rows}["combined [lower, upper]"] == "0.01"
    lines = comparison_text(comparison).splitlines()
    calibrated, as_they_are = (
        next(i for i, line in enumerate(lines) if line.startswith(head)) for head in ("per unit of", "as they are")
    )
    assert WHICH in lines and calibrated < as_they_are
    assert (lines[calibrated + 3], lines[as_they_are + 3]) == ("  transfer: undefined", "  transfer: 1.000")


def test_an_undefined_factor_says_why_and_the_raw_verdict_stands_under_its_own_name(twin: nn.Sequential) -> None:
    x, _ = HELD_OUT
    with torch.no_grad():
        separated, wrong = twin(x.double()).argmax(1), twin(x.double()).argmin(1)
    other = changed(twin, logits_by(0.5))
    for labels, why in ((separated, "every point is classified correctly"), (wrong, "tell no more than chance")):
        said = verdict(networks(other, twin, (x, labels)))
        assert (
            "calibrated output is undefined, as T of the network and of the twin is undefined: " in said and why in said
        )
        assert said.endswith(
            "Relative to the margins nothing moved: the margin over constant, which needs no T, is 1 of the twin's, "
            "while the raw constant is 0.5 of the twin's."
        )
    said = verdict(networks(changed(twin, logits_by(-1.0)), twin))
    assert "tell no more than chance" in said and "The network is worse: its accuracy is " in said


def test_old_records_say_what_is_missing_and_how_to_get_it(records: Sequence[Record], tmp_path: Path) -> None:
    comparison = compare(records, "penalty")
    said = verdict(comparison)
    assert "undefined, as no record tells what their outputs mean" in said and HOW in said
    assert "33% to 67%" in said and "is [1.6, 2.5] of the twin's." in said
    text = comparison_text(comparison)
    assert "calibrated constant" not in text and "no attack was tried" in text
    page = Page(write_report(records, tmp_path / "r.html", "penalty").read_text(encoding="utf-8"))
    shown = page.text.partition("What the numbers mean")[0]
    assert WHICH in shown and "Calibrated constant" not in shown and HOW in shown
    assert json.loads(page.scripts[0])["entries"][0]["unit"] is None


def test_regression_names_both_scales_and_what_is_worse() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)).double()
    other = copy.deepcopy(net)
    with torch.no_grad():
        y = net(HELD_OUT[0].double())
        other[2].weight.mul_(0.1)
    pair = other, net, LocalLipschitz(LinfBall(0.1), Logit(0)), AUDITED[0]
    comparison = lipreg.compare(*pair, estimators=["branch_and_bound"], calibration=(HELD_OUT[0], y))
    scales = HELD_OUT[0].double().std(0, correction=0).max(), y.std(correction=0)
    assert told(comparison)["combined, in standard deviations"][2] == "0.1"
    text = comparison_text(comparison)
    assert f"times {scales[0]:.4g}, the norm of those of the inputs, over {scales[1]:.4g}, that of the targets" in text
    assert WHICH_VALUES in text and WHICH not in text and "calibrated" not in text
    assert "A smaller constant does not count here, because the network is worse: its relative squared error" in text


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (1.0, "Part of the movement is real: the calibrated bound fell, and 32% to 67% of that"),
        (1.0, "in the calibrated constant. The calibrated constant is [0.4, 0.625] of the twin's (noise of T: 1.4%)."),
        (2.0, "Not decided: the calibrated bound fell, but the certified intervals do not show on which side"),
        (4.0, "The calibrated constant rose: it is [1.6, 2.5] of the twin's (noise of T: 1.4%). Transfer is undefined"),
        (8.0, "The truth moved further than the bound: both rose, the calibrated constant by the larger factor."),
    ],
)  # fmt: skip
def test_the_verdict_is_about_calibrated_constants(factor: float, said: str) -> None:
    for mine, other in ((factor, 1.0), (0.5 * factor, 0.5)):
        assert said in verdict(compare(with_factors(mine, other), "penalty"))


def test_a_smaller_constant_of_a_worse_network_does_not_count() -> None:
    found = verdict(compare(with_factors(1.0, 1.0, accuracy=0.8, loss=0.5), "penalty"))
    first = (
        "A smaller constant does not count here, because the network is worse: its accuracy is 80.0%, the twin's 90.0%, "
        "over 900 points not audited"
    )
    assert found.startswith(f"{first}; its calibrated NLL is 0.5, the twin's 0.3. Part of the movement is real")
    larger = verdict(compare(with_factors(8.0, 1.0, accuracy=0.8), "penalty"))
    assert larger.endswith(
        "And the network is worse: its accuracy is 80.0%, the twin's 90.0%, over 900 points not audited."
    )
    assert "worse" not in verdict(compare(with_factors(1.0, 1.0), "penalty"))
    for accuracy, words in ((0.8, "[0.4, 0.625] (worse)"), (0.9, "[0.4, 0.625]")):
        sources = [Source("a", tuple(with_factors(1.0, 1.0, accuracy=accuracy)))]
        (entry,) = page_data(find_entries(sources)[0])["entries"]
        assert entry["row"]["calibratedMoved"]["words"] == words


def test_what_lies_within_the_noise_of_t_is_not_decided() -> None:
    exact = [replace(r, upper=r.lower, certificate="exact") if at_the_end(r) else r for r in build()]

    def said(factor: float, error: float) -> str:
        """Truth 0.5 and bound 0.25 of the twin's as they are."""
        more = [calibration(run, 10, f, error=error) for run, f in (("penalty", factor), ("twin", 1.0))]
        return verdict(compare([*exact, *more], "penalty"))

    assert said(1.0, 0.001).startswith(
        "Part of the movement is real: the calibrated bound fell, and 49% to 51% of that"
    )
    unsure = said(1.0, 0.25)  # log 0.5 is 0.693, two standard errors 0.707
    assert unsure.startswith("Not decided: the calibrated bound fell, but the noise of T does not show on which side")
    assert "More points to calibrate with make T better known." in unsure and "(noise of T: 35.4%)" in unsure
    assert said(3.5, 0.25).startswith(
        "Not decided: the calibrated constant is 1.75 of the twin's (noise of T: 35.4%), which"
    )
    assert said(3.5, 0.1).startswith("The calibrated constant rose: it is 1.75 of the twin's")
    stayed = said(2.0, 0.02)  # the margins are those of the twin, the constant is half of it
    assert stayed.startswith(
        "The calibrated constant stayed: the raw constant is 0.5 of the twin's, the calibrated one 1 ("
    )
    assert stayed.endswith("But the margin over constant is 2 of the twin's: more than the size of the outputs moved.")
    assert "stayed" not in said(2.0, 0.1), "what T leaves open is not small beside what moved"


@given(st.floats(0.05, 20), st.floats(1.0, 2.0), st.floats(0.05, 20), st.floats(0.0, 0.5), st.floats(-2, 2))
def test_what_is_known_holds_whatever_t_is(low: float, wide: float, bound: float, noise: float, off: float) -> None:
    exact = Interval(low, low * wide)
    share, note = transfer(exact, bound)
    if share is None or abs(math.log(bound)) < 2 * noise + 2e-3:
        return
    known = CalibratedMovement(Movement(1, exact, bound, share, note), noise).with_noise
    assert known.combined is not None and known.transfer is not None
    shift = off * noise
    for end in (exact.lower, exact.upper):
        value = (math.log(end) + shift) / (math.log(bound) + shift)
        assert known.combined.lower * (1 - 1e-9) <= end * math.exp(shift) <= known.combined.upper * (1 + 1e-9)
        room = 1e-6 * (1 + abs(value))
        assert known.transfer.lower - room <= value <= known.transfer.upper + room


def test_single_logits_are_said_to_move_with_a_shift(twin: nn.Sequential) -> None:
    single = LocalLipschitz(PROBLEM.region, AllLogits())
    for problem, shown in ((single, True), (PROBLEM, False)):
        found = lipreg.compare(twin, twin, problem, *AUDITED, estimators=["affine_relu"], calibration=HELD_OUT)
        assert (A_SHIFT in " ".join(notes(found))) is shown


def test_shares_and_margins_are_rounded_to_the_safe_side() -> None:
    assert (
        percent_between(Interval(1 / 3, 2 / 3)) == "[33.3%, 66.7%]" and percent_between(Interval(0.5, 0.5)) == "50.0%"
    )
    assert distance(Interval(math.inf, math.inf)) == "beyond the region" and distance(None) == "n/a"
    assert distance(Interval(0.1, math.inf)) == "[0.1, inf]"


def test_a_penalty_on_an_estimate_is_not_said_to_lower_the_bound(records: Sequence[Record], tmp_path: Path) -> None:
    def about(record: Record, **more: Any) -> Record:
        if isinstance(record, RunRecord) and record.twin:
            record = copy.copy(record)
            object.__setattr__(record, "penalty", {"quantity": "jacobian", "certificate": "estimate", **more})
        return record

    plain, estimated = records[0], about(records[0])
    assert isinstance(plain, RunRecord) and isinstance(estimated, RunRecord)
    assert bound_description(plain, "affine_relu") == "affine_relu, the bound that the penalty lowers"
    held = "affine_relu, the bound it is compared with (penalised: jacobian, an estimate)"
    assert bound_description(estimated, "affine_relu") == held and penalised(estimated, "b") == "jacobian, an estimate"
    two = about(records[0], beside=[{"quantity": "pgd", "certificate": "estimate"}])
    assert isinstance(two, RunRecord) and penalised(two, "b") == "jacobian, an estimate, and pgd, no bound"
    assert (
        bound_description(about(records[0], quantity="b", certificate="upper"), "b")
        == "b, the bound that the penalty lowers"
    )  # type: ignore[arg-type]
    some = [about(r) for r in records]
    said = " ".join(text.get_text() for text in trajectory_figure(some, "penalty").texts)
    assert held in " ".join(said.split())
    page = Page(write_report(some, tmp_path / "r.html", "penalty").read_text(encoding="utf-8"))
    assert ": penalty on jacobian, an estimate, compared with affine_relu." in page.text
    assert json.loads(page.scripts[0])["entries"][0]["against"] == held


def test_the_page_has_the_figures_of_the_table_and_what_charts_multiply(tmp_path: Path) -> None:
    attacked = [replace(r, attacked=r.point == 2) if at_the_end(r) else r for r in with_factors(1.5, 0.5)]  # type: ignore[attr-defined]
    page = Page(write_report(attacked, tmp_path / "r.html", "penalty").read_text(encoding="utf-8"))
    rows = told(compare(attacked, "penalty"))
    for name in ("calibrated constant (T x combined)", "margin over constant (median)", "accuracy under attack (PGD)"):
        assert f"{name} {' '.join(rows[name])}" in page.text, name
    data = json.loads(page.scripts[0])
    (entry,) = data["entries"]
    assert entry["unit"] == "per unit of calibrated output"
    assert entry["row"]["calibrated"]["words"] == rows["calibrated constant (T x combined)"][0] == "[7, 8.75]"
    assert entry["row"]["attacked"] == {"words": "66.7%", "value": pytest.approx(2 / 3)}
    assert entry["row"]["calibratedMoved"]["words"] == "[1.2, 1.875]", "[0.4, 0.625] times 3"
    factors = [[row["factor"] for row in side["course"]] for side in data["sides"]]
    assert factors == [[None, None, 1.5], [None, None, 0.5]]
    points = data["sides"][0]["points"]["10"]
    assert [p["attacked"] for p in points] == ["class kept", "class kept", "class lost"]
    assert [p["certified"] for p in points] == ["no"] * 3, "0.05 x [2, 2.5] against 0.1"
    assert re.search(r"Calibrated transfer, median \[\S+, \S+\] Of one compared run", page.text)


def test_tables_of_points_and_frames_have_them() -> None:
    pytest.importorskip("wandb")
    from lipreg.reporting.panels import points_table

    ends = {"combined": (1.0, 1.0), "affine_relu": (0.0, 2.5)}
    records = [audit("run", 1, 0, name, *both, margin=0.1, attacked=False) for name, both in ends.items()]
    table = points_table(records, np.zeros((1, 3)), "affine_relu")
    row = dict(zip(table.columns, table.data[0], strict=True))
    assert row["margin over constant"] == pytest.approx(0.1, rel=1e-12)
    assert (row["certified"], row["without search"], row["class_lost_under_attack"]) == (True, False, False)
    frame = audit_frame([*records, calibration("run", 1, 2.0)]).set_index("estimator")
    assert frame.margin_over_constant.to_dict() == pytest.approx({"combined": 0.1, "affine_relu": 0.04})
    assert frame.certified.to_dict() == {"combined": True, "affine_relu": False}
    factors = calibration_frame([*records, calibration("run", 1, 3.0), calibration("run", 1, 2.0)])
    assert factors[["run", "epoch", "factor"]].to_numpy().tolist() == [["run", 1, 2.0]], "the last one counts"
