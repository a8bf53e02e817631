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
"""A unit that moves by no more than this many times what its coefficients are off is constant."""


def evaluate(net: nn.Module, x: Array) -> Array:
    """The network at points ``(count, inputs)``."""
    with torch.no_grad():
        return net(torch.as_tensor(x, dtype=torch.float64)).numpy()


def preactivations(net: nn.Module, x: Array) -> list[Array]:
    """What each activation is given at points ``(count, inputs)``, in the order in which they are called."""
    seen: list[Array] = []

    def rule(z: Tensor, leak: float) -> Tensor:
        seen.append(z.flatten(1).numpy())
        return torch.where(z > 0, z, leak * z)

    run(net, torch.as_tensor(x, dtype=torch.float64), rule)
    return seen


def jacobian(net: nn.Module, x: Array) -> Array:
    """The Jacobian ``(outputs, inputs)`` by autograd at one point."""
    point = torch.as_tensor(x, dtype=torch.float64).unsqueeze(0)
    full: Any = torch.autograd.functional.jacobian(net, point)
    return full[0, :, 0].numpy()


def jacobians(net: nn.Module, x: Array) -> Array:
    """Those at points ``(count, inputs)`` that do not see each other, ``(count, outputs, inputs)``."""
    points = torch.as_tensor(x, dtype=torch.float64)
    full: Any = torch.autograd.functional.jacobian(lambda batch: net(batch).sum(0), points)
    return full.movedim(1, 0).numpy()


@dataclass(frozen=True)
class Form:
    """z = weights d + offset in the displacement d, of every unit of a layer, and how far rounding puts each of these off.

    Attributes:
        leak: the negative slope that comes after it; None for the output.
    """

    weights: Array
    offset: Array
    noise: Array
    offset_noise: Array
    leak: float | None = None


def forms_of(net: nn.Module, domain: Domain, slopes: list[Array]) -> list[Form]:
    """The forms of each pre-activation in turn and of the output, with the slopes imposed so far."""
    size, widths = len(domain.free), domain.widths
    # with imposed slopes the network is affine everywhere: read far out, its coefficients lose nothing to its offset
    far = FAR * max(1.0, float(widths.max(initial=0.0)), float(np.abs(domain.center).max(initial=0.0)))
    elsewhere = np.random.default_rng(size).uniform(-2.0, 2.0, (2, size)) * np.vstack([np.full(size, far), widths])
    probes = domain.points(np.vstack([np.zeros((1, size)), far * np.eye(size), elsewhere]))
    # the displacements that rounding left
    moved = (probes - domain.center)[:, domain.free]
    seen: list[tuple[Tensor, float | None]] = []

    def rule(z: Tensor, leak: float) -> Tensor:
        at = len(seen)
        seen.append((z.flatten(1), leak))
        return z * torch.as_tensor(slopes[at]).reshape(z.shape[1:]) if at < len(slopes) else torch.zeros_like(z)

    out = run(net, torch.as_tensor(probes), rule, escapes=bool(slopes))
    forms = []
    for z, leak in ((each.numpy(), leak) for each, leak in [*seen, (out, None)]):
        weights, offset = ((z[1:-2] - z[0]) / np.diag(moved[1:-2])[:, None]).T, z[0]
        off = np.abs(z[-2:] - (moved[-2:] @ weights.T + offset))
        if not (off[0] <= 1e-7 * (np.abs(z).max(initial=0.0))).all():
            refuse("something that PyTorch does not show")
        forms.append(Form(weights, offset, off[0] / far, off[1], leak))
    return forms


def affine_forms(net: nn.Module, domain: Domain, slopes: list[Array]) -> list[tuple[Array, Array]]:
    """(A, b) of each pre-activation in turn and of the output, in the displacement d, with the slopes imposed so far."""
    return [(form.weights, form.offset) for form in forms_of(net, domain, slopes)]


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
    """A linear piece: f = J d + offset on {d : A d <= b}, the domain's facets among the rows of A."""

    matrix: Array
    a: Array
    b: Array
    offset: Array


