"""Random numbers of many points at once, each point's from a generator of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def draws(
    kind: Callable[..., Tensor], size: tuple[int, ...], generator: torch.Generator | Sequence[torch.Generator]
) -> Tensor:
    """Numbers of that kind, ``size``, in float64; what a generator of a point's own gives does not depend on the others.

    Args:
        kind: ``torch.rand`` or ``torch.randn``.
        size: ``(batch, ...)``.
        generator: one of all points, or one for each of them.
    """
    if isinstance(generator, torch.Generator):
        return kind(size, generator=generator, dtype=torch.float64)
    return torch.cat([kind((1, *size[1:]), generator=one, dtype=torch.float64) for one in generator])
