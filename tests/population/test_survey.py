"""Audits at drawn points: what they say of the whole data set, in records and on the page."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lipreg
from lipreg import AuditResult, LinfBall, LocalLipschitz, Population
from lipreg.errors import IncomparableResults, InvalidInput
from lipreg.population import Draw, MeanWithin, QuantileWithin
from lipreg.records import PopulationRecord, from_line, read_records, read_sources, to_line
from lipreg.reporting.html import write_runs_report

PROBLEM = LocalLipschitz(LinfBall(0.1))
SIZE = 40


ENGINE = ["branch_and_bound"]
"""Enough where only the exact constants count."""


@pytest.fixture(scope="module")
def question() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3))
    x = torch.rand(SIZE, 3)
    return net, x, net(x).argmax(1)


@pytest.fixture(scope="module")
def truth(question: tuple[nn.Module, Tensor, Tensor]) -> np.ndarray:
    net, x, y = question
    return np.array([found.upper for found in lipreg.certify(net, PROBLEM, x, y)])


@pytest.fixture(scope="module")
def found(question: tuple[nn.Module, Tensor, Tensor]) -> AuditResult:
    net, x, y = question
    return lipreg.audit(net, PROBLEM, population=Population(x, y, until=12, seed=4))


def test_points_have_their_indices_and_ends(found: AuditResult, truth: np.ndarray) -> None:
    drawn = [point.point for point in found.points]
    assert drawn == Draw(SIZE, 4).first(12)
    assert [point.combined.upper for point in found.points] == pytest.approx(truth[drawn], rel=1e-9)
    floor, ceiling = found.population.prior_ends
    assert (floor <= truth + 1e-9).all() and (truth <= ceiling + 1e-9).all() and (floor > 0).any()


def test_it_says_what_holds(found: AuditResult, truth: np.ndarray) -> None:
    sample = found.population
    assert sample.quantile(0.9).low <= np.sort(truth)[35] <= sample.quantile(0.9).high
    assert sample.mean().low <= truth.mean() <= sample.mean().high
    table = found.table()
    assert "12 of the 40 points of the data set were drawn at random (seed 4)" in table
    assert (
        "with a confidence of 95 % over the draw" in table and "The 90 % quantile of the constant is between" in table
    )


def test_a_rule_ends_the_draw(question: tuple[nn.Module, Tensor, Tensor], truth: np.ndarray) -> None:
    net, x, y = question
    rule = QuantileWithin(0.9, 0.2)
    found = lipreg.audit(net, PROBLEM, estimators=ENGINE, population=Population(x, y, until=rule))
    assert found.survey is not None and found.survey.met and found.population.quantile(0.9).within(0.2)
    assert len(found.points) < SIZE and "until the 90 % quantile is known within 20 %" in found.table()
    population = Population(x[:9], y[:9], until=MeanWithin(1e-9))
    out_of_reach = lipreg.audit(net, PROBLEM, estimators=ENGINE, population=population)
    assert len(out_of_reach.points) == 9  # all there are


def test_records_and_page(found: AuditResult, tmp_path: Path) -> None:
    path = found.save(tmp_path / "records.jsonl")
    (record,) = [r for r in read_records(path) if isinstance(r, PopulationRecord)]
    assert record.sample.quantile(0.5) == found.population.quantile(0.5)
    assert record.drawn == [point.point for point in found.points] and record.met
    page = found.html(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "What holds for the whole data set" in page and "12 of the 40 points" in page and "<polygon" in page
    line = json.loads(to_line(record))
    for wrong in ({"drawn": [0] * 12}, {"confidence": 2.0}, {"evidence": "luck"}, {"floor": [0.0]}):
        with pytest.raises(InvalidInput, match="points drawn from a data set"):
            from_line(json.dumps(line | wrong))


def test_what_is_no_population_is_refused(question: tuple[nn.Module, Tensor, Tensor], found: AuditResult) -> None:
    net, x, y = question
    with pytest.raises(InvalidInput, match="beside a population"):
        lipreg.audit(net, PROBLEM, x, y, population=(x, y))
    with pytest.raises(InvalidInput, match=r"x, or population=Population\(x, y\)"):
        lipreg.audit(net, PROBLEM)
    for until in (0, 0.5, True, "all"):
        with pytest.raises(InvalidInput, match="a number of points of at least 1"):
            Population(x, y, until=until)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="3 labels"):
        Population(x, y[:3])
    with pytest.raises(InvalidInput, match="drawn at random"):
        _ = lipreg.audit(net, PROBLEM, x[:1], y[:1], estimators=["affine_relu"]).population
    with pytest.raises(InvalidInput, match="a rule such as"):
        Population(x, y, until=QuantileWithin)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="Population: confidence=95"):
        Population(x, y, confidence=95)


def test_what_is_no_pair_is_not_divided(question: tuple[nn.Module, Tensor, Tensor], found: AuditResult) -> None:
    net, x, y = question
    wide = lipreg.audit(
        net, LocalLipschitz(LinfBall(0.2)), estimators=ENGINE, population=Population(x, y, until=12, seed=4)
    )
    moved = lipreg.audit(net, PROBLEM, estimators=ENGINE, population=Population(x + 0.1, y, until=12, seed=4))
    for other in (wide, moved):
        with pytest.raises(IncomparableResults, match="two data sets, or under two questions"):
            found.population.over(other.population)
    again = lipreg.audit(net, PROBLEM, estimators=ENGINE, population=Population(x, y, until=12, seed=4))
    ratio = found.population.over(again.population).quantile(0.5)
    assert ratio.low <= 1 <= ratio.high and ratio.high / max(ratio.low, 1e-9) < 1.01
    other = lipreg.audit(net, PROBLEM, estimators=ENGINE, population=Population(x, y, until=12, seed=5))
    with pytest.raises(IncomparableResults, match="the same points, drawn by the same seed"):
        found.population.over(other.population)


def test_margins_over_constants(
    question: tuple[nn.Module, Tensor, Tensor], found: AuditResult, truth: np.ndarray
) -> None:
    net, x, y = question
    assert found.survey is not None and found.survey.margins is not None
    outputs = net(x).double()
    second = outputs.scatter(1, y.unsqueeze(1), -torch.inf).amax(1)
    margins = (outputs.gather(1, y.unsqueeze(1)).squeeze(1) - second).detach().numpy()
    assert found.survey.margins == pytest.approx(margins, abs=1e-5)
    middle = np.sort(margins / truth)[19]
    assert found.margins.quantile(0.5).low <= middle * (1 + 1e-4) and middle <= found.margins.quantile(0.5).high * (
        1 + 1e-4
    )
    assert (
        "No point is classified wrongly." in found.table() and "The median of the margin over constant" in found.table()
    )
    plain = lipreg.audit(net, LocalLipschitz(LinfBall(0.1), lipreg.Logit(0)), population=Population(x, until=3))
    assert "margin" not in plain.table().split("drawn at random")[1]
    with pytest.raises(InvalidInput, match="no margins that the constant bounds"):
        _ = plain.margins


def test_values_that_were_named_and_all_together(question: tuple[nn.Module, Tensor, Tensor], truth: np.ndarray) -> None:
    net, x, y = question
    value = float(np.sort(truth)[30])
    asked = Population(x, y, until=QuantileWithin(0.5, 0.3), above=value, together=True)
    found = lipreg.audit(net, PROBLEM, estimators=ENGINE, population=asked)
    assert found.survey is not None and found.survey.met
    own = found.population.together(7)  # the rule's figure, one value, two quantiles, a mean, and two of margins
    assert own.quantile(0.5).within(0.3) and own.share_above(value).low <= 9 / SIZE <= own.share_above(value).high
    assert f"have a constant above {value!r}" in found.table() and "equally among the 7" in found.table()
    assert found.population.band().share_above(value).low <= 9 / SIZE
    for wrong in ("high", (True,), (float("inf"),)):
        with pytest.raises(InvalidInput, match="a number, or several"):
            Population(x, y, above=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="True or False"):
        Population(x, y, together="yes")  # type: ignore[arg-type]


def test_a_run_beside_its_twin_on_the_page(
    question: tuple[nn.Module, Tensor, Tensor], found: AuditResult, tmp_path: Path
) -> None:
    net, x, y = question
    half = nn.Sequential(*net, nn.Linear(3, 3, bias=False))
    with torch.no_grad():
        half[3].weight.copy_(torch.eye(3) / 2)  # constants and margins are halved, their quotients stay
    population = Population(x, y, until=12, seed=4)
    other = lipreg.audit(half, PROBLEM, estimators=ENGINE, population=population, name="halved")
    population = Population(x + 0.1, y, until=12, seed=4)
    moved = lipreg.audit(half, PROBLEM, estimators=ENGINE, population=population, name="moved")
    for own, told in ((other, True), (moved, False)):
        run = dataclasses.replace(own.run, twin="network", twin_id=found.run.id)
        path = tmp_path / f"{told}.jsonl"
        path.write_text("".join(f"{to_line(r)}\n" for r in [*found.records, run, *own.records[1:]]))
        page = write_runs_report(read_sources([path]), tmp_path / "page.html").read_text(encoding="utf-8")
        assert ("the median of the ratio of the constant to the twin&#x27;s is" in page.lower()) == told
        assert ("they are not compared: samples of two data sets" in page.lower()) == (not told)
    ratio = other.margins.over(found.margins).quantile(0.5)
    assert ratio.low <= 1 <= ratio.high < 1.01
    (record,) = [r for r in other.records if isinstance(r, PopulationRecord)]
    old = json.loads(to_line(record))
    for name in ("data", "margins", "every_margin", "factor", "above", "together"):
        del old[name]
    read = from_line(json.dumps(old))
    assert isinstance(read, PopulationRecord) and read.over_constant is None and read.sample.of == ""
    with pytest.raises(InvalidInput, match="points drawn from a data set"):
        from_line(json.dumps(json.loads(to_line(record)) | {"margins": [1.0]}))


def test_two_rules_share_the_points_that_both_have_drawn(question: tuple[nn.Module, Tensor, Tensor]) -> None:
    net, x, y = question
    few, many = (
        lipreg.audit(net, PROBLEM, estimators=ENGINE, population=Population(x, y, until=rule, seed=1)).population
        for rule in (QuantileWithin(0.5, 0.9), MeanWithin(1e-9))
    )
    assert len(few.drawn) < len(many.drawn)
    for ratio in (few.over(many), many.over(few)):
        assert len(ratio.drawn) == len(few.drawn)
        assert ratio.quantile(0.5).low <= 1 <= ratio.quantile(0.5).high
    population = Population(x, y, until=len(few.drawn), seed=1)
    planned = lipreg.audit(net, PROBLEM, estimators=ENGINE, population=population).population
    with pytest.raises(IncomparableResults, match="planned"):
        planned.over(few)


def test_a_data_set_that_was_audited_whole_needs_no_draw(question: tuple[nn.Module, Tensor, Tensor]) -> None:
    net, x, y = question
    table = lipreg.audit(net, PROBLEM, population=Population(x[:7], y[:7])).table()
    assert "All 7 points of the data set were audited." in table and "drawn" not in table.split("exact\n")[-1]
    one = lipreg.audit(net, PROBLEM, population=Population(x[:1], y[:1])).table()
    assert "The only point of the data set was audited." in one
