"""Figures in sentences of pages are those of committed results, or of the tables beside them."""

from __future__ import annotations

import csv
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from benchmarks.environment import RESULTS, read_result

TRUTH, CLOSED = "calibrated truth / twin's", "calibrated bound / twin's"
DOCS = Path(__file__).resolve().parents[1] / "docs"


def words(page: str) -> str:
    """A page as one line."""
    return " ".join((DOCS / page).read_text(encoding="utf-8").split())


def estimators() -> list[dict[str, str]]:
    found = []
    for name in ("digits", "mnist", "mnist_cube", "depth"):
        with (RESULTS / f"estimators_{name}.csv").open(encoding="utf-8") as file:
            found += [row | {"setting": name} for row in csv.DictReader(file)]
    return found


def test_seconds_of_audits_in_processes() -> None:
    inline, two, beside, ray = read_result("audit")
    audits, scale = words("auditing.md"), words("scale.md")
    assert inline["seconds"] == pytest.approx(14.6, abs=0.051)
    assert "take 14.6 seconds for 200 points in one process" in audits
    assert (
        f"{two['seconds']:.1f} in two ({two['times inline']} times as fast), and {ray['seconds']:.1f} with two"
        in audits
    )
    assert (
        f"idle cluster take {beside['seconds']:.1f}" in audits
        and f"stole {float(inline['stolen'][:-1]):.0f}%" in audits
    )
    assert {row["exact"] for row in (inline, two, beside, ray)} == {200}
    assert "200 points of the digits network took 14.6 seconds in one process and 7.5 in two" in scale


def test_seconds_of_width_and_points() -> None:
    scale, rows = words("scale.md"), read_result("scale")
    wide = {row["width"]: row for row in rows if row["curve"] == "width"}
    closed = [1000 * row["closed_forms"] for row in wide.values()]
    assert f"{min(closed):.0f} to {max(closed):.0f} ms a point at widths {min(wide)} to {max(wide)}" in scale
    ends = [wide[min(wide)], wide[max(wide)]]
    told = [f"{ends[0]['cpu_seconds']:.2f} seconds at width 16 (none", f"to {ends[1]['cpu_seconds']:.1f} at width 128"]
    assert all(text in scale for text in told) and f"({ends[1]['undecided']} unstable)" in scale
    each = {row["points"]: 1000 * row["each"] for row in rows if row.get("method") == "closed forms"}
    later = [each[count] for count in each if count > 10]
    assert f"{each[10]:.1f} ms for each of 10, {min(later):.1f} to {max(later):.1f} ms for each of a" in scale
    sampled = [1000 * row["each"] for row in rows if row.get("method") == "sampling"]
    assert "takes 30 ms a point" in scale and sampled == pytest.approx([30.0] * len(sampled), rel=0.1)


def test_what_is_read_off_the_main_job() -> None:
    page = words("main_job.md")
    assert "the quotient of two T is known to 4 to 23 %" in page

    def number(text: str) -> float:
        return float(text.rstrip("%"))

    def ratios(name: str, weight: float) -> list[float]:
        rows = [row for row in read_result(name) if row["weight"] == weight]
        return [number(row["margin over constant"]) / number(row["twin's margin over constant"]) for row in rows]

    rows = read_result("main_job")
    noise = [number(row["noise of T"]) for row in rows if row["weight"] < 0.1]
    assert (round(min(noise)), round(max(noise) + 0.4)) == (4, 23)
    usual, weak = ([row for row in rows if row["weight"] == weight] for weight in (0.001, 0.0001))
    apart = [abs(number(row["accuracy"]) - number(row["twin's accuracy"])) for row in usual]
    assert f"within {max(apart):.1f} points of the twin's" in page
    grown = ratios("main_job", 0.001)
    assert f"over the constant is {min(grown):.1f} to {max(grown):.1f} times" in page
    for some, text in (
        (usual, "falls to {:.0f} to {:.0f} % of"),
        (weak, "calibrated constant to {:.0f} to {:.0f} % at"),
    ):
        truth = [100 * number(row["calibrated truth / twin's"]) for row in some]
        assert text.format(min(truth), max(truth)) in page
    raw = [number(row["transfer"]) for row in usual]
    assert f"({min(raw):.2f} to {max(raw):.2f})" in page
    free = [number(row["calibrated transfer"]) for row in usual]
    assert f"transfer is {min(free):.2f} to {max(free):.2f}" in page
    bounds, raw_bounds = ([number(row[name]) for row in usual] for name in (CLOSED, "bound / twin's"))
    assert f"the calibrated bound to {100 * min(bounds):.0f} to {100 * max(bounds):.0f} %" in page
    truths = [[number(row[name]) for row in usual] for name in (TRUTH, "truth / twin's")]
    both = [f"{100 * min(own):.0f} to {100 * max(own):.0f} %" for own in (truths[1], raw_bounds)]
    assert f"to {both[0]}, and the bounds to {both[1]}: " in page
    smaller = [
        [100 * (1 - math.log(free) / math.log(raw)) for free, raw in zip(*moved, strict=True)]
        for moved in (truths, (bounds, raw_bounds))
    ]
    ends = [f"{min(own):.0f} to {max(own):.0f} %" for own in smaller]
    parts = [f"{ends[0]} of the constants'", f"{ends[1]} of the bounds'"]
    assert f"in logarithms {parts[0]} fall and {parts[1]} is nothing but smaller logits" in page
    sparse = [row for row in read_result("main_job_every") if row["every"] == 16]
    lost = [number(row["twin's accuracy"]) - number(row["accuracy"]) for row in sparse]
    assert "With every sixteenth batch accuracy pays about a point" in page and lost == pytest.approx(
        [1.0] * 3, abs=0.25
    )
    thirds = [number(row[TRUTH]) for row in read_result("main_job_jacobian")]
    assert "and the calibrated constant a third of it" in page and thirds == pytest.approx([1 / 3] * 3, abs=0.05)
    weights = {row["weight"] for row in read_result("main_job_jacobian")}
    grown = [ratio for weight in weights for ratio in ratios("main_job_jacobian", weight)]
    assert f"The margin over the constant is {min(grown):.1f} to {max(grown):.1f} times" in page


