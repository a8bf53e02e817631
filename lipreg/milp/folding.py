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
from torch import Tensor

from lipreg.bounds import Analysis, form_rounding
from lipreg.errors import LipregError
from lipreg.graph import Affine, Input, Relu
from lipreg.linalg import Numbers
from lipreg.milp.arithmetic import MORE, columns, exactly, sharp
from lipreg.milp.units import Units, sizes


@dataclass(frozen=True)
class Form:
    """matrix @ v + constant, for variables v; one row an entry, ``(entries, variables)``.

    Attributes:
        error: how far the true entry may be from the form anywhere in the region, ``(entries,)``; None where nothing is
            said of it.
    """

    matrix: np.ndarray
    constant: np.ndarray
    error: np.ndarray | None = None

    def rows(self, chosen: np.ndarray) -> Form:
        return Form(self.matrix[chosen], self.constant[chosen], None if self.error is None else self.error[chosen])

    @property
    def loss(self) -> np.ndarray:
        """``error``, 0 where nothing is said of it."""
        return np.zeros(len(self.constant)) if self.error is None else self.error


def forward_forms(analysis: Analysis, units: Units) -> Form:
    """Pre-activations of the unstable units over v = (d, h), one row a unit."""
    width = analysis.placed.region.center[0].numel() + len(units)
    sweep = _Sweep(analysis, width, units)
    found: list[Form] = []

    def relu(index: int, node: Relu, own: Numbers) -> Numbers:
        at = units.of(index)
        if len(at):
            found.append(sweep.form(node.source, own).rows(units.position[at]))
        return _folded(analysis, units, index, node, own, sweep)

    sweep.run(relu)
    return _stacked(found, width)


def node_form(analysis: Analysis, units: Units, index: int) -> Form:
    """An Affine node over v = (d, h), one row an entry; ``units`` are the unstable ones before it."""
    width = analysis.placed.region.center[0].numel() + len(units)
    sweep = _Sweep(analysis, width, units)

    def relu(at: int, node: Relu, own: Numbers) -> Numbers:
        return _folded(analysis, units, at, node, own, sweep)

    return sweep.form(index, sweep.run(relu, index))


def cell_forms(analysis: Analysis, units: Units, pattern: np.ndarray) -> tuple[Form, np.ndarray]:
    """Pre-activations of every unit that can move, over d, on the cell where the unstable units follow ``pattern``.

    Returns:
        One row a unit, and the sign (1 active, -1 not) that the cell demands of it.
    """
    inputs = analysis.placed.region.center[0].numel()
    sweep = _Sweep(analysis, inputs)
    forms: list[Form] = []
    signs: list[np.ndarray] = []

    def relu(index: int, node: Relu, own: Numbers) -> Numbers:
        active = _active(analysis, node)
        at = units.of(index)
        active[units.position[at]] = pattern[at] > 0.5
        moves = analysis.reach[node.source].moves[0].flatten().numpy()
        forms.append(sweep.form(node.source, own).rows(moves))
        signs.append(np.where(active[moves], 1.0, -1.0))
        return own.times(_shaped(np.where(active, 1.0, node.slope), node.shape))

    sweep.run(relu)
    return _stacked(forms, inputs), np.concatenate([np.zeros(0), *signs])


class _Sweep:
    """Carries affine forms over ``width`` variables, the displacement first, through the graph as columns.

    The last column is the constant: in float64 what the analysis knows of the layers at x0, whose error ``form_rounding``
    has; in digits x0 itself goes through the layers, without one. ``units`` are those whose outputs are the variables
    after the displacement.
    """

    def __init__(self, analysis: Analysis, width: int, units: Units | None = None) -> None:
        self.analysis, self.width, self.make = analysis, width, columns(analysis)
        self.ends = np.append(sizes(analysis, units), 1.0)

    def run(self, relu: Callable[[int, Relu, Numbers], Numbers], until: int = -1) -> Numbers:
        """The columns of node ``until``, of the output by default."""
        analysis, graph, exact = self.analysis, self.analysis.graph, exactly(self.analysis)
        until %= len(graph.nodes)
        found: dict[int, Numbers] = {}
        for index, node in enumerate(graph.nodes[: until + 1]):
            match node:
                case Input(shape=shape):
                    columns = torch.eye(self.width + 1, torch.Size(shape).numel(), dtype=torch.float64)
                    if exact:
                        columns[-1] = analysis.placed.region.center[0].flatten()
                    found[index] = self.make(columns.reshape(-1, *shape))
                case Affine(bias=bias):
                    constant = bias if exact else analysis.anchors[index].constant[0]
                    found[index] = self.make(self._constant(constant))
                    for source, map in node.terms():
                        found[index] = found[source].through(map) + found[index]
                case Relu(source=source):
                    found[index] = relu(index, node, found[source])
        return found[until]

    def form(self, index: int, own: Numbers) -> Form:
        """The form of an Affine node, with what it may be off by."""
        value, lost = (part.flatten(1).numpy() for part in own.rounded())
        if exactly(self.analysis):
            error = self.ends @ lost
        else:
            error = form_rounding(self.analysis)[index][0].flatten().numpy()
        return Form(value[:-1].T, value[-1], error)

    def _constant(self, value: Tensor) -> Tensor:
        whole = torch.zeros(self.width + 1, *value.shape, dtype=torch.float64)
        whole[-1] = value
        return whole


