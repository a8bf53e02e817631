"""Networks as graphs of Input, Affine, Relu, MaxPool and Curved nodes, captured from torch modules."""

from lipreg.graph.agreement import check_agreement, check_hooks
from lipreg.graph.beside import beside_inputs
from lipreg.graph.capture import CapturedNetwork, capture, traced
from lipreg.graph.chain import ReluChain, chain_of, fixed_chain
from lipreg.graph.context import Context
from lipreg.graph.copying import Copying
from lipreg.graph.homogeneous import homogenised, kink_unit
from lipreg.graph.layers import Layer
from lipreg.graph.lowerings.difference import Difference
from lipreg.graph.magnitudes import check_question, magnitudes
from lipreg.graph.module_state import evaluation_mode
from lipreg.graph.network import Graph
from lipreg.graph.nodes import Affine, Curved, Input, MaxPool, Node, Relu, node_size, read_nodes, same_kind
from lipreg.graph.passes import Backward, Forward, UnitsAlike, WithoutCurves, WithoutPools
from lipreg.graph.random_state import untouched_random_state
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.repeats import same_parts
from lipreg.graph.selected import Select
from lipreg.graph.symbols import Symbol
from lipreg.graph.unwrap import unwrap

__all__ = [
    "Affine",
    "Backward",
    "CapturedNetwork",
    "Context",
    "Copying",
    "Curved",
    "Difference",
    "Example",
    "Forward",
    "Graph",
    "Input",
    "Layer",
    "MaxPool",
    "Node",
    "Refusal",
    "Relu",
    "ReluChain",
    "Select",
    "Symbol",
    "UnitsAlike",
    "WithoutCurves",
    "WithoutPools",
    "beside_inputs",
    "capture",
    "chain_of",
    "check_agreement",
    "check_hooks",
    "check_question",
    "evaluation_mode",
    "fixed_chain",
    "homogenised",
    "kink_unit",
    "lowers",
    "magnitudes",
    "node_size",
    "read_nodes",
    "same_kind",
    "same_parts",
    "traced",
    "untouched_random_state",
    "unwrap",
]
