"""Bounds without callbacks: of a batch as a tensor, or as certified intervals, from a module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from lipreg.arguments import check_functions
from lipreg.bounds import Analysis, GeneralPosition, analyse, find_degeneracies, without_pools
from lipreg.budget import Budget
from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.estimators.asked import check_problem, check_settings, tensors_of
from lipreg.estimators.base import ESTIMATORS, Estimator, PriorIntervals, Watch
from lipreg.estimators.bound_estimator import BoundEstimator
from lipreg.estimators.norm_equivalence import get_estimator
from lipreg.estimators.own_norms import IN_NORM
from lipreg.estimators.recipe import Bound
from lipreg.estimators.settings import DEFAULTS, Settings
from lipreg.estimators.usual import usual_intervals
from lipreg.graph import CapturedNetwork, Graph, capture, check_hooks, check_question, traced
from lipreg.linalg import PowerIteration
from lipreg.outputs import reads_no_values
from lipreg.problem import LocalLipschitz
from lipreg.regions.reference import check_reference_points
from lipreg.results import CertifiedInterval

Network = nn.Module | CapturedNetwork | Graph

SEEN = 16
"""Points of each region at which a module with hooks is compared with its graph."""
STEPS = 100
"""Steps of power iteration from a random start, for one evaluation alone."""


def estimate(
    network: Network,
    problem: LocalLipschitz,
    x: Tensor,
    y: Tensor | None = None,
    *,
    bound: str | Bound = "affine_relu",
) -> Tensor:
    """An upper bound on the local Lipschitz constant at each reference point, to backpropagate through.

    It is the bound that ``LipschitzPenalty`` penalises and that audits evaluate under the same ``bound``.

    Args:
        network: a module (captured at each call), a ``capture(module, x)`` (cheaper in a loop), or a Graph.
        problem: the question.
        x: reference points ``(batch, *shape)``.
        y: class labels ``(batch,)``, where the output functional needs them.
        bound: a differentiable estimator's recipe, or its name for the recipe with its defaults.

    Returns:
        ``(batch,)`` in the network's dtype and on its device. With float32 parameters it carries float32 rounding;
        ``certify`` works in float64. With p = 2 layer norms are estimates from below unless the recipe says
        ``spectral_norms="exact"``.

    Raises:
        UnsupportedRequest: the estimator is not differentiable or does not cover question and network.
        InvalidInput: the bound is beyond what the network's dtype, float16, can hold.
    """
    check_problem(problem, "estimate")
    x, y = tensors_of(x, y, "estimate")
    recipe = Bound.of(bound, "bound", differentiable_names())
    estimator = differentiable_bound(recipe.estimator)
    estimator.check(problem)
    graph = _live(network, x)
    estimator.check(problem, graph)
    power = PowerIteration(shared=False, first=STEPS) if recipe.spectral_norms == "estimate" else None
    bounds = estimator.bound(live_analysis(graph, problem, x, y, estimator, recipe.methods, power, recipe.memory))
    if bounds.dtype == torch.float16 and not bool(torch.isfinite(bounds).all()):
        most = f"{torch.finfo(bounds.dtype).max:,.0f}"
        todo = "float32 and bfloat16 can represent it: use network.float(). certify works in float64 in any case"
        raise InvalidInput(f"a bound above {most}", where="estimate", accepted=f"in float16 up to {most}", todo=todo)
    return bounds


def certify(
    network: Network,
    problem: LocalLipschitz,
    x: Tensor,
    y: Tensor | None = None,
    *,
    estimator: str | Bound | None = None,
    budget: Budget | float | None = None,
    settings: Settings | None = None,
    known: PriorIntervals = (),
    progress: Watch | None = None,
) -> list[CertifiedInterval]:
    """Certified intervals at each reference point, in float64 on the CPU, from any registered estimator.

    They speak of the function that the float64 copy of the weights defines in real arithmetic, not of a float32 program.

    Args:
        network, problem, x, y: as for ``estimate``; x and y may be arrays of numpy too.
        estimator: any registered name, or a recipe; ``"name@l2"`` for the method in l2 and a question in other norms. None
            takes what the usual ones that cover question and network prove together (``usual_estimators``): both ends,
            exact wherever an exact engine is among them.
        budget: the budget of the whole batch, a ``Budget`` or a number of seconds; default 60 seconds.
        settings: which engines serve, and the seed.
        known: prior intervals of the same question about the same network and points, one for each point; searches start
            from them.
        progress: a function that is called with the progress of a search.

    Raises:
        IncomparableResults: a known interval is of another network, point or question.
        UnsupportedRequest: the estimator does not cover question and network; raised before any bound is computed.
    """
    limit, choices = Budget.of(budget, "certify").started(), DEFAULTS if settings is None else settings
    check_problem(problem, "certify")
    check_settings(choices, "certify")
    check_functions("certify", progress=progress)
    if estimator is None:
        return usual_intervals(frozen_analysis(network, problem, x, y, budget=limit), limit, choices, known, progress)
    recipe = Bound.of(estimator, "estimator")
    method = get_estimator(recipe.estimator)
    method.check(problem)
    question = network, problem, x, y, recipe.methods
    analysis = frozen_analysis(*question, budget=limit, estimators=lambda _: (method,), once=True)
    return method.intervals(analysis, limit, choices, known, progress)


def general_position(
    network: Network,
    problem: LocalLipschitz,
    x: Tensor,
    y: Tensor | None = None,
    *,
    budget: Budget | float | None = None,
) -> list[GeneralPosition]:
    """Units that are degenerate at each reference point, by name, and what that means for exactness.

    Exact values need kinks in general position, which holds with probability 1 for weights drawn at random, and fails by
    construction: zero biases, copied units, relu(x) beside relu(-x). It is of use when a result is ``unconfirmed``, whose
    detail names the units too.

    Args:
        network, problem, x, y, budget: as for ``certify``; the bounds that show which units are unstable take half of the
            budget at most.
    """
    check_problem(problem, "general_position")
    limit = Budget.of(budget, "general_position").started()
    analysis = frozen_analysis(network, problem, x, y, where="general_position", budget=limit)
    points = range(analysis.placed.batch)
    return [find_degeneracies(without_pools(analysis[i : i + 1], limit)) for i in points]


def live_analysis(
    graph: Graph,
    problem: LocalLipschitz,
    x: Tensor,
    y: Tensor | None,
    estimator: BoundEstimator,
    preactivations: Sequence[str] | None = None,
    power: PowerIteration | None = None,
    memory: int | None = None,
) -> Analysis:
    """The analysis that a differentiable bound works from, in the arithmetic and on the device of a live graph.

    It carries gradients where the estimator's bound can have them.

    Args:
        graph: the live graph.
        problem: the question.
        x: reference points ``(batch, *shape)``.
        y: labels ``(batch,)``, where the functional needs them.
        estimator: the estimator whose bound is to be taken.
        preactivations: pre-activation methods; None for all.
        power: the power iteration that estimates the spectral norms of layers; None where they are to be exact.
        memory: bytes that linear forms may take at one node; None for no limit.
    """
    x = x.to(graph.dtype)
    graph.check_input(x)
    with torch.no_grad():
        outputs = x.new_zeros(len(x), *graph.output.shape) if reads_no_values(problem.output) else graph(x)
    placed, constant = (
        problem.place(x, outputs, y, graph.of),
        estimator.reads_masks_only and problem.scope == "regional",
    )
    options = {"power": power, "outward": False, "constant": constant, "memory": memory}
    return analyse(graph, placed, preactivations, **options)


def frozen_analysis(
    network: Network,
    problem: LocalLipschitz,
    x: Tensor,
    y: Tensor | None,
    preactivations: Sequence[str] | None = None,
    where: str = "certify",
    budget: Budget | None = None,
    estimators: Callable[[Graph], Iterable[Estimator]] = lambda _: (),
    once: bool = False,
) -> Analysis:
    """The float64 analysis on the CPU that estimators with certificates work from.

    A module is compared with its captured graph at x first.

    Args:
        network, problem, x, y: as for ``certify``.
        preactivations: pre-activation methods; None for all.
        where: the caller's name in error messages.
        budget: the budget of the caller, started; pre-activation bounds take half of the rest. None for no limit.
        estimators: the graph, to the estimators that are to work from the analysis: their ``check`` comes before any bound.
        once: whether points are read one after another, and once: then nothing is kept of those before.

    Raises:
        InvalidInput: x and y are no reference points and labels, or the network is a live graph.
        UnsupportedRequest: one of the estimators does not cover question and network.
    """
    x, y = tensors_of(x, y, where)
    structure, module = structure_of(network, x, y, where, traced), None
    if isinstance(structure, Graph):
        graph = structure
        if graph.dtype != torch.float64 or graph.output.bias.requires_grad:
            raise InvalidInput("a live graph", where=where, accepted="capture(module, x), or its frozen() graph")
    else:
        # hooks, or weights that a parametrisation has not refreshed, would make it another function
        graph, module = structure.frozen_at(x), structure.module
    for estimator in estimators(graph):
        estimator.check(problem, graph)
    x = x.detach().to("cpu", torch.float64)
    y = None if y is None else y.detach().to("cpu")
    with torch.no_grad():
        placed = problem.place(x, graph(x), y, graph.of)
        check_question(graph, placed, where)
        if module is not None:
            random = torch.Generator().manual_seed(0)
            check_hooks(graph, module, lambda: placed.region.sample(SEEN, random).flatten(0, 1))
        share = None if budget is None else partial(budget.share, 0.5)
        return analyse(graph, placed, preactivations, budget=share, once=once)


def structure_of(
    network: Network,
    x: Tensor,
    y: Tensor | None,
    where: str,
    reader: Callable[..., CapturedNetwork] = capture,
) -> CapturedNetwork | Graph:
    """The network as a graph or a captured module; a module is captured.

    Args:
        network: the network.
        x: reference points ``(batch, *shape)``.
        y: labels ``(batch,)``, or None.
        where: the caller's name in error messages.
        reader: ``capture``, or ``traced`` where a graph is made at once.

    Raises:
        InvalidInput: x and y are no reference points and labels.
    """
    x, y = tensors_of(x, y, where)
    check_reference_points(x, where)
    return network if isinstance(network, CapturedNetwork | Graph) else reader(network, x)


def frozen_graph(structure: CapturedNetwork | Graph) -> Graph:
    """The float64 copy of a captured network; of a graph, itself."""
    return structure if isinstance(structure, Graph) else structure.frozen()


def differentiable_bound(name: str) -> BoundEstimator:
    """The estimator of that name, whose bound can be differentiated.

    Raises:
        UnsupportedRequest: its bound cannot.
    """
    estimator = get_estimator(name)
    if not isinstance(estimator, BoundEstimator) or not estimator.differentiable:
        accepted = ", ".join(differentiable_names())
        got = f"{name!r} is not differentiable"
        if IN_NORM in name:
            got = f"{name!r} converts a certificate, for certify and audits, and is no bound to differentiate"
        raise UnsupportedRequest(got, where="bound", accepted=accepted)
    return estimator


def differentiable_names() -> list[str]:
    """The names of the estimators that can be penalised, sorted."""
    return sorted(n for n, e in ESTIMATORS.offered().items() if isinstance(e, BoundEstimator) and e.differentiable)


def _live(network: Network, x: Tensor) -> Graph:
    if isinstance(network, Graph):
        return network
    captured = network if isinstance(network, CapturedNetwork) else traced(network, x)
    captured.check(x)
    return captured.live()
