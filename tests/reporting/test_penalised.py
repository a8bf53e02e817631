"""Runs are called, grouped and set side by side by what was penalised, as their records tell it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lipreg.records import Record, RunRecord, Source, Sources
from lipreg.reporting.html import write_runs_report
from lipreg.reporting.penalised import bound_description, penalised
from lipreg.reporting.runs import find_entries
from lipreg.reporting.seeds import seed_groups
from tests.reporting.pages import Page
from tests.reporting.test_runs import job

MEAN = {"kind": "mean"}


def told(quantity: str = "jacobian", weight: float | None = 0.01, **more: Any) -> dict[str, Any]:
    """``RunRecord.penalty`` as a training writes it."""
    how = {"penalty": MEAN, "schedule": {"kind": "constant"}, "auto": None, "points": "all", "every": 1}
    own = {"quantity": quantity, "options": {"kind": quantity}, "certificate": "estimate", "weight": weight}
    return own | how | more


def source(seed: int, **penalty: Any) -> Source:
    """The file of a run of that seed, penalised so, and its twin."""
    found: list[Record] = []
    for r in job(seed):
        if isinstance(r, RunRecord) and r.twin:
            described = {"lipreg": [MEAN, {"kind": "constant"}]}
            found.append(replace(r, weight=penalty["weight"], penalty=penalty, settings=described))
        else:
            found.append(r)
    return Source(f"{seed} {sorted(penalty.items())}", tuple(found))


def labels(*sources: Source) -> list[str]:
    return [entry.label for entry in find_entries(sources)[0]]


def groups(*sources: Source) -> list[tuple[str, list[int | None]]]:
    """The name of each group over seeds, and the seeds in it."""
    entries = find_entries(sources)[0]
    seeds = {id(e.last): e.regularised.run.record.seed for e in entries}
    return [(group.name, [seeds[id(member)] for member in group.members]) for group in seed_groups(entries)]


def test_runs_are_called_by_what_was_penalised() -> None:
    mixed = source(0, **told()), source(1, **told("gradient")), source(1, **told(weight=0.0281, auto=0.1))
    assert labels(*mixed) == [
        "jacobian, weight 0.01, seed 0",
        "gradient, weight 0.01, seed 1",
        "jacobian, weight auto (0.028), seed 1",
    ]
    hinge = source(0, **told(penalty={"kind": "hinge", "target": 5.0}))
    assert labels(hinge, mixed[0]) == [
        "jacobian, weight 0.01, seed 0, penalty hinge (target 5)",
        "jacobian, weight 0.01, seed 0, penalty mean",
    ]
    two = source(0, **told(beside=[told("weight_decay", 0.001)]))
    assert labels(two, source(0, **told("gradient"))) == [
        "jacobian, weight 0.01, and weight_decay, weight 0.001, seed 0",
        "gradient, weight 0.01, seed 0",
    ]


@pytest.mark.parametrize(
    "other",
    [
        told("gradient"),
        told(weight=0.02),
        told(weight=0.01, auto=0.1),
        told(penalty={"kind": "hinge", "target": 5.0}),
        told(schedule={"kind": "linear", "epochs": 2}),
        told(options={"kind": "jacobian", "rows": 2}),
        told(certificate="upper"),
        told(points=16),
        told(every=4),
        told(beside=[told("weight_decay", 0.001)]),
    ],
    ids=["quantity", "weight", "auto", "penalty", "schedule", "options", "certificate", "points", "every", "beside"],
)
def test_runs_that_were_penalised_otherwise_are_no_seeds_of_one_run(other: dict[str, Any]) -> None:
    assert groups(source(0, **told()), source(1, **other)) == []
    both = [source(seed, **penalty) for penalty in (told(), other) for seed in (0, 1)]
    assert [seeds for _, seeds in groups(*both)] == [[0, 1], [0, 1]], "nor does one replace the other"


def test_seeds_are_put_together_whatever_weight_each_has_found() -> None:
    found = [source(seed, **told(weight=0.01 * (seed + 1), auto=0.1)) for seed in (0, 1)]
    beside = [told("weight_decay", 0.001), told("weight_decay", 0.002)]
    with_two = [source(seed, **told(beside=[one | {"auto": 0.2}])) for seed, one in enumerate(beside)]
    assert groups(*found) == [("jacobian, weight auto", [0, 1])]
    assert groups(*with_two) == [("jacobian, weight 0.01, and weight_decay, weight auto", [0, 1])]
    assert groups(*found, source(2, **told(weight=0.01, auto=0.5))) == [
        ("jacobian, weight auto, fraction of auto 0.1", [0, 1])
    ]


def test_settings_say_what_was_penalised_in_words(tmp_path: Path) -> None:
    two = told(beside=[told("weight_decay", 0.001, penalty={"kind": "hinge", "target": 5.0})])
    sources = [source(0, **two), source(1, **told("gradient", 0.0281, auto=0.1))]
    page = write_runs_report(Sources(tuple(sources)), tmp_path / "report.html").read_text(encoding="utf-8")
    settings = Page(page).text.partition("Where the runs differ")[2].partition("Read from")[0]
    for words in ("quantity", "jacobian", "gradient", "auto (0.028)"):
        assert words in settings, words
    assert "weight_decay, weight 0.001, penalty hinge (target 5), schedule constant, points all, every 1" in settings
    assert "kind" not in settings


@pytest.mark.parametrize("quantity", ["weight_decay", "weight_l1", "gradient", "fgsm", "pgd", "jacobian_frobenius"])
def test_what_is_no_estimate_of_the_constant_is_not_called_one(quantity: str) -> None:
    def record(**more: Any) -> RunRecord:
        return RunRecord("run", penalty=told(**more))

    assert penalised(record(quantity=quantity), "affine_relu") == f"{quantity}, no bound"
    held = f"affine_relu, the bound it is compared with (penalised: {quantity}, no bound)"
    assert bound_description(record(quantity=quantity), "affine_relu") == held
    bound = {"quantity": "affine_relu", "certificate": "upper"}
    both = record(**bound, beside=[told(quantity)])
    assert penalised(both, "affine_relu") == f"affine_relu, a bound, and {quantity}, no bound"
    estimated = record(quantity="spectral_product", options={"kind": "bound"})
    assert penalised(estimated, "affine_relu") == "spectral_product, an estimate"
    assert penalised(record(**bound, beside=[bound | {"quantity": "interval"}]), "b") == "affine_relu and interval"
