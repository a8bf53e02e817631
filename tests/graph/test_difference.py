"""Two networks as one: what they share is computed once, and nothing else is; shapes that differ are refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from lipreg import Difference, LinfBall, LocalLipschitz, Vector, capture, certify, estimate
from lipreg.errors import InvalidInput
from lipreg.graph import check_agreement
from lipreg.testing.networks import mlp

X = torch.tensor([[0.2, -0.1, 0.4], [0.0, 0.3, -0.2]])


def pair(seed: int = 0) -> tuple[nn.Sequential, nn.Sequential]:
    torch.manual_seed(seed)
    first = mlp(3, 5, 4, 2).eval()
    return first, copy.deepcopy(first)


def relus(module: nn.Module, live: bool = False) -> int:
    captured = capture(module, X)
    return len((captured.live() if live else captured.frozen()).relus())


def test_it_is_the_difference_and_has_the_gradients_of_both() -> None:
    first, second = pair()
    with torch.no_grad():
        second[2].weight.mul_(0.5)
    module = Difference(first, second)
    graph = capture(module, X).live()
    torch.testing.assert_close(graph(X), first(X) - second(X))
    ours = torch.autograd.grad(graph(X).sum(), list(module.parameters()))
    theirs = torch.autograd.grad((first(X) - second(X)).sum(), list(module.parameters()))
    torch.testing.assert_close(ours, theirs)


def test_layers_with_the_same_weights_over_the_same_nodes_are_one() -> None:
    first, second = pair()
    assert relus(Difference(first, second)) == relus(first) == 2
    with torch.no_grad():
        second[4].weight.mul_(0.5)
    assert relus(Difference(first, second)) == 2, "the last layer follows the last kink"
    with torch.no_grad():
        second[2].bias[0] += 1e-9
    assert relus(Difference(first, second)) == 3, "the first layer alone is shared"
    with torch.no_grad():
        second[0].bias[0] += 1e-9
    assert relus(Difference(first, second)) == 4


def test_what_is_trained_apart_stays_apart_in_a_live_graph() -> None:
    first, second = pair()
    assert relus(Difference(first, second), live=True) == 4
    with torch.no_grad():
        assert relus(Difference(first, second), live=True) == 2
    for parameter in second.parameters():
        parameter.requires_grad_(False)
    assert relus(Difference(first, second), live=True) == 4, "the first is trained"
    for parameter in first.parameters():
        parameter.requires_grad_(False)
    assert relus(Difference(first, second), live=True) == 2


def test_a_shared_module_is_one_part_with_one_gradient() -> None:
    torch.manual_seed(1)
    trunk = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    first, second = nn.Sequential(trunk, nn.Linear(4, 2)), nn.Sequential(trunk, nn.Linear(4, 2))
    module = Difference(first, second).eval()
    assert relus(module) == relus(module, live=True) == 1
    bound = estimate(module, LocalLipschitz(LinfBall(0.3), Vector()), X, bound="abs_chain").sum()
    (ours,) = torch.autograd.grad(bound, trunk[0].weight)
    folded = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    folded[0].load_state_dict(trunk[0].state_dict())
    with torch.no_grad():
        folded[2].weight.copy_(first[1].weight - second[1].weight)
    bound = estimate(folded, LocalLipschitz(LinfBall(0.3), Vector()), X, bound="abs_chain").sum()
    torch.testing.assert_close(ours, torch.autograd.grad(bound, folded[0].weight)[0])


class Written(nn.Module):
    """Calls the same layer with the same arguments, with others, and writes into what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.layer(x)
        return torch.relu(h).add_(1.0) + torch.relu(self.layer(x)).add_(1.0) + torch.relu(self.layer(2 * x))


def test_calls_with_other_arguments_and_calls_that_write_stay() -> None:
    torch.manual_seed(2)
    module = Written().eval()
    graph = capture(module, X).frozen()
    torch.testing.assert_close(graph(X.double()), module(X).detach().double(), rtol=1e-5, atol=1e-6)
    assert len(graph.relus()) == 2


