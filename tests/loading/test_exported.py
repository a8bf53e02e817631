"""Exported programs: every operator that is read, compared with the module that was exported, and what is refused."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipreg.errors import InvalidInput, UnsupportedModel
from lipreg.graph import capture
from lipreg.loading import load_network
from lipreg.loading.exported_operators import OPERATORS

Dim = torch.export.Dim


class Called(nn.Module):
    """A function as a module, with a layer in front of it."""

    def __init__(self, call: Callable[[Tensor], Tensor], first: nn.Module) -> None:
        super().__init__()
        self.call, self.first = call, first

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self.first(x))


def exported(net: nn.Module, x: Tensor, path: Path, moving: bool = True) -> Path:
    """The file of a module that was exported with a batch of any size, or of that of the example alone."""
    shapes = ({0: Dim("batch", min=2)},) if moving else None
    torch.export.save(torch.export.export(net.eval(), (x,), dynamic_shapes=shapes), path)
    return path


def agrees(net: nn.Module, x: Tensor, path: Path) -> None:
    """The module that is read and its graph give the outputs of the one that was exported."""
    found = load_network(path)
    with torch.no_grad():
        expected = net(x)
        torch.testing.assert_close(found(x), expected)
        exact = capture(found, x).frozen()(x.double())
    torch.testing.assert_close(exact.reshape(expected.shape).float(), expected, rtol=1e-4, atol=1e-5)


def _written_and_read(x: Tensor) -> Tensor:
    y = 2 * x
    F.elu(y, 0.7, inplace=True)
    return y + x


ROW, IMAGE, SIGNAL = (4,), (2, 6, 5), (2, 7)
PAIR = torch.tensor([[[0.5, -1.0], [2.0, 0.3]]])
B, SLOPE = torch.tensor([0.5, -1.0, 2.0]), torch.tensor([0.2])
W = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
CALLS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    **{
        name: (call, ROW)
        for name, call in {
            "relu": torch.relu,
            "relu in place": lambda x: F.relu(x, inplace=True),
            "leaky relu": lambda x: F.leaky_relu(x, 0.2),
            "clamp": lambda x: x.clamp(-0.5, 0.5),
            "clip": lambda x: torch.clip(x, -0.5, 0.5),
            "clip in place": lambda x: torch.clip_(x + 0.1, -0.5, 0.5),
            "clamp min": lambda x: torch.clamp_min(x, 0.1),
            "clamp max": lambda x: torch.clamp_max(x, 0.1),
            "hardtanh": F.hardtanh,
            "relu6": F.relu6,
            "elu": lambda x: F.elu(x, 0.7),
            "selu": F.selu,
            "silu": F.silu,
            "gelu": lambda x: F.gelu(x, approximate="tanh"),
            "softplus": lambda x: F.softplus(x, 2.0),
            "tanh": torch.tanh,
            "sigmoid": torch.sigmoid,
            "neg and arithmetic": lambda x: (-x - x * 3.0) / 2.0 + torch.add(x, x, alpha=0.5),
            "matmul": lambda x: torch.matmul(x, W),
            "addmm": lambda x: torch.addmm(B, x, W),
            "dropout": lambda x: F.dropout(x, 0.5, training=False),
            "unsqueeze and squeeze": lambda x: torch.relu(x.unsqueeze(1)).squeeze(1),
            "cat": lambda x: torch.cat([x, torch.relu(x)], 1),
            "clone": lambda x: x.clone().contiguous(),
            "abs, erf and neg": lambda x: torch.abs(x) + torch.erf(-x) + F.celu(x, 0.5) + F.logsigmoid(x),
            "hard and soft": lambda x: F.mish(x) + F.hardswish(x) + F.hardsigmoid(x) + F.softshrink(x, 0.3),
            "threshold and leaky": lambda x: F.threshold(x, 0, 0) + F.prelu(x, SLOPE),
            "of two": lambda x: torch.maximum(x, -2 * x) + torch.minimum(x, x.flip(1)) + torch.lerp(x, -x, 0.3),
            "of many": lambda x: x.amax(1, keepdim=True) + x.amin(1, True) + x.max(1, True)[0] + x.min(1, True)[0],
            "choices": lambda x: (
                torch.where(x > 0, x, 0.1 * x) + x * (x >= 0) + x.masked_fill(x < 0, 0.0) + x * (x <= 0)
            ),
            "a product as GELU": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
            "parts": lambda x: x[:, 1:3] + x[:, 0:1] + x.select(1, 2).unsqueeze(1) + x[:, [0, 2]] - x[:, ::2][:, :2],
            "lists": lambda x: x.chunk(2, 1)[0] + x.split(3, 1)[1] + x.unbind(1)[0].unsqueeze(1),
            "stacks": lambda x: torch.stack([x, -x], 1).sum(1) + x.unsqueeze(1).expand(-1, 2, -1).sum(1),
            "copies": lambda x: x.repeat(1, 2) + torch.zeros_like(x).repeat(1, 2) + x.sort(1)[0].repeat(1, 2),
            "moved": lambda x: x.roll(1, 1) + x.cumsum(1) + (1 - x),
            "products": lambda x: (
                torch.einsum("bi,ij->bj", x, W)
                + torch.bmm(PAIR.expand(x.shape[0], -1, -1), x.unflatten(1, (2, 3)))[:, 0]
            ),
            "filled": lambda x: torch.cat(
                [x, torch.ones(x.shape[0], 1), torch.zeros(x.shape[0], 1), torch.full((x.shape[0], 1), 0.5)], 1
            ),
            "filled alike": lambda x: (
                x
                + torch.ones_like(x)
                - torch.full_like(x, 0.2)
                + x.new_ones(x.shape[0], 6)
                + x.new_zeros(x.shape[0], 6)
            ),
            "casts": lambda x: x.to(torch.float32).float() + 1,
            "sides": lambda x: x * ~(x > 0) + x * torch.logical_not(x < 0) * 0.5 + (1 - (x > 0).float()) * x,
            "norms": lambda x: x.norm(p=1, dim=1, keepdim=True) + torch.linalg.vector_norm(x, math.inf, 1, True),
            "exponentials": lambda x: (
                1 / (1 + torch.exp(-x)) + torch.log(1 + torch.exp(x)) + torch.log1p(torch.exp(x)) - x / (1 + x.abs())
            ),
            "choices by exponentials": lambda x: torch.where(x > 0, x, 0.5 * torch.expm1(x)) + x / (1 + torch.exp(-x)),
            "tails": lambda x: x * torch.erfc(-x) + torch.special.ndtr(x) + torch.logaddexp(x, -x),
            "sign": lambda x: torch.sign(x) * torch.relu(x.abs() - 0.2),
            "in place": lambda x: (
                (x + 1).add_(x).mul_(0.3).clamp_(-2, 2).tanh_() + F.leaky_relu_(x * 1.0, 0.2).sigmoid_()
            ),
            **{
                f"{call.__name__} in place": lambda x, call=call: call(2 * x, inplace=True)
                for call in (F.relu6, F.elu, F.selu, F.celu, F.silu, F.hardswish, F.hardsigmoid, F.mish)
            },
            "hardtanh in place": lambda x: F.hardtanh(3 * x, -0.5, 2.0, inplace=True),
            "threshold in place": lambda x: F.threshold(x * 1.0, 0, 0, inplace=True),
            "what is written in place and read again": _written_and_read,
        }.items()
    },
    **{
        name: (call, IMAGE)
        for name, call in {
            "max pool": lambda x: F.max_pool2d(x, 2),
            "average pool": lambda x: F.avg_pool2d(x, (2, 3), padding=1, count_include_pad=False),
            "adaptive max pool": lambda x: (
                F.adaptive_max_pool2d(x, (2, 1)) + F.adaptive_max_pool1d(x[..., 0], 1)[..., None]
            ),
            "upsampled": lambda x: F.interpolate(x, scale_factor=2.0) - F.interpolate(x, (12, 10), mode="bilinear"),
            "upsampled signal": lambda x: F.interpolate(x[:, :, 0], scale_factor=3.0),
            "adaptive pool": lambda x: F.adaptive_avg_pool2d(x, (2, 1)),
            "flatten": lambda x: torch.flatten(x, 1),
            "view": lambda x: x.view(x.shape[0], -1, 2),
            "reshape": lambda x: x.reshape(-1, 60),
            "permute and transpose": lambda x: torch.relu(x.permute(0, 2, 3, 1)).transpose(1, 2),
            "mean and sum": lambda x: x.mean((2, 3)) + x.sum((2, 3)),
            "pad": lambda x: F.pad(x, (1, 0, 0, 2), value=0.5),
        }.items()
    },
}


@pytest.mark.parametrize("case", CALLS)
def test_a_call_computes_what_it_did_before_it_was_exported(case: str, tmp_path: Path) -> None:
    call, shape = CALLS[case]
    net, x = Called(call, nn.Linear(4, 6) if shape == ROW else nn.Conv2d(2, 2, 1)), torch.randn(3, *shape)
    agrees(net, x, exported(net, x, tmp_path / "net.pt2"))


LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "classifier": (nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), ROW),
    "normalised": (nn.Sequential(nn.Conv2d(2, 3, 3, padding="same"), nn.BatchNorm2d(3), nn.ReLU()), IMAGE),
    "grouped": (nn.Conv2d(2, 4, (2, 3), stride=(2, 1), padding=1, groups=2, bias=False), IMAGE),
    "transposed": (nn.ConvTranspose2d(2, 3, 3, stride=2, output_padding=1), IMAGE),
    "signal": (nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten()), SIGNAL),
    "normalised rows": (nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.ReLU()), ROW),
}


@pytest.mark.parametrize("moving", [True, False], ids=["any batch", "one batch"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_any_batch_or_of_that_of_the_example(name: str, moving: bool, tmp_path: Path) -> None:
    net, shape = LAYERS[name]
    x = torch.randn(3, *shape)
    agrees(net.eval(), x, exported(net, x, tmp_path / "net.pt2", moving))


def _like(x: Tensor) -> Tensor:
    return 4.0 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


ACTIVATIONS: list[nn.Module] = [
    *(nn.ReLU6(), nn.Hardtanh(), nn.Hardsigmoid(), nn.Hardswish(), nn.SELU(), nn.ELU(0.7), nn.CELU(0.5), nn.GELU()),
    *(nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Softsign(), nn.Softplus(2.0), nn.Tanhshrink(), nn.LogSigmoid()),
    *(nn.Sigmoid(), nn.LeakyReLU(0.2), nn.PReLU()),
]


@pytest.mark.parametrize("activations", [ACTIVATIONS[k::6] for k in range(6)], ids=repr)
def test_activations_of_decomposed_programs_are_what_they_were(activations: list[nn.Module], tmp_path: Path) -> None:
    """A program in core operators has SELU, say, as ELU with a factor, and Softplus as a choice.

    Some to a program, as decomposing one takes longer than all else.
    """
    layers = [layer for activation in activations for layer in (activation, nn.Linear(6, 6))]
    net, path = nn.Sequential(nn.Linear(4, 6), *layers), tmp_path / "net.pt2"
    x = _like(torch.empty(16, 4))
    torch.export.save(torch.export.export(net.eval(), (x,)).run_decompositions(), path)
    agrees(net, x, path)
    graph, own = (capture(each, x).frozen() for each in (load_network(path), net))
    assert [type(node) for node in graph.nodes] == [type(node) for node in own.nodes]


def test_a_batch_of_another_size_than_the_example(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Conv1d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(3, 2))
    path = exported(net, torch.randn(1, 4), tmp_path / "net.pt2", moving=False)
    agrees(net, torch.randn(5, 4), path)


def test_all_that_is_not_read_is_listed_and_the_part_before_it_can_be_named(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1), nn.LayerNorm(3))
    path = exported(net, torch.randn(3, 4), tmp_path / "net.pt2")
    with pytest.raises(
        UnsupportedModel, match=r"softmax\.int, layer_norm\.default.*--module linear$|--module linear\."
    ):
        load_network(path)
    with pytest.raises(InvalidInput, match=r"no value 'logits'.*linear"):
        load_network(path, module="logits")
    x = torch.randn(2, 4)
    torch.testing.assert_close(load_network(path, module="linear")(x), net[0](x))
    with pytest.raises(InvalidInput, match="weights beside"):
        load_network(path, weights="w.pt")


def test_training_mode_is_refused(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)).train()
    torch.export.save(torch.export.export(net, (torch.randn(3, 4),)), tmp_path / "net.pt2")
    with pytest.raises(UnsupportedModel, match=r"dropout\.default \(in training mode\)"):
        load_network(tmp_path / "net.pt2")


class Two(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


def test_what_is_no_program_of_one_input_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pt2").write_text("hello")
    torch.save({"x": torch.zeros(1)}, tmp_path / "saved.pt2")
    x = torch.randn(3, 4)
    torch.export.save(torch.export.export(Two(), (x, x)), tmp_path / "two.pt2")
    for name, said in (
        ("text", "cannot read"),
        ("saved", "cannot read"),
        ("nowhere", "no such file"),
        ("two", "2 inputs"),
    ):
        with pytest.raises(InvalidInput, match=said) as caught:
            load_network(tmp_path / f"{name}.pt2")
        assert "\n" not in str(caught.value)


def test_nothing_in_a_file_is_unpickled(tmp_path: Path) -> None:
    path = exported(nn.Linear(4, 3), torch.randn(3, 4), tmp_path / "net.pt2")
    pickled(path, tmp_path / "trap.pt2")
    with pytest.raises(InvalidInput, match="weight is pickled, which could run as code"):
        load_network(tmp_path / "trap.pt2")


def pickled(path: Path, to: Path) -> None:
    """The file with a weight that says it is a pickle."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(to, "w") as target:
        for name in source.namelist():
            content: Any = source.read(name)
            if name.endswith("model_weights_config.json"):
                told = json.loads(content)
                told["config"]["weight"] |= {"use_pickle": True, "tensor_meta": None}
                content = json.dumps(told)
            target.writestr(name, content)


