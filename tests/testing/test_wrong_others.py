"""Layers, solvers, executors, penalties and schedules that are wrong, each in one way, and found."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from lipreg.auditing import Inline, register_executor
from lipreg.auditing.tasks import Assignment, Event
from lipreg.budget import Budget
from lipreg.errors import InvalidInput, UnsupportedModel
from lipreg.graph import Example, capture, lowers
from lipreg.milp import Found, Highs, Options, Program, register_solver
from lipreg.penalties import Penalty
from lipreg.penalties import register as register_penalty
from lipreg.schedules import Moment, Schedule
from lipreg.schedules import register as register_schedule
from lipreg.seen import Seen
from lipreg.testing import (
    CheckFailed,
    check_executor,
    check_lowering,
    check_penalty,
    check_schedule,
    check_solver,
    executors,
)
from tests.conformance.questions import of_test_all
from tests.conformance.test_lying_solvers import LIES, Liar

# ---------------------------------------------------------------- layers


class Scale(nn.Module):
    """Multiplies by a learned number for each feature."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.linspace(1.0, 2.0, features))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


SCALE = Example(lambda: nn.Sequential(nn.Linear(3, 4), Scale(4), nn.ReLU(), nn.Linear(4, 2)), (3,))
WRONG_LAYERS: dict[str, tuple[Callable[..., Any], str]] = {
    "another factor": (lambda context, module, x: x.scaled(1.01 * context.tensor(module.factor)), "the module's"),
    "no gradient": (
        lambda context, module, x: x.scaled(context.tensor(module.factor).detach()),
        "the gradient in 1.factor",
    ),
    "half a layer": (lambda context, module, x: x, "values and the module's"),
}


@pytest.mark.parametrize("wrong", WRONG_LAYERS)
def test_a_lowering_that_is_not_the_layer_is_found(wrong: str) -> None:
    lowering, says = WRONG_LAYERS[wrong]
    lowers(Scale, example=SCALE)(lowering)
    with pytest.raises(CheckFailed, match=f"(?s)Scale, .*{says}"):
        check_lowering(Scale)


def test_an_example_without_the_layer_and_settings_that_pass_are_found() -> None:
    @lowers(Scale)
    def lower_scale(context: Any, module: Scale, x: Any) -> Any:
        return x.scaled(context.tensor(module.factor))

    with pytest.raises(InvalidInput, match="no example of Scale"):
        check_lowering(Scale)
    with pytest.raises(InvalidInput, match="no lowering of Bilinear"):
        check_lowering(nn.Bilinear)
    with pytest.raises(CheckFailed, match="the example does not use it"):
        check_lowering(Scale, Example(lambda: nn.Linear(3, 2), (3,)))
    check_lowering(Scale, SCALE, refuses=[(nn.Sequential(nn.Linear(3, 3), nn.Softmax(1)), (3,))])
    with pytest.raises(CheckFailed, match="not refused"):
        check_lowering(Scale, SCALE, aspects=["values"], refuses=[(nn.Sequential(Scale(3)), (3,))])


