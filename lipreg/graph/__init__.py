"""Networks as graphs of Input, Affine, Relu and MaxPool nodes, captured from torch modules."""

from lipreg.graph.capture import CapturedNetwork, capture, check_agreement, evaluation_mode
from lipreg.graph.chain import DenseChain, dense_chain
from lipreg.graph.nodes import Affine, Graph, Input, MaxPool, Node, Relu
from lipreg.graph.registry import Example, Refusal, lowers
from lipreg.graph.symbols import Context, Symbol

__all__ = [
    "Affine",
    "CapturedNetwork",
    "Context",
    "DenseChain",
    "Example",
    "Graph",
    "Input",
    "MaxPool",
    "Node",
    "Refusal",
    "Relu",
    "Symbol",
    "capture",
    "check_agreement",
    "dense_chain",
    "evaluation_mode",
    "lowers",
]
