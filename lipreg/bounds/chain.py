"""Which units of a chain can move and be active, without gradient: all that regional bounds need of a region.

The regional slopes are 0 and 1, so the pre-activation bounds behind them pass no gradient on. What is left of a bound is
products of |W_k| with these masks, which closed forms differentiate by hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipreg.graph import ReluChain
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall, PlacedRegion


@dataclass(frozen=True)
class ChainMasks:
    """Masks and magnitudes of a chain over the regions of a batch, for the layers k = 1, ..., K.

    Attributes:
        moves: 0/1 for the inputs of layer k, ``(batch, *in_shape)``; None for the first where all of them can move.
        active: 0/1 for its outputs, whether they can be active and move, ``(batch, *out_shape)``; of all layers but the
            last.
        row_sums: |W_k| moves_k, ``(batch, *out_shape)``, of batch size 1 where ``moves`` is None; of all layers but the
            last; None where nothing asked for them.
    """

    moves: list[Tensor | None]
    active: list[Tensor]
    row_sums: list[Tensor] | None


def chain_masks(
    chain: ReluChain, region: PlacedRegion, full: bool, methods: tuple[str, ...], row_sums: bool
) -> ChainMasks:
    """Interval bounds through a chain, intersected with ball bounds in l_inf, reduced to masks.

    The same numbers as ``analyse`` finds with these methods, up to rounding.

    Args:
        chain: with its layers measured.
        region: placed around points in the shape of the first layer's inputs; its memory is used up.
        full: whether every coordinate of every point has room.
        methods: "interval", "ball" or both; "ball" for regions in l_inf.
        row_sums: whether |W_k| moves_k is wanted.
    """
    lower, upper, value = region.lower, region.upper, region.center
    moves = None if full else region.moves.to(lower.dtype)
    interval, ball = "interval" in methods, "ball" in methods
    distance = torch.maximum(upper - value, value - lower).flatten(1).amax(1) if ball else None
    found = ChainMasks([moves], [], [] if row_sums or ball else None)
    hidden = chain.layers[:-1]
    for k, layer in enumerate(hidden):
        last = k == len(hidden) - 1  # nobody asks how low the last features can go
        low = high = sums = room = None
        if found.row_sums is not None:
            sums = layer.row_sums() if moves is None else layer.forward(moves, absolute=True)
            found.row_sums.append(sums)
        if interval:
            twice_radius = upper.sub_(lower)
            twice_center = torch.add(twice_radius, lower, alpha=2.0, out=lower)
            center = layer.affine(twice_center, 0.5)
            room = layer.forward(twice_radius, absolute=True)
            low = None if last else torch.sub(center, room, alpha=0.5)
            high = center.add_(room, alpha=0.5)
        flow = room if sums is None else sums  # 0 where nothing that moves comes in
        assert flow is not None
        if distance is not None:
            assert sums is not None
            value = layer.affine(value)
            width = distance.reshape(-1, *(1,) * (value.dim() - 1)) * sums
            high = value + width if high is None else torch.maximum(torch.minimum(high, value + width), value)
            high = torch.where(flow > 0, high, value)
            if not last:
                low = value - width if low is None else torch.minimum(torch.maximum(low, value - width), value)
                low = torch.where(flow > 0, low, value)
        assert high is not None
        upper = high.relu_()
        moves = torch.minimum(upper, flow).sign_()  # 1 where both are above 0
        found.active.append(moves)
        found.moves.append(moves)
        if last:
            break
        assert low is not None
        lower = low.relu_()
        if distance is not None:
            # the pointed slopes say how far a feature can be from its nominal value, in both scopes
            assert sums is not None
            rise = (upper - value.clamp(max=0)).clamp_(min=torch.finfo(upper.dtype).tiny)
            distance = (upper / rise * (flow > 0) * sums).flatten(1).amax(1) * distance
            value = value.relu_()
    return found


def place_batch(problem: LocalLipschitz, x: Tensor) -> tuple[PlacedRegion, bool] | None:
    """The region around points, in memory of its own, and whether every coordinate of every point has room.

    For l_inf balls well inside of what rounding resolves, ``place`` without its checks, which cost more than the bound
    of a small network; everything else, and everything wrong, goes through ``place``. None for regions with half-spaces.

    Args:
        x: reference points ``(batch, *shape)``.
    """
    region = problem.region
    if type(region) is LinfBall and x.shape[0]:
        low = -math.inf if region.low is None else float(region.low)
        high = math.inf if region.high is None else float(region.high)
        smallest, largest = (float(end) for end in torch.aminmax(x))
        size = max(abs(smallest), abs(largest))
        resolved = region.radius > 8 * torch.finfo(x.dtype).eps * size  # not so for NaN and infinity
        if low <= smallest and largest <= high and resolved:
            return PlacedRegion.around(x, -region.radius, region.radius, low, high), True
    placed = region.place(x)
    if placed.halfspaces is not None:
        return None
    ends = {name: getattr(placed, name).clone() for name in ("center", "lower", "upper")}
    return replace(placed, **ends), bool(placed.moves.all())
