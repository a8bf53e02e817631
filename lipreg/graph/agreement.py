"""Whether a captured graph is what its module computes: compared at points, and what could change it is watched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from lipreg.curves import Softplus
from lipreg.errors import InvalidInput, LipregError, UnsupportedModel
from lipreg.graph.module_state import computes_weights, evaluation_mode, in_double, name_of, untouched
from lipreg.graph.network import Graph
from lipreg.graph.nodes import Curved
from lipreg.graph.random_state import no_network, untouched_random_state
from lipreg.graph.rounded import Rounded

BESIDE, AWAY = 16, (0.1, 1.0, 10.0)
"""Points beside which a graph is compared too, at most, and how far from them, in their own size."""
TRIES = 4
"""Random roundings of a graph that say what rounding does to its outputs."""


class UnsteadyNetwork(UnsupportedModel):
    """A forward that does not give the same points the same outputs."""


# ---------------------------------------------------------------- comparing


def check_agreement(
    graph: Graph,
    module: nn.Module,
    x: Tensor,
    frozen: Callable[[], Graph] | None = None,
    casts: Iterable[torch.dtype] = (),
    double: bool = False,
) -> None:
    """Compares a graph with the module's own evaluation-mode forward at x, hooks and all.

    What belongs to the module is left as it was: modes, buffers, attributes that its forward sets, the global random
    states. Its forward runs twice, for what a first call leaves behind may not matter, and once where there are hooks.

    Args:
        graph: live or frozen.
        module: what it was captured from.
        x: points ``(batch, *shape)`` in the dtype and on the device that the module takes.
        frozen: makes the frozen graph of the module where ``graph`` is a live one, which does not know what has cancelled
            in its weights; asked where they seem to differ.
        casts: other dtypes that its forward works in on the way, whose rounding counts as well.
        double: run the module with its weights in float64, which tells a graph of those from what rounding does much
            sooner, wherever it can be run so.

    Raises:
        InvalidInput: they differ by more than rounding in the module's dtype; the message names hooks and replaced
            forwards. Or the weights hold NaN.
        UnsupportedModel: the module cannot be run at x alone.
    """
    casts, unseen = set(casts), bool(_unseen(module))
    if double and not unseen:  # as its owner runs it, too
        check_agreement(graph, module, x, frozen, casts)
    with torch.no_grad():
        returned = _in_double(module, x, graph.name) if double and not casts else None
        double = returned is not None
        returned = _own_outputs(module, x, graph.name) if returned is None else returned
        own = returned.to(graph.output.bias.device, graph.dtype)
        values = graph.values(x.detach().to(own.device, graph.dtype))
    ours = values[-1]
    own = own.reshape(len(x), 1) if own.numel() == len(x) else own  # one number a point, squeezed or not
    if not torch.isfinite(ours).all():
        raise InvalidInput(
            "the network's outputs hold NaN or infinity", where=graph.name, todo="Training may have diverged"
        )
    if own.shape != ours.shape:
        raise InvalidInput(f"the module returns {tuple(own.shape)}, its graph {tuple(ours.shape)}", where=graph.name)
    dtypes = {returned.dtype} if double else {p.dtype for p in (x, *module.parameters()) if p.is_floating_point()}
    share, eps = _share(graph, dtypes | ({returned.dtype, *casts} & {torch.float32}), unseen)
    _compare(graph, module, x, own, values, (share, eps), frozen)
    if not unseen:  # whose hooks are asked about points of the region: check_hooks
        _compare_beside(graph, module, x, (share, eps), frozen, double)


def _in_double(module: nn.Module, x: Tensor, name: str) -> Tensor | None:
    """What the module returns with its weights in float64; None where it cannot be run so."""
    try:
        with in_double(module):
            found = _own_outputs(module, x.double(), name)
    except UnsteadyNetwork:
        raise
    except LipregError:
        return None
    return found if found.dtype == torch.float64 else None


def _share(graph: Graph, dtypes: set[torch.dtype], unseen: bool) -> tuple[float, float]:
    """Rounding in the module's own arithmetic, relative to the largest activation on the way, and that arithmetic's eps."""
    if any(isinstance(node, Curved) and isinstance(node.curve, Softplus) for node in graph.nodes):
        dtypes = dtypes | {torch.float32}  # torch's softplus steps to the identity by about that
    eps = max(torch.finfo(dtype).eps for dtype in dtypes)
    # what no graph sees is more than rounding sooner
    return (1e4 * (0.1 if unseen else 1.0) if eps < 1e-5 else 30) * eps, eps


def _compare(
    graph: Graph,
    module: nn.Module,
    x: Tensor,
    own: Tensor,
    values: Sequence[Tensor],
    rounding: tuple[float, float],
    frozen: Callable[[], Graph] | None,
    where: str = "",
) -> None:
    """Refuses outputs of the module that are not those of its graph, whose values at all nodes are given."""
    share, eps = rounding
    largest = max(float(value.abs().max()) for value in values)
    allowed, worst = share * largest, float((own - values[-1]).abs().max())
    if not worst <= allowed:
        exact = graph if frozen is None else frozen()
        allowed = max(allowed, share / eps * _spread(exact, x.detach().to(exact.device, exact.dtype), eps))
    if not worst <= allowed:
        how = f"differs from the module by {worst:.3g}{where}"
        _raise_disagreement(module, graph.name, how, f"rounding, {allowed:.3g}")


def _compare_beside(
    graph: Graph,
    module: nn.Module,
    x: Tensor,
    rounding: tuple[float, float],
    frozen: Callable[[], Graph] | None,
    double: bool,
) -> None:
    """Compares them at points around x, near and far, where other pieces of the network are at work.

    Points that the module does not take, or answers with NaN or infinity, say nothing.
    """
    draw, x = torch.Generator().manual_seed(0), x.detach()[:BESIDE]
    size = x.abs().amax().clamp(min=1.0)
    for far in AWAY:
        noise = torch.randn(x.shape, generator=draw, dtype=torch.float64).to(x.device, x.dtype)
        points = x + far * size * noise
        with torch.no_grad():
            try:
                own = (_in_double if double else _own_outputs)(module, points, graph.name)
            except UnsteadyNetwork:
                raise
            except LipregError:
                continue
            if own is None:
                continue
            values = graph.values(points.to(graph.device, graph.dtype))
        own = own.to(values[-1].device, values[-1].dtype).reshape(values[-1].shape)
        said = torch.isfinite(own).flatten(1).all(1) & torch.isfinite(values[-1]).flatten(1).all(1)
        if said.any():
            own, values, points = own[said], [value[said] for value in values], points[said]
            _compare(graph, module, points, own, values, rounding, frozen, " beside the points that were given")


def _spread(graph: Graph, x: Tensor, eps: float) -> float:
    """How far outputs move where every Affine node's sums are off by eps of their terms' magnitudes, of random signs.

    So what cancels counts with its own magnitude, and errors grow as the layers after them make them grow.
    """
    with torch.no_grad():
        last, generator = len(graph.nodes) - 1, torch.Generator().manual_seed(0)
        ours, moved = (
            graph.values(x)[last],
            [graph.forward({0: x}, Rounded(eps, generator))[last] for _ in range(TRIES)],
        )
        return max(float((values - ours).abs().max()) for values in moved)


def check_hooks(graph: Graph, module: nn.Module, points: Callable[[], Tensor]) -> None:
    """Compares a graph with a module that has hooks at points where these may act otherwise than at those of ``capture``.

    Raises:
        InvalidInput: they differ.

    Args:
        graph: frozen.
        module: what it was captured from.
        points: makes them, ``(k, *shape)``, where there are hooks.
    """
    if _unseen(module):
        drawn = points()
        own = next((p for p in module.parameters() if p.is_floating_point()), drawn)
        check_agreement(graph, module, drawn.to(own), double=True)


def _raise_disagreement(module: nn.Module, name: str, how: str, accepted: str) -> None:
    unseen, todo = _unseen(module), "State that torch.fx does not see? Please report this"
    if unseen:
        how += f". No graph sees what runs beside the forwards: {'; '.join(unseen)}"
        todo = (
            "Hooks that only look may stay; move what they do into a forward, and weights that they compute into a "
            "parametrization (torch.nn.utils.parametrize, torch.nn.utils.parametrizations)"
        )
    raise InvalidInput(f"the captured graph {how}", where=name, accepted=accepted, todo=todo)


def _unseen(module: nn.Module) -> list[str]:
    """What runs with the module and is in none of the forwards that are traced, by place and name."""
    found = []
    for path, part in module.named_modules():
        at = path or type(part).__name__
        found += [
            f"{at}: forward pre-hook {name_of(h)}" for h in part._forward_pre_hooks.values() if not computes_weights(h)
        ]
        found += [f"{at}: forward hook {name_of(h)}" for h in part._forward_hooks.values()]
        if "forward" in part.__dict__:
            found.append(f"{at}: a forward of its own, {name_of(part.__dict__['forward'])}")
    every = {**torch_modules._global_forward_pre_hooks, **torch_modules._global_forward_hooks}
    return found + [f"all modules: forward hook {name_of(hook)}" for hook in every.values()]


def _own_outputs(module: nn.Module, x: Tensor, name: str) -> Tensor:
    parts = list(module.modules())
    compiled = any(part._compiled_call_impl is not None or "_orig_mod" in part._modules for part in parts)
    # what is compiled would be compiled again for evaluation; importing the compiler takes seconds without need
    eager = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    with untouched_random_state() as drawn, untouched(parts), evaluation_mode(module), eager:
        try:
            found = module(x.clone()).detach().clone()  # a forward may write into what it is given
            # with whatever the first call has left behind; hooks, which may count or log, are not troubled twice
            again = found if _unseen(module) else module(x.clone()).detach()
        except InvalidInput:  # ours, which says what is wrong with the network or the points
            raise
        except Exception as error:
            raise UnsupportedModel(
                f"its own forward cannot be run to compare the graph with it: {type(error).__name__}: {error}",
                where=name,
                accepted="a network that takes the inputs alone",
            ) from error
        if drawn():
            raise no_network(name)
    if not torch.equal(found.nan_to_num(), again.nan_to_num()) and not torch.allclose(
        found, again, rtol=1e-4, atol=1e-6
    ):
        raise UnsteadyNetwork(
            "its forward gives the same points other outputs when it is called again, at evaluation too",
            where=name,
            accepted="a network with one output for each input, whatever was asked of it before",
            todo="Counters, caches and generators of random numbers may stay where they do not reach the output",
        )
    return found


# ---------------------------------------------------------------- watching


class Watch:
    """What decides which function a module computes, apart from its tensors, as it is now.

    That is its submodules, their classes and replaced forwards; the forward hooks; and attributes that are plain numbers
    or texts, which a trace holds as constants. A look at a small network takes a few microseconds.

    Args:
        module: what to watch.
        ignored: attributes to leave out, ``(number of the submodule, name)``.
    """

    def __init__(self, module: nn.Module, ignored: frozenset[tuple[int, str]] = frozenset()) -> None:
        self.ignored = ignored
        parts = list(module.modules())
        self._parts = [(m, type(m), dict(m._modules), m.__dict__.get("forward")) for m in parts]
        self._hooks = [(m._forward_hooks, dict(m._forward_hooks)) for m in parts]
        self._hooks += [(m._forward_pre_hooks, dict(m._forward_pre_hooks)) for m in parts]
        for hooks in (torch_modules._global_forward_hooks, torch_modules._global_forward_pre_hooks):
            self._hooks.append((hooks, dict(hooks)))
        self._plain = [
            (i, m.__dict__, name, value)
            for i, m in enumerate(parts)
            for name, value in m.__dict__.items()
            if type(value) in (bool, int, float, str) and name != "training" and (i, name) not in ignored
        ]

    def same_structure(self) -> bool:
        """Whether the submodules and the forwards are the same."""
        for part, kind, children, forward in self._parts:
            own = part.__dict__
            if type(part) is not kind or own["_modules"] != children or own.get("forward") is not forward:
                return False
        return True

    def same_hooks(self) -> bool:
        """Whether the forward hooks are the same."""
        return all([now == then for now, then in self._hooks])

    def changed(self) -> frozenset[tuple[int, str]]:
        """Attributes that are others than they were."""
        found = []
        for i, own, name, value in self._plain:
            now = own.get(name)
            if now is not value and (type(now) is not type(value) or now != value):
                found.append((i, name))
        return frozenset(found)
