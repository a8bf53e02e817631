"""Whether a captured graph is what its module computes: compared at points, and what could change it is watched."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from lipreg.curves import Softplus
from lipreg.errors import InvalidInput, UnsupportedModel
from lipreg.graph.module_state import computes_weights, evaluation_mode, name_of, untouched
from lipreg.graph.network import Graph
from lipreg.graph.nodes import Curved
from lipreg.graph.random_state import no_network, untouched_random_state
from lipreg.graph.rounded import Rounded

"""Forward pre-hooks of torch that compute a weight from other parameters, and do nothing else."""
TRIES = 4
"""Random roundings of a graph that say what rounding does to its outputs."""


# ---------------------------------------------------------------- comparing


def check_agreement(
    graph: Graph,
    module: nn.Module,
    x: Tensor,
    frozen: Callable[[], Graph] | None = None,
    casts: Iterable[torch.dtype] = (),
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

    Raises:
        InvalidInput: they differ by more than rounding in the module's dtype; the message names hooks and replaced
            forwards. Or the weights hold NaN.
        UnsupportedModel: the module cannot be run at x alone.
    """
    with torch.no_grad():
        returned = _own_outputs(module, x, graph.name)
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
    # rounding in the module's own arithmetic, relative to the largest activation on the way
    dtypes = {p.dtype for p in (x, *module.parameters()) if p.is_floating_point()}
    dtypes |= {returned.dtype, *casts} & {torch.float32}  # a network in double precision may return single
    if any(isinstance(node, Curved) and isinstance(node.curve, Softplus) for node in graph.nodes):
        dtypes |= {torch.float32}  # torch's softplus steps to the identity by about that
    eps = max(torch.finfo(dtype).eps for dtype in dtypes)
    largest = max(float(value.abs().max()) for value in values)
    unseen = 0.1 if _unseen(module) else 1.0  # what no graph sees is more than rounding sooner
    share = (1e4 * unseen if eps < 1e-5 else 30) * eps
    allowed, worst = share * largest, float((own - ours).abs().max())
    if not worst <= allowed:
        exact = graph if frozen is None else frozen()
        allowed = max(allowed, share / eps * _spread(exact, x.detach().to(exact.device, exact.dtype), eps))
    if not worst <= allowed:
        _raise_disagreement(module, graph.name, f"differs from the module by {worst:.3g}", f"rounding, {allowed:.3g}")


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


def check_hooks(graph: Graph, module: nn.Module, points: Tensor) -> None:
    """Compares a graph with a module that has hooks at points where these may act otherwise than at those of ``capture``.

    Raises:
        InvalidInput: they differ.

    Args:
        graph: frozen.
        module: what it was captured from.
        points: ``(k, *shape)``.
    """
    if _unseen(module):
        own = next((p for p in module.parameters() if p.is_floating_point()), points)
        check_agreement(graph, module, points.to(own))


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
            found = module(x).detach().clone()
            # with whatever the first call has left behind; hooks, which may count or log, are not troubled twice
            again = found if _unseen(module) else module(x).detach()
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
        raise UnsupportedModel(
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
