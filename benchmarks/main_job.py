"""The table of a sweep of the main job: python -m benchmarks.main_job DIR [NAME]

DIR holds the runs of, for instance,

    python -m experiments.train -m seed=0,1,2 regularizer.weight=0.0001,0.001,0.01,0.1 hydra.sweep.dir=DIR

One row a run is written to benchmarks/results/NAME.json ("main_job"); printed are the columns of docs/main_job.md, what
rescaling does not move first. ``python -m benchmarks.main_job - NAME`` prints those of a file that is there, and
``python -m benchmarks.main_job page`` puts all three tables into the page again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from benchmarks.environment import markdown, read_result, write_result, write_tables
from lipreg.records import read_records
from lipreg.reporting.wording import between, ends, nearest, percent, share_between
from lipreg.transfer import compare_pair, find_pair

PAGE = Path(__file__).resolve().parents[1] / "docs" / "main_job.md"
TABLES = ("main_job", "main_job_jacobian", "main_job_every")
"""Names of the results, and of their marks in the page."""
SHOWN = (
    "penalty",
    "weight",
    "every",
    "seed",
    "accuracy",
    "twin's accuracy",
    "margin over constant",
    "twin's margin over constant",
    "calibrated truth / twin's",
    "calibrated bound / twin's",
    "calibrated transfer",
    "truth / twin's",
    "bound / twin's",
    "transfer",
)
"""What is printed; files have more."""


def rows(folder: Path) -> list[dict[str, Any]]:
    """One row for each record file below a folder, by weight and seed."""
    found = []
    for path in folder.rglob("records.jsonl"):
        records = read_records(path)
        config = OmegaConf.load(path.parent / ".hydra" / "config.yaml")
        pair = find_pair(records, "regularised")
        run, figures = pair.regularised.run.record, compare_pair(pair)
        mine, twin, scale_free = figures.regularised, figures.twin, figures.calibrated
        found.append(
            {
                "penalty": run.penalty.get("quantity", run.bound),
                "weight": run.weight,
                "every": OmegaConf.select(config, "regularizer.every", default=1),
                "seed": run.seed,
                "accuracy": percent(mine.metric),
                "twin's accuracy": percent(twin.metric),
                "margin over constant": between(mine.margin_over_constant),
                "twin's margin over constant": between(twin.margin_over_constant),
                "calibrated truth / twin's": between(scale_free.movement.combined),
                "calibrated bound / twin's": nearest(scale_free.movement.bound),
                "calibrated transfer": share_between(scale_free.movement.transfer),
                "noise of T": percent(scale_free.noise),
                "worse": "; ".join(scale_free.worse),
                "bound": nearest(mine.bound),
                "twin's bound": nearest(twin.bound),
                "combined": ends(mine.combined),
                "twin's combined": ends(twin.combined),
                "bound / twin's": nearest(figures.movement.bound),
                "truth / twin's": between(figures.movement.combined),
                "transfer": share_between(figures.movement.transfer),
            }
        )
    return sorted(found, key=lambda row: (row["penalty"], row["weight"], row["every"], row["seed"]))


def shown(found: list[dict[str, Any]]) -> str:
    """The columns of the page."""
    return markdown([{column: row[column] for column in SHOWN} for row in found])


def main(arguments: Sequence[str]) -> None:
    if arguments == ["page"]:
        write_tables(PAGE, {name: shown(read_result(name)) for name in TABLES})
        return
    name = (arguments[1:] or ["main_job"])[0]
    table = read_result(name) if arguments[0] == "-" else rows(Path(arguments[0]))
    print(shown(table))
    if arguments[0] != "-":
        print(f"written to {write_result(name, table)}")


if __name__ == "__main__":
    main(sys.argv[1:])