def test_which_estimator_when() -> None:
    page, rows = words("estimators.md"), estimators()

    def above(name: str, p: str, radius: str) -> float:
        key = {"setting": "digits", "scope": "regional", "p": p, "radius": radius, "estimator": name}
        (row,) = [row for row in rows if key.items() <= row.items()]
        return 100 * (float(row["ratio"]) - 1)

    mixing = [above("mixing", "inf", radius) for radius in ("0.05", "0.1", "0.2")]
    assert "within {:.0f}% of the constant at radius 0.05, {:.0f}% at 0.1 and {:.0f}% at 0.2".format(*mixing) in page
    others = [above(name, "inf", "0.2") for name in ("jacobian_crown", "deviation")]
    assert "`jacobian_crown` is {:.0f}% and `deviation` {:.0f}% above it".format(*others) in page
    assert max(above("lipsdp", "2", radius) for radius in ("0.01", "0.02", "0.05", "0.1")) <= 0.15
    assert f"{1 + above('lipsdp', '2', '0.2') / 100:.3f} at radius 0.2" in page
    assert f"(`mixing`: {1 + above('mixing', '2', '0.2') / 100:.3f}, 2 ms)" in page
    own = [row for row in rows if (row["estimator"], row["scope"]) == ("branch_and_bound", "regional")]
    assert f"Exact at all {sum(int(row['points']) for row in own)} questions" in page
    assert all(row["points"] == row["closed"] for row in own)


