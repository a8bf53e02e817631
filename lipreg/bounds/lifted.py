"""LipSDP's bound on a small network with switches, for a batch of them at once and without a solver.

A network from c to x with switches w_i = a_i y_i, 0 <= a_i <= 1,

    y = P w + Q c        (P is nilpotent: a switch reads those before it)
    x = R w + S c

has w_i (y_i - w_i) >= 0 at every switch. So for any multipliers lambda >= 0 and rho with

    rho |c|^2 - |R w + S c|^2 - sum_i lambda_i w_i (y_i - w_i) >= 0    for all c and w,

|x|_2 <= sqrt(rho) |c|_2 (Fazlyab et al. 2019). The dual of that semidefinite program has vectors in place of numbers: y_i,
w_i in R^r with w_i in the ball around y_i / 2 of radius |y_i| / 2, and the largest |x|. It is solved by passes forward and
back, as a power iteration is: w_i = (y_i + |y_i| u_i) / 2 with u_i along the gradient h_i of w_i, c along its own. Where it
stands still

    lambda_i = |h_i| / |y_i|

are the multipliers. Wherever it stands, those multipliers prove a bound, so how far it came decides only how tight that is.

Other norms are weighted Euclidean ones at their best weights: |x|_1^2 <= sum(m) sum(x_j^2 / m_j) for any m > 0, and signs
c_k = +-1 have sum(b_k c_k^2) = sum(b).

Source: the program is Fazlyab et al.'s, the iteration is ours, after the mixing method (Wang, Chang & Kolter 2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds.lifted_proof import floored, proved
from lipreg.bounds.lifted_sides import side_bounds
from lipreg.bounds.switches import Switches
from lipreg.budget import UNLIMITED, Budget
from lipreg.linalg.floats import EPS

RANK = 8
"""Length of the vectors. The optimum needs sqrt(2 (switches + columns)); a lower rank costs a little tightness."""
ROUNDS = (
    (4, (1.0, 1.01, 1.1, 1.5)),
    (12, (1.0, 1.001, 1.01, 1.1)),
    (64, (1.0, 1.0001, 1.001, 1.01, 1.1)),
    (256, (1.0, 1.00001, 1.0001, 1.001, 1.01)),
)
"""Passes, after which bounds are taken, and the factors on the multipliers that are tried: before the iteration converges
the multipliers are too small by about as much as it has to go."""
CLOSE = 1e-4
"""How close to the relaxation, relatively, a thorough bound is to be."""


@dataclass(frozen=True)
class Lifted:
    """Bounds of the relaxation for N networks.

    Attributes:
        bound: on the largest |x|, ``(N,)``, infinite where nothing was proved.
        multipliers: of the switches, ``(N, u)``: of |x|_2 over |c|_2 <= 1 the proof.
        branching_scores: how much hangs on each switch that stands between its ends, |h_i| |y_i| sin(h_i, y_i), ``(N, u)``;
            0 where its vector is that of a number a in {0, 1}. For branching.
        sides: on the largest |x| where each switch is on, and where it is off, ``(N, 2, u)``; infinite where not computed,
            as of more than one number c, and of networks whose own bound is at most the target.
    """

    bound: Tensor
    multipliers: Tensor
    branching_scores: Tensor
    sides: Tensor


@dataclass
class MixingVectors:
    """The vectors from which an iteration may start, for N networks of u switches w_i = a_i y_i from k numbers c.

    The relaxation has vectors in R^r in place of the numbers: w_i = (y_i + |y_i| u_i) / 2 with a unit vector u_i, and c_j.

    Attributes:
        directions: the u_i, ``(N, u, r)``.
        input_vectors: the c_j, ``(N, k, r)``.
        exclusive: multipliers of sides that exclude each other, ``(N, e)``; None where there are none.
    """

    directions: Tensor
    input_vectors: Tensor
    exclusive: Tensor | None = None

    @classmethod
    def start(cls, count: int, u: int, k: int, like: Tensor) -> MixingVectors:
        """Vectors in general position, the same ones each time.

        Args:
            count: N, how many networks.
            u, k: how many switches each has, and how many numbers in c.
            like: a tensor of the dtype and on the device of the vectors.
        """
        generator = torch.Generator().manual_seed(0)
        drawn = _unit(torch.randn(u + k, RANK, generator=generator, dtype=torch.float64)).to(like)
        return cls(drawn[:u].repeat(count, 1, 1), (drawn[u:] / k**0.5).repeat(count, 1, 1))

    def store(self, at: Tensor, state: _State) -> None:
        """Keeps the vectors of a state for some of the networks."""
        self.directions[at], self.input_vectors[at] = (
            state.along.to(self.directions).clone(),
            state.free.to(self.input_vectors).clone(),
        )
        if self.exclusive is not None:
            self.exclusive[at] = state.exclusive.to(self.exclusive)


def lifted_bound(
    network: Switches,
    vectors: MixingVectors,
    absolute: bool,
    signs: bool,
    target: float,
    to_convergence: Tensor,
    budget: Budget = UNLIMITED,
    relative_tolerance: float = CLOSE,
) -> Lifted:
    """Upper bounds on the largest |x| over c and all switches.

    Args:
        network: in float64.
        vectors: where the iteration starts and, after it, where it ended: in place, in a dtype of their own.
        absolute: |x|_1; else |x|_2.
        signs: over c in [-1, 1]^k; else over |c|_2 <= 1. The same for one column.
        target: the bound at or below which nothing smaller is needed.
        to_convergence: which are bounded as tightly as the relaxation allows, ``(N,)``; for others two rounds have to do,
            and one where the relaxation lies above what is enough.
        budget: started; rounds for which there is no time are left out.
        relative_tolerance: how close to the relaxation, relatively, bounds to convergence come.
    """
    network, unit, switch = _in_units(network)
    state = _State.at(network, vectors)
    bounds = torch.full((len(network.out_free),), torch.inf, dtype=torch.float64, device=network.out_free.device)
    multipliers, active = torch.zeros_like(state.multipliers), torch.arange(len(bounds), device=bounds.device)
    sides = bounds.reshape(-1, 1, 1).repeat(1, 2, network.unit_free.shape[1])
    between, aim = torch.zeros_like(multipliers), target / unit
    for turn, (sweeps, factors) in budget.paced(enumerate(ROUNDS), lambda each: each[1][0]):
        value = _sweep(network, state, absolute, signs, sweeps)
        bound, proving = proved(network, state.weights(absolute, signs), state.multipliers, state.exclusive, factors)
        multipliers[active] = torch.where((bound > bounds[active]).unsqueeze(-1), multipliers[active], proving)
        bounds[active], between[active] = torch.minimum(bounds[active], bound), state.branching_scores
        settled = torch.where(
            to_convergence[active],
            bounds[active] <= value * (1.0 + relative_tolerance),
            (value > aim[active]) | (turn > 0),
        )
        continuing = (bounds[active] > aim[active]) & ~settled
        last = ~continuing & (bounds[active] > aim[active])
        if last.any():
            ended = state[last]
            weights = ended.weights(absolute, signs)
            sides[active[last]] = side_bounds(network[last], weights, proving[last], ended.exclusive, bound[last])
        if not continuing.any():
            break
        vectors.store(active, state)
        active, network, state = active[continuing], network[continuing], state[continuing]
    vectors.store(active, state)
    bound, multipliers = bounds * unit * (1.0 + 4 * EPS), multipliers * (unit.unsqueeze(-1) / switch).square()
    sides = sides * unit.reshape(-1, 1, 1) * (1.0 + 4 * EPS)
    return Lifted(bound, multipliers, between * unit.square().unsqueeze(-1), sides)


@dataclass
class _State:
    """The state of an iteration: c ``(N, k, r)``, directions u ``(N, u, r)``, lambda, weights of rows and columns, and how
    much hangs on switches between their ends."""

    free: Tensor
    along: Tensor
    multipliers: Tensor
    rows: Tensor
    columns: Tensor
    branching_scores: Tensor
    exclusive: Tensor

    @classmethod
    def at(cls, network: Switches, vectors: MixingVectors) -> _State:
        """The state at some vectors."""
        (count, u, k), m = network.unit_free.shape, network.out_free.shape[1]
        like, ones = network.out_free, network.out_free.new_ones
        return cls(
            vectors.input_vectors.to(like),
            vectors.directions.to(like),
            ones(count, u),
            ones(count, m),
            ones(count, k),
            ones(count, u),
            like.new_zeros(count, 0) if vectors.exclusive is None else vectors.exclusive.to(like),
        )

    def weights(self, absolute: bool, signs: bool) -> tuple[Tensor | None, Tensor | None]:
        """The weights of rows and columns; None where |x|_2, or |c|_2, is what counts."""
        return self.rows if absolute else None, self.columns if signs else None

    def __getitem__(self, index: Tensor) -> _State:
        return _State(*(part[index] for part in vars(self).values()))


def _in_units(network: Switches) -> tuple[Switches, Tensor, Tensor]:
    """The networks with x and every switch in units in which they are of size 1, and these units, ``(N,)`` and ``(N, u)``.

    So no square leaves the range of floats, and layers of which one is multiplied by what the next is divided by are bounded
    alike. The units are powers of two, which round no entry.
    """
    direct = size = network.unit_free.abs().sum(-1)
    for _ in range(network.depth - 1):
        size = direct + (network.unit_unit.abs() @ size.unsqueeze(-1)).squeeze(-1)
    switch = _power(size)
    into = network.out_unit * switch.unsqueeze(1)
    entries = torch.cat([into, network.out_free], -1).flatten(1).abs()
    unit = _power(entries.amax(1) if entries.shape[1] else entries.sum(1))
    of_x = unit.reshape(-1, 1, 1)
    scaled = Switches(
        network.unit_unit * (switch.unsqueeze(1) / switch.unsqueeze(2)),
        network.unit_free / switch.unsqueeze(2),
        into / of_x,
        network.out_free / of_x,
        network.depth,
        network.exclusive,
    )
    return scaled, unit, switch


def _power(sizes: Tensor) -> Tensor:
    """The powers of two next to sizes, and 1 for none."""
    regular = (sizes > 0) & torch.isfinite(sizes)
    return torch.exp2(torch.where(regular, sizes, torch.ones_like(sizes)).log2().round())


def _sweep(network: Switches, state: _State, absolute: bool, signs: bool, sweeps: int) -> Tensor:
    """Improves the state by passes forward and back; returns the largest |x| among vectors, ``(N,)``, with what is missing
    of sides that exclude each other."""
    p, q, r, s = network.unit_unit, network.unit_free, network.out_unit, network.out_free
    value, beside, none, exclusive = r.new_zeros(len(r)), r.new_zeros(len(r)), r.new_zeros(()), network.exclusive
    for _ in range(sweeps):
        y = fixed = q @ state.free
        for _ in range(network.depth - 1):
            y = fixed + p @ ((y + y.norm(dim=-1, keepdim=True) * state.along) / 2)
        size = y.norm(dim=-1, keepdim=True)
        w = (y + size * state.along) / 2
        x = r @ w + s @ state.free
        lengths = x.norm(dim=-1)
        if absolute:
            value = lengths.sum(-1)
            state.rows = floored(lengths)
            x = x * (value.unsqueeze(-1) / state.rows).unsqueeze(-1)
        else:
            value = x.flatten(1).norm(dim=1)
        upright = y / size.clamp(min=1e-300)
        onto_w, onto_y = (none, none) if exclusive is None else exclusive.constraint_gradients(state.exclusive, y, w)
        h = fixed = 2.0 * r.mT @ x + onto_w
        for _ in range(network.depth):  # the last one is for c
            carried = (h + h.norm(dim=-1, keepdim=True) * upright) / 2 + onto_y
            h = fixed + p.mT @ carried
        pull = h.norm(dim=-1, keepdim=True)
        carried = (h + pull * upright) / 2 + onto_y
        size = floored(size.squeeze(-1))
        state.multipliers = pull.squeeze(-1) / size
        if exclusive is not None:  # in units of multipliers without them, which do not grow with them
            bare = (h - onto_w).norm(dim=-1) / size
            state.exclusive, beside = exclusive.multiplier_step(state.exclusive, bare, y, w)
        state.along = h / pull.clamp(min=1e-300)
        cosine = (state.along * upright).sum(-1)
        state.branching_scores = pull.squeeze(-1) * size * (1.0 - cosine.square()).clamp(min=0.0).sqrt()
        free = 2.0 * s.mT @ x + q.mT @ carried
        if signs:
            state.columns = floored(free.norm(dim=-1))
            state.free = _unit(free)
        else:
            state.free = free / free.flatten(1).norm(dim=1).clamp(min=1e-300).reshape(-1, 1, 1)
    return (value.square() + beside).clamp(min=0.0).sqrt()


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=1e-300)
