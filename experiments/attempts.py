"""The record file of a job over all attempts at it: what it says of the two runs, and which of them are done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lipreg.errors import InvalidInput
from lipreg.estimators import Bound
from lipreg.plain import alike
from lipreg.problem import LocalLipschitz
from lipreg.records import RecordFile, RunRecord, read_records
from lipreg.training import Auto

REGULARISED, TWIN = "regularised", "twin"
_CHANGE_NOTHING = ("sweep", "limits", "checkpoint")
"""Keys of the configuration that no result depends on."""


def described(cfg: DictConfig, problem: LocalLipschitz) -> list[RunRecord]:
    """What is recorded of the two runs before they begin, the regularised one first."""
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    settings = {key: value for key, value in settings.items() if key not in _CHANGE_NOTHING}
    bound = Bound.of(cfg.regularizer.bound, "regularizer.bound")
    return [
        RunRecord(
            run=run,
            twin=twin,
            seed=cfg.seed,
            bound=bound.label,
            recipe=bound.describe() if twin else {},
            weight=Auto.of(cfg.regularizer.weight, "regularizer.weight")[0] if twin else 0.0,
            question=problem.describe(),
            sentence=problem.sentence(),
            settings=settings,
        )
        for run, twin in ((REGULARISED, TWIN), (TWIN, None))
    ]


def take_up(path: Path, runs: list[RunRecord]) -> tuple[list[RunRecord], set[str]]:
    """Starts the record file, or takes up that of an earlier attempt.

    A run is done when its checkpoint is there, which is written last. One that was cut short keeps its id, and its records
    count: what was proved of the same weights is not proved again.

    Args:
        path: the record file.
        runs: what is to be recorded of them.

    Returns:
        The runs, with the ids that they have had, and the names of those that are done.

    Raises:
        InvalidInput: the folder holds another job, or cannot be written.
    """
    earlier = read_records(path) if path.exists() and path.stat().st_size > 0 else []
    begun = {record.run: record for record in earlier if isinstance(record, RunRecord)}
    if earlier and not (begun and all(alike(_compared(begun[r.run]), _compared(r)) for r in runs if r.run in begun)):
        raise InvalidInput(
            f"{short(path.parent)} holds the records of another run",
            where="run folder",
            todo="Remove it, or choose another with hydra.run.dir=... (for a sweep, another name with sweep=...)",
        )
    RecordFile(path)
    done = {run for run in begun if (path.parent / f"{run}.ckpt").exists()}
    return [replace(run, id=begun[run.run].id) if run.run in begun else run for run in runs], done


def short(path: Path) -> Path:
    """As it is seen from the working directory, if it lies there."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _compared(record: RunRecord) -> dict[str, Any]:
    """What two attempts at one run have in common."""
    return {
        key: getattr(record, key)
        for key in ("run", "twin", "seed", "bound", "question", "sentence", "settings")  # these hold the weight, too
    }
