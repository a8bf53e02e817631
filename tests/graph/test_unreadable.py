"""Modules that cannot be read at all are named as what they are, with what to pass instead."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lipreg.errors import UnsupportedModel
from lipreg.graph import capture


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_lazy_and_quantised_modules_are_named() -> None:
    plain = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    scripted = torch.jit.trace(plain, torch.zeros(1, 3))
    quantised = torch.ao.nn.quantized.Linear(3, 2)
    for module, says in (
        (scripted, "TorchScript.*made from"),
        (nn.Sequential(scripted), "'0'.*TorchScript"),
        (nn.Sequential(nn.LazyLinear(2)), "'0'.*LazyLinear has no weights yet.*one batch"),
        (nn.Sequential(quantised), "'0'.*quantised.*dequantize"),
    ):
        with pytest.raises(UnsupportedModel, match=f"(?s){says}"):
            capture(module, torch.zeros(1, 3))
    lazy = nn.Sequential(nn.LazyLinear(2), nn.ReLU())
    lazy(torch.zeros(1, 3))
    capture(lazy, torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (nn.LayerNorm(4), "deviation of its own input.*BatchNorm"),
        (nn.GroupNorm(2, 4), "deviation of its own input.*BatchNorm"),
        (nn.MultiheadAttention(4, 2), "multiplies activations"),
        (nn.Embedding(5, 2), "discrete inputs.*module="),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_never_piecewise_linear_says_what_to_do(module: nn.Module, says: str) -> None:
    class Uses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.part(x, x, x)[0] if isinstance(module, nn.MultiheadAttention) else self.part(x)

    with pytest.raises(UnsupportedModel, match=rf"(?s)part: \w+ \[never\].*{says}"):
        capture(Uses(), torch.zeros(1, 4))


@pytest.mark.parametrize("call", [lambda y: y.sum(1, True, dtype=torch.int64), lambda y: y.mean(1, True).int()])
def test_whole_numbers_jump_however_they_are_asked_for(call: Callable[[Tensor], Tensor]) -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return call(torch.relu(self.a(x))).float()

    with pytest.raises(UnsupportedModel, match=r"whole numbers.* jumps between|jumps between whole numbers"):
        capture(Counting(), torch.zeros(1, 3)).frozen()


def test_sixteen_bits_are_refused_between_layers_and_read_as_weights() -> None:
    class Casting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.half().float() + x.bfloat16()

    with pytest.raises(UnsupportedModel, match=r"(?s)half \[settings\].*rounds.*bfloat16 \[settings\].*rounds"):
        capture(Casting(), torch.zeros(1, 3))
    net, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).half(), torch.rand(5, 3, dtype=torch.float64)
    torch.testing.assert_close(capture(net, x[:1]).frozen_at(x[:1])(x), net.double()(x))
