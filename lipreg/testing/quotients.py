"""Quotients against the reference point: the pointed constant, from the vertices of the linear pieces or by sampling."""

from __future__ import annotations

import itertools

import numpy as np
from torch import nn

from lipreg.testing.domains import Array, Domain, rise_norm
from lipreg.testing.pieces import Cell, evaluate, unknown

Rise = tuple[Array | None, float, float | None]
"""Rows, p and q of a question."""
NEAR = 1e-9
"""A kink nearer to x0, in units of the region, and not through it, cannot be distinguished from one through it."""


def vertices(cell: Cell, domain: Domain, p: float, units: Array | float = 1.0) -> Array:
    """Displacements ``(count, free)`` to the vertices of a piece, cut by the cones on which |d / units|_p is linear.

    Args:
        cell: the piece.
        domain: the region.
        p: norm of inputs, 1 or inf.
        units: of the free inputs, ``(free,)``.
    """
    size, width = len(domain.free), domain.widths.max()
    eye = np.eye(size)
    if p == 1:
        cones = eye
    else:
        eye = eye / np.broadcast_to(units, size)[:, None]
        pairs = [eye[i] - s * eye[j] for i, j in itertools.combinations(range(size), 2) for s in (1, -1)]
        cones = np.vstack([eye[:1], *pairs])
        cones /= np.linalg.norm(cones, axis=1, keepdims=True)
    # in units of the region
    (a, b), level = domain.facets(), cell.b / width
    planes, levels = np.vstack([cell.a, cones]), np.concatenate([level, np.zeros(len(cones))])
    choices = np.array(list(itertools.combinations(range(len(planes)), size)))
    systems = planes[choices]
    regular = np.abs(np.linalg.det(systems)) > 1e-10
    d = np.linalg.solve(systems[regular], levels[choices[regular]][..., None])[..., 0]
    far = np.abs(d).max(1, keepdims=True)
    slack = 1e-14 + 1e-9 * far
    inside = (d @ cell.a.T <= level + slack).all(1) & (d @ a.T <= b / width + slack).all(1)
    return d[inside & (far[:, 0] > NEAR / 10)] * width


def largest(
    net: nn.Module, pieces: list[Cell], domain: Domain, at: list[Array], question: Rise, units: Array | float = 1.0
) -> tuple[float, float]:
    """An interval that holds the largest quotient at the vertices of each piece; one number, twice, where rounding allows.

    Args:
        net: the network.
        pieces: all linear pieces over the domain.
        domain: the region.
        at: the displacements to the vertices of each piece, ``(count, free)``.
        question: rows, p and q.
        units: of the inputs, ``(inputs,)``.

    Raises:
        UnsupportedRequest: rounding hides where a kink is.
    """
    rows, p, q = question
    start = evaluate(net, domain.center[None])
    low = high = best = 0.0
    width = domain.widths.max()
    near = [level / width for cell in pieces for level in cell.b if 1e-12 < level / width < NEAR]
    if near:
        raise unknown(f"a kink or border {min(near):g} of the region's width from x0")
    for cell, d in zip(pieces, at, strict=True):
        if not len(d):
            continue
        apart = np.linalg.norm(d / np.broadcast_to(units, domain.center.shape)[domain.free], p, axis=1)
        met = quotients(net, domain, domain.points(d), rows, p, q, units)
        noise = 1e-15 * start.size * np.abs(start).max() / apart
        # a piece that begins at x0 rises from f(x0) itself, which rounding hides from the network near x0
        if (cell.b >= -1e-12 * width).all():
            linear = rise_norm(d @ cell.matrix.T, rows, q) / apart
            if (np.abs(linear - met) > noise + 1e-5 * linear.max()).any():
                raise unknown("vertices that rounding moves, or operations that PyTorch does not show")
            hidden = noise > 1e-10 * met.max()
            met, noise = np.where(hidden, linear, met), np.where(hidden, 0.0, noise)
        best, low = max(best, float(met.max())), max(low, float((met - noise).max()))
        high = max(high, float((met + noise).max()))
    return (best, best) if high - low <= 1e-9 * high else (low, high)


def quotients(
    net: nn.Module,
    domain: Domain,
    x: Array,
    rows: Array | None,
    p: float,
    q: float | None,
    units: Array | float = 1.0,
) -> Array:
    """|f(x) - f(x0)| / |(x - x0) / units|_p at points, ``(count,)``.

    Args:
        net: f.
        domain: its center is x0.
        x: the points, ``(count, inputs)``.
        rows: the functional's, ``(rows, outputs)``, or None for the whole output.
        p, q: norms of inputs and, of the whole output, of outputs.
        units: of the inputs, ``(inputs,)``.
    """
    change = evaluate(net, x) - evaluate(net, domain.center[None])
    return rise_norm(change, rows, q) / np.linalg.norm((x - domain.center) / units, p, axis=1)


def sampled_pointed(
    net: nn.Module,
    domain: Domain,
    rows: Array | None,
    p: float,
    q: float | None,
    count: int = 4000,
    seed: int = 1,
    units: Array | float = 1.0,
) -> float:
    """A lower reference for the pointed constant: the best quotient of random points, less its rounding.

    Args:
        net, domain, rows, p, q, units: as for ``quotients``.
        count: how many points are drawn.
        seed: of the draw.
    """
    d = domain.sample(count, np.random.default_rng(seed))
    d = d[np.linalg.norm(d, axis=1) > 1e-4 * (domain.widths.max(initial=0.0) if domain.bounded else 1.0)]
    if not len(d):
        return 0.0
    start = evaluate(net, domain.center[None])
    apart = np.linalg.norm(d / np.broadcast_to(units, domain.center.shape)[domain.free], p, axis=1)
    noise = 1e-15 * start.size * np.abs(start).max() / apart
    return max(0.0, float((quotients(net, domain, domain.points(d), rows, p, q, units) - noise).max()))
