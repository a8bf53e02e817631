"""The linear pieces of a network over all of R^n, by branching unit by unit; a branch without an interior has none.

Whether {x : A x + b > 0} holds a point is decided in fractions by Fourier-Motzkin elimination, so that pieces may lie as
far out, or be as thin, as they like. So A and b have to be exact: where one unit alone is on, kinks behind it are parallel,
and rounded they would cross somewhere far out, in a piece that is none. Each layer is read as the numbers that it is made
of, and layers are multiplied out in fractions. Of several affine layers in a row these are of their product, as computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn

from lipreg.errors import UnsupportedRequest
from lipreg.testing.domains import Array
from lipreg.testing.imposed import refuse, run

MOST_ROWS = 200_000
"""Rows of an elimination above which a network is no tiny one."""
NOTHING = 1e-12
"""A weight this small, relative to its layer's largest, is rounding of none."""
FAR = 2.0**400
"""How far out the weights of a layer are read, which loses nothing of them to an offset."""
DRAWN = 4000
"""Random points at distances of 1e-3 to 1e12, which settle most branches that hold one."""


def everywhere(net: nn.Module, inputs: int) -> list[Array]:
    """The Jacobians ``(outputs, inputs)`` of all linear pieces of a network over R^n, n the number of inputs.

    Raises:
        UnsupportedRequest: the network is too large for it.
    """
    jacobians: list[Array] = []
    rng = np.random.default_rng(inputs)
    points = rng.standard_normal((DRAWN, inputs)) * 10.0 ** rng.uniform(-3, 12, (DRAWN, 1))

    layers = _layers(net, inputs)

    def descend(rows: list[list[Fraction]], inside: Array, previous: np.ndarray, depth: int) -> None:
        layer = layers[depth]
        forms = layer.weights @ previous
        forms[:, -1] += layer.offset
        if layer.negative_slope is None:
            jacobians.append(forms[:, :-1].astype(float))
            return
        branches = [((), rows, inside)]
        for form in forms:
            rounded, grown = form.astype(float), []
            w, o = rounded[:-1], rounded[-1]
            for pattern, before, members in branches:
                for on in (True, False):
                    sign = 1 if on else -1
                    if not form[:-1].any():  # constant: on one side, or 0 and without effect
                        if on == (form[-1] > 0):
                            grown.append(((*pattern, on), before, members))
                        continue
                    after = [*before, [sign * entry for entry in form]]
                    height = sign * (members @ w + o)
                    on_side = members[height > 1e-9 * (np.abs(members) @ np.abs(w) + abs(o))]
                    if len(on_side) or holds_point(after):
                        grown.append(((*pattern, on), after, on_side))
            branches = grown
        for pattern, after, members in branches:
            slopes = np.array([Fraction(1) if on else layer.negative_slope for on in pattern], dtype=object)
            descend(after, members, np.vstack([previous, slopes[:, None] * forms]), depth + 1)

    descend([], points, _fractions(np.eye(inputs, inputs + 1)), 0)
    return jacobians


def holds_point(rows: list[list[Fraction]]) -> bool:
    """Whether some x has a . x + b > 0 for every row (a, b), by eliminating its entries one after another."""
    for at in range(len(rows[0]) - 1):
        above = [row for row in rows if row[at] > 0]
        below = [row for row in rows if row[at] < 0]
        if len(above) * len(below) > MOST_ROWS:
            raise UnsupportedRequest(
                "too many rows", where="enumeration", accepted="networks with few inputs and units"
            )
        remaining = {tuple(_scaled(row)) for row in rows if row[at] == 0}
        for one in above:
            for other in below:
                remaining.add(tuple(_scaled([a / one[at] - b / other[at] for a, b in zip(one, other, strict=True)])))
        rows = [list(row) for row in remaining]
        if not rows:
            return True
    return all(row[-1] > 0 for row in rows)


def _scaled(row: list[Fraction]) -> list[Fraction]:
    size = max(abs(entry) for entry in row)
    return [entry / size for entry in row] if size else row


@dataclass(frozen=True)
class _Layer:
    """weights (x, h) + offset: the pre-activations of a layer, or the output, by the input and by all units before.

    Attributes:
        weights, offset: of fractions, ``(units, inputs + units before)`` and ``(units,)``.
        negative_slope: of the ReLU that comes after it; None for the output.
    """

    weights: np.ndarray
    offset: np.ndarray
    negative_slope: Fraction | None


def _layers(net: nn.Module, inputs: int) -> list[_Layer]:
    """The layers of a network, each read by giving its input and all units before it numbers of our own."""
    starts = [inputs]

    def nothing(z: Tensor, negative_slope: float) -> Tensor:
        starts.append(starts[-1] + z[0].numel())
        return torch.zeros_like(z)

    run(net, torch.zeros(1, inputs, dtype=torch.float64), nothing)
    count, seen = starts[-1], list[tuple[Array, float | None]]()
    elsewhere = np.random.default_rng(count).standard_normal((2, count))
    probes = np.vstack([np.zeros((1, count)), FAR * np.eye(count), elsewhere])

    def rule(z: Tensor, negative_slope: float) -> Tensor:
        at = len(seen)
        seen.append((z.flatten(1).numpy().copy(), negative_slope))
        return torch.as_tensor(probes[:, starts[at] : starts[at + 1]]).reshape(z.shape)

    out = run(net, torch.as_tensor(probes[:, :inputs]), rule, escapes=True).flatten(1).numpy()
    layers = []
    for (z, slope), before in zip([*seen, (out, None)], starts, strict=True):
        weights, offset = ((z[1:-2] - z[0]) / FAR).T, z[0]
        size = np.abs(weights).max(initial=0.0)
        weights = np.where(np.abs(weights) <= NOTHING * size, 0.0, weights)
        off = np.abs(z[-2:] - (elsewhere @ weights.T + offset))
        if not (off <= 1e-9 * (np.abs(elsewhere) @ np.abs(weights).T + np.abs(offset) + size)).all():
            refuse("something that PyTorch does not show")
        part = _fractions(weights[:, :before]), _fractions(offset)
        layers.append(_Layer(*part, None if slope is None else Fraction(slope)))
    return layers


def _fractions(numbers: Array) -> np.ndarray:
    return np.array([Fraction(number) for number in numbers.flatten().tolist()], dtype=object).reshape(numbers.shape)
