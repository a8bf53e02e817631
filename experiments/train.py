"""The main job: train with a penalty on a Lipschitz bound, train the twin without, audit both, and compare.

python -m experiments.train
python -m experiments.train regularizer.weight=0.002 seed=1
python -m experiments.train -m sweep=weights seed=0,1,2 regularizer.weight=0.001,0.01,0.1 launcher=joblib
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
import wandb
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import WandbLogger
from rich.console import Console

from experiments.programs import quiet_libraries
from experiments.progress import RunProgress
from experiments.regularizers import Baseline
from experiments.sweeps import carry_out
from lipreg.callbacks import LipschitzAudit, LipschitzRegularizer
from lipreg.errors import InvalidInput
from lipreg.estimators import Bound
from lipreg.plain import alike
from lipreg.problem import LocalLipschitz
from lipreg.records import RecordFile, RunRecord, read_records
from lipreg.reporting.figures import trajectory_figure
from lipreg.reporting.html import write_report
from lipreg.reporting.panels import log_report
from lipreg.reporting.svg import save
from lipreg.reporting.tables import comparison_table
from lipreg.training import Auto
from lipreg.transfer import Comparison, compare

REGULARISED, TWIN = "regularised", "twin"


def train_pair(cfg: DictConfig, folder: Path, console: Console) -> Comparison:
    """Trains and audits the regularised run and its twin, and writes everything to ``folder``.

    Returns:
        The comparison at the last audited epoch.
    """
    problem: LocalLipschitz = instantiate(cfg.problem)
    console.print(f"[bold]Question:[/] {problem.sentence()}", highlight=False)
    path = folder / "records.jsonl"
    runs = _runs(cfg, problem)
    done = _take_up(path, runs)
    for run in reversed(runs):  # the twin first: the regularised run's audits are compared with it as they come
        if run.run in done:
            console.print(f"{run.run}: finished before, {_short(path)}", highlight=False, soft_wrap=True)
        else:
            _train(cfg, problem, run, folder, console)
    return compare(read_records(path), REGULARISED)


def _runs(cfg: DictConfig, problem: LocalLipschitz) -> list[RunRecord]:
    """What is recorded of the two runs before they begin."""
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    settings = {key: value for key, value in settings.items() if key not in ("sweep", "limits")}  # change no result
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


def _take_up(path: Path, runs: list[RunRecord]) -> set[str]:
    """Starts the record file, or takes up that of an earlier attempt: the names of the runs that need not be done again.

    A run is done when its checkpoint is there, which is written last. Of a run that was cut short the records are moved to
    ``interrupted``; it is trained again from its seed.
    """
    earlier = read_records(path) if path.exists() and path.stat().st_size > 0 else []
    begun = [record for record in earlier if isinstance(record, RunRecord)]
    if earlier and not alike([_compared(r) for r in begun], [_compared(r) for r in reversed(runs)][: len(begun)]):
        raise InvalidInput(
            f"{_short(path.parent)} holds the records of another run",
            where="run folder",
            todo="Remove it, or choose another with hydra.run.dir=... (for a sweep, another name with sweep=...)",
        )
    done = {run.run for run in runs if begun and (path.parent / f"{run.run}.ckpt").exists()}
    kept = [record for record in earlier if record.run in done]
    if len(earlier) > len(kept):
        path.replace(path.with_suffix(".interrupted"))
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    records = RecordFile(draft)
    for record in kept:
        records.append(record)
    draft.replace(path)
    return done


def _compared(record: RunRecord) -> dict[str, Any]:
    """What two attempts at one run have in common."""
    return {
        key: getattr(record, key)
        for key in ("run", "twin", "seed", "bound", "question", "sentence", "settings")  # these hold the weight, too
    }


def _train(cfg: DictConfig, problem: LocalLipschitz, about: RunRecord, folder: Path, console: Console) -> None:
    """One run; its twin differs in the weight alone."""
    run, weight = about.run, cfg.regularizer.weight if about.twin else 0.0
    pl.seed_everything(cfg.seed, verbose=False)
    data = instantiate(cfg.data)
    model = instantiate(cfg.model)
    # objects are passed to partial calls: Hydra would turn the problem, a dataclass, into a configuration node
    regularizer: LipschitzRegularizer | Baseline = _partial(cfg.regularizer)(problem=problem, weight=weight)
    audit: LipschitzAudit = _partial(cfg.audit)(
        problem=problem, folder=str(folder), run=run, twin=TWIN if run == REGULARISED else None
    )
    audit.about = about
    logger = _logger(cfg, run, folder)
    if logger is not None:
        settings: Any = OmegaConf.to_container(cfg, resolve=True)
        logger.log_hyperparams({**settings, "run": run, "weight": weight, "bound": str(regularizer.bound)})
    trainer: pl.Trainer = _partial(cfg.trainer)(
        logger=logger or False,
        callbacks=[RunProgress(run, console), regularizer, audit],
        default_root_dir=str(folder),
    )
    try:
        trainer.fit(model, datamodule=data)
        trainer.save_checkpoint(folder / f"{run}.ckpt")
        if isinstance(logger, WandbLogger) and run == REGULARISED:
            log_report(logger.experiment, _report(folder))
    finally:
        if isinstance(logger, WandbLogger):
            wandb.finish()  # several runs in one process would otherwise become one


def _logger(cfg: DictConfig, run: str, folder: Path) -> Any:
    if cfg.logger.get("_target_") is None:
        return None
    names = {"name": f"{run}, seed {cfg.seed}"}
    if cfg.logger["_target_"].endswith("WandbLogger"):
        names |= {"group": folder.name}
        os.environ.setdefault("WANDB_SILENT", "true")
    logger = _partial(cfg.logger)(save_dir=str(folder), **names)
    # Lightning still sends W&B a setting that W&B warns about
    vars(logger).get("_wandb_init", {}).pop("anonymous", None)
    return logger


def _partial(group: DictConfig) -> Callable[..., Any]:
    return instantiate(group, _partial_=True, _convert_="all")


def write_views(comparison: Comparison, folder: Path, console: Console) -> None:
    """Prints the table, and writes the figure and the report; all from the records."""
    records = read_records(folder / "records.jsonl")
    figure = save(trajectory_figure(records, REGULARISED), folder / "trajectory.png")
    report = _report(folder)
    console.print(comparison_table(comparison))
    written = {
        "report": report,
        "figure": figure,
        "records": folder / "records.jsonl",
        "checkpoint": folder / f"{REGULARISED}.ckpt",
        "twin's checkpoint": folder / f"{TWIN}.ckpt",
        "W&B offline runs": folder / "wandb" if (folder / "wandb").is_dir() else None,
    }
    for name, path in written.items():
        if path is not None:
            console.print(f"  {name:<19}{_short(path)}", highlight=False, soft_wrap=True)


def _report(folder: Path) -> Path:
    return write_report(read_records(folder / "records.jsonl"), folder / "report.html", REGULARISED)


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


@hydra.main(config_path="../conf", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> float:
    """Returns the regularised run's mean exact constant (its upper end), for sweepers that minimise."""
    quiet_libraries()
    hydra_config = HydraConfig.get()
    # the bars of several jobs at the same time would write over each other
    alone = hydra_config.mode != RunMode.MULTIRUN or hydra_config.runtime.choices["hydra/launcher"] == "basic"
    console = Console() if alone else Console(force_terminal=False)
    folder = Path(hydra_config.runtime.output_dir)

    def job() -> float:
        comparison = train_pair(cfg, folder, console)
        write_views(comparison, folder, console)
        return comparison.regularised.exact.upper

    return carry_out(job, folder, console, cfg.limits, str(_short(folder / "records.jsonl")))


if __name__ == "__main__":
    main()
