"""Networks whose layers all stretch the same direction: the worst that products of norms can meet, in one linear piece."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor, nn

from lipreg.graph import capture
from lipreg.outputs import AllLogits, Output, Vector
from lipreg.problem import LocalLipschitz
from lipreg.regions import LinfBall
from lipreg.results import Certificate
from lipreg.testing.domains import rows_of, slope_norm
from lipreg.testing.failures import expect
from lipreg.testing.judged import TOLERANCE, EstimatorUnderTest
from lipreg.testing.pieces import evaluate, jacobian
from lipreg.testing.questions import DISTANCES, Q

WIDTHS = {1.0: [(2, 4, 9, 9)], 2.0: [(9, 4, 2, 2), (2, 4, 9, 9)], float("inf"): [(9, 4, 2, 2)]}
"""By p: many inputs and few units stretch more in l_inf than in any norm below, few inputs and many units more in l1."""


def aligned(widths: tuple[int, ...], x: Tensor, signed: bool) -> nn.Sequential:
    """Linear layers of ones, or of signs u v' with v the u of the layer before, every unit far on at one point.

    Args:
        widths: the number of inputs and of units of each layer.
        x: the point, ``(1, inputs)``.
        signed: whether weights are signs u v', drawn by the widths, and not ones.

    Returns:
        The network in float64, with one linear piece around x, whose slope is the product of the layers' norms.
    """
    layers: list[nn.Module] = []
    generator = torch.Generator().manual_seed(sum(widths))
    signs = [
        2.0 * torch.randint(2, (width,), generator=generator) - 1.0 if signed else torch.ones(width) for width in widths
    ]
    for before, after in itertools.pairwise(signs):
        layer = nn.Linear(len(before), len(after)).double()
        with torch.no_grad():
            layer.weight.copy_(torch.outer(after, before))
            layer.bias.copy_(5.0 - layer.weight @ nn.Sequential(*layers)(x)[0])  # 5 at x, whatever comes before
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


def aligned_layers(judged: EstimatorUnderTest) -> None:
    """A norm, a q or a unit too many is claimed where a product is below the slope of layers that stretch one direction."""
    for scope, p, signed in judged.each((False, True), len(judged.declared_scopes_and_norms)):
        for widths in WIDTHS[p]:
            x = torch.linspace(-0.4, 0.5, widths[0], dtype=torch.float64).unsqueeze(0)
            net = aligned(widths, x, signed)
            captured = capture(net, x)
            if not judged.takes_network(captured.frozen()):
                continue
            units = DISTANCES["units"](widths[0], scope)["scale"] if signed and judged.method.weighted else None
            slope, outputs = jacobian(net, x[0].numpy()), evaluate(net, x.numpy())[0]
            for kind, q in _outputs(judged):
                problem = LocalLipschitz(LinfBall(1e-3), kind, scope, p, q, scale=units)  # type: ignore[arg-type]
                weights = np.array(1.0 if units is None else units)
                exact = slope_norm(slope * weights, rows_of(kind, outputs), p, q)
                (result,) = judged.certify(captured, problem, x)
                entries, sentence = "signs" if signed else "ones", problem.sentence()
                here = f"{judged.name}: {sentence} of a chain of {widths}, all weights {entries}: "
                here += f"[{result.lower}, {result.upper}]"
                expect(result.upper >= exact * (1 - TOLERANCE), f"{here}: the upper end is below the slope {exact}")
                expect(result.lower <= exact * (1 + TOLERANCE), f"{here}: the lower end is above the slope {exact}")
                if judged.method.certificate is Certificate.BRACKET:
                    expect(result.certificate is Certificate.EXACT, f"{here}: not exact")


def _outputs(judged: EstimatorUnderTest) -> list[tuple[Output, float | None]]:
    joint = [q for q in Q.values() if q in judged.method.output_norms] if judged.method.vector else []
    return [(AllLogits(), None), *((Vector(), q) for q in joint)]
