"""What a reader gets of a comparison: tables on the console, files and figures in its folder, tables on W&B."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import wandb
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from experiments.estimators.tightness import cell_frame, summary_frame
from experiments.estimators.tightness_figures import growth_figure, radius_figure, seconds_figure
from experiments.estimators.tightness_tables import question_tables, wandb_table
from lipreg.errors import InvalidInput
from lipreg.extras import require
from lipreg.records import Record
from lipreg.reporting.svg import save

WRITERS = {"csv": pd.DataFrame.to_csv, "parquet": pd.DataFrame.to_parquet}


def check_outputs(cfg: DictConfig) -> None:
    """Refuses, before any work, what cannot be written.

    Raises:
        InvalidInput: an unknown kind of file, or a logger that has no tables.
        MissingExtra: Parquet without pyarrow.
    """
    for kind in cfg.tables:
        if kind not in WRITERS:
            raise InvalidInput(f"{kind!r}", where="tables", accepted=", ".join(WRITERS))
    if "parquet" in cfg.tables:
        require("parquet", "pyarrow", where="tables", otherwise="take tables=[csv]")
    if cfg.logger.get("_target_") is not None and not cfg.logger["_target_"].endswith("WandbLogger"):
        raise InvalidInput(
            f"{cfg.logger['_target_']}",
            where="logger",
            accepted="none, wandb or wandb_offline; CSV files are by tables=",
        )


def write_views(records: list[Record], cfg: DictConfig, console: Console) -> pd.DataFrame:
    """Prints the tables, writes tables and figures to ``cfg.folder``, and logs the rows where a logger is asked for.

    Returns:
        The summary, one row for each network, question and estimator.
    """
    folder = Path(cfg.folder)
    cells, summary = cell_frame(records), summary_frame(records)
    tables = question_tables(summary)
    for table in tables:
        console.print(table.rich())
    written = [folder / "tables.md", *_write_frames({"cells": cells, "summary": summary}, cfg.tables, folder)]
    written[0].write_text("\n".join(f"## {t.title}\n\n{t.markdown()}\n" for t in tables), encoding="utf-8")
    figures = dict(_figures(summary, cfg.axis, folder))
    for path, figure in figures.items():
        written.append(save(figure, path))
    for path in written:
        console.print(Text(f"  {path}"), soft_wrap=True)
    _log(cells, summary, list(figures), cfg)
    return summary


def _write_frames(frames: dict[str, pd.DataFrame], kinds: list[str], folder: Path) -> Iterator[Path]:
    for kind in kinds:
        for name, frame in frames.items():
            path = folder / f"{name}.{kind}"
            WRITERS[kind](frame, path, index=False)
            yield path


def _figures(summary: pd.DataFrame, axis: str | None, folder: Path) -> Iterator[tuple[Path, Any]]:
    """Bounds against radius and tightness against seconds for each network, or tightness against their size."""
    radii = sorted(summary["radius"].unique())
    middle = radii[len(radii) // 2]
    if axis is not None:
        yield folder / "growth.png", growth_figure(summary, axis, middle)
        return
    for network in summary["network"].unique():
        if len(radii) > 1:
            yield folder / f"radius_{network}.png", radius_figure(summary, network)
        yield folder / f"seconds_{network}.png", seconds_figure(summary, network, middle)


def _log(cells: pd.DataFrame, summary: pd.DataFrame, figures: list[Path], cfg: DictConfig) -> None:
    if cfg.logger.get("_target_") is None:
        return
    os.environ.setdefault("WANDB_SILENT", "true")
    logger = instantiate(cfg.logger, save_dir=str(cfg.folder), name=f"estimators, {Path(cfg.folder).name}")
    vars(logger).get("_wandb_init", {}).pop("anonymous", None)  # Lightning sends what W&B warns about
    try:
        content = {"estimators/cells": wandb_table(cells), "estimators/summary": wandb_table(summary)}
        images = {f"estimators/{path.stem}": wandb.Image(str(path)) for path in figures}
        logger.experiment.log({**content, **images})
    finally:
        wandb.finish()  # a second comparison of this process would become part of this run
