"""Norms of the weights alone, blind to data and region: numbers of the network, the same at every point."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.quantities.base import Quantity, register
from lipreg.quantities.query import Query


@register("weight_decay")
@dataclass(frozen=True)
class WeightDecay(Quantity):
    """Half the sum of W^2 over all trained matrices and kernels, ``(1,)``; biases are free.

    As a term of the loss it is the classical l2 penalty, whose gradient Adam rescales with the rest (AdamW would not). The
    network need not be one that bounds cover.
    """

    def values(self, query: Query) -> Tensor:
        return 0.5 * torch.stack([weight.square().sum() for weight in _trained(query)]).sum(0, keepdim=True)


@register("weight_l1")
@dataclass(frozen=True)
class WeightL1(Quantity):
    """The sum of |W| over all trained matrices and kernels, ``(1,)``; biases are free."""

    def values(self, query: Query) -> Tensor:
        return torch.stack([weight.abs().sum() for weight in _trained(query)]).sum(0, keepdim=True)


def _trained(query: Query) -> list[Tensor]:
    weights = list(query.weights)
    if not weights:
        name = type(query.network).__name__
        raise InvalidInput(f"{name} has no trained matrices", where="quantity", accepted="parameters of two dimensions")
    return weights
