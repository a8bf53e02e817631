"""Forwards that join the batch axis with another: layers for one step, frame, patch or agent applied to all of them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo.forwards import Zoo, conv, linear

ZOO = Zoo()


@ZOO(4, 3, a=linear(3, 2), b=linear(8, 2))
def time_distributed(self: Any, x: Tensor) -> Tensor:
    b, t, d = x.shape
    return self.b(F.relu(self.a(x.reshape(b * t, d))).view(b, -1))


@ZOO(2, 1, 4, 4, a=conv(1, 2), b=linear(4, 3))
def frame_by_frame(self: Any, clip: Tensor) -> Tensor:
    n, frames, c, h, w = clip.size()
    y = self.a(clip.view(n * frames, c, h, w)).relu()
    y = F.max_pool2d(y, 2).mean((2, 3))
    assert y.shape[0] == n * frames
    return self.b(y.view(n, frames, *y.shape[1:]).flatten(1))


@ZOO(3, 2, a=linear(2, 3), b=linear(3, 2))
def flattened_and_pooled(self: Any, sets: Tensor) -> Tensor:
    y = self.a(sets.flatten(0, 1)).relu()
    return self.b(y.unflatten(0, (-1, sets.shape[1])).amax(1))


@ZOO(2, 3, 2, a=linear(2, 3), b=linear(18, 2))
def joined_twice(self: Any, x: Tensor) -> Tensor:
    rows = torch.flatten(x, end_dim=2)
    rows = torch.cat([self.a(rows), -self.a(rows)], dim=1).relu()[:, ::2]
    rows = rows.view(x.shape[0] * 2, 3, -1)
    return self.b(rows.view(len(rows) // 2, 2, 3, 3).permute(0, 2, 1, 3).reshape(x.shape[0], -1))


@ZOO(
    3, 2, a=linear(2, 2), b=linear(4, 2), c=lambda: nn.Sequential(nn.Flatten(0, 1), nn.ReLU(), nn.Unflatten(0, (-1, 3)))
)
def modules_that_join(self: Any, x: Tensor) -> Tensor:
    return self.b(torch.stack([self.c(self.a(x)).sum(1), self.c(x)[:, 0]], 1).flatten(1))


@ZOO(3, 2, a=linear(2, 3), b=linear(5, 2))
def beside_what_all_steps_share(self: Any, x: Tensor) -> Tensor:
    b, t, d = x.shape
    mean = self.a(x.mean(1)).unsqueeze(1).expand(-1, t, -1).reshape(b * t, -1)
    own = torch.cat([x.view(-1, d), mean], -1) + torch.ones(b * t, 5)
    first, second = self.b(own).relu().chunk(2, -1)
    return (first - second).view(b, t)


@ZOO(2, 4, a=linear(2, 3), b=linear(6, 2))
def rows_by_division(self: Any, x: Tensor) -> Tensor:
    y = F.gelu(self.a(x.view(-1, 2)))
    return self.b(y.reshape(y.shape[0] // 4, 4, 3).sub(0.5).view(-1, 2, 6).sum(1)) / (x.numel() / x.shape[0])


@ZOO(4, a=linear(4, 3), b=linear(3, 2))
def detached(self: Any, x: Tensor) -> Tensor:
    h = F.relu(self.a(x))
    self.seen = h.detach()
    return self.b(h + 0.5 * h.detach().abs())


@ZOO(4, a=linear(4, 3))
def asks_for_gradients(self: Any, x: Tensor) -> Tensor:
    return self.a(x * 2 if x.requires_grad else x).relu()


@ZOO(3, a=linear(3, 4), b=linear(3, 4), c=linear(4, 2))
def members_activated_together(self: Any, x: Tensor) -> Tensor:
    return self.c(F.gelu(torch.relu(torch.stack([self.a(x), self.b(x), -self.a(x)])))).mean(0)


@ZOO(3, 2, says="6 rows for every point", a=linear(2, 2))
def rows_that_stay_apart(self: Any, x: Tensor) -> Tensor:
    return self.a(x).relu().view(-1)


@ZOO(4, says="rows for every point meet others with one", a=linear(2, 2))
def rows_beside_points(self: Any, x: Tensor) -> Tensor:
    return self.a(x.view(-1, 2)).relu() + x[:, :2]


@ZOO(4, says="4 rows for every point meet others with 2", a=linear(2, 2))
def rows_of_two_kinds(self: Any, x: Tensor) -> Tensor:
    return self.a(x.view(-1, 2)).sum(1) * torch.relu(x.view(-1))


@ZOO(4, says="number of points", a=linear(4, 2))
def a_tenth_of_the_points(self: Any, x: Tensor) -> Tensor:
    return self.a(x).view(x.shape[0] * 10 // 3, -1)
