"""Padding of every mode: each entry of the result is one entry of the input, or a constant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.graph.context import Context
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Symbol
from lipreg.linalg import gather

MODES = ("constant", "zeros", "reflect", "replicate", "circular")
"""The modes of padding that are covered; ``zeros`` is that of convolutions."""
CLASSES: dict[str, tuple[type[nn.Module], ...]] = {
    "reflect": (nn.ReflectionPad1d, nn.ReflectionPad2d),
    "replicate": (nn.ReplicationPad1d, nn.ReplicationPad2d),
    "circular": (nn.CircularPad1d, nn.CircularPad2d),
    "constant": (nn.ZeroPad1d, nn.ZeroPad2d, nn.ConstantPad1d, nn.ConstantPad2d),
}
"""The padding layers of each mode."""


def positions(x: Symbol) -> Tensor:
    """The flat position of every entry, in the shape of the activations."""
    return torch.arange(torch.Size(x.shape).numel()).reshape(x.shape)


def moved(context: Context, x: Symbol, index: Tensor) -> Symbol:
    """The activations with entries at other places.

    Args:
        context: of the lowering.
        x: the activations.
        index: at each place of the result the flat position of an entry, -1 for 0.

    Raises:
        Refusal: the result has no entries.
    """
    if not index.numel():
        raise Refusal("settings", f"a part without entries, of shape {tuple(index.shape)}, of activations {x.shape}")
    return x.then(gather(index, x.shape, tuple(index.shape), context.like))


def mirrored(context: Context, x: Symbol) -> Symbol:
    """x and -x beside each other, ``(2, *x.shape)``."""
    both = moved(context, x, positions(x).expand(2, *x.shape))
    return both.scaled(context.tensor(torch.tensor([1.0, -1.0])).reshape(2, *(1,) * len(x.shape)))


def pad(context: Context, x: Symbol, ends: Sequence[tuple[int, int]], mode: str, value: float = 0.0) -> Symbol:
    """The activations with entries added before and after each of the last dimensions.

    Args:
        context: of the lowering.
        x: the activations.
        ends: for each of these dimensions how many entries before and after it; below 0 entries are cut off.
        mode: one of ``MODES``.
        value: of the entries added in the modes "constant" and "zeros".

    Raises:
        Refusal: another mode, or a result without entries.
    """
    if mode not in MODES:
        raise Refusal("settings", f"padding mode {mode!r}")
    flat = [end for pair in reversed(ends) for end in pair]
    index = positions(x)
    if mode in ("constant", "zeros"):
        index = F.pad(index, flat, value=-1)
    else:  # in these modes torch pads floating point images (batch, channels, ...)
        spare = len(ends) + 2 - index.dim()
        image = index.double().reshape(*(1,) * spare, *index.shape)
        image = F.pad(image, flat, mode=mode)
        index = image.reshape(image.shape[spare:]).long()
    padded = moved(context, x, index)
    return padded.shifted((index < 0).to(context.like) * value) if value else padded


@lowers(
    *(kind for kinds in CLASSES.values() for kind in kinds),
    example=Example(
        lambda: nn.Sequential(
            nn.ReflectionPad2d((1, 2, 0, 1)),
            nn.Conv2d(2, 2, 3),
            nn.ReLU(),
            nn.ConstantPad2d((1, 0, -1, 0), 0.5),
            nn.Conv2d(2, 1, 2),
            nn.ReplicationPad2d((0, 1, 2, 0)),
            nn.CircularPad2d(1),
            nn.ZeroPad2d((0, 0, 1, 0)),
            nn.Flatten(2),
            nn.ReflectionPad1d((3, 1)),
            nn.ReplicationPad1d((0, 2)),
            nn.CircularPad1d((1, 2)),
            nn.ZeroPad1d((1, 0)),
            nn.ConstantPad1d((0, -5), -1.5),
            nn.Conv1d(1, 1, 9, stride=8),
        ),
        (2, 4, 4),
    ),
)
def lower_pad(context: Context, module: Any, x: Symbol) -> Symbol:
    """The activations with padding, by the settings of the layer."""
    ends: tuple[int, ...] = tuple(module.padding)
    value = getattr(module, "value", 0.0)
    mode = next(mode for mode, kinds in CLASSES.items() if isinstance(module, kinds))
    return _pad_flat(context, x, ends, mode, value)


@lowers(F.pad)
def lower_pad_call(
    context: Context, input: Symbol, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Symbol:
    """The activations with padding, by torch's arguments; the batch axis has none."""
    return _pad_flat(context, input, pad, mode, value or 0.0)


def _pad_flat(context: Context, x: Symbol, flat: Sequence[int], mode: str, value: float) -> Symbol:
    """Padding in torch's form, the last dimension first.

    Raises:
        Refusal: it pads the batch axis.
    """
    ends = [(int(flat[i]), int(flat[i + 1])) for i in range(0, len(flat), 2)][::-1]
    while len(ends) > len(x.shape) and ends[0] == (0, 0):  # no padding of an axis in front
        ends = ends[1:]
    if len(ends) > len(x.shape):
        raise Refusal("settings", "padding of the batch axis")
    return pad(context, x, ends, mode, value)


class _Calls(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.pad(F.pad(x, (1, 0), value=0.5), (0,) * 8)).relu()
        return F.pad(x, (1, 1, 0, 2), mode="reflect")


lowers(example=Example(_Calls, (2, 4, 4)))(lower_pad_call)
