"""Branch and bound beyond the conformance grid: reference networks, functionals together, degenerate networks, refusals."""

from __future__ import annotations

import copy
import math
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

from lipreg.budget import Budget
from lipreg.errors import UnsupportedRequest
from lipreg.estimators import certify
from lipreg.outputs import AllLogits, AllPairs, Combination, Logit, Output, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import Box, LinfBall, WholeSpace
from lipreg.results import Certificate, CertifiedInterval, Status
from lipreg.search.outcome import SearchProgress
from lipreg.testing import exact_constants
from tests import oracles
from tests.conformance.questions import EVERYTHING, sampled
from tests.conftest import Reference
from tests.estimators.test_mip import degenerate, meeting_layers
from tests.estimators.test_polytopes import case
from tests.estimators.test_vector_valued import asked, point, random_network
from tests.sampling import one_in
from tests.test_reference_exact import CASES, network

NAME = "branch_and_bound"
NORMS = pytest.mark.parametrize("p", [1.0, 2.0, math.inf], ids=["p1", "p2", "pinf"])


def solve(
    net: nn.Module, x: torch.Tensor, output: Output, p: float, radius: float = 0.7, seconds: float = 60.0
) -> CertifiedInterval:
    problem = LocalLipschitz(LinfBall(radius), output, p=p)
    (found,) = certify(net, problem, x, torch.tensor([1]), estimator=NAME, budget=Budget(seconds))
    return found


def ask(reference: Reference, case: str, norm: str, output: Output | None, q: float | None = None) -> CertifiedInterval:
    arrays = reference.case(case)
    box = Box(arrays["lo"].tolist(), arrays["hi"].tolist())
    kind = output or Combination(tuple(arrays["c"].tolist()))
    x = torch.from_numpy(arrays["x0"]).unsqueeze(0)
    problem = LocalLipschitz(box, kind, p=norm, q=q)  # type: ignore[arg-type]
    (found,) = certify(network(arrays), problem, x, estimator=NAME, budget=Budget(600.0))
    return found


@pytest.mark.parametrize("norm", ["1", "2", "inf"])
@pytest.mark.parametrize("case", CASES)
@one_in(2)
def test_it_is_the_reference(reference: Reference, case: str, norm: str) -> None:
    truth = reference.exact[case][norm]
    found = ask(reference, case, norm, None)
    assert found.status is Status.PROVED
    assert found.lower == pytest.approx(truth, rel=1e-6)
    assert found.upper == pytest.approx(truth, rel=1.1e-6)


@pytest.mark.parametrize("norm", ["1", "inf"])
@pytest.mark.parametrize("case", ["rand0", "rand1"] if EVERYTHING else ["rand0"])
def test_functionals_together(reference: Reference, case: str, norm: str) -> None:
    known = reference.vector_valued[case][norm]
    forms = {"largest_logit": AllLogits(), "largest_pair_of_logits": AllPairs(), "largest_sign_vector": Vector()}
    for form, output in forms.items():
        found = ask(reference, case, norm, output, q=1.0 if output.joint else None)
        assert found.status is Status.PROVED
        assert found.lower == pytest.approx(known[form], rel=1e-6)
        assert found.upper == pytest.approx(known[form], rel=1.1e-6)


FORMS = ("logits", "targeted", "pairs", "into_linf", "into_l1")
EACH = [(kind, seed) for seed in range(16) for turn, kind in enumerate(FORMS) if sampled(4, seed, turn)]


@pytest.mark.parametrize(("kind", "seed"), EACH)
def test_every_vector_valued_form_is_the_enumeration(kind: str, seed: int) -> None:
    net = random_network(seed)
    x, p = point(net, seed), (1.0, 2.0, math.inf)[seed % 3]
    x0, output, rows, q = x[0].numpy(), *asked(kind, net[-1].out_features)  # type: ignore[misc]
    truth = oracles.regional(oracles.cells(net, oracles.Domain(x0, x0 - 0.8, x0 + 0.8)), rows, p, q)
    problem = LocalLipschitz(LinfBall(0.8), output, p=p, q=q)
    (found,) = certify(net, problem, x, estimator=NAME, budget=Budget(600.0))
    assert found.certificate is Certificate.EXACT
    assert found.lower == pytest.approx(truth, rel=1e-6)
    assert found.upper == pytest.approx(truth, rel=1.1e-6)


@NORMS
def test_more_outputs_than_functionals_are_one_operator(p: float) -> None:
    net, x = oracles.mlp(2, 3, 11).double(), torch.zeros(1, 2, dtype=torch.float64)
    problem = LocalLipschitz(LinfBall(0.5), Vector(), p=p, q=1.0)
    ((truth, _),) = exact_constants(net, problem, x)
    (found,) = certify(net, problem, x, estimator=NAME)
    assert found.certificate is Certificate.EXACT
    assert found.lower == pytest.approx(truth, rel=1e-6)


