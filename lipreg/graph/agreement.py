"""Whether a captured graph is what its module computes: compared at points, and what could change it is watched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from lipreg.errors import InvalidInput, UnsupportedModel
from lipreg.graph.network import Graph
from lipreg.graph.random_state import untouched_random_state
from lipreg.graph.rounded import Rounded

_OF_WEIGHTS = (SpectralNorm, WeightNorm, BasePruningMethod)
"""Forward pre-hooks of torch that compute a weight from other parameters, and do nothing else."""
TRIES = 4
"""Random roundings of a graph that say what rounding does to its outputs."""


# ---------------------------------------------------------------- comparing


def check_agreement(graph: Graph, module: nn.Module, x: Tensor, frozen: Callable[[], Graph] | None = None) -> None:
    """Compares a graph with the module's own evaluation-mode forward at x, hooks and all.

    What belongs to the module is left as it was: modes, buffers, attributes that its forward sets, the global random
    states. Its hooks run once.

    Args:
        graph: live or frozen.
        module: what it was captured from.
        x: points ``(batch, *shape)`` in the dtype and on the device that the module takes.
        frozen: makes the frozen graph of the module where ``graph`` is a live one, which does not know what has cancelled
            in its weights; asked where they seem to differ.

    Raises:
        InvalidInput: they differ by more than rounding in the module's dtype; the message names hooks and replaced
            forwards. Or the weights hold NaN.
        UnsupportedModel: the module cannot be run at x alone.
    """
    with torch.no_grad():
        own = _own_outputs(module, x, graph.name).to(graph.output.bias.device, graph.dtype)
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
    eps = max(torch.finfo(p.dtype).eps for p in (x, *module.parameters()) if p.is_floating_point())
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
        found += [f"{at}: forward pre-hook {_name(h)}" for h in part._forward_pre_hooks.values() if not _known(h)]
        found += [f"{at}: forward hook {_name(h)}" for h in part._forward_hooks.values()]
        if "forward" in part.__dict__:
            found.append(f"{at}: a forward of its own, {_name(part.__dict__['forward'])}")
    every = {**torch_modules._global_forward_pre_hooks, **torch_modules._global_forward_hooks}
    return found + [f"all modules: forward hook {_name(hook)}" for hook in every.values()]


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", type(function).__name__)


def _known(hook: Any) -> bool:
    return isinstance(hook, _OF_WEIGHTS)


def _own_outputs(module: nn.Module, x: Tensor, name: str) -> Tensor:
    parts = list(module.modules())
    compiled = any(part._compiled_call_impl is not None or "_orig_mod" in part._modules for part in parts)
    # what is compiled would be compiled again for evaluation; importing the compiler takes seconds without need
    eager = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    with untouched_random_state(), _untouched(parts), evaluation_mode(module), eager:
        try:
            return module(x).detach()
        except InvalidInput:  # ours, which says what is wrong with the network or the points
            raise
        except Exception as error:
            raise UnsupportedModel(
                f"its own forward cannot be run to compare the graph with it: {type(error).__name__}: {error}",
                where=name,
                accepted="a network that takes the inputs alone",
            ) from error


@contextmanager
def _untouched(parts: list[nn.Module]) -> Iterator[None]:
    """Restores attributes and buffers of modules after the block: some forwards count, cache or average."""
    attributes = [(part, dict(part.__dict__), dict(part._buffers)) for part in parts]
    buffers = [b for _, _, own in attributes for b in own.values() if b is not None]
    values = [(buffer, buffer._version, buffer.clone()) for buffer in buffers]
    try:
        yield
    finally:
        for part, before, own in attributes:
            for name in [name for name in part.__dict__ if name not in before]:
                del part.__dict__[name]
            part.__dict__.update(before)
            if part._buffers != own:
                part._buffers.clear()
                part._buffers.update(own)
        for buffer, version, value in values:
            if buffer._version != version:
                buffer.copy_(value)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; each submodule's own mode is restored after it."""
    modes = {m: m.training for m in module.modules()}
    for m in modes:
        m.training = False
    try:
        yield
    finally:
        for m, mode in modes.items():
            m.training = mode


# ---------------------------------------------------------------- weights that hooks compute


@contextmanager
def computed_weights(module: nn.Module) -> Iterator[None]:
    """Weights that torch's old hooks compute at each forward, computed anew for the block, with their gradient.

    These are ``torch.nn.utils.spectral_norm`` and ``weight_norm``, and pruning masks. Outside of the block the
    attributes are what they were: at best the weights of the last forward, whose graph its backward has used up.

    Raises:
        UnsupportedModel: another forward pre-hook on a module whose weight or bias is a plain tensor, which it may
            compute.
    """
    before: list[tuple[nn.Module, str, Any]] = []
    try:
        for path, part in module.named_modules():
            hooks = part._forward_pre_hooks
            for hook in hooks.values() if hooks else ():
                if _known(hook):
                    name = str(getattr(hook, "_tensor_name" if isinstance(hook, BasePruningMethod) else "name"))
                    before.append((part, name, part.__dict__.get(name)))
                    hook(part, ())
            plain = (
                [name for name in ("weight", "bias") if isinstance(part.__dict__.get(name), Tensor)] if hooks else ()
            )
            for name in set(plain) - {name for own, name, _ in before if own is part}:
                raise UnsupportedModel(
                    f"its {name} is a plain tensor, computed at each forward by "
                    f"{' or '.join(_name(hook) for hook in hooks.values())}",
                    where=path or type(part).__name__,
                    accepted="weights that are computed when they are read",
                    todo="Use torch.nn.utils.parametrize.register_parametrization, or one of "
                    "torch.nn.utils.parametrizations",
                )
        yield
    finally:
        for part, name, value in before:
            if value is None:
                part.__dict__.pop(name, None)
            else:
                part.__dict__[name] = value


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