def test_pools_and_leaky_slopes_are_told_apart() -> None:
    torch.manual_seed(3)
    layer = nn.Linear(3, 4)

    def of(*rest: nn.Module) -> nn.Module:
        return nn.Sequential(layer, *rest, nn.Flatten())

    pools = Difference(of(nn.Unflatten(1, (1, 4)), nn.MaxPool1d(2)), of(nn.Unflatten(1, (1, 4)), nn.MaxPool1d(2)))
    assert len(capture(pools, X).frozen().pools()) == 1
    other = Difference(of(nn.Unflatten(1, (1, 4)), nn.MaxPool1d(2)), of(nn.Unflatten(1, (1, 4)), nn.MaxPool1d(3, 1)))
    assert len(capture(other, X).frozen().pools()) == 2
    leaky = capture(Difference(of(nn.ReLU()), of(nn.LeakyReLU(0.1))), X).frozen()
    assert [node.slope for _, node in leaky.relus()] == [0.0, 0.1]


def test_networks_that_do_not_fit_are_refused_with_both_shapes() -> None:
    first, _ = pair()
    for other, shape in (
        (nn.Linear(3, 1), r"\(batch, 1\)"),
        (nn.Sequential(nn.Linear(3, 2), nn.Flatten(0)), r"\(batch\)"),
    ):
        module = Difference(first, other)
        with pytest.raises(InvalidInput, match=rf"\(batch, 2\).*{shape}"):
            module(X)
    with pytest.raises(InvalidInput, match=r"\(batch, 2\).*\(batch, 1\)"):
        capture(Difference(first, nn.Linear(3, 1)), X)
    with pytest.raises(InvalidInput, match="got function"):
        Difference(first, lambda x: x)  # type: ignore[arg-type]


def test_outputs_of_shape_batch_are_subtracted_too() -> None:
    class Squeezed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x).squeeze(1)

    torch.manual_seed(0)
    module = Difference(Squeezed(), Squeezed()).eval()
    torch.testing.assert_close(capture(module, X).live()(X).squeeze(1), module(X))


@pytest.mark.parametrize("at", [0, 1])
def test_a_network_that_does_not_take_the_points_is_named(at: int) -> None:
    networks = [mlp(3, 4, 2), mlp(3, 4, 2)]
    which = ("first", "second")[at]
    networks[at] = mlp(4, 4, 2)
    with pytest.raises(InvalidInput, match=rf"the {which} network.* shape \(batch, 3\).*Give points as both"):
        Difference(*networks)(X)
    networks[at] = mlp(3, 4, 2).double()
    mixed = Difference(*networks)
    for run in (mixed, lambda x: certify(mixed, LocalLipschitz(LinfBall(0.3)), x)):
        with pytest.raises(InvalidInput, match=r"the (first|second) network.*torch.float64.*Convert both to one dtype"):
            run(X)
    assert capture(mixed.double(), X).frozen().output.shape == (2,)


def test_a_quantised_network_is_named() -> None:
    class Linear(nn.Module):
        """Stands for one of torch's, whose engines are not everywhere."""

    Linear.__module__ = "torch.ao.nn.quantized.dynamic.modules.linear"
    with pytest.raises(InvalidInput, match=r"the second network is quantised, '0' a torch.*dequantize"):
        Difference(mlp(3, 4, 2), nn.Sequential(Linear()))


class Shift(nn.Module):
    """Adds a constant."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outputs_that_cancel_count_with_their_own_magnitude(dtype: torch.dtype) -> None:
    far = 0.01 if dtype == torch.float32 else 1e-10
    for seed in range(5):
        torch.manual_seed(seed)
        first = mlp(3, 16, 1).to(dtype).eval().requires_grad_(False)
        second = copy.deepcopy(first)
        second[-1].weight.mul_(0.99)
        for net in (first, second):
            net[-1].bias.add_(1e8)
        x = torch.rand(4, 3).to(dtype)
        graph = capture(Difference(first, second), x).frozen_at(x)
        exact = 0.01 * first[-1].weight.double() @ torch.relu(first[0](x)).double().T
        assert float((graph(x.double()).T - exact).abs().max()) < 1e-5
        with pytest.raises(InvalidInput, match="differs from the module"):
            check_agreement(graph, Difference(first, nn.Sequential(second, Shift(1e8 * far))), x)


def test_a_mean_far_from_zero_is_taken_away_with_its_rounding() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(4).double()
    net = nn.Sequential(nn.Linear(2, 4), norm, nn.ReLU(), nn.Linear(4, 1)).double().eval().requires_grad_(False)
    x = 1e8 + torch.rand(4, 2, dtype=torch.float64)
    net[0].weight.mul_(1e3)
    norm.running_mean.copy_(net[0](x).mean(0))
    norm.running_var.fill_(1e-6)
    capture(net, x).frozen_at(x)
    with pytest.raises(InvalidInput, match="differs from the module"):
        check_agreement(capture(net, x).frozen(), nn.Sequential(net, Shift(1e6)), x)
