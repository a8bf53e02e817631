"""Power iteration with its vectors passed in and out: spectral norms estimated in training, a step at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lipreg.linalg.maps import Diagonal, LinearMap


class PowerIteration:
    """Estimates of |diag(rows) A diag(columns)|_2 that go on where the last ones stopped.

    One step is v = A^T u / |A^T u|, sigma = |A v|, u = A v / sigma, of the weighted map: two passes. From a vector that
    followed the weights through training a step is enough; the first estimate of a map takes ``first`` steps. sigma is
    attained by v, so it never exceeds the norm: an ESTIMATE from below, no bound. It is differentiable through
    sigma = u^T A v with u and v constant, which is the exact gradient where u and v are singular vectors.

    Args:
        shared: keep one vector a map, the mean over the batch, for points that change from batch to batch; otherwise one
            for each point of a fixed batch.
        first: steps where no vector is known.
    """

    def __init__(self, shared: bool, first: int = 8) -> None:
        self.shared, self.first = shared, first
        self.vectors: dict[str, Tensor] = {}
        """Left vectors u by the map's name, ``(1 or batch, *out_shape)``; what a checkpoint keeps."""

    def norm(self, name: str, map: LinearMap, rows: Tensor, columns: Tensor) -> Tensor:
        """The estimate of |diag(rows) map diag(columns)|_2 at each point, ``(batch,)``, differentiable.

        Args:
            name: of the map, the same at every call.
            map: any; a diagonal one is measured exactly.
            rows, columns: weights >= 0, ``(batch or 1, *shape)``.
        """
        if isinstance(map, Diagonal):
            return map.induced_norm(2.0, rows, columns)
        _, u, v = self.iterate(name, rows.detach(), columns.detach(), map, map.transpose)
        return (rows * u * map(columns * v)).flatten(1).sum(1)

    def iterate(
        self,
        name: str,
        rows: Tensor,
        columns: Tensor,
        forward: Callable[[Tensor], Tensor],
        back: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Steps without gradient.

        Args:
            name: of the map, the same at every call.
            rows, columns: weights >= 0, ``(batch or 1, *shape)``.
            forward, back: A and A^T on batches.

        Returns:
            sigma ``(batch,)``, u ``(batch, *out_shape)`` and v ``(batch, *in_shape)``, 0 where the weights are 0:
            sigma = u . diag(rows) A diag(columns) v. For weights 0 and 1 that is u . A v.
        """
        with torch.no_grad():
            u, steps = self.vectors.get(name), 1
            if u is None or u.shape[1:] != rows.shape[1:] or not (self.shared or len(u) == len(rows)):
                u, steps = _start(rows), self.first
            before = u.to(rows)
            v = sigma = u = before
            for _ in range(steps):
                v = _normalised(columns * back(rows * u))[0]
                u, sigma = _normalised(rows * forward(columns * v))
            kept = u.mean(0, keepdim=True) if self.shared else u
            # entries that are off keep what they had: from 0 a map, or a block of one, would never come back
            self.vectors[name] = torch.where(kept == 0, before, kept)
            return sigma.flatten(), u, v


def _start(rows: Tensor) -> Tensor:
    """A vector that no singular vector is orthogonal to, but by chance; the same at every start."""
    draw = torch.Generator().manual_seed(0)
    return torch.randn(rows.shape[1:], generator=draw, dtype=torch.float64).to(rows).unsqueeze(0)


def _normalised(x: Tensor) -> tuple[Tensor, Tensor]:
    """x / |x| of each point, 0 for 0, and |x| ``(batch, 1, ...)``."""
    size = torch.linalg.vector_norm(x.flatten(1), dim=1).reshape(-1, *(1,) * (x.dim() - 1))
    return x / size.clamp(min=torch.finfo(x.dtype).tiny), size
