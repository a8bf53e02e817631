"""Which units of a chain can move and be active, without gradient: all that regional bounds need of a region.

The regional slopes are 0 and 1, so the pre-activation bounds behind them pass no gradient on. The rest of a bound is
products of |W_k| with these masks, which closed forms differentiate by hand.

A region is taken as its middle and its widths, and so is what comes out of every layer: formed as differences of ends, the
widths of a small region would be lost to the rounding of large inputs. Widths have ``ALLOWANCE`` roundings of the middle
added, in the same product |W| w: what rounding does to W x errs then towards larger bounds, at no further pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds.value_bounds import ALLOWANCE
from lipreg.graph import ReluChain
from lipreg.problem import LocalLipschitz
from lipreg.regions import L1Ball, L2Ball, LinfBall
from lipreg.regions.reference import largest_radius


@dataclass(frozen=True)
class ChainMasks:
    """Masks and magnitudes of a chain over the regions of a batch, for the layers k = 1, ..., K.

    Attributes:
        columns: what the inputs of layer k count, ``(batch, *in_shape)``: 0/1, whether they can move, and of the first layer
            the question's weights; None for the first where all of them count 1.
        active: 0/1 for its outputs, whether they can be active and move, ``(batch, *out_shape)``; of all layers but the
            last.
        sure: 0/1 for its outputs, whether they are active over all of the region; of all layers but the last; None where
            not requested.
        row_sums: |W_k| columns_k, ``(batch, *out_shape)``, of batch size 1 where ``columns`` is None; of all layers but the
            last; None where not requested.
    """

    columns: list[Tensor | None]
    active: list[Tensor]
    sure: list[Tensor] | None
    row_sums: list[Tensor] | None


@dataclass(frozen=True)
class ChainRegion:
    """The box around the region of each point of a batch, for the inputs of a chain.

    Attributes:
        point: reference points, ``(batch, *shape)``.
        down, up: how far each coordinate can go from there, down <= 0 <= up, ``(batch, *shape)``, in memory of their own.
        movable: 0/1, which coordinates can move, ``(batch, *shape)``; None where all of them can.
        weights: of the question, ``(batch, *shape)``; None where they are ``movable``.
    """

    point: Tensor
    down: Tensor
    up: Tensor
    movable: Tensor | None
    weights: Tensor | None = None


def chain_masks(
    chain: ReluChain, region: ChainRegion, methods: tuple[str, ...], row_sums: bool, sure: bool = False
) -> ChainMasks:
    """Interval bounds through a chain, intersected with ball bounds in l_inf, reduced to masks.

    They are those of ``analyse`` with these methods, up to rounding.

    Args:
        chain: with its layers measured.
        region: around points in the shape of the first layer's inputs; the memory of its ends is used up.
        methods: "interval", "ball" or both; "ball" for regions in l_inf.
        row_sums, sure: whether these are computed.
    """
    value, down, up, movable = region.point, region.down, region.up, region.movable
    interval, ball = "interval" in methods, "ball" in methods
    distance = torch.maximum(up, -down).flatten(1).amax(1) if ball else None
    width = up - down
    middle = torch.add(value, down.add_(up), alpha=0.5, out=down)
    size = value.abs() if movable is None else value.abs().mul_(movable)  # what cannot move stays without width
    allowed = ALLOWANCE * torch.finfo(value.dtype).eps
    width.add_(size, alpha=allowed)
    if distance is not None:
        distance = distance + allowed * size.flatten(1).amax(1)
    first = movable if region.weights is None else region.weights
    masks = ChainMasks([first], [], [] if sure else None, [] if row_sums or ball else None)
    hidden = chain.layers[:-1]
    for k, layer in enumerate(hidden):
        last = k == len(hidden) - 1
        deep = sure or not last  # else nothing reads how low the last features can go
        low = high = sums = image_width = None
        if masks.row_sums is not None:
            sums = layer.row_sums() if movable is None else layer.forward(movable, absolute=True)
            columns = first if k == 0 else movable
            masks.row_sums.append(
                sums if columns is movable or columns is None else layer.forward(columns, absolute=True)
            )
        if interval:
            center = layer.affine(middle)
            image_width = layer.forward(width, absolute=True)
            low = torch.sub(center, image_width, alpha=0.5) if ball and deep else None
            high = center.add_(image_width, alpha=0.5)
        flow = image_width if sums is None else sums  # 0 where nothing that can move comes in
        assert flow is not None
        if distance is not None:
            assert sums is not None
            value = layer.affine(value)
            far = distance.reshape(-1, *(1,) * (value.dim() - 1)) * sums
            high = value + far if high is None else torch.maximum(torch.minimum(high, value + far), value)
            high = torch.where(flow > 0, high, value)
            if deep:
                low = value - far if low is None else torch.minimum(torch.maximum(low, value - far), value)
                low = torch.where(flow > 0, low, value)
        assert high is not None
        upper = high.relu_()
        movable = torch.minimum(upper, flow).sign_()  # 1 where both are above 0
        masks.active.append(movable)
        masks.columns.append(movable)
        if masks.sure is not None:
            assert image_width is not None or low is not None
            above = torch.le(image_width, upper) if low is None else torch.ge(low, 0)  # type: ignore[arg-type]
            masks.sure.append(above * movable)
        if last:
            break
        if distance is None:
            assert image_width is not None
            width = torch.minimum(image_width, upper, out=image_width)  # relu makes of [high - image_width, high]
        else:
            assert low is not None and sums is not None
            width = upper - low.relu_()
            # the pointed slopes bound how far a feature can be from its nominal value, in both scopes
            rise = (upper - value.clamp(max=0)).clamp_(min=torch.finfo(upper.dtype).tiny)
            distance = (upper / rise * (flow > 0) * sums).flatten(1).amax(1) * distance
            value = value.relu_()
        middle = upper.sub_(width, alpha=0.5)
    return masks


def place_batch(problem: LocalLipschitz, x: Tensor) -> ChainRegion | None:
    """The boxes around the regions of points; None for regions with half-spaces, and for all of R^n.

    For balls whose radius is well above what rounding resolves this is ``place`` without its checks, which cost more than
    the bound of a small network. Everything else, regions of a user's own and everything wrong, goes through ``place``.

    Args:
        problem: its region and the weights of its inputs.
        x: reference points ``(batch, *shape)``.
    """
    region, unweighted = problem.region, problem.plain and len(x) > 0
    if unweighted and isinstance(region, LinfBall | L2Ball | L1Ball) and type(region) in (LinfBall, L2Ball, L1Ball):
        low = -math.inf if region.low is None else float(region.low)
        high = math.inf if region.high is None else float(region.high)
        smallest, largest = (float(end) for end in torch.aminmax(x))
        radius, size = float(region.radius), max(abs(smallest), abs(largest))
        # not so for NaN and infinity
        resolved = 8 * torch.finfo(x.dtype).eps * size < radius <= largest_radius(x.dtype)
        if low <= smallest and largest <= high and resolved:
            down = (low - x).clamp_(min=-radius) if smallest - radius < low else torch.full_like(x, -radius)
            up = (high - x).clamp_(max=radius) if largest + radius > high else torch.full_like(x, radius)
            return ChainRegion(x, down, up, None)
    placed = region.place(x)
    if placed.halfspaces is not None or not placed.bounded:
        return None
    movable = placed.movable
    down, up = (end.clone() for end in (placed.down, placed.up))
    movable = None if bool(movable.all()) else movable.to(x.dtype)
    return ChainRegion(placed.center, down, up, movable, problem.weights(placed))
