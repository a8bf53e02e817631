"""The linear pieces of a network over all of R^n, by branching unit by unit; a branch without an interior has none.

Whether {x : A x + b > 0} holds a point is decided in fractions by Fourier-Motzkin elimination, so that pieces may lie as
far out, or be as thin, as they like.
"""

from __future__ import annotations

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
DRAWN = 4000
"""Random points at distances of 1e-3 to 1e12, which settle most branches that hold one."""


def everywhere(net: nn.Module, inputs: int) -> list[Array]:
    """The Jacobians ``(outputs, inputs)`` of all linear pieces of a network.

    Raises:
        UnsupportedRequest: the network is too large for it.
    """
    found: list[Array] = []
    rng = np.random.default_rng(inputs)
    points = rng.standard_normal((DRAWN, inputs)) * 10.0 ** rng.uniform(-3, 12, (DRAWN, 1))

    def descend(rows: list[list[Fraction]], inside: Array, slopes: list[Array]) -> None:
        weights, offset, leak = _form(net, inputs, slopes)
        if leak is None:
            found.append(weights)
            return
        branches = [((), rows, inside)]
        for w, o in zip(weights, offset, strict=True):
            grown = []
            for pattern, before, held in branches:
                for on in (True, False):
                    sign = 1 if on else -1
                    if not w.any():  # constant: on one side, or 0 and without effect
                        if on == bool(o > 0):
                            grown.append(((*pattern, on), before, held))
                        continue
                    after = [*before, [sign * Fraction(float(v)) for v in (*w, o)]]
                    height = sign * (held @ w + o)
                    kept = held[height > 1e-9 * (np.abs(held) @ np.abs(w) + abs(o))]
                    if len(kept) or holds_point(after):
                        grown.append(((*pattern, on), after, kept))
            branches = grown
        for pattern, after, held in branches:
            descend(after, held, [*slopes, np.where(pattern, 1.0, leak)])

    descend([], points, [])
    return found


def holds_point(rows: list[list[Fraction]]) -> bool:
    """Whether some x has a . x + b > 0 for every row (a, b), by eliminating its entries one after another."""
    for at in range(len(rows[0]) - 1):
        above = [row for row in rows if row[at] > 0]
        below = [row for row in rows if row[at] < 0]
        if len(above) * len(below) > MOST_ROWS:
            raise UnsupportedRequest(
                "too many rows", where="enumeration", accepted="networks with few inputs and units"
            )
        left = {tuple(_scaled(row)) for row in rows if row[at] == 0}
        for one in above:
            for other in below:
                left.add(tuple(_scaled([a / one[at] - b / other[at] for a, b in zip(one, other, strict=True)])))
        rows = [list(row) for row in left]
        if not rows:
            return True
    return all(row[-1] > 0 for row in rows)


def _scaled(row: list[Fraction]) -> list[Fraction]:
    size = max(abs(entry) for entry in row)
    return [entry / size for entry in row] if size else row


def _form(net: nn.Module, inputs: int, slopes: list[Array]) -> tuple[Array, Array, float | None]:
    """Weights and offset of the next pre-activation, or of the output, with the slopes imposed so far, and its leak."""
    seen: list[tuple[Tensor, float | None]] = []

    def rule(z: Tensor, leak: float) -> Tensor:
        at = len(seen)
        seen.append((z.flatten(1), leak))
        return z * torch.as_tensor(slopes[at]).reshape(z.shape[1:]) if at < len(slopes) else torch.zeros_like(z)

    probes = np.vstack([np.zeros((1, inputs)), np.eye(inputs), -np.eye(inputs)])
    out = run(net, torch.as_tensor(probes), rule, escapes=bool(slopes))
    z, leak = [*seen, (out.flatten(1), None)][len(slopes)]
    values = z.numpy()
    weights = (values[1 : inputs + 1] - values[inputs + 1 :]).T / 2
    size = np.abs(values).max(initial=0.0)
    if not np.allclose(values[1 : inputs + 1] + values[inputs + 1 :], 2 * values[:1], atol=1e-9 * size):
        refuse("something that PyTorch does not show")
    return np.where(np.abs(weights) <= NOTHING * size, 0.0, weights), values[0], leak
