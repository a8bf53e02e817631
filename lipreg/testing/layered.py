"""The factors of layered bounds, which penalties such as ``layer_sum`` add up."""

from __future__ import annotations

import torch

from lipreg.estimators import frozen_analysis
from lipreg.graph import Affine
from lipreg.testing.failures import CheckFailed, expect, expect_near
from lipreg.testing.judged import EstimatorUnderTest


def factors(judged: EstimatorUnderTest) -> None:
    """With ``layered`` the bound of a chain is the product of its factors, one for each linear map."""
    bound = judged.bound
    if bound is None or not bound.layered:
        return
    nets = [net for net in ("shallow", "deep", "leaky", "residual") if net in judged.nets]
    for scope, p, net in judged.each(nets):
        question = judged.questions.one(net, "linf_cut", scope, p, "margin")
        here = f"{judged.name}: {question}, layered = True"
        analysis = frozen_analysis(question.graph, question.problem, question.x, None)
        with torch.no_grad():
            try:
                parts = bound.factors(analysis)
            except NotImplementedError:
                raise CheckFailed(f"{here}: it has no factors(self, analysis), (points, layers)") from None
            whole = bound.bound(analysis)
        maps = sum(len([*node.terms()]) for node in question.graph.nodes if isinstance(node, Affine))
        wanted, got = (len(question.x), maps), tuple(parts.shape)
        expect(got == wanted, f"{here}: factors of shape {got} where {wanted} is right, one for each linear map")
        expect(bool((parts >= 0).all() and parts.isfinite().all()), f"{here}: the factors {parts.tolist()}")
        if not question.graph.branches:
            message = f"{here}: the product of the factors {parts.tolist()}, and bound"
            expect_near(parts.prod(1).tolist(), whole.tolist(), message)
