"""What a training says of a twin that was audited after other epochs, when it ends."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.callbacks.test_runs_of_trainings import audit, regularizer, train


@pytest.mark.parametrize(
    ("plain", "mine", "ends", "said"),
    [
        (
            {},
            {},
            (1, 2),
            r"after epoch 2, has none of the twin beside it: the last epoch of both is 1\. "
            r"'penalty' was audited after epochs 0, 1, 2; its twin 'plain' .* after epochs 0, 1\.",
        ),
        (
            {},
            {"every_n_epochs": 2},
            (1, 2),
            r"only the untrained networks were audited in both runs.*'penalty' was audited after epochs 0, 2; "
            r"its twin 'plain' .* after epochs 0, 1\.",
        ),
        ({}, {}, (2, 1), ""),
        ({}, {"every_n_epochs": 2}, (2, 2), ""),
    ],
    ids=["a shorter twin", "other epochs", "a longer twin", "fewer epochs, and the last"],
)
def test_a_last_audit_without_one_of_the_twin_is_said_at_the_end(
    tmp_path: Path, plain: dict[str, Any], mine: dict[str, Any], ends: tuple[int, int], said: str
) -> None:
    train(tmp_path, audit(run="plain", points=2, **plain), max_epochs=ends[0])
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        own = audit(run="penalty", twin="plain", points=2, **mine)
        trainer = train(tmp_path, regularizer(), own, max_epochs=ends[1])
    told = [str(w.message) for w in seen if "Train both for as long" in str(w.message)]
    assert len(told) == bool(said)
    assert ("audit/movement_lower" in trainer.callback_metrics) == (not said)
    assert all(re.search(said, words) for words in told), told
