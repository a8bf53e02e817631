"""LipschitzPenalty: weight * penalty(bounds of a batch) as a term of any training loss, with all the state it keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.arguments import moved_arguments, moved_options
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.estimators import Bound, Constants, Step, differentiable_bound, differentiable_names, live_analysis
from lipreg.graph import CapturedNetwork, Graph, ReluChain, capture, chain_of, fixed_chain, unwrap
from lipreg.linalg import PowerIteration
from lipreg.options import check_count, check_number
from lipreg.penalties import PENALTIES, Penalty, get_penalty
from lipreg.points import Points, Which, moved_points
from lipreg.problem import LocalLipschitz
from lipreg.schedules import SCHEDULES, Moment, Schedule, get_schedule
from lipreg.training.points import ChosenPoints, of_calls
from lipreg.training.sizes import FiniteTerms, warn_if_coarse

CHECK_EVERY = 256
"""Evaluations between two comparisons of the graph with the network's own forward, where no change is noticed."""


@dataclass(frozen=True)
class Evaluation:
    """What the last evaluation found, without gradient.

    Attributes:
        bounds: upper bounds at the points, ``(points,)``.
        penalty: their penalty, without the weight.
        weight: the weight it was given, without ``every``.
    """

    bounds: Tensor
    penalty: Tensor
    weight: float


