"""Two networks on the same inputs as one: x -> f(x) - g(x)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lipreg.errors import InvalidInput
from lipreg.graph.context import Context
from lipreg.graph.registry import Example, lowers
from lipreg.graph.symbols import Symbol


class Minus(nn.Module):
    """The difference of two tensors of one shape; other shapes, which torch would broadcast, are an error."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        check_alike(tuple(first.shape[1:]), tuple(second.shape[1:]))
        return first - second


class Difference(nn.Module):
    """x -> f(x) - g(x), for every question that a network can be asked.

        difference = lipreg.Difference(original, pruned)
        lipreg.certify(difference, problem, x)         # how fast the two can move apart

    f and g are any networks that ``capture`` reads, of one architecture or of two: one pruned, quantised or trained again
    beside the original, or a controller beside a law that is written as a network. What both of them compute, equal to the
    last place of a weight, is computed once (a shared trunk, unchanged layers), and the constant of f - f is 0. Where they
    compute nearly the same, bounds are of the difference (``lipreg/bounds/pairs.py``), not of f and g one by one.

    Args:
        first: f, ``(batch, *shape)`` to ``(batch, outputs)``.
        second: g, likewise; it may share modules with f.

    Raises:
        InvalidInput: it is not two modules, or one is quantised; or, when it is run or captured, one does not take the
            points in their shape and dtype, or their outputs differ in shape.
    """

    outputs_of = "f - g"
    """Whose outputs they are, in the words of results and records."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        for name, network in (("first", first), ("second", second)):
            if not isinstance(network, nn.Module):
                got, accepted = f"got {type(network).__name__}", "two torch.nn.Modules on the same inputs"
                raise InvalidInput(got, where="Difference", accepted=accepted)
            _refuse_quantised(network, name)
        self.first, self.second, self.minus = first, second, Minus()

    def forward(self, x: Tensor) -> Tensor:
        return self.minus(_through(self.first, x, "first"), _through(self.second, x, "second"))


def _refuse_quantised(network: nn.Module, name: str) -> None:
    for path, part in network.named_modules():
        kind = type(part)
        if ".quantized" in kind.__module__ and kind.__module__.startswith("torch."):
            raise InvalidInput(
                f"the {name} network is quantised, {path!r} a {kind.__module__}.{kind.__name__}, which rounds what it "
                "computes and has no slopes",
                where="Difference",
                accepted="networks with weights of floats",
                todo="Give a float copy of it with these weights: of each layer weight().dequantize() and bias()",
            )


def _through(network: nn.Module, x: Tensor, name: str) -> Tensor:
    """The network's outputs; where torch cannot run it on x, the error says which of the two it is, and why."""
    try:
        return network(x)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if not isinstance(x, Tensor):
            raise
        dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), x.dtype)
        todo = "Give points as both networks take them, (batch, *shape)"
        if dtype != x.dtype:
            todo = "Convert both to one dtype, as in Difference(...).double(): bounds are of float64 copies in any case"
        raise InvalidInput(
            f"the {name} network, with weights of {dtype}, cannot be run on points of shape (batch{_listed(x.shape[1:])}) "
            f"and {x.dtype}: {error}",
            where="Difference",
            accepted="two networks that take the same points, in one dtype",
            todo=todo,
        ) from error


def check_alike(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    """Raises InvalidInput unless two outputs, without the batch axis, have one shape."""
    if first != second:
        raise InvalidInput(
            f"the first network returns (batch{_listed(first)}), the second (batch{_listed(second)})",
            where="Difference",
            accepted="two networks whose outputs have the same shape",
        )


def _listed(shape: tuple[int, ...]) -> str:
    return "".join(f", {n}" for n in shape)


def _example() -> nn.Module:
    trunk = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    first, second = (nn.Sequential(trunk, nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)) for _ in range(2))
    with torch.no_grad():
        for own, other in zip(second.parameters(), first.parameters(), strict=True):
            own.copy_(other * (1 + 0.1 * torch.randn_like(other)))
    return Difference(first, second)


@lowers(Minus, example=Example(_example, (3,)))
def lower_minus(context: Context, module: Minus, first: Symbol, second: Symbol) -> Symbol:
    """first - second, of one shape."""
    check_alike(first.shape, second.shape)
    return first.plus(second.scaled(context.constant(-1.0, second.shape)))
