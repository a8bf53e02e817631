"""Terms that would destroy a training are refused, or warned of."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from lipreg import LipschitzPenalty
from lipreg.errors import InvalidInput
from tests.callbacks.cases import PROBLEM, Classifier, batches, fit, regularizer


def test_terms_that_are_not_finite_are_refused() -> None:
    """A product over layers that overflows float32, in the callback with its batch; and weights that hold NaN."""
    layers: list[nn.Module] = []
    for _ in range(12):
        layers += [nn.Linear(4, 4), nn.ReLU()]
    net, ((x, y),) = nn.Sequential(*layers, nn.Linear(4, 3)), batches(1)
    with torch.no_grad():
        for layer in net[::2]:
            layer.weight.copy_(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(2, 2)[: layer.out_features] * 1e3)  # type: ignore[union-attr,operator,index]
            layer.bias.fill_(1.0)  # type: ignore[union-attr,operator]
    x = x[:, :1].expand(-1, 4).contiguous()  # the differences cancel: outputs are small, the bound is not
    with pytest.raises(InvalidInput, match=r"affine_relu: the penalty is (inf|nan).*overflows"):
        LipschitzPenalty(net, PROBLEM)(x, y)
    model = Classifier()
    model.net = net
    with pytest.raises(InvalidInput, match=r"epoch 0, batch 0.*overflows"):
        fit(model, [(x, y)], regularizer())
    plain, (first, second) = Classifier().net, batches(2)
    term = LipschitzPenalty(plain, PROBLEM)
    term(*first)
    with torch.no_grad():
        plain[2].weight.fill_(torch.nan)
    with pytest.raises(InvalidInput, match=r"parameters hold NaN"):
        term(*second)


def test_a_first_term_far_above_the_loss_warns_once() -> None:
    with pytest.warns(UserWarning, match=r"first penalty is .* the loss .*weight") as seen:
        fit(Classifier(rate=0.0), batches(2), regularizer(weight=1e3))
    assert sum("first penalty" in str(w.message) for w in seen) == 1
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*first penalty")
        fit(Classifier(rate=0.0), batches(2), regularizer())
