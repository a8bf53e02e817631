"""What the long run of the attacks left behind: nothing false among a million comparisons."""

from __future__ import annotations

import json
from pathlib import Path

from tests.attacks.battery import KINDS
from tests.attacks.tally import FAULTS

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "attacks.json"


def test_the_committed_run_found_nothing_false() -> None:
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["rows"]
    assert {row["kind"] for row in rows} == set(KINDS)
    assert len({(row["seed"], row["sources"]) for row in rows}) == 1
    assert not [row["faults"] for row in rows if any(row[name] for name in FAULTS)]
    assert sum(row["upper"] + row["lower"] for row in rows) >= 1_000_000
    planted = next(row for row in rows if row["kind"] == "planted")
    assert planted["attacks"] >= 1000 and planted["reached"] > 0
