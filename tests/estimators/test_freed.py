"""What a method has made of a question is freed with its answer, not whenever the collector of cycles comes by."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn

from lipreg import AllLogits, Budget, LinfBall, LocalLipschitz, Vector, certify
from lipreg.bounds import Analysis
from lipreg.errors import UnsupportedRequest
from lipreg.estimators import ESTIMATORS
from lipreg.outputs import Output


def networks() -> dict[str, tuple[nn.Module, int]]:
    torch.manual_seed(0)
    pooled = nn.Unflatten(1, (1, 8)), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)
    return {
        "dense": (nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 2)), 3),
        "curved": (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), 3),
        "pooled": (nn.Sequential(*pooled), 8),
    }


@pytest.mark.parametrize("output", [AllLogits(), Vector()], ids=["rows", "operator"])
@pytest.mark.parametrize("net", networks())
def test_no_analysis_outlives_the_call_that_made_it(net: str, output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    module, inputs = networks()[net]
    made: list[weakref.ref[Analysis]] = []
    init = Analysis.__init__

    def noted(self: Analysis, *args: object, **options: object) -> None:
        made.append(weakref.ref(self))
        init(self, *args, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Analysis, "__init__", noted)
    problem, x, kept = LocalLipschitz(LinfBall(0.1), output), torch.rand(2, inputs), dict[str, int]()
    gc.collect()
    gc.disable()
    try:
        for name in ESTIMATORS.offered():
            made.clear()
            try:
                certify(module, problem, x, estimator=name, budget=Budget(1.0, nodes=3))
            except UnsupportedRequest:
                continue
            assert made, name
            kept[name] = sum(one() is not None for one in made)
    finally:
        gc.enable()
    assert len(kept) > 5
    assert not {name: count for name, count in kept.items() if count}
