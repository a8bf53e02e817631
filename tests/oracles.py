"""Slow, independent references for tiny ReLU networks, from the definitions alone.

Nothing here uses lipreg. A network is a plain ``nn.Module`` in float64 whose activations are ``nn.ReLU`` or ``nn.LeakyReLU``
submodules, each called once, so hooks can read pre-activations and impose slopes. With the slopes of all units imposed the
network is affine, and its coefficients are read off at 0 and at the unit vectors.

* ``cells``: every linear piece that meets the interior of a domain, by branching unit by unit over the activation patterns;
  a branch is dropped when its polyhedron has no interior in the domain (a least distance problem, solved by NNLS).
* ``regional``: the largest operator norm over the pieces, which is the exact regional constant.
* ``pointed``: the largest quotient against the reference point over the vertices of all pieces cut by the cones on which the
  norm is linear. There the quotient is (convex) / (linear), so its maximum over a polytope is at a vertex: exact for p in
  {1, inf} on polyhedral domains.
* ``segments``: networks with one input, from their breakpoints; exact in every norm and both scopes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

Array = np.ndarray
INTERIOR = 1e-7
"""A piece counts when a ball of this radius fits into it; thinner pieces are left out, which only lowers the reference."""


# ---------------------------------------------------------------- networks


class Residual(nn.Module):
    """A sum of branches over the same and over different activations, with the input passed on."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(inputs, width), nn.Linear(width, width), nn.Linear(width, outputs)
        self.skip = nn.Linear(inputs, outputs)
        self.act1, self.act2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        h = self.act1(self.a(x))
        h = h + self.act2(self.b(h))
        return self.c(h) + self.skip(x)


class Scaled(nn.Module):
    """Normalises its input and multiplies by constants on the way."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.act = nn.ReLU()
        self.register_buffer("mean", torch.linspace(-0.2, 0.3, inputs))
        self.register_buffer("std", torch.linspace(0.5, 1.5, inputs))

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(-0.5 * self.a((x - self.mean) / self.std) + 0.1)
        return 1.0 - self.b(3.0 * h) / 2.0


def mlp(*widths: int, leak: float | None = None) -> nn.Sequential:
    """Linear layers of the given widths with a ReLU, or a leaky one, between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU() if leak is None else nn.LeakyReLU(leak)]
    return nn.Sequential(*layers[:-1])


def _batch_norm() -> nn.Module:
    first, second = nn.BatchNorm1d(4), nn.BatchNorm1d(3, affine=False)
    for norm in (first, second):
        norm.running_mean = 0.3 * torch.randn(norm.num_features)
        norm.running_var = 0.5 + torch.rand(norm.num_features)
    nn.init.uniform_(first.weight, -1.5, 1.5)
    nn.init.uniform_(first.bias, -0.3, 0.3)
    return nn.Sequential(nn.Linear(2, 4), first, nn.ReLU(), nn.Linear(4, 3), second, nn.ReLU(), nn.Linear(3, 2))


def _dead_units() -> nn.Module:
    """Units that no region reaches, a unit without weights, and one that is always on."""
    net = mlp(2, 5, 4, 3)
    with torch.no_grad():
        net[0].bias[0], net[0].bias[1] = -20.0, 20.0
        net[0].weight[2], net[0].bias[2] = 0.0, 0.5
        net[2].bias[3] = -100.0
    return net


ZOO: dict[str, Callable[[], nn.Module]] = {
    "line": lambda: mlp(1, 5, 2),
    "line_deep": lambda: mlp(1, 4, 4, 2),
    "shallow": lambda: mlp(2, 5, 3),
    "deep": lambda: mlp(2, 4, 4, 4, 3),
    "solid": lambda: mlp(3, 4, 3, 2),
    "leaky": lambda: mlp(2, 4, 3, 2, leak=0.2),
    "residual": lambda: Residual(2, 4, 2),
    "batch_norm": _batch_norm,
    "scaled": lambda: Scaled(2, 5, 2),
    "dead_units": _dead_units,
    "affine": lambda: nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)),
}


