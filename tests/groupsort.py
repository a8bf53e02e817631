"""GroupSort, as published networks have it between their layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GroupSort(nn.Module):
    """The features of each of some groups in rising order.

    Source: Anil, Lucas & Grosse 2019, section 4.1.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        return torch.sort(x.reshape(x.shape[0], self.groups, -1), dim=-1)[0].flatten(1)


def between_layers(name: str) -> nn.Module:
    """What a file of published weights has between its layers, by the file's name."""
    return GroupSort(int(name.rpartition("numGroups")[2])) if "GroupSort" in name else nn.ReLU()