def _folded(analysis: Analysis, units: Units, index: int, node: Relu, own: Numbers, sweep: _Sweep) -> Numbers:
    """Outputs of a Relu node: stable units are affine in their pre-activations, unstable ones are variables."""
    at = units.of(index)
    chosen = units.position[at]
    factor = np.where(_active(analysis, node), 1.0, node.slope)
    factor[chosen] = 0.0
    variables = torch.zeros(sweep.width + 1, len(factor), dtype=torch.float64)
    variables[sweep.width - len(units) + torch.from_numpy(at), torch.from_numpy(chosen)] = 1.0
    return own.times(_shaped(factor, node.shape)) + sweep.make(variables.reshape(-1, *node.shape))


def _stacked(forms: list[Form], width: int) -> Form:
    """The rows of several forms."""
    parts = [(f.matrix, f.constant, f.loss) for f in forms] or [(np.zeros((0, width)), np.zeros(0), np.zeros(0))]
    return Form(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _active(analysis: Analysis, node: Relu) -> np.ndarray:
    """Whether a stable unit is on its active side. By its upper bound: at the reference point it may touch the kink."""
    reach = analysis.reach[node.source]
    side = torch.where(reach.moves, reach.upper, reach.value)
    return side[0].flatten().numpy() > 0


def _shaped(factor: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.asarray(factor, dtype=np.float64)).reshape(shape)


def backward_forms(analysis: Analysis, units: Units, functional: Form) -> tuple[Form, Form]:
    """Gradients of c . f over v = (w, t): w the switched gradients of the unstable units, t what c is made of.

    A unit passes on leak g + (1 - leak) w with w = g when it is active and 0 when not.

    Args:
        functional: c over t, one row an output: ``matrix`` is ``(outputs, t)``, without columns for a fixed functional.

    Returns:
        The gradient g with respect to the output of each unstable unit, and with respect to each input. Their entries are
        as float64 has them, or, where digits are taken, known to a few units in the last place.

    Raises:
        LipregError: entries are too many orders of magnitude apart for that.
    """
    for more in MORE:
        found = _backward_forms(analysis, units, functional, columns(analysis, more))
        if found is not None:
            return found
    raise LipregError(
        "weights are too many orders of magnitude apart to be multiplied out",
        where="folding a network",
        todo="Rescale the layers",
    )


def _backward_forms(
    analysis: Analysis, units: Units, functional: Form, make: Callable[[Tensor], Numbers]
) -> tuple[Form, Form] | None:
    """The gradients in one arithmetic; None where it has not enough digits."""
    graph, short = analysis.graph, False
    outputs, chosen_by = functional.matrix.shape
    width = len(units) + chosen_by
    flowing: dict[int, Numbers] = {}
    g: list[Form] = []

    def form(own: Numbers) -> Form:
        nonlocal short
        value, error = (part.flatten(1) for part in own.rounded())
        short = short or not sharp(value, error)
        return Form(value[:-1].T.numpy(), value[-1].numpy())

    def back(affine: Affine, own: Numbers) -> None:
        for source, map in affine.terms():
            part = own.back(map)
            flowing[source] = flowing[source] + part if source in flowing else part

    start = np.hstack([np.zeros((outputs, len(units))), functional.matrix, functional.constant[:, None]])
    back(graph.output, make(torch.from_numpy(start.T.copy()).reshape(-1, *graph.output.shape)))
    for index in range(len(graph.nodes) - 2, 0, -1):
        node = graph.nodes[index]
        at = units.of(index)
        if index not in flowing:
            g.append(Form(np.zeros((len(at), width)), np.zeros(len(at))))  # the output does not depend on it
            continue
        own = flowing.pop(index)
        if isinstance(node, Affine):
            back(node, own)
        elif isinstance(node, Relu):
            chosen = units.position[at]
            g.append(form(own).rows(chosen))
            # flat units pass nothing on that reaches an input with room
            moves = analysis.reach[node.source].moves[0].flatten().numpy()
            scale = np.where(_active(analysis, node), 1.0, node.slope) * moves
            scale[chosen] = node.slope
            switched = torch.zeros(width + 1, len(scale), dtype=torch.float64)
            switched[torch.from_numpy(at), torch.from_numpy(chosen)] = 1.0 - node.slope
            passed = own.times(_shaped(scale, node.shape)) + make(switched.reshape(-1, *node.shape))
            flowing[node.source] = flowing[node.source] + passed if node.source in flowing else passed
    inputs = analysis.placed.region.center[0].numel()
    at_input = form(flowing[0]) if 0 in flowing else Form(np.zeros((inputs, width)), np.zeros(inputs))
    return None if short else (_stacked(g[::-1], width), at_input)
