"""Kinks that coincide: units of one layer whose pre-activations vanish on the same hyperplane."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from lipreg.bounds.analysis import Analysis

CLOSE = 1e-12
"""Rows of unit length whose entries differ by no more than this are one hyperplane, up to the rounding of their weights."""


@dataclass(frozen=True)
class SharedKink:
    """Units of one Relu node on one hyperplane: z_i = ratio_i z_first with ratio_i != 0.

    Attributes:
        node: index of the Relu.
        positions: flat positions of the units, the first one first.
        signs: sign of each ratio; 1 for the first.
        exact: whether each ratio holds for the float64 weights without any rounding.
    """

    node: int
    positions: tuple[int, ...]
    signs: tuple[int, ...]
    exact: tuple[bool, ...]


def shared_kinks(local: Analysis, index: int, positions: np.ndarray) -> list[SharedKink]:
    """The groups among some units of Relu ``index`` that share a hyperplane.

    Compared are whole rows, weights and bias, with columns in proportion to what their inputs can reach. Duplicates across
    layers are not looked for.

    Args:
        local: of a single point.
        index: of a Relu node.
        positions: flat positions in it.
    """
    if len(positions) < 2:
        return []
    rows, reach = unit_rows(local, index, positions)
    signs = coincide(rows * reach, rows * reach)
    plain = not local.graph.read_by(index).rounded
    groups, taken = [], np.zeros(len(positions), dtype=bool)
    for first in range(len(positions)):
        members = np.flatnonzero((signs[first] != 0) & ~taken)
        if taken[first] or len(members) < 2:
            continue
        taken[members] = True
        exact = tuple(plain and _proportional(rows[first], rows[i]) for i in members)
        groups.append(
            SharedKink(index, tuple(positions[members].tolist()), tuple(signs[first, members].tolist()), exact)
        )
    return groups


def coincide(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Which rows ``(k, n)`` and ``(m, n)`` are multiples of each other up to CLOSE: 1, -1 by the ratio's sign, else 0."""
    first, second = (
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float64).tiny)
        for rows in (first, second)
    )
    cosines = first @ second.T
    signs = np.where(np.abs(cosines) > 1 - 1e-9, np.sign(cosines), 0.0).astype(int)
    i, j = np.nonzero(signs)  # few: an angle of 1e-5 is excluded by now
    apart = np.abs(first[i] * signs[i, j][:, None] - second[j]).max(1)
    signs[i, j] *= apart <= CLOSE
    return signs


def unit_rows(local: Analysis, index: int, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias of some units, one row a unit, and the largest magnitude each column's input takes over X."""
    graph, affine = local.graph, local.graph.read_by(index)
    chosen = torch.zeros(len(positions), affine.bias.numel(), dtype=graph.dtype)
    chosen[torch.arange(len(positions)), torch.from_numpy(positions)] = 1.0
    chosen = chosen.reshape(-1, *affine.shape)
    parts = [map.transpose(chosen).flatten(1) for _, map in affine.terms()]
    reach = [torch.maximum(local.reach[i].lower.abs(), local.reach[i].upper.abs()).flatten() for i in affine.sources]
    bias = affine.bias.flatten()[torch.from_numpy(positions)].unsqueeze(1)
    return torch.cat([*parts, bias], dim=1).numpy(), torch.cat([*reach, torch.ones(1, dtype=graph.dtype)]).numpy()


def _proportional(first: np.ndarray, other: np.ndarray) -> bool:
    """Whether other = ratio * first in exact arithmetic."""
    lead = int(np.abs(first).argmax())
    a, b = Fraction(float(first[lead])), Fraction(float(other[lead]))
    pairs = zip(first.tolist(), other.tolist(), strict=True)
    return b != 0 and all(Fraction(y) * a == Fraction(x) * b for x, y in pairs)
