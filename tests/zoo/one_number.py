"""Forwards that return one number a point, and compute with such numbers on the way."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.zoo.forwards import Zoo, conv, linear, numbers

ZOO = Zoo()


@ZOO(3, a=linear(3, 4), b=linear(4, 1))
def squeezes_its_last_axis(self: Any, x: Tensor) -> Tensor:
    return self.b(F.relu(self.a(x))).squeeze(-1)


@ZOO(3, a=linear(3, 4), b=linear(4, 1))
def squeezes_everything(self: Any, x: Tensor) -> Tensor:
    return self.b(F.relu(self.a(x))).squeeze(1) * 2 - 1


@ZOO(3, a=linear(3, 4), b=linear(4, 2))
def takes_the_first_output(self: Any, x: Tensor) -> Tensor:
    return self.b(F.relu(self.a(x)))[:, 0]


@ZOO(3, a=linear(3, 4), b=linear(4, 2))
def takes_the_last_output(self: Any, x: Tensor) -> Tensor:
    y = self.b(F.relu(self.a(x)))
    return 2 * y[..., -1] + y[:, 0] / 3


@ZOO(3, a=linear(3, 4), scale=numbers(1))
def of_numbers_of_points(self: Any, x: Tensor) -> Tensor:
    y = F.relu(self.a(x))
    return F.relu(y[:, 0] - y[:, 1]).unsqueeze(-1) * self.scale + y[:, 2:].sum(-1, keepdim=True)


@ZOO(3, a=linear(3, 4))
def of_a_sum(self: Any, x: Tensor) -> Tensor:
    return F.relu(self.a(x)).sum(dim=1)


@ZOO(3, a=linear(3, 4))
def of_a_mean(self: Any, x: Tensor) -> Tensor:
    return F.leaky_relu(self.a(x), 0.1).mean(-1).relu()


@ZOO(3, a=linear(3, 4), b=linear(4, 1))
def flat_numbers(self: Any, x: Tensor) -> Tensor:
    return self.b(F.relu(self.a(x))).view(-1)


@ZOO(3, a=linear(3, 4), b=linear(4, 1))
def flattened_numbers(self: Any, x: Tensor) -> Tensor:
    return self.b(F.relu(self.a(x))).flatten()


@ZOO(3, a=linear(3, 4), b=linear(4, 1))
def reshaped_numbers(self: Any, x: Tensor) -> Tensor:
    return self.b(F.relu(self.a(x))).reshape(x.shape[0])


@ZOO(3, weights=numbers(3))
def a_linear_function(self: Any, x: Tensor) -> Tensor:
    return torch.relu(x @ self.weights)


@ZOO(3, a=linear(3, 4), weights=numbers(4))
def weighted_sum(self: Any, x: Tensor) -> Tensor:
    return (self.a(x).relu() * self.weights).sum(-1) + 1.0


@ZOO(3, value=linear(3, 1), advantage=linear(3, 2))
def duelling_values(self: Any, x: Tensor) -> Tensor:
    value, advantage = self.value(x.relu()), self.advantage(x.relu())
    return value + (advantage - advantage.mean(dim=1, keepdim=True))


@ZOO(3, a=linear(3, 4))
def stacked_numbers(self: Any, x: Tensor) -> Tensor:
    y = F.relu(self.a(x))
    return torch.stack([y[:, 0], y[:, 1] - y[:, 2]], dim=1)


@ZOO(3, a=linear(3, 4))
def numbers_put_together(self: Any, x: Tensor) -> Tensor:
    y = F.relu(self.a(x))
    return torch.cat([y[:, :1], y[:, 1, None], y[:, 2].view(-1, 1)], dim=-1)


@ZOO(2, 3, a=linear(3, 4))
def of_the_last_step(self: Any, x: Tensor) -> Tensor:
    return F.relu(self.a(x))[:, -1, :]


@ZOO(2, 4, 4, a=conv(2, 3))
def of_an_image(self: Any, x: Tensor) -> Tensor:
    y = F.relu(self.a(x)).mean((1, 2, 3))
    return F.relu(y - 0.1 * self.a(x)[:, 0, 0, 1]) + x[:, 1, 2, 3]


@ZOO(3, a=linear(3, 4), says="batch axis")
def of_the_first_point(self: Any, x: Tensor) -> Tensor:
    return self.a(x)[0]


@ZOO(3, a=linear(3, 4), says="batch axis|never|points")
def over_the_batch(self: Any, x: Tensor) -> Tensor:
    return self.a(x) - self.a(x).mean(0)


@ZOO(3, a=linear(3, 4), says="batch|all dimensions")
def one_number_for_all(self: Any, x: Tensor) -> Tensor:
    return self.a(x).sum()
