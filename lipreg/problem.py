"""LocalLipschitz: the question that penalty, estimators, audits and reports share, in one value object.

Two constants carry the same name in the literature. They are told apart by the scope:

* regional: L(f, X) = sup over x != x' in X of |f(x) - f(x')|_q / |x - x'|_p, the largest Jacobian norm over X;
* pointed:  L(f, x0, X) = sup over x in X of |f(x) - f(x0)|_q / |x - x0|_p, never above the regional one.

A pointed bound may lie below the exact regional constant, so results of different scopes are never compared.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from lipreg.errors import InvalidInput, UnsupportedRequest
from lipreg.linalg import dual_norm, norm_name, parse_norm, vector_norm
from lipreg.outputs import AllLogits, AllMargins, Output
from lipreg.regions import PlacedRegion, Region

Scope = Literal["regional", "pointed"]
SIGNED_OUTPUTS = 16
"""Outputs up to which the operator norms into l1 are evaluated: 2^15 sign vectors."""
APART_OUTPUTS = 10
"""Outputs up to which sign vectors are taken one by one as functionals: 512 of them."""
SIGNED_NUMBERS = 2**24
"""Numbers that may be held at once while sign vectors are tried."""


class _Unnamed(float):
    """A norm that nobody named, so that another region, put in its place by ``dataclasses.replace``, brings its own."""


@dataclass(frozen=True)
class LocalLipschitz:
    """A local Lipschitz constant: of which functional, over which region, in which norms, in which scope.

    Args:
        region: where, around each reference point (``LinfBall``, ``L2Ball``, ``L1Ball``, ``Box``,
            ``UnitCube``, ``Polytope``).
        output: of what (``Logit``, ``Margin``, ``AllLogits``, ``AllMargins``, ``Combination``, ``Vector``).
        scope: "regional" (the largest slope anywhere in the region) or "pointed" (the largest quotient against the
            reference point itself).
        p: norm of input distances: 1, 2 or "inf". Defaults to the norm of the region's ball, also of one that
            ``dataclasses.replace`` puts in its place.
        q: norm of output differences, for ``Vector`` outputs only; defaults to p. Scalar functionals have none.

    Raises:
        InvalidInput: an argument of the wrong kind, an unknown scope or norm, q beside a scalar functional.
        UnsupportedRequest: from linf to l2, an operator norm that would need all signs of the input.
    """

    region: Region
    output: Output = field(default_factory=AllMargins)
    scope: Scope = "regional"
    p: float = None  # type: ignore[assignment]  # None: the region's norm, resolved below
    q: float | None = None
    _copied: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        where = "LocalLipschitz"
        if not isinstance(self.region, Region):
            raise InvalidInput(
                f"region={self.region!r}", where=where, accepted="LinfBall, L2Ball, L1Ball, Box, UnitCube or Polytope"
            )
        if not isinstance(self.output, Output):
            raise InvalidInput(
                f"output={self.output!r}",
                where=where,
                accepted="Logit, Margin, AllLogits, AllMargins, Combination or Vector instances",
            )
        if self.scope not in get_args(Scope):
            raise InvalidInput(f"scope={self.scope!r}", where=where, accepted='"regional" or "pointed"')
        for name in ("p", "q") if self._copied else ():  # else it is another question's, named for this one
            if isinstance(getattr(self, name), _Unnamed):
                object.__setattr__(self, name, None)
        object.__setattr__(self, "_copied", True)  # for those that are made from this one
        p = _Unnamed(self.region.norm) if self.p is None else parse_norm(self.p, f"{where}.p")
        object.__setattr__(self, "p", p)
        if self.output.joint:
            object.__setattr__(self, "q", _Unnamed(p) if self.q is None else parse_norm(self.q, f"{where}.q"))
            if (self.p, self.q) == (math.inf, 2.0):
                raise UnsupportedRequest(
                    "the operator norm from linf to l2",
                    where=where,
                    accepted="p = 1 with any q, any p with q = 1 or q = inf, or p = q = 2",
                    todo="Or ask for AllLogits(), AllMargins() or AllPairs()",
                )
        elif self.q is not None:
            raise InvalidInput(
                f"q={self.q!r} beside {type(self.output).__name__}, whose value is a number",
                where=where,
                accepted="q only with output=Vector()",
                todo="Leave q out",
            )

    @property
    def dual(self) -> float:
        """p*, the norm that measures gradients."""
        return dual_norm(self.p)

    def describe(self) -> dict[str, Any]:
        """The whole question as plain JSON data; equal descriptions mean comparable results."""
        question = {
            "scope": self.scope,
            "p": norm_name(self.p),
            "q": None if self.q is None else norm_name(self.q),
            "region": self.region.describe(),
            "output": self.output.describe(),
        }
        return json.loads(json.dumps(question))  # tuples become lists here, as they do in a record that is read back

    def sentence(self) -> str:
        """The question in words, for logs and reports."""
        symbols = {1.0: "l1", 2.0: "l2", math.inf: "l\u221e"}
        norms = f"input distances in {symbols[self.p]}"
        if self.q is not None:
            norms += f", output distances in {symbols[self.q]}"
        return f"{self.scope} Lipschitz constant of {self.output.phrase()} over {self.region.phrase()}; {norms}"

    def place(self, x0: Tensor, outputs: Tensor, labels: Tensor | None = None) -> PlacedProblem:
        """The question at each reference point of a batch.

        Args:
            x0: reference points ``(batch, *shape)``.
            outputs: the network's outputs there ``(batch, outputs)``; they decide runner-ups.
            labels: class labels ``(batch,)``, where the functional needs them.

        Raises:
            InvalidInput: points outside the data range, not finite, or labels that do not fit.
        """
        if outputs.dim() != 2 or outputs.shape[0] != x0.shape[0]:
            raise InvalidInput(
                f"outputs of shape {tuple(outputs.shape)} for {x0.shape[0]} reference points",
                where="LocalLipschitz.place",
                accepted="(batch, outputs): one vector of outputs for each point",
                todo="End a network that returns maps or images with nn.Flatten(); Vector() or AllLogits() take them",
            )
        refuse_many_signs(self, outputs.shape[1], "LocalLipschitz.place")
        region = self.region.place(x0)
        rows = self.output.rows(outputs.detach(), labels)
        return PlacedProblem(self, region, rows, tuple(self.output.names(outputs.detach(), labels)))


@dataclass(frozen=True)
class PlacedProblem:
    """A question at a batch of reference points.

    Attributes:
        problem: the question.
        region: the region around each point.
        rows: the functional's rows c, ``(batch, rows, outputs)``.
        functionals: the rows in words, one text per point.
    """

    problem: LocalLipschitz
    region: PlacedRegion
    rows: Tensor
    functionals: tuple[str, ...]

    @property
    def batch(self) -> int:
        return self.region.batch

    def __getitem__(self, index: slice) -> PlacedProblem:
        return replace(self, region=self.region[index], rows=self.rows[index], functionals=self.functionals[index])

    def combine(self, gradients: Tensor) -> Tensor:
        """Norm of the Jacobian from the gradients of the rows.

        Args:
            gradients: ``(batch, ..., rows, *shape)``: c_k^T J for each row, or entrywise bounds on its magnitude.

        Returns:
            ``(batch, ...)``: max_k |c_k^T J|_{p*} for scalar functionals, |J|_{p->q} for ``Vector``. Coordinates without
            room in the region do not count: no pair of points of X differs there.
        """
        return self.combine_flat(self.with_room(gradients))

    def row_norms(self, gradients: Tensor) -> Tensor:
        """|c_k^T J|_{p*} for each row on its own: ``(batch, ..., rows, *shape)`` to ``(batch, ..., rows)``."""
        return vector_norm(self.with_room(gradients), self.problem.dual)

    def combine_flat(self, matrix: Tensor) -> Tensor:
        """Same as ``combine`` for ``(..., rows, n)`` matrices whose columns all move."""
        p, q = self.problem.p, self.problem.q
        if q is None or q == math.inf:
            return vector_norm(matrix, self.problem.dual).amax(-1)
        if p == 1.0:
            return vector_norm(matrix.transpose(-1, -2), q).amax(-1)
        if q == 1.0:
            return _signed_norm(matrix, self.problem.dual)
        return torch.linalg.matrix_norm(matrix, ord=2)

    def apart(self) -> PlacedProblem:
        """The same constants as the largest over scalar functionals: the outputs for q = inf, all signed sums for q = 1.

        A scalar problem is its own answer. With q = 2, or q = 1 and more than APART_OUTPUTS outputs, there is none, and
        the problem itself comes back.
        """
        q, rows = self.problem.q, self.rows
        if q is None or q == 2.0 or (q == 1.0 and rows.shape[1] > APART_OUTPUTS):
            return self
        if q == 1.0:
            rows = sign_vectors(rows.shape[1], rows) @ rows
        return replace(self, problem=replace(self.problem, output=AllLogits(), q=None), rows=rows)

    def with_room(self, gradients: Tensor) -> Tensor:
        """Gradients ``(batch, ..., *shape)`` as ``(batch, ..., inputs)``, 0 for coordinates that have no room."""
        depth = len(self.region.shape)
        moves = self.region.moves.reshape(self.batch, *(1,) * (gradients.dim() - depth - 1), *self.region.shape)
        return (gradients * moves).flatten(-depth)


def refuse_many_signs(problem: LocalLipschitz, outputs: int, where: str) -> None:
    """Raises UnsupportedRequest where an operator norm into l1 would need the signs of more than SIGNED_OUTPUTS outputs."""
    if problem.q == 1.0 and problem.p != 1.0 and outputs > SIGNED_OUTPUTS:
        raise UnsupportedRequest(
            f"the operator norm from l{norm_name(problem.p)} to l1 of {outputs} outputs",
            where=where,
            accepted=f"up to {SIGNED_OUTPUTS} outputs: every combination of their signs is tried",
            todo="Ask for q = inf, AllLogits() or AllPairs(), or add a layer that picks the outputs that matter",
        )


def sign_vectors(count: int, like: Tensor) -> Tensor:
    """All sign vectors whose first sign is +, ``(2^(count - 1), count)``: s and -s have the same norm."""
    codes = torch.arange(2 ** (count - 1), device=like.device)
    bits = (codes.unsqueeze(1) >> torch.arange(count - 1, device=like.device)) & 1
    return torch.cat([torch.ones_like(codes).unsqueeze(1), 1 - 2 * bits], 1).to(like.dtype)


def _signed_norm(matrix: Tensor, dual: float) -> Tensor:
    """|J|_{p->1} = max over sign vectors s of |J^T s|_{p*}, for ``(..., rows, n)``."""
    # in parts, because there may be many points beside many signs
    part = max(1, SIGNED_NUMBERS // max(1, matrix[..., 0, :].numel()))
    norms = [vector_norm(signs @ matrix, dual).amax(-1) for signs in sign_vectors(matrix.shape[-2], matrix).split(part)]
    return torch.stack(norms).amax(0)
