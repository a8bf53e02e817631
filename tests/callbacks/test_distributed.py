"""The regularizer in two processes with batches of unequal size: gradients, logs and schedules are those of the sum."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.callbacks.cases import WEIGHT, Classifier, assert_gradients, bounds_by_hand, gradients_by_hand
from tests.callbacks.distributed_job import share

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not torch.distributed.is_available(), reason="no torch.distributed")]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each process saw, by case."""
    folder = tmp_path_factory.mktemp("distributed")
    command = [sys.executable, "-m", "tests.callbacks.distributed_job", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
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
    assert_gradients(found[0][case]["gradients"], expected, 1e-6 if clip is None else 3e-6)


def test_mixed_precision_moves_together(found: Any) -> None:
    plain, mixed = (found[0][case]["gradients"][0] for case in ("plain", "bf16-mixed"))
    assert not all(torch.equal(a, b) for a, b in zip(plain, mixed, strict=True))
    assert_gradients([mixed], [plain], 2e-2)


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