@NORMS
def test_a_pattern_without_interior_does_not_count(p: float) -> None:
    """Its slope is 3, at one point alone."""
    found = solve(meeting_layers(), torch.tensor([[0.3]], dtype=torch.float64), Logit(0), p, 1.0)
    assert found.status is Status.PROVED
    assert (found.lower, found.upper) == (pytest.approx(1.0, abs=1e-12), pytest.approx(1.0, rel=1e-6))


@NORMS
def test_kinks_that_meet_in_a_point(p: float) -> None:
    """Without biases all of them do, and the pattern of that point alone may have the steepest slope."""
    torch.manual_seed(0)
    x = torch.zeros(1, 2, dtype=torch.float64)
    for _ in range(6):
        net = oracles.mlp(2, 5, 2).double()
        nn.init.zeros_(net[0].bias)  # type: ignore[arg-type]
        ((_, truth),) = exact_constants(net, LocalLipschitz(LinfBall(1.0), AllLogits(), p=p), x)
        found = solve(net, x, AllLogits(), p, 1.0)
        assert found.status is Status.PROVED
        assert found.upper == pytest.approx(truth, rel=1.1e-6)


@NORMS
@pytest.mark.parametrize("ratio", [-1.0, -3.0, -1 / 3])
def test_units_that_switch_together_are_tied(p: float, ratio: float) -> None:
    found = solve(degenerate(ratio=ratio), torch.tensor([[0.3]], dtype=torch.float64), Logit(0), p, 1.0)
    assert found.status is Status.PROVED
    assert found.upper == pytest.approx(1.0, rel=1e-6)


@NORMS
def test_groups_of_tied_units(p: float) -> None:
    """Four units on each of two hyperplanes, of either sign: the enumeration knows of no ties."""
    torch.manual_seed(2)
    net = oracles.mlp(3, 8, 5, 2).double()
    with torch.no_grad():
        for first, others in ((0, (2, 4, 6)), (1, (3, 5, 7))):
            for other, ratio in zip(others, (2.0, -1.0, -0.5), strict=True):
                net[0].weight[other] = ratio * net[0].weight[first]  # type: ignore[index]
                net[0].bias[other] = ratio * net[0].bias[first]  # type: ignore[index]
    x = torch.zeros(1, 3, dtype=torch.float64)
    domain = oracles.Domain(np.zeros(3), np.full(3, -0.9), np.full(3, 0.9))
    truth = oracles.regional(oracles.cells(net, domain), np.eye(2), p, None)
    found = solve(net, x, AllLogits(), p, 0.9)
    assert found.status is Status.PROVED
    assert found.upper == pytest.approx(truth, rel=1.1e-6)


@NORMS
def test_units_that_are_multiples_up_to_rounding_are_named(p: float) -> None:
    net = degenerate(extra=-0.1, ratio=1.0)
    with torch.no_grad():
        net[0].weight[2], net[0].bias[2] = -3.0, 0.3  # type: ignore[index]  # 3 * 0.1 is not 0.3 in float64
        net[2].weight[0, 2] = 2.0 / 3.0  # type: ignore[index]
    found = solve(net, torch.tensor([[0.3]], dtype=torch.float64), Logit(0), p, 1.0)
    assert found.status is Status.UNCONFIRMED
    assert "1[1], 1[2]" in found.detail and "up to rounding" in found.detail


@NORMS
@pytest.mark.parametrize("through", [False, True], ids=["inside", "on_a_face"])
@pytest.mark.parametrize("name", ["deep", "solid", "leaky", "residual"])
@one_in(3)
def test_polytopes(name: str, p: float, through: bool) -> None:
    net = oracles.network(name, 3)
    region, x, domain = case(sum(map(ord, name)), oracles.input_size(net), 4, through)
    count = oracles.evaluate(net, x.numpy()).shape[1]
    truth = oracles.regional(oracles.cells(net, domain), np.eye(count), p, None)
    (found,) = certify(net, LocalLipschitz(region, AllLogits(), p=p), x, estimator=NAME)
    assert found.certificate is Certificate.EXACT
    assert found.upper == pytest.approx(truth, rel=1.1e-6)
    assert found.witness is not None
    a, b = domain.facets()
    assert (a @ (np.array(found.witness.point) - domain.center) <= b + 1e-12).all()


@NORMS
def test_a_pattern_with_little_interior_is_confirmed(p: float) -> None:
    found = solve(degenerate(-1e-3), torch.tensor([[0.3]], dtype=torch.float64), Logit(0), p, 1.0)
    assert found.status is Status.PROVED
    assert found.lower == pytest.approx(3.0, rel=1e-12)
    assert found.witness is not None and abs(found.witness.point[0]) < 1e-3


@NORMS
def test_a_constant_functional_is_zero(p: float) -> None:
    net = oracles.network("dead_units")
    with torch.no_grad():
        net[4].weight[0] = 0.0  # type: ignore[index]
    found = solve(net, torch.full((1, 2), 0.1, dtype=torch.float64), Logit(0), p)
    assert (found.lower, found.upper) == (0.0, 0.0)


