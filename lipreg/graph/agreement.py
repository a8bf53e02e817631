"""Whether a captured graph is what its module computes: compared at points and around them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from lipreg.curves import Softplus
from lipreg.errors import InvalidInput, LipregError
from lipreg.graph.module_state import computes_weights, in_double, qualified_name
from lipreg.graph.network import Graph
from lipreg.graph.nodes import Curved
from lipreg.graph.own_outputs import UnsteadyNetwork, own_outputs
from lipreg.graph.random_state import no_network, untouched_random_state
from lipreg.graph.rounded import Rounded

BESIDE, AWAY = 16, (0.1, 1.0, 10.0)
"""How many points a graph is also compared around, at most, and how far from them, in units of their size, at least 1."""
TRIES = 4
"""Random roundings of a graph, by which the effect of rounding on its outputs is judged."""


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
            in its weights; called where they seem to differ.
        casts: other dtypes that its forward works in on the way, whose rounding counts as well.
        double: also run the module with its weights in float64, wherever it can be run so: differences far smaller than
            the rounding of its own dtype are seen then.

    Raises:
        InvalidInput: they differ by more than rounding in the module's dtype; the message names hooks and replaced
            forwards. Or the weights hold NaN.
        UnsupportedModel: the module cannot be run at x alone.
    """
    with untouched_random_state() as random:
        try:
            _compare(graph, module, x, frozen, set(casts), double)
        except LipregError:
            if not random.drawn():
                raise
    if random.drawn():
        raise no_network(graph.name)


def _compare(
    graph: Graph,
    module: nn.Module,
    x: Tensor,
    frozen: Callable[[], Graph] | None,
    casts: set[torch.dtype],
    double: bool,
) -> None:
    """``check_agreement`` but for the random states."""
    unseen = bool(_unseen(module))
    own = {p.dtype for p in (x, *module.parameters()) if p.is_floating_point()}
    ways = [_Way(graph, module, frozen, own, casts, unseen)]
    # buffers count as well here: with all of it in float64 the second way would be the first
    if double and not casts and own | {b.dtype for b in module.buffers() if b.is_floating_point()} != {torch.float64}:
        way = _Way(graph, module, frozen, {torch.float64}, set(), unseen, double=True)
        if way.outputs(x) is not None:  # hooks, which may count or log, run in one way alone
            ways = [way] if unseen else [*ways, way]
    with torch.no_grad():
        values = graph.values(x.detach().to(graph.device, graph.dtype))
    if not torch.isfinite(values[-1]).all():
        raise InvalidInput(
            "the network's outputs hold NaN or infinity", where=graph.name, todo="Training may have diverged"
        )
    for way in ways:
        way.compare(x, values)
    if not unseen:  # hooks are compared at points of the region instead, by check_hooks
        ways[-1].compare_beside(x)


