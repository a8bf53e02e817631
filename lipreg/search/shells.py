"""Shells of a pointed search: the first ones, how far out they go, and how they are split."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lipreg.linalg import vector_norm
from lipreg.linalg.floats import EPS, SPARE
from lipreg.search.forward_bounds import Forms, contradictory, tighten
from lipreg.search.rises import OutputDifferences, ShellNodes

RATIO = 3.0
"""Outer over inner distance from which on a node is split in two shells before any of its units."""
MIN_CHILDREN, DESCENTS = 12, 3
"""Children below which nodes are split once more, and how often at most. Measured on the reference networks: it saves an
eighth of the time, and as much with 16."""
LEAST_CONE = 1e-6
"""Least part of the innermost shell in which the region is to be a cone, for the shell to be drawn in to its outer distance:
an end that rounding alone holds off the reference point makes it less."""
RADII = 40
"""Distances that are tried for the innermost shell, spaced geometrically from the region's largest down to 1e-8 of it."""


def roots(rises: OutputDifferences, uppers: Tensor) -> ShellNodes:
    """Two shells for each rise: about the reference point, as far as no units but those with kinks at it are unstable, and
    the rest."""
    network, count = rises.network, len(uppers)
    far = rises.farthest * torch.logspace(0, -8, RADII, dtype=torch.float64).to(uppers)
    tried = shell_nodes(rises, torch.zeros_like(far), torch.zeros_like(far), far)
    tighten(network, tried, lambda form: rises.within(tried, form))
    met = (tried.unstable & ~rises.kinks).any(-1)
    inner = float(far[~met].max()) if bool((~met).any()) else float(far.min())
    near = 0.0
    if not bool(met.all()) and rises.cone > LEAST_CONE * inner:
        # there quotients do not change along rays
        near = inner = min(inner, rises.cone)
    ends = [(near, inner)] + ([(inner, rises.farthest)] if inner < rises.farthest else [])
    rows = torch.arange(count, device=uppers.device)
    parts = [
        shell_nodes(rises, uppers, uppers.new_full((count,), low), uppers.new_full((count,), high))
        for low, high in ends
    ]
    return ShellNodes.join([replace(part, row=rows) for part in parts])


def shell_nodes(rises: OutputDifferences, uppers: Tensor, near: Tensor, far: Tensor) -> ShellNodes:
    """Nodes of the first rise between two distances, with nothing decided.

    Args:
        rises: of the question.
        uppers: a proved bound for each node, ``(N,)``.
        near, far: the distances, ``(N,)``.
    """
    network, count = rises.network, len(near)

    def repeated(tensor: Tensor) -> Tensor:
        return tensor.expand(count, -1).clone()

    wide = far.unsqueeze(-1) * rises.units * (1.0 + 4 * EPS)
    return ShellNodes(
        phase=torch.zeros(count, network.count, dtype=torch.int8, device=near.device),
        row=torch.zeros(count, dtype=torch.int64, device=near.device),
        upper=uppers.clone(),
        depth=torch.zeros(count, dtype=torch.int64, device=near.device),
        z_lower=repeated(network.z_lower),
        z_upper=repeated(network.z_upper),
        d_lower=torch.maximum(repeated(network.domain.lower), -wide),
        d_upper=torch.minimum(repeated(network.domain.upper), wide),
        vectors=near.new_zeros(count, 0, 0),
        unit_gaps=torch.ones(count, network.count, device=near.device),
        strain=torch.zeros(count, network.count, device=near.device),
        sides=torch.full((count, 2, network.count), torch.inf, dtype=torch.float64, device=near.device),
        exclusive=near.new_zeros(count, 0),
        near=near.clone(),
        far=far.clone(),
    )


def narrow(rises: OutputDifferences, nodes: ShellNodes, forms: Forms) -> None:
    """Narrows the distances of nodes, in place, to what their boxes and each of their cuts leave.

    Args:
        rises: of the question.
        nodes: whose ``near`` and ``far`` are updated.
        forms: of every unit, valid in the nodes.
    """
    network, wide = rises.network, 1.0 + EPS * (rises.network.inputs + SPARE)
    zero = torch.zeros_like(nodes.d_lower)
    far = torch.maximum(nodes.d_upper, -nodes.d_lower) / rises.units
    least = torch.maximum(torch.maximum(nodes.d_lower, -nodes.d_upper), zero) / rises.units
    nodes.far = torch.minimum(nodes.far, vector_norm(far, network.p) * wide)
    nodes.near = torch.maximum(nodes.near, vector_norm(least, network.p) / wide)
    a, b = forms.cuts(network, nodes.phase)
    if a.shape[1]:
        size = rises.within(replace(nodes, far=torch.ones_like(nodes.far)), a)
        from_cuts = torch.where((b < 0) & (size > 0), -b / size.clamp(min=1e-300), 0.0).amax(-1)
        nodes.near = torch.maximum(nodes.near, from_cuts / wide)


def descend(rises: OutputDifferences, nodes: ShellNodes) -> ShellNodes:
    """Splits nodes, and their children, until there are ``MIN_CHILDREN``: a round costs a few nodes as much as many.

    Args:
        rises: of the question.
        nodes: of which something is unstable.
    """
    children = split(rises, nodes)
    for _ in range(DESCENTS):
        splittable = children.unstable.any(-1) | _wide(children)
        if len(children) >= MIN_CHILDREN or not bool(splittable.any()):
            break
        children = ShellNodes.join([children[~splittable], split(rises, children[splittable])])
    return children


def _wide(nodes: ShellNodes) -> Tensor:
    """Whose distances are so far apart that two shells come before phases, ``(N,)``."""
    return (nodes.far > RATIO * nodes.near) & (nodes.near > 0)


def split(rises: OutputDifferences, nodes: ShellNodes) -> ShellNodes:
    """The children of nodes: two shells where the distances are far apart, else both phases of a unit."""
    radial = _wide(nodes)
    shells, others = nodes[radial], nodes[~radial]
    middle = (shells.near * shells.far).sqrt()
    wide = middle.unsqueeze(-1) * rises.units * (1.0 + 4 * EPS)
    lower, upper = torch.maximum(shells.d_lower, -wide), torch.minimum(shells.d_upper, wide)
    parts = [
        replace(shells, near=middle, depth=shells.depth + 1),
        replace(shells, far=middle, d_lower=lower, d_upper=upper, depth=shells.depth + 1),
    ]
    unit = torch.where(others.unstable, others.unit_gaps, -1.0).argmax(-1)
    index = torch.arange(len(others), device=unit.device)
    for sign in (1, -1):
        phase = others.phase.clone()
        phase[index, unit] = sign
        parts.append(replace(others, phase=phase, depth=others.depth + 1))
    children = ShellNodes.join(parts)
    return children[~contradictory(children)]