def network(name: str, seed: int = 0) -> nn.Module:
    """A network of the zoo in float64 and evaluation mode, with spread-out kinks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000 * seed + sum(map(ord, name)))
        net = ZOO[name]()
        for module in net.modules():
            if isinstance(module, nn.Linear):  # the default weights leave half of the units undecided by no region
                module.weight.data.mul_(1.8)
    return net.double().eval()


def input_size(net: nn.Module) -> int:
    """The number of inputs of a network of the zoo."""
    return next(m for m in net.modules() if isinstance(m, nn.Linear)).in_features


def evaluate(net: nn.Module, x: Array) -> Array:
    """The network at points ``(count, inputs)``."""
    with torch.no_grad():
        return net(torch.as_tensor(x, dtype=torch.float64)).numpy()


def preactivations(net: nn.Module, x: Array) -> list[Array]:
    """What each activation is given at points ``(count, inputs)``, in the order in which they are called."""
    seen: list[Array] = []
    handles = [
        m.register_forward_hook(lambda module, args, output: seen.append(args[0].numpy()))
        for m in net.modules()
        if isinstance(m, nn.ReLU | nn.LeakyReLU)
    ]
    evaluate(net, x)
    for handle in handles:
        handle.remove()
    return seen


def jacobian(net: nn.Module, x: Array) -> Array:
    """The Jacobian ``(outputs, inputs)`` by autograd at one point."""
    point = torch.as_tensor(x, dtype=torch.float64).unsqueeze(0)
    return torch.autograd.functional.jacobian(net, point)[0, :, 0].numpy()


# ---------------------------------------------------------------- functionals and norms


def operator_norm(matrix: Array, p: float, q: float) -> float:
    """max |A v|_q over |v|_p <= 1, over the extreme points of one of the two balls."""
    rows, columns = matrix.shape
    if p == 1:
        return max(float(np.linalg.norm(matrix[:, j], q)) for j in range(columns))
    if p == math.inf:
        return max(float(np.linalg.norm(matrix @ s, q)) for s in _signs(columns))
    if q == math.inf:
        return max(float(np.linalg.norm(matrix[i])) for i in range(rows))
    if q == 1:
        return max(float(np.linalg.norm(matrix.T @ s)) for s in _signs(rows))
    return float(np.linalg.svd(matrix, compute_uv=False)[0])


def slope_norm(matrix: Array, rows: Array | None, p: float, q: float | None) -> float:
    """The norm of a Jacobian for a question: the largest over scalar rows c, or |J|_{p->q} where rows is None."""
    if rows is None:
        assert q is not None
        return operator_norm(matrix, p, q)
    return max(operator_norm(c[None, :] @ matrix, p, 1) for c in rows)


def rise_norm(change: Array, rows: Array | None, q: float | None) -> Array:
    """How far outputs differ, for changes ``(count, outputs)``."""
    return np.linalg.norm(change, q, axis=1) if rows is None else np.abs(change @ rows.T).max(1)


def _signs(count: int) -> Iterator[Array]:
    for signs in itertools.product((-1.0, 1.0), repeat=count):
        yield np.array(signs)


# ---------------------------------------------------------------- domains


@dataclass(frozen=True)
class Domain:
    """{x : lower <= x <= upper, |x - center|_norm <= radius, rows x <= levels} around one reference point."""

    center: Array
    lower: Array
    upper: Array
    norm: float = math.inf
    radius: float = math.inf
    rows: Array | None = None
    levels: Array | None = None

    @property
    def free(self) -> Array:
        """The positions of the coordinates with room."""
        return np.flatnonzero(self.upper > self.lower)

    def facets(self) -> tuple[Array, Array]:
        """(A, b) with A d <= b for displacements d of the free coordinates: the box, the l1 ball, the given rows."""
        free, eye = self.free, np.eye(len(self.free))
        a = [eye, -eye]
        b = [(self.upper - self.center)[free], (self.center - self.lower)[free]]
        if self.norm == 1 and self.radius < math.inf:
            signs = np.array(list(_signs(len(free))))
            a.append(signs)
            b.append(np.full(len(signs), self.radius))
        if self.rows is not None and self.levels is not None:
            a.append(self.rows[:, free])
            b.append(self.levels - self.rows @ self.center)
        return np.vstack(a), np.concatenate(b)

    def points(self, displacements: Array) -> Array:
        """Full points from displacements of the free coordinates ``(count, free)``."""
        x = np.tile(self.center, (len(displacements), 1))
        x[:, self.free] += displacements
        return x

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        """Displacements ``(<= count, free)`` spread through the domain, by rejection from the box."""
        free = self.free
        d = rng.uniform(self.lower[free] - self.center[free], self.upper[free] - self.center[free], (count, len(free)))
        if self.radius < math.inf:
            d = d[np.linalg.norm(d, self.norm, axis=1) <= self.radius]
        if self.rows is not None and self.levels is not None:
            d = d[(self.points(d) @ self.rows.T <= self.levels).all(1)]
        return d

    @property
    def polyhedral(self) -> bool:
        return self.radius == math.inf or self.norm != 2


# ---------------------------------------------------------------- linear pieces


@contextmanager
def _imposed(net: nn.Module, slopes: list[Array], seen: list[Tensor]) -> Iterator[None]:
    """Activations multiply by the given slopes, in the order in which they are called, and record what they were given."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        z = args[0]
        seen.append(z)
        at = len(seen) - 1
        return z * torch.as_tensor(slopes[at]) if at < len(slopes) else torch.zeros_like(z)

    handles = [m.register_forward_hook(hook) for m in net.modules() if isinstance(m, nn.ReLU | nn.LeakyReLU)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def affine_forms(net: nn.Module, domain: Domain, slopes: list[Array]) -> list[tuple[Array, Array]]:
    """(A, b) of each pre-activation in turn and of the output, in the displacement d, with the slopes imposed so far."""
    size = len(domain.free)
    probes = domain.points(np.vstack([np.zeros((1, size)), np.eye(size)]))
    seen: list[Tensor] = []
    with torch.no_grad(), _imposed(net, slopes, seen):
        seen.append(net(torch.as_tensor(probes)))
    values = [z.numpy() for z in seen]
    return [((z[1:] - z[0]).T, z[0]) for z in values]


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
    """Whether {d : A d <= b} holds a ball of radius INTERIOR, at a point inside the domain's l2 ball where it has one."""
    distance = least_distance(a, b - INTERIOR * np.linalg.norm(a, axis=1))
    return distance < (domain.radius - INTERIOR if domain.norm == 2 else math.inf)


@dataclass(frozen=True)
class Cell:
    """A linear piece: f = J d + offset on {d : A d <= b}, the domain's facets among the rows of A."""

    matrix: Array
    a: Array
    b: Array


def cells(net: nn.Module, domain: Domain, seed: int = 0) -> list[Cell]:
    """Every linear piece of the network that meets the interior of the domain."""
    leaks = [getattr(m, "negative_slope", 0.0) for m in net.modules() if isinstance(m, nn.ReLU | nn.LeakyReLU)]
    found: list[Cell] = []

    def descend(a: Array, b: Array, points: Array, slopes: list[Array]) -> None:
        layer = len(slopes)
        forms = affine_forms(net, domain, slopes)
        if layer == len(forms) - 1:
            found.append(Cell(forms[-1][0], a, b))
            return
        for pattern, a2, b2, points2 in split(a, b, points, *forms[layer]):
            descend(a2, b2, points2, [*slopes, np.where(pattern, 1.0, leaks[layer])])

    def split(
        a: Array, b: Array, points: Array, weights: Array, offsets: Array
    ) -> list[tuple[tuple[bool, ...], Array, Array, Array]]:
        branches: list[tuple[tuple[bool, ...], Array, Array, Array]] = [((), a, b, points)]
        for w, offset in zip(weights, offsets, strict=True):
            size = float(np.linalg.norm(w))
            grown = []
            for pattern, a1, b1, points1 in branches:
                if size < 1e-12:  # constant on the piece: only its sign matters
                    grown.append(((*pattern, bool(offset > 0)), a1, b1, points1))
                    continue
                height = points1 @ w + offset
                for on in (True, False):
                    row = -w if on else w
                    a2, b2 = np.vstack([a1, row / size]), np.append(b1, (offset if on else -offset) / size)
                    kept = points1[height > INTERIOR * size] if on else points1[height < -INTERIOR * size]
                    # random points that reach the branch settle most cases; the others are proved
                    if len(kept) or has_interior(a2, b2, domain):
                        grown.append(((*pattern, on), a2, b2, kept))
            branches = grown
        return branches

    a, b = domain.facets()
    descend(a, b, domain.sample(1000, np.random.default_rng(seed)), [])
    return found


def regional(found: list[Cell], rows: Array | None, p: float, q: float | None) -> float:
    """The exact regional constant from all linear pieces: columns of coordinates without room are absent from them."""
    return max(slope_norm(cell.matrix, rows, p, q) for cell in found)


# ---------------------------------------------------------------- quotients against the reference point


def candidates(found: list[Cell], domain: Domain, p: float) -> Array:
    """Points of a polyhedral domain among which the pointed quotient in p in {1, inf} is largest; ``(count, inputs)``."""
    size = len(domain.free)
    a, b = domain.facets()
    eye = np.eye(size)
    if p == 1:
        cones = eye
    else:
        pairs = [eye[i] - s * eye[j] for i, j in itertools.combinations(range(size), 2) for s in (1, -1)]
        cones = np.vstack([eye[:1], *pairs])
    points = []
    for cell in found:
        planes, levels = np.vstack([cell.a, cones]), np.concatenate([cell.b, np.zeros(len(cones))])
        choices = np.array(list(itertools.combinations(range(len(planes)), size)))
        systems = planes[choices]
        regular = np.abs(np.linalg.det(systems)) > 1e-10
        solved = np.linalg.solve(systems[regular], levels[choices[regular]][..., None])[..., 0]
        points.append(solved[(solved @ cell.a.T <= cell.b + 1e-9).all(1)])
    d = np.vstack(points)
    d = d[(d @ a.T <= b + 1e-9).all(1) & (np.abs(d).max(1) > 1e-7)]
    return domain.points(d)


def quotients(net: nn.Module, domain: Domain, x: Array, rows: Array | None, p: float, q: float | None) -> Array:
    """|f(x) - f(x0)| / |x - x0|_p at points ``(count, inputs)``."""
    change = evaluate(net, x) - evaluate(net, domain.center[None])
    return rise_norm(change, rows, q) / np.linalg.norm(x - domain.center, p, axis=1)


def sampled_pointed(
    net: nn.Module, domain: Domain, rows: Array | None, p: float, q: float | None, count: int = 4000, seed: int = 1
) -> float:
    """A lower reference for the pointed constant: the best quotient of random points."""
    d = domain.sample(count, np.random.default_rng(seed))
    d = d[np.linalg.norm(d, axis=1) > 1e-4]
    return float(quotients(net, domain, domain.points(d), rows, p, q).max())


# ---------------------------------------------------------------- one input: breakpoints


def breakpoints(net: nn.Module, lower: float, upper: float) -> Array:
    """The kinks of a network with one input in [lower, upper], ends included, layer by layer by interpolation."""
    knots = np.array([lower, upper])
    layers = sum(isinstance(m, nn.ReLU | nn.LeakyReLU) for m in net.modules())
    for layer in range(layers):
        seen = preactivations(net, knots[:, None])
        z = seen[layer]
        crossing = z[:-1] * z[1:] < 0
        at, _ = np.nonzero(crossing)
        share = (z[:-1] / np.where(crossing, z[:-1] - z[1:], 1.0))[crossing]
        knots = np.unique(np.concatenate([knots, knots[at] + share * (knots[at + 1] - knots[at])]))
    return knots


def segments(net: nn.Module, domain: Domain, rows: Array | None, q: float | None) -> tuple[float, float]:
    """(regional, pointed) constants of a network with one input: exact, and the same for every input norm."""
    a, b = domain.facets()
    ends = b / a[:, 0] + domain.center[0]
    knots = breakpoints(net, float(ends[a[:, 0] < 0].max()), float(ends[a[:, 0] > 0].min()))
    knots = knots[np.append(True, np.diff(knots) > 1e-9)]
    values = evaluate(net, knots[:, None])
    steepest = float((rise_norm(np.diff(values, axis=0), rows, q) / np.diff(knots)).max())
    away = knots[np.abs(knots - domain.center[0]) > 1e-9]
    return steepest, float(quotients(net, domain, away[:, None], rows, 1, q).max())
