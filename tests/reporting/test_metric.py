"""The task's own metric beside the constants: which one is shown, under its own name, and as what."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from lipreg.callbacks import AuditLog, LipschitzAudit
from lipreg.errors import InvalidInput
from lipreg.problem import LocalLipschitz
from lipreg.records import EpochRecord, Record, RunRecord, Source, Sources, from_line, to_line
from lipreg.regions import LinfBall
from lipreg.reporting.figures import trajectory_figure
from lipreg.reporting.html import write_report, write_runs_report
from lipreg.reporting.panels import points_table
from lipreg.reporting.tables import comparison_text
from lipreg.transfer import Metric, choose_metric, compare, find_pair
from lipreg.transfer.metric import read_as
from tests.reporting.conftest import audit, build
from tests.reporting.pages import Page


def logged(run: str, epoch: int, **metrics: float) -> EpochRecord:
    return EpochRecord(run, epoch, {"lipreg/bound_mean": 3.0, **metrics})


def regression(metric: str = "", **more: float) -> list[Record]:
    """The made-up pair, trained on a loss: no classes, 0.125 and 0.25 at its end."""
    bare = [r for r in build(label=-1, correct=None, margin=None) if not isinstance(r, EpochRecord)]
    told = [replace(r, metric=metric) if isinstance(r, RunRecord) and r.twin else r for r in bare]
    losses = {0: (2.0, 2.0), 5: (0.5, 0.75), 10: (0.125, 0.25)}
    for epoch, both in losses.items():
        told += [
            logged(run, epoch, val_loss=loss, val_mae=10 * loss, **more)
            for run, loss in zip(("penalty", "twin"), both, strict=True)
        ]
    return told


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ({"val_loss", "val_accuracy", "val_acc"}, "val_accuracy"),
        ({"val_loss", "val/acc", "train_acc"}, "val/acc"),
        ({"valid_acc", "val_loss"}, "valid_acc"),
        ({"val_loss", "val_mae", "train_loss"}, "val_loss"),
        ({"val/mae", "train_loss"}, "val/mae"),
        ({"train_loss", "train_loss_step", "lr"}, "train_loss"),
        ({"lipreg/penalty", "audit/validation", "lr", "val_loss_step"}, None),
        (set(), None),
    ],
)
def test_what_fits_is_shown(names: set[str], shown: str | None) -> None:
    assert choose_metric(["", ""], names) == shown
    assert choose_metric(["", "mine"], names) == "mine"


def test_only_accuracies_in_range_are_shares() -> None:
    assert read_as("val/acc", [0.0, 1.0]) == Metric("val/acc", True)
    assert not read_as("val_acc", [91.5]).share, "per cent, as it was logged"
    assert not read_as("val_loss", [0.5]).share
    assert (Metric("val/acc", True).title, Metric("val_loss").title) == ("validation accuracy", "val_loss")
    assert Metric("train_accuracy", True).title == "train_accuracy"


def test_a_loss_is_a_plain_number_under_its_own_name() -> None:
    text = comparison_text(compare(regression(), "penalty"))
    row = next(line for line in text.splitlines() if "val_loss" in line)
    assert row.split() == ["val_loss", "0.125", "0.25", "-0.125"]
    assert "accuracy" not in text and "certified radius" not in text, "no classes"
    twin = find_pair(regression(), "penalty").twin
    assert list(twin.metric.values()) == [p.metric for p in twin.trajectory] == [2.0, 0.75, 0.25]


def test_the_run_or_the_report_names_another() -> None:
    comparison = compare(regression("val_mae"), "penalty")
    assert (comparison.metric, comparison.regularised.metric) == (Metric("val_mae"), 1.25)
    comparison = compare(regression("val_mae"), "penalty", metric="val_loss")
    assert (comparison.metric, comparison.twin.metric) == (Metric("val_loss"), 0.25)
    assert compare(regression(), "penalty", metric="absent").metric is None
    record = RunRecord("a", metric="val_mae")
    assert from_line(to_line(record)) == record


def test_the_figure_shows_it() -> None:
    axes = trajectory_figure(regression(), "penalty", metric="val_mae").axes
    assert axes[1].get_ylabel() == "val_mae"
    lines = {line.get_gid(): list(line.get_ydata()) for line in axes[1].lines}
    assert lines["metric-regularised"] == [20.0, 5.0, 1.25]
    assert axes[1].yaxis.get_major_formatter()(1.25) != "125", "no per cent"


def test_the_page_shows_it(tmp_path: Path) -> None:
    page = write_report(regression(), tmp_path / "a.html", "penalty", metric="val_mae").read_text(encoding="utf-8")
    assert "val_mae 1.25 regularised 2.5 twin" in Page(page).text
    shown = json.loads(re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)[0])
    assert shown["entries"][0]["metric"] == {"title": "val_mae", "share": False}
    row = shown["entries"][0]["row"]
    assert (row["metric"], row["twins"]) == ({"words": "1.25", "value": 1.25}, {"words": "2.5", "value": 2.5})
    assert "ccuracy" not in Page(page).text.partition("What the numbers mean")[0]


def test_a_metric_that_no_run_logged_is_refused_with_those_that_are_there(tmp_path: Path) -> None:
    sources = Sources((Source("a", tuple(regression())), Source("b", tuple(build()))))
    with pytest.raises(
        InvalidInput, match=r"'val_acc', which no run.*lipreg/bound_mean, val_accuracy, val_loss, val_mae"
    ):
        write_runs_report(sources, tmp_path / "a.html", metric="val_acc")
    assert write_runs_report(sources, tmp_path / "a.html", metric="val_loss").is_file(), "one that some have logged"


def test_different_metrics_are_told_apart(tmp_path: Path) -> None:
    """In one table each number has its name; in one column of means they are not put together."""
    sources = Sources((Source("a", tuple(regression())), Source("b", tuple(build()))))
    page = write_runs_report(sources, tmp_path / "a.html").read_text(encoding="utf-8")
    shown = json.loads(re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)[0])
    assert [entry["row"]["metric"]["words"] for entry in shown["entries"]] == [
        "val_loss 0.125",
        "validation accuracy 91.0%",
    ]
    assert shown["metric"] == "metric"


def test_the_table_of_points_has_no_columns_of_classes() -> None:
    pytest.importorskip("wandb")
    import numpy as np

    ends = {"combined": (1.0, 1.0), "affine_relu": (0.0, 2.0)}
    plain = {"label": -1, "correct": None, "margin": None}
    for more, present in ((plain, False), ({}, True)):
        records = [audit("run", 1, 0, name, *both, **more) for name, both in ends.items()]
        found = points_table(records, np.zeros((1, 3)), "affine_relu")
        assert [name in found.columns for name in ("class", "right", "margin", "radius")] == [present] * 4
        assert found.data[0][found.columns.index("bound")] == 2.0


@pytest.mark.parametrize("wrong", ["", 3])
def test_a_metric_is_a_name(wrong: object) -> None:
    problem = LocalLipschitz(LinfBall(0.1))
    assert LipschitzAudit(problem, log=AuditLog(metric="val/acc")).audit_log.metric == "val/acc"
    with pytest.raises(InvalidInput, match="metric="):
        LipschitzAudit(problem, log=AuditLog(metric=wrong))  # type: ignore[arg-type]
