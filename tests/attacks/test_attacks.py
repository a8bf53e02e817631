"""No certified figure is false on some of each kind of attack; ``python -m benchmarks.attacks`` makes the long run."""

from __future__ import annotations

import pytest

from tests.attacks import asking
from tests.attacks.battery import KINDS, strike
from tests.attacks.tally import Tally
from tests.sampling import EVERYTHING

SEED = 1
COUNT, PLANTED = (30, 6) if EVERYTHING else (1, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_no_false_figure(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pre-activation methods take turns; ``make test-all`` has every one with every kind."""
    *methods, best = asking.METHODS
    if not EVERYTHING:
        monkeypatch.setattr(asking, "METHODS", (methods[[*KINDS].index(kind) % len(methods)], best))
    compared = 0
    for index in range(COUNT):
        tally = strike(kind, SEED, index)
        assert not tally.faulty, tally.faults
        compared += tally.comparisons + tally.counts["inner"]
    assert compared > 0


def test_attacks_follow_from_their_seed() -> None:
    one, two = strike("tied", SEED, 0), strike("tied", SEED, 0)
    assert one.counts == two.counts and one.counts["upper"] > 100 and one.counts["lower"] > 0
    assert strike("tied", SEED + 1, 0).counts != one.counts


def test_engines_reach_planted_optima() -> None:
    """Random points see nothing of cells that are a millionth of the region wide."""
    total = Tally()
    for index in range(PLANTED):
        total.add(strike("planted", SEED, index))
    assert total.counts["reached"] >= 2 and not total.faulty
