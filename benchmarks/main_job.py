"""The table of a sweep of the main job: python -m benchmarks.main_job DIR [NAME]

DIR holds the runs of, for instance,

    python -m experiments.train -m seed=0,1,2 regularizer.weight=0.0001,0.001,0.01,0.1 hydra.sweep.dir=DIR

One row a run, written to benchmarks/results/NAME.json ("main_job") and printed as a Markdown table.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from benchmarks.environment import markdown, write_result
from lipreg.records import read_records
from lipreg.reporting.wording import between, ends, nearest, percent, share_between
from lipreg.transfer import compare_pair, find_pair


def rows(folder: Path) -> list[dict[str, Any]]:
    """One row for each record file below a folder, by weight and seed."""
    found = []
    for path in folder.rglob("records.jsonl"):
        records = read_records(path)
        config = OmegaConf.load(path.parent / ".hydra" / "config.yaml")
        pair = find_pair(records, "regularised")
        run, figures = pair.mine.run.record, compare_pair(pair)
        mine, twin = figures.regularised, figures.twin
        found.append(
            {
                "weight": run.weight,
                "every": OmegaConf.select(config, "regularizer.every", default=1),
                "seed": run.seed,
                "accuracy": percent(mine.metric),
                "twin's accuracy": percent(twin.metric),
                "bound": nearest(mine.bound),
                "twin's bound": nearest(twin.bound),
                "exact": ends(mine.exact),
                "twin's exact": ends(twin.exact),
                "movement of the bound": nearest(figures.movement.bound),
                "movement of the truth": between(figures.movement.exact),
                "transfer": share_between(figures.movement.transfer),
            }
        )
    return sorted(found, key=lambda row: (row["weight"], row["every"], row["seed"]))


if __name__ == "__main__":
    table = rows(Path(sys.argv[1]))
    print(markdown(table))
    print(f"written to {write_result(*(sys.argv[2:] or ['main_job']), table)}")
