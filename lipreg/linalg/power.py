"""Power iteration with its vectors passed in and out: spectral norms estimated in training, a step at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from lipreg.linalg.diagonal import Diagonal
from lipreg.linalg.maps import LinearMap
from lipreg.linalg.subspace import Apply, followed, normalised, orthonormal, probes, top_pairs


class PowerIteration:
    """Estimates of |diag(rows) A diag(columns)|_2, each started from the vectors of the last.

    One step is v = A^T u / |A^T u|, sigma = |A v|, u = A v / sigma, of the weighted map: two passes. From a vector that
    followed the weights through training a step is enough; the first estimate of a map takes ``first`` steps. sigma is
    attained by u and v, so it never exceeds the norm: an ESTIMATE from below, no bound. It is differentiable through
    sigma = u^T A v with u and v constant, which is the exact gradient where u and v are singular vectors.

    Args:
        shared: keep a few directions a map, for points that change from batch to batch; each point starts from the
            combination of them that is best for its weights. Otherwise one vector for each point of a fixed batch.
        first: steps of the first estimate.
    """

    def __init__(self, shared: bool, first: int = 8) -> None:
        self.shared, self.first = shared, first
        self.vectors: dict[str, Tensor] = {}
        """By the map's name, what a checkpoint keeps: orthonormal right vectors ``(directions, *in_shape)``, or left
        vectors u ``(batch, *out_shape)``."""
        self.probes: dict[str, Tensor] = {}
        """By the map's name, what ``subspace.probes`` draws for it."""

    def norm(self, name: str, map: LinearMap, rows: Tensor, columns: Tensor) -> Tensor:
        """The estimate of |diag(rows) map diag(columns)|_2 at each point, ``(batch,)``, differentiable.

        Args:
            name: of the map, the same at every call.
            map: any; a diagonal one is measured exactly.
            rows, columns: weights >= 0, ``(batch or 1, *shape)``.
        """
        if isinstance(map, Diagonal):
            return (rows * map.abs()(columns)).flatten(1).amax(-1)
        _, u, v = self.iterate(name, rows.detach(), columns.detach(), map, map.transpose)
        return (rows * u * map(columns * v)).flatten(1).sum(1)

    def iterate(
        self, name: str, rows: Tensor, columns: Tensor, forward: Apply, back: Apply
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The vectors and the estimate of |diag(rows) A diag(columns)|_2 after this call's steps, without a gradient.

        Args:
            name: of the map, the same at every call.
            rows, columns: weights >= 0, ``(batch or 1, *shape)``.
            forward, back: A and A^T on batches.

        Returns:
            sigma ``(batch,)``, u ``(batch, *out_shape)`` and v ``(batch, *in_shape)``, 0 where the weights are 0:
            sigma = u . diag(rows) A diag(columns) v. For weights 0 and 1 that is u . A v.
        """
        with torch.no_grad():
            return (self._shared if self.shared else self._own)(name, rows, columns, forward, back)

    def _shared(
        self, name: str, rows: Tensor, columns: Tensor, forward: Apply, back: Apply
    ) -> tuple[Tensor, Tensor, Tensor]:
        probe, basis, steps = self.probes.get(name), self.vectors.get(name), 1
        like = (columns.shape[1:], rows.dtype, rows.device)
        if probe is None or (probe.shape[1:], probe.dtype, probe.device) != like:
            probe = self.probes[name] = probes(rows, columns)
        if basis is None or basis.shape != probe.shape:
            basis, steps = orthonormal(probe), self.first
        basis = basis.to(rows)
        for _ in range(steps - 1):
            basis = followed(basis, top_pairs(basis, rows, columns, forward, back)[2], probe)
        sigma, u, v = top_pairs(basis, rows, columns, forward, back)
        self.vectors[name] = followed(basis, v, probe)
        return sigma, u, v

    def _own(
        self, name: str, rows: Tensor, columns: Tensor, forward: Apply, back: Apply
    ) -> tuple[Tensor, Tensor, Tensor]:
        u, steps = self.vectors.get(name), 1
        if u is None or u.shape[1:] != rows.shape[1:] or len(u) != len(rows):
            u, steps = _start(rows), self.first
        before = u.to(rows)
        v = sigma = u = before
        for _ in range(steps):
            v = normalised(columns * back(rows * u))[0]
            u, sigma = normalised(rows * forward(columns * v))
        # entries that became 0 keep their value before: from 0 a map, or a block of one, would never come back
        self.vectors[name] = torch.where(u == 0, before, u)
        return sigma.flatten(), u, v


def _start(rows: Tensor) -> Tensor:
    """A vector that no singular vector is orthogonal to, but by chance; the same at every start."""
    draw = torch.Generator().manual_seed(0)
    return torch.randn(rows.shape[1:], generator=draw, dtype=torch.float64).to(rows).unsqueeze(0)