def test_how_far_estimators_are_from_the_constant() -> None:
    page, choosing, rows = words("estimators.md"), words("choosing.md"), estimators()

    def found(column: str = "ratio", **asked: str) -> list[float]:
        own = [row for row in rows if asked.items() <= row.items() and row[column]]
        return [float(row[column]) for row in own]

    exact = found("seconds", estimator="branch_and_bound", scope="regional")
    assert f"in {statistics.median(exact):.2f} seconds a point at the median" in page
    assert f"the slowest setting takes {max(exact):.1f}" in page
    for name, said in (("mip", "misses five of 40 on the digits"), ("lipmip", "misses 16 of those")):
        asked, closed = (sum(found(column, setting="digits", estimator=name)) for column in ("points", "closed"))
        assert (asked, asked - closed) == (40, {"mip": 5, "lipmip": 16}[name]) and said in page
    pairs = [
        [found(column, setting="digits", scope="regional", p=p, estimator=name) for name in ("lp", "jacobian_crown")]
        for p in ("1", "inf")
        for column in ("seconds", "ratio")
    ]
    costs = [a / b for both in pairs[::2] for a, b in zip(*both, strict=True)]
    assert f"costs {min(costs):.0f} to {max(costs):.0f} times as much on the digits, for less than 0.1%" in page
    assert max(b / a for both in pairs[1::2] for a, b in zip(*both, strict=True)) < 1.001
    narrow = {"setting": "digits", "scope": "regional", "p": "2", "estimator": "lipsdp"}
    seconds = [
        value for radius in ("0.01", "0.02", "0.05", "0.1") for value in found("seconds", **narrow, radius=radius)
    ]
    assert "in 0.02 to 0.5 seconds" in page and 0.01 < min(seconds) < 0.02 and 0.4 < max(seconds) < 0.5
    regional = {"setting": "digits", "scope": "regional"}
    losing = found(**regional, p="inf", estimator="affine_relu")
    assert "`affine_relu` is 7 to 8 times the constant for p = inf" in page and 7 < min(losing) < max(losing) < 8
    products = [ratio for name in ("affine_relu", "spectral") for ratio in found(**regional, p="2", estimator=name)]
    assert f"are {min(products):.1f} to {max(products):.1f} times the constant" in page
    up_to = [
        found(**regional, p="inf", estimator="fastlip", radius=radius)[0] for radius in ("0.01", "0.02", "0.05", "0.1")
    ]
    assert "`fastlip` is within a factor of 2 up to radius 0.1" in page and 1.5 < max(up_to) < 2

    def pointed(setting: str) -> str:
        best: dict[tuple[str, ...], float] = {}
        for row in rows:
            known = row["setting"] == setting and row["scope"] == "pointed" and row["ratio"]
            if known and row["estimator"] in ("mixing", "jacobian_crown"):
                key = row["network"], row["p"], row["radius"]
                best[key] = min(best.get(key, math.inf), 100 * (float(row["ratio"]) - 1))
        return f"{min(best.values()):.0f} to {max(best.values()):.0f}%"

    assert f"{pointed('digits')} above the constant on the digits and {pointed('mnist')} on MNIST" in page
    assert f"where hardly a unit is unstable, {pointed('mnist_cube')}" in page
    witness = {"estimator": "sampling"}
    least = min(found(**witness, scope="regional")), min(found(**witness, scope="pointed", p="inf"))
    shares = [math.floor(100 * share) for share in least]
    assert (
        f"at least {shares[0]}% of the regional constant here, and {shares[1]}% of the pointed one for p = inf" in page
    )
    short = found(**witness, scope="pointed", p="1")
    assert "falls short by a fifth to a quarter there" in page and 0.75 < min(short) < max(short) < 0.8
    drawn = {"estimator": "random_points", "scope": "regional"}
    least_drawn = 100 * min(found(**drawn, setting="digits"))
    assert f"find {least_drawn:.0f}% in regional scope on the digits but half on MNIST" in page
    assert min(found(**drawn, setting="mnist")) == pytest.approx(0.5, abs=0.01)
    drawn = {"estimator": "random_points", "scope": "pointed"}
    far = [ratio for name in ("digits", "mnist") for ratio in found(**drawn, setting=name)]
    assert f"pointed scope {100 * min(far):.0f} to {100 * max(far):.0f}% on both" in page
    clever = [found(estimator="clever", setting="digits", scope=scope) for scope in ("regional", "pointed")]
    told = [f"{min(own):.2f} to {max(own):.2f}" for own in clever]
    assert f"it is {told[0]} of the regional constant, and {told[1]} of the pointed one" in choosing
    assert min(found(estimator="clever", setting="mnist", scope="regional")) == pytest.approx(0.5, abs=0.03)
    assert f"up to {max(found(estimator='clever')):.1f} times on the synthetic set" in page
    mixing = found(estimator="mixing", scope="regional", p="2")
    assert f"For p = 2 `mixing` is 0 to {100 * (max(mixing) - 1):.0f}% above the regional constant" in choosing


