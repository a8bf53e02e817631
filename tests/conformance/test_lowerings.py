"""Every registered lowering, through the example that it brings: the graph is the module, with its gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.errors import InvalidInput, UnsupportedModel
from lipreg.graph import Graph, capture, check_agreement, evaluation_mode, lowers
from lipreg.graph.lowerings.exponentials import lower_reciprocal
from lipreg.graph.registry import CALLS, EXAMPLES, MODULES, Example
from lipreg.testing import check_lowering
from lipreg.testing.lowerings import ASPECTS
from tests import oracles
from tests.sampling import sampled

each_net = pytest.mark.parametrize("name", oracles.ZOO)


def inputs(shape: tuple[int, ...], count: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(9), dtype=dtype)


FIRST = {(example.build, example.input_shape): lowering for lowering, example in reversed(EXAMPLES.items())}
"""By example the first lowering that has it; functions of one kind share one, which uses them all."""
OF_CAPTURES = ("single precision", "batches", "module alone", "frozen copy", "constants")
"""What lowerings have from the capture around them and from the kinds of their nodes; of each one in ``SOME`` is checked."""
SOME = 3


def test_every_target_is_called_by_an_example() -> None:
    """Each class, function and method that has a lowering, so that the tests below run it."""
    called: set[object] = set()
    for lowering in FIRST.values():
        example = EXAMPLES[lowering]
        captured = capture(example.build().double().eval(), inputs(example.input_shape, 1))
        kinds = dict(captured.module.named_modules())
        called |= {type(kinds[n.target]) if n.op == "call_module" else n.target for n in captured.trace.nodes}
    assert sorted(map(str, (MODULES.keys() | CALLS.keys()) - called)) == []
    assert {lowering.function for lowering in (MODULES | CALLS).values()} >= set(EXAMPLES)


@pytest.mark.parametrize("function", EXAMPLES, ids=lambda function: function.__name__)
def test_the_graph_is_the_layer(function: Callable[..., Any]) -> None:
    """That the example uses the lowering is checked of each, what comes of it of the first."""
    example = EXAMPLES[function]
    target = next(known for known, lowering in (MODULES | CALLS).items() if lowering.function is function)
    first = FIRST[example.build, example.input_shape]
    turn, aspects = [*FIRST.values()].index(first), [aspect for aspect in ASPECTS if aspect not in OF_CAPTURES]
    aspects += [aspect for place, aspect in enumerate(OF_CAPTURES) if sampled(SOME, turn, place)]
    if first is not function:
        aspects = []
    elif "constants" not in aspects and curved(example):
        aspects.append("constants")  # each curve is bounded by its own
    check_lowering(target, example, aspects=aspects)


def curved(example: Example) -> bool:
    return bool(capture(example.build().double().eval(), inputs(example.input_shape, 1)).frozen().curves())


def test_a_target_belongs_to_one_lowering() -> None:
    def other(context: object, module: nn.Module, x: object) -> object:
        return x

    before = MODULES[nn.ReLU]
    with pytest.raises(InvalidInput, match=r"lowerings\.activation\.\w+ lowers it.*replace=True"):
        lowers(nn.ReLU)(other)
    assert MODULES[nn.ReLU] is before
    try:
        lowers(nn.ReLU, replace=True)(other)
        assert MODULES[nn.ReLU].function is other
    finally:
        MODULES[nn.ReLU] = before
    for target in (int, nn.ReLU(), 3):
        with pytest.raises(InvalidInput, match="a class of modules, a function"):
            lowers(target)(other)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="rows='all'"):
        lowers(nn.ReLU, rows="all")  # type: ignore[arg-type]


class Own(nn.Module):
    """A layer of somebody else's: a ReLU, or an inverse."""

    def __init__(self, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse

    def forward(self, x: Tensor) -> Tensor:
        return x.reciprocal() if self.inverse else x.relu()


class OverRows(nn.Module):
    """Three rows for every point, each through a layer of somebody else's."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.own, self.last = nn.Linear(2, 6), Own(), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.own(self.first(x).view(x.shape[0] * 3, 2))
        return self.last(rows.view(x.shape[0], 6))


class OfParts(nn.Module):
    """A sigmoid, written out with an inverse of somebody else's."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.own = nn.Linear(2, 3), Own(inverse=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.own(1 + torch.exp(-self.first(x)))


def test_a_layer_of_ones_own_says_itself_how_rows_and_parts_are_lowered() -> None:
    def lower_own(context: Any, module: Own, x: Any) -> Any:
        return lower_reciprocal(context, x) if module.inverse else context.relu(x, 0.0)

    net, x, units = OverRows().double(), inputs((2,)), {}
    try:
        for rows in ("apart", "together"):
            lowers(Own, rows=rows, replace=True)(lower_own)  # type: ignore[arg-type]
            graph = capture(net, x[:1]).frozen()
            torch.testing.assert_close(graph(x), net(x).detach(), rtol=1e-12, atol=1e-12)
            units[rows] = len(graph.relus())
        assert units == {"apart": 3, "together": 1}
        with pytest.raises(UnsupportedModel, match="exp"):
            capture(OfParts().double(), x[:1])
        lowers(Own, parts=True, replace=True)(lower_own)
        net = OfParts().double()
        graph = capture(net, x[:1]).frozen()
        assert len(graph.curves()) == 1
        torch.testing.assert_close(graph(x), net(x).detach(), rtol=1e-12, atol=1e-12)
    finally:
        del MODULES[Own]


# ---------------------------------------------------------------- values and gradients


@each_net
def test_networks_of_the_zoo_are_captured(name: str) -> None:
    net = oracles.network(name)
    x = inputs((oracles.input_size(net),), count=20)
    graph = capture(net, x[:1]).frozen()
    torch.testing.assert_close(graph(x), net(x).detach(), rtol=1e-12, atol=1e-12)
    slopes = {i: s.unsqueeze(1) for i, s in graph.patterns(graph.values(x)).items()}
    rows = torch.eye(graph.output.shape[0], dtype=torch.float64).expand(len(x), -1, -1)
    own = torch.stack([torch.from_numpy(oracles.jacobian(net, point.numpy())) for point in x])
    torch.testing.assert_close(graph.gradients(slopes, rows), own, rtol=1e-10, atol=1e-12)


# ---------------------------------------------------------------- what capture leaves alone


def test_modes_are_restored_after_an_error() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    module[0].eval()
    with pytest.raises(RuntimeError), evaluation_mode(module):
        assert not any(m.training for m in module.modules())
        raise RuntimeError
    assert module.training and module[1].training and not module[0].training


def test_live_weights_are_read_at_each_call() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    x = inputs((3,))
    captured = capture(module, x[:1])
    with torch.no_grad():
        module[2].weight.mul_(-2.0)
    torch.testing.assert_close(captured.live()(x), module(x))


class _Switch(nn.Module):
    """A different function in training mode, decided by Python code."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return 2.0 * y if self.training else y


def test_the_evaluation_branch_is_captured_from_a_module_in_training() -> None:
    module = _Switch().double().train()
    x = inputs((2,))
    graph = capture(module, x[:1]).frozen()
    assert module.training
    torch.testing.assert_close(graph(x), module.eval()(x).detach())


class _AlwaysDropped(nn.Module):
    """F.dropout's ``training`` is True unless it is passed, so this drops at evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 64)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.a(x), 0.5)


def test_dropout_that_stays_on_at_evaluation_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="dropout"):
        capture(_AlwaysDropped().eval(), torch.zeros(1, 2))


