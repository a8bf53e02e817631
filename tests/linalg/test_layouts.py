"""Points that hold no numbers entry by entry are refused in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lipreg import AllLogits, LinfBall, LocalLipschitz, capture, certify
from lipreg.errors import InvalidInput


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (Tensor.to_sparse, r"sparse_coo.*Write x.to_dense\(\)"),
        (Tensor.to_mkldnn, r"mkldnn.*Write x.to_dense\(\)"),
        (lambda x: x.to("meta"), "meta device"),
        (Tensor.tolist, "list"),
    ],
    ids=["sparse", "mkldnn", "meta", "list"],
)
def test_odd_points_are_named(odd: Callable[[Tensor], Any], says: str) -> None:
    network, x = torch.nn.Linear(3, 2), odd(torch.rand(2, 3))
    for call in (lambda: capture(network, x), lambda: certify(network, LocalLipschitz(LinfBall(0.1), AllLogits()), x)):
        with pytest.raises(InvalidInput, match=says):
            call()