class LipschitzPenalty:
    """weight * factor * every * penalty(B_1, ..., B_points), B_i an upper bound on the local constant at point i.

        penalty = LipschitzPenalty(net, problem, weight=1e-3)
        loss = cross_entropy(net(x), y) + penalty(x, y)

    Bounds are those of ``lipreg.estimate``, in evaluation mode (dropout off, and batch norm by its running statistics:
    ``capture(..., running_statistics=True)``, because a step itself runs in training mode) and in float32 outside of
    autocast (float64 for float64 parameters); for networks without branches, of affine layers (linear, convolution, batch
    norm, average pool) and ReLUs, a closed form of them, which costs a fraction. Gradients reach the parameters, not the
    inputs; modes and global random states stay as they are. The network is traced at the first batch; its weights are read
    anew at every evaluation.

    Args:
        network: what the bounds are about, wrapped (``DistributedDataParallel``, Fabric, ``torch.compile``,
            ``AveragedModel``) or not; the attribute may be replaced. None: set it before the first call.
        problem: the question: region, output functional, scope and norms.
        bound: what is penalised: a differentiable estimator's recipe, or its name for the recipe with its defaults. In
            l_inf, "ball" pre-activations add nothing to "interval"; "crown" tightens a little and costs more than all the
            rest. ``spectral_norms="estimate"``, the default, is a warm-started step of power iteration for p = 2: it lies
            a little below the norm, so that the bound is none, only its estimate.
        weight: >= 0, in loss per unit of penalty. The attribute may be changed during training.
        penalty: what becomes of the bounds: "mean", "log", "layer_sum" or another name of ``lipreg.penalties``; an object
            of there, such as ``Hinge(target=5.0)``; or one as plain data, ``{"kind": "hinge", "target": 5.0}``.
        schedule: what becomes of the weight: "constant", "linear", "cosine" or another name of ``lipreg.schedules``; an
            object of there, such as ``Linear(batches=500)``; or one as plain data.
        points: "all"; how many points of each batch, drawn anew for every batch; a fixed set, x or (x, y); or a ``Points``,
            which has the seed of the draws, by a generator of this object's own, and the ``ignore_index``, too.
        every: evaluate at the first of every so many batches, with so many times the weight, and add nothing at the
            others: on average the same gradient, at a fraction of the time.
        where: what error messages call it.

    Raises:
        InvalidInput: an argument out of range or an unknown name.
        UnsupportedRequest: the bound does not cover the problem, cannot be differentiated, or has no layers; at the first
            batch, it does not cover the network.
    """

    @moved_arguments(
        moved_options("penalty", PENALTIES, "mean"),
        moved_options("schedule", SCHEDULES, "constant"),
        moved_points("seed", "ignore_index"),
    )
    def __init__(
        self,
        network: nn.Module | None,
        problem: LocalLipschitz,
        *,
        bound: str | Bound = "affine_relu",
        weight: float = 1e-2,
        penalty: str | Penalty | Mapping[str, Any] = "mean",
        schedule: str | Schedule | Mapping[str, Any] = "constant",
        points: Which | Points = "all",
        every: int = 1,
        where: str = "LipschitzPenalty",
    ) -> None:
        if not isinstance(problem, LocalLipschitz):
            raise InvalidInput(f"problem={problem!r}", where=where, accepted="a LocalLipschitz")
        check_number(weight, "weight", where, low=0.0)
        check_count(every, "every", where)
        self.points = ChosenPoints(of_calls(Points.of(points, where), where))
        self.bound = Bound.of(bound, f"{where}.bound", differentiable_names())
        self.estimator = differentiable_bound(self.bound.estimator)
        self.estimator.check(problem)
        self.penalty = get_penalty(penalty)
        if self.penalty.layered and not self.estimator.layered:
            raise UnsupportedRequest(
                f"penalty {self.penalty.name!r} of {self.estimator.name!r}, which is no product over layers",
                where=where,
                accepted="affine_relu",
            )
        self.schedule = get_schedule(schedule)
        self.network, self.problem, self.weight, self.every = network, problem, weight, every
        self.last: Evaluation | None = None
        """What the last evaluation found; None when nothing was computed."""
        self._batch, self._factor = -1, 1.0
        self._agreed: float | None = None  # mean bound of the last batch over all processes
        estimated = self.bound.spectral_norms == "estimate"
        self.power = PowerIteration(shared=self.points.fixed is None) if estimated else None
        self._captured: CapturedNetwork | None = None
        self._chain: ReluChain | None = None
        self._trace: Any = None  # what the chain was read from
        self._constants = Constants()
        self._checks = 0
        self._finite = FiniteTerms()
        self._where: str | None = where  # until the sizes of the inputs have been looked at

    def __call__(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The term for a new batch, to add to its loss.

        Args:
            x: inputs ``(batch, *shape)``.
            y: class labels ``(batch,)``, where the output functional needs them.

        Returns:
            A scalar; 0 without gradient where the weight is 0, at the batches that ``every`` leaves out, and where no point
            has a label that the functional needs.

        Raises:
            InvalidInput: inputs outside the region's data range or of integers, or labels missing.
            UnsupportedModel: at the first batch, calls in the network that no graph covers.
        """
        self.next_batch()
        term = self.term(x, y)
        return torch.zeros((), device=x.device) if term is None else term

    @property
    def current_weight(self) -> float:
        """The weight at this batch: ``weight`` times the schedule's factor."""
        return float(self.weight) * self._factor

    @property
    def due(self) -> bool:
        """Whether this batch is one that ``every`` takes."""
        return self._batch % self.every == 0

    def next_batch(self, *, batches: int | None = None, rank: int = 0) -> None:
        """Moves on to the next training batch: new points, and the schedule's next factor. ``__call__`` does it.

        Args:
            batches: how many batches training has in all, if that is known.
            rank: number of this process; each process draws points of its own.
        """
        bound = self._mean_bound() if self.schedule.follows_bound and self._batch >= 0 else None
        self._batch += 1
        self._where = self._where if rank == 0 else None
        self._factor = self.schedule.factor(Moment(self._batch, batches, self._factor, bound))
        self.last = self._agreed = None
        if self.due:
            self.points.next(rank)

    def end_batch(self, mean: Callable[[float], float]) -> None:
        """After a batch in several processes: they follow one bound, and checkpoints hold it; ``mean`` is over them."""
        if self.schedule.follows_bound:
            self._agreed = mean(float("nan") if (bound := self._mean_bound()) is None else bound)

    def _mean_bound(self) -> float | None:
        """Of the last batch, over all processes where they agreed on it; None where it is not known."""
        own = None if self.last is None else float(self.last.bounds.mean())
        return own if self._agreed is None else self._agreed

    def term(self, x: Tensor, y: Tensor | None = None, *, log_only: bool = False) -> Tensor | None:
        """The term at the batch of the last ``next_batch``; None where ``__call__`` gives 0.

        Args:
            x, y: as for ``__call__``.
            log_only: compute ``last`` with weight 0 too, without gradient.
        """
        weight = self.current_weight
        if not self.due or (weight == 0 and not log_only):
            self.last = None
            return None
        with torch.no_grad() if weight == 0 else nullcontext():
            chosen = self.points.of(x, y, self.problem.output)
            if chosen is None:  # no point of the batch has a label
                self.last = None
                return None
            bounds, penalty = self._evaluate(*chosen)
        self.last = Evaluation(bounds.detach(), penalty.detach(), weight)
        if weight == 0:
            return None
        term = weight * self.every * penalty
        assert self.network is not None
        self._finite.check(term, self.network, f"penalty {self.penalty.name!r} of {self.bound.label}")
        return term

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs to go on as if it had not stopped; tensors and plain numbers."""
        return {
            "weight": float(self.weight),  # not taken over: it tells what a checkpoint was trained with
            "generator": self.points.generator.get_state(),
            "batch": self._batch,
            "factor": self._factor,
            "bound": self._mean_bound(),
            "points": self.points.fixed,
            "vectors": {} if self.power is None else dict(self.power.vectors),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""
        self.points.generator.set_state(state["generator"].cpu())
        self._batch, self._factor, self.points.fixed = state["batch"], state["factor"], state["points"]
        if self.power is not None:
            self.power.vectors = dict(state["vectors"])
        # all that a schedule asks of the last batch
        self.last, self._agreed = None, state["bound"]

    def held(self) -> list[Tensor]:
        """What it keeps in memory between steps, apart from fixed points."""
        vectors = [] if self.power is None else [*self.power.vectors.values(), *self.power.probes.values()]
        return vectors if self._chain is None else [*vectors, *(layer.size for layer in self._chain.layers)]

    def release(self) -> None:
        """Forgets the network and what was read of it."""
        self.network = self._captured = self._chain = self._trace = None

    def _evaluate(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Upper bounds at the points, ``(points,)``, and their penalty."""
        if self.network is None:
            raise InvalidInput("no network", where="LipschitzPenalty", accepted="a torch.nn.Module as network")
        autocast = torch.is_autocast_enabled(x.device.type)
        with torch.autocast(x.device.type, enabled=False) if autocast else nullcontext():
            captured = self._capture(self.network, x)
            if self._where is not None and len(x):
                warn_if_coarse(self.problem, x, self._dtype(captured, x), self._where)
                self._where = None
            chain, graph = self._chain, None
            if chain is None:
                graph = self._lower(captured, x)
                chain = chain_of(graph)
            if chain is not None and not self.penalty.layered:
                asked = self.problem, x, y, self.bound.methods, self.power, self._constants
                bounds = self.estimator.closed_form(Step(chain, *asked))
                if bounds is not None:
                    return bounds, self.penalty(bounds)
            graph = self._lower(captured, x) if graph is None else graph
            analysis = live_analysis(graph, self.problem, x.detach(), y, self.estimator, self.bound.methods, self.power)
            if not self.penalty.layered:
                bounds = self.estimator.bound(analysis)
                return bounds, self.penalty(bounds)
            factors = self.estimator.factors(analysis)
            with torch.no_grad():
                bounds = self.estimator.bound(analysis)
            return bounds, self.penalty(factors)

    def _capture(self, network: nn.Module, x: Tensor) -> CapturedNetwork:
        """The network's structure: read once, and again if another network or input shape takes its place.

        It is compared with the network's own forward at the first batch and when something about it has changed; and now
        and then, for what nobody can watch.
        """
        own = unwrap(network)
        known = self._captured
        if known is None or known.module is not own or known.input_shape != tuple(x.shape[1:]):
            # a step runs in training mode; the penalty is on the function that will be used
            known = self._captured = capture(own, x, running_statistics=True)
        if len(x):
            known.check(x, anew=self._checks % CHECK_EVERY == 0)
            self._checks += 1
        if known.trace is not self._trace or (self._chain is not None and not self._chain.is_current()):
            with torch.no_grad():
                self.estimator.check(self.problem, self._lower(known, x))
            self._chain, self._trace = fixed_chain(known), known.trace
        return known

    @classmethod
    def _lower(cls, captured: CapturedNetwork, x: Tensor) -> Graph:
        return captured.live(cls._dtype(captured, x))

    @staticmethod
    def _dtype(captured: CapturedNetwork, x: Tensor) -> torch.dtype:
        return torch.promote_types(next(captured.module.parameters(), x).dtype, torch.float32)
