"""check_penalty and check_schedule: whether what shapes a penalty is a pure function of its arguments."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lipreg.errors import InvalidInput
from lipreg.estimators import estimate
from lipreg.outputs import AllLogits
from lipreg.penalties import Penalty, get_penalty
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.schedules import Moment, Schedule, get_schedule
from lipreg.seen import Seen
from lipreg.testing import networks
from lipreg.testing.failures import CheckFailed, attempt, expect, expect_near, random_numbers_unmoved, refused
from lipreg.training import LipschitzPenalty

TRAININGS = (1, 40, 1_000_000)
"""The batches of trainings in which a schedule is followed: of the longest here and there."""
GROWTH = 1.4
"""From one moment of a long training to the next."""
SIZES = (1.0, 1e3, 1e6)
"""A penalty above a target has a gradient only of bounds so many times as large."""


def check_penalty(penalty: str | Penalty | Mapping[str, Any], *, seed: int = 0) -> None:
    """Checks a penalty on drawn values, with drawn outputs, labels and weights to be seen, and in a training step.

    It is a scalar in the dtype of the values, the same in any order of the batch and at a second call, never smaller for
    larger values, with the gradient of its value in them and in what it has seen, finite at a value of 0. Name and options
    survive a record, a pickle and a copy; what is no batch of values is refused.

    Args:
        penalty: an object, a name, or plain data.
        seed: of the bounds.

    Raises:
        CheckFailed: it does not pass; the text has the bounds.
        InvalidInput: there is no such penalty.

    Example:
        >>> check_penalty("mean")
    """
    subject = get_penalty(penalty)
    check_travels(subject, get_penalty)
    generator = torch.Generator().manual_seed(seed)
    for batch in (1, 2, 7):
        shape = (batch, 3) if subject.layered else (batch,)
        drawn = 10.0 * torch.rand(shape, generator=generator, dtype=torch.float64) + 0.05
        here = f"penalty {subject.describe()} of {drawn.tolist()}"
        outputs = torch.randn(batch, 4, generator=generator, dtype=torch.float64)
        labels = torch.cat([outputs[:1].argmax(1), torch.randint(4, (batch - 1,), generator=generator)])
        weight = torch.randn(3, 2, generator=generator, dtype=torch.float64)
        with attempt(here):
            _check_value(subject, drawn, (outputs, labels, weight), generator, here)
    other = torch.zeros(2) if subject.layered else torch.zeros(2, 3)
    for wrong in (torch.zeros(0), torch.tensor(1.0), torch.tensor([1, 2]), other):
        with refused(InvalidInput, f"penalty {subject.describe()} of {wrong}", subject.name):
            subject(wrong)
    _check_step(subject)


def _check_value(
    subject: Penalty, drawn: Tensor, beside: tuple[Tensor, Tensor, Tensor], generator: torch.Generator, here: str
) -> None:
    outputs, labels, weight = beside

    def penalty(values: Tensor, outputs: Tensor = outputs, weight: Tensor = weight, labels: Tensor = labels) -> Tensor:
        return subject(values, Seen(outputs, labels, [weight]))

    copies = [part.clone() for part in (drawn, outputs, labels, weight)]
    with random_numbers_unmoved(here, "a penalty draws nothing"):
        value = penalty(drawn)
    for part, copied, name in zip((drawn, *beside), copies, ("values", "outputs", "labels", "weights"), strict=True):
        expect(
            torch.equal(part, copied), f"{here}: it has changed the {name}, from {copied.tolist()} to {part.tolist()}"
        )
    got = (
        f"{here}: reduce gives {value!r}, a {type(value).__name__}; a scalar tensor computed from the bounds is wanted"
    )
    expect(isinstance(value, Tensor), got)
    expect(value.shape == () and torch.isfinite(value), f"{here}: {value} is no finite scalar")
    expect_near(penalty(drawn).item(), value.item(), f"{here}: asked again")
    for dtype in (torch.float32, torch.bfloat16):
        result_dtype = penalty(drawn.to(dtype)).dtype
        seen = f"what is seen is in {outputs.dtype} here: seen.margins.to(values.dtype)"
        message = f"{here}: {result_dtype} of bounds in {dtype}; the dtype of the bounds must be kept; {seen}"
        expect(result_dtype == dtype, message)
    if not subject.reads_labels:
        _check_without_labels(subject, drawn, (outputs, labels, weight), value, here)
    order = torch.randperm(len(drawn), generator=generator)
    reordered = penalty(drawn[order], outputs[order], labels=labels[order])
    expect_near(reordered.item(), value.item(), f"{here}: of the same in another order")
    step = torch.rand(drawn.shape, generator=generator, dtype=torch.float64)
    for size in (1e-3, *SIZES):
        one, larger = (penalty(size * values).item() for values in (drawn, drawn + step))
        at = "" if size == 1.0 else f" times {size:g}"
        expect(larger >= one - 1e-9 * abs(one), f"{here}{at}: {one}, and {larger} of larger bounds")
    bounds = drawn.clone().requires_grad_()
    detached = f"{here}: no gradient reaches the bounds: reduce detaches them, leaves torch, or does not look at them"
    expect(penalty(bounds).requires_grad, detached)
    try:
        seen = (part.clone().requires_grad_() for part in (outputs, weight))
        torch.autograd.gradcheck(penalty, (bounds, *seen))
    except RuntimeError as error:
        raise CheckFailed(
            f"{here}: its gradient is not that of its value: {' '.join(str(error).split())[:300]}"
        ) from None
    (gradient,) = torch.autograd.grad(penalty(bounds), bounds)
    expect((gradient >= 0).all(), f"{here}: the gradient {gradient.tolist()} makes a bound grow")
    expect(
        any(_pulls(penalty, size * drawn) for size in SIZES), f"{here}: the gradient is 0, also of far larger bounds"
    )
    dead = torch.zeros_like(drawn).requires_grad_()
    value = penalty(dead)
    (gradient,) = torch.autograd.grad(value, dead)
    finite = bool(torch.isfinite(value)) and bool(torch.isfinite(gradient).all())
    expect(finite, f"{here}: {value.item()} with gradient {gradient.tolist()} where all bounds are 0")


def _check_without_labels(
    subject: Penalty, drawn: Tensor, beside: tuple[Tensor, Tensor, Tensor], value: Tensor, here: str
) -> None:
    """What does not say ``reads_labels`` is also a penalty of points without a label."""
    outputs, labels, weight = beside
    todo = "a penalty that reads labels or margins says reads_labels = True, and points without a label are left out"
    for other in (None, (labels + 1) % outputs.shape[1]):
        try:
            got = subject(drawn, Seen(outputs, other, [weight])).item()
        except Exception as error:
            raise CheckFailed(f"{here}, without labels: {type(error).__name__}: {error}; {todo}") from error
        words = "without labels" if other is None else "with other labels"
        expect_near(got, value.item(), f"{here}, {words}; {todo}")


def _pulls(penalty: Callable[[Tensor], Tensor], drawn: Tensor) -> bool:
    bounds = drawn.clone().requires_grad_()
    return bool(torch.autograd.grad(penalty(bounds), bounds)[0].any())


def _check_step(penalty: Penalty) -> None:
    """As the term of a loss it is the value of its formula at the bounds of the batch."""
    net, x = networks.network("shallow"), torch.tensor([[0.1, -0.2], [0.3, 0.4]], dtype=torch.float64)
    y = torch.tensor([0, 2])
    problem = LocalLipschitz(LinfBall(0.3), AllLogits())
    term = LipschitzPenalty(net, problem, bound="affine_relu", weight=0.5, penalty=penalty)
    with attempt(f"penalty {penalty.describe()} as the term of a loss"):
        value = term(x, y)
        value.backward()
    if not penalty.layered:
        seen = Seen(net(x).detach(), y, [w.detach() for w in net.parameters() if w.dim() >= 2])
        wanted = 0.5 * float(penalty(estimate(net, problem, x, bound="affine_relu").detach(), seen))
        expect_near(value.item(), wanted, f"penalty {penalty.describe()} as the term of a loss", 1e-7)
    finite = all(w.grad is None or torch.isfinite(w.grad).all() for w in net.parameters())
    expect(finite, f"penalty {penalty.describe()}: a gradient in the weights is not finite")


def check_schedule(schedule: str | Schedule | Mapping[str, Any], *, seed: int = 0) -> None:
    """Checks a schedule over a training, moment by moment.

    Its factor is a finite number of at least 0, however long the training, and follows from the moment alone: the same at a
    second call, of a copy, or after a resume; it looks at the bound only if it declares ``follows_bound``, and takes a
    bound that is not known. Where nobody knows how many batches there will be, it has a factor, or raises InvalidInput.

    Args:
        schedule: an object, a name, or plain data.
        seed: of the bounds in the moments.

    Raises:
        CheckFailed: it does not pass; the text has the moment.
        InvalidInput: there is no such schedule.

    Example:
        >>> check_schedule("linear")
    """
    subject = get_schedule(schedule)
    check_travels(subject, get_schedule)
    for batches in TRAININGS:
        _follow(subject, batches, torch.Generator().manual_seed(seed))
    for batch in _moments(TRAININGS[-1]):
        here = f"schedule {subject.describe()} at batch {batch}, batches not known"
        try:
            other = subject.factor(Moment(batch))
        except InvalidInput:
            return
        except Exception as error:
            raise CheckFailed(f"{here}: {type(error).__name__}: {error}") from error
        expect(math.isfinite(other) and other >= 0, f"{here}: the factor {other}")


def _moments(batches: int) -> list[int]:
    """The first and the last batch and some between: all of a short training, ever fewer of a long one."""
    moments = [0]
    while moments[-1] < batches - 1:
        moments.append(min(batches - 1, max(moments[-1] + 1, int(GROWTH * moments[-1]) if moments[-1] >= 40 else 0)))
    return moments


def _follow(subject: Schedule, batches: int, generator: torch.Generator) -> None:
    """A schedule through one training."""
    twin, factor, bound = pickle.loads(pickle.dumps(subject)), 1.0, None
    for batch in _moments(batches):
        moment = Moment(batch, batches, factor, bound if subject.follows_bound else None)
        here = f"schedule {subject.describe()} at {moment}"
        with attempt(here):
            value = subject.factor(moment)
            expect(
                isinstance(value, float | int) and math.isfinite(value) and value >= 0, f"{here}: the factor {value!r}"
            )
            expect(value == subject.factor(moment), f"{here}: another factor when it is asked again")
            # a copy that sees nothing but every fifth moment, as after a resume
            expect(batch % 5 or value == twin.factor(moment), f"{here}: another factor of a copy, as after a resume")
            other = subject.factor(replace(moment, bound=3.0))
            expect(
                subject.follows_bound or other == value, f"{here}: it looks at the bound and does not say follows_bound"
            )
            for unknown in (math.nan, math.inf):
                other = subject.factor(replace(moment, bound=unknown))
                expect(math.isfinite(other) and other >= 0, f"{here}: the factor {other} for a bound of {unknown}")
        factor, bound = value, 10.0 * float(torch.rand((), generator=generator))


def check_travels(subject: Any, read: Any) -> None:
    """Name and options as plain data, in a pickle and in a copy mean the same object."""
    described, here = subject.describe(), f"{type(subject).__name__} {subject!r}"
    try:
        pickled = pickle.dumps(subject)
    except Exception as error:
        todo = "its class has to stand at the top of a module, not in a function, and its options have to be plain data"
        raise CheckFailed(f"{here}: it cannot be pickled, as checkpoints and processes do; {todo}: {error}") from error
    for way, restored in {
        "plain data": read(described),
        "JSON": read(json.loads(json.dumps(described))),
        "a pickle": pickle.loads(pickled),
        "a copy": copy.deepcopy(subject),
    }.items():
        expect(restored == subject and restored.describe() == described, f"{here}: {restored!r} after {way}")
    parameters = getattr(type(subject), "__dataclass_params__", None)
    frozen = f"{here}: it can be changed once it is made; @dataclass(frozen=True) above its class"
    expect(parameters is None or parameters.frozen, frozen)
    expect(read(subject) is subject, f"{here}: another object where it is given itself")
    if described.keys() == {"kind"}:
        expect(read(subject.name) == subject, f"{here}: not what its name {subject.name!r} means")