class Half(nn.Module):
    """Half of its input."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x


def test_lowerings_of_one_name_keep_their_own_examples() -> None:
    def one() -> Callable[..., Any]:
        def lower(context: Any, module: Scale, x: Any) -> Any:
            return x.scaled(context.tensor(module.factor))

        return lower

    def other() -> Callable[..., Any]:
        def lower(context: Any, module: Half, x: Any) -> Any:
            return x.scaled(context.tensor(0.5))

        return lower

    lowers(Scale, example=SCALE)(one())
    lowers(Half, example=Example(lambda: nn.Sequential(Half(), nn.Linear(3, 2)), (3,)))(other())
    check_lowering(Scale, aspects=["values"])
    check_lowering(Half, aspects=["values"])


@pytest.mark.parametrize(("returned", "said"), [(None, "None"), (torch.ones(4), "a Tensor")])
def test_a_lowering_that_returns_no_symbolic_tensor_is_named(returned: Any, said: str) -> None:
    @lowers(Scale, example=SCALE)
    def forgets(context: Any, module: Scale, x: Any) -> Any:
        x.scaled(context.tensor(module.factor))
        return returned

    says = rf"1 unsupported call\n  1: Scale \[settings\] its lowering forgets returns {said}, not a symbolic tensor"
    with pytest.raises(UnsupportedModel, match=says):
        capture(SCALE.build(), torch.zeros(1, 3))
    with pytest.raises(CheckFailed, match=f"(?s)Scale: .*{says}"):
        check_lowering(Scale)


def test_an_error_in_a_lowering_is_named_with_its_line_and_its_cause() -> None:
    @lowers(Scale, example=SCALE)
    def mistaken(context: Any, module: Scale, x: Any) -> Any:
        return _helped(x)

    line = _helped.__code__.co_firstlineno + 1
    says = (
        rf"1: Scale \[failed\] its lowering mistaken raises AttributeError at test_wrong_others\.py:{line}: "
        r"'Symbol' object has no attribute 'nothing'\. Mend the lowering\.$"
    )
    with pytest.raises(UnsupportedModel, match=says) as caught:
        capture(SCALE.build(), torch.zeros(1, 3))
    assert isinstance(caught.value.__cause__, AttributeError)
    with pytest.raises(CheckFailed, match=f"(?s)Scale: .*{says}"):
        check_lowering(Scale)


def _helped(x: Any) -> Any:
    return x.nothing


def test_arguments_that_a_lowering_does_not_take_are_a_matter_of_the_call() -> None:
    @lowers(Scale, example=SCALE)
    def narrow(context: Any, module: Scale) -> Any:
        return None

    with pytest.raises(UnsupportedModel, match=r"\[settings\] .*takes 2 positional arguments.*Accepted: Linear"):
        capture(SCALE.build(), torch.zeros(1, 3))


# ---------------------------------------------------------------- solvers


@pytest.mark.parametrize("lie", LIES)
def test_a_solver_that_lies_is_found(lie: str) -> None:
    register_solver("liar")(type("ThisLiar", (Liar,), {"lie": staticmethod(LIES[lie])}))
    with pytest.raises(CheckFailed, match=r"liar: (MIP|LP) .*incumbent .*, claimed .* nodes"):
        check_solver("liar")


class Deaf(Liar):
    """Runs as long as it likes, whatever the budget says."""

    def run(self, program: Program, budget: Budget, options: Options) -> Found:
        return Highs().run(program, Budget(1.0, stop=threading.Event()).started(), options)


class Forgetful(Liar):
    """Leaves out where to start."""

    def run(self, program: Program, budget: Budget, options: Options) -> Found:
        return Highs().run(program, budget, replace(options, start={}))


class Chatty(Liar):
    def run(self, program: Program, budget: Budget, options: Options) -> Found:
        print("solved", flush=True)
        return Highs().run(program, budget, options)


@pytest.mark.parametrize(
    ("wrong", "aspect"), [(Deaf, "nodes"), pytest.param(Forgetful, "starts", marks=of_test_all), (Chatty, "silence")]
)
def test_a_solver_without_something_is_found_and_may_say_so(wrong: type[Liar], aspect: str, capfd: Any) -> None:
    register_solver("wrong")(wrong)
    with capfd.disabled(), pytest.raises(CheckFailed, match=f"^{aspect}: "):
        check_solver("wrong", aspects=[aspect])
    check_solver("wrong", aspects=["optima", aspect], without=[aspect])
    capfd.readouterr()


# ---------------------------------------------------------------- executors


class WideOpen(Inline):
    """Says that it could end a task, in no word that counts."""

    def kill(self) -> Any:
        return None


class Busy(Inline):
    """Counts a task as running when it is over."""

    def running(self) -> int:
        return super().running() + 1


class Reverses(Inline):
    """Gives the answers of a block of points the wrong way round."""

    def collect(self, timeout: float) -> list[Event]:
        events = super().collect(timeout)
        return [
            dataclasses.replace(event, intervals=event.intervals[::-1]) if hasattr(event, "intervals") else event
            for event in events
        ]


class Boasts(Inline):
    """Says that it has ended what runs, and leaves it running."""

    def kill(self) -> bool:
        return True


class Unstoppable(Inline):
    """Does not tell its tasks that they are to stop."""

    def begin(self, assignment: Assignment, stop: threading.Event) -> None:
        super().begin(assignment, threading.Event())

    def stop(self) -> None:
        pass


class Keeps(Inline):
    """Hands what one audit has given up to the next."""

    def end(self) -> None:
        pass


@pytest.mark.parametrize(
    ("wrong", "aspect", "says"),
    [
        (Boasts, "kills", "kill gives True, and a task that ran is not over"),
        (Unstoppable, "kills", "after stop a task that waits for it is not over"),
        (Keeps, "tasks", "1 running after end"),
        (WideOpen, "kills", "kill gives None"),
        (Busy, "tasks", "1 running at first"),
        (Reverses, "results", "IncomparableResults|inline"),
    ],
)
def test_an_executor_that_is_wrong_is_found(
    wrong: type[Inline], aspect: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "AT_ONCE", 1.0)
    monkeypatch.setattr(executors, "AMPLE", 6.0)  # of which a task that cannot be stopped takes most
    register_executor("wrong")(dataclass(eq=False)(wrong))
    with pytest.raises(CheckFailed, match=f"(?s)executor 'wrong', {aspect}: .*{says}"):
        check_executor("wrong", aspects=[aspect])


# ---------------------------------------------------------------- penalties and schedules


def _frozen(**given: Any) -> Callable[[type], type]:
    return dataclass(frozen=True, **given)


@_frozen()
class Rewards(Penalty):
    """The larger the better."""

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return -values.mean()


@_frozen()
class Falls(Penalty):
    """For large values, which trainings begin with."""

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return (values / (1.0 + values.square() / 1e4)).mean()


@dataclass
class Changes(Penalty):
    """Its options can be set once it is made."""

    share: float = 0.5

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return self.share * values.mean()


@_frozen()
class InOrder(Penalty):
    """The first point counts twice."""

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return values.mean() + values[0]


@_frozen()
class Roots(Penalty):
    """Without a gradient at 0."""

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return values.sqrt().mean()


@_frozen()
class Detached(Penalty):
    """Half of its gradient is lost."""

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return (values * values.detach()).mean()


@_frozen()
class InDouble(Penalty):
    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return values.double().mean()


@_frozen()
class Leaves(Penalty):
    """Leaves torch."""

    def reduce(self, values: Tensor, seen: Seen) -> Any:
        return float(values.mean())


@_frozen()
class Nothing(Penalty):
    def reduce(self, values: Tensor, seen: Seen) -> Any:
        return None


@_frozen()
class Cut(Penalty):
    """Has no gradient."""

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return values.detach().mean()


@_frozen()
class Zero(Penalty):
    """Asks for nothing."""

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return values.sum() * 0


@_frozen(eq=False)
class NoValue(Penalty):
    """Does not compare by its options."""

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return values.mean()


@_frozen()
class Counts(Penalty):
    """Remembers how often it was asked."""

    asked: ClassVar[list[int]] = []

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        self.asked.append(1)
        return values.mean() * len(self.asked)


@_frozen()
class ReadsMargins(Penalty):
    """Reads margins, and does not say so."""

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return (values / seen.margins.clamp(min=0.5).to(values.dtype)).mean()


@_frozen()
class ReadsLabels(Penalty):
    """Counts another class twice, and does not say so."""

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return values.mean() if seen.labels is None else (values * (1 + seen.labels)).mean()


@_frozen()
class InDoubleMargins(Penalty):
    """Forgets that what it sees may be in another dtype."""

    reads_labels: ClassVar[bool] = True

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return (values / seen.margins.clamp(min=0.5)).mean()


@_frozen()
class Shrinks(Penalty):
    """Changes the weights that it sees."""

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        with torch.no_grad():
            for weight in seen.weights:
                weight.mul_(0.9)
        return values.mean()


@_frozen()
class InPlace(Penalty):
    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        return values.mul_(2.0).mean()


@_frozen()
class Draws(Penalty):
    """Draws from the random numbers of the training."""

    def reduce(self, values: Tensor, seen: Seen) -> Tensor:
        torch.rand(())
        return values.mean()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Rewards, "of larger bounds"),
        (Falls, "times 1000: .* of larger bounds"),
        (Changes, r"it can be changed once it is made; @dataclass\(frozen=True\) above its class"),
        (ReadsMargins, "without labels: InvalidInput: .*says reads_labels = True"),
        (ReadsLabels, "with(out| other) labels; a penalty that reads labels or margins says reads_labels = True"),
        (InDoubleMargins, r"what is seen is in torch.float64 here: seen.margins.to\(values.dtype\)"),
        (Shrinks, "it has changed the weights, from"),
        (InPlace, "it has changed the values, from"),
        (Draws, "draws from torch's random numbers of the whole process, or seeds them; a penalty draws nothing"),
        (InOrder, "of the same in another order"),
        (Roots, "with gradient .*inf.* where all bounds are 0"),
        (Detached, "gradient is not that of its value"),
        (InDouble, "torch.float64 of bounds in torch.float32; the dtype of the bounds must be kept"),
        (Leaves, "reduce gives [0-9.]+, a float; a scalar tensor computed from the bounds is wanted"),
        (Nothing, "reduce gives None, a NoneType; a scalar tensor"),
        (Cut, "no gradient reaches the bounds"),
        (Zero, "the gradient is 0, also of far larger bounds"),
        (NoValue, "after plain data"),
        (Counts, "asked again"),
    ],
)
def test_a_penalty_that_is_wrong_is_found(wrong: type[Penalty], says: str) -> None:
    register_penalty("wrong")(wrong)
    with pytest.raises(CheckFailed, match=says):
        check_penalty("wrong")


@_frozen()
class Negative(Schedule):
    def factor(self, now: Moment) -> float:
        return 1.0 - now.batch


@_frozen()
class RunsOut(Schedule):
    """Falls below 0 in a long training."""

    def factor(self, now: Moment) -> float:
        return 1.0 - now.batch / 50


@_frozen()
class Overflows(Schedule):
    """Is no number any more after a thousand batches."""

    def factor(self, now: Moment) -> float:
        return 1.0 if now.batch < 1000 else float("nan")


@_frozen()
class Peeks(Schedule):
    """Follows the bound, and does not say so."""

    def factor(self, now: Moment) -> float:
        return 1.0 if now.bound is None else now.bound


@_frozen()
class NeedsABound(Schedule):
    follows_bound = True

    def factor(self, now: Moment) -> float:
        return 2.0 * now.bound  # type: ignore[operator]


@_frozen()
class Remembers(Schedule):
    """Its factor depends on how often it was asked."""

    asked: ClassVar[list[int]] = []

    def factor(self, now: Moment) -> float:
        self.asked.append(1)
        return float(len(self.asked))


@_frozen()
class NeedsAnEnd(Schedule):
    def factor(self, now: Moment) -> float:
        return now.batch / now.batches  # type: ignore[operator]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Negative, r"Moment\(batch=2.*the factor -1"),
        (RunsOut, r"Moment\(batch=[0-9]+, batches=1000000.*the factor -"),
        (Overflows, r"Moment\(batch=1[0-9]{3}, batches=1000000.*the factor nan"),
        (Peeks, "looks at the bound and does not say"),
        (NeedsABound, r"Moment\(batch=0.*TypeError"),
        (Remembers, "another factor when it is asked again"),
        (NeedsAnEnd, "batches not known: TypeError"),
    ],
)
def test_a_schedule_that_is_wrong_is_found(wrong: type[Schedule], says: str) -> None:
    register_schedule("wrong")(wrong)
    with pytest.raises(CheckFailed, match=says):
        check_schedule("wrong")


def test_a_class_within_a_function_is_told_to_move() -> None:
    @register_penalty("wrong")
    @_frozen()
    class Local(Penalty):
        def reduce(self, values: Tensor, seen: Seen) -> Tensor:
            return values.mean()

    @register_schedule("wrong")
    @_frozen()
    class LocalToo(Schedule):
        def factor(self, now: Moment) -> float:
            return 1.0

    for check in (check_penalty, check_schedule):
        with pytest.raises(CheckFailed, match=r"cannot be pickled, .* at the top of a module"):
            check("wrong")
