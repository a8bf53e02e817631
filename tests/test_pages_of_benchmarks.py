"""Tables and figures of pages are made of committed results, by the command that is named where they differ."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import (
    conv,
    curves,
    difference,
    exact,
    exact_cactus,
    exact_sets,
    experiments_page,
    mip,
    scale,
    size_page,
    two_norm,
)
from benchmarks.environment import RESULTS, markdown, read_result, write_tables
from benchmarks.exact_sets import SETS
from benchmarks.policies import __main__ as policies
from benchmarks.policies import peers
from lipreg.reporting.svg import svg
from tests.drawings import same_drawing

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
    "benchmarks.conv page": (
        conv.PAGE,
        lambda: {"conv": conv.table(read_result("conv_tightness")), "large": conv.large_table()},
    ),
    "benchmarks.difference page": (difference.PAGE, lambda: {"difference": markdown(read_result("difference"))}),
    "benchmarks.two_norm page": (two_norm.PAGE, lambda: two_norm.tables(read_result("two_norm"))),
    "benchmarks.curves page": (curves.PAGE, lambda: {"curves": curves.table(read_result("curves"))}),
    "benchmarks.policies page": (policies.PAGE, lambda: {"policies": policies.table(read_result("policies"))}),
    "benchmarks.experiments_page page": (
        experiments_page.PAGE,
        lambda: {"experiments": experiments_page.table(read_result("experiments"))},
    ),
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
    made = svg(exact_cactus.cactus(read_result("exact")))
    assert same_drawing(exact_cactus.FIGURE.read_text(), made), "benchmarks.exact page"


def test_the_table_of_unstable_units() -> None:
    """Its rows but the last, which is of the questions at size, are the searches of benchmarks.scale by unstable units."""
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


def test_the_words_about_bounds_for_p_2_are_those_of_their_table() -> None:
    page = two_norm.PAGE.read_text(encoding="utf-8")
    words = page[page.index("For p = 2 `lipsdp`") : page.index("<!-- table two_norm -->")]
    rows = [row for row in read_result("two_norm") if row["curve"] == "tightness"]
    trained = [row for row in rows if row["case"].startswith("digits")]
    assert f"({min(row['undecided'] for row in trained)} to {max(row['undecided'] for row in trained)} " in words
    flat = " ".join(words.split())
    for some, name, text in (
        (trained, "lipsdp", "it is 1 to 1.016 times"),
        (rows[len(trained) :], "lipsdp", "the untrained ones 1.23 to 2.26 times"),
        (trained, "seqlip", "`seqlip` is 1.27 to 2.14 times"),
        (trained, "affine_relu", "`affine_relu` 1.54 to 3.45"),
    ):
        low, high = (float(end) for end in re.findall(r"([\d.]+) to ([\d.]+)", text)[0])
        found = [row[name] for row in some]
        assert text in flat and low == pytest.approx(min(found), abs=0.005)
        assert max(found) <= high <= max(found) + 0.01


def test_the_words_about_experiments_are_those_of_their_table() -> None:
    words = experiments_page.PAGE.read_text(encoding="utf-8")
    words = " ".join(words[words.index("<!-- end -->") :].split())
    rows = {row["experiment"]: row for row in read_result("experiments")}

    def number(name: str, column: str) -> list[float]:
        return [float(end) for end in re.findall(r"[\d.]+", rows[name][column])]

    raw, calibrated, bound = "constant / twin's", "calibrated constant / twin's", "calibrated `affine_relu` / twin's"
    digits, lenet, cifar = "l2_digits", "mnist_lenet", "cifar_cnn"
    certified = [round(number(digits, side + "certified")[0] / 25) for side in ("twin's ", "")]
    low, high = number(lenet, "twin's constant")
    wide = [high / low for low, high in (number(cifar, side + "constant") for side in ("", "twin's "))]
    (fell,) = number("regression", "constant / twin's")
    for words_of in (
        f"l2 constant to {number(digits, calibrated)[0]:.2f} of the twin's",
        "from {} to {} of 4".format(*certified),
        f"falls to {number(digits, raw)[0]:.2f}",
        f"an interval, {100 * (high / low - 1):.0f} % wide",
        f"by a factor of {1 / number(lenet, bound)[0]:.0f}, the constant by {1 / number(lenet, calibrated)[0]:.1f}",
        "a factor of {:.1f} and {:.1f} wide".format(*wide),
        f"fall to {number(cifar, bound)[0]:.2f} ",
        f"fell by {100 * (1 - fell):.0f} %",
    ):
        assert words_of in words


def test_every_marked_table_is_known_to_a_test() -> None:
    """Whoever adds a table says in a test what it is made of; the marks below are those that tests read."""
    elsewhere = {
        "tests/test_first_page.py": {"first_page", "layers", "main_job", "main_job_jacobian", "main_job_every"},
        "tests/experiments/test_penalties.py": {"penalties", "auto", "prices"},
        "tests/certificates/test_page.py": {"certificates", "runs", "mutations"},
        "tests/test_docs.py": {"monotone", "monotone features", "coverage", "rules", "statements"},
        "tests/experiments/test_preemption.py": {"checkpoints"},
    }
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    marks = {name for page in pages for name in re.findall(r"<!-- table (.+?) -->", page.read_text(encoding="utf-8"))}
    here = {name for _, made in MADE.values() for name in made()}
    assert marks - {"NAME"} == here.union(*elsewhere.values())
    assert all((ROOT / test).is_file() for test in elsewhere)


def test_no_table_of_figures_is_without_a_mark() -> None:
    """Rows with two figures or more stand between marks, which say what they are made of; one table has a test above."""
    figure = re.compile(r"<?=? ?\[?[\d.,]+( ?%|\]|, [\d.]+\])?( [a-zA-Z]+)?")
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        marked = re.sub(r"<!-- .*?<!-- end.*?-->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        rows = [line for line in marked.splitlines() if line.lstrip().startswith("|")]
        told = [row for row in rows if sum(bool(figure.fullmatch(cell.strip())) for cell in row.split("|")) > 1]
        assert len(told) == (7 if page.name == "scale.md" else 0), (page.name, told[:2])


def test_a_page_of_experiments_names_the_runs_that_are_missing(tmp_path: Path) -> None:
    (tmp_path / "l2_digits").mkdir()
    (tmp_path / "l2_digits" / "records.jsonl").touch()
    with pytest.raises(SystemExit) as ended:
        experiments_page.main([str(tmp_path)])
    missing = set(experiments_page.NAMES) - {"l2_digits"}
    assert all(f"experiment={name} hydra.run.dir={tmp_path / name}" in str(ended.value) for name in missing)
    assert "experiment=l2_digits" not in str(ended.value)
