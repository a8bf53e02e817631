"""Terms that would destroy a training are refused, or warned of."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from lipreg import L1Ball, L2Ball, LinfBall, LipschitzPenalty, LocalLipschitz, WholeSpace
from lipreg.errors import InvalidInput
from lipreg.training.sizes import FiniteTerms
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


def test_inputs_that_are_large_beside_their_region_warn_once() -> None:
    """With the numbers: in float32 from about a ten-thousandth of the inputs on, in float64 of no training."""
    net, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), 1e6 * torch.rand(8, 4)
    x[3, 1] = 1e6
    y = torch.randint(3, (8,))
    term = LipschitzPenalty(net, LocalLipschitz(LinfBall(0.2)))
    with pytest.warns(
        UserWarning, match=r"as large as 1e\+06 .* reaches 0\.2: float32 .* by about 0\.6 .*Scale the inputs"
    ) as seen:
        term(x, y)
        term(x, y)
    assert len([w for w in seen if "reaches" in str(w.message)]) == 1
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*reaches")
        LipschitzPenalty(net, LocalLipschitz(LinfBall(0.05)))(x / 1e6, y)
        LipschitzPenalty(net.double(), LocalLipschitz(LinfBall(0.2)))(x.double(), y)
    model = Classifier(rate=0.0)
    small = LocalLipschitz(LinfBall(1e-6))
    with pytest.warns(UserWarning, match=r"LipschitzRegularizer: inputs are as large as .* reaches 1e-06") as seen:
        fit(model, batches(2), regularizer(problem=small))
    assert len([w for w in seen if "reaches" in str(w.message)]) == 1


def test_advice_on_terms_that_are_not_finite_says_what_is_known() -> None:
    """All of R^n has no smaller region, and where the value is finite it is its gradient that is not."""
    net = nn.Linear(2, 1)
    weight = net.weight.sum()
    for region, smaller in ((LinfBall(0.2), True), (WholeSpace(), False)):
        with pytest.raises(InvalidInput, match="overflows") as refused:
            FiniteTerms(region).check(weight * torch.inf, net, "here")
        assert ("smaller region" in str(refused.value)) == smaller
        with pytest.raises(InvalidInput, match=r"0, its gradient not finite.*or divides by 0") as refused:
            FiniteTerms(region).check((weight - weight.detach()).abs().sqrt(), net, "here")
        assert "smaller region" not in str(refused.value)


def test_a_radius_beyond_the_number_type_is_refused() -> None:
    net, x, y = nn.Linear(4, 3), torch.rand(2, 4), torch.tensor([0, 1])
    for region in (LinfBall(1e200), L2Ball(1e200), L1Ball(1e200)):
        problem = LocalLipschitz(region, p=region.norm)
        with pytest.raises(InvalidInput, match=r"radius=1e\+200 with bounds in float32.*WholeSpace"):
            LipschitzPenalty(net, problem)(x, y)
        assert torch.isfinite(LipschitzPenalty(net.double(), problem)(x.double(), y))
        net.float()
