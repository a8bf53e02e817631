"""Wrapped networks give the numbers of what is inside: processes, devices, Fabric, compilation, averages, nested."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import lightning.fabric
import lightning_fabric
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import lipreg
from lipreg.auditing import AuditPlan, audit
from lipreg.callbacks.batches import find_network
from lipreg.errors import UnsupportedModel
from lipreg.estimators.radius import certified_radii
from lipreg.graph import unwrap

PROBLEM = lipreg.LocalLipschitz(lipreg.LinfBall(0.1))
X, Y = torch.linspace(0, 1, 8).reshape(2, 4), torch.tensor([0, 2])


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)).eval()


@pytest.fixture(scope="module", autouse=True)
def _one_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A process group of one, which DistributedDataParallel asks for."""
    file = tmp_path_factory.mktemp("group") / "file"
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def fabric(package: object) -> Callable[[nn.Module], nn.Module]:
    return lambda net: package.Fabric(accelerator="cpu").setup_module(net)  # type: ignore[attr-defined]


def compiled(net: nn.Module) -> nn.Module:
    return torch.compile(net, backend="eager")  # type: ignore[return-value]


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "DistributedDataParallel": nn.parallel.DistributedDataParallel,
    "DataParallel": nn.DataParallel,
    "lightning_fabric": fabric(lightning_fabric),
    "lightning.fabric": fabric(lightning.fabric),
    "AveragedModel": AveragedModel,
    "torch.compile": compiled,
    "Fabric around DistributedDataParallel around torch.compile": lambda net: fabric(lightning_fabric)(
        nn.parallel.DistributedDataParallel(compiled(net))
    ),
    "AveragedModel of a compiled one": lambda net: AveragedModel(compiled(net)),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_every_door_takes_a_wrapped_network(name: str) -> None:
    net = network()
    wrapped = WRAPPERS[name](net)
    assert type(unwrap(wrapped)) is nn.Sequential
    expected = lipreg.estimate(net, PROBLEM, X, Y)
    assert torch.equal(lipreg.estimate(wrapped, PROBLEM, X, Y), expected)
    assert lipreg.capture(wrapped, X).frozen().fingerprint() == lipreg.capture(net, X).frozen().fingerprint()
    (one, two) = (lipreg.certify(each, PROBLEM, X, Y, estimator="affine_relu") for each in (net, wrapped))
    assert [i.upper for i in one] == [i.upper for i in two]
    plan = AuditPlan(PROBLEM, ("fastlip",))
    (one, two) = (audit(each, plan, X, Y) for each in (net, wrapped))
    assert [p.combined.upper for p in one] == [p.combined.upper for p in two]
    assert lipreg.general_position(wrapped, PROBLEM, X, Y) == lipreg.general_position(net, PROBLEM, X, Y)
    (one, two) = (certified_radii(each, X, Y, p="inf") for each in (net, wrapped))
    assert str(one) == str(two)


@pytest.mark.parametrize("name", WRAPPERS)
def test_the_penalty_of_a_wrapped_network_has_the_gradient_of_what_is_inside(name: str) -> None:
    net = network()
    wrapped = WRAPPERS[name](net)
    inside = unwrap(wrapped)
    gradients = []
    for each, parameters in ((net, net.parameters()), (wrapped, inside.parameters())):
        penalty = lipreg.LipschitzPenalty(each, PROBLEM, weight=0.5)
        gradients.append(torch.autograd.grad(penalty(X, Y), list(parameters), allow_unused=True))
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours is None and theirs is None) or torch.equal(ours, theirs)  # type: ignore[arg-type]


def test_a_wrapped_part_of_a_network_is_read_too() -> None:
    net = network()
    parts = nn.Sequential(nn.parallel.DistributedDataParallel(net[:2]), net[2], compiled(net[3])).eval()
    assert torch.equal(lipreg.estimate(parts, PROBLEM, X, Y), lipreg.estimate(net, PROBLEM, X, Y))


def test_an_average_is_bounded_with_the_averaged_weights() -> None:
    """Not with those that are trained on: they are another network."""
    net = network()
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
    average.update_parameters(net)  # the first one copies
    own = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(3.0)
    average.update_parameters(net)
    by_hand = network()
    by_hand.load_state_dict({k: v if "num" in k else (own[k] + v) / 2 for k, v in net.state_dict().items()})
    bounds = lipreg.estimate(average, PROBLEM, X, Y)
    torch.testing.assert_close(bounds, lipreg.estimate(by_hand, PROBLEM, X, Y))
    assert not torch.allclose(bounds, lipreg.estimate(net, PROBLEM, X, Y), rtol=0.1)


def test_sharded_parameters_are_refused() -> None:
    class FullyShardedDataParallel(nn.Module):  # one cannot be made here: it asks for a GPU
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

    with pytest.raises(UnsupportedModel, match="sharded"):
        lipreg.capture(FullyShardedDataParallel(network()), X)


@pytest.mark.parametrize("path", ["net", "net.module", "net.1", "net.module.1"])
def test_a_path_of_a_callback_passes_over_a_wrapper_or_names_it(path: str) -> None:
    module = nn.Module()
    module.net = nn.parallel.DistributedDataParallel(network())
    found = unwrap(find_network(module, path))
    assert found is (module.net.module if "1" not in path else module.net.module[1])


def test_synchronised_batch_norm_is_batch_norm_at_evaluation() -> None:
    """What ``Trainer(sync_batchnorm=True)`` makes of a network, with statistics that training has left."""
    net = network()
    net[1].running_mean.uniform_(-1, 1)  # type: ignore[union-attr,operator]
    net[1].running_var.uniform_(0.5, 2)  # type: ignore[union-attr,operator]
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(network()).eval()
    converted.load_state_dict(net.state_dict())
    assert isinstance(converted[1], nn.SyncBatchNorm)
    expected: Tensor = lipreg.estimate(net, PROBLEM, X, Y)
    assert torch.equal(lipreg.estimate(converted, PROBLEM, X, Y), expected)
    penalty = lipreg.LipschitzPenalty(converted.train(), PROBLEM, weight=1.0)  # as in a training step
    torch.testing.assert_close(penalty(X, Y), expected.mean())
    assert lipreg.certify(converted.eval(), PROBLEM, X, Y, estimator="fastlip")[0].upper > 0
