"""The enumeration of ``lipreg.testing`` and its networks, under the name that the tests call them by; one input, apart."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from lipreg.testing.domains import Array, Domain, operator_norm, rise_norm, slope_norm
from lipreg.testing.imposed import run
from lipreg.testing.networks import ZOO, Residual, input_size, mlp, network
from lipreg.testing.pieces import INTERIOR, Cell, cells, evaluate, forms_of, jacobian, regional
from lipreg.testing.quotients import quotients, sampled_pointed, vertices

__all__ = [
    "INTERIOR",
    "ZOO",
    "Array",
    "Cell",
    "Domain",
    "Residual",
    "affine_forms",
    "breakpoints",
    "candidates",
    "cells",
    "evaluate",
    "input_size",
    "jacobian",
    "mlp",
    "network",
    "operator_norm",
    "preactivations",
    "quotients",
    "regional",
    "rise_norm",
    "sampled_pointed",
    "segments",
    "slope_norm",
]


def preactivations(net: nn.Module, x: Array) -> list[Array]:
    """The input of each activation at points ``(count, inputs)``, ``(count, units)`` each, in the order of their calls."""
    seen: list[Array] = []

    def rule(z: Tensor, negative_slope: float) -> Tensor:
        seen.append(z.flatten(1).numpy())
        return torch.where(z > 0, z, negative_slope * z)

    run(net, torch.as_tensor(x, dtype=torch.float64), rule)
    return seen


def candidates(pieces: list[Cell], domain: Domain, p: float) -> Array:
    """Points of a polyhedral domain among which the pointed quotient is largest, ``(count, inputs)``.

    Args:
        pieces: all linear pieces over the domain.
        domain: the region.
        p: norm of inputs, 1 or inf.
    """
    return domain.points(np.vstack([vertices(cell, domain, p) for cell in pieces]))


def affine_forms(net: nn.Module, domain: Domain, slopes: list[Array]) -> list[tuple[Array, Array]]:
    """(A, b) of each pre-activation in turn and of the output, in the displacement d, with the slopes imposed so far.

    Args:
        net, domain, slopes: as for ``forms_of``.
    """
    return [(form.weights, form.offset) for form in forms_of(net, domain, slopes)]


def breakpoints(net: nn.Module, lower: float, upper: float) -> Array:
    """The kinks of a network with one input, layer by layer by interpolation, in ascending order.

    Args:
        net: the network.
        lower, upper: the interval, whose ends are among the result.
    """
    knots = np.array([lower, upper])
    for layer in range(len(preactivations(net, knots[:, None]))):
        seen = preactivations(net, knots[:, None])
        z = seen[layer]
        crossing = z[:-1] * z[1:] < 0
        at, _ = np.nonzero(crossing)
        share = (z[:-1] / np.where(crossing, z[:-1] - z[1:], 1.0))[crossing]
        knots = np.unique(np.concatenate([knots, knots[at] + share * (knots[at + 1] - knots[at])]))
    return knots


def segments(net: nn.Module, domain: Domain, rows: Array | None, q: float | None) -> tuple[float, float]:
    """(regional, pointed) constants of a network with one input: exact, and the same for every input norm.

    Args:
        net: the network.
        domain: an interval.
        rows: the functional's, ``(rows, outputs)``, or None for the whole output.
        q: norm of the whole output.
    """
    a, b = domain.facets()
    ends = b / a[:, 0] + domain.center[0]
    knots = breakpoints(net, float(ends[a[:, 0] < 0].max()), float(ends[a[:, 0] > 0].min()))
    least = 1e-9 * float(knots[-1] - knots[0])
    knots = knots[np.append(True, np.diff(knots) > least)]
    values = evaluate(net, knots[:, None])
    steepest = float((rise_norm(np.diff(values, axis=0), rows, q) / np.diff(knots)).max())
    away = knots[np.abs(knots - domain.center[0]) > least]
    return steepest, float(quotients(net, domain, away[:, None], rows, 1, q).max())