class _Way:
    """A way to run the module beside its graph, and the rounding that it may differ by.

    Args:
        graph, module, frozen, casts: as for ``check_agreement``.
        dtypes: those that it computes in.
        unseen: whether hooks or replaced forwards run with it.
        double: with its weights in float64.
    """

    def __init__(
        self,
        graph: Graph,
        module: nn.Module,
        frozen: Callable[[], Graph] | None,
        dtypes: set[torch.dtype],
        casts: set[torch.dtype],
        unseen: bool,
        double: bool = False,
    ) -> None:
        self.graph, self.module, self.frozen, self.double = graph, module, frozen, double
        self.dtypes, self.casts, self.unseen = dtypes, casts, unseen
        self._at: tuple[Tensor, Tensor | None] | None = None

    def outputs(self, x: Tensor) -> Tensor | None:
        """What the module returns; None where it cannot be run in double. For the same tensor it is run once.

        Raises:
            UnsupportedModel: the module cannot be run at x alone.
        """
        if self._at is None or self._at[0] is not x:
            self._at = x, self._run(x)
        return self._at[1]

    def _run(self, x: Tensor) -> Tensor | None:
        again = not self.unseen  # hooks, which may count or log, are not called twice
        with torch.no_grad():
            if not self.double:
                return own_outputs(self.module, x, self.graph.name, again)
            try:
                with in_double(self.module):
                    outputs = own_outputs(self.module, x.double(), self.graph.name, again)
            except UnsteadyNetwork:
                raise
            except LipregError:
                return None
            return outputs if outputs.dtype == torch.float64 else None

    def compare(self, x: Tensor, values: Sequence[Tensor]) -> None:
        """Refuses outputs at x that are not those of the graph, whose values at all nodes are given.

        Raises:
            InvalidInput: they differ by more than rounding.
        """
        returned, ours = self.outputs(x), values[-1]
        assert returned is not None
        own = returned.to(ours.device, ours.dtype)
        own = own.reshape(len(x), 1) if own.numel() == len(x) else own  # one number a point, squeezed or not
        if own.shape != ours.shape:
            got = f"the module returns {tuple(own.shape)}, its graph {tuple(ours.shape)}"
            raise InvalidInput(got, where=self.graph.name)
        self._within_rounding(x, own, values, returned.dtype, "")

    def compare_beside(self, x: Tensor) -> None:
        """Compares at points around x, near and far, which lie in other linear pieces of the network.

        Points that the module does not take, or answers with NaN or infinity, are passed over.
        """
        draw, x = torch.Generator().manual_seed(0), x.detach()[:BESIDE]
        size = x.abs().amax().clamp(min=1.0)
        noise = (torch.randn(x.shape, generator=draw, dtype=torch.float64).to(x.device, x.dtype) for _ in AWAY)
        parts = [x + far * size * drawn for far, drawn in zip(AWAY, noise, strict=True)]
        together = self._answers(torch.cat(parts))  # a call costs as much as many points of a small module
        if together is not None and together.shape[:1] == (len(parts) * len(x),):
            answers = list(together.split(len(x)))
        else:  # it takes so many points alone, or not those that are far away
            answers = [self._answers(points) for points in parts]
        with torch.no_grad():
            every = self.graph.values(torch.cat(parts).to(self.graph.device, self.graph.dtype))
        values = zip(*(value.split(len(x)) for value in every), strict=True)
        for points, answer, ours in zip(parts, answers, values, strict=True):
            if answer is not None:
                self._compare_finite(points, answer, ours)

    def _answers(self, points: Tensor) -> Tensor | None:
        """What the module returns; None where it does not take the points."""
        try:
            return self._run(points)
        except UnsteadyNetwork:
            raise
        except LipregError:
            return None

    def _compare_finite(self, points: Tensor, returned: Tensor, values: Sequence[Tensor]) -> None:
        own = returned.to(values[-1].device, values[-1].dtype).reshape(values[-1].shape)
        finite = torch.isfinite(own).flatten(1).all(1) & torch.isfinite(values[-1]).flatten(1).all(1)
        if not finite.any():
            return
        if not finite.all():
            points, own, values = points[finite], own[finite], [value[finite] for value in values]
        self._within_rounding(points, own, values, returned.dtype, " beside the points that were given")

    def _within_rounding(
        self, x: Tensor, own: Tensor, values: Sequence[Tensor], returned: torch.dtype, where: str
    ) -> None:
        share, eps = self._rounding(returned)
        largest = max(float(value.abs().max()) for value in values)
        allowed, worst = share * largest, float((own - values[-1]).abs().max())
        if not worst <= allowed:
            exact = self.graph if self.frozen is None else self.frozen()
            allowed = max(
                allowed, share / eps * _propagated_rounding(exact, x.detach().to(exact.device, exact.dtype), eps)
            )
        if not worst <= allowed:
            how = f"differs from the module by {worst:.3g}{where}"
            _raise_disagreement(self.module, self.graph.name, how, f"rounding, {allowed:.3g}")

    def _rounding(self, returned: torch.dtype) -> tuple[float, float]:
        """How far the module's own arithmetic may be off, relative to the largest activation on the way, and its eps."""
        dtypes = self.dtypes | (
            {returned, *self.casts} & {torch.float32}
        )  # a module in double precision may return single
        if any(isinstance(node, Curved) and isinstance(node.curve, Softplus) for node in self.graph.nodes):
            dtypes = dtypes | {torch.float32}  # torch's softplus steps to the identity by about that
        eps = max(torch.finfo(dtype).eps for dtype in dtypes)
        # of hooks, which no graph sees, less is put down to rounding
        return (1e4 * (0.1 if self.unseen else 1.0) if eps < 1e-5 else 30) * eps, eps


def _propagated_rounding(graph: Graph, x: Tensor, eps: float) -> float:
    """How far outputs move if the sums of every Affine node are off by eps times their terms' magnitudes, of random signs.

    So terms that cancel count with their own magnitudes, and errors grow as the layers behind them make them grow.
    """
    with torch.no_grad():
        last, generator = len(graph.nodes) - 1, torch.Generator().manual_seed(0)
        ours, perturbed = (
            graph.values(x)[last],
            [graph.forward({0: x}, Rounded(eps, generator))[last] for _ in range(TRIES)],
        )
        return max(float((values - ours).abs().max()) for values in perturbed)


def check_hooks(graph: Graph, module: nn.Module, points: Callable[[], Tensor]) -> None:
    """Compares a graph with a module that has hooks, at points where these may act otherwise than at those of ``capture``.

    Args:
        graph: frozen.
        module: what it was captured from.
        points: makes the points, ``(k, *shape)``; called only where there are hooks.

    Raises:
        InvalidInput: they differ.
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
    """The hooks and replaced forwards that run with the module and are in no forward that is traced, by place and name."""
    places = []
    for path, part in module.named_modules():
        at = path or type(part).__name__
        places += [
            f"{at}: forward pre-hook {qualified_name(h)}"
            for h in part._forward_pre_hooks.values()
            if not computes_weights(h)
        ]
        places += [f"{at}: forward hook {qualified_name(h)}" for h in part._forward_hooks.values()]
        if "forward" in part.__dict__:
            places.append(f"{at}: a forward of its own, {qualified_name(part.__dict__['forward'])}")
    every = {**torch_modules._global_forward_pre_hooks, **torch_modules._global_forward_hooks}
    return places + [f"all modules: forward hook {qualified_name(hook)}" for hook in every.values()]
