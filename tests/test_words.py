"""Words of details."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR

from lipreg.words import (
    counted,
    listed,
    natural,
    rounded,
    sentences,
    shortened,
    shortened_apart,
    size,
    spelled,
    written,
)


def test_counts_lists_sizes_and_sentences() -> None:
    assert [counted(n, "node") for n in (0, 1, 2, 12071)] == ["0 nodes", "1 node", "2 nodes", "12,071 nodes"]
    assert [listed(list(names)) for names in ("a", "ab", "abcd", "abcdef")] == [
        "a",
        "a and b",
        "a, b, c and d",
        "a, b, c and 3 more",
    ]
    assert [size(n) for n in (1, 64, 2048, 2_000_000, 2**28, 3 * 2**29)] == [
        "1 byte",
        "64 bytes",
        "2 KiB",
        "1.907 MiB",
        "256 MiB",
        "1.5 GiB",
    ]
    assert sentences("0 nodes", "", "No time for it.", "") == "0 nodes. No time for it"
    assert sentences("0 nodes", "10 nodes") == "0 nodes. 10 nodes", "each is another"
    assert sentences("A. B", "B", "C. A.") == "A. B. C", "each once"


NUMBERS = {
    0.0: "0",
    0.0001: "0.0001",
    1e-5: "1e-5",
    -2.5e-7: "-2.5e-7",
    12346.0: "12346",
    99999.7: "99999.7",
    123456.0: "1.23456e5",
    1e6: "1e6",
    1e-300: "1e-300",
}
"""Numbers as they stand everywhere, pages' scripts among them."""


def test_numbers_stand_in_one_form() -> None:
    assert {value: written(value) for value in NUMBERS} == NUMBERS
    few = [written(1 / 3, 3), written(99999.7, 4), written(1e-5 / 3, 2), written(1 / 3), written(-0.0)]
    assert few == ["0.333", "1e5", "3.3e-6", "0.333333", "0"]
    assert [written(end) for end in (math.inf, -math.inf, math.nan)] == ["inf", "-inf", "n/a"]
    told = [spelled(value) for value in (1 / 3, 1e-5, 5.0, 5, True, "x")]
    assert told == ["0.3333333333333333", "1e-5", "5", "5", "True", "x"]
    assert [rounded(-1e-5), rounded(123451.0, ROUND_CEILING), rounded(12345.0, ROUND_FLOOR)] == [
        "-1e-5",
        "1.235e5",
        "12340",
    ]


def test_names_are_sorted_by_the_numbers_in_them() -> None:
    weights = ["1e-3", "0.01", "0.1", "1", "10", "1e2"]
    names = [f"weight={weight},seed={seed}/records.jsonl" for weight in weights for seed in (2, 10)]
    assert sorted(reversed(names), key=natural) == names
    assert sorted(["b1", "2", "a", "a10", "a9", "", "0.5", "0.50"], key=natural) == "|0.5|0.50|2|a|a9|a10|b1".split("|")


def test_long_names_lose_their_middle_and_stay_apart() -> None:
    assert shortened("weight 0.1", 10) == "weight 0.1" and shortened("weight 0.1, id 7f", 10) == "weig…id 7f"
    assert shortened("a\nb" * 9, 12) == "a ba b…b a b" or len(shortened("a\nb" * 9, 12)) == 12
    alike = [f"weight 0.1, {middle}{'c' * 40}, id 7f" for middle in "ab"]
    assert shortened_apart(alike, 20) == alike, "they would be the same"
    assert shortened_apart([alike[0], alike[0]], 20) == [shortened(alike[0], 20)] * 2, "they are the same"
    assert shortened_apart([*alike, "c" * 40 + ", id 80"], 20)[2] == shortened("c" * 40 + ", id 80", 20)
