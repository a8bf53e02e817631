"""Forwards that ask for shapes, dtypes and devices, and branch on them, on flags and on what is None."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo.forwards import Zoo, conv, linear, numbers

ZOO = Zoo()


@ZOO(3, a=linear(3, 4), b=linear(4, 2))
def flags_and_masks(self: Any, x: Tensor, return_features: bool = False, mask: Tensor | None = None) -> Any:
    features = F.relu(self.a(x))
    if mask is not None:
        features = features * mask
    out = self.b(features)
    return (out, features) if return_features else out


@ZOO(2, 2, a=linear(4, 4), b=linear(4, 2))
def flattens_what_has_more_dimensions(self: Any, x: Tensor) -> Tensor:
    if x.dim() > 2:
        x = x.view(x.size(0), -1)
    assert x.shape[1] == self.a.in_features, f"got {x.shape[1]} features"
    return self.b(torch.relu(self.a(x)))


@ZOO(2, 3, 3, a=conv(2, 3), b=linear(3, 2))
def unpacks_sizes(self: Any, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    x = self.a(x.view(b, c, h, w)).relu()
    n, *rest = x.size()
    return self.b(x.reshape(n, rest[0] * rest[1] * rest[2]))


@ZOO(2, 3, 3, b=linear(18, 2))
def counts_features_in_a_loop(self: Any, x: Tensor) -> Tensor:
    features = 1
    for size in x.size()[1:]:
        features *= size
    return self.b(F.relu(x.view(-1, features)))


@ZOO(2, 3, a=linear(6, 2))
def counts_features(self: Any, x: Tensor) -> Tensor:
    return self.a(x.view(-1, x.shape[1:].numel())).relu()  # type: ignore[attr-defined]


@ZOO(2, 3, a=linear(6, 2))
def length_of_the_batch(self: Any, x: Tensor) -> Tensor:
    return F.relu(self.a(x.reshape(len(x), -1)))


@ZOO(3, a=linear(3, 4))
def asserts_what_it_is_given(self: Any, x: Tensor) -> Tensor:
    assert x.ndim == 2 and x.size(-1) == 3
    assert len(x) > 0
    assert torch.isfinite(x).all(), "NaN"
    torch._assert(x.max() < 1e6, "large")
    return self.a(x).relu()


@ZOO(3, a=linear(8, 2))
def zeros_for_each_point(self: Any, x: Tensor) -> Tensor:
    return self.a(torch.cat([x, torch.zeros(x.shape[0], 5, device=x.device, dtype=x.dtype)], dim=1)).relu()


@ZOO(3, start=numbers(2), a=linear(3, 2), b=linear(2, 2))
def a_state_that_starts_at_zero(self: Any, x: Tensor) -> Tensor:
    state = x.new_zeros(x.size(0), 2)
    for _ in range(3):
        state = torch.relu(self.a(x) + self.b(state)) + self.start
    return state


@ZOO(3, a=linear(3, 4), b=linear(4, 2), device=lambda: torch.device("cpu"))
def casts_everywhere(self: Any, x: Tensor) -> Tensor:
    x = x.to(self.device).type_as(self.a.weight)
    x = x.to(x.dtype).cpu().to(self.a.weight.device, non_blocking=True)
    return self.b(F.relu(self.a(x))).to(dtype=x.dtype)


@ZOO(3, a=linear(3, 4), b=linear(4, 2))
def single_precision_if_it_is(self: Any, x: Tensor) -> Tensor:
    if x.dtype != self.a.weight.dtype:
        x = x.to(self.a.weight.dtype)
    if not x.is_floating_point():
        x = x.float()
    return self.b(self.a(input=x).relu())


@ZOO(
    3,
    mean=lambda: np.array([0.5, -1.0, 2.0], np.float32),
    std=lambda: np.float64(2.0),
    last=lambda: np.float32(0.5),
    a=linear(3, 2),
)
def constants_of_numpy(self: Any, x: Tensor) -> Tensor:
    return self.a((x - self.mean) / self.std * np.float64(3.0)).relu() * self.last + np.int64(2)


@ZOO(3, a=linear(3, 3), skip=lambda: nn.Identity())
def residual_if_it_fits(self: Any, x: Tensor) -> Tensor:
    y = F.relu(self.a(x))
    return x + y if x.shape == y.shape else y


@ZOO(3, a=linear(3, 3))
def keeps_what_it_has_seen(self: Any, x: Tensor) -> Tensor:
    self.features = F.relu(self.a(x))
    return self.features + x


@ZOO(3, a=linear(3, 3))
def takes_one_or_several(self: Any, x: Tensor | list[Tensor]) -> Tensor:
    found = [x] if isinstance(x, Tensor) else x
    if not torch.is_tensor(found[0]) or isinstance(x, (list, tuple)):
        raise TypeError("a tensor")
    return self.a(torch.cat(found, 1)).relu()


@ZOO(3, a=linear(3, 3))
def several_of_one_length(self: Any, x: Tensor) -> Tensor:
    found = []
    for _ in range(3):
        x = F.relu(self.a(x))
        found += [x]
    return sum(found) / len(found)


@ZOO(3, says="branches on values of activations.*known_shapes.py:[0-9]+", a=linear(3, 3))
def branches_on_values(self: Any, x: Tensor) -> Tensor:
    return self.a(x) if x.sum() > 0 else x


@ZOO(3, says="number of points.*known_shapes.py:[0-9]+", a=linear(3, 3))
def branches_on_the_batch(self: Any, x: Tensor) -> Tensor:
    return self.a(x) if x.shape[0] > 1 else x


@ZOO(3, a=linear(3, 3), says="number of points")
def compares_the_batch_with_a_number(self: Any, x: Tensor) -> Tensor:
    return self.a(x) if x.shape == (4, 3) else x


@ZOO(3, says="number of points", a=linear(3, 3))
def divides_by_the_batch(self: Any, x: Tensor) -> Tensor:
    return self.a(x) / len(x)


@ZOO(3, says="where its forward went on with|nonzero", a=linear(3, 3))
def counts_what_is_positive(self: Any, x: Tensor) -> Tensor:
    return self.a(x) * torch.nonzero(x > 0).shape[0]


@ZOO(3, says="one by one.*known_shapes.py", a=linear(3, 3))
def goes_through_the_points(self: Any, x: Tensor) -> Tensor:
    return torch.stack([self.a(point) for point in x])


@ZOO(3, says="needs 'mask' beside 'x'", a=linear(3, 3))
def needs_a_mask(self: Any, x: Tensor, mask: Tensor) -> Tensor:
    return self.a(x) * mask


@ZOO(3, says="float16.*rounds", a=linear(3, 3))
def half_precision(self: Any, x: Tensor) -> Tensor:
    return self.a(x.to(torch.float16).to(x.dtype))


@ZOO(3, says="bfloat16.*rounds", a=linear(3, 3))
def half_precision_norms(self: Any, x: Tensor) -> Tensor:
    return self.a(x) - torch.linalg.vector_norm(x, 1, dim=1, keepdim=True, dtype=torch.bfloat16)


@ZOO(3, a=linear(3, 3))
def sums_in_other_words(self: Any, x: Tensor) -> Tensor:
    x, numpys = self.a(x), dict[str, Any](axis=1, keepdim=True)
    x = x.sum(**numpys, dtype=torch.float64) + x.mean(**numpys) - x
    return x + torch.norm(x, 1, 1, keepdim=True, dtype=torch.float64)


@ZOO(3, says="whole numbers", a=linear(3, 3))
def whole_numbers(self: Any, x: Tensor) -> Tensor:
    return self.a(x.to(torch.int64).to(x.dtype))
