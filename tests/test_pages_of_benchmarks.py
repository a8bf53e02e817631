"""Tables and figures of pages are made of committed results, by the command that is named where they differ."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import conv, difference, exact, exact_cactus, exact_sets, mip, scale, size_page
from benchmarks.environment import RESULTS, markdown, read_result, write_tables
from benchmarks.exact_sets import SETS
from benchmarks.policies import peers
from lipreg.reporting.svg import svg

ROOT = Path(__file__).resolve().parents[1]


def sets() -> dict[str, str]:
    names = [name for name, asked in SETS.items() if not asked.apart and (RESULTS / f"exact_{name}.json").exists()]
    return {"sets": exact_sets.table(names)}


MADE: dict[str, tuple[Path, Callable[[], dict[str, str]]]] = {
    "benchmarks.exact page, the reference networks": (exact.PAGE, exact.tables),
    "benchmarks.exact page, sets of others": (exact_sets.PAGE, sets),
    "benchmarks.exact page, questions at size": (
        size_page.PAGE,
        lambda: {"size": size_page.table(size_page.results())},
    ),
    "benchmarks.mip page": (mip.PAGE, lambda: {"mip": markdown(mip.shown(read_result("mip")))}),
    "benchmarks.conv page": (conv.PAGE, lambda: {"conv": conv.table(read_result("conv_tightness"))}),
    "benchmarks.difference page": (difference.PAGE, lambda: {"difference": markdown(read_result("difference"))}),
    "benchmarks.policies.peers page": (peers.PAGE, lambda: {"peers": markdown(read_result("policies_peers"))}),
}


@pytest.mark.parametrize("command", MADE)
def test_tables_are_those_of_the_results(command: str, tmp_path: Path) -> None:
    page, made = MADE[command]
    copy = tmp_path / page.name
    copy.write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    write_tables(copy, made())
    assert copy.read_text(encoding="utf-8") == page.read_text(encoding="utf-8"), f"python -m {command}"
    assert all(f"<!-- table {name} -->" in copy.read_text(encoding="utf-8") for name in made())


def test_the_figure_of_the_exact_engines() -> None:
    assert svg(exact_cactus.cactus(read_result("exact"))) == exact_cactus.FIGURE.read_text(), "benchmarks.exact page"


def test_the_table_of_undecided_units() -> None:
    """Its rows but the last, which is of the questions at size, are the searches of benchmarks.scale by undecided units."""
    page = (scale.IMAGES.parent / "scale.md").read_text(encoding="utf-8")
    of, number = r"(?:fewer than (\d+)|(\d+) to (\d+))", r"([\d.]+)"
    line = rf"^\| {of} \| {number} \| {number} \| {number} \| {number} to {number} \|$"
    rows = re.findall(line, page, re.MULTILINE)
    found = [row for row in read_result("scale") if row["curve"] == "units"]
    assert len(rows) == 6
    for fewer, low, high, searches, exact_ones, *seconds in rows:
        least, most = (0, int(fewer) - 1) if fewer else (int(low), int(high))
        inside = [row for row in found if least <= row["undecided"] <= most]
        taken = sorted(row["cpu_seconds"] for row in inside)
        assert (len(inside), sum(row["closed"] for row in inside)) == (int(searches), int(exact_ones)), (least, most)
        middle = (taken[(len(taken) - 1) // 2] + taken[len(taken) // 2]) / 2
        for told, value in zip(map(float, seconds), (middle, taken[0], taken[-1]), strict=True):
            assert told == pytest.approx(value, rel=0.25), (least, most)


def test_every_marked_table_is_known_to_a_test() -> None:
    """Whoever adds a table says in a test what it is made of; the marks below are those that tests read."""
    elsewhere = {
        "tests/test_first_page.py": {"first_page", "layers", "main_job", "main_job_jacobian", "main_job_every"},
        "tests/experiments/test_penalties.py": {"penalties", "auto", "prices"},
        "tests/certificates/test_page.py": {"certificates", "runs", "mutations"},
        "tests/test_docs.py": {"monotone", "monotone features", "coverage", "rules", "statements"},
        "tests/experiments/test_regularizers.py": {
            "equal digits",
            "equal mnist",
            "strengths digits",
            "strengths mnist",
        },
        "tests/experiments/test_preemption.py": {"checkpoints"},
    }
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    marks = {name for page in pages for name in re.findall(r"<!-- table (.+?) -->", page.read_text(encoding="utf-8"))}
    here = {name for _, made in MADE.values() for name in made()}
    assert marks - {"NAME"} == here.union(*elsewhere.values())
    assert all((ROOT / test).is_file() for test in elsewhere)
