"""Sentences of the study's page are those of its tables and its committed rows."""

from __future__ import annotations

import json
import math
import re
from itertools import combinations, permutations, product
from statistics import geometric_mean
from typing import Any

from experiments.exact_study.designs import DIGITS, PENALTIES, TWIN
from experiments.exact_study.rows import flags
from experiments.exact_study.steps import prices
from tests.conftest import ROOT

PAGE = " ".join((ROOT / "docs/study.md").read_text(encoding="utf-8").split())
RESULTS = (ROOT / "docs/study_results.md").read_text(encoding="utf-8")


def test_sentences_about_the_study_have_the_figures_of_its_tables() -> None:
    """Of every number with two decimals or more; which tables these are of, the tests below know."""
    shown = "".join(re.findall(r"<!-- study .*?<!-- end -->", RESULTS, re.DOTALL))
    said = PAGE[PAGE.index("## What was found") : PAGE.index("## What it costs")]
    told = {float(number) for number in re.findall(r"(?<![\d.])\d\.\d{2,}\b", said)}
    assert len(told) > 15 and told <= set(map(float, re.findall(r"\b\d+\.\d+\b", shown)))


def tables(kind: str, question: str) -> str:
    """The tables of a question in the page of results."""
    (found,) = re.findall(rf"<!-- study {kind} {question} -->\n(.*?)<!-- end -->", RESULTS, re.DOTALL)
    return found.strip()


def pairs_of(question: str) -> dict[str, dict[tuple[str, str], str]]:
    """All tables of pairs, by figure and radius."""
    return {table[2 : table.index(" | 1 ")]: signs(table) for table in tables("pairs", question).split("\n\n")}


def signs(table: str) -> dict[tuple[str, str], str]:
    """Who is lower or higher than whom, of a table of pairs."""
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()[2:]]
    names = [row[0].split("`")[1] for row in rows]
    return {(names[i], other): cell for i, row in enumerate(rows) for other, cell in zip(names, row[1:], strict=False)}


def test_claims_of_the_study_are_those_of_its_tables() -> None:
    page, of = PAGE, pairs_of("linf")
    constant, large = of["calibrated constant, radius 0.05"], of["calibrated constant, radius 0.15"]
    names = {one for one, _ in constant}
    ours = ("jacobian", "witnesses", "jacobian_fastlip")
    assert "each of the three is lower than all eleven others, and no two of them are told apart" in page
    assert len(names) == 14 and all(constant[pair] == "·" for pair in permutations(ours, 2))
    assert all(constant[own, other] == "<" for own in ours for other in names.difference(ours))
    radius = of["certified radius by `jacobian_crown`, radius 0.15"]
    assert unbeaten(large, radius) == {"jacobian_fastlip", "fastlip", "fastlip_wide"}
    assert "`jacobian_fastlip`, `fastlip` and `fastlip_wide` are told apart from the best in neither" in page
    assert not {one for one in names if all(large[one, other] == "<" for other in names - {one})}
    assert large["jacobian", "fastlip"] == large["jacobian", "fastlip_wide"] == "·"
    assert "At 0.15 the first two of these are not told apart from `jacobian`" in page
    transfer = of["calibrated transfer, radius 0.05"]
    order = ("spectral", "affine_relu", "abs_chain", "fastlip")
    assert "each is told apart from the others, but the first two from one another" in page
    assert {transfer[pair] for pair in combinations(order, 2) if pair != order[:2]} == {"<"} and transfer[
        order[:2]
    ] == "·"
    assert (
        constant["weight_decay", "pgd"] == "·"
        and "(`pgd`) ends at 0.573, weight decay at 0.445, not told apart" in page
    )
    margin = [of[f"margin over constant, radius {radius}"] for radius in ("0.05", "0.15")]
    assert all(table["witnesses", "jacobian_fastlip"] == "·" for table in margin)
    assert "but these are not told apart" in page


def unbeaten(*tables: dict[tuple[str, str], str]) -> set[str]:
    """Who is told apart from the best in none of some tables of pairs, whose first rows are the best ones'."""
    names = {one for one, _ in tables[0]}
    best = [next(one for one, _ in table) for table in tables]
    return {
        name for name in names if all(name == b or table[name, b] == "·" for table, b in zip(tables, best, strict=True))
    }


def test_other_twins_of_l2_leave_the_same_three_first() -> None:
    for radius, cell in (("0.2", 2), ("0.6", 4)):
        (chosen,) = re.findall(rf"Radius {radius}:\n\n(.*?)(?:\n\n|$)", tables("equal", "l2"), re.DOTALL)
        rule, longer = constants(chosen, 4), constants(tables("longer", "l2"), cell)
        lowest = [set(sorted(own, key=lambda name: float(own[name]))[:3]) for own in (rule, longer)]
        assert lowest[0] == lowest[1] == {"jacobian", "witnesses", "jacobian_fastlip"}
        if radius == "0.2":
            four = ("jacobian", "jacobian_fastlip", "witnesses", "spectral")
            told = [f"{', '.join(own[n] for n in four[:3])} and {own[four[3]]}" for own in (longer, rule)]
            assert f"the first four have {told[0]} in place of {told[1]} at 0.2" in PAGE
    assert "at both radii the first three are the same three" in PAGE


