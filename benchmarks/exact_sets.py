"""The sets of benchmarks.published by the exact engines: rows of results, and their table in docs/branch_and_bound.md."""

from __future__ import annotations

import math
import re
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from benchmarks.at_size import SIZE
from benchmarks.environment import RESULTS, markdown, read_result, write_result, write_tables
from benchmarks.published import SETS as PUBLISHED
from benchmarks.published import Asked, Published, default
from lipreg import LinfBall, LocalLipschitz, Logit
from lipreg.budget import Budget
from lipreg.estimators import certify, frozen_analysis, get_estimator
from lipreg.estimators.settings import Settings

AGREE = 1e-5
"""Relative difference from a value reported in five or more digits that its rounding explains."""
PAGE = Path(__file__).parents[1] / "docs" / "branch_and_bound.md"
OURS = "branch_and_bound"

SETS = {**PUBLISHED, "size": SIZE}
MEMORY = 16 * 2**30
"""Bytes that the process of one answer may have, those of libraries included."""
NODES = re.compile(r"([\d,]+) nodes")

Row = dict[str, Any]


def measure(name: str, engines: list[str], seconds: float | None, only: str = "", label: str = "") -> list[Row]:
    """One row a question and engine that covers it, written to results/exact_NAME[_LABEL].json as it goes.

    Results of other engines, and of questions whose name does not hold the text ``only``, stay in the file; those of
    questions that the set does not ask any more go.
    """
    asked, path = SETS[name], RESULTS / f"{'_'.join(filter(None, ('exact', name, label)))}.json"
    questions = list(asked.questions())
    order = {(q.name, q.member, f"{q.problem.p:g}"): i for i, q in enumerate(questions)}
    rows: dict[tuple[int, str], Row] = {}
    for i, question in enumerate(questions):
        for engine in engines:
            method, _, solver = engine.partition("@")
            if only not in f"{question.name} {question.member}":
                continue
            if get_estimator(method).uncovered(question.problem) is not None:
                continue
            answer = _apart if asked.apart else _row
            rows[i, engine] = answer(question, asked, engine, Settings(solver or "highs"), seconds)
            print(rows[i, engine], flush=True)
            there = read_result(path.stem) if path.exists() else []
            keys = [(order.get((r["question"], r["member"], r["p"])), r["engine"]) for r in there]
            kept = {(at, by): row for (at, by), row in zip(keys, there, strict=True) if at is not None}
            write_result(path.stem, [row for _, row in sorted((kept | rows).items())])
    return list(rows.values())


