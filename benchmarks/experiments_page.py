"""The table of the experiments to begin with: python -m benchmarks.experiments_page DIR

DIR holds the runs of ``python -m experiments.train experiment=NAME hydra.run.dir=DIR/NAME`` with every name of ``NAMES``;
MNIST and CIFAR-10 lie in LIPREG_DATA (CONTRIBUTING.md). One row a run is written to benchmarks/results/experiments.json, and
the table of docs/experiments.md from these; ``python -m benchmarks.experiments_page page`` makes the table again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.environment import markdown, read_result, write_result, write_tables
from lipreg.records import read_records
from lipreg.reporting.wording import MISSING, between, measured, nearest, percent_between
from lipreg.transfer import compare_pair, find_pair

PAGE = Path(__file__).resolve().parents[1] / "docs" / "experiments.md"
NAMES = ("l2_digits", "mnist_lenet", "cifar_cnn", "regression")
TWIN = "twin's "


def row(folder: Path, name: str) -> dict[str, Any]:
    """What a run of the experiment showed, beside its twin; figures of one point are means over them, of bounds outwards."""
    figures = compare_pair(find_pair(read_records(folder / name / "records.jsonl"), "regularised"))
    found: dict[str, Any] = {"experiment": name, "points": len(figures.regularised.points)}
    for of, side in (("", figures.regularised), (TWIN, figures.twin)):
        found[f"{of}accuracy, or squared error"] = measured(figures.metric, side.metric)
        found[f"{of}constant"] = between(side.combined)
        found[f"{of}certified"] = MISSING if side.certified is None else percent_between(side.certified)
    moved = figures.calibrated.movement
    found["calibrated `affine_relu` / twin's"] = nearest(moved.bound)
    found["calibrated constant / twin's"] = between(moved.combined)
    found["constant / twin's"] = between(figures.movement.combined)
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """The table of the page."""
    shown = []
    for row in rows:
        line = {"": f"`{row['experiment']}`"}
        for name in ("accuracy, or squared error", "constant", "certified"):
            line[f"{name}; twin's"] = f"{row[name]}; {row[TWIN + name]}"
        shown.append(line | {name: row[name] for name in row if name.endswith("/ twin's")})
    return markdown(shown)


def main(arguments: list[str]) -> None:
    if arguments != ["page"]:
        folder = Path(arguments[0])
        missing = [name for name in NAMES if not (folder / name / "records.jsonl").is_file()]
        if missing:
            absent = ", ".join(str(folder / name) for name in missing)
            runs = "; ".join(f"python -m experiments.train experiment={n} hydra.run.dir={folder / n}" for n in missing)
            raise SystemExit(
                f"The table needs all of {', '.join(NAMES)}. There is no records.jsonl in {absent}. Run {runs}"
            )
        write_result("experiments", [row(folder, name) for name in NAMES])
    write_tables(PAGE, {"experiments": table(read_result("experiments"))})


if __name__ == "__main__":
    main(sys.argv[1:])
