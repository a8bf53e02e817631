"""Is any certified figure false? python -m benchmarks.attacks [--comparisons 1000000] [--kinds plain,scaled,...] [--seed 0]

Random networks of the kinds of tests/attacks, which brought false figures about or might; every end of a certified interval,
by every estimator, against oracles that share no code with lipreg: all linear pieces in rational arithmetic, patterns
enumerated, optima planted. Ends that are off by rounding alone (less than 1e-12 of them) are faults too ("rounded"). Bounds
inside the engines are compared as well and counted apart ("inner").

One row a kind, written to benchmarks/results/attacks.json as it goes, so that an interrupted run continues. The networks
and questions follow from the seed; `--kinds KIND --only INDEX` strikes a single one and prints what it found.

`--cells 300` asks so many questions of the table of what can be answered (docs/choosing.md), its cells in turn, of every
estimator that takes them: one row a region and scope, written to benchmarks/results/attacks_cells.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.environment import RESULTS, markdown, write_result
from tests.attacks.battery import KINDS, cells, strike
from tests.attacks.tally import FAULTS, Tally

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = {"planted": 20, "enumerated": 3, "max_cut": 3, "trees": 3, "norms": 3, "radii": 3, "deep": 0.3, "wild": 0.3}
"""How often a kind is struck while each of the others is struck twice: a million comparisons hold 1,000 planted optima."""
SAVED_EVERY = 20.0
"""Seconds."""
COUNTS = ("upper", "lower", "exact", "witness", "inner", "refused", "left out", "failed", "reached", "not closed")
IN_CELLS = ("questions", "promised", "kept", "upper", "lower", "exact", "witness outside", "refused", "failed", *FAULTS)
NOTED = ("inner rounded", "witness outside")


def fingerprint() -> str:
    """A hash of what was attacked and of the attackers: results of other sources are not continued."""
    digest = hashlib.sha256()
    for folder in ("lipreg", "tests/attacks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not path.name.startswith("test_"):
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def started(seed: int, sources: str) -> dict[str, dict[str, Any]]:
    """The rows of an interrupted run of the same seed and sources, by kind."""
    path = RESULTS / "attacks.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    return {row["kind"]: row for row in rows if (row["seed"], row["sources"]) == (seed, sources)}


def add(row: dict[str, Any], tally: Tally, seconds: float) -> None:
    """Enters one attack into its kind's row."""
    row["attacks"] += 1
    for name in ("questions", *COUNTS, *FAULTS, *NOTED):
        row[name] += tally.counts[name]
    row["seconds"] = round(row["seconds"] + seconds, 3)
    grave = [fault for fault in tally.faults if fault["fault"] in FAULTS]
    row["faults"] += grave[: max(0, 20 - len(row["faults"]))]


def run(comparisons: int, kinds: list[str], seed: int) -> list[dict[str, Any]]:
    """Strikes until so many ends are compared; one row a kind."""
    sources = fingerprint()
    empty = {name: 0 for name in ("attacks", "questions", *COUNTS, *FAULTS, *NOTED)}
    before = started(seed, sources)
    rows = {
        kind: before.get(kind)
        or {"kind": kind, "seed": seed, "sources": sources, **empty, "seconds": 0.0, "faults": []}
        for kind in kinds
    }

    def compared() -> int:
        return sum(row["upper"] + row["lower"] for row in rows.values())

    saved = time.monotonic()
    while compared() < comparisons:
        kind = min(kinds, key=lambda k: rows[k]["attacks"] / WEIGHTS.get(k, 2))
        began = time.process_time()
        tally = strike(kind, seed, rows[kind]["attacks"])
        add(rows[kind], tally, time.process_time() - began)
        if time.monotonic() - saved > SAVED_EVERY:
            saved = time.monotonic()
            write_result("attacks", list(rows.values()))
            faults = sum(row[name] for row in rows.values() for name in FAULTS)
            seconds = sum(row["seconds"] for row in rows.values())
            print(f"{compared():9} of {comparisons} compared, {faults} faults, {seconds:.0f} s of CPU", file=sys.stderr)
    write_result("attacks", list(rows.values()))
    return list(rows.values())


def run_cells(count: int, seed: int) -> None:
    """The questions of all cells; ends with an error where a figure is false."""
    rows = []
    for region, scope, tally in cells.run(count, seed):
        counts = {name: tally.counts[name] for name in IN_CELLS}
        rows.append({"region": region, "scope": scope, "seed": seed, **counts, "faults": tally.faults})
    write_result("attacks_cells", rows)
    print(markdown([{name: value for name, value in row.items() if name != "faults"} for row in rows]))
    if faults := sum(row[name] for row in rows for name in FAULTS):
        sys.exit(f"{faults} faults; see benchmarks/results/attacks_cells.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=1_000_000, help="ends of certified intervals")
    parser.add_argument("--kinds", default=",".join(KINDS), help=", ".join(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the one attack of this index, of one kind")
    parser.add_argument("--cells", type=int, help="questions over all cells of the table of what can be answered")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.cells:
        run_cells(arguments.cells, arguments.seed)
        return
    kinds = arguments.kinds.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"no such kinds: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    if arguments.only is not None:
        for kind in kinds:
            tally = strike(kind, arguments.seed, arguments.only)
            print(json.dumps({"kind": kind, **tally.counts, "faults": tally.faults}, indent=2))
        return
    rows = run(arguments.comparisons, kinds, arguments.seed)
    shown = (
        "kind",
        "attacks",
        "questions",
        "upper",
        "lower",
        "exact",
        "inner",
        "unsound",
        "inner unsound",
        "crossing",
        "crashed",
        "rounded",
        "seconds",
    )
    print(markdown([{name: row[name] for name in shown} for row in rows]))
    if faults := sum(row[name] for row in rows for name in FAULTS):
        sys.exit(f"{faults} faults; see benchmarks/results/attacks.json")


if __name__ == "__main__":
    main()
