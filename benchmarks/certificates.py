"""Certificates of the reference networks: how many are written and checked, how long that takes, and how large they are.

    python -m benchmarks.certificates          # asks, writes and checks all; some minutes
    python -m benchmarks.certificates page     # the table of docs/certificates.md

One functional of each of the networks of LIPREG_REFERENCE (see CONTRIBUTING.md) in three norms, by branch and bound. Seconds
are those of the CPU, on one thread. Writes benchmarks/results/certificates.json.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import re
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.environment import markdown, read_result, write_result
from benchmarks.exact import NORMS, folder, question
from lipreg.certificates import certificate_of
from lipreg.checking import check
from lipreg.checking.file import parse
from lipreg.estimators import certify, frozen_analysis

PAGE = Path(__file__).parents[1] / "docs" / "certificates.md"
SECONDS = 120.0


def measured(case: str, norm: str, truth: float) -> dict[str, Any]:
    """One question: asked, written, checked.

    Raises:
        ArithmeticError: a certificate holds that contradicts the known constant.
    """
    net, problem, x = question(case, norm)
    times = [time.process_time()]
    (interval,) = certify(net, problem, x, estimator="branch_and_bound", budget=SECONDS)
    times.append(time.process_time())
    analysis = frozen_analysis(net, problem, x, None)
    written = certificate_of(analysis.graph, analysis.placed, interval)
    times.append(time.process_time())
    text = json.dumps(written.plain, separators=(",", ":"))
    verdict = check(parse(json.loads(text)))
    times.append(time.process_time())
    if not float(verdict.lower) <= truth * (1 + 1e-9) <= float(verdict.upper) * (1 + 2e-9):
        raise ArithmeticError(f"{case}, p = {norm}: {verdict} holds, and the constant is {truth}")
    bare = json.dumps(written.plain | {"upper": []}, separators=(",", ":"))
    size, proof = (len(gzip.compress(each.encode(), mtime=0)) for each in (text, bare))
    nodes = sum(written.kinds.values())
    spent = [round(after - before, 2) for before, after in itertools.pairwise(times)]
    return {
        "case": case,
        "p": norm,
        "gap": float(f"{1 - interval.lower / interval.upper:.1g}"),
        "search": spent[0],
        "writing": spent[1],
        "checking": spent[2],
        "nodes": nodes,
        "leaves": verdict.leaves,
        "undecided": verdict.units[1],
        "bytes": size,
        "proof": size - proof,
    }


def tables(rows: list[dict[str, Any]]) -> str:
    """A line a question, and what they come to together."""
    lines = [
        {
            "network": row["case"],
            "p": row["p"],
            "units undecided": row["undecided"],
            "nodes": row["nodes"],
            "seconds of the search": f"{row['search']:.2f}",
            "of writing": f"{row['writing']:.2f}",
            "of checking": f"{row['checking']:.2f}",
            "KiB": f"{row['bytes'] / 1024:.0f}",
            "bytes of proof a node": round(row["proof"] / row["nodes"]),
        }
        for row in rows
    ]
    ratios = {
        step: statistics.median(row[step] / max(row["search"], 0.01) for row in rows)
        for step in ("writing", "checking")
    }
    total = {step: sum(row[step] for row in rows) for step in ("search", "writing", "checking")}
    said = (
        f"{len(rows)} of {len(rows)} exact answers checked, {sum(row['nodes'] for row in rows):,} nodes: searched in "
        f"{total['search']:.1f} s, written in {total['writing']:.1f} s (in the median {ratios['writing']:.1f} times the "
        f"search), checked in {total['checking']:.1f} s ({ratios['checking']:.1f} times)."
    )
    return f"{said}\n\n{markdown(lines)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("measure", "page"), default="measure")
    if parser.parse_args().what == "measure":
        rows = []
        for case, known in json.loads((folder() / "exact.json").read_text()).items():
            for norm in NORMS:
                rows.append(measured(case, norm, known[norm]))
                print(json.dumps(rows[-1]), flush=True)
        write_result("certificates", rows)
    place = re.compile(r"<!-- table certificates -->\n.*?<!-- end -->", re.DOTALL)
    table = f"<!-- table certificates -->\n{tables(read_result('certificates'))}\n<!-- end -->"
    PAGE.write_text(place.sub(lambda _: table, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
