"""Kinks that coincide: units whose pre-activations vanish on the same hyperplane, in one Relu node or in several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lipreg.bounds.analysis import Analysis
from lipreg.graph import Affine
from lipreg.graph.accurate import in_digits
from lipreg.linalg import Limbs, LinearMap

CLOSE = 1e-12
"""Rows of unit length whose entries differ by no more than this are one hyperplane, up to the rounding of their weights."""


@dataclass(frozen=True)
class SharedKink:
    """Units on one hyperplane: z_i = ratio_i z_first with ratio_i != 0.

    Attributes:
        units: index of the Relu and flat position in it of each unit, the first one first.
        signs: sign of each ratio; 1 for the first.
        exact: whether each ratio holds in exact arithmetic for the float64 weights.
    """

    units: tuple[tuple[int, int], ...]
    signs: tuple[int, ...]
    exact: tuple[bool, ...]


def shared_kinks(local: Analysis, positions: Mapping[int, np.ndarray]) -> list[SharedKink]:
    """The groups among some units that share a hyperplane, of Relus whose layers read the same nodes.

    So relu(x) beside relu(-x) is one, in one Relu node or in two. Compared are whole rows, weights and bias, with columns in
    proportion to the largest magnitudes of their inputs. Duplicates among layers that read different nodes are not
    looked for.

    Args:
        local: of a single point.
        positions: flat positions of the units, for indices of Relu nodes.
    """
    together: dict[frozenset[int], list[int]] = {}
    for index in sorted(positions):
        if len(positions[index]):
            together.setdefault(frozenset(local.graph.read_by(index).sources), []).append(index)
    return [group for relus in together.values() for group in _groups(local, {i: positions[i] for i in relus})]


def _groups(local: Analysis, positions: Mapping[int, np.ndarray]) -> list[SharedKink]:
    """The groups of Relus whose layers read the same nodes."""
    units = [(index, int(at)) for index, own in positions.items() for at in own]
    if len(units) < 2:
        return []
    parts = [unit_weights(local, index, own) for index, own in positions.items()]
    rows, sizes = np.concatenate([own for own, _ in parts]), parts[0][1]
    signs = coincide(rows * sizes, rows * sizes)
    members, grouped = [], np.zeros(len(units), dtype=bool)
    for first in range(len(units)):
        own = np.flatnonzero((signs[first] != 0) & ~grouped)
        if not grouped[first] and len(own) > 1:
            grouped[own] = True
            members.append(own)
    numbers = _in_full(local, positions, units, grouped) if len(members) else {}
    return [
        SharedKink(
            tuple(units[i] for i in own),
            tuple(signs[own[0], own].tolist()),
            tuple(_proportional(numbers.get(units[own[0]]), numbers.get(units[i])) for i in own),
        )
        for own in members
    ]


def coincide(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Which rows ``(k, n)`` and ``(m, n)`` are multiples up to ``CLOSE``, ``(k, m)``: the ratio's sign, else 0."""
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


def unit_weights(local: Analysis, index: int, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of some units, and the largest magnitude of each column's input over X.

    Args:
        local: of a single point.
        index: of the Relu.
        positions: flat positions of the units in it.

    Returns:
        Rows ``(units, columns + 1)``, weights with sources in the order of their indices and then the bias; and the
        magnitudes ``(columns + 1,)``, 1 for the bias.
    """
    graph, affine = local.graph, local.graph.read_by(index)
    one_hot = torch.zeros(len(positions), affine.bias.numel(), dtype=graph.dtype)
    one_hot[torch.arange(len(positions)), torch.from_numpy(positions)] = 1.0
    one_hot = one_hot.reshape(-1, *affine.shape)
    sources = _by_source(affine)
    parts = [map.transpose(one_hot).flatten(1) for _, map in sources]
    sizes = [
        torch.maximum(local.value_bounds[i].lower.abs(), local.value_bounds[i].upper.abs()).flatten()
        for i, _ in sources
    ]
    bias = affine.bias.flatten()[torch.from_numpy(positions)].unsqueeze(1)
    return torch.cat([*parts, bias], dim=1).numpy(), torch.cat([*sizes, torch.ones(1, dtype=graph.dtype)]).numpy()


def _in_full(
    local: Analysis, positions: Mapping[int, np.ndarray], units: Sequence[tuple[int, int]], wanted: np.ndarray
) -> dict[tuple[int, int], np.ndarray]:
    """The rows of the wanted units as whole numbers of one small unit, multiplied out from the modules' own weights without
    a rounding. Units are left out that take more digits than are tried."""
    parts: dict[int, list[Limbs]] = {}
    selected = {unit for unit, selects in zip(units, wanted.tolist(), strict=True) if selects}
    for index in positions:
        at = torch.tensor([position for node, position in selected if node == index], dtype=torch.int64)
        if len(at):
            parts[index] = _digits(local, index, at)
    last = min(part.top - len(part.digits) + 1 for own in parts.values() for part in own)
    numbers = {}
    for index, own in parts.items():
        unrounded = ~torch.stack([(part.error > 0).any(-1) for part in own]).any(0)
        rows = np.concatenate([part.whole(last) for part in own], axis=1)
        at = [position for node, position in selected if node == index]
        numbers |= {
            (index, position): row for position, row, exact in zip(at, rows, unrounded.tolist(), strict=True) if exact
        }
    return numbers


def _digits(local: Analysis, index: int, positions: torch.Tensor) -> list[Limbs]:
    """Rows of a Relu's layer for each of its sources in the order of their indices, and the bias: ``(units, columns)``."""
    affine, graph = local.graph.read_by(index), local.graph
    one_hot = graph.output.bias.new_zeros(len(positions), affine.bias.numel())
    one_hot[torch.arange(len(positions)), positions] = 1.0
    rows = in_digits(graph, one_hot.reshape(-1, *affine.shape))
    parts = []
    for _, map in _by_source(affine):
        columns = map.in_shape
        parts.append(rows.back(map).reindexed(lambda t, columns=columns: t.flatten(-len(columns))))
    constant = affine.constant(lambda tensor: in_digits(graph, tensor))
    return [*parts, constant.reindexed(lambda t: t.flatten(-len(affine.shape))[..., positions].unsqueeze(-1))]


def _by_source(affine: Affine) -> list[tuple[int, LinearMap]]:
    return sorted(affine.terms(), key=lambda term: term[0])


def _proportional(first: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether other = ratio * first with a ratio that is not 0, of rows of whole numbers; False where one has none."""
    if first is None or other is None:
        return False
    lead = int(np.abs(first).argmax())
    return bool(other[lead] != 0 and (other * first[lead] == first * other[lead]).all())