def _apart(question: Asked, asked: Published, engine: str, settings: Settings, seconds: float | None) -> Row:
    """The row from a process that does nothing else, with the most memory that it had; of one that died, that it did."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            return pool.submit(_told, question, asked, engine, settings, seconds).result()
        except (BrokenProcessPool, MemoryError, RuntimeError) as error:  # torch's word for no memory is the last
            detail = str(error).splitlines()[0]
    row: Row = {"question": question.name, "member": question.member, "p": f"{question.problem.p:g}", "engine": engine}
    return row | {"closed": False, "lower": 0.0, "upper": None, "gap": 1.0, "status": "died", "detail": detail}


def _told(question: Asked, asked: Published, engine: str, settings: Settings, seconds: float | None) -> Row:
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    small = Asked("", default(4, 8, 3, seed=0), LocalLipschitz(LinfBall(1.0), Logit(0)), torch.zeros(1, 4).double())
    _row(small, asked, engine, settings, 5.0)  # imports and first calls are nobody's time
    start = _most_gib()
    row = _row(question, asked, engine, settings, seconds) | {"start_gib": start, "peak_gib": _most_gib()}
    unstable = frozen_analysis(question.module, question.problem, question.x, question.y).unstable_units()
    return row | {"undecided": int(unstable)}


def _most_gib() -> float:
    """The most memory that this process has had."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def _row(question: Asked, asked: Published, engine: str, settings: Settings, seconds: float | None) -> Row:
    budget = question.budget or Budget(asked.seconds)
    budget = replace(budget, seconds=seconds or budget.seconds, clock=time.process_time)
    if asked.gap > AGREE:
        budget = replace(budget, gap=asked.gap)
    began = time.process_time()
    (found,) = certify(
        question.module,
        question.problem,
        question.x,
        question.y,
        estimator=engine.partition("@")[0],
        budget=budget,
        settings=settings,
    )
    spent = time.process_time() - began
    low, high = question.known or (0.0, math.inf)
    return {
        "question": question.name,
        "member": question.member,
        "p": f"{question.problem.p:g}",
        "engine": engine,
        "closed": found.gap <= asked.gap,
        "cpu_seconds": round(spent, 3),
        "lower": float(f"{found.lower:.10g}"),
        "upper": float(f"{found.upper:.10g}"),
        "gap": float(f"{found.gap:.2g}"),
        "status": found.status.value,
        "nodes": int(nodes[1].replace(",", "")) if (nodes := NODES.search(found.detail)) else None,
        "detail": found.detail,
        "known": question.known and [float(f"{end:.11g}") if math.isfinite(end) else None for end in question.known],
        "known_seconds": question.known_seconds,
        "agrees": found.upper >= low * (1 - AGREE) and found.lower <= high * (1 + AGREE),
    }


def table(names: list[str]) -> str:
    """One line a set, network and norm; of several networks of a kind the longest time and the geometric mean of ratios."""
    lines = []
    for name in names:
        rows = read_result(f"exact_{name}")
        for question, p in sorted({(row["question"], row["p"]) for row in rows}):
            own = [row for row in rows if (row["question"], row["p"]) == (question, p)]
            lines.append(_line(SETS[name].title, question, p, own))
    return markdown(lines)


def _line(title: str, question: str, p: str, rows: list[Row]) -> Row:
    ours, theirs = ([row for row in rows if (row["engine"] == OURS) is own] for own in (True, False))
    first = ours[0]
    line = {
        "set": title,
        "network": question,
        "p": p,
        "known": _known(first) if len(ours) == 1 else "",
        "known, seconds": f"{first['known_seconds']:g}" if first["known_seconds"] else "",
        "found": _found(first) if len(ours) == 1 else "",
        "closed": f"{sum(row['closed'] for row in ours)} of {len(ours)}",
        "CPU seconds": _longest(ours),
        "`mip`: closed": "",
        "`mip`: CPU seconds": "",
        "times as long": "",
    }
    if theirs:
        by_member = {row["member"]: row["cpu_seconds"] for row in ours}
        ratio = statistics.geometric_mean(row["cpu_seconds"] / by_member[row["member"]] for row in theirs)
        line["`mip`: closed"] = f"{sum(row['closed'] for row in theirs)} of {len(theirs)}"
        line["`mip`: CPU seconds"] = _longest(theirs)
        line["times as long"] = ("" if all(row["closed"] for row in theirs) else "over ") + f"{ratio:.1f}"
    return line


def _longest(rows: list[Row]) -> str:
    return f"{max(row['cpu_seconds'] for row in rows):.2f}"


def _known(row: Row) -> str:
    if row["known"] is None:
        return ""
    low, high = row["known"]
    if high is None:
        return f"at least {low:.6g}"
    return f"{low:.9g}" if low == high else f"[{low:.6g}, {high:.6g}]"


def _found(row: Row) -> str:
    return f"{row['upper']:.8g}" if row["gap"] <= AGREE else f"[{row['lower']:.6g}, {row['upper']:.6g}]"


def to_page() -> None:
    """Puts the table of all sets that have results into docs/branch_and_bound.md."""
    names = [name for name, asked in SETS.items() if not asked.apart and (RESULTS / f"exact_{name}.json").exists()]
    write_tables(PAGE, {"sets": table(names)})
