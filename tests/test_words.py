"""Words of details."""

from __future__ import annotations

from lipreg.words import counted, listed, natural, sentences, size


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


def test_names_are_sorted_by_the_numbers_in_them() -> None:
    weights = ["1e-3", "0.01", "0.1", "1", "10", "1e2"]
    names = [f"weight={weight},seed={seed}/records.jsonl" for weight in weights for seed in (2, 10)]
    assert sorted(reversed(names), key=natural) == names
    assert sorted(["b1", "2", "a", "a10", "a9", "", "0.5", "0.50"], key=natural) == "|0.5|0.50|2|a|a9|a10|b1".split("|")
