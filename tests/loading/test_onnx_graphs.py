"""ONNX graphs whose nodes are in another order, read what is not there, or mean another thing in an old opset."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lipreg.errors import InvalidInput, UnsupportedModel
from lipreg.loading import load_network
from tests.loading.test_onnx import IMAGE, MOMENTS, RANDOM, ROW, helper, node, onnx, real, saved


@pytest.mark.parametrize(
    ("one", "constants", "shape"),
    [(node("BatchNormalization", "g", "b", "m", "v"), MOMENTS, IMAGE), (node("Dropout"), {}, ROW)],
    ids=["batch norm", "dropout"],
)
def test_operators_of_before_opset_7_train_unless_they_say_otherwise(
    one: Any, constants: dict[str, np.ndarray], shape: tuple[int, ...], tmp_path: Path
) -> None:
    x = torch.from_numpy(RANDOM.random((3, *shape)).astype(np.float32))
    later = load_network(saved(tmp_path / "later.onnx", [one], constants, shape, 9))
    with pytest.raises(UnsupportedModel, match="is_test=0: in training mode"):
        load_network(saved(tmp_path / "old.onnx", [one], constants, shape, 6))
    tested = helper.make_node(one.op_type, one.input, one.output, is_test=1)
    old = load_network(saved(tmp_path / "old.onnx", [tested], constants, shape, 6))
    assert torch.equal(old(x), later(x))


def test_nodes_in_any_order_are_one_network(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Sub", ["r", "h"], ["d"]),
        helper.make_node("Add", ["d", "x"], ["y"]),
    ]
    constants, x = {"w": real(4, 4)}, torch.rand(3, 4)
    expected = load_network(saved(tmp_path / "net.onnx", nodes, constants, ROW))(x)
    for order in itertools.permutations(nodes):
        assert torch.equal(load_network(saved(tmp_path / "net.onnx", list(order), constants, ROW))(x), expected)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (
            [helper.make_node("Add", ["x", "z"], ["y"]), helper.make_node("Relu", ["y"], ["z"])],
            "wait for each other: Add",
        ),
        ([helper.make_node("Gemm", ["x", "w"], ["y"])], "Gemm reads 'w', which nothing makes"),
        ([node("Relu"), node("Identity")], "'y' is made twice"),
        ([helper.make_node("Relu", ["x"], ["z"])], "no value 'y'.*: z"),
        ([], r"no value 'y'.*Accepted: a value that a node makes\.$"),
    ],
)
def test_a_graph_that_is_none_says_why(nodes: list[Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=said):
        load_network(saved(tmp_path / "net.onnx", nodes, {}, ROW))


def test_an_output_that_is_the_input_or_a_constant_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.onnx", [node("Add", "c")], {"c": real(4)}, ROW)
    for end, said in (("x", "'x' is the input itself"), ("c", "'c' is a constant")):
        with pytest.raises(InvalidInput, match=said):
            load_network(path, module=end)


def test_operators_that_hold_graphs_are_not_folded(tmp_path: Path) -> None:
    """Their graphs may read any value, also where their own inputs are constants."""
    end = helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Relu", ["x"], ["z"])], "branch", [], [end])
    chosen = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    with pytest.raises(UnsupportedModel, match="not read: If"):
        load_network(saved(tmp_path / "net.onnx", [chosen], {"c": np.array(True)}, ROW))


def test_an_error_at_a_node_of_constants_names_it(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["v", "v"], ["w"]), helper.make_node("Gemm", ["x", "w"], ["y"])]
    with pytest.raises(UnsupportedModel, match=r"MatMul \(at 'w'"):
        load_network(saved(tmp_path / "net.onnx", nodes, {"v": real(4, 3)}, ROW))