def test_large_networks_on_a_gpu_and_exact_audits_of_a_small_one() -> None:
    page, core, gpu = words("choosing.md"), read_result("conv_alexnet"), read_result("conv_alexnet_cuda")
    (local, whole), (slow, slower) = ([float(row["seconds"]) for row in rows] for rows in (gpu, core))
    assert f"takes {local} seconds and the global one {whole}, against {slow:.0f} and {slower:.0f} on the core" in page
    rows = read_result("conv_audits")
    unstable = [row["undecided units"] for row in rows]
    assert f"at {min(unstable)} to {max(unstable)} unstable units" in page

    def both(row: dict[str, Any], name: str) -> tuple[float, float]:
        low, high = (float(end) for end in row[name].strip("[]").split(", "))
        return low, high

    gaps = {
        name: [1 - low / high for low, high in (both(row, name) for row in rows)]
        for name in ("branch_and_bound", "mip")
    }
    assert [f"{100 * end:.0f}" for name in gaps for end in (min(gaps[name]), max(gaps[name]))] == ["1", "4", "0", "2"]
    assert "its gaps were 1 to 4%" in page and "left 0 to 2%, one of six digits closed" in page
    today = [row for row in read_result("exact_size") if row["question"] == "audit"]
    still = [100 * row["gap"] for row in today if not row["closed"]]
    assert (len(today), len(still)) == (6, 5)
    assert f"closes one of six and leaves gaps of {min(still):.2g} to {max(still):.2g}%" in page
    assert sum(row["mip: status"] == "proved" for row in rows) == 1 and len(rows) == 6
    best = [min(both(row, name)[1] for name in gaps) for row in rows]
    factors = {
        name: max(float(row[name]) / end for row, end in zip(rows, best, strict=True)) for name in ("lp", "fastlip")
    }
    assert factors["lp"] == pytest.approx(1.04, abs=0.005) and factors["fastlip"] == pytest.approx(2.1, abs=0.06)
    assert "`lp` alone was within 4% of the best upper end, `fastlip` within a factor of 2.1" in page


def test_prices_on_a_gpu_and_penalties_at_few_batches() -> None:
    page = words("choosing.md")
    whole, few = (
        [row[f"p = inf, points {points}, every {every}"] for row in read_result("penalty_prices_cuda")]
        for points, every in (("all", 1), (16, 4))
    )
    small, large = whole[:3], whole[3:]
    assert "128 points at p = inf take {}, {} and {} times the plain step".format(*small) in page
    assert "{:.1f} and {:.1f} times for the quarter-width VGG-11 and ResNet-18".format(*large) in page
    assert f"at every fourth batch {min(few):.1f} and {max(few):.1f} times" in page

    def moved(name: str, every: int) -> str:
        rows = [row for row in read_result(name) if (row["weight"], row["every"]) == (0.001, every)]
        *others, last = [f"{float(row[TRUTH]) + 1e-9:.3f}" for row in sorted(rows, key=lambda r: r["seed"])]
        return f"{', '.join(others)}, {last}"

    fourth, each, sixteenth = moved("main_job_every", 4), moved("main_job", 1), moved("main_job_every", 16)
    both = f"to {' and '.join(fourth.rsplit(', ', 1))} of the twin's, against {' and '.join(each.rsplit(', ', 1))}"
    assert both in page and f"does nearly so ({sixteenth})" in page


def test_seconds_of_solvers_and_of_the_longest_published_search() -> None:
    page = words("choosing.md")
    rows = read_result("exact")
    highs, gurobi = ([row["cpu_seconds"] for row in rows if row["engine"] == name] for name in ("mip", "mip@gurobi"))
    assert f"took `mip` {sum(highs):.0f} CPU seconds with HiGHS and {sum(gurobi):.0f} with Gurobi" in page
    assert f"the hardest of them {max(highs):.1f} and {max(gurobi):.1f};" in page
    (bike,) = [row for row in read_result("exact_exlipbab") if row["question"].startswith("bike")]
    assert (round(bike["known_seconds"] / 3600), round(bike["cpu_seconds"] / 60)) == (7, 4)
    assert "(seven hours there, four minutes here)" in words("../README.md")


def test_solvers_and_searches_of_other_questions() -> None:
    mathematics, search, choosing = (words(page) for page in ("mathematics.md", "branch_and_bound.md", "choosing.md"))
    lines: dict[str, float] = {}
    for row in read_result("mip"):
        lines[row["engine"]] = lines.get(row["engine"], 0.0) + row["seconds"]
    last = [f"{seconds:.0f}" for seconds in list(lines.values())[-3:]]
    assert f"take {last[0]}, {last[1]} and {last[2]} CPU seconds on the last three lines" in mathematics
    acas = [row["cpu_seconds"] for row in read_result("exact_acas") if row["question"] == "ACASXU_1_1"]
    assert f"in {min(acas):.0f} to {max(acas):.0f} CPU seconds an output" in search and len(acas) == 5
    balls = [row for row in read_result("exact_balls") if row["engine"] == "branch_and_bound"]
    assert sum(row["ball_closed"] for row in balls) == len(balls) == 30
    assert "all 30 questions of the reference networks are closed, each in under 0.7 CPU seconds" in choosing
    assert 0.6 < max(row["ball_cpu_seconds"] for row in balls) < 0.7