def cells(net: nn.Module, domain: Domain, seed: int = 0) -> list[Cell]:
    """Every linear piece of the network that meets the interior of the domain.

    Raises:
        InvalidInput: the network is not one of affine operations and ReLUs.
        UnsupportedRequest: too many pieces, or rounding hides on which side of a kink something is.
    """
    found: list[Cell] = []
    widths = domain.widths

    def descend(a: Array, b: Array, points: Array, slopes: list[Array]) -> None:
        layer = len(slopes)
        forms = forms_of(net, domain, slopes)
        form = forms[layer]
        if form.leak is None:
            if len(found) == MOST_PIECES:
                accepted = "networks with few inputs and units, or smaller regions"
                raise UnsupportedRequest(
                    f"more than {MOST_PIECES} linear pieces", where="enumeration", accepted=accepted
                )
            found.append(Cell(form.weights, a, b, form.offset))
            _compare(net, domain, points[:4], found[-1])
            return
        for pattern, a2, b2, points2 in split(a, b, points, form):
            descend(a2, b2, points2, [*slopes, np.where(pattern, 1.0, form.leak)])

    def split(a: Array, b: Array, points: Array, form: Form) -> list[tuple[tuple[bool, ...], Array, Array, Array]]:
        branches: list[tuple[tuple[bool, ...], Array, Array, Array]] = [((), a, b, points)]
        for w, offset, noise, offset_noise in zip(
            form.weights, form.offset, form.noise, form.offset_noise, strict=True
        ):
            size, room = float(np.linalg.norm(w)), float(np.linalg.norm(w * widths))
            grown = []
            # rounding alone moves it, or nothing does: only its sign matters
            constant = room <= ROUNDING * float(noise * widths.max())
            if not constant and abs(offset) <= 4.0 * math.sqrt(len(w)) * room and offset_noise > INTERIOR * room:
                raise unknown(f"a kink at {offset:g} that moves by {room:g}, where rounding is {offset_noise:g}")
            for pattern, a1, b1, points1 in branches:
                if constant:
                    grown.append(((*pattern, bool(offset > 0)), a1, b1, points1))
                    continue
                height = points1 @ w + offset
                for on in (True, False):
                    row = -w if on else w
                    a2, b2 = np.vstack([a1, row / size]), np.append(b1, (offset if on else -offset) / size)
                    kept = points1[height > INTERIOR * room] if on else points1[height < -INTERIOR * room]
                    # random points that reach the branch settle most cases; the others are proved
                    if len(kept) or has_interior(a2, b2, domain):
                        grown.append(((*pattern, on), a2, b2, kept))
            branches = grown
        return branches

    a, b = domain.facets()
    descend(a, b, domain.sample(1000, np.random.default_rng(seed)), [])
    if not found:
        raise unknown(f"a region that is thinner than {INTERIOR:g} of its size")
    return found


def unknown(got: str) -> UnsupportedRequest:
    """The error that says what rounding hides."""
    return UnsupportedRequest(got, where="enumeration", accepted="what float64 numbers tell apart")


def _compare(net: nn.Module, domain: Domain, displacements: Array, cell: Cell) -> None:
    """The network itself, not watched, at points of a piece."""
    if not len(displacements):
        return
    values = evaluate(net, domain.points(displacements)).reshape(len(displacements), -1)
    off = np.abs(values - (displacements @ cell.matrix.T + cell.offset)).max(initial=0.0)
    size = np.abs(values).max(initial=0.0) + np.abs(cell.matrix * domain.widths).max(initial=0.0)
    if not off <= 1e-7 * size:
        refuse("something that PyTorch does not show")


def regional(found: list[Cell], rows: Array | None, p: float, q: float | None, weights: Array | float = 1.0) -> float:
    """The exact regional constant from all linear pieces: columns of coordinates without room are absent from them.

    The others are multiplied by their weights, ``(free,)``: with d = units v, |J d| / |d / units| = |J diag(units) v| / |v|.
    Where a coordinate may not differ its column is 0.
    """
    return max(slope_norm(cell.matrix * weights, rows, p, q) for cell in found)
