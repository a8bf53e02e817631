"""Which units of a dense chain can move and be active, without gradient: all that regional bounds need of a region.

The regional slopes are 0 and 1, so the pre-activation bounds behind them pass no gradient on. What is left of a bound is
products of |W_k| with these masks, which closed forms differentiate by hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import linear as linear_map

from lipreg.graph import DenseChain
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall, PlacedRegion


@dataclass(frozen=True)
class ChainMasks:
    """Masks and magnitudes of a chain over the regions of a batch, for the layers k = 1, ..., K.

    Attributes:
        moves: 0/1 for the inputs of layer k, ``(batch, in)``; ``(1, in)`` for the first where all points agree.
        active: 0/1 for its outputs, whether they can be active and move, ``(batch, out)``; of all layers but the last.
        row_sums: |W_k| moves_k, ``(batch, out)`` or for shared inputs ``(out,)``, of all layers but the last; None where
            nothing asked for them.
        full: whether every coordinate of every point has room: ``moves`` of the first layer is 1 throughout.
    """

    moves: list[Tensor]
    active: list[Tensor]
    row_sums: list[Tensor] | None
    full: bool


def chain_masks(
    chain: DenseChain, region: PlacedRegion, full: bool, methods: tuple[str, ...], row_sums: bool
) -> ChainMasks:
    """Interval bounds through a chain, intersected with ball bounds in l_inf, reduced to masks.

    The same numbers as ``analyse`` finds with these methods, up to rounding.

    Args:
        chain: with plain ReLUs.
        region: placed around flat points ``(batch, in)``; its memory is used up.
        full: whether every coordinate of every point has room.
        methods: "interval", "ball" or both; "ball" for regions in l_inf.
        row_sums: whether |W_k| moves_k is wanted.
    """
    lower, upper, value = region.lower, region.upper, region.center
    moves = torch.ones_like(lower[:1]) if full else region.moves.to(lower.dtype)
    interval, ball = "interval" in methods, "ball" in methods
    distance = torch.maximum(upper - value, value - lower).amax(1, keepdim=True) if ball else None
    found = ChainMasks([moves], [], [] if row_sums or ball else None, full)
    hidden, zero = chain.linears[:-1], lower.new_zeros(1)
    for k, linear in enumerate(hidden):
        last = k == len(hidden) - 1  # nobody asks how low the last features can go
        weight, offset = linear.weight, zero if linear.bias is None else linear.bias
        size = chain.magnitude(k)
        low = high = sums = room = None
        if found.row_sums is not None:
            sums = size.sum(1) if full and k == 0 else linear_map(moves, size)
            found.row_sums.append(sums)
        if interval:
            twice_radius = upper.sub_(lower)
            twice_center = torch.add(twice_radius, lower, alpha=2.0, out=lower)
            center = torch.addmm(offset, twice_center, weight.T, alpha=0.5)
            room = linear_map(twice_radius, size)
            low = None if last else torch.sub(center, room, alpha=0.5)
            high = center.add_(room, alpha=0.5)
        flow = room if sums is None else sums  # 0 where nothing that moves comes in
        assert flow is not None
        if distance is not None:
            assert sums is not None
            value = torch.addmm(offset, value, weight.T)
            width = distance * sums
            high = value + width if high is None else torch.maximum(torch.minimum(high, value + width), value)
            high = torch.where(flow > 0, high, value)
            if not last:
                low = value - width if low is None else torch.minimum(torch.maximum(low, value - width), value)
                low = torch.where(flow > 0, low, value)
        assert high is not None
        moves = torch.heaviside(torch.minimum(high, flow), zero)  # 1 where both are above 0
        found.active.append(moves)
        found.moves.append(moves)
        if last:
            break
        assert low is not None
        lower, upper = low.relu_(), high.relu_()
        if distance is not None:
            # the pointed slopes say how far a feature can be from its nominal value, in both scopes
            assert sums is not None
            rise = (upper - value.clamp(max=0)).clamp_(min=torch.finfo(upper.dtype).tiny)
            distance = (upper / rise * (flow > 0) * sums).amax(1, keepdim=True) * distance
            value = value.relu_()
    return found


def place_flat(problem: LocalLipschitz, x: Tensor) -> tuple[PlacedRegion, bool] | None:
    """The region around points, flattened and in memory of its own, and whether every coordinate of every point has room.

    For l_inf balls well inside of what rounding resolves, ``place`` without its checks, which cost more than the bound
    of a small network; everything else, and everything wrong, goes through ``place``. None for regions with half-spaces.

    Args:
        x: reference points ``(batch, *shape)``.
    """
    region = problem.region
    if type(region) is LinfBall and len(x):
        low = -math.inf if region.low is None else float(region.low)
        high = math.inf if region.high is None else float(region.high)
        smallest, largest = (float(end) for end in torch.aminmax(x))
        size = max(abs(smallest), abs(largest))
        resolved = region.radius > 8 * torch.finfo(x.dtype).eps * size  # not so for NaN and infinity
        if low <= smallest and largest <= high and resolved:
            x = x.flatten(1)
            lower, upper = x - region.radius, x + region.radius
            if smallest - region.radius < low:
                lower = lower.clamp_(min=low)
            if largest + region.radius > high:
                upper = upper.clamp_(max=high)
            return PlacedRegion(x, lower, upper, math.inf, math.inf), True
    placed = region.place(x)
    if placed.halfspaces is not None:
        return None
    ends = {name: getattr(placed, name).flatten(1).clone() for name in ("center", "lower", "upper")}
    return replace(placed, **ends), bool(placed.moves.all())
