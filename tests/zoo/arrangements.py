"""Forwards that split, stack, turn, pick and repeat entries, and multiply with constants in every notation."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo.forwards import Zoo, conv, linear, numbers

ZOO = Zoo()


@ZOO(4, a=linear(4, 4), b=linear(2, 3))
def chunks(self: Any, x: Tensor) -> Tensor:
    mean, rest = self.a(x).relu().chunk(2, dim=-1)
    return self.b(mean) - self.b(rest)


@ZOO(4, a=linear(1, 2), b=linear(3, 2))
def splits(self: Any, x: Tensor) -> Tensor:
    first, second = torch.split(x.relu(), [1, 3], dim=1)
    return self.a(first) + self.b(second)


@ZOO(2, 4, 4, a=conv(1, 2), b=conv(1, 2))
def channel_by_channel(self: Any, x: Tensor) -> Tensor:
    parts = torch.split(x, 1, dim=1)
    return torch.cat([layer(part).relu() for layer, part in zip((self.a, self.b), parts, strict=True)], dim=1)


@ZOO(4, 2, 2)
def shuffled_channels(self: Any, x: Tensor) -> Tensor:
    b, c, h, w = x.size()
    return F.relu(x.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, -1, h, w))


@ZOO(3, 2, a=linear(2, 2))
def steps_one_by_one(self: Any, x: Tensor) -> Tensor:
    state = torch.zeros_like(x[:, 0])
    for step in x.unbind(dim=1):
        state = F.relu(self.a(step) + state)
    return state


@ZOO(3, a=linear(3, 2))
def ensemble(self: Any, x: Tensor) -> Tensor:
    return torch.stack([self.a(x).relu(), self.a(-x).relu(), x[:, :2]], dim=1).mean(dim=1)


@ZOO(3, a=linear(6, 2))
def both_ways(self: Any, x: Tensor) -> Tensor:
    return self.a(torch.hstack([x.flip(-1), x.roll(1, dims=1)])).relu()


@ZOO(4, order=lambda: nn.Buffer(torch.tensor([3, 1, 0])), a=linear(3, 2))
def picked(self: Any, x: Tensor) -> Tensor:
    return self.a(x[:, self.order]).relu() + self.a(x.index_select(1, self.order))[:, [1, 0]]


@ZOO(2, 3, a=numbers(3, 2), b=numbers(2, 2))
def einsums(self: Any, x: Tensor) -> Tensor:
    h = torch.einsum("bci,io->bco", x, self.a).relu()
    return torch.einsum("bci,cd->bdi", h, self.b) + torch.einsum("bci,ci->bi", h, self.b).unsqueeze(1)


@ZOO(3, bias=numbers(2), a=numbers(3, 2))
def addmms(self: Any, x: Tensor) -> Tensor:
    return torch.addmm(self.bias, x, self.a).relu()


@ZOO(2, a=linear(2, 4))
def onto_a_grid(self: Any, x: Tensor) -> Tensor:
    return self.a(x).relu().unflatten(1, (1, 2, 2)).expand(-1, 3, -1, -1).repeat(1, 1, 2, 1)


@ZOO(2, 3, 3, a=conv(2, 2))
def padded_with_nothing(self: Any, x: Tensor) -> Tensor:
    return F.dropout2d(self.a(F.pad(x, (0,) * 8)), 0.2, self.training).relu()


@ZOO(1, 3, 3, a=conv(1, 2, padding=1))
def bilinear(self: Any, x: Tensor) -> Tensor:
    y = F.interpolate(self.a(x).relu(), size=(5, 4), mode="bilinear", align_corners=False)
    return F.interpolate(y, scale_factor=0.5, mode="bilinear")


@ZOO(3, a=linear(3, 2), says=r"mul \[never\].*product.*arrangements.py:[0-9]+")
def gated(self: Any, x: Tensor) -> Tensor:
    return self.a(x).relu() * self.a(-x)


@ZOO(3, a=linear(3, 3), says=r"einsum \[never\]")
def attends(self: Any, x: Tensor) -> Tensor:
    return torch.einsum("bi,bj->bij", self.a(x), x)


@ZOO(3, says="stacked before the batch axis")
def over_points(self: Any, x: Tensor) -> Tensor:
    return torch.stack([x, x])


@ZOO(4, a=linear(4, 3), b=linear(4, 3), c=linear(4, 3))
def an_ensemble(self: Any, x: Tensor) -> Tensor:
    members = torch.stack([member(x) for member in (self.a, self.b, self.c)])
    return members.mean(0).relu() + members[1]


@ZOO(4, a=linear(4, 3), b=linear(4, 3), says="its forward makes a number of activations")
def point_by_point(self: Any, x: Tensor) -> Tensor:
    return torch.stack([self.a(x[i]).relu() for i in range(x.shape[0])])


@ZOO(3, a=linear(3, 3), says=r"2 unsupported calls.*forward: bmm \[never\].*forward: argmax \[never\]")
def says_everything(self: Any, x: Tensor) -> Tensor:
    y = self.a(x)
    return torch.bmm(y.unsqueeze(1), y.unsqueeze(2)).flatten(1) + torch.argmax(y, 1)


@ZOO(3, 2, a=linear(2, 4), adjacency=numbers(3, 3))
def graph_convolution(self: Any, x: Tensor) -> Tensor:
    return (self.adjacency @ self.a(x).relu()).flatten(1)


@ZOO(4, a=linear(4, 3), centres=numbers(2, 3))
def distances_to_prototypes(self: Any, x: Tensor) -> Tensor:
    return (self.a(x).unsqueeze(1) - self.centres).abs().sum(-1) + (self.centres * self.a(x).unsqueeze(1)).amax(-1)
