"""The keys of the callbacks' states: made once, and again where a setting is another object."""

from __future__ import annotations

from typing import Any

import pytest

from lipreg import AllMargins, LinfBall, LocalLipschitz
from lipreg.callbacks import LipschitzAudit, LipschitzRegularizer
from lipreg.penalties import Hinge


@pytest.mark.parametrize("kind", [LipschitzRegularizer, LipschitzAudit])
def test_a_key_is_made_once_for_all_hooks(monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    callback, made, describe = kind(LocalLipschitz(LinfBall(0.1), AllMargins())), [0], LocalLipschitz.describe

    def counting(problem: LocalLipschitz) -> dict[str, Any]:
        made[0] += 1
        return describe(problem)

    monkeypatch.setattr(LocalLipschitz, "describe", counting)
    keys = {callback.state_key for _ in range(5)}
    assert len(keys) == 1 and made == [1]
    callback.problem = LocalLipschitz(LinfBall(0.2), AllMargins())
    keys.add(callback.state_key)
    assert len(keys) == 2 and made == [2]


def test_a_key_follows_what_is_set_later() -> None:
    first, second = (LipschitzRegularizer(LocalLipschitz(LinfBall(0.1), AllMargins())) for _ in range(2))
    before = first.state_key
    first.term.penalty = Hinge(2.0)
    assert before == second.state_key != first.state_key
