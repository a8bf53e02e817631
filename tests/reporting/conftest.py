"""A made-up study: a regularised run and its twin, three audits of three points."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lipreg.records import AuditRecord, CalibrationRecord, EpochRecord, Record, RunRecord

QUESTION = {
    "scope": "regional",
    "p": "inf",
    "q": None,
    "region": {"kind": "LinfBall", "norm": "inf", "radius": 0.05, "low": 0.0, "high": 1.0},
    "output": {"kind": "AllMargins", "target": None},
}
SENTENCE = "regional constant of AllMargins(target=None), LinfBall radius 0.05, cut to the data range, inputs in linf"

# per epoch, regularised run and twin: bound, LP, exact lower and exact upper at point 0; points 1 and 2 are scaled
COURSE = {
    0: ((4.0, 2.5, 1.0, 1.0), (4.0, 2.5, 1.0, 1.0)),
    5: ((8.0, 5.0, 2.0, 2.2), (20.0, 9.0, 3.0, 3.5)),
    10: ((10.0, 6.0, 2.0, 2.5), (40.0, 16.0, 4.0, 5.0)),
}
SCALES = (1.0, 2.0, 4.0)
ACCURACY = {0: (0.10, 0.10), 5: (0.85, 0.88), 10: (0.91, 0.935)}


def audit(run: str, epoch: int, point: int, estimator: str, lower: float, upper: float, **more: Any) -> AuditRecord:
    """One audit record; the certificate follows from the ends."""
    closed = upper < math.inf and upper - lower <= 1e-5 * upper
    kind = "exact" if closed else "lower" if upper == math.inf else "bracket" if lower > 0 else "upper"
    known: dict[str, Any] = {
        "label": point,
        "certificate": kind,
        "status": "proved" if closed else "time limit" if estimator == "combined" else "bounded",
        "seconds": 1.5,
        "functional": f"largest of 9 margins of class {point}",
        "question": QUESTION,
        "fingerprint": f"{run}-{epoch}",
        "correct": True,
        "margin": 0.1 * (point + 1),
        "proof": "made up",
        "versions": {"torch": "2.13.0"},
    }
    return AuditRecord(run, epoch, point, estimator=estimator, lower=lower, upper=upper, **{**known, **more})


def build(run: str = "penalty", twin: str = "twin", bound: str = "affine_relu", **more: Any) -> list[Record]:
    """The records of both runs; ``more`` overrides fields of every audit record."""
    settings = {"model": {"hidden": [32, 32]}, "trainer": {"max_epochs": 10}}
    records: list[Record] = [
        RunRecord(run, twin, 0, bound, 0.01, QUESTION, SENTENCE, settings),
        RunRecord(twin, None, 0, None, 0.0, QUESTION, SENTENCE, settings),
    ]
    for epoch, sides in COURSE.items():
        for name, accuracy, (b, lp, lower, upper) in zip((run, twin), ACCURACY[epoch], sides, strict=True):
            records.append(EpochRecord(name, epoch, {"val_accuracy": accuracy}))
            for point, scale in enumerate(SCALES):
                ends = {
                    bound: (0.0, b),
                    "lp": (0.0, lp),
                    "sampling": (0.9 * lower, math.inf),
                    "combined": (lower, upper),
                }
                records += [
                    audit(name, epoch, point, estimator, scale * low, scale * high, **more)
                    for estimator, (low, high) in ends.items()
                ]
    return records


def calibration(run: str, epoch: int, factor: float | None, **more: Any) -> CalibrationRecord:
    """What the outputs of a run of ``build`` mean; factors are known to 1 %."""
    known: dict[str, Any] = {"task": "classes", "points": 900, "reference": "held out", "error": 0.01}
    known |= {"accuracy": 0.9, "loss": 0.3, "loss_error": 0.01, "raw_loss": 0.4} if factor is not None else {}
    return CalibrationRecord(run, epoch, f"{run}-{epoch}", factor=factor, **{**known, **more})


@pytest.fixture(scope="session")
def records() -> tuple[Record, ...]:
    return tuple(build())
