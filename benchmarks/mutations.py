"""Is any certificate accepted whose claim is false? python -m benchmarks.mutations [--files 10000] [--seed 0]

Certificates of small networks, each changed at one to three random places: weights, signs, regions, ends, witnesses, splits,
leaves left out, swapped or repeated, multipliers, and parts of another network's certificate; of every second one the upper
end is lowered as well, by a tenth to a billionth, of every fourth raised. Each changed file goes through
both modes of the checker; of what is accepted, all linear pieces of the network are enumerated to see whether the claim is
true. A false one ends the run, and is written to mutation.json. Writes benchmarks/results/mutations.json as it goes, and
the table of docs/certificates.md; an interrupted run of the same seed and the same checker goes on.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.certificates import PAGE
from benchmarks.environment import RESULTS, markdown, read_result, write_result, write_tables
from lipreg.checking import Refused
from lipreg.checking.file import parse
from lipreg.testing.networks import network
from tests.certificates.cases import certified, places
from tests.certificates.changes import QUESTIONS, accepted, change, encoding_of, eval_fraction, holds, written

NETWORKS = (("deep", 4), ("deep", 2), ("shallow", 3))
PARTS = ("network", "question", "claim", "lower", "upper", "upper", "another network")
SHARE = 0.8
"""Of the changes that are of numbers, where there are any."""
SAVED_EVERY = 200


def samples() -> dict[tuple[str, str], dict[str, Any]]:
    """Certificates by network and norm: units that imply one another, and splits in place of that, too."""
    found = {}
    for name, seed in NETWORKS:
        for norm, problem in QUESTIONS.items():
            x = torch.full((1, 2), 0.1, dtype=torch.float64)
            found[f"{name} {seed}", norm] = certified(network(name, seed), problem, x)[1].plain
    return found | {
        ("spelled out", "2"): written("2"),
        ("both", "inf"): written("both"),
        ("flat", "inf"): written("flat"),
    }


def struck(known: dict[tuple[str, str], dict[str, Any]], rng: np.random.Generator) -> tuple[str, dict[str, Any]]:
    """A changed file, and in which part it was changed last."""
    keys = list(known)
    plain, part = copy.deepcopy(known[keys[rng.integers(len(keys))]]), ""
    for _ in range(rng.integers(1, 4)):
        part = PARTS[rng.integers(len(PARTS))]
        if part == "another network":
            other = known[keys[rng.integers(len(keys))]]
            taken = ("network", "question", "claim", "lower", "upper")[rng.integers(5)]
            plain[taken] = copy.deepcopy(other[taken])
            continue
        own = [path for path in places(plain[part], (part,)) if path != (part,)]
        numbers = [path for path in own if path[-1] == "float64"]
        own = numbers if numbers and rng.random() < SHARE else own  # most other changes leave no file that can be read
        if own:
            change(plain, own[rng.integers(len(own))], lambda options: options[int(rng.integers(len(options)))])
    if (moved := rng.integers(4)) < 3:
        upper = eval_fraction(plain["claim"]["upper"]) if "/" in plain["claim"]["upper"] else 1.0
        by = 10.0 ** rng.uniform(-9, -1)
        plain["claim"]["upper"] = encoding_of(upper * (1 + by if moved == 2 else 1 - by))
    return part, plain


def outcome(plain: dict[str, Any]) -> str:
    """What the checker makes of a file.

    Raises:
        ArithmeticError: it accepts what is false.
    """
    try:
        parse(plain)
    except Refused:
        return "not read"
    taken = [mode for mode in ("exact", "rounded") if accepted(plain, mode)]
    if not taken:
        return "refused"
    if not holds(plain):
        Path("mutation.json").write_text(json.dumps(plain))
        raise ArithmeticError(f"accepted in {taken} and false: mutation.json")
    if taken == ["rounded"]:
        return "accepted in rounded mode alone, true"
    return "accepted, true" if len(taken) == 2 else "accepted in exact mode alone, true"


def fingerprint() -> str:
    """A hash of the checker and of what changes its files: counts of others are not continued."""
    found, root = hashlib.sha256(), PAGE.parents[1]
    for path in sorted(
        [*(root / "lipreg/checking").rglob("*.py"), root / "tests/certificates/changes.py", Path(__file__)]
    ):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def started(about: dict[str, Any]) -> dict[str, Counter[str]]:
    """What an interrupted run has counted, by the part that was changed last."""
    rows = read_result("mutations") if (RESULTS / "mutations.json").exists() else []
    own = {row["part"]: row for row in rows if {name: row.get(name) for name in about} == about}
    return {part: Counter({k: n for k, n in own.get(part, {}).items() if k not in (*about, "part")}) for part in PARTS}


COLUMNS = ("files", "not read", "refused", "accepted, true", "accepted in exact mode alone, true")
"""Of the table; what the rounded mode alone accepts is counted too, and shown where there is any."""


def table(rows: list[dict[str, Any]]) -> str:
    """A line a part that was changed last, and their sum."""
    names = [*COLUMNS, *sorted({name for row in rows for name in row} - {*COLUMNS, "part", "seed", "sources"})]
    whole = {"part": "all", **{name: sum(row.get(name, 0) for row in rows) for name in names}}
    lines = [{"changed last": row["part"], **{name: row.get(name, 0) for name in names}} for row in (*rows, whole)]
    return f"{whole['files']:,} changed files, none of them accepted and false.\n\n{markdown(lines)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    about = {"seed": asked.seed, "sources": fingerprint()}
    known, counts = samples(), started(about)
    for number in range(sum(count["files"] for count in counts.values()), asked.files):
        part, plain = struck(known, np.random.default_rng([asked.seed, number]))
        counts[part].update(["files", outcome(plain)])
        if (number + 1) % SAVED_EVERY == 0 or number + 1 == asked.files:
            write_result("mutations", [{"part": part, **about, **count} for part, count in counts.items()])
            write_tables(PAGE, {"mutations": table(read_result("mutations"))})
            print(f"{number + 1} of {asked.files}", flush=True)


if __name__ == "__main__":
    main()
