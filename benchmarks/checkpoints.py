"""What checkpoints of the main job cost: python -m benchmarks.checkpoints

Trainings of the main job's network with its penalty, no audits, with a checkpoint after every so many epochs and without,
turn by turn in one process. One row a distance is written to benchmarks/results/checkpoints.json, and the table of
docs/sweeps.md is made of them; ``python -m benchmarks.checkpoints page`` makes the table alone.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from benchmarks.environment import markdown, read_result, write_result, write_tables
from experiments.choices import build
from experiments.parts import parts, question
from experiments.programs import quiet_libraries
from experiments.survival import Course, LastCheckpoint, keep_whole, last_checkpoint

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "sweeps.md"
NAME, RUN = "checkpoints", "run"
EPOCHS, TURNS = 20, 7
EVERY = (None, 5, 1)
"""Epochs from one checkpoint to the next; None makes none."""


def one(cfg: DictConfig, every: int | None, folder: Path) -> tuple[float, int]:
    """Seconds of the processor that a training takes, and the bytes of its last checkpoint."""
    made = parts(cfg, question(cfg), cfg.regularizer.weight, folder=str(folder), run=RUN)
    kept = [] if every is None else [LastCheckpoint(folder, RUN, every)]
    trainer: pl.Trainer = build(
        cfg.trainer,
        "trainer",
        logger=False,
        enable_checkpointing=bool(kept),
        callbacks=[made.regularizer, Course(), *kept],
        default_root_dir=str(folder),
    )
    keep_whole(trainer)
    began = time.process_time()
    trainer.fit(made.model, datamodule=made.data)
    taken = time.process_time() - began
    path = last_checkpoint(folder, RUN)
    size = path.stat().st_size if path.exists() else 0
    path.unlink(missing_ok=True)
    return taken, size


def rows() -> list[dict[str, Any]]:
    """The medians of all turns."""
    quiet_libraries()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", overrides=[f"trainer.max_epochs={EPOCHS}"])
    with tempfile.TemporaryDirectory() as folder:
        one(cfg, None, Path(folder))  # what is loaded at the first training counts for none
        turns = [[one(cfg, every, Path(folder)) for every in EVERY] for _ in range(TURNS)]
    found = []
    for i, every in enumerate(EVERY):
        ratios = [turn[i][0] / turn[0][0] for turn in turns]
        row = {"every": every, "seconds": round(statistics.median(turn[i][0] for turn in turns), 3)}
        found.append(row | {"ratio": round(statistics.median(ratios), 3), "bytes": turns[0][i][1]})
    return found


def table(found: list[dict[str, Any]]) -> str:
    """The table of the page."""
    shown = [
        {
            "`checkpoint.every_n_epochs`": row["every"] or "null",
            "processor seconds": f"{row['seconds']:.2f}",
            "of those without, median within a turn": f"{row['ratio']:.2f}",
            "size of one": f"{row['bytes'] / 1024:.0f} KiB" if row["bytes"] else "",
        }
        for row in found
    ]
    return markdown(shown)


if __name__ == "__main__":
    if sys.argv[1:] != ["page"]:
        write_result(NAME, rows())
    write_tables(PAGE, {NAME: table(read_result(NAME))})
