"""Every registered lowering, through the example that it brings: the graph is the module, with its gradients."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.errors import InvalidInput, UnsupportedModel
from lipreg.graph import Affine, CapturedNetwork, Graph, Input, MaxPool, Relu, capture, check_agreement, evaluation_mode
from lipreg.graph.registry import CALLS, EXAMPLES, MODULES, Example
from tests import oracles

each_example = pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
each_net = pytest.mark.parametrize("name", oracles.ZOO)


def built(example: Example, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(seed)
    return example.build().to(dtype)


def live_graph(captured: CapturedNetwork) -> Graph:
    """The live graph in float64, said so where no parameter says it."""
    return captured.live(None if any(True for _ in captured.module.parameters()) else torch.float64)


def inputs(shape: tuple[int, ...], count: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(9), dtype=dtype)


def test_every_lowering_module_has_an_example() -> None:
    """Each file of lowerings brings at least one example, and examples name registered functions."""
    functions = set(MODULES.values()) | set(CALLS.values())
    assert {function.__name__ for function in functions} >= set(EXAMPLES)
    files = {function.__module__ for function in functions}
    assert files == {function.__module__ for function in functions if function.__name__ in EXAMPLES}


# ---------------------------------------------------------------- values and gradients


@each_example
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_graphs_equal_the_module_in_evaluation_mode(example: Example, training: bool) -> None:
    for seed in range(3):
        module = built(example, seed).train(training)
        x = inputs(example.input_shape)
        captured = capture(module, x[:1], running_statistics=training)
        with evaluation_mode(module):
            own = module(x)
        torch.testing.assert_close(live_graph(captured)(x), own, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(captured.frozen()(x), own.detach(), rtol=1e-12, atol=1e-12)
        check_agreement(captured.frozen(), module, x)


@each_example
def test_single_precision_modules_agree_to_their_rounding(example: Example) -> None:
    module = built(example, dtype=torch.float32).eval()
    x = inputs(example.input_shape, dtype=torch.float32)
    captured = capture(module, x[:1])
    live, frozen = captured.live(), captured.frozen()
    assert live.dtype == torch.float32 and frozen.dtype == torch.float64
    torch.testing.assert_close(live(x), module(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(frozen(x.double()), module.double()(x.double()), rtol=1e-6, atol=1e-6)


@each_example
def test_live_graph_has_the_gradients_of_the_module(example: Example) -> None:
    module = built(example).eval()
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    x = inputs(example.input_shape)
    own, ours = module(x), live_graph(capture(module, x[:1]))(x)
    if not parameters:
        assert not ours.requires_grad
        return
    weights = torch.randn(own.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    expected = torch.autograd.grad((own * weights).sum(), list(parameters.values()), allow_unused=True)
    got = torch.autograd.grad((ours * weights).sum(), list(parameters.values()), allow_unused=True)
    for name, a, b in zip(parameters, expected, got, strict=True):
        assert (a is None) == (b is None), name
        if a is not None and b is not None:
            torch.testing.assert_close(b, a, rtol=1e-10, atol=1e-12, msg=lambda text, name=name: f"{name}: {text}")


@each_example
def test_gradients_of_the_graph_equal_autograd(example: Example) -> None:
    module = built(example).eval()
    x = inputs(example.input_shape, count=4)
    graph = capture(module, x[:1]).frozen()
    outputs = torch.Size(graph.output.shape)
    rows = torch.eye(outputs.numel(), dtype=torch.float64).reshape(-1, *outputs).expand(len(x), -1, *outputs)
    slopes = {i: s.unsqueeze(1) for i, s in graph.patterns(graph.values(x)).items()}
    own = torch.stack([torch.autograd.functional.jacobian(lambda z: module(z[None])[0], point) for point in x])
    torch.testing.assert_close(
        graph.gradients(slopes, rows),
        own.reshape(len(x), outputs.numel(), *example.input_shape),
        rtol=1e-10,
        atol=1e-12,
    )


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


@each_example
def test_graphs_keep_the_shape_of_the_waist(example: Example) -> None:
    """First the Input, last an Affine; an Affine never feeds an Affine, and Relus and MaxPools read one Affine."""
    graph = capture(built(example).eval(), inputs(example.input_shape, 1)).frozen()
    assert isinstance(graph.nodes[0], Input) and isinstance(graph.nodes[-1], Affine)
    assert sum(isinstance(node, Input) for node in graph.nodes) == 1
    for index, node in enumerate(graph.nodes):
        match node:
            case Affine(sources=sources):
                assert all(source < index for source in sources)
                assert not any(isinstance(graph.nodes[source], Affine) for source in sources)
            case Relu(source=source) | MaxPool(source=source):
                assert isinstance(graph.nodes[source], Affine) and source < index


@each_example
def test_graphs_take_any_number_of_batch_dimensions(example: Example) -> None:
    graph = capture(built(example).eval(), inputs(example.input_shape, 1)).frozen()
    x = inputs(example.input_shape, 6)
    folded = graph(x.reshape(2, 3, *example.input_shape))
    torch.testing.assert_close(folded.reshape(6, *folded.shape[2:]), graph(x))
    with pytest.raises(InvalidInput, match="shape"):
        graph(torch.zeros(2, 99, dtype=torch.float64))
    with pytest.raises(InvalidInput, match="float32"):
        graph(x.float())


# ---------------------------------------------------------------- what capture leaves alone


@each_example
def test_capture_leaves_module_and_random_numbers_alone(example: Example) -> None:
    module = built(example)
    submodules = list(module.modules())
    for i, submodule in enumerate(submodules):  # a mixture of modes, as a user with frozen layers has
        submodule.training = i % 2 == 0
    x = inputs(example.input_shape)
    modes = [m.training for m in submodules]
    state = {key: value.clone() for key, value in module.state_dict().items()}
    trained = [parameter.requires_grad for parameter in module.parameters()]
    random = torch.get_rng_state()
    captured = capture(module, x[:1], running_statistics=True)
    captured.live()
    check_agreement(captured.frozen(), module, x)
    assert [m.training for m in module.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert [parameter.requires_grad for parameter in module.parameters()] == trained
    assert not any(m._forward_hooks for m in submodules)


def test_modes_are_restored_after_an_error() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    module[0].eval()
    with pytest.raises(RuntimeError), evaluation_mode(module):
        assert not any(m.training for m in module.modules())
        raise RuntimeError
    assert module.training and module[1].training and not module[0].training


@each_example
def test_a_frozen_graph_does_not_follow_the_weights(example: Example) -> None:
    module = built(example).eval()
    x = inputs(example.input_shape)
    captured = capture(module, x[:1])
    graph = captured.frozen()
    before, mark = graph(x), graph.fingerprint()
    assert not graph.output.bias.requires_grad
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.5)
    torch.testing.assert_close(graph(x), before, rtol=0, atol=0)
    assert graph.fingerprint() == mark
    if any(True for _ in module.parameters()):
        assert captured.frozen().fingerprint() != mark
        torch.testing.assert_close(captured.live()(x), module.eval()(x), rtol=1e-12, atol=1e-12)


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
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(x) * torch.tanh(x)


class _Problems(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.inner, self.b = nn.Linear(3, 3), _Inner(), nn.ReLU6()
        self.c, self.d = nn.LeakyReLU(-0.5), nn.Bilinear(3, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.b(self.inner(self.a(x)))
        return self.d(self.c(torch.relu(self.a(x))), torch.abs(h))


def test_all_problems_are_listed_with_path_and_kind() -> None:
    with pytest.raises(UnsupportedModel) as refusal:
        capture(_Problems(), torch.zeros(1, 3))
    text = str(refusal.value)
    for path, call, kind in [
        ("inner.gate", "Sigmoid", "never"),
        ("inner", "tanh", "never"),
        ("b", "ReLU6", "replace"),
        ("c", "LeakyReLU", "settings"),
        ("forward", "abs", "replace"),
        ("d", "Bilinear", "not yet"),
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
        (nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False)), "running statistics"),
        (nn.Sequential(nn.Unflatten(1, (1, 3)), nn.MaxPool1d(2, return_indices=True)), "return_indices"),
        (nn.Sequential(nn.Linear(3, 3), nn.Linear(5, 2)), "settings"),
        (nn.Sequential(nn.Softmax(1)), "never"),
        (nn.Sequential(nn.Linear(3, 3), nn.Conv1d(3, 3, 1)), "settings"),
        (nn.Sequential(nn.Linear(3, 3), nn.Conv3d(3, 3, 1)), "not yet"),
        (nn.Sequential(nn.Linear(3, 3), nn.PReLU()), "trained"),
        (nn.Sequential(nn.Unflatten(1, (1, 1, 3)), nn.Upsample(scale_factor=2, mode="bilinear")), "bilinear"),
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