@pytest.mark.parametrize("wrap", [nn.utils.parametrizations.spectral_norm, nn.utils.parametrizations.weight_norm])
def test_parametrised_weights_are_read_without_updating_their_state(wrap) -> None:
    """Spectral norm steps its power iteration whenever the weight is read in training mode."""
    module = nn.Sequential(wrap(nn.Linear(3, 4)), nn.ReLU(), nn.Linear(4, 2)).double().train()
    x = inputs((3,))
    state = {key: value.clone() for key, value in module.state_dict().items()}
    captured = capture(module, x[:1])
    graph = captured.frozen()
    captured.live()
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    torch.testing.assert_close(graph(x), module.eval()(x).detach(), rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------- refusals


class _Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(x) * torch.exp(x)


class _Problems(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.inner, self.b = nn.Linear(3, 3), _Inner(), nn.Hardshrink()
        self.c, self.d = nn.Threshold(0.0, 1.0), nn.Bilinear(3, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.b(self.inner(self.a(x)))
        return self.d(self.c(torch.relu(self.a(x))), torch.sign(h))


def test_all_problems_are_listed_with_path_and_kind() -> None:
    with pytest.raises(UnsupportedModel) as refusal:
        capture(_Problems(), torch.zeros(1, 3))
    text = str(refusal.value)
    for path, call, kind in [
        ("inner.gate", "Softmax", "never"),
        ("inner", "exp", "never"),
        ("b", "Hardshrink", "never"),
        ("c", "Threshold", "never"),
        ("forward", "sign", "never"),
        ("d", "Bilinear", "never"),
    ]:
        assert f"{path}: {call} [{kind}]" in text
    assert "_Problems" in text


class _Dynamic(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class _Two(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class _Product(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x


class _Places(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x.max(1)[1]


class _Largest(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - torch.amax(x, (0, 1))


class _BatchFlatten(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten()


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (_Dynamic(), "control flow"),
        (_Two(), "one tensor"),
        (_Product(), "never"),
        (_BatchFlatten(), "batch axis"),
        (_Places(), "places of the largest"),
        (_Largest(), "batch axis"),
        (nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False)), "running statistics"),
        (nn.Sequential(nn.Unflatten(1, (1, 3)), nn.MaxPool1d(2, return_indices=True)), "return_indices"),
        (nn.Sequential(nn.Linear(3, 3), nn.Linear(5, 2)), "settings"),
        (nn.Sequential(nn.Softmax(1)), "never"),
        (nn.Sequential(nn.Linear(3, 3), nn.Conv1d(3, 3, 1)), "settings"),
        (nn.Sequential(nn.Linear(3, 3), nn.Conv3d(3, 3, 1)), "not yet"),
        (nn.Sequential(nn.Linear(3, 3), nn.Softshrink(0.0), nn.PReLU(2)), "2 slopes on activations"),
        (nn.Sequential(nn.Unflatten(1, (1, 1, 3)), nn.Upsample(scale_factor=2, mode="bicubic")), "bicubic"),
        (nn.Sequential(nn.Unflatten(1, (1, 1, 3)), nn.BatchNorm2d(1, track_running_stats=False)), "running statistics"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_covered_says_why(module: nn.Module, text: str) -> None:
    with pytest.raises(UnsupportedModel, match=text):
        capture(module, torch.zeros(1, 3))


def test_capture_checks_its_arguments() -> None:
    with pytest.raises(InvalidInput, match=r"nn\.Module"):
        capture(lambda x: x, torch.zeros(1, 3))  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="batch"):
        capture(nn.Linear(3, 2), torch.zeros(3))


def test_agreement_notices_hidden_state_and_nan() -> None:
    module = nn.Sequential(nn.Linear(3, 2)).double()
    x = inputs((3,))
    graph = capture(module, x[:1]).frozen()
    handle = module.register_forward_hook(lambda *_: _[-1] + 1.0)
    with pytest.raises(InvalidInput, match="differs"):
        check_agreement(graph, module, x)
    handle.remove()
    with torch.no_grad():
        module[0].bias[0] = torch.nan
    with pytest.raises(InvalidInput, match="NaN"):
        check_agreement(capture(module, x[:1]).frozen(), module, x)


# ---------------------------------------------------------------- single layers


@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
@pytest.mark.parametrize("shape", [(4,), (4, 3)], ids=str)
def test_batch_norm_reads_running_statistics(affine: bool, shape: tuple[int, ...]) -> None:
    norm = nn.BatchNorm1d(4, affine=affine).double()
    norm(3.0 * inputs((4, 5), 50) + 1.0)  # one training step moves the statistics
    x = inputs(shape)
    with evaluation_mode(norm):
        own = norm(x)
    graph = capture(nn.Sequential(norm), x[:1], running_statistics=True).frozen()
    torch.testing.assert_close(graph(x), own.detach(), rtol=1e-12, atol=1e-12)


class _Normalised(nn.Module):
    """Batch norm as a module and as a call, beside dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm1d(3), nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        y = F.batch_norm(x, self.norm.running_mean, self.norm.running_var, training=self.training)
        return self.drop(self.norm(x)) + y


def test_batch_norm_in_training_mode_is_refused_unless_asked_for() -> None:
    module, x = nn.Sequential(nn.Linear(3, 3), _Normalised()).double(), inputs((3,))
    with pytest.raises(UnsupportedModel, match="2 unsupported calls") as raised:
        capture(module, x[:1])
    for words in ("1.norm: BatchNorm1d [settings]", "1: batch_norm [settings]", "eval()", "running_statistics=True"):
        assert words in str(raised.value)
    waived = capture(module, x[:1], running_statistics=True).frozen()
    torch.testing.assert_close(waived(x), module.eval()(x).detach())
    captured = capture(module, x[:1])  # in evaluation mode nothing has to be waived
    module.train()
    for read in (captured.live, captured.frozen):
        with pytest.raises(UnsupportedModel, match="running_statistics"):
            read()
    module[1].eval()  # frozen statistics in a network that trains
    torch.testing.assert_close(captured.frozen()(x), waived(x))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    list(itertools.product((2, 3), (1, 2), (0, 1), (1, 2))),
    ids=lambda value: str(value),
)
def test_max_pool_windows(kernel: int, stride: int, padding: int, dilation: int) -> None:
    settings = {"stride": stride, "padding": padding, "dilation": dilation}
    for module, shape in ((nn.MaxPool1d(kernel, **settings), (2, 7)), (nn.MaxPool2d(kernel, **settings), (2, 6, 5))):
        x = inputs(shape)
        torch.testing.assert_close(capture(nn.Sequential(module), x[:1]).frozen()(x), module(x))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.reshape(x.shape[0], 2, 3).flatten(1),
        lambda x: x.view(-1, 6),
        lambda x: x.reshape(x.size(0), -1, 2).reshape(-1, 6),
        lambda x: x.unsqueeze(1).squeeze(1),
        lambda x: torch.relu(x) - 2.0 * x + (1.0 - x) / 4.0,
        lambda x: torch.sub(x, torch.relu(x), alpha=3),
        lambda x: torch.add(torch.ones(6, dtype=torch.float64), x, alpha=-2),
        lambda x: F.leaky_relu(x, 0.3) + F.leaky_relu(-x, 1.0),
        lambda x: x.clamp(min=0) + torch.clamp_min(-x, 0),
        lambda x: -x @ torch.arange(12.0, dtype=torch.float64).reshape(6, 2),
    ],
    ids=["reshape", "view", "chain", "squeeze", "mixed", "sub_alpha", "constant_first", "leaky", "clamp", "matmul"],
)
def test_calls_without_modules(function) -> None:
    class Module(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x)

    x = inputs((6,))
    torch.testing.assert_close(capture(Module(), x[:1]).live(torch.float64)(x), function(x))


def test_a_shared_layer_collects_the_gradients_of_all_its_uses() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(torch.relu(self.a(x)) + x)

    module = Shared().double()
    x = inputs((3,))
    own = torch.autograd.grad(module(x).square().sum(), list(module.parameters()))
    ours = torch.autograd.grad(capture(module, x[:1]).live()(x).square().sum(), list(module.parameters()))
    for a, b in zip(own, ours, strict=True):
        torch.testing.assert_close(b, a)


def test_a_subclass_with_its_own_forward_is_traced_inside() -> None:
    class Doubled(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return 2.0 * super().forward(input)

    class Renamed(nn.Linear):
        pass

    for kind in (Doubled, Renamed):
        module = nn.Sequential(kind(3, 2), nn.ReLU()).double()
        x = inputs((3,))
        torch.testing.assert_close(capture(module, x[:1]).frozen()(x), module(x).detach())


def test_fingerprints_tell_networks_apart() -> None:
    def mark(module: nn.Module) -> str:
        return capture(module.double(), torch.zeros(1, 3)).frozen().fingerprint()

    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    same = nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.ReLU(), nn.Identity(), nn.Linear(3, 2))
    leaky = nn.Sequential(nn.Linear(3, 3), nn.LeakyReLU(0.1), nn.Linear(3, 2))
    for other in (same, leaky):
        linears = [m for m in other if isinstance(m, nn.Linear)]
        linears[0].load_state_dict(base[0].state_dict())
        linears[1].load_state_dict(base[2].state_dict())
    assert mark(base) == mark(same) != mark(leaky)
    graph = capture(base, torch.zeros(1, 3)).frozen()
    assert isinstance(graph, Graph) and len(graph.fingerprint()) == 16


def test_a_frozen_graph_is_a_copy_even_of_float64_parameters() -> None:
    module, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double(), inputs((3,))
    graph = capture(module, x).frozen()
    before = module(x).detach()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    torch.testing.assert_close(graph(x), before)
