"""The regularizer in two processes with batches of unequal size: gradients, logs and schedules are those of the sum."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from lipreg.points import Points
from lipreg.training import Auto, PointSelection
from tests.callbacks.cases import PROBLEM, WEIGHT, Classifier, assert_gradients, bounds_by_hand, gradients_by_hand
from tests.callbacks.distributed_job import SETTINGS, share
from tests.callbacks.ranks import Ranks
from tests.callbacks.test_settings import half_precision_gradients
from tests.forks import ForkServer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not torch.distributed.is_available(), reason="no torch.distributed")]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, programs: ForkServer) -> list[dict[str, Any]]:
    """What each process saw, by case."""
    folder = tmp_path_factory.mktemp("distributed")
    job = Ranks(programs, "tests.callbacks.distributed_job", str(folder))
    assert job.wait() == [0, 0], job.printed()[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


def test_processes_keep_to_one_another(found: list[dict[str, Any]]) -> None:
    for name, one in found[0].items():
        other = found[1][name]
        for a, b in zip(one["gradients"], other["gradients"], strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True)), name
        assert one["logged"] == other["logged"], name
        assert torch.equal(one["state"]["generator"], other["state"]["generator"]), name
        assert one["state"]["factor"] == other["state"]["factor"], name


@pytest.mark.parametrize(
    ("case", "group", "clip"), [("plain", 1, None), ("accumulated and clipped", 2, 0.05)], ids=["plain", "accumulated"]
)
def test_gradients_are_the_mean_over_processes(found: Any, case: str, group: int, clip: float | None) -> None:
    torch.manual_seed(0)
    net, both = Classifier().net, list(zip(share(0), share(1), strict=True))
    groups = [[batch for pair in both[i : i + group] for batch in pair] for i in range(0, len(both), group)]
    expected = gradients_by_hand(net, groups, clip)
    assert_gradients(found[0][case]["gradients"], expected)


def test_gradients_of_the_first_step_in_mixed_precision(found: Any) -> None:
    torch.manual_seed(0)
    model = Classifier()
    each = [half_precision_gradients(model, share(rank)[0], torch.bfloat16, 1.0) for rank in (0, 1)]
    mean = [torch.stack(parts).mean(0) for parts in zip(*each, strict=True)]
    assert_gradients(found[0]["bf16-mixed"]["gradients"][:1], [mean])


@pytest.mark.parametrize("case", ["random points", "target", "every other"])
def test_gradients_of_every_setting_are_the_mean_over_processes(found: Any, case: str) -> None:
    """Each process with its own points, all with one weight, which follows the mean of their mean bounds."""
    settings = SETTINGS[case]
    choices = [PointSelection(Points(settings.get("points", "all"))) for _ in (0, 1)]
    every, target = settings.get("every", 1), settings.get("schedule")
    torch.manual_seed(0)
    net, factor, seen = Classifier().net, 1.0, []
    for number, pair in enumerate(zip(share(0), share(1), strict=True)):
        losses, means = [], []
        for rank, (choice, (x, y)) in enumerate(zip(choices, pair, strict=True)):
            losses.append(F.cross_entropy(net(x), y))
            if number % every == 0:
                choice.next(rank)
                means.append(bounds_by_hand(net, *choice.of(x, y, PROBLEM.output)).mean())  # type: ignore[arg-type]
                losses[-1] = losses[-1] + every * factor * WEIGHT * means[-1]
        seen.append(list(torch.autograd.grad(torch.stack(losses).mean(), list(net.parameters()))))
        if target is not None:
            factor *= (torch.stack(means).mean().item() / target["target"]) ** target["rate"]
        with torch.no_grad():
            for parameter, gradient in zip(net.parameters(), seen[-1], strict=True):
                parameter -= 0.1 * gradient
    assert_gradients(found[0][case]["gradients"], seen)


def test_logs_are_over_all_points(found: Any) -> None:
    torch.manual_seed(0)
    net, bounds = Classifier().net, []
    for pair in zip(share(0), share(1), strict=True):
        bounds.append(torch.cat([bounds_by_hand(net, *batch) for batch in pair]).detach())
        (gradients,) = gradients_by_hand(net, [list(pair)])
        with torch.no_grad():
            for parameter, gradient in zip(net.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient
    logged = found[0]["plain"]["logged"]
    mean, largest = torch.cat(bounds).mean().item(), torch.cat(bounds).max().item()
    expected = {"penalty": mean, "bound_mean": mean, "bound_max": largest, "weight": WEIGHT}
    assert logged == pytest.approx({f"lipreg/{key}": value for key, value in expected.items()}, rel=1e-5)


def test_each_process_draws_points_of_its_own(found: Any) -> None:
    assert found[0]["random points"]["logged"]["lipreg/bound_mean"] > 0
    assert torch.equal(found[0]["random points"]["state"]["generator"], found[1]["random points"]["state"]["generator"])


def test_a_checkpoint_of_any_process_holds_the_bound_that_all_follow(found: Any) -> None:
    one, other = (found[rank]["target"]["state"]["bound"] for rank in (0, 1))
    assert one == other
    assert one != pytest.approx(found[0]["target"]["own"], rel=1e-6), "the processes' own bounds must differ here"
    assert one == pytest.approx((found[0]["target"]["own"] + found[1]["target"]["own"]) / 2, rel=1e-6)


@pytest.mark.parametrize("case, ranks", [("auto", (0, 1)), ("auto, one without labels", (0,))])
def test_all_processes_find_one_weight(found: Any, case: str, ranks: tuple[int, ...]) -> None:
    """By hand, from the first batches of those that have points."""
    torch.manual_seed(0)
    net, sums = Classifier().net, torch.zeros(2, 2)
    weights = [net[0].weight, net[2].weight]
    for rank in ranks:
        x, y = share(rank)[0]
        for i, value in enumerate((F.cross_entropy(net(x), y), bounds_by_hand(net, x, y).mean())):
            sums[i] += torch.stack([g.norm() for g in torch.autograd.grad(value, weights)])
    one, other = (found[rank][case]["state"]["weight"] for rank in (0, 1))
    assert one == other == pytest.approx(Auto().fraction * float((sums[0] / sums[1]).min()), rel=1e-5)
