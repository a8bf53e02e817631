"""Sentences of the study's page are those of its tables and its committed rows."""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise, permutations, product
from statistics import geometric_mean
from typing import Any

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
    ours = ("jacobian", "jacobian_fastlip")
    assert "each of the two is lower than all eleven others, and they are not told apart" in page
    assert len(names) == 13 and constant[ours] == "·"
    assert all(constant[own, other] == "<" for own in ours for other in names.difference(ours))
    radius = of["certified radius by `jacobian_crown`, radius 0.15"]
    first = [next(one for one, _ in table) for table in (large, radius)]
    both = list(zip((large, radius), first, strict=True))
    unbeaten = {name for name in names if all(name == best or table[name, best] == "·" for table, best in both)}
    assert unbeaten == {"jacobian_fastlip"} and "the only one that is told apart from the best in neither" in page
    transfer = of["calibrated transfer, radius 0.05"]
    order = ("spectral", "affine_relu", "abs_chain", "fastlip")
    assert "each of these is told apart from the next" in page
    assert all(transfer[pair] == "<" for pair in pairwise(order))
    assert constant["weight_decay", "pgd"] == "<" and "(`pgd`) ends at 0.573, above weight decay at 0.445" in page
    first_five = [re.findall(r"^\| `(\w+)`", tables(kind, "linf"), re.MULTILINE)[:5] for kind in ("equal", "held")]
    assert first_five[0] == first_five[1] and "the first five in margin over constant are the same at 0.05" in page
    assert (
        "Refuted" not in tables("expected", "linf")
        and "Of the five expectations of the design none was refuted in l_inf" in page
    )


def test_claims_about_l2_balls_are_those_of_their_tables() -> None:
    of = pairs_of("l2")
    small, large = of["calibrated constant, radius 0.2"], of["calibrated constant, radius 0.6"]
    radius = of["certified radius by `jacobian_crown`, radius 0.6"]
    assert (
        "over five seeds of the same twelve penalties and early stopping" in PAGE
        and "lower than each of the others but `jacobian_fastlip`" in PAGE
    )
    others = {one for one, _ in small} - {"jacobian"}
    assert len(others) == 12
    assert {other for other in others if small["jacobian", other] != "<"} == {"jacobian_fastlip"}
    assert "no two of these are told apart" in PAGE
    assert all(large[pair] == "·" for pair in permutations(("jacobian_fastlip", "jacobian", "spectral"), 2))
    first = [
        next(one for one, _ in of[f"{name}, radius 0.6"]) for name in ("margin over constant", "calibrated constant")
    ]
    assert [*first, next(one for one, _ in radius)] == ["jacobian_fastlip"] * 3
    assert "as in l_inf it is the only one that is told apart from the best in neither:" in PAGE
    good, best = {one for one, _ in large}, "jacobian_fastlip"
    kept = [{one for one in good if one == best or table[best, one] == "·"} for table in (large, radius)]
    assert kept[0] & kept[1] == {best}
    assert {"fastlip", "fastlip_wide"} <= kept[1] - kept[0] and {"jacobian", "spectral"} <= kept[0] - kept[1]
    transfer = of["calibrated transfer, radius 0.2"]
    assert all(
        transfer[one, other] == ">" for one in ("spectral", "affine_relu") for other in ("fastlip", "fastlip_wide")
    )


def test_what_the_study_says_of_witnesses_is_in_its_rows() -> None:
    rows = [json.loads(line) for line in (ROOT / "experiments/results/exact_study.jsonl").read_text().splitlines()[1:]]
    runs = {(r["penalty"], r["strength"], r["seed"]): r for r in rows if (r["stage"], r["question"]) == ("run", "linf")}
    pairs = [(r, runs["jacobian", *key[1:]]) for key, r in runs.items() if key[0] == "witnesses"]
    assert len(pairs) >= 16

    def constant(row: dict[str, Any]) -> float:
        return geometric_mean(low for low, _ in row["audits"]["0.05"]["exact"])

    furthest = max(abs(math.log(constant(one) / constant(other))) for one, other in pairs)
    price = [one["seconds"]["training"] / other["seconds"]["training"] for one, other in pairs]
    assert f"within {100 * math.expm1(furthest):.0f} % of those that `jacobian`" in PAGE
    assert f"{min(price):.0f} to {max(price):.0f} times the seconds of training" in PAGE


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
