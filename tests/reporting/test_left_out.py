"""What a budget left out is said in the same words by an audit, by a comparison of networks, and by the pages of both."""

from __future__ import annotations

import html
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

import lipreg
from lipreg import AllMargins, Budget, LinfBall, LocalLipschitz
from lipreg.auditing import COMBINED
from lipreg.auditing.budget_notes import budget_notes
from lipreg.comparisons import NetworkComparison
from lipreg.records import AuditRecord
from lipreg.records.endings import BEGUN, ENDED, LATE, NO_TIME, SMALLER, UNBEGUN, Ending, ending_lines
from lipreg.reporting.notes import budget_notes as notes_of_runs
from lipreg.results import Certificate, Status
from tests.test_budget import Clock

PROBLEM = LocalLipschitz(LinfBall(0.5), AllMargins())
X = torch.tensor([[0.1, -0.2], [0.4, 0.3], [-0.5, 0.2]], dtype=torch.float64)
Y = torch.tensor([0, 1, 2])


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)).double()


def spent(**limits: int) -> Budget:
    """No second passes at its clock, and there are as many as are named, none by default."""
    return Budget(limits.pop("seconds", 0), clock=Clock(), **limits)


@cache
def compared() -> NetworkComparison:
    return lipreg.compare(network(0), network(1), PROBLEM, X, Y, budget=spent(), names=("one", "two"))


def counts(words: str) -> Counter[str]:
    return Counter({name: int(count) for name, count in re.findall(r"(\w+) at (\d+) point", words)})


def test_a_comparison_says_what_was_left_out_of_each_network() -> None:
    table = compared().table()
    for name, network_of in (("one", network(0)), ("two", network(1))):
        (line,) = (line for line in table.splitlines() if line.startswith(f"Left out of the audit of {name}:"))
        audit = lipreg.audit(network_of, PROBLEM, X, Y, budget=spent(), estimators=("lp", "branch_and_bound", "mixing"))
        lines = budget_notes(audit.points)
        assert lines and {"lp", "branch_and_bound", "mixing"} <= set(counts(line))
        for said in lines:  # word for word, but for whose number it is
            words, names = said.split(": ")
            assert words in line and counts(names).items() <= counts(line).items(), said


def test_a_page_says_it_too(tmp_path: Path) -> None:
    page = html.unescape(compared().html(tmp_path / "page.html").read_text())
    for name in ("one", "two"):
        (line,) = (
            line for line in compared().table().splitlines() if line.startswith(f"Left out of the audit of {name}")
        )
        assert line in page


def test_and_the_page_of_one_network(tmp_path: Path) -> None:
    result = lipreg.audit(network(0), PROBLEM, X, Y, budget=spent(), estimators=("affine_relu", "lp"))
    page = html.unescape(result.html(tmp_path / "page.html").read_text())
    assert "cut short for want of time: lp at 3 points" in page


def test_nothing_is_said_where_nothing_was_left_out() -> None:
    whole = lipreg.compare(network(0), network(1), PROBLEM, X[:1], Y[:1], budget=Budget(600.0))
    assert "Left out" not in whole.table()
    (point,) = whole.regularised.points
    endless = replace(point, combined=replace(point.combined, upper=float("inf")))
    (note,) = notes_of_runs([replace(whole.regularised, points=(endless,))])
    assert note == "Left out of the audit of network: without an upper end: 1 point."


def test_the_method_whose_number_stands_in_the_place_of_another_is_named() -> None:
    short = lipreg.compare(
        network(0), network(1), PROBLEM, X, Y, budget=Budget(600.0, memory=64), estimators=("mixing",)
    )
    memory = ENDED[Status.MEMORY_LIMIT]
    by = {r.proof for r in short.records if isinstance(r, AuditRecord) and r.estimator == "mixing"}
    for note in notes_of_runs([short.regularised, short.twin]):
        assert f"{memory}: mixing at 3 points (the number " in note
        assert any(name.removesuffix(", cut") in note for name in by)
    assert by and not by & {"mixing"}


def ending(status: Status, detail: str = "", proof: str = "", name: str = "mixing", upper: bool = True) -> Ending:
    return Ending(name, status, detail, proof, Certificate.UPPER if upper else Certificate.BRACKET, proves=True)


@pytest.mark.parametrize("status", ENDED)
def test_each_limit_has_its_words(status: Status) -> None:
    one = ending(status)
    assert one.words(beside=False) == ENDED[status]
    assert one.words(beside=True) == ("" if ENDED[status] in BEGUN else ENDED[status])
    assert ending(status, "In an earlier run: 3 nodes").words(beside=False) == ""
    assert ending(status, NO_TIME).words(beside=True) == LATE
    assert replace(one, certificate=Certificate.EXACT).words(beside=False) == ""


def test_a_search_that_was_not_begun_is_one_that_proved_nothing_or_says_so() -> None:
    search = ending(Status.TIME_LIMIT, "No search was begun: no time was left", name="branch_and_bound", upper=False)
    assert search.words(beside=True) == search.words(beside=False) == UNBEGUN
    nothing = replace(search, detail="", proves=False)
    assert nothing.words(beside=True) == UNBEGUN and replace(nothing, proves=True).words(beside=True) == ""


def test_lines_name_whose_numbers_they_are() -> None:
    late = Status.TIME_LIMIT
    points = [
        [ending(late, proof="affine_relu-all"), ending(late, proof="LP dual bound", name="lp")],
        [ending(late, proof="mixing, cut"), ending(late, proof="jacobian_crown, cut", name="lp")],
        [ending(late, proof="affine_relu-all"), ending(late, proof="jacobian_crown", name="lp")],
        [ending(Status.BOUNDED, proof="fastlip-all"), ending(Status.BOUNDED, proof="LP dual bound", name="lp")],
    ]
    whose = "mixing at 3 points (the number of affine_relu-all at 2 and its own at 1)"
    lp = "lp at 3 points (the number of jacobian_crown at 2 and its own at 1)"
    assert ending_lines(points, named=True) == [f"cut short for want of time: {whose}, {lp}"]
    assert ending_lines(points, named=True, smaller=True)[1:] == [
        f"{SMALLER}: mixing at 1 point (the number of fastlip-all)"
    ]
    assert ending_lines(points) == ["cut short for want of time: mixing at 3 points, lp at 3 points"]
    assert ending_lines(points, beside=("lp",)) == ["cut short for want of time: mixing at 3 points"]


def test_records_of_all_together_and_of_no_known_status_are_left_out() -> None:
    (record, *_) = (r for r in compared().records if isinstance(r, AuditRecord) and r.estimator != COMBINED)
    assert [one.method for one in Ending.of_records([record])] == [record.estimator]
    assert Ending.of_records([replace(record, estimator=COMBINED), replace(record, status="done")]) == []


def test_names_that_say_cut_are_told_apart_from_those_beside_them() -> None:
    assert not re.search(r"by [^()]*, cut[,)]", compared().table())
    assert " (cut)" in compared().table()