@NORMS
def test_a_stable_network_is_its_jacobian(p: float) -> None:
    net, x = oracles.network("deep"), torch.full((1, 2), 0.123, dtype=torch.float64)
    truth = oracles.slope_norm(oracles.jacobian(net, x[0].numpy()), np.eye(3), p, None)
    found = solve(net, x, AllLogits(), p, 1e-6)
    assert found.status is Status.PROVED
    assert found.lower == pytest.approx(truth, rel=1e-9)
    assert found.upper == pytest.approx(truth, rel=1e-6)


def test_deep_networks_with_nothing_unstable_are_one_leaf() -> None:
    """Without a witness the root is open, and has neither units to split nor cuts."""
    for seed in (0, 2):
        torch.manual_seed(seed)
        net, x = oracles.mlp(8, *25 * [8], 2).double(), torch.rand(1, 8, dtype=torch.float64)
        for layer in net[:-1:2]:  # type: ignore[index]
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        problem = LocalLipschitz(LinfBall(1e-6), AllLogits())
        (known,) = certify(net, problem, x, estimator="lp")
        (found,) = certify(net, problem, x, estimator="branch_and_bound", known=(known,))
        slope = float(np.abs(oracles.jacobian(net, x[0].numpy())).sum(1).max())
        assert slope > 0
        assert found.upper == pytest.approx(slope, rel=1e-6) and found.upper >= slope * (1 - 1e-12)
        assert found.lower <= slope * (1 + 1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1e-2, 1e2, 1e3])
@NORMS
@one_in(2)
def test_tolerances_follow_the_size_of_the_network(scale: float, p: float) -> None:
    """Every layer scaled by s scales the constant by s^3, down to slopes of 1e-9."""
    torch.manual_seed(3)
    net = oracles.mlp(3, 9, 9, 3).double()
    x = torch.rand(1, 3, dtype=torch.float64)
    plain = solve(net, x, AllLogits(), p, 0.4)
    scaled = copy.deepcopy(net)
    with torch.no_grad():
        for power, layer in enumerate((m for m in scaled if isinstance(m, nn.Linear)), 1):
            layer.weight.mul_(scale)
            layer.bias.mul_(scale**power)
    found = solve(scaled, x, AllLogits(), p, 0.4)
    assert plain.certificate is found.certificate is Certificate.EXACT
    assert found.upper == pytest.approx(plain.upper * scale**3, rel=1e-6)


def hard() -> tuple[nn.Module, torch.Tensor]:
    """A network that no engine closes in seconds."""
    torch.manual_seed(4)
    return oracles.mlp(8, 40, 40, 40, 1).double(), torch.zeros(1, 8, dtype=torch.float64)


@NORMS
def test_a_budget_is_kept_on_a_hard_network(p: float) -> None:
    net, x = hard()
    began = time.monotonic()
    found = solve(net, x, Logit(0), p, 3.0, seconds=0.3)
    assert time.monotonic() - began < 30
    assert found.status is Status.TIME_LIMIT and found.certificate is Certificate.BRACKET
    assert found.witness is not None
    witness = np.array(found.witness.point)
    assert np.abs(witness).max() <= 3.0
    own = oracles.slope_norm(oracles.jacobian(net, witness), np.eye(1), p, None)
    assert found.lower == pytest.approx(own, rel=1e-9)
    rng = np.random.default_rng(0)
    points = rng.uniform(-3, 3, (50, 8))
    seen = max(oracles.slope_norm(oracles.jacobian(net, v), np.eye(1), p, None) for v in points)
    assert seen <= found.upper < math.inf


def test_stop_ends_the_search_with_what_is_proved() -> None:
    net, x = hard()
    stop = threading.Event()
    problem = LocalLipschitz(LinfBall(3.0), Logit(0))

    def after_some_nodes(step: SearchProgress) -> None:
        if step.nodes:
            stop.set()

    budget = Budget(600.0, stop=stop)
    (found,) = certify(net, problem, x, estimator=NAME, budget=budget, progress=after_some_nodes)
    assert found.status is Status.INTERRUPTED
    assert 0 < found.lower < found.upper < math.inf


def test_pointed_questions_over_all_of_space_are_not_covered() -> None:
    problem = LocalLipschitz(WholeSpace(), Logit(0), scope="pointed", p=2)
    with pytest.raises(UnsupportedRequest, match="without ends"):
        certify(oracles.network("shallow"), problem, torch.zeros(1, 2, dtype=torch.float64), estimator=NAME)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_refused(bad: float) -> None:
    net = oracles.network("shallow")
    with torch.no_grad():
        net[0].weight[1, 0] = bad  # type: ignore[index]
    with pytest.raises(ValueError, match="NaN or infinity"):
        solve(net, torch.zeros(1, 2, dtype=torch.float64), Logit(0), math.inf)
