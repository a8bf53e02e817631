"""Layers of two networks on the same inputs that do nearly the same: ReLUs of a graph in pairs, and how far apart these are.

Over a pair of layers, first and second, with sources h and h',

    z - z' = A (h - h') + (A - A') h' + b - b',

and what is small on the right stays small: the difference of the maps, and that of the sources, which is 0 where both layers
read one node and a pair's own where they read a pair. After a ReLU

    h - h' lies between 0 and z - z'     (between the negative slope's share of it and all of it, of a leaky one),

and is z - z' itself where both units are on. Bounds of the two one by one give |z| + |z'|. In this form differences are
followed by ReluDiff (Paulsen, Wang & Wang 2020) and NeuroDiff (Paulsen et al. 2020), for verification.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lipreg.bounds.analysis import Analysis
from lipreg.bounds.intervals import Ends
from lipreg.graph import Affine, Graph, Relu, read_nodes, same_kind, same_parts
from lipreg.linalg import LinearMap, dual_norm, map_difference
from lipreg.linalg.floats import EPS, SPARE, TINY
from lipreg.regions import PlacedRegion


@dataclass(frozen=True)
class PairTerm:
    """A term of a pair of layers: they read one node, or a pair of nodes.

    Attributes:
        first, second: the sources h and h'; equal where both read one node.
        map: A, of the first.
        difference: A - A', with A' the map of the second.
    """

    first: int
    second: int
    map: LinearMap
    difference: LinearMap


@dataclass(frozen=True)
class LayerPair:
    """Two Relu nodes that belong together.

    Attributes:
        first, second: their indices, the first before the second.
        terms: the sources that their layers read, and the maps.
    """

    first: int
    second: int
    terms: tuple[PairTerm, ...]


@dataclass(frozen=True)
class PairDifference:
    """Bounds on how far apart a pair's pre-activations are, ``(batch, *shape)`` each.

    Attributes:
        lower, upper: bounds on z - z' over X.
        least, most: bounds on z - z' at the reference points.
        same: whether z = z' for all inputs, in exact arithmetic, ``shape``.
        outputs: bounds on h - h' over X, h and h' the outputs of the ReLUs.
    """

    lower: Tensor
    upper: Tensor
    least: Tensor
    most: Tensor
    same: Tensor
    outputs: Ends


def find_pairs(graph: Graph) -> dict[int, LayerPair]:
    """The pairs of a graph, by their first node, in order.

    Two Relu nodes of one shape and slope are one where neither depends on the other, their layers read the same nodes or
    pairs, and these layers are closer to each other than the larger of them is to 0. Bounds that follow hold for any pairs;
    one whose layers are far apart costs time and gains nothing. Max pools make no pairs.
    """
    pairs: dict[int, LayerPair] = {}
    if not graph.branches:
        return pairs
    above: dict[int, frozenset[int]] = {}  # what each node depends on
    partner: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        above[index] = frozenset(read_nodes(node)).union(*(above[source] for source in read_nodes(node)))
        if not isinstance(node, Relu):
            continue
        for other, earlier in graph.relus():
            if other >= index or other in partner or other in above[index] or not same_kind(earlier, node):
                continue
            terms = _terms(graph.affine(earlier.source), graph.affine(node.source), partner)
            if terms is not None:
                pairs[other], partner[other], partner[index] = LayerPair(other, index, terms), index, other
                break
    return dict(sorted(pairs.items()))


def _terms(first: Affine, second: Affine, partner: Mapping[int, int]) -> tuple[PairTerm, ...] | None:
    others, terms = dict(second.terms()), []
    if len(first.sources) != len(second.sources) or not first.sources:
        return None
    for source, map in first.terms():
        other = source if source in others else partner.get(source, -1)
        between = map_difference(map, others[other]) if other in others else None
        if between is None:
            return None
        terms.append(PairTerm(source, other, map, between))
    return (
        tuple(terms) if _size(term.difference for term in terms) < max(_size(first.maps), _size(second.maps)) else None
    )


def _size(maps: Iterable[LinearMap]) -> float:
    numbers = (entries.detach().double() for map in maps for entries in map.entries if entries.is_floating_point())
    return sum(float(entries.square().sum()) for entries in numbers)


def layer_pairs(analysis: Analysis) -> dict[int, LayerPair]:
    """The pairs of an analysis's graph, searched for once; none where the region is unbounded, as bounds are then."""
    return analysis.memoised(_pairs) if analysis.placed.region.bounded else {}


def pair_differences(analysis: Analysis) -> dict[int, PairDifference]:
    """How far apart the pre-activations of each pair are, by its first node; computed once.

    The bounds are in the analysis's own arithmetic, rounded outward where its bounds are. They cost a pass with a few
    columns for each pair.
    """
    return analysis.memoised(_apart)


def _pairs(analysis: Analysis) -> dict[int, LayerPair]:
    return find_pairs(analysis.graph)


def _apart(analysis: Analysis) -> dict[int, PairDifference]:
    differences: dict[int, PairDifference] = {}
    for index, pair in layer_pairs(analysis).items():
        differences[index] = _layers(analysis, pair, differences)
    return differences


