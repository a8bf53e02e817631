"""Words of details."""

from __future__ import annotations

from lipreg.words import counted, listed, sentences, size


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
