"""Nodes of small networks with points that are known to lie in them, and what autograd says there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lipreg.bounds import Analysis
from lipreg.estimators import frozen_analysis
from lipreg.folding import FoldedNetwork, fold
from lipreg.outputs import AllLogits
from lipreg.problem import LocalLipschitz
from lipreg.regions import L1Ball, L2Ball, LinfBall, Region
from lipreg.search.nodes import Nodes
from tests import oracles

REGIONS: dict[str, Region] = {"linf": LinfBall(0.8, low=-0.5), "l1": L1Ball(1.2), "l2_cut": L2Ball(0.9, low=-0.5)}


def analysis(net: nn.Module, p: float, region: Region, x: Tensor | None = None) -> Analysis:
    size = oracles.input_size(net)
    start = torch.full((1, size), 0.2, dtype=torch.float64) if x is None else x
    return frozen_analysis(net, LocalLipschitz(region, AllLogits(), p=p), start, None)


@dataclass(frozen=True)
class Sampled:
    """Points of the region, what the folded network is at them, and the true gradients there.

    Attributes:
        d: displacements of the inputs with room, ``(k, m)``.
        z: pre-activations of the unstable units, ``(k, n)``, read off the network itself.
        norms: |c_r^T J|_{p*} by autograd, ``(k, rows)``.
    """

    folded: FoldedNetwork
    d: Tensor
    z: Tensor
    norms: Tensor


def sample(net: nn.Module, local: Analysis, count: int, seed: int = 0) -> Sampled:
    folded = fold(local)
    x = local.placed.region.sample(count, torch.Generator().manual_seed(seed))[0]
    moves = local.placed.region.movable[0].flatten()
    d = (x - local.placed.region.center)[..., moves]
    seen = oracles.preactivations(net, x.numpy())
    order = {index: at for at, (index, _) in enumerate(local.graph.relus())}
    units = folded.units
    columns = [
        torch.from_numpy(seen[order[int(n)]][:, int(i)]) for n, i in zip(units.node, units.position, strict=True)
    ]
    z = torch.stack(columns, dim=1) if columns else d.new_zeros(count, 0)
    rows = torch.stack([torch.from_numpy(oracles.jacobian(net, point.numpy())) for point in x])
    return Sampled(folded, d, z, folded.norm(rows[..., moves]))


def check_ascent(local: Analysis, sampled: Sampled, ascend: Callable[[Tensor], Tensor]) -> None:
    """From every sampled point a search for a larger gradient ends in the region, at one that is no smaller."""
    folded = sampled.folded
    before = folded.gradient_norms(folded.phases(sampled.d)).amax(-1)
    for d, least in zip(sampled.d, before.tolist(), strict=True):
        end = ascend(d).unsqueeze(0)
        assert local.placed.region.contains(folded.domain.points(end).unsqueeze(1)).all()
        assert float(folded.gradient_norms(folded.phases(end)).amax()) >= least


def nodes_around(sampled: Sampled, at: Tensor, known: float, seed: int = 0) -> Nodes:
    """Nodes that hold the sampled points ``at``: a share of their phases fixed, a box around each, rows in turn."""
    generator = torch.Generator().manual_seed(seed)
    folded, d = sampled.folded, sampled.d[at]
    nodes = Nodes.roots(folded, torch.full((folded.rows,), torch.inf, dtype=torch.float64))
    nodes = nodes[torch.arange(len(at)) % folded.rows]
    phase = torch.where(sampled.z[at] > 0, 1, -1).to(torch.int8)
    fixed = torch.rand(phase.shape, generator=generator) < known
    nodes.phase = torch.where(fixed, phase, torch.zeros_like(phase))
    share = torch.rand(d.shape, generator=generator, dtype=torch.float64)
    nodes.d_lower = d - share * (d - nodes.d_lower)
    nodes.d_upper = d + share * (nodes.d_upper - d)
    return nodes


def inside(sampled: Sampled, nodes: Nodes, slack: float = 1e-12) -> Tensor:
    """Which sampled points lie in which nodes, ``(N, k)``."""
    d = sampled.d.unsqueeze(0)
    box = ((d >= nodes.d_lower.unsqueeze(1) - slack) & (d <= nodes.d_upper.unsqueeze(1) + slack)).all(-1)
    sign = torch.where(sampled.z > 0, 1, -1).unsqueeze(0)
    return box & ((nodes.phase.unsqueeze(1) == 0) | (nodes.phase.unsqueeze(1) == sign)).all(-1)