def _layers(analysis: Analysis, pair: LayerPair, before: Mapping[int, PairDifference]) -> PairDifference:
    """A (h - h') + (A - A') h' + b - b', around the reference points where h' is the input."""
    graph, region = analysis.graph, analysis.placed.region
    first, second = graph.read_by(pair.first), graph.read_by(pair.second)
    constant = (first.bias - second.bias).expand(region.batch, *first.shape)
    parts, size, length = [], constant.abs(), SPARE
    same = (first.bias == second.bias) & same_parts(first.bias_of, second.bias_of)
    for term in pair.terms:
        same = same & (_reads(term.difference) == 0)
        if term.first != term.second:
            same = same & (_reads(term.map, ~before[term.first].same) == 0)
        length += term.map.lengths + term.difference.lengths
        if term.first != term.second:
            parts.append(_image(term.map, before[term.first].outputs))
        if term.second:
            bounds = analysis.value_bounds[term.second]
            parts.append(_image(term.difference, (bounds.lower, bounds.upper)))
            continue
        constant, size = constant + term.difference(region.center), size + term.difference.sizes()(region.center.abs())
        down, up = (end.reshape(region.center.shape) for end in region.displacement_ends)
        parts.append(_within_ball(region, term.difference, *_image(term.difference, (down, up))))
    middle = sum((middle for middle, _, _ in parts), start=constant)
    radius = sum((radius for _, radius, _ in parts), start=torch.zeros_like(constant))
    if analysis.outward:
        size = sum((size for _, _, size in parts), start=size)
        radius = radius + 2 * length * (EPS * size + TINY) + first.bias_rounding() + second.bias_rounding()
    z, others = analysis.value_bounds[_source(graph, pair.first)], analysis.value_bounds[_source(graph, pair.second)]
    lower, upper = _less(analysis, (z.lower, z.upper), (others.lower, others.upper))
    lower, upper = torch.maximum(lower, middle - radius), torch.minimum(upper, middle + radius)
    least, most = _less(analysis, z.at, others.at)
    least, most = torch.maximum(least, lower), torch.minimum(most, upper)
    lower, upper, least, most = (end.masked_fill(same, 0.0) for end in (lower, upper, least, most))
    return PairDifference(lower, upper, least, most, same, _activated(analysis, pair, lower, upper, same))


def _reads(map: LinearMap, inputs: Tensor | None = None) -> Tensor:
    """How many of some inputs, or of all, each output reads with a weight that is not 0."""
    weights = map.exact_form.with_entries(lambda entries: (entries != 0).to(entries))
    ones = torch.ones(map.in_shape, dtype=map.entries[0].dtype, device=map.entries[0].device)
    return weights(ones if inputs is None else ones * inputs)


def _image(map: LinearMap, ends: Ends) -> tuple[Tensor, Tensor, Tensor]:
    """The middle and the radius of a box's image under a map, and the magnitudes that it adds up."""
    lower, upper = ends
    half, most = (upper - lower) / 2, torch.maximum(lower.abs(), upper.abs())
    if map.rounded:
        return map((lower + upper) / 2), map.abs()(half), map.sizes()(most)
    radius, size = map.abs()(torch.cat([half, most])).split(len(lower))
    return map((lower + upper) / 2), radius, size


def _within_ball(
    region: PlacedRegion, map: LinearMap, middle: Tensor, radius: Tensor, size: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The image of a box of displacements, cut to that of the ball inside of it."""
    if region.norm == math.inf:
        return middle, radius, size
    movable = region.movable.to(middle.dtype)
    far = map.row_norms(dual_norm(region.norm), movable) * region.distance(region.norm).reshape(
        -1, *(1,) * (middle.dim() - 1)
    )
    lower, upper = torch.maximum(middle - radius, -far), torch.minimum(middle + radius, far)
    return (lower + upper) / 2, (upper - lower) / 2, torch.maximum(size, far)


def _activated(analysis: Analysis, pair: LayerPair, lower: Tensor, upper: Tensor, same: Tensor) -> Ends:
    """Bounds on h - h' = s (z - z'), with s the slope between the two, and those of h and h' one by one."""
    graph, node = analysis.graph, analysis.graph.nodes[pair.first]
    assert isinstance(node, Relu)
    z, other = analysis.value_bounds[_source(graph, pair.first)], analysis.value_bounds[_source(graph, pair.second)]
    one, negative_slope = torch.ones_like(lower), torch.full_like(lower, node.slope)
    most = torch.where((z.upper <= 0) & (other.upper <= 0), negative_slope, one)
    least = torch.where((z.lower >= 0) & (other.lower >= 0), one, negative_slope)
    lower = lower * torch.where(lower < 0, most, least)
    upper = upper * torch.where(upper > 0, most, least)
    h, other_h = analysis.value_bounds[pair.first], analysis.value_bounds[pair.second]
    low, high = _less(analysis, (h.lower, h.upper), (other_h.lower, other_h.upper))
    low, high = torch.maximum(low, lower - EPS * lower.abs()), torch.minimum(high, upper + EPS * upper.abs())
    return low.masked_fill(same, 0.0), high.masked_fill(same, 0.0)


def _less(analysis: Analysis, first: Ends, other: Ends) -> Ends:
    """The interval of own - other."""
    lower, upper = first[0] - other[1], first[1] - other[0]
    if not analysis.outward:
        return lower, upper
    return lower - EPS * lower.abs() - TINY, upper + EPS * upper.abs() + TINY


def _source(graph: Graph, index: int) -> int:
    node = graph.nodes[index]
    assert isinstance(node, Relu)
    return node.source
