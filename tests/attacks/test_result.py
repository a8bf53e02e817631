"""What the runs of the attacks left behind: nothing false among a million comparisons, nor in any cell of the table."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from tests.attacks.battery import KINDS
from tests.attacks.cells import CELLS, REGIONS, SCOPES
from tests.attacks.tally import FAULTS

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
OF_CELLS = {"cells", "balls", "everywhere", "weighed"}
"""Kinds whose questions the run of the cells asks; the long run may be of before them."""


def _rows(name: str) -> list[dict[str, Any]]:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["rows"]


def test_the_committed_run_found_nothing_false() -> None:
    rows = _rows("attacks")
    assert {row["kind"] for row in rows} | OF_CELLS == set(KINDS)
    assert len({(row["seed"], row["sources"]) for row in rows}) == 1
    assert not [row["faults"] for row in rows if any(row[name] for name in FAULTS)]
    assert sum(row["upper"] + row["lower"] for row in rows) >= 1_000_000
    planted = next(row for row in rows if row["kind"] == "planted")
    assert planted["attacks"] >= 1000 and planted["reached"] > 0


def test_the_committed_run_of_all_cells_found_nothing_false() -> None:
    rows = _rows("attacks_cells")
    assert {(row["region"], row["scope"]) for row in rows} == set(itertools.product(REGIONS, SCOPES))
    assert sum(row["questions"] for row in rows) >= max(300, len(CELLS))
    assert not [row["faults"] for row in rows if any(row[name] for name in FAULTS)]
    assert sum(row["kept"] for row in rows) > 0.9 * sum(row["promised"] for row in rows) > 100