def test_every_operator_of_the_table_is_one_of_torch_s() -> None:
    for name in OPERATORS:
        operator, _, overload = name.rpartition(".")
        assert overload in getattr(torch.ops.aten, operator).overloads(), name


@pytest.mark.parametrize(
    ("call", "operator"),
    [
        (lambda x: torch.relu(x.unfold(1, 2, 2)[..., 0]), r"unfold\.default"),
        (lambda x: x.topk(2, 1)[0], r"topk\.default"),
        (lambda x: torch.relu(x.half().float()), r"to\.dtype \(to another dtype"),
    ],
    ids=["windows", "of a list", "other numbers"],
)
def test_calls_that_make_lists_or_nothing_are_named(
    call: Callable[[Tensor], Tensor], operator: str, tmp_path: Path
) -> None:
    path = exported(Called(call, nn.Linear(4, 6)), torch.randn(3, 4), tmp_path / "net.pt2")
    with pytest.raises(UnsupportedModel, match=f"not read: {operator}") as caught:
        load_network(path)
    assert "_assert" not in str(caught.value)


def test_an_output_that_is_the_input_is_refused(tmp_path: Path) -> None:
    path = exported(nn.Linear(4, 3), torch.randn(3, 4), tmp_path / "net.pt2")
    with pytest.raises(InvalidInput, match="'input' is the input itself"):
        load_network(path, module="input")


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    """Cut anywhere, or with bytes of its archive changed."""
    whole = exported(nn.Linear(4, 3), torch.randn(3, 4), tmp_path / "net.pt2").read_bytes()
    for i in range(0, len(whole), len(whole) // 20):
        for content in (whole[:i], whole[:i] + bytes(4) + whole[i + 4 :]):
            (tmp_path / "cut.pt2").write_bytes(content)
            try:
                load_network(tmp_path / "cut.pt2")
            except (InvalidInput, UnsupportedModel) as error:
                assert "\n" not in str(error)


class Changing(nn.Module):
    """Adds one to a buffer at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))
        self.count: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.count.add_(1)
        return x * 2 + self.count


class Flagged(nn.Module):
    """Another function for each value of an argument."""

    def forward(self, x: Tensor, turned: bool) -> Tensor:
        return -x if turned else x


def test_an_effect_is_refused_and_an_argument_has_the_value_that_was_exported(tmp_path: Path) -> None:
    x = torch.randn(3, 4)
    torch.export.save(torch.export.export(Changing(), (x,)).run_decompositions(), tmp_path / "effect.pt2")
    with pytest.raises(InvalidInput, match="an effect besides its output: buffer_mutation"):
        load_network(tmp_path / "effect.pt2")
    torch.export.save(torch.export.export(Flagged(), (x, True)), tmp_path / "flag.pt2")
    assert torch.equal(load_network(tmp_path / "flag.pt2")(x), -x)


def test_a_program_is_taken_as_it_is() -> None:
    net, x = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3)).eval(), torch.randn(3, 4)
    program = torch.export.export(net, (x,), dynamic_shapes=({0: Dim("batch", min=2)},))
    torch.testing.assert_close(capture(program, x).frozen()(x.double()).float(), net(x).detach(), rtol=1e-4, atol=1e-5)
    with pytest.raises(UnsupportedModel, match=r"\[replace\].*in place of program\.module\(\)"):
        capture(program.module(), x)
