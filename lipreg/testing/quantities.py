"""check_quantity: whether a quantity is what it declares at points of tiny networks, with the gradient of its value."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lipreg.errors import UnsupportedRequest
from lipreg.outputs import AllLogits, AllMargins, Vector
from lipreg.problem import LocalLipschitz
from lipreg.quantities import Quantity, get_quantity, values
from lipreg.regions import L2Ball, LinfBall
from lipreg.results import Certificate
from lipreg.testing import networks
from lipreg.testing.failures import CheckFailed, attempt, expect, expect_near
from lipreg.testing.oracle import exact_constants
from lipreg.testing.penalties import check_travels
from lipreg.training import LipschitzPenalty

NETS = ("shallow", "deep", "batch_norm", "residual", "leaky", "pooled_apart", "convolution")
"""Chains, for which quantities may have a pass of their own, and networks that are none."""
QUESTIONS = (
    LocalLipschitz(LinfBall(0.3, low=-0.3, high=0.7), AllMargins()),
    LocalLipschitz(LinfBall(0.2), Vector()),
    LocalLipschitz(L2Ball(0.3), AllLogits()),
    LocalLipschitz(LinfBall(0.3, low=-0.3, high=0.7), AllMargins(), scale=2.5, measured=[1]),
)
ROUNDING = 1e-9
"""The share of the exact constant by which a value may lie on its wrong side."""


def check_quantity(quantity: str | Quantity | Mapping[str, Any], *, seed: int = 0) -> None:
    """Checks a quantity on tiny networks, under questions that it covers.

    It is a finite number at each point, or one of the network, in the network's dtype; the same at a second call, and,
    but for what it draws, of each point alone and in any order; with the gradient of its value, finite where units are dead;
    it leaves points and torch's random state as they are. With UPPER it is never below the exact constant, with
    ``from_below`` never above the regional one. Name and options survive a record, a pickle and a copy. As the term of a
    loss it is its weighted mean.

    Args:
        quantity: an object, a name, or plain data.
        seed: of what it draws.

    Raises:
        CheckFailed: it does not pass; the text has the network and the question.
        InvalidInput: there is no such quantity.

    Example:
        >>> check_quantity("jacobian")
    """
    subject = get_quantity(quantity)
    check_travels(subject, get_quantity)
    count = 0
    for name, problem in _questions(subject):
        count += 1
        net = networks.network(name)
        x, y = _points(net)
        here = f"quantity {subject.describe()}: {problem.sentence()} of {name}"
        with attempt(here):
            numbers = values(subject, net, problem, x, y, seed=seed)
            _check_values(subject, net, problem, numbers, here, seed)
            if not (subject.reads_labels or problem.output.needs_labels):
                _check_without_labels(subject, net, problem, numbers, here, seed)
            _check_truth(subject, net, problem, numbers.detach(), here)
            if problem.p == torch.inf:
                _check_gradient(subject, net, problem, here, seed)
    expect(count, f"quantity {subject.describe()}: it refuses every question, about {', '.join(NETS)}")
    for name in ("dead_units", "affine"):
        _check_dead(subject, name, seed)
    _check_step(subject)


def _questions(quantity: Quantity) -> Iterator[tuple[str, LocalLipschitz]]:
    """Networks and questions that the quantity covers, each network under one of the questions."""
    for i, name in enumerate(NETS):
        problem, net = QUESTIONS[i % len(QUESTIONS)], networks.network(name)
        try:
            quantity.check(problem)
            with attempt(f"quantity {quantity.describe()}: {problem.sentence()} of {name}", passes=UnsupportedRequest):
                values(quantity, net, problem, *_points(net))
        except UnsupportedRequest:
            continue
        yield name, problem


def _points(net: nn.Module) -> tuple[Tensor, Tensor]:
    x = torch.tensor([[0.13, -0.21, 0.3], [-0.05, 0.4, 0.1], [0.7, 0.2, -0.1]], dtype=torch.float64)
    return x[:, : networks.input_size(net)], torch.tensor([0, 1, 1])


def _check_values(
    quantity: Quantity, net: nn.Module, problem: LocalLipschitz, numbers: Tensor, here: str, seed: int
) -> None:
    (x, y), state = _points(net), torch.get_rng_state()
    expect(
        isinstance(numbers, Tensor) and numbers.shape in ((len(x),), (1,)), f"{here}: {numbers} is no number a point"
    )
    expect(numbers.isfinite().all(), f"{here}: {numbers.tolist()} are not finite")
    expect(numbers.dtype == torch.float64, f"{here}: {numbers.dtype} of a network in torch.float64")
    copied = x.clone()
    again = values(quantity, net, problem, x, y, seed=seed)
    expect(torch.equal(again, numbers), f"{here}: asked again, {again.tolist()} in place of {numbers.tolist()}")
    expect(torch.equal(x, copied), f"{here}: it has changed the points")
    expect(
        torch.equal(torch.get_rng_state(), state),
        f"{here}: it draws from torch's own random state; query.generator is there",
    )
    if quantity.draws or len(numbers) == 1:
        return
    alone = [values(quantity, net, problem, x[i : i + 1], y[i : i + 1], seed=seed).item() for i in range(len(x))]
    expect_near(alone, numbers.tolist(), f"{here}: each point alone", 1e-9)
    order = torch.tensor([2, 0, 1])
    reordered = values(quantity, net, problem, x[order], y[order], seed=seed)
    expect_near(reordered.tolist(), numbers[order].tolist(), f"{here}: in another order", 1e-9)


def _check_without_labels(
    quantity: Quantity, net: nn.Module, problem: LocalLipschitz, numbers: Tensor, here: str, seed: int
) -> None:
    """What does not say ``reads_labels`` is also asked for at points without a label."""
    x, y = _points(net)
    todo = "a quantity that reads labels says reads_labels = True, and points without a label are left out"
    for other, words in ((None, "without labels"), (1 - y, "with other labels")):
        try:
            got = values(quantity, net, problem, x, other, seed=seed)
        except Exception as error:
            raise CheckFailed(f"{here}, {words}: {type(error).__name__}: {error}; {todo}") from error
        expect_near(got.tolist(), numbers.tolist(), f"{here}, {words}; {todo}")


def _check_truth(quantity: Quantity, net: nn.Module, problem: LocalLipschitz, numbers: Tensor, here: str) -> None:
    upper = quantity.certificate(problem) == Certificate.UPPER
    if not upper and not quantity.from_below:
        return
    x, y = _points(net)
    for value, (low, high) in zip(
        numbers.tolist(), exact_constants(networks.written_out(net), problem, x, y), strict=True
    ):
        right = value >= low * (1 - ROUNDING) if upper else value <= high * (1 + ROUNDING)
        expect(right, f"{here}: {value} says {'UPPER' if upper else 'from_below'}, and the constant is {low}")


def _check_gradient(quantity: Quantity, net: nn.Module, problem: LocalLipschitz, here: str, seed: int) -> None:
    x, y = _points(net)
    function, parameters = as_function_of_parameters(net, lambda: values(quantity, net, problem, x, y, seed=seed))
    expect(function(*parameters).requires_grad, f"{here}: no gradient reaches the parameters")
    try:
        torch.autograd.gradcheck(function, parameters, eps=1e-7, atol=1e-4, rtol=1e-3, fast_mode=True)
    except RuntimeError as error:
        text = " ".join(str(error).split())[:300]
        raise CheckFailed(f"{here}: the gradient is not that of finite differences: {text}") from None


def as_function_of_parameters(
    net: nn.Module, value: Callable[[], Tensor]
) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """(function, parameters) for ``gradcheck``: the value with whatever tensors stand in the module."""
    places = [(m, key) for m in net.modules() for key, parameter in m._parameters.items() if parameter is not None]
    parameters = tuple(m._parameters[key].detach().clone().requires_grad_() for m, key in places)  # type: ignore[union-attr]

    def function(*tensors: Tensor) -> Tensor:
        for (module, key), tensor in zip(places, tensors, strict=True):
            module._parameters[key] = tensor  # type: ignore[assignment]
        return value()

    return function, parameters


def _check_dead(quantity: Quantity, name: str, seed: int) -> None:
    net, problem = networks.network(name), LocalLipschitz(LinfBall(0.3), AllMargins())
    with torch.no_grad():
        next(m for m in net.modules() if isinstance(m, nn.Linear)).weight[0] = 0.0
    here = f"quantity {quantity.describe()}: {problem.sentence()} of {name} with a zero row"
    x, y = _points(net)
    with attempt(here):
        try:
            values(quantity, net, problem, x, y, seed=seed).sum().backward()
        except UnsupportedRequest:
            return
    finite = all(w.grad is None or w.grad.isfinite().all() for w in net.parameters())
    expect(finite, f"{here}: a gradient is not finite")


def _check_step(quantity: Quantity) -> None:
    net, problem = copy.deepcopy(networks.network("shallow")).float(), QUESTIONS[0]
    (x, y), here = _points(net), f"quantity {quantity.describe()} as the term of a loss"
    with attempt(here):
        term = LipschitzPenalty(net, problem, quantity=quantity, weight=0.5)
        value = term(x.float(), y)
        expect(term.last is not None and value.dtype == torch.float32, f"{here}: {value} of a network in torch.float32")
        assert term.last is not None
        expect_near(value.item(), 0.5 * term.last.values.mean().item(), here, 1e-5)
