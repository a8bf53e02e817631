"""What is saved of a training: which run it is, and what it reported of its epochs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from lipreg.invocation import command, commit


@dataclass(frozen=True)
class RunRecord:
    """One training run, or a network that is audited without one.

    Attributes:
        run: its name; a label, which another run may have too.
        twin: name of the run it is compared with, meant to be the same training with weight 0; None for a twin.
        bound: the estimator that the penalty lowers, or that it is held against; None without a penalty.
        weight: the penalty's weight.
        question: ``LocalLipschitz.describe()`` of penalty and audit.
        sentence: the question in words.
        settings: everything else worth keeping, plain data (the composed configuration).
        id: of the fit that wrote it; a resumed fit has the id of the one it goes on from, any other has its own.
        recipe: ``Bound.describe()`` of that bound; empty without a penalty.
        twin_id: ``id`` of the twin, where it was known when the run began.
        start_epoch: completed epochs when this part began: 0, or its checkpoint's; what was recorded of later ones is void.
        started: when this part began, UTC, ISO 8601.
        process: the process that wrote it, as "pid 123 on host".
        versions: of the software that trained.
        metric: name of the logged metric that reports show beside the constants; empty takes what fits.
        penalty: what was penalised and how: "quantity" (its name), its "certificate" and "options", "penalty", "schedule",
            "weight" as used (None until "auto" has found it), "points", "every"; "beside", those of other regularizers.
            Empty without a penalty. Where the quantity is not the bound, that is the one that the run is held against.
        command: what was run, with its arguments; paths as they were typed, secrets hidden (``lipreg.invocation``).
        commit: of the repository that the program lies in; empty where there is none.
        changed: whether files of that repository had been changed since; None where that is not known.
        of_training: False for a network of which nothing is known but its weights; the epoch of its records says nothing.
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
        """``id``, by the name that it has in the other records."""
        return self.id

    def invoked(self) -> RunRecord:
        """With the command of this process and the commit of its program."""
        name, changed = commit()
        return replace(self, command=command(), commit=name, changed=changed)


@dataclass(frozen=True)
class NewerRun(RunRecord):
    """A run whose record a newer lipreg has written: name and id can be read, its penalty and its other settings cannot.

    It stands where that line stands, is never written, and what other fields hold is from earlier records of the same run.
    """


@dataclass(frozen=True)
class EpochRecord:
    """What training itself reported after ``epoch`` completed epochs, such as the validation accuracy.

    Attributes:
        run_id: ``RunRecord.id`` of its run.
        step: training steps taken by then, as Lightning's loggers count; their row of that moment has epoch - 1, step - 1.
    """

    kind: ClassVar[str] = "epoch"
    run: str
    epoch: int
    metrics: dict[str, float] = field(default_factory=dict)
    run_id: str = ""
    step: int | None = None
