"""Affine forms: every unit of a network over few variables, with the stable units folded away.

Over the region, a unit whose sign is decided is affine, so it needs no variable: pre-activations are written over the
input displacement d = x - x0 and the outputs h of the unstable units alone; gradients over the switched gradients w of the
unstable units alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from lipreg.bounds import Analysis
from lipreg.graph import Affine, Input, Relu
from lipreg.linalg import LinearMap


@dataclass(frozen=True)
class Form:
    """matrix @ v + constant, for variables v; one row an entry, ``(entries, variables)``."""

    matrix: np.ndarray
    constant: np.ndarray

    def rows(self, chosen: np.ndarray) -> Form:
        return Form(self.matrix[chosen], self.constant[chosen])


@dataclass(frozen=True)
class Units:
    """The unstable units of one reference point, in order of the graph, and bounds on them.

    Attributes:
        node: Relu node of each unit.
        position: flat position in the node.
        lower, upper: pre-activation bounds l < 0 < u.
        leak: slope of the negative side.
    """

    node: np.ndarray
    position: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    leak: np.ndarray

    def __len__(self) -> int:
        return len(self.node)

    def before(self, node: int) -> Units:
        """The units of the nodes before one."""
        kept = self.node < node
        return Units(*(column[kept] for column in (self.node, self.position, self.lower, self.upper, self.leak)))

    def of(self, node: int) -> np.ndarray:
        """Indices of the units of one Relu node."""
        return np.flatnonzero(self.node == node)


def unstable_units(analysis: Analysis) -> Units:
    """The unstable units of a single-point analysis."""
    analysis.graph.require(Affine, Relu, who="the exact program")
    parts: list[list[np.ndarray]] = [[] for _ in range(5)]
    for index, node in analysis.graph.relus():
        reach = analysis.reach[node.source]
        found = reach.unstable[0].flatten().nonzero().flatten().numpy()
        columns = (
            np.full(len(found), index),
            found,
            reach.lower[0].flatten().numpy()[found],
            reach.upper[0].flatten().numpy()[found],
            np.full(len(found), node.slope),
        )
        for part, column in zip(parts, columns, strict=True):
            part.append(column)
    if not parts[0]:
        return Units(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0), np.empty(0), np.empty(0))
    return Units(*(np.concatenate(part) for part in parts))


def forward_forms(analysis: Analysis, units: Units) -> Form:
    """Pre-activations of the unstable units over v = (d, h), one row a unit."""
    inputs = analysis.placed.region.center[0].numel()
    width = inputs + len(units)
    z = Form(np.zeros((len(units), width)), np.zeros(len(units)))

    def relu(index: int, node: Relu, own: Form) -> Form:
        at = units.of(index)
        chosen = units.position[at]
        z.matrix[at], z.constant[at] = own.matrix[chosen], own.constant[chosen]
        return _folded(analysis, units, inputs, index, node, own)

    _sweep(analysis, width, relu)
    return z


def node_form(analysis: Analysis, units: Units, index: int) -> Form:
    """An Affine node over v = (d, h), one row an entry; ``units`` are the unstable ones before it."""
    inputs = analysis.placed.region.center[0].numel()

    def relu(at: int, node: Relu, own: Form) -> Form:
        return _folded(analysis, units, inputs, at, node, own)

    return _sweep(analysis, inputs + len(units), relu)[index]


def cell_forms(analysis: Analysis, units: Units, pattern: np.ndarray) -> tuple[Form, np.ndarray]:
    """Pre-activations of every unit that can move, over d, on the cell where the unstable units follow ``pattern``.

    Returns:
        One row a unit, and the sign (1 active, -1 not) that the cell demands of it.
    """
    forms: list[Form] = []
    signs: list[np.ndarray] = []

    def relu(index: int, node: Relu, own: Form) -> Form:
        active = _active(analysis, node)
        at = units.of(index)
        active[units.position[at]] = pattern[at] > 0.5
        moves = analysis.reach[node.source].moves[0].flatten().numpy()
        forms.append(own.rows(moves))
        signs.append(np.where(active[moves], 1.0, -1.0))
        return _scaled(own, np.where(active, 1.0, node.slope))

    inputs = analysis.placed.region.center[0].numel()
    _sweep(analysis, inputs, relu)
    if not forms:
        return Form(np.zeros((0, inputs)), np.zeros(0)), np.zeros(0)
    stacked = Form(np.concatenate([f.matrix for f in forms]), np.concatenate([f.constant for f in forms]))
    return stacked, np.concatenate(signs)


def _folded(analysis: Analysis, units: Units, inputs: int, index: int, node: Relu, own: Form) -> Form:
    """Outputs of a Relu node: stable units are affine in their pre-activations, unstable ones are variables."""
    at = units.of(index)
    chosen = units.position[at]
    folded = _scaled(own, np.where(_active(analysis, node), 1.0, node.slope))
    folded.matrix[chosen], folded.constant[chosen] = 0.0, 0.0
    folded.matrix[chosen, inputs + at] = 1.0
    return folded


def _sweep(analysis: Analysis, width: int, relu: Callable[[int, Relu, Form], Form]) -> dict[int, Form]:
    """Carries affine forms over ``width`` variables, the displacement first, through the graph: one for each node."""
    graph, center = analysis.graph, analysis.placed.region.center[0].flatten().numpy()
    forms: dict[int, Form] = {}
    for index, node in enumerate(graph.nodes):
        match node:
            case Input():
                forms[index] = Form(np.eye(len(center), width), center)
            case Affine():
                parts = [_through(map, forms[i]) for i, map in node.terms()]
                matrix = sum((p.matrix for p in parts), start=np.zeros((node.bias.numel(), width)))
                constant = sum((p.constant for p in parts), start=node.bias.flatten().numpy())
                forms[index] = Form(matrix, constant)
            case Relu(source=source):
                forms[index] = relu(index, node, forms[source])
    return forms


def _active(analysis: Analysis, node: Relu) -> np.ndarray:
    """Whether a stable unit is on its active side. By its upper bound: at the reference point it may touch the kink."""
    reach = analysis.reach[node.source]
    side = torch.where(reach.moves, reach.upper, reach.value)
    return side[0].flatten().numpy() > 0


def _scaled(form: Form, factor: np.ndarray) -> Form:
    return Form(form.matrix * factor[:, None], form.constant * factor)


def backward_forms(analysis: Analysis, units: Units, functional: Form) -> tuple[Form, Form]:
    """Gradients of c . f over v = (w, t): w the switched gradients of the unstable units, t what c is made of.

    A unit passes on leak g + (1 - leak) w with w = g when it is active and 0 when not.

    Args:
        functional: c over t, one row an output: ``matrix`` is ``(outputs, t)``, without columns for a fixed functional.

    Returns:
        The gradient g with respect to the output of each unstable unit, and with respect to each input.
    """
    graph = analysis.graph
    outputs, chosen_by = functional.matrix.shape
    width = len(units) + chosen_by
    flowing: dict[int, Form] = {}
    g = Form(np.zeros((len(units), width)), np.zeros(len(units)))

    def pour(index: int, form: Form) -> None:
        old = flowing.get(index)
        flowing[index] = form if old is None else Form(old.matrix + form.matrix, old.constant + form.constant)

    def back(affine: Affine, form: Form) -> None:
        for source, map in affine.terms():
            pour(source, _through(map, form, transpose=True))

    back(graph.output, Form(np.hstack([np.zeros((outputs, len(units))), functional.matrix]), functional.constant))
    for index in range(len(graph.nodes) - 2, 0, -1):
        if index not in flowing:
            continue
        node, form = graph.nodes[index], flowing.pop(index)
        if isinstance(node, Affine):
            back(node, form)
        elif isinstance(node, Relu):
            at = units.of(index)
            chosen = units.position[at]
            g.matrix[at], g.constant[at] = form.matrix[chosen], form.constant[chosen]
            # flat units pass nothing on that reaches an input with room
            moves = analysis.reach[node.source].moves[0].flatten().numpy()
            scale = np.where(_active(analysis, node), 1.0, node.slope) * moves
            scale[chosen] = node.slope
            passed = _scaled(form, scale)
            passed.matrix[chosen, at] += 1.0 - node.slope
            pour(node.source, passed)
    inputs = analysis.placed.region.center[0].numel()
    return g, flowing.get(0, Form(np.zeros((inputs, width)), np.zeros(inputs)))


def _through(map: LinearMap, form: Form, transpose: bool = False) -> Form:
    """The form of map(entries), or of its transpose: the map applied to every column at once."""
    shape = map.out_shape if transpose else map.in_shape
    apply = map.transpose if transpose else map
    columns = torch.from_numpy(np.vstack([form.matrix.T, form.constant])).reshape(-1, *shape)
    out = apply(columns).flatten(1).numpy()
    return Form(out[:-1].T, out[-1])
