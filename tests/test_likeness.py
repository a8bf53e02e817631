"""What is said of a twin is what is known of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lipreg.errors import IncomparableResults
from lipreg.records import AuditRecord, Record, RunRecord, Source, Sources
from lipreg.reporting.html import write_report, write_runs_report
from lipreg.reporting.tables import comparison_text
from lipreg.runs import recorded_runs
from lipreg.transfer import compare
from lipreg.transfer.trained_alike import training_differences
from tests.test_transfer import audit, two_points

SAME = "the same seed and initial weights, without the penalty"
OTHER = "The twin is another training: its initial weights differ, so the movement is not the penalty's alone"
UNTOLD = "Whether both began from the same weights is not known, because there is no audit before the first step of "


def pair(starts: tuple[str, str], seeds: tuple[int | None, int | None], **twin: Any) -> list[Record]:
    """A run and its twin, audited after epoch 3, and untrained with the fingerprints ``starts`` that are not empty."""
    found: list[Record] = []
    for r in two_points():
        if isinstance(r, RunRecord):
            r = replace(r, seed=seeds[r.run == "twin"], **(twin if r.run == "twin" else {}))
        found.append(r)
    for run, start in zip(("reg", "twin"), starts, strict=True):
        untrained = [audit(run, 0, name, 0.0, 1.0, 0) for name in ("affine_relu", "combined")] if start else []
        found += [replace(r, fingerprint=start) for r in untrained if isinstance(r, AuditRecord)]
    return found


@pytest.mark.parametrize(
    ("records", "shared", "said"),
    [
        (pair(("a", "a"), (1, 1)), SAME, []),
        (pair(("a", "b"), (1, 1)), "another training, without the penalty", [OTHER]),
        (
            pair(("a", "b"), (1, None)),
            "another training, without the penalty",
            [OTHER, "No seed is recorded of 'twin'"],
        ),
        (
            pair(("a", "a"), (None, None)),
            "the same initial weights, without the penalty",
            ["No seed is recorded of 'reg' and 'twin', so the batches of the two may differ"],
        ),
        (pair(("a", ""), (1, 1)), "the same seed, without the penalty", [UNTOLD + "'twin'"]),
        (
            pair(("", ""), (None, 1)),
            "another training, without the penalty",
            ["No seed is recorded of 'reg', so the batches of the two may differ", UNTOLD + "'reg' and 'twin'"],
        ),
        (
            pair(("a", ""), (1, None), settings={"checkpoint": "/weights.ckpt"}),
            "the checkpoint twin",
            ["No record tells with which seed, initial weights, batches and penalty the twin's checkpoint was trained"],
        ),
        (
            pair(("a", ""), (1, 1), settings={"checkpoint": "/weights.ckpt"}),
            "the checkpoint twin, of the same seed",
            ["No record tells with which initial weights and batches the twin's checkpoint was trained"],
        ),
    ],
    ids=[
        "twin",
        "another start",
        "unseeded, another start",
        "unseeded",
        "start unknown",
        "nothing known",
        "checkpoint",
        "checkpoint that tells its seed",
    ],
)
def test_pages_and_tables_say_of_a_twin_what_is_known(
    tmp_path: Path, records: list[Record], shared: str, said: list[str]
) -> None:
    found = compare(records, "reg")
    assert (found.likeness.shared, list(found.likeness.doubts)) == (shared, said)
    assert found.movement.transfer is not None, "the numbers stay"
    table = comparison_text(found)
    page = write_report(records, tmp_path / "report.html", "reg").read_text().replace("&#x27;", "'")
    assert all(f"{doubt}." in table and f'<p class="notice">{doubt}.</p>' in page for doubt in said)
    assert f"{shared}. After 3 epochs." in page and (SAME in page) == (not said)
    counted = (
        "of the same seed" if not said else "; 1 of the twins differ in more than the penalty, or are not known not to"
    )
    assert "1 of them compared with a twin" in page and counted in page
    assert ("of the same seed and initial weights." in page) == (not said)


def resumed(run: str, *parts: tuple[int, float, str]) -> list[Record]:
    """``pair`` with ids, where ``run`` was begun and resumed: (completed epochs, weight, bound) of each part."""
    found: list[Record] = []
    for r in pair(("a", "a"), (1, 1)):
        if not isinstance(r, RunRecord):
            found.append(replace(r, run_id=r.run))
            continue
        own = replace(r, id=r.run, twin_id="twin" if r.twin else "")
        told = [
            replace(own, start_epoch=e, weight=w, bound=b or None, started=f"2026-01-0{i}T00:00:00+00:00")
            for i, (e, w, b) in enumerate(parts, 1)
        ]
        found = [*told, *found] if r.run == run else [own, *found]
    parted = [r for r in found if isinstance(r, RunRecord)]
    # the audits belong to the last part: they come after its record
    return [*parted, *(r for r in found if not isinstance(r, RunRecord))]


@pytest.mark.parametrize(
    ("parts", "course"),
    [
        ([(0, 0.1, "affine_relu"), (2, 0.1, "affine_relu")], ""),
        ([(0, 0.01, "affine_relu"), (2, 0.5, "affine_relu")], "weight 0.01, from epoch 2 on 0.5"),
        ([(0, 0.01, "affine_relu"), (2, 0.5, "affine_relu"), (1, 0.01, "affine_relu")], ""),
        (
            [(0, 0.1, "interval"), (1, 0.1, "affine_relu"), (2, 0.1, "affine_relu")],
            "interval, weight 0.1, from epoch 1 on another penalty (affine_relu, weight 0.1)",
        ),
    ],
    ids=["as before", "another weight", "left behind", "another bound"],
)
def test_a_penalty_that_a_resume_changed_is_not_claimed_for_the_whole_run(
    tmp_path: Path, parts: list[tuple[int, float, str]], course: str
) -> None:
    records = resumed("reg", *parts)
    assert next(run for run in recorded_runs(records) if run.label == "reg").course == course
    page = write_report(records, tmp_path / "report.html", "reg").read_text()
    said = f"The penalty was changed on the way, and the movement is of all of it: {course}."
    assert (said in page, said in comparison_text(compare(records, "reg"))) == (bool(course), bool(course))
    label = course or f"weight {parts[-1][1]:g}"
    assert f'"label":"{label}, seed 1"' in page
    assert ('"weight":null' in page) == bool(course)


def told(quantity: str, weight: float | None, auto: float | None = None, **options: Any) -> dict[str, Any]:
    """``RunRecord.penalty`` as far as a course reads it."""
    return {"quantity": quantity, "weight": weight, "auto": auto, "options": options}


@pytest.mark.parametrize(
    ("parts", "course"),
    [
        ([(0, told("bound", 0.1)), (3, told("bound", None, 0.2))], "weight 0.1, from epoch 3 on auto"),
        ([(0, told("bound", None, 0.2)), (2, told("bound", 0.3))], "weight auto, from epoch 2 on 0.3"),
        ([(0, told("bound", None, 0.2)), (2, told("bound", 0.3, 0.2))], ""),  # found after a warm-up
        (
            [(0, told("bound", 0.1)), (1, told("bound", None, 0.2)), (2, told("bound", 0.7, 0.2))],
            "weight 0.1, from epoch 1 on 0.7",
        ),
        (
            [(0, told("jacobian", 0.1)), (2, told("pgd", 0.1))],
            "jacobian, weight 0.1, from epoch 2 on another penalty (pgd, weight 0.1)",
        ),
        (
            [(0, told("jacobian", 0.1)), (2, told("pgd", None, 0.2))],
            "jacobian, weight 0.1, from epoch 2 on another penalty (pgd, weight auto)",
        ),
        (
            [(0, told("pgd", 1.0, steps=5)), (2, told("pgd", 0.5, steps=7))],
            "pgd, weight 1, from epoch 2 on another penalty (pgd, weight 0.5)",
        ),
    ],
)
def test_a_course_says_what_was_lowered_and_auto_where_that_is_not_found(
    parts: list[tuple[int, dict[str, Any]]], course: str
) -> None:
    records = [
        RunRecord("r", id="a", bound="spectral", start_epoch=e, weight=p["weight"] or 0.0, penalty=p, started=str(e))
        for e, p in parts
    ]
    (run,) = recorded_runs(records)
    assert run.course == course


def test_a_run_that_began_with_a_penalty_is_nobody_s_twin() -> None:
    with pytest.raises(IncomparableResults, match=r"weight 0\.1, from epoch 2 on 0\) is no twin"):
        compare(resumed("twin", (0, 0.1, ""), (2, 0.0, "")), "reg")


STEPS = {"max_epochs": 3, "precision": "32-true", "processes": 1, "accumulate_grad_batches": 1, "batch_size": 8}
OTHERWISE = "The twin was trained otherwise, so the movement is not the penalty's alone"


@pytest.mark.parametrize(
    ("mine", "twins", "said"),
    [
        ({"trainer": STEPS}, {"trainer": STEPS}, []),
        ({"trainer": STEPS}, {"trainer": {"max_epochs": 3}}, []),  # records from before these were told
        ({"trainer": STEPS | {"processes": 2}}, {"trainer": STEPS}, ["processes 1 instead of 2"]),
        (
            {"trainer": STEPS, "model": {"lr": 0.1}},
            {"trainer": STEPS | {"accumulate_grad_batches": 4, "precision": "bf16-mixed"}, "model": {"lr": 0.2}},
            [
                "learning rate 0.2 instead of 0.1",
                "precision bf16-mixed instead of 32-true",
                "accumulated batches 4 instead of 1",
            ],
        ),
        ({"trainer": STEPS, "other": 1}, {"trainer": STEPS, "other": 2, "data": {}}, []),
        ({"model": {"width": 8}}, {}, ["model.width not recorded instead of 8"]),
    ],
    ids=["alike", "older", "processes", "several", "elsewhere", "untold"],
)
def test_in_what_a_twin_was_trained_otherwise(
    mine: dict[str, Any], twins: dict[str, Any], said: list[str], tmp_path: Path
) -> None:
    records = pair(("a", "a"), (1, 1), settings=twins)
    records = [replace(r, settings=mine) if isinstance(r, RunRecord) and r.run == "reg" else r for r in records]
    assert sorted(training_differences(mine, twins)) == sorted(said)
    longer = twins | {"trainer": twins.get("trainer", {}) | {"max_epochs": 9}}
    assert "epochs 9 instead of 3" in training_differences({"trainer": STEPS}, longer)
    assert training_differences(mine, mine | {"trainer": {"max_epochs": 9}}, epochs=False) == []
    page = write_report(records, tmp_path / "report.html", "reg").read_text(encoding="utf-8")
    table = comparison_text(compare(records, "reg"))
    for text in (page, table):
        assert (OTHERWISE.replace("'", "&#x27;" if text is page else "'") in text) is bool(said)
    assert all(words in page and words in table for words in said)


def test_a_run_without_a_twin_says_how_the_nearest_was_trained(tmp_path: Path) -> None:
    """Two processes and one, in two files: neither is taken for the other's twin without a word."""
    records = [
        replace(r, settings={"trainer": STEPS | {"processes": 1 + (r.run == "reg")}}, twin=None)
        if isinstance(r, RunRecord)
        else r
        for r in pair(("a", "a"), (1, 1))
    ]
    files = [Source(f"{name}.jsonl", tuple(r for r in records if r.run == name)) for name in ("reg", "twin")]
    found = [replace(r, weight=0.1) for r in files[0].records if isinstance(r, RunRecord)]
    files[0] = replace(files[0], records=(*found, *(r for r in files[0].records if not isinstance(r, RunRecord))))
    page = write_runs_report(Sources(tuple(files)), tmp_path / "report.html").read_text(encoding="utf-8")
    assert "The nearest was trained otherwise: processes 1 instead of 2." in page
