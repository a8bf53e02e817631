"""The linear pieces of a network over a region, by branching unit by unit over its activation patterns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lipreg.errors import UnsupportedRequest
from lipreg.testing.domains import Array, Domain, slope_norm
from lipreg.testing.imposed import refuse, run

INTERIOR = 1e-7
"""A piece counts when a ball of this radius, in units of the region, fits into it."""
THIN = 1e-10
"""Where not even this one fits, rounding has made the piece; what is between the two is refused."""
MOST_PIECES = 20_000
"""Above, a network is no tiny one."""
FAR = 2.0**20
"""How much farther out than the region coefficients are read."""
ROUNDING = 1e3
"""A unit whose value changes by no more than this many times the error of its coefficients is constant."""


def evaluate(net: nn.Module, x: Array) -> Array:
    """The network at points ``(count, inputs)``."""
    with torch.no_grad():
        return net(torch.as_tensor(x, dtype=torch.float64)).numpy()


def jacobian(net: nn.Module, x: Array) -> Array:
    """The Jacobian ``(outputs, inputs)`` by autograd at one point."""
    point = torch.as_tensor(x, dtype=torch.float64).unsqueeze(0)
    full: Any = torch.autograd.functional.jacobian(net, point)
    return full[0, :, 0].numpy()


def jacobians(net: nn.Module, x: Array) -> Array:
    """The Jacobians at points ``(count, inputs)`` by autograd, ``(count, outputs, inputs)``.

    One pass serves all points, so no output may depend on another point: no batch statistics.
    """
    points = torch.as_tensor(x, dtype=torch.float64)
    full: Any = torch.autograd.functional.jacobian(lambda batch: net(batch).sum(0), points)
    return full.movedim(1, 0).numpy()


@dataclass(frozen=True)
class Form:
    """z = weights d + offset in the displacement d, of every unit of a layer, and how far rounding puts each of these off.

    Attributes:
        weights, offset: ``(units, free)`` and ``(units,)``.
        noise, offset_noise: the errors of weights and of offset, ``(units,)`` each.
        negative_slope: of the ReLU that comes after it; None for the output.
    """

    weights: Array
    offset: Array
    noise: Array
    offset_noise: Array
    negative_slope: float | None = None


def forms_of(net: nn.Module, domain: Domain, slopes: list[Array]) -> list[Form]:
    """The forms of each pre-activation in turn and of the output, with the slopes imposed so far.

    Args:
        net: the network, in float64 and evaluation mode.
        domain: the region, around whose center displacements are.
        slopes: of the units of the first layers, ``(units,)`` each; later layers are imposed 0.

    Raises:
        InvalidInput: with its slopes imposed the network is not affine.
    """
    size, widths = len(domain.free), domain.widths
    # with imposed slopes the network is affine everywhere: read far out, its coefficients lose nothing to its offset
    far = FAR * max(1.0, float(widths.max(initial=0.0)), float(np.abs(domain.center).max(initial=0.0)))
    elsewhere = np.random.default_rng(size).uniform(-2.0, 2.0, (2, size)) * np.vstack([np.full(size, far), widths])
    probes = domain.points(np.vstack([np.zeros((1, size)), far * np.eye(size), elsewhere]))
    # the displacements that rounding left
    steps = (probes - domain.center)[:, domain.free]
    seen: list[tuple[Tensor, float | None]] = []

    def rule(z: Tensor, negative_slope: float) -> Tensor:
        at = len(seen)
        seen.append((z.flatten(1), negative_slope))
        return z * torch.as_tensor(slopes[at]).reshape(z.shape[1:]) if at < len(slopes) else torch.zeros_like(z)

    out = run(net, torch.as_tensor(probes), rule, escapes=bool(slopes))
    forms = []
    for z, slope in ((each.numpy(), slope) for each, slope in [*seen, (out, None)]):
        weights, offset = ((z[1:-2] - z[0]) / np.diag(steps[1:-2])[:, None]).T, z[0]
        off = np.abs(z[-2:] - (steps[-2:] @ weights.T + offset))
        if not (off[0] <= 1e-7 * (np.abs(z).max(initial=0.0))).all():
            refuse("something that PyTorch does not show")
        forms.append(Form(weights, offset, off[0] / far, off[1], slope))
    return forms


def least_distance(a: Array, b: Array) -> float:
    """min |d|_2 over A d <= b, inf where there is none (Lawson & Hanson 1974, ch. 23: a non-negative least squares)."""
    from scipy.optimize import nnls  # half a second, which worker processes that load these modules do without

    e = np.vstack([-a.T, -b])
    f = np.zeros(a.shape[1] + 1)
    f[-1] = 1.0
    weights, size = nnls(e, f)
    if size < 1e-6:
        return math.inf
    residual = e @ weights - f
    return float(np.linalg.norm(residual[:-1] / residual[-1]))


def has_interior(a: Array, b: Array, domain: Domain) -> bool:
    """Whether {d : A d <= b} holds a ball of radius THIN, at a point inside the domain's l2 ball where it has one.

    Both in units of the domain: its width along each coordinate or, of an l2 ball, its radius.

    Args:
        a, b: ``(rows, free)`` and ``(rows,)``.
        domain: the region.

    Raises:
        UnsupportedRequest: it holds none of radius INTERIOR, so that rounding may have made it.
    """
    ball = domain.norm == 2
    scaled = a * (domain.radius if ball else domain.widths)
    size = np.linalg.norm(scaled, axis=1)

    def holds(margin: float) -> bool:
        distance = least_distance(scaled / size[:, None], b / size - margin)
        return distance < (1.0 - margin if ball else math.inf)

    if not holds(THIN):
        return False
    if not holds(INTERIOR):
        raise unknown(f"a linear piece between {THIN:g} and {INTERIOR:g} of the region thin")
    return True


@dataclass(frozen=True)
class Cell:
    """A linear piece: f = J d + offset on {d : A d <= b}, the domain's facets among the rows of A.

    Attributes:
        matrix: J, ``(outputs, free)``.
        a, b: A, with rows of length 1, ``(rows, free)``, and b, ``(rows,)``.
        offset: ``(outputs,)``.
    """

    matrix: Array
    a: Array
    b: Array
    offset: Array


def cells(net: nn.Module, domain: Domain, seed: int = 0) -> list[Cell]:
    """Every linear piece of the network that meets the interior of the domain.

    Args:
        net: the network, in float64 and evaluation mode.
        domain: the region.
        seed: of random points, which settle most cases and decide none.

    Raises:
        InvalidInput: the network is not one of affine operations and ReLUs.
        UnsupportedRequest: too many pieces, or rounding hides on which side of a kink something is.
    """
    pieces: list[Cell] = []
    widths = domain.widths

    def descend(a: Array, b: Array, points: Array, slopes: list[Array]) -> None:
        layer = len(slopes)
        forms = forms_of(net, domain, slopes)
        form = forms[layer]
        if form.negative_slope is None:
            if len(pieces) == MOST_PIECES:
                accepted = "networks with few inputs and units, or smaller regions"
                raise UnsupportedRequest(
                    f"more than {MOST_PIECES} linear pieces", where="enumeration", accepted=accepted
                )
            pieces.append(Cell(form.weights, a, b, form.offset))
            _compare(net, domain, points[:4], pieces[-1])
            return
        for pattern, a2, b2, points2 in split(a, b, points, form):
            descend(a2, b2, points2, [*slopes, np.where(pattern, 1.0, form.negative_slope)])

    def split(a: Array, b: Array, points: Array, form: Form) -> list[tuple[tuple[bool, ...], Array, Array, Array]]:
        branches: list[tuple[tuple[bool, ...], Array, Array, Array]] = [((), a, b, points)]
        for w, offset, noise, offset_noise in zip(
            form.weights, form.offset, form.noise, form.offset_noise, strict=True
        ):
            size, largest = float(np.linalg.norm(w)), float(np.linalg.norm(w * widths))
            grown = []
            # rounding alone changes it, or nothing does: only its sign matters
            constant = largest <= ROUNDING * float(noise * widths.max())
            if not constant and abs(offset) <= 4.0 * math.sqrt(len(w)) * largest and offset_noise > INTERIOR * largest:
                raise unknown(
                    f"a kink at {offset:g} of a unit that changes by {largest:g}, with rounding of {offset_noise:g}"
                )
            for pattern, a1, b1, points1 in branches:
                if constant:
                    grown.append(((*pattern, bool(offset > 0)), a1, b1, points1))
                    continue
                height = points1 @ w + offset
                for on in (True, False):
                    row = -w if on else w
                    a2, b2 = np.vstack([a1, row / size]), np.append(b1, (offset if on else -offset) / size)
                    on_side = points1[height > INTERIOR * largest] if on else points1[height < -INTERIOR * largest]
                    # random points inside the branch settle most cases; the others are proved
                    if len(on_side) or has_interior(a2, b2, domain):
                        grown.append(((*pattern, on), a2, b2, on_side))
            branches = grown
        return branches

    a, b = domain.facets()
    descend(a, b, domain.sample(1000, np.random.default_rng(seed)), [])
    if not pieces:
        raise unknown(f"a region that is thinner than {INTERIOR:g} of its size")
    return pieces


def unknown(got: str) -> UnsupportedRequest:
    """The error about something that rounding hides."""
    return UnsupportedRequest(got, where="enumeration", accepted="what float64 numbers distinguish")


def _compare(net: nn.Module, domain: Domain, displacements: Array, cell: Cell) -> None:
    """The network itself, not watched, at points of a piece."""
    if not len(displacements):
        return
    values = evaluate(net, domain.points(displacements)).reshape(len(displacements), -1)
    off = np.abs(values - (displacements @ cell.matrix.T + cell.offset)).max(initial=0.0)
    size = np.abs(values).max(initial=0.0) + np.abs(cell.matrix * domain.widths).max(initial=0.0)
    if not off <= 1e-7 * size:
        refuse("something that PyTorch does not show")


def regional(pieces: list[Cell], rows: Array | None, p: float, q: float | None, weights: Array | float = 1.0) -> float:
    """The exact regional constant from all linear pieces: columns of coordinates that are fixed are absent from them.

    The others are multiplied by their weights: with d = units v, |J d| / |d / units| = |J diag(units) v| / |v|. Where a
    coordinate may not differ its column is 0.

    Args:
        pieces: all linear pieces.
        rows: the functional's, ``(rows, outputs)``, or None for the whole output.
        p, q: norms of inputs and, of the whole output, of outputs.
        weights: of the free coordinates, ``(free,)``.
    """
    return max(slope_norm(cell.matrix * weights, rows, p, q) for cell in pieces)
