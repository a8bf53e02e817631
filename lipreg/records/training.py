"""The records of a training: its run, and what it logged of its epochs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from lipreg.invocation import command, commit


def started_now() -> str:
    """``RunRecord.started`` of a part that begins now: to the microsecond, as a short run is begun twice within a second."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True)
class RunRecord:
    """One training run, or a network that is audited without one.

    Attributes:
        run: its name; a label, which another run may have too.
        twin: name of the run it is compared with, meant to be the same training with weight 0; None for a twin.
        seed: of the training; None where it is not known.
        bound: the estimator that the penalty lowers, or that the run is compared with; None without a penalty.
        weight: the penalty's weight.
        question: ``LocalLipschitz.describe()`` of penalty and audit.
        sentence: the question in words.
        settings: everything else worth keeping, plain data (the composed configuration).
        id: of the fit that wrote it; a resumed fit has the id of the one it goes on from, any other has its own.
        recipe: ``Bound.describe()`` of that bound; empty without a penalty.
        twin_id: ``id`` of the twin, where its records were there when the run began.
        start_epoch: completed epochs when this part began: 0, or its checkpoint's; what was recorded of later ones is void.
        started: when this part began, UTC, ISO 8601 (``started_now``); two parts of a run differ in it.
        process: the process that wrote it, as "pid 123 on host".
        versions: of the software that trained.
        metric: name of the logged metric that reports show beside the constants; empty takes what fits.
        penalty: what was penalised and how: "quantity" (its name), its "certificate" and "options", "penalty", "schedule",
            "weight" as used (None until "auto" has determined it), "points", "every"; "beside", those of other regularizers.
            Empty without a penalty. Where the quantity is not the bound, the run is compared with the bound.
        command: what was run, with its arguments; paths as they were typed, secrets hidden (``lipreg.invocation``).
        commit: of the repository that the program lies in; empty where there is none.
        changed: whether files of that repository had been changed since; None where that is not known.
        of_training: False for a network without a recorded training; the epoch of its records has no meaning.
        kind: the kind of the record, in files.
    """

    kind: ClassVar[str] = "run"
    run: str
    twin: str | None = None
    seed: int | None = None
    bound: str | None = None
    weight: float = 0.0
    question: dict[str, Any] = field(default_factory=dict)
    sentence: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    id: str = ""
    recipe: dict[str, Any] = field(default_factory=dict)
    twin_id: str = ""
    start_epoch: int = 0
    started: str = ""
    process: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    metric: str = ""
    penalty: dict[str, Any] = field(default_factory=dict)
    of_training: bool = True
    command: str = ""
    commit: str = ""
    changed: bool | None = None

    @property
    def run_id(self) -> str:
        """The ``id``, by the name that it has in the other records."""
        return self.id

    def invoked(self) -> RunRecord:
        """The record with the command of this process and the commit of its program."""
        name, changed = commit()
        return replace(self, command=command(), commit=name, changed=changed)


@dataclass(frozen=True)
class NewerRun(RunRecord):
    """A run whose record a newer lipreg has written: name and id can be read, its penalty and its other settings cannot.

    It takes the place of that line when a file is read, and is never written; its other fields come from earlier records of
    the same run.
    """


@dataclass(frozen=True)
class EpochRecord:
    """What training itself logged after ``epoch`` completed epochs, such as the validation accuracy.

    Attributes:
        run, run_id: label and ``RunRecord.id`` of its run.
        epoch: completed epochs.
        metrics: the logged values by name; finite.
        step: training steps taken by then, as Lightning's loggers count; their row of that moment has epoch - 1, step - 1.
        kind: the kind of the record, in files.
    """

    kind: ClassVar[str] = "epoch"
    run: str
    epoch: int
    metrics: dict[str, float] = field(default_factory=dict)
    run_id: str = ""
    step: int | None = None
