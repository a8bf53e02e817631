"""The picture and the table of README.md, of what `make train` really makes.

    make train ARGS="hydra.run.dir=runs/first"
    python -m benchmarks.first_page runs/first    # takes over its records, and makes picture and table
    python -m benchmarks.first_page               # makes them again from the committed records

The records that are kept, ``benchmarks/results/first_page.jsonl.gz``, are those of the run without witnesses and settings.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.environment import RESULTS, markdown, write_tables
from lipreg.graph import registry
from lipreg.records import (
    COMBINED,
    AuditRecord,
    CalibrationRecord,
    EpochRecord,
    Record,
    RunRecord,
    from_line,
    read_records,
    to_line,
)
from lipreg.reporting.figures import trajectory_figure
from lipreg.reporting.rows import comparison_blocks
from lipreg.transfer import compare_pair, find_pair

ROOT = Path(__file__).resolve().parents[1]
KEPT, PICTURE, PAGE = RESULTS / "first_page.jsonl.gz", ROOT / "docs" / "images" / "digits.png", ROOT / "README.md"
RUN = "regularised"
SHOWN = (
    "validation accuracy",
    "margin over constant (median)",
    "calibrated constant (T x combined)",
    "certified accuracy, by the combined interval",
    "combined [lower, upper]",
    "bound (affine_relu)",
)
"""Rows of the final table of a run that the first page shows."""
SMOOTH = frozenset(
    "CELU ELU GELU Hardswish LogSigmoid Mish SELU SiLU Sigmoid Softplus Softsign Tanh Tanhshrink".split()
)
"""Layers that are no sums of linear pieces."""
_PICTURED = ("affine_relu", "lp", "sampling", COMBINED)


def take_over(folder: Path) -> None:
    """Keeps what picture and table need of the records of a run."""
    kept = [to_line(_short(r)) for r in read_records(folder / "records.jsonl") if _wanted(r)]
    KEPT.write_bytes(gzip.compress("\n".join(kept).encode(), mtime=0))


def _wanted(record: Record) -> bool:
    pictured = isinstance(record, AuditRecord) and record.estimator in _PICTURED
    return pictured or isinstance(record, RunRecord | EpochRecord | CalibrationRecord)


def _short(record: Record) -> Record:
    if isinstance(record, AuditRecord):
        return replace(record, witness=None, versions={}, asked={}, recipe={}, families=[], tolerances={}, engine="")
    return replace(record, settings={}, process="", command="") if isinstance(record, RunRecord) else record


def kept() -> list[Record]:
    """The committed records."""
    return [from_line(line) for line in gzip.decompress(KEPT.read_bytes()).splitlines()]


def table(records: Sequence[Record]) -> str:
    """The rows of the first page."""
    comparison = compare_pair(find_pair(records, RUN))
    found = {row.name: row for block in comparison_blocks(comparison) for row in block.rows}
    rows: list[dict[str, Any]] = [
        {"": name, "with the penalty": row.regularised, "its twin": row.twin, "ratio": row.ratio}
        for name in SHOWN
        if (row := found[name])
    ]
    return markdown(rows)


def layers() -> str:
    """The layers that networks may have, by what is proved of them."""
    names = sorted({kind.__name__ for kind in registry.MODULES if kind.__module__.startswith("torch.nn")})
    parts = {
        "piecewise linear, exact": [name for name in names if name not in SMOOTH],
        "smooth, as intervals": [name for name in names if name in SMOOTH],
    }
    rows = [{"": what, "`torch.nn`": ", ".join(f"`{name}`" for name in found)} for what, found in parts.items()]
    return markdown(rows)


def main(arguments: Sequence[str]) -> None:
    if arguments:
        take_over(Path(arguments[0]))
    records = kept()
    trajectory_figure(records, RUN).savefig(PICTURE, dpi=160)
    write_tables(PAGE, {"first_page": table(records), "layers": layers()})


if __name__ == "__main__":
    main(sys.argv[1:])
