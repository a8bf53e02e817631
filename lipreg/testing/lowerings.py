"""check_lowering: whether the graph of a torch layer is the layer, with its gradients, and is bounded like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import wraps
from typing import Any

import torch
from torch import nn

from lipreg.errors import InvalidInput, UnsupportedModel
from lipreg.graph import (
    Affine,
    Curved,
    Input,
    MaxPool,
    Relu,
    capture,
    check_agreement,
    evaluation_mode,
)
from lipreg.graph.registry import CALLS, EXAMPLES, MODULES, Example, Lowering
from lipreg.testing.curves import check_curve
from lipreg.testing.failures import CheckFailed, aspects_of, attempt, expect, refused
from lipreg.testing.layer_bounds import constants
from lipreg.testing.layers import LayerUnderTest, autograd_jacobian, live_graph
from lipreg.testing.modes import training_mode
from lipreg.testing.ties import ties


def check_lowering(
    target: type[nn.Module] | Callable[..., Any] | str,
    example: Example | None = None,
    *,
    refuses: Iterable[tuple[nn.Module, tuple[int, ...]]] = (),
    seed: int = 0,
    aspects: Iterable[str] | None = None,
) -> None:
    """Checks a registered lowering through a small module that uses it.

    The graph has the module's values, its Jacobian by autograd, also at kinks and ties of pools, and, live, the gradients of
    its parameters; in training mode it has the values that the module is trained with, or is refused; capturing changes
    nothing about the module; a frozen graph stays what it was. Over a region within one
    linear piece the exact engine finds the norm of autograd's Jacobian, and over a larger one no bound is below a slope
    between two of its points.

    Args:
        target: the module class, function or method's name that it is registered for.
        example: None takes the one that it was registered with.
        refuses: modules with settings that it does not cover, each with the shape of its input.
        seed: of weights and points.
        aspects: the names of some checks (``ASPECTS``); None for all of them.

    Raises:
        CheckFailed: it does not; the text names the layer and the numbers.
        InvalidInput: nothing is registered for the target, or no example.

    Example:
        >>> check_lowering(nn.ReLU)
    """
    lowering = MODULES.get(target) if isinstance(target, type) else CALLS.get(target)  # type: ignore[arg-type]
    name = target if isinstance(target, str) else getattr(target, "__name__", repr(target))
    if lowering is None:
        raise InvalidInput(
            f"no lowering of {name}", where="check_lowering", todo=f"Put @lowers({name}) above a function"
        )
    example = EXAMPLES.get(lowering.function) if example is None else example
    if example is None:
        todo = "Register it with example=Example(build, input_shape), or give one here"
        raise InvalidInput(f"no example of {name}", where="check_lowering", todo=todo)
    _check_used(name, lowering, example)
    for aspect in aspects_of(aspects, ASPECTS, "check_lowering"):
        with attempt(f"{name}, {aspect}"):
            ASPECTS[aspect](LayerUnderTest(f"{name}, {aspect}", example, seed))
    for module, shape in refuses:
        with refused(UnsupportedModel, f"{name}: {module}"):
            capture(module.eval(), torch.zeros(1, *shape))


def _check_used(name: str, lowering: Lowering, example: Example) -> None:
    """The example goes through the lowering, by any of its targets."""
    tables: list[Any] = [MODULES, CALLS]
    every, calls = [(of, target, known_as) for of in tables for target, known_as in of.items()], []
    entries = [entry for entry in every if entry[2].function is lowering.function]

    @wraps(lowering.function)
    def counted(*given: Any, **named: Any) -> Any:
        calls.append(1)
        return lowering.function(*given, **named)

    try:
        for of, target, known_as in entries:
            of[target] = replace(known_as, function=counted)
        capture(example.build().eval(), torch.zeros(1, *example.input_shape))
    except Exception as error:
        raise CheckFailed(f"{name}: its example: {type(error).__name__}: {error}") from error
    finally:
        for of, target, known_as in entries:
            of[target] = known_as
    expect(calls, f"{name}: the example does not use it")


def values(layer: LayerUnderTest) -> None:
    """Live and frozen graph have the module's values in evaluation mode, from whichever mode it is captured."""
    x = layer.inputs()
    for seed, training in enumerate((True, False)):
        module = layer.built(seed).train(training)
        captured = capture(module, x[:1], running_statistics=training)
        frozen = captured.frozen()
        with evaluation_mode(module):
            wanted = module(x)
        layer.same(live_graph(captured)(x), wanted, "the live graph's values and the module's")
        layer.same(frozen(x), wanted.detach(), "the frozen graph's values and the module's")
        check_agreement(frozen, module, x)


def single_precision(layer: LayerUnderTest) -> None:
    """Live graphs have the module's dtype, frozen ones float64."""
    module, x = layer.built(dtype=torch.float32).eval(), layer.inputs(dtype=torch.float32)
    captured = capture(module, x[:1])
    live, frozen = captured.live(), captured.frozen()
    expect((live.dtype, frozen.dtype) == (torch.float32, torch.float64), f"{layer.name}: {live.dtype}, {frozen.dtype}")
    layer.same(live(x), module(x), "the live graph in float32", 1e-4, 1e-5)
    layer.same(frozen(x.double()), module.double()(x.double()), "the frozen graph of float32 weights", 1e-6, 1e-6)


