"""LocalLipschitz: the question that penalty, estimators, audits and reports share, in one value object.

Two constants carry the same name in the literature. The scope distinguishes them:

* regional: L(f, X) = sup over x != x' in X of |f(x) - f(x')|_q / |x - x'|_p, the largest Jacobian norm over X;
* pointed:  L(f, x0, X) = sup over x in X of |f(x) - f(x0)|_q / |x - x0|_p, never above the regional one.

A pointed bound may lie below the exact regional constant, so results of different scopes are never compared.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from lipreg.arguments import check_object
from lipreg.distances import check_measured, counts_of, described, phrase, positions_of, units_of
from lipreg.errors import InvalidInput
from lipreg.identity import Identity
from lipreg.linalg import dual_norm, has_formula, norm_name, operator_norm, parse_norm, sign_vectors, vector_norm
from lipreg.linalg.operators import refuse_many_signs
from lipreg.outputs import AllLogits, AllMargins, Output, functionals
from lipreg.regions import Box, PlacedRegion, Region

Scope = Literal["regional", "pointed"]
"""Which of the two constants is meant."""
APART_OUTPUTS = 10
"""Outputs up to which sign vectors are taken one by one as functionals: 512 of them."""


class _Unnamed(float):
    """A norm that nobody named: another region, put in its place by ``dataclasses.replace``, brings its own. The field
    ``_copied`` tells it from ``p=other.p``, which is named; a computed p would be missing from ``dataclasses.asdict``."""


@dataclass(frozen=True)
class LocalLipschitz:
    """A local Lipschitz constant: of which functional, over which region, in which norms, in which scope.

    Args:
        region: where, around each reference point (``LinfBall``, ``L2Ball``, ``L1Ball``, ``Box``,
            ``UnitCube``, ``Polytope``, ``WholeSpace``).
        output: of what (``Logit``, ``Margin``, ``AllLogits``, ``AllMargins``, ``Combination``, ``Vector``).
        scope: "regional" (the largest slope anywhere in the region) or "pointed" (the largest quotient against the
            reference point itself).
        p: norm of input distances: 1, 2 or "inf". Defaults to the norm of the region's ball, also of one that
            ``dataclasses.replace`` puts in its place.
        q: norm of output differences, for ``Vector`` outputs only; defaults to p. Scalar functionals have none.
        scale: units of the inputs: distances are |(x - x') / scale|_p. A number for all of them, or nested sequences (or a
            tensor) of the input's shape, all above 0. Defaults to 1. For a metric that mixes inputs, a matrix, put a linear
            layer in front of the network and ask about that.
        measured: flat positions of the inputs between which distances are measured: pairs of points differ in these alone,
            anywhere in the region, so the others move too. Defaults to all. In regional scope only: the pointed constant of
            some inputs is that of a region in which the others are fixed.

    Raises:
        InvalidInput: an argument of the wrong kind, an unknown scope or norm, q beside a scalar functional, a scale or a
            position that cannot be.
    """

    region: Region
    output: Output = field(default_factory=AllMargins)
    scope: Scope = "regional"
    p: float = None  # type: ignore[assignment]  # None: the region's norm, resolved below
    q: float | None = None
    scale: float | Sequence[Any] | Tensor | None = None
    measured: Sequence[int] | None = None
    _copied: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        where = "LocalLipschitz"
        accepted = "LinfBall, L2Ball, L1Ball, Box, UnitCube, Polytope or WholeSpace"
        check_object(self.region, Region, "region", where, accepted, "LinfBall(0.1)", "from lipreg import LinfBall")
        accepted = "Logit, Margin, AllLogits, AllMargins, AllPairs, Combination or Vector instances"
        check_object(self.output, Output, "output", where, accepted, "Logit(0)", "from lipreg import Logit")
        if self.scope not in get_args(Scope):
            raise InvalidInput(f"scope={self.scope!r}", where=where, accepted='"regional" or "pointed"')
        for name in ("p", "q") if self._copied else ():  # else it is another question's, named for this one
            if isinstance(getattr(self, name), _Unnamed):
                object.__setattr__(self, name, None)
        object.__setattr__(self, "_copied", True)  # for those that are made from this one
        object.__setattr__(self, "scale", units_of(self.scale))
        object.__setattr__(self, "measured", positions_of(self.measured, self.scope))
        p = _Unnamed(self.region.norm) if self.p is None else parse_norm(self.p, f"{where}.p")
        object.__setattr__(self, "p", p)
        if self.output.joint:
            object.__setattr__(self, "q", _Unnamed(p) if self.q is None else parse_norm(self.q, f"{where}.q"))
        elif self.q is not None:
            raise InvalidInput(
                f"q={self.q!r} beside {type(self.output).__name__}, whose value is a number",
                where=where,
                accepted="q only with output=Vector()",
                todo="Leave q out",
            )

    @property
    def plain(self) -> bool:
        """Whether distances are |x - x'|_p, between all inputs."""
        return self.scale is None and self.measured is None

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
            **described(self.scale, self.measured),
        }
        return json.loads(json.dumps(question))  # tuples become lists here, as they do in a record that is read back

    def sentence(self) -> str:
        """The question in words, for logs and reports."""
        symbols = {1.0: "l1", 2.0: "l2", math.inf: "l\u221e"}
        norms = f"input distances in {symbols[self.p]}{phrase(self.scale, self.measured)}"
        if self.q is not None:
            norms += f", output distances in {symbols[self.q]}"
        return f"{self.scope} Lipschitz constant of {self.output.phrase()} over {self.region.phrase()}; {norms}"

    def weights(self, region: PlacedRegion) -> Tensor | None:
        """What each entry of a gradient counts over a region, ``(batch, *shape)``; None for ``region.movable`` as they are.

        Raises:
            InvalidInput: units or positions do not fit the input, or no measured input can move.
        """
        if self.plain:
            return None
        check_measured(region, self.scale, self.measured)
        return region.movable * counts_of(region.shape, self.scale, self.measured, region.center)

    def place(self, x0: Tensor, outputs: Tensor, labels: Tensor | None = None, of: str = "") -> PlacedProblem:
        """The question at each reference point of a batch.

        Args:
            x0: reference points ``(batch, *shape)``.
            outputs: the network's outputs there ``(batch, outputs)``; they decide runner-ups.
            labels: class labels ``(batch,)``, where the functional needs them.
            of: of what the outputs are, in the functionals' words, where that is not a network itself.

        Raises:
            InvalidInput: points outside the data range, not finite, or labels that do not fit.
        """
        if outputs.dim() != 2 or outputs.shape[0] != x0.shape[0]:
            got = f"outputs of shape {tuple(outputs.shape)} for {x0.shape[0]} reference points"
            accepted = "(batch, outputs): one vector of outputs for each point"
            todo = "End a network that returns maps or images with nn.Flatten(); Vector() or AllLogits() take them"
            raise InvalidInput(got, where="LocalLipschitz.place", accepted=accepted, todo=todo)
        refuse_many_signs(self.p, self.q, outputs.shape[1], "LocalLipschitz.place")
        region = self.region.place(x0)
        check_measured(region, self.scale, self.measured)
        coefficients = functionals(self.output, outputs.detach(), labels)
        names = (f"{name} of {of}" if of else name for name in self.output.names(outputs.detach(), labels))
        outside = (region.center - x0).abs().flatten(1).amax(1)
        return PlacedProblem(self, region, coefficients, tuple(names), tuple(outside.tolist()))


