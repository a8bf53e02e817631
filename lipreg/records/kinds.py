"""The kinds of records: one result at one reference point, or of a data set, each in plain data."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from lipreg.ranges import DerivativeRange
from lipreg.records.drawn import PopulationRecord
from lipreg.records.inputs import PointRecord
from lipreg.records.training import EpochRecord, RunRecord
from lipreg.results import Certificate

TRAINING = "training"
"""``AuditRecord.weights`` of ordinary audits."""

WEIGHTS = (TRAINING, "averaged", "replaced")
"""All values of ``AuditRecord.weights``."""


@dataclass(frozen=True)
class AuditRecord:
    """One estimator's result at one reference point.

    Attributes:
        run: name of the training run.
        epoch: completed training epochs when the audit ran; 0 is the untrained network (if the run is ``of_training``).
        point: index of the reference point in the audit's fixed list.
        label: its class, -1 without labels.
        estimator: ``Bound.label`` of the recipe (the method's registered name, unless the recipe differs from its
            defaults), or "combined": what all methods together prove at the point.
        certificate, status: values of ``Certificate`` and ``Status``.
        lower, upper: the interval; upper is inf when nothing was proved.
        seconds: that the estimator took at this point, of wall-clock time.
        functional: the functional at this point, in words.
        question, fingerprint: ``LocalLipschitz.describe()``; hash of the audited weights and structure.
        correct, margin: whether the network classifies the point rightly, and its smallest logit margin, rounded down.
        attacked: whether a search by gradients found a point of the region with another class; None where none was made.
        penalised: whether this estimator is the bound that the penalty of the run lowers.
        proof, detail: what proves the upper end, how it came about.
        estimate: a number for methods that prove neither end.
        witness: the point that attains the lower end, flattened.
        versions: of the software that proved it.
        subject: hash of the network and the reference point.
        engine: what did the arithmetic, with its version; empty for "combined", which joins several.
        tolerances: inside the proof, by name; for "combined" the relative gap at which the two ends count as one.
        asked: the budget in seconds, the estimators, and this one's seed and pre-activation methods.
        families: proved upper bounds of the families of functionals one by one, where a search has them.
        resumed: whether this estimator started from what an earlier audit had saved.
        recipe: ``Bound.describe()`` of what was evaluated, with proved norms; empty for "combined".
        run_id, step: ``RunRecord.id`` of its run; training steps taken by the audited weights, as in ``EpochRecord``.
        weights: "training", those that the optimizer steps; "averaged", by a callback, or "replaced", those left at the end.
        reference, certificate_file: hash of the reference point; name of a file for ``lipreg check``; empty where not known.
        outside: how far the user's point lay outside of the region, which is around the nearest point inside.
        predicted, witness_class: the class that the network, evaluated in float64, gives the reference point and the
            witness; None where no class is at stake, or there is no witness.
        kind: the kind of the record, in files.
    """

    kind: ClassVar[str] = "audit"
    run: str
    epoch: int
    point: int
    label: int
    estimator: str
    certificate: str
    status: str
    lower: float
    upper: float
    seconds: float
    functional: str
    question: dict[str, Any]
    fingerprint: str
    correct: bool | None = None
    margin: float | None = None
    attacked: bool | None = None
    penalised: bool = False
    proof: str = ""
    detail: str = ""
    estimate: float | None = None
    witness: list[float] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    subject: str = ""
    engine: str = ""
    tolerances: dict[str, float] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)
    families: list[float] = field(default_factory=list)
    resumed: bool = False
    run_id: str = ""
    recipe: dict[str, Any] = field(default_factory=dict)
    step: int | None = None
    weights: str = TRAINING
    reference: str = ""
    certificate_file: str = ""
    outside: float = 0.0
    predicted: int | None = None
    witness_class: int | None = None

    @property
    def is_exact(self) -> bool:
        """Whether both ends are proved and meet."""
        return self.certificate == Certificate.EXACT


@dataclass(frozen=True)
class CalibrationRecord:
    """What one unit of a network's output means, by points that are not audited: see ``lipreg.calibration``.

    Attributes:
        run, run_id, epoch, step, weights: as in ``AuditRecord``.
        fingerprint: hash of the weights and structure that were calibrated.
        task: "classes" (softmax), "labels" (a sigmoid each) or "values" (regression); empty where there was nothing to
            calibrate with.
        points: how many there were.
        reference: hash of these points and their targets; calibrations are compared only where it is the same.
        factor: what a constant is multiplied by. For classes and labels the number T for which T * logits has the smallest
            mean negative log-likelihood (NLL); for values input_scale / target_scale. None where it is undefined.
        error: the relative standard error of the factor that so many points leave; 0 for values.
        influences: by how much each point moves the logarithm of the factor; of two networks and the same points, their
            differences give the standard error of the ratio of the factors. Empty for values.
        why: why the factor is undefined; empty where it is not.
        accuracy: share of the points (for labels, of the labels) that are predicted rightly; None for values.
        loss, loss_error: mean NLL of T * logits and its standard error; for values the mean squared error over the targets'
            variance. None where the factor is undefined.
        raw_loss: the same of the logits as they are.
        input_scale: |s|_p, s the standard deviations of the inputs' coordinates; for values alone.
        target_scale: |t|_q, t those of the targets; for values alone.
        kind: the kind of the record, in files.
    """

    kind: ClassVar[str] = "calibration"
    run: str
    epoch: int
    fingerprint: str
    task: str = ""
    points: int = 0
    reference: str = ""
    factor: float | None = None
    error: float = 0.0
    why: str = ""
    accuracy: float | None = None
    loss: float | None = None
    loss_error: float | None = None
    raw_loss: float | None = None
    input_scale: float | None = None
    target_scale: float | None = None
    run_id: str = ""
    step: int | None = None
    weights: str = TRAINING
    influences: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class DerivativeRecord:
    """The range of one derivative about one reference point: see ``lipreg.derivatives``.

    Attributes:
        run, run_id, epoch: as in ``AuditRecord``.
        range: ``DerivativeRange.plain()``.
        versions: of the software that proved it.
        kind: the kind of the record, in files.
    """

    kind: ClassVar[str] = "derivative"
    run: str
    epoch: int
    range: dict[str, Any]
    run_id: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def derivative_range(self) -> DerivativeRange:
        """The range itself."""
        return DerivativeRange.of_plain(self.range)


Record = RunRecord | EpochRecord | PointRecord | AuditRecord | CalibrationRecord | DerivativeRecord | PopulationRecord
"""Whatever a line of a record file may hold."""


def field_names(kind: type[Record]) -> list[str]:
    """The names of a kind's fields, which are the columns of a table of records."""
    return [f.name for f in fields(kind)]
