"""Reads networks (classes with saved weights, ONNX files, exported programs) and reference points from files."""

from lipreg.loading.names import make_named
from lipreg.loading.networks import load_network
from lipreg.loading.points import load_points

__all__ = ["load_network", "load_points", "make_named"]