def gradients(layer: LayerUnderTest) -> None:
    """The live graph has the gradients of the module in its parameters."""
    module, x = layer.built().eval(), layer.inputs()
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    theirs, ours = module(x), live_graph(capture(module, x[:1]))(x)
    if not parameters:
        expect(not ours.requires_grad, f"{layer.name}: gradients of a module without parameters")
        return
    weights = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    wanted, got = (
        torch.autograd.grad((y * weights).sum(), list(parameters.values()), allow_unused=True) for y in (theirs, ours)
    )
    for name, a, b in zip(parameters, wanted, got, strict=True):
        expect((a is None) == (b is None), f"{layer.name}: the gradient in {name} is {b}, of the module {a}")
        if a is not None and b is not None:
            layer.same(b, a, f"the gradient in {name}", layer.example.accuracy)


def jacobians(layer: LayerUnderTest) -> None:
    """The gradients of the graph at points are autograd's."""
    module, x = layer.built().eval(), layer.inputs(4)
    graph = capture(module, x[:1]).frozen()
    outputs = torch.Size(graph.output.shape)
    rows = torch.eye(outputs.numel(), dtype=torch.float64).reshape(-1, *outputs).expand(len(x), -1, *outputs)
    slopes = {i: s.unsqueeze(1) for i, s in graph.patterns(graph.values(x)).items()}
    wanted = autograd_jacobian(module, x).reshape(len(x), outputs.numel(), *layer.example.input_shape)
    layer.same(graph.gradients(slopes, rows), wanted, "the graph's gradients and autograd's", layer.example.accuracy)


def waist(layer: LayerUnderTest) -> None:
    """First the Input, last an Affine; an Affine never feeds an Affine, and Relus, MaxPools and Curveds read one Affine."""
    nodes = capture(layer.built().eval(), layer.inputs(1)).frozen().nodes
    kinds = ", ".join(type(node).__name__ for node in nodes)
    ends = isinstance(nodes[0], Input) and isinstance(nodes[-1], Affine)
    expect(ends and sum(isinstance(node, Input) for node in nodes) == 1, f"{layer.name}: nodes {kinds}")
    for index, node in enumerate(nodes):
        match node:
            case Affine(sources=sources):
                fine = all(source < index and not isinstance(nodes[source], Affine) for source in sources)
                expect(fine, f"{layer.name}: node {index} reads {sources} of {kinds}")
            case Relu(source=source) | MaxPool(source=source) | Curved(source=source):
                expect(isinstance(nodes[source], Affine) and source < index, f"{layer.name}: node {index} of {kinds}")


def curves(layer: LayerUnderTest) -> None:
    """The formulas and tables of curves are those of the function that the layer computes."""
    for curve in dict.fromkeys(
        node.curve for _, node in capture(layer.built().eval(), layer.inputs(1)).frozen().curves()
    ):
        check_curve(curve, layer.name)


def batches(layer: LayerUnderTest) -> None:
    """Graphs take any number of batch dimensions, and refuse other shapes and dtypes."""
    graph, x = capture(layer.built().eval(), layer.inputs(1)).frozen(), layer.inputs()
    folded = graph(x.reshape(2, 3, *layer.example.input_shape))
    layer.same(folded.reshape(6, *folded.shape[2:]), graph(x), "two batch dimensions and one", 1e-7, 1e-7)
    with refused(InvalidInput, f"{layer.name}: another shape", "shape"):
        graph(torch.zeros(2, 99, dtype=torch.float64))
    with refused(InvalidInput, f"{layer.name}: another dtype", "float32"):
        graph(x.float())


def module_alone(layer: LayerUnderTest) -> None:
    """Capture leaves modes, weights, hooks and random numbers alone."""
    module, x = layer.built(), layer.inputs()
    submodules = list(module.modules())
    for i, submodule in enumerate(submodules):  # a mixture of modes, as a user with frozen layers has
        submodule.training = i % 2 == 0
    state, random = {key: value.clone() for key, value in module.state_dict().items()}, torch.get_rng_state()

    def seen() -> list[Any]:
        return [[m.training for m in submodules], [(p.requires_grad, p.grad) for p in module.parameters()]]

    before = seen()
    captured = capture(module, x[:1], running_statistics=True)
    captured.live()
    check_agreement(captured.frozen(), module, x)
    expect(seen() == before, f"{layer.name}: modes or gradients of the module have changed")
    expect(torch.equal(torch.get_rng_state(), random), f"{layer.name}: random numbers were drawn")
    unchanged = all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    expect(unchanged, f"{layer.name}: the module's weights have changed")
    expect(not any(m._forward_hooks for m in submodules), f"{layer.name}: hooks are left")


def frozen_copy(layer: LayerUnderTest) -> None:
    """A frozen graph does not follow the weights, a new one and a live one do."""
    module, x = layer.built().eval(), layer.inputs()
    captured = capture(module, x[:1])
    graph = captured.frozen()
    before, mark = graph(x), graph.fingerprint()
    expect(not graph.output.bias.requires_grad, f"{layer.name}: the frozen graph has gradients")
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.5)
    layer.same(graph(x), before, "the frozen graph before and after a step", 0.0, 0.0)
    expect(graph.fingerprint() == mark, f"{layer.name}: the frozen graph's fingerprint has changed")
    if any(True for _ in module.parameters()):
        expect(captured.frozen().fingerprint() != mark, f"{layer.name}: a new frozen graph has the old fingerprint")
        layer.same(captured.live()(x), module.eval()(x), "the live graph after a step")


ASPECTS: dict[str, Callable[[LayerUnderTest], None]] = {
    "values": values,
    "single precision": single_precision,
    "gradients": gradients,
    "jacobians": jacobians,
    "ties": ties,
    "training mode": training_mode,
    "waist": waist,
    "curves": curves,
    "batches": batches,
    "module alone": module_alone,
    "frozen copy": frozen_copy,
    "constants": constants,
}
"""What is checked of a lowering, one after the other."""