@dataclass(frozen=True)
class PlacedProblem:
    """A question at a batch of reference points.

    Attributes:
        problem: the question.
        region: the region around each point.
        coefficients: the functional's rows c, ``(batch, rows, outputs)``, or that they are an identity.
        functional_names: the rows in words, one text per point.
        outside: how far each point that was passed lay outside of its region, which is around the nearest point inside.
    """

    problem: LocalLipschitz
    region: PlacedRegion
    coefficients: Tensor | Identity
    functional_names: tuple[str, ...]
    outside: tuple[float, ...] = ()

    @cached_property
    def rows(self) -> Tensor:
        """The functional's rows c, ``(batch, rows, outputs)``.

        Raises:
            UnsupportedRequest: they are an identity of more outputs than this machine has memory for.
        """
        return self.coefficients.written_down() if isinstance(self.coefficients, Identity) else self.coefficients

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self.coefficients.outputs if isinstance(self.coefficients, Identity) else self.coefficients.shape[1]

    @property
    def without_rows(self) -> bool:
        """Whether the rows are an identity of so many outputs that what needs no rows should do without them."""
        return isinstance(self.coefficients, Identity) and self.coefficients.many

    @property
    def batch(self) -> int:
        """How many reference points there are."""
        return self.region.batch

    def __getitem__(self, index: slice) -> PlacedProblem:
        rows = self.coefficients.part(index) if isinstance(self.coefficients, Identity) else self.coefficients[index]
        return PlacedProblem(self.problem, self.region[index], rows, self.functional_names[index], self.outside[index])

    @cached_property
    def counts(self) -> Tensor:
        """What each entry of a gradient counts if it can move, ``(1, *shape)``; see ``lipreg.distances``."""
        measuring = self.problem.scale, self.problem.measured
        return counts_of(self.region.shape, *measuring, self.region.center).unsqueeze(0)

    @cached_property
    def weights(self) -> Tensor:
        """What each entry of a gradient counts, ``(batch, *shape)``: 0 where it cannot move in the region."""
        movable = self.region.movable.to(self.region.center.dtype)
        return movable if self.problem.plain else movable * self.counts

    @property
    def farthest(self) -> Tensor:
        """An upper bound on the largest distance of a point of X from its reference point, ``(batch,)``."""
        units = None if self.problem.scale is None else self.counts.to(self.region.center)
        return self.region.distance(self.problem.p, units)

    def lengths(self, steps: Tensor) -> Tensor:
        """|d / scale|_p of displacements d ``(batch, k, *shape)``, ``(batch, k)``, as computed."""
        scaled = steps if self.problem.scale is None else steps / self.counts.unsqueeze(1).to(steps)
        return vector_norm(scaled.flatten(2), self.problem.p)

    def representatives(self) -> list[int]:
        """For each point the first one whose question is the same: regional, over a fixed box or R^n, with the same rows."""
        fixed = isinstance(self.problem.region, Box) or not self.region.bounded
        if self.problem.scope == "pointed" or not fixed:
            return list(range(self.batch))
        if isinstance(self.coefficients, Identity):
            return [0] * self.batch
        seen: dict[bytes, int] = {}
        return [seen.setdefault(rows.cpu().numpy().tobytes(), i) for i, rows in enumerate(self.rows.detach())]

    def combine(self, gradients: Tensor) -> Tensor:
        """Norm of the Jacobian from the gradients of the rows.

        Args:
            gradients: ``(batch, ..., rows, *shape)``: c_k^T J for each row, or entrywise bounds on its magnitude.

        Returns:
            ``(batch, ...)``: max_k |c_k^T J|_{p*} for scalar functionals, |J|_{p->q} for ``Vector``; from l_inf to l2 with
            too many inputs to try all their signs an upper bound, exact without negative entries. Columns count by
            their ``weights``.
        """
        return self.combine_flat(self.weighted(gradients))

    def row_norms(self, gradients: Tensor) -> Tensor:
        """|c_k^T J|_{p*} for each row on its own: ``(batch, ..., rows, *shape)`` to ``(batch, ..., rows)``."""
        return vector_norm(self.weighted(gradients), self.problem.dual)

    def combine_flat(self, matrix: Tensor) -> Tensor:
        """Same as ``combine`` for ``(..., rows, n)`` matrices whose columns have their weights."""
        p, q = self.problem.p, self.problem.q
        if q is None or q == math.inf:
            return vector_norm(matrix, self.problem.dual).amax(-1)
        if p == 1.0:
            return vector_norm(matrix.transpose(-1, -2), q).amax(-1)
        if (p, q) == (2.0, 2.0):
            return torch.linalg.matrix_norm(matrix, ord=2)
        if has_formula(p, q, matrix.shape):
            return operator_norm(matrix, p, q)
        # from l_inf to l2: exact for matrices without negative entries
        by_rows = vector_norm(vector_norm(matrix, 1.0), 2.0)
        return torch.minimum(by_rows, math.sqrt(matrix.shape[-1]) * torch.linalg.matrix_norm(matrix, ord=2))

    def scalarised(self) -> PlacedProblem:
        """The same constants as the largest over scalar functionals: the outputs for q = inf, all signed sums for q = 1.

        A scalar problem is its own answer, and so is one without: q = 2, or q = 1 and more than APART_OUTPUTS outputs.
        """
        q, coefficients = self.problem.q, self.coefficients
        if q is None or q == 2.0 or (q == 1.0 and self.count > APART_OUTPUTS):
            return self
        if q == 1.0:
            coefficients = sign_vectors(self.count, self.rows) @ self.rows
        return replace(self, problem=replace(self.problem, output=AllLogits(), q=None), coefficients=coefficients)

    def weighted(self, gradients: Tensor) -> Tensor:
        """Gradients ``(batch, ..., *shape)`` as ``(batch, ..., inputs)``, each entry times its weight."""
        depth = len(self.region.shape)
        weights = self.region.movable if self.problem.plain else self.weights.to(gradients)
        weights = weights.reshape(self.batch, *(1,) * (gradients.dim() - depth - 1), *self.region.shape)
        return (gradients * weights).flatten(-depth)
