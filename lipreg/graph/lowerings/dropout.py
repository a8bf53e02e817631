"""The functional forms of dropout beside ``F.dropout``, which are off at evaluation as it is."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.graph.lowerings.activation import lower_dropout_call
from lipreg.graph.registry import Example, lowers


class _Dropouts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 2, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout2d(self.a(x).relu(), 0.5, self.training).flatten(2)
        x = F.dropout1d(x, training=self.training)
        return F.alpha_dropout(F.dropout(self.b(x), training=self.training), 0.1, self.training)


lowers(F.dropout1d, F.dropout2d, F.alpha_dropout, example=Example(_Dropouts, (2, 3, 2)))(lower_dropout_call)