def constants(table: str, cell: int) -> dict[str, str]:
    """The values of a column without their intervals, by penalty."""
    cells = (line.split(" | ") for line in re.findall(r"^\| `.*", table, re.MULTILINE))
    return {own[0].split("`")[1]: own[cell].split()[0] for own in cells}


def first(kind: str, question: str, count: int) -> list[str]:
    """The first penalties of a table, in its order."""
    return re.findall(r"^\| `(\w+)`", tables(kind, question), re.MULTILINE)[:count]


def test_what_is_said_of_other_readings_is_in_their_tables() -> None:
    equal, held, chosen = (first(kind, "linf", 6) for kind in ("equal", "held", "chosen"))
    assert equal == held and "the first six in margin over constant are the same at 0.05, in the same order" in PAGE
    swapped = {"jacobian": "jacobian_fastlip", "jacobian_fastlip": "jacobian"}
    assert chosen == [swapped.get(name, name) for name in equal]
    assert "`jacobian` and `jacobian_fastlip` change places" in PAGE
    (small,) = re.findall(r"Radius 0.05:\n\n(.*?)\n\n", tables("equal", "linf"), re.DOTALL)
    ranks = [
        sorted(own, key=lambda name, own=own: float(own[name])).index("abs_chain") + 1
        for own in (constants(small, 4), constants(tables("held", "linf").split("\n\n")[0], 2))
    ]
    assert ranks == [8, 6] and "`abs_chain` comes from eighth to sixth place (0.349, on held-out images 0.273)" in PAGE
    large = [tables(kind, "linf").split("Radius 0.15")[-1] for kind in ("equal", "held")]

    def margin(line: str) -> float:
        """Over the constant at 0.15, the third figure of a line of either table."""
        return float(line.split(" | ")[3].split()[0])

    lines = (re.findall(r"^\| `.*", table, re.MULTILINE) for table in large)
    told = [[line.split("`")[1] for line in sorted(own, key=margin, reverse=True)][:5] for own in lines]
    assert told[0] == told[1] and "and the first five at 0.15" in PAGE


def test_what_became_of_the_expectations_is_in_their_lists() -> None:
    linf = tables("expected", "linf").splitlines()
    stood = [line[3:].split(":")[0] for line in linf]
    assert stood == ["Not refuted", "Not refuted", "Stands", "Not refuted", "Not refuted"]
    assert "none was refuted in l_inf, and one stands in full: that products pass on less" in PAGE
    assert "better than `fastlip_wide`, `jacobian_fastlip`, `jacobian`, `witnesses`" in linf[3]
    assert "but for four of them nothing better is told apart either" in PAGE


def test_claims_about_l2_balls_are_those_of_their_tables() -> None:
    of = pairs_of("l2")
    small, large = of["calibrated constant, radius 0.2"], of["calibrated constant, radius 0.6"]
    radius = of["certified radius by `jacobian_crown`, radius 0.6"]
    assert "over five seeds of the same thirteen penalties and early stopping" in PAGE
    near = {"jacobian_fastlip", "witnesses", "spectral", "affine_relu"}
    others = {one for one, _ in small} - {"jacobian"}
    assert len(others) == 13 and {other for other in others if small["jacobian", other] != "<"} == near
    assert "none of these is told apart from the first, which is lower than each of the others" in PAGE
    assert "and no two of these are told apart" in PAGE
    assert all(large[pair] == "·" for pair in permutations(("jacobian", *near), 2))
    better = of["certified radius by the better closed form, radius 0.6"]
    best = "jacobian_fastlip"
    assert unbeaten(large, radius) == {best} == {next(one for one, _ in radius)} == {next(one for one, _ in better)}
    assert "and the only one that is told apart from the best in neither" in PAGE
    assert unbeaten(large, better) == {best, "spectral", "affine_relu"}
    assert "`spectral` and `affine_relu` are told apart from the best in neither as well" in PAGE
    assert {"fastlip", "fastlip_wide"} <= unbeaten(radius) - unbeaten(large)
    assert {"jacobian", "witnesses", "spectral", "affine_relu"} <= unbeaten(large) - unbeaten(radius)
    otherwise = [line.split("told apart here alone: ") for line in tables("held", "l2").splitlines() if line[:1] == "-"]
    assert (
        "`jacobian_fastlip` < `spectral`" in otherwise[0][1] and "`jacobian_fastlip` < `affine_relu`" in otherwise[1][1]
    )
    assert all("none" not in gone for gone, _ in otherwise)
    assert "`jacobian_fastlip` is told apart from `spectral` at 0.2 and from `affine_relu` at 0.6" in PAGE
    transfer = of["calibrated transfer, radius 0.2"]
    assert all(
        transfer[one, other] == ">" for one in ("spectral", "affine_relu") for other in ("fastlip", "fastlip_wide")
    )


