"""On a GPU: the penalty is that of the CPU, and trainings with both callbacks go through."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.penalty_cases import lenet, mlp
from lipreg import LinfBall, LipschitzPenalty, LocalLipschitz
from lipreg.callbacks import LipschitzAudit, LipschitzRegularizer
from tests.callbacks.cases import Classifier, batches, fit

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
NETWORKS = {"mlp": lambda: mlp(64, 32, 32, 10), "lenet": lenet}


def trained(
    device: str, network: str, p: float, points: Any
) -> tuple[torch.Tensor, list[torch.Tensor], dict[str, Any]]:
    """Bounds after some steps, the weights they were taken to, and the penalty's state, all on the CPU."""
    torch.manual_seed(0)
    net = NETWORKS[network]().double()
    x, y = torch.rand(24, 1, *((8, 8) if network == "mlp" else (28, 28)), dtype=torch.float64), torch.arange(24) % 10
    net, x, y = net.to(device), x.to(device), y.to(device)
    penalty = LipschitzPenalty(net, LocalLipschitz(LinfBall(0.05, low=0.0, high=1.0), p=p), weight=1e-2, points=points)
    descent = torch.optim.SGD(net.parameters(), 0.01)
    for _ in range(5):
        descent.zero_grad()
        (nn.functional.cross_entropy(net(x), y) + penalty(x, y)).backward()
        descent.step()
    penalty(x, y)
    assert penalty.last is not None
    assert penalty.last.bounds.device.type == device
    return penalty.last.bounds.cpu(), [w.detach().cpu() for w in net.parameters()], penalty.state_dict()


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("p", [math.inf, 2.0])
@pytest.mark.parametrize("points", ["all", 8])
def test_training_with_the_penalty_is_that_of_the_cpu(network: str, p: float, points: Any) -> None:
    here, there = trained("cpu", network, p, points), trained("cuda", network, p, points)
    torch.testing.assert_close(there[0], here[0], rtol=1e-5, atol=0.0)
    torch.testing.assert_close(there[1], here[1], rtol=1e-5, atol=1e-7)


def test_a_state_goes_from_one_device_to_the_other() -> None:
    x, y = torch.rand(12, 1, 8, 8), torch.arange(12) % 10
    problem, net = LocalLipschitz(LinfBall(0.05), p=2.0), mlp(64, 32, 32, 10)
    away = copy.deepcopy(net).cuda()
    there, here = LipschitzPenalty(away, problem), LipschitzPenalty(net, problem)
    for _ in range(10):
        there(x.cuda(), y.cuda())
    here.load_state_dict(there.state_dict())
    torch.testing.assert_close(here(x, y), there(x.cuda(), y.cuda()).cpu(), rtol=1e-3, atol=0.0)


@pytest.mark.parametrize("p", [math.inf, 2.0])
@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "bf16-mixed"])
def test_a_training_with_both_callbacks(p: float, precision: Any, tmp_path: Path) -> None:
    problem, data = LocalLipschitz(LinfBall(0.05), p=p), batches(8)
    regularizer = LipschitzRegularizer(problem, weight=1e-2)
    audit = LipschitzAudit(problem, points=data[0])
    settings = {"accelerator": "gpu", "precision": precision, "default_root_dir": tmp_path}
    trainer = fit(Classifier(), data, regularizer, audit, **settings)
    assert math.isfinite(float(trainer.callback_metrics["lipreg/bound_mean"]))
    assert len(audit.last) == 6
    for point in audit.last:
        assert 0.0 < point.combined.lower <= point.combined.upper * (1 + 1e-9)
