"""The frontier loses no node, whatever the order of what is done to it."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from lipreg.search.nodes import Frontier, Nodes


def nodes(uppers: list[float], depth: int = 0) -> Nodes:
    """Nodes told apart by their bound, which every other column repeats."""
    upper = torch.tensor(uppers, dtype=torch.float64)
    wide = upper.unsqueeze(-1).expand(-1, 3).clone()
    count = len(uppers)
    depths = torch.full((count,), depth)
    vectors = (upper + 4).reshape(-1, 1, 1).expand(-1, 2, 2).clone()
    return Nodes(
        torch.zeros(count, 3, dtype=torch.int8),
        depths * 0,
        upper,
        depths,
        wide,
        wide + 1,
        wide + 2,
        wide + 3,
        vectors,
        wide + 5,
        wide + 6,
        wide.unsqueeze(-2).expand(-1, 2, -1) + 7,
        wide + 8,
    )


def values(batch: Nodes) -> list[float]:
    for column, more in ((batch.z_lower, 0), (batch.z_upper, 1), (batch.d_lower, 2), (batch.d_upper, 3)):
        assert torch.equal(column, (batch.upper + more).unsqueeze(-1).expand(-1, 3))
    assert torch.equal(batch.vectors[:, 1, 0], batch.upper + 4)
    return sorted(batch.upper.tolist())


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.integers(0, 50), max_size=8)),
        st.tuples(st.just("take"), st.integers(1, 6)),
        st.tuples(st.just("drop"), st.integers(0, 50)),
    ),
    max_size=20,
)


@given(first=st.lists(st.integers(0, 50), min_size=1, max_size=5), steps=STEPS, limit=st.sampled_from([1, 10**9]))
def test_nothing_is_lost(first: list[int], steps: list[tuple[str, list[int] | int]], limit: int) -> None:
    held = sorted(map(float, first))
    frontier = Frontier(nodes(held), limit)
    for step, argument in steps:
        if step == "add":
            assert isinstance(argument, list)
            frontier.add(nodes([float(v) for v in argument]))
            held = sorted(held + [float(v) for v in argument])
        elif step == "take" and held:
            assert isinstance(argument, int)
            taken = values(frontier.take(argument))
            assert len(taken) == min(argument, len(held))
            if not frontier.diving:
                assert taken == held[len(held) - len(taken) :]
            for value in taken:
                held.remove(value)
        elif step == "drop":
            gone = [v for v in held if v <= float(argument)]  # type: ignore[arg-type]
            assert frontier.drop(float(argument)) == max(gone, default=0.0)  # type: ignore[arg-type]
            held = [v for v in held if v not in gone]
        assert len(frontier) == len(held)
        assert frontier.upper == max(held, default=-float("inf"))
    if held:
        assert values(frontier.take(len(held))) == held


def test_a_full_frontier_goes_deep_and_comes_back() -> None:
    size = sum(t[0].numel() * t.element_size() for t in vars(nodes([0.0])).values())
    frontier = Frontier(nodes([1.0, 2.0, 3.0]), 4 * size)
    frontier.add(nodes([0.5, 0.25], depth=7))
    assert frontier.take(2).depth.tolist() == [7, 7]  # five are above the limit of four
    assert frontier.diving
    assert frontier.take(1).upper.tolist() == [3.0]  # still diving, and among equally deep ones the best
    assert frontier.take(1).upper.tolist() == [2.0]
    assert not frontier.diving  # down to half of the limit


def test_a_mask_that_leaves_out_none_and_joins_of_one_batch_copy_nothing() -> None:
    three = nodes([0.0, 1.0, 2.0])
    assert three[torch.ones(3, dtype=torch.bool)] is three
    assert Nodes.join([three[:0], three]) is three
    assert len(Nodes.join([three[:0], three[:0]])) == 0
    some = three[torch.tensor([True, False, True])]
    assert torch.equal(some.upper, three.upper[[0, 2]])
    both = Nodes.join([three, some])
    assert torch.equal(both.upper, torch.cat([three.upper, some.upper]))
