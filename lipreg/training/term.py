"""LipschitzPenalty: weight * penalty(values of a batch) as a term of any training loss, with all the state it keeps."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.arguments import moved_arguments, moved_options
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.estimators import Bound, Constants, differentiable_names
from lipreg.estimators.asked import check_term
from lipreg.linalg import PowerIteration
from lipreg.options import check_count
from lipreg.penalties import PENALTIES, Penalty, get_penalty
from lipreg.points import Points, Which, moved_points
from lipreg.problem import LocalLipschitz
from lipreg.quantities import LiveNetwork, Quantity, Query, UpperBound, get_quantity
from lipreg.results import Certificate
from lipreg.schedules import SCHEDULES, Moment, Schedule, get_schedule
from lipreg.training.auto import Auto, Total, missing_loss, over_processes, settled
from lipreg.training.evaluation import Evaluation
from lipreg.training.points import PointSelection, per_call_points
from lipreg.training.sizes import FiniteTerms, warn_if_coarse


class LipschitzPenalty:
    """weight * factor * every * penalty(B_1, ..., B_points), B_i an upper bound on the local constant at point i.

        penalty = LipschitzPenalty(net, problem, weight=1e-3)
        loss = cross_entropy(net(x), y) + penalty(x, y)

    With ``quantity=`` B_i is another number, such as the norm of the Jacobian. Networks are taken in evaluation mode
    (dropout off, batch norm by its running statistics, because a step itself runs in training mode) and in float32 outside
    of autocast (float64 for float64 parameters). Bounds are those of ``lipreg.estimate``; for networks without branches, of
    affine layers (linear, convolution, batch norm, average pool) and ReLUs, a closed form of them, which costs a fraction.
    Gradients reach the parameters, not the inputs; modes and global random states stay as they are. The network is traced
    at the first batch; its weights are read anew at every evaluation.

    Args:
        network: what the bounds are about, bare or wrapped (``DistributedDataParallel``, Fabric, ``torch.compile``,
            ``AveragedModel``); the attribute may be replaced. None: set it before the first call.
        problem: the question: region, output functional, scope and norms.
        bound: what is penalised where no quantity is named; beside a quantity, what audits and comparisons measure the run
            by. A differentiable estimator's recipe, or its name for the recipe with its defaults. In l_inf, "ball"
            pre-activations add nothing to "interval"; "crown" tightens a little and costs more than all the rest.
            ``spectral_norms="estimate"``, the default, is a warm-started step of power iteration for p = 2, a little below
            the norm: the values are then estimates of the bound, and are logged and recorded as such.
        quantity: what is penalised in place of the bound: a name of ``lipreg.quantities`` ("jacobian"), an object of it,
            or one as plain data, ``{"kind": "pgd", "steps": 5}``. None for the bound.
        weight: >= 0, in loss per unit of penalty; or "auto", an ``Auto(fraction=...)``: by the loss's gradient at the first
            batch, for which the call gets ``loss=``. The attribute may be changed in training; it is 0 until computed.
        penalty: the number made of the values: "mean", "log", "layer_sum" or another name of ``lipreg.penalties``; an object
            of it, such as ``Hinge(target=5.0)``; or one as plain data, ``{"kind": "hinge", "target": 5.0}``.
        schedule: the factor of the weight: "constant", "linear", "cosine" or another name of ``lipreg.schedules``; an
            object of it, such as ``Linear(batches=500)``; or one as plain data.
        points: "all"; how many points of each batch, drawn anew for every batch; a fixed set, x or (x, y); or a ``Points``,
            which has the seed of the draws, by a generator of this object's own, and the ``ignore_index``, too.
        every: evaluate at one of so many batches, the first, with so many times the weight: on average the same gradient.
        where: its name in error messages.

    Raises:
        InvalidInput: an argument out of range or an unknown name.
        UnsupportedRequest: bound or quantity does not cover the problem, or has no layers; at the first batch, the network.
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
        quantity: str | Quantity | Mapping[str, Any] | None = None,
        weight: float | str | Auto | Mapping[str, Any] = 1e-2,
        penalty: str | Penalty | Mapping[str, Any] = "mean",
        schedule: str | Schedule | Mapping[str, Any] = "constant",
        points: Which | Points = "all",
        every: int = 1,
        where: str = "LipschitzPenalty",
    ) -> None:
        check_term(network, problem, where)
        check_count(every, "every", where)
        self._weight, self.auto = Auto.of(weight, where)
        self.points = PointSelection(settings := per_call_points(Points.of(points, where), where))
        self.bound = Bound.of(bound, f"{where}.bound", differentiable_names())
        default = UpperBound.of(self.bound)
        self.quantity: Quantity = default if quantity is None else get_quantity(quantity)
        self.certificate: Certificate = self.quantity.certificate(problem)
        self.penalty = get_penalty(penalty)
        default.check(problem)
        self.quantity.check(problem)
        bounding = self.quantity if isinstance(self.quantity, UpperBound) else None
        if self.penalty.layered and not (bounding and bounding.method.layered):
            got = f"penalty {self.penalty.name!r} of {self.quantity.label!r}, which is no product over layers"
            raise UnsupportedRequest(got, where=where, accepted="affine_relu")
        self.schedule = get_schedule(schedule)
        self.network, self.problem, self.every = network, problem, every
        self.last: Evaluation | None = None
        """The last evaluation; None where nothing was computed."""
        self._batch, self._factor = -1, 1.0
        self._agreed: float | None = None  # mean of the last batch's values over all processes
        estimated = bounding is not None and bounding.spectral_norms == "estimate"
        self.power = PowerIteration(shared=self.points.fixed is None) if estimated else None
        self._live, self._constants, self._finite = LiveNetwork(), Constants(), FiniteTerms(self.problem.region)
        self._drawn, self._seed = settings.seed or 0, 0
        self._where: str | None = where  # until the sizes of the inputs have been looked at

    def __call__(self, x: Tensor, y: Tensor | None = None, *, loss: Tensor | None = None) -> Tensor:
        """The term for a new batch, to add to its loss.

        Args:
            x: inputs ``(batch, *shape)``.
            y: class labels ``(batch,)``, where the output functional needs them; other targets, where the quantity is made
                of the loss.
            loss: the batch's own loss, for ``weight="auto"`` at the first batch; ignored later and otherwise. Processes of
                ``torch.distributed`` agree there, so all of them make the first call together.

        Returns:
            A scalar; 0 without gradient for weight 0, at the batches that ``every`` leaves out, and without labelled points.

        Raises:
            InvalidInput: inputs outside the region's data range or of integers, or labels missing.
            UnsupportedModel: at the first batch, calls in the network that no graph covers.
        """
        self.next_batch()
        term = self.term(x, y, loss=loss)
        return torch.zeros((), device=x.device) if term is None else term

    @property
    def weight(self) -> float:
        """The weight before the schedule's factor; of "auto" 0 until it is computed. It may be set during training."""
        return self._weight

    @weight.setter
    def weight(self, weight: float | str | Auto) -> None:
        """Sets a weight, as in the constructor."""
        self._weight, self.auto = Auto.of(weight, "LipschitzPenalty")

    @property
    def weight_pending(self) -> bool:
        """Whether it is "auto" and not computed yet."""
        return self.auto is not None and self._weight == 0

    @property
    def current_weight(self) -> float:
        """The weight at this batch: ``weight`` times the schedule's factor."""
        return float(self.weight) * self._factor

    @property
    def due(self) -> bool:
        """Whether this batch is one that ``every`` takes."""
        return self._batch % self.every == 0

    def needs_evaluation(self, log_only: bool = False) -> bool:
        """Whether anything is computed at this batch: it is due, and has a weight, or one that is to be computed."""
        weighed = self._factor > 0 if self.weight_pending else self.current_weight > 0
        return self.due and (weighed or log_only)

    def next_batch(self, *, batches: int | None = None, rank: int = 0) -> None:
        """Moves on to the next training batch: new points, and the schedule's next factor. ``__call__`` does it.

        Args:
            batches: how many batches training has in all; None where that is not known.
            rank: number of this process; each process draws points of its own.
        """
        bound = self._mean_bound() if self.schedule.follows_bound and self._batch >= 0 else None
        self._batch += 1
        self._seed = zlib.crc32(f"{self._drawn} {rank} {self._batch}".encode())  # a resumed training draws the same
        self._where = self._where if rank == 0 else None
        self._factor = self.schedule.factor(Moment(self._batch, batches, self._factor, bound))
        self.last = self._agreed = None
        if self.due:
            self.points.next(rank)

    def end_batch(self, mean: Callable[[float], float]) -> None:
        """Ends a batch of several processes, which then follow one bound and save it; ``mean`` is over them."""
        if self.schedule.follows_bound:
            self._agreed = mean(float("nan") if (bound := self._mean_bound()) is None else bound)

    def _mean_bound(self) -> float | None:
        """The mean bound of the last batch, over all processes where they agreed on it; None where it is not known."""
        mean = None if self.last is None else float(self.last.values.mean())
        return mean if self._agreed is None else self._agreed

    def term(
        self,
        x: Tensor,
        y: Tensor | None = None,
        *,
        log_only: bool = False,
        loss: Tensor | None = None,
        total: Total = over_processes,
    ) -> Tensor | None:
        """The term at the batch of the last ``next_batch``; None where ``__call__`` gives 0.

        Args:
            x, y, loss: as for ``__call__``.
            log_only: compute ``last`` with weight 0 too, without gradient.
            total: the sum over the processes, for a weight that is to be computed.
        """
        self.last, compute_weight = None, self.weight_pending and self._factor > 0
        if not self.needs_evaluation(log_only):
            return None
        if compute_weight and loss is None:
            raise missing_loss(type(self).__name__)
        compute_weight = compute_weight and settled(self._network())
        with torch.no_grad() if self.current_weight == 0 and not compute_weight else nullcontext():
            inputs = self.points.of(x, y, self.problem.output, self.penalty.reads_labels or self.quantity.reads_labels)
            evaluated = None if inputs is None else self._evaluate(*inputs)
        if compute_weight:
            assert self.auto is not None
            # a process whose points have no labels agrees, too
            self._weight = self.auto.weight(loss, evaluated and evaluated[1], self._network(), total) or 0.0
        if evaluated is None:
            return None
        (values, penalty), weight = evaluated, self.current_weight
        self.last = Evaluation(values.detach(), penalty.detach(), weight, self.quantity, self.certificate)
        if weight == 0:
            return None
        term = weight * self.every * penalty
        self._finite.check(term, self._network(), f"penalty {self.penalty.name!r} of {self.quantity.label}")
        return term

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs to go on as if it had not stopped; tensors and plain numbers."""
        return {
            "weight": float(self.weight),  # taken over where it was computed
            "found": self.auto is not None and not self.weight_pending,
            "generator": self.points.generator.get_state(),
            "batch": self._batch,
            "factor": self._factor,
            "bound": self._mean_bound(),
            "points": self.points.fixed,
            "vectors": {} if self.power is None else dict(self.power.vectors),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` returned."""
        self.points.generator.set_state(state["generator"].cpu())
        self._batch, self._factor, self.points.fixed = state["batch"], state["factor"], state["points"]
        if self.power is not None:
            self.power.vectors = dict(state["vectors"])
        if self.auto is not None and state.get("found"):
            self._weight = state["weight"]
        self.last, self._agreed = None, state["bound"]  # all that a schedule asks of the last batch

    def describe(self) -> dict[str, Any]:
        """What is penalised and how, as plain data, for records; ``weight`` is None until it is computed."""
        return {
            "quantity": self.quantity.label,
            "options": self.quantity.describe(),
            "certificate": str(self.certificate),
            "penalty": self.penalty.describe(),
            "schedule": self.schedule.describe(),
            "weight": None if self.weight_pending else float(self.weight),
            "auto": self.auto and self.auto.fraction,
            "points": self.points.description,
            "every": self.every,
        }

    def stored_tensors(self) -> list[Tensor]:
        """The tensors kept between steps, apart from fixed points."""
        vectors = [] if self.power is None else [*self.power.vectors.values(), *self.power.probes.values()]
        return vectors + self._live.stored_tensors()

    def release(self) -> None:
        """Forgets the network and what was read of it."""
        self.network = None
        self._live.release()

    def _evaluate(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """The quantity at the points, ``(points,)``, and its penalty."""
        network, quantity, device = self._network(), self.quantity, x.device.type
        with torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext():
            read = partial(self._live.read, network, x, partial(quantity.check, self.problem))
            query = Query(self.problem, network, x, y, read, self._constants, self.power, self._seed)
            if isinstance(quantity, UpperBound) and self._where is not None and len(x):
                warn_if_coarse(self.problem, x, query.dtype, self._where)
                self._where = None
            if self.penalty.layered:
                assert isinstance(quantity, UpperBound)
                values, factors = quantity.factors(query)
                return values, self.penalty(factors, query)
            values = quantity.values(query)
            return values, self.penalty(values, query)

    def _network(self) -> nn.Module:
        if self.network is None:
            raise InvalidInput("no network", where="LipschitzPenalty", accepted="a torch.nn.Module as network")
        return self.network