def test_what_the_study_says_of_witnesses_is_in_its_rows() -> None:
    rows = [json.loads(line) for line in (ROOT / "experiments/results/exact_study.jsonl").read_text().splitlines()[1:]]
    runs = {(r["penalty"], r["strength"], r["seed"]): r for r in rows if (r["stage"], r["question"]) == ("run", "linf")}
    pairs = [(r, runs["jacobian", *key[1:]]) for key, r in runs.items() if key[0] == "witnesses"]
    assert len(pairs) == 25

    def furthest(radius: str, calibrated: bool) -> float:
        """The largest ratio of two constants, in per cent above 1."""
        found = [(constant(one, radius), constant(other, radius), one, other) for one, other in pairs]
        if calibrated:
            known = [each for each in found if each[2]["factor"] and each[3]["factor"]]
            found = [(a * one["factor"], b * other["factor"], one, other) for a, b, one, other in known]
        return 100 * math.expm1(max(abs(math.log(a / b)) for a, b, *_ in found))

    price = [one["seconds"]["training"] / other["seconds"]["training"] for one, other in pairs]
    near, far = ([f"{furthest(radius, calibrated):.0f}" for radius in ("0.05", "0.15")] for calibrated in (False, True))
    assert f"within {near[0]} % of those that `jacobian`" in PAGE
    assert f"and within {near[1]} % at 0.15, calibrated within {far[0]} and {far[1]} %" in PAGE
    assert f"{min(price):.0f} to {max(price):.0f} times the seconds of training" in PAGE


def constant(row: dict[str, Any], radius: str) -> float:
    """The mean of a run's points."""
    return geometric_mean(low for low, _ in row["audits"][radius]["exact"])


def test_wrong_answers_behind_the_factor_are_counted() -> None:
    rows = [json.loads(line) for line in (ROOT / "experiments/results/exact_study.jsonl").read_text().splitlines()[1:]]
    runs = [row for row in rows if (row["stage"], row["question"]) == ("run", "linf")]
    runs = [row for row in runs if row["penalty"] in (TWIN, *PENALTIES)]
    wrong = [DIGITS.calibration - int(flags(row["held"], DIGITS.held)[: DIGITS.calibration].sum()) for row in runs]
    twins = [count for row, count in zip(runs, wrong, strict=True) if row["penalty"] == TWIN]
    told = f"{min(wrong)} to {max(wrong)} of a run in l_inf, of the twins {sum(twins) / len(twins):.0f}"
    assert f"of 500 calibration images: {told} in the mean" in PAGE and DIGITS.calibration == 500
    undefined = [(row["penalty"], row["seed"]) for row in runs if row["factor"] is None]
    assert undefined == [("jacobian", 4)] and "`jacobian` at its weakest strength with seed 4, T is undefined" in PAGE


def test_what_steps_cost_is_what_was_measured() -> None:
    measured = prices()["linf"]
    told = dict(
        re.findall(
            r"(weight decay|`\w+`) (\d+\.\d)\b", PAGE[PAGE.index("## What it costs") : PAGE.index("## What a reviewer")]
        )
    )
    assert {name.strip("`").replace(" ", "_"): float(ratio) for name, ratio in told.items()} == {
        name: round(ratio, 1) for name, (ratio, _, _) in measured.items()
    }
    spread = max(max(high / middle, middle / low) for middle, low, high in measured.values()) - 1
    assert spread <= 0.27 and "Single turns differ by up to 26 %" in PAGE


def test_what_is_said_of_mnist_is_so_in_every_seed() -> None:
    of = pairs_of("mnist")
    first, second = ("jacobian", "jacobian_fastlip"), ("fastlip", "jacobian_frobenius")
    for radius in ("0.01", "0.04"):
        constant = of[f"calibrated constant, radius {radius}"]
        rest = {one for one, _ in constant} - {*first, *second}
        assert len(rest) == 4
        assert all(constant[pair] == "<" for pair in (*product(first, second), *product(second, rest)))
    assert "in every seed the first two are lower than the next two, and those lower than the rest" in PAGE
    twin = next(line for line in tables("strengths", "mnist_conv").splitlines() if line.startswith("| `none`"))
    assert "8 of 8" in twin and "4 of 8" in twin and "those at 0.08 of the twins half" in PAGE
