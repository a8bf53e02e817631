"""The main job: train with a penalty on a Lipschitz bound, train the twin without, audit both, and compare.

python -m experiments.train
python -m experiments.train regularizer.weight=0.002 seed=1
python -m experiments.train -m sweep=weights seed=0,1,2 regularizer.weight=0.0001,0.001,0.01 launcher=joblib
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
import wandb
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from rich.console import Console

from experiments.attempts import REGULARISED, TWIN, described, short, take_up
from experiments.choices import build
from experiments.parts import check_values, logger_of, parts, question
from experiments.programs import quiet_libraries, start
from experiments.progress import RunProgress
from experiments.rehearsal import rehearse
from experiments.survival import Course, LastCheckpoint, end_spawned, keep_whole, last_checkpoint, resumable
from experiments.sweeps import carry_out
from lipreg.problem import LocalLipschitz
from lipreg.records import RunRecord, read_records
from lipreg.reporting.figures import trajectory_figure
from lipreg.reporting.html import write_report
from lipreg.reporting.panels import log_report
from lipreg.reporting.svg import save
from lipreg.reporting.tables import comparison_table
from lipreg.transfer import Comparison, compare


def train_pair(cfg: DictConfig, folder: Path, console: Console) -> Comparison:
    """Trains and audits the regularised run and its twin, and writes everything to ``folder``.

    What a job needs is made and tried before the first of them is trained. One that was cut short goes on.

    Returns:
        The comparison at the last audited epoch.
    """
    check_values(cfg)
    problem = question(cfg)
    console.print(f"[bold]Question:[/] {problem.sentence()}", highlight=False)
    path = folder / "records.jsonl"
    runs, done = take_up(path, described(cfg, problem))
    if len(done) < len(runs):
        rehearse(cfg, problem, folder)
    for run in reversed(runs):  # the twin first: the regularised run's audits are compared with it as they come
        if run.run in done:
            console.print(f"{run.run}: finished before, {short(path)}", highlight=False, soft_wrap=True)
        else:
            _train(cfg, problem, run, folder, console)
    return compare(read_records(path), REGULARISED)


def _train(cfg: DictConfig, problem: LocalLipschitz, about: RunRecord, folder: Path, console: Console) -> None:
    """One run, from its last checkpoint on where there is one; its twin differs in the weight alone."""
    run, weight = about.run, cfg.regularizer.weight if about.twin else 0.0
    begun, logged = resumable(folder, run, console) if about.id else (None, "")
    made = parts(cfg, problem, weight, folder=str(folder), run=run, twin=about.twin)
    made.audit.about = about
    logger = logger_of(cfg, run, folder, logged)
    if logger is not None:
        settings: Any = OmegaConf.to_container(cfg, resolve=True)
        settings["regularizer"]["weight"] = weight
        told = {**settings, "run": run, "weight": weight, "bound": str(made.regularizer.bound)}
        if isinstance(logger, TensorBoardLogger):  # its page HPARAMS takes one word on them, which the audit says
            logger.hparams.update(told)
        else:
            logger.log_hyperparams(told)
    every = cfg.checkpoint.every_n_epochs
    course = Course(str(logger.version) if isinstance(logger, WandbLogger) else "")
    kept = [] if every is None else [LastCheckpoint(folder, run, every)]
    trainer: pl.Trainer = build(
        cfg.trainer,
        "trainer",
        logger=logger or False,
        enable_checkpointing=bool(kept),
        callbacks=[RunProgress(run, console), made.regularizer, made.audit, course, *kept],
        default_root_dir=str(folder),
    )
    keep_whole(trainer)
    if begun is not None:
        console.print(f"{run}: goes on from {short(begun)}", highlight=False, soft_wrap=True)
    try:
        trainer.fit(made.model, datamodule=made.data, ckpt_path=begun, weights_only=True)
        trainer.save_checkpoint(folder / f"{run}.ckpt")
        last_checkpoint(folder, run).unlink(missing_ok=True)
        if isinstance(logger, WandbLogger) and run == REGULARISED:
            log_report(logger.experiment, _report(folder))
    except (KeyboardInterrupt, SystemExit):
        end_spawned(trainer)
        raise
    finally:
        if isinstance(logger, WandbLogger):
            wandb.finish()  # several runs in one process would otherwise become one


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
            console.print(f"  {name:<19}{short(path)}", highlight=False, soft_wrap=True)


def _report(folder: Path) -> Path:
    return write_report(read_records(folder / "records.jsonl"), folder / "report.html", REGULARISED)


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
        return comparison.regularised.combined.upper

    return carry_out(job, folder, console, cfg.limits, str(short(folder / "records.jsonl")))


if __name__ == "__main__":
    start(main, "train")
