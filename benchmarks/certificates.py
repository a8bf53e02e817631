"""Certificates of the reference networks: how many are written and checked, how long that takes, and how large they are.

    python -m benchmarks.certificates                            # asks, writes and checks all; some minutes
    python -m benchmarks.certificates runs "the main job=runs/A" # trainings audited with audit.log.certificates=true
    python -m benchmarks.certificates page                       # the tables of docs/certificates.md

One functional of each of the networks of LIPREG_REFERENCE (see CONTRIBUTING.md) in three norms, by branch and bound. Seconds
are those of the CPU, on one thread. Writes benchmarks/results/certificates.json and certificates_runs.json.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.environment import markdown, read_result, write_result, write_tables
from benchmarks.exact import NORMS, folder, question
from lipreg.certificates import certificate_of
from lipreg.checking import Refused, WrittenCertificate, check, read
from lipreg.checking.file import parse
from lipreg.estimators import certify, frozen_analysis
from lipreg.records import COMBINED, AuditRecord, read_records

PAGE = Path(__file__).parents[1] / "docs" / "certificates.md"
SECONDS = 120.0
STEPS = ("writing", "checking", "rounded")


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
    certificate = parse(json.loads(text))
    verdict = check(certificate)
    times.append(time.process_time())
    rounded = _rounded(certificate)
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
        "rounded": spent[3],
        "held_rounded": rounded,
        "nodes": nodes,
        "leaves": verdict.leaves,
        "undecided": verdict.units[1],
        "bytes": size,
        "proof": size - proof,
    }


def _rounded(certificate: WrittenCertificate) -> bool:
    """Whether the rounded mode accepts it too."""
    try:
        check(certificate, mode="rounded")
    except Refused:
        return False
    return True


def measured_run(name: str, path: Path) -> dict[str, Any]:
    """The certificates of the records of one training, and of its twin.

    Raises:
        Refused: one does not hold in whole numbers.
    """
    audits = [r for r in read_records(path) if isinstance(r, AuditRecord) and r.estimator == COMBINED]
    exact = [r for r in audits if r.is_exact]
    files = sorted({r.certificate_file for r in exact if r.certificate_file})
    spent, held, nodes, sizes, proofs = [0.0, 0.0], 0, 0, list[int](), 0
    for file in files:
        certificate, times = read(path / file), [time.process_time()]
        nodes += check(certificate).nodes
        times.append(time.process_time())
        held += _rounded(certificate)
        times.append(time.process_time())
        spent = [
            whole + after - before for whole, (before, after) in zip(spent, itertools.pairwise(times), strict=True)
        ]
        plain = json.loads(gzip.decompress((path / file).read_bytes()))
        bare = gzip.compress(json.dumps(plain | {"upper": []}, separators=(",", ":")).encode(), mtime=0)
        sizes.append((path / file).stat().st_size)
        proofs += sizes[-1] - len(bare)
    return {
        "run": name,
        "audited": len(audits),
        "exact": len(exact),
        "certified": sum(bool(r.certificate_file) for r in exact),
        "files": len(files),
        "held_rounded": held,
        "nodes": nodes,
        "search": round(sum(r.seconds for r in exact if r.certificate_file), 1),
        "checking": round(spent[0], 1),
        "rounded": round(spent[1], 1),
        "largest": max(sizes),
        "proof": proofs,
    }


def run_table(rows: list[dict[str, Any]]) -> str:
    """A line a training."""
    return markdown(
        [
            {
                "training, and its twin": row["run"],
                "points exact": f"{row['exact']} of {row['audited']}",
                "with a certificate": row["certified"],
                "checked, exact mode": f"{row['files']} files",
                "held in rounded mode too": row["held_rounded"],
                "nodes": f"{row['nodes']:,}",
                "wall seconds of the searches": row["search"],
                "CPU seconds, exact mode": row["checking"],
                "CPU seconds, rounded mode": row["rounded"],
                "largest file, KiB": f"{row['largest'] / 1024:.0f}",
                "bytes of proof a node": round(row["proof"] / row["nodes"]),
            }
            for row in rows
        ]
    )


def tables(rows: list[dict[str, Any]]) -> str:
    """A line a question, and what they come to together."""
    lines = [
        {
            "network": row["case"],
            "p": row["p"],
            "units unstable": row["undecided"],
            "nodes": row["nodes"],
            "seconds of the search": f"{row['search']:.2f}",
            "of writing": f"{row['writing']:.2f}",
            "of checking": f"{row['checking']:.2f}",
            "in rounded mode": f"{row['rounded']:.2f}" + ("" if row["held_rounded"] else " (refused)"),
            "KiB": f"{row['bytes'] / 1024:.0f}",
            "bytes of proof a node": round(row["proof"] / row["nodes"]),
        }
        for row in rows
    ]
    ratios = {step: statistics.median(row[step] / max(row["search"], 0.01) for row in rows) for step in STEPS}
    total = {step: sum(row[step] for row in rows) for step in ("search", *STEPS)}
    held = sum(row["held_rounded"] for row in rows)
    said = (
        f"{len(rows)} of {len(rows)} exact answers checked, {sum(row['nodes'] for row in rows):,} nodes: searched in "
        f"{total['search']:.1f} s, written in {total['writing']:.1f} s (in the median {ratios['writing']:.1f} times the "
        f"search), checked in {total['checking']:.1f} s ({ratios['checking']:.1f} times); in rounded mode {held} hold, in "
        f"{total['rounded']:.1f} s ({ratios['rounded']:.1f} times)."
    )
    return f"{said}\n\n{markdown(lines)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("measure", "runs", "page"), default="measure")
    parser.add_argument("runs", nargs="*", metavar="NAME=FOLDER", help="trainings, what they are called")
    asked = parser.parse_args()
    if asked.what == "runs":
        named = [each.split("=", 1) for each in asked.runs]
        write_result("certificates_runs", [measured_run(name, Path(folder)) for name, folder in named])
    if asked.what == "measure":
        rows = []
        for case, known in json.loads((folder() / "exact.json").read_text()).items():
            for norm in NORMS:
                rows.append(measured(case, norm, known[norm]))
                print(json.dumps(rows[-1]), flush=True)
        write_result("certificates", rows)
    found = {"certificates": tables(read_result("certificates")), "runs": run_table(read_result("certificates_runs"))}
    write_tables(PAGE, found)


if __name__ == "__main__":
    main()
