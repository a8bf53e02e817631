"""ONNX files: every operator that is read, in old and new forms, compared with onnxruntime, and what is refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lipreg import AllLogits, LinfBall, LocalLipschitz, certify
from lipreg.errors import InvalidInput, UnsupportedModel
from lipreg.graph import capture
from lipreg.loading import load_network
from tests.conftest import ROOT

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
ReferenceEvaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
helper, arrays = onnx.helper, onnx.numpy_helper
RANDOM = np.random.default_rng(0)


def real(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def saved(
    path: Path,
    nodes: list[Any],
    constants: dict[str, np.ndarray],
    shape: tuple[int, ...],
    opset: int = 13,
    batch: Any = "N",
) -> Path:
    """A file of these nodes, from "x" to "y"."""
    sizes = {"x": (batch, *shape), "y": None}
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, size) for name, size in sizes.items()]
    held = [arrays.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, str(path))
    return path


def outputs(path: Path, x: np.ndarray) -> np.ndarray:
    """By onnxruntime, point by point."""
    session = runtime.InferenceSession(str(path))
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: x[i : i + 1]})[0] for i in range(len(x))])


def agrees(path: Path, shape: tuple[int, ...], points: int = 8) -> None:
    """The module and its captured graph give onnxruntime's outputs, to the rounding of float32."""
    x = RANDOM.random((points, *shape)).astype(np.float32)
    expected = torch.from_numpy(outputs(path, x)).reshape(points, -1).double()
    network = load_network(path)
    with torch.no_grad():
        found = network(torch.from_numpy(x)).reshape(points, -1).double()
        exact = capture(network, torch.from_numpy(x)).frozen()(torch.from_numpy(x).double()).reshape(points, -1)
    size = max(1.0, float(expected.abs().max()))
    assert float((found - expected).abs().max()) <= 1e-5 * size
    assert float((exact - expected).abs().max()) <= 1e-5 * size


def node(kind: str, *constants: str, **attributes: Any) -> Any:
    return helper.make_node(kind, ["x", *constants], ["y"], **attributes)


IMAGE, ROW = (2, 6, 5), (4,)
MOMENTS = {"g": real(2), "b": real(2), "m": real(2), "v": np.abs(real(2)) + 1}
CASES: dict[str, tuple[Any, dict[str, np.ndarray], tuple[int, ...], int]] = {
    "gemm": (node("Gemm", "w", "b", alpha=0.5, beta=2.0), {"w": real(4, 3), "b": real(3)}, ROW, 13),
    "gemm transposed": (node("Gemm", "w", "b", transB=1), {"w": real(3, 4), "b": real(1, 3)}, ROW, 7),
    "gemm without C": (node("Gemm", "w"), {"w": real(4, 3)}, ROW, 11),
    "matmul": (node("MatMul", "w"), {"w": real(4, 3)}, ROW, 21),
    "matmul of rows": (node("MatMul", "w"), {"w": real(5, 3)}, IMAGE, 9),
    "conv": (
        node("Conv", "w", "b", pads=[1, 1, 1, 1], strides=[2, 1]),
        {"w": real(3, 2, 3, 3), "b": real(3)},
        IMAGE,
        11,
    ),
    "conv uneven": (node("Conv", "w", pads=[0, 1, 2, 0]), {"w": real(3, 2, 3, 2)}, IMAGE, 11),
    "conv groups": (node("Conv", "w", group=2, dilations=[2, 1]), {"w": real(4, 1, 2, 2)}, IMAGE, 21),
    "conv same": (node("Conv", "w", auto_pad="SAME_UPPER", strides=[2, 2]), {"w": real(3, 2, 3, 3)}, IMAGE, 11),
    "conv same lower": (node("Conv", "w", auto_pad="SAME_LOWER"), {"w": real(3, 2, 2, 2)}, IMAGE, 11),
    "conv of a signal": (node("Conv", "w"), {"w": real(3, 2, 3)}, (2, 7), 11),
    "batch norm": (node("BatchNormalization", "g", "b", "m", "v", epsilon=1e-3), MOMENTS, IMAGE, 9),
    "batch norm of rows": (node("BatchNormalization", "g", "b", "m", "v"), MOMENTS, (2,), 15),
    "relu": (node("Relu"), {}, ROW, 14),
    "leaky relu": (node("LeakyRelu", alpha=0.2), {}, ROW, 16),
    "clip old": (node("Clip", min=0.25, max=0.5), {}, ROW, 8),
    "clip": (node("Clip", "low", "high"), {"low": np.float32(0.25), "high": np.float32(0.5)}, ROW, 13),
    "clip below": (node("Clip", "low"), {"low": np.float32(0.5)}, ROW, 12),
    "max pool": (node("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0]), {}, IMAGE, 12),
    "max pool ceil": (node("MaxPool", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1), {}, IMAGE, 12),
    "average pool": (node("AveragePool", kernel_shape=[2, 3], pads=[1, 1, 1, 1]), {}, IMAGE, 11),
    "average pool counted": (
        node("AveragePool", kernel_shape=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1),
        {},
        IMAGE,
        19,
    ),
    "global average pool": (node("GlobalAveragePool"), {}, IMAGE, 13),
    "pad old": (node("Pad", pads=[0, 0, 1, 0, 0, 0, 2, 3], value=0.5), {}, IMAGE, 8),
    "pad": (node("Pad", "p", "v"), {"p": whole(0, 0, 0, 1, 0, 0, 2, 0), "v": np.float32(0.25)}, IMAGE, 13),
    "pad of axes": (node("Pad", "p", "v", "a"), {"p": whole(1, 2), "v": np.float32(0.0), "a": whole(3)}, IMAGE, 18),
    "flatten": (node("Flatten"), {}, IMAGE, 9),
    "flatten from the end": (node("Flatten", axis=-3), {}, IMAGE, 13),
    "reshape": (node("Reshape", "s"), {"s": whole(0, 3, -1)}, IMAGE, 14),
    "reshape to rows": (node("Reshape", "s"), {"s": whole(-1, 60)}, IMAGE, 5),
    "add": (node("Add", "c"), {"c": real(1, 2, 1, 5)}, IMAGE, 14),
    "sub": (helper.make_node("Sub", ["c", "x"], ["y"]), {"c": real(5)}, IMAGE, 7),
    "mul": (node("Mul", "c"), {"c": real(2, 1, 1)}, IMAGE, 13),
    "div": (node("Div", "c"), {"c": np.float32(0.225)}, IMAGE, 13),
    "transpose": (node("Transpose", perm=[0, 2, 3, 1]), {}, IMAGE, 13),
    "concat": (node("Concat", "x", axis=-1), {}, IMAGE, 13),
    "identity": (node("Identity"), {}, ROW, 14),
    **{
        kind.lower(): (node(kind), {}, ROW, 22)
        for kind in ("Abs", "Neg", "Tanh", "Sigmoid", "Softplus", "Softsign", "Erf")
    },
    **{kind.lower(): (node(kind), {}, ROW, 22) for kind in ("Elu", "Selu", "Celu", "Mish", "HardSwish", "HardSigmoid")},
    "elu by alpha": (node("Elu", alpha=0.4), {}, ROW, 11),
    "hard sigmoid by numbers": (node("HardSigmoid", alpha=0.7, beta=0.1), {}, ROW, 11),
    "gelu": (node("Gelu"), {}, ROW, 20),
    "gelu by tanh": (node("Gelu", approximate="tanh"), {}, ROW, 20),
    "prelu": (node("PRelu", "s"), {"s": real(2, 1, 1)}, IMAGE, 16),
    "pow": (node("Pow", "e"), {"e": np.float32(1.0)}, ROW, 15),
    "max": (node("Max", "c"), {"c": real(4)}, ROW, 13),
    "min of three": (node("Min", "x", "c"), {"c": real(1, 4)}, ROW, 13),
    "sum": (node("Sum", "x", "x"), {}, ROW, 13),
    "mean": (node("ReduceMean", axes=[2, 3], keepdims=0), {}, IMAGE, 11),
    "mean by operand": (node("ReduceMean", "a"), {"a": whole(-1)}, IMAGE, 18),
    "sum of axes": (node("ReduceSum", "a"), {"a": whole(1)}, IMAGE, 13),
    "largest": (node("ReduceMax", axes=[1]), {}, IMAGE, 13),
    "smallest": (node("ReduceMin", axes=[-1], keepdims=0), {}, IMAGE, 13),
    "dropout old": (node("Dropout", ratio=0.5), {}, ROW, 10),
    "dropout": (node("Dropout", "r"), {"r": np.float32(0.5)}, ROW, 13),
    "slice": (
        node("Slice", "s", "e", "a", "t"),
        {"s": whole(1, -3), "e": whole(6, 2**40), "a": whole(2, -1), "t": whole(2, 1)},
        IMAGE,
        13,
    ),
    "slice old": (node("Slice", starts=[0, 1], ends=[2**31 - 1, 3], axes=[0, 2]), {}, IMAGE, 9),
    "gather": (node("Gather", "i", axis=2), {"i": whole(0, -1, 3)}, IMAGE, 13),
    "gather one": (node("Gather", "i", axis=-1), {"i": np.array(1)}, IMAGE, 13),
    "where": (
        helper.make_node("Where", ["c", "x", "d"], ["y"]),
        {"c": np.array([True, False, True, True]), "d": real(4)},
        ROW,
        13,
    ),
    "cast": (node("Cast", to=1), {}, ROW, 13),
    "squeeze": (node("Squeeze", "a"), {"a": whole(1)}, (1, 4), 13),
    "squeeze of one number": (node("Squeeze", "a"), {"a": whole(-1)}, (1,), 13),
    "unsqueeze old": (node("Unsqueeze", axes=[1]), {}, ROW, 11),
}


@pytest.mark.parametrize("case", CASES)
def test_an_operator_computes_what_onnxruntime_does(case: str, tmp_path: Path) -> None:
    one, constants, shape, opset = CASES[case]
    agrees(saved(tmp_path / "net.onnx", [one], constants, shape, opset), shape)


def test_activations_that_are_written_out_are_read(tmp_path: Path) -> None:
    """As torch exports SiLU, and a soft shrinkage; and the network can be sent to other processes."""
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["s"]),
        helper.make_node("Mul", ["x", "s"], ["silu"]),
        helper.make_node("Abs", ["silu"], ["m"]),
        helper.make_node("Sub", ["m", "half"], ["less"]),
        helper.make_node("Relu", ["less"], ["rest"]),
        helper.make_node("Sign", ["silu"], ["sign"]),
        helper.make_node("Mul", ["sign", "rest"], ["y"]),
    ]
    path = saved(tmp_path / "net.onnx", nodes, {"half": np.float32(0.1)}, ROW)
    agrees(path, ROW)
    network = pickle.loads(pickle.dumps(load_network(path)))
    assert network(torch.zeros(1, 4)).tolist() == [[0.0] * 4]


WRITTEN = {
    "Softsign": [("Abs", ["x"], ["m"]), ("Add", ["m", "one"], ["d"]), ("Div", ["x", "d"], ["y"])],
    "Silu": [
        ("Neg", ["x"], ["n"]),
        ("Exp", ["n"], ["e"]),
        ("Add", ["one", "e"], ["d"]),
        ("Div", ["x", "d"], ["y"]),
    ],
    "Tanh": [("Neg", ["x"], ["n"]), ("Exp", ["n"], ["e"]), ("Add", ["one", "e"], ["d"]), ("Reciprocal", ["d"], ["y"])],
    "Softplus": [("Exp", ["x"], ["e"]), ("Add", ["e", "one"], ["d"]), ("Log", ["d"], ["y"])],
    "Elu": [
        ("Exp", ["x"], ["e"]),
        ("Sub", ["e", "one"], ["d"]),
        ("Greater", ["x", "zero"], ["on"]),
        ("Where", ["on", "x", "d"], ["y"]),
    ],
    "Mish": [("Softplus", ["x"], ["s"]), ("Tanh", ["s"], ["t"]), ("Mul", ["x", "t"], ["y"])],
    "Hardswish": [
        ("Mul", ["x", "sixth"], ["m"]),
        ("Add", ["m", "half"], ["a"]),
        ("Clip", ["a", "zero", "one"], ["c"]),
        ("Mul", ["x", "c"], ["y"]),
    ],
    "Gelu": [
        ("Mul", ["x", "root"], ["m"]),
        ("Erf", ["m"], ["f"]),
        ("Add", ["f", "one"], ["d"]),
        ("Mul", ["x", "d"], ["p"]),
        ("Mul", ["p", "half"], ["y"]),
    ],
    "Tanhshrink": [("Tanh", ["x"], ["t"]), ("Sub", ["x", "t"], ["y"])],
}
"""Curves in elementary operators, with constants of single precision."""


@pytest.mark.parametrize("curve", WRITTEN)
def test_curves_in_elementary_operators_are_one_node(curve: str, tmp_path: Path) -> None:
    numbers = {"one": 1.0, "zero": 0.0, "half": 0.5, "sixth": 1 / 6, "root": 0.5**0.5}
    read = {name for _, inputs, _ in WRITTEN[curve] for name in inputs}
    constants = {name: np.float32(number) for name, number in numbers.items() if name in read}
    path = saved(tmp_path / "net.onnx", [helper.make_node(*each) for each in WRITTEN[curve]], constants, ROW, 13)
    agrees(path, ROW)
    graph = capture(load_network(path), torch.zeros(1, *ROW)).frozen()
    assert [type(node.curve).__name__ for _, node in graph.curves()] == [curve]
    assert len(graph.nodes) == 4


@pytest.mark.parametrize("operands", [["x", "x"], ["c", "x"]])
def test_other_quotients_are_refused_with_those_that_are_read(operands: list[str], tmp_path: Path) -> None:
    constants = {"c": real(4)} if "c" in operands else {}
    net = load_network(saved(tmp_path / "net.onnx", [helper.make_node("Div", operands, ["y"])], constants, ROW))
    with pytest.raises(UnsupportedModel, match=r"division by activations.*x / \(1 \+ \|x\|\)"):
        capture(net, torch.zeros(1, *ROW))


def test_a_clip_is_the_unit_that_relu6_is(tmp_path: Path) -> None:
    limits = {"zero": np.float32(0), "six": np.float32(6)}
    clip = load_network(saved(tmp_path / "net.onnx", [node("Clip", "zero", "six")], limits, ROW, 13))
    x, problem = torch.zeros(1, 4), LocalLipschitz(LinfBall(9.0), AllLogits(), p=2.0)
    uppers = [certify(net, problem, x, estimator="spectral")[0].upper for net in (clip, torch.nn.ReLU6())]
    assert uppers[0] == uppers[1] <= 1.0 + 1e-6


def test_pieces_and_choices_by_comparisons_are_read(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Split", ["x", "sizes"], ["a", "b"], axis=1),
        helper.make_node("Greater", ["a", "zero"], ["on"]),
        helper.make_node("Not", ["on"], ["off"]),
        helper.make_node("Mul", ["a", "leak"], ["less"]),
        helper.make_node("Where", ["off", "less", "a"], ["leaky"]),
        helper.make_node("LessOrEqual", ["zero", "b"], ["up"]),
        helper.make_node("Cast", ["up"], ["gate"], to=1),
        helper.make_node("Mul", ["b", "gate"], ["relu"]),
        helper.make_node("Concat", ["relu", "leaky"], ["y"], axis=1),
    ]
    held = {"sizes": whole(1, 3), "zero": np.float32(0), "leak": np.float32(0.2)}
    path = saved(tmp_path / "net.onnx", nodes, held, ROW, 16)
    agrees(path, ROW)
    pickle.loads(pickle.dumps(load_network(path)))
    equal = [helper.make_node("Split", ["x"], ["a", "b"], axis=1), helper.make_node("Sub", ["a", "b"], ["y"])]
    agrees(saved(tmp_path / "equal.onnx", equal, {}, ROW, 13), ROW)


def test_what_reads_constants_alone_is_computed_once(tmp_path: Path) -> None:
    """Weights behind other operators, and shapes as torch's exporter wrote them."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"], axis=0),
        helper.make_node("Unsqueeze", ["batch"], ["one"], axes=[0]),
        helper.make_node("Constant", [], ["rest"], value=arrays.from_array(whole(-1))),
        helper.make_node("Concat", ["one", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["flat"]),
        helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        helper.make_node("Tanh", ["wt"], ["bent"]),
        helper.make_node("MatMul", ["flat", "bent"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Sub", ["r", "h"], ["y"]),
    ]
    for batch in ("N", 1):
        agrees(saved(tmp_path / "net.onnx", nodes, {"w": real(3, 60), "zero": np.array(0)}, IMAGE, 11, batch), IMAGE)


def test_axes_of_before_opset_7_are_aligned_from_the_one_that_is_named(tmp_path: Path) -> None:
    bias, x = real(2), RANDOM.random((3, *IMAGE)).astype(np.float32)
    path = saved(tmp_path / "net.onnx", [node("Add", "c", broadcast=1, axis=1)], {"c": bias}, IMAGE, 6)
    np.testing.assert_allclose(load_network(path)(torch.from_numpy(x)).numpy(), x + bias.reshape(1, 2, 1, 1), rtol=1e-6)
    path = saved(tmp_path / "net.onnx", [node("Reshape", shape=[0, -1])], {}, IMAGE, 1)
    np.testing.assert_array_equal(load_network(path)(torch.from_numpy(x)).numpy(), x.reshape(3, -1))


PUBLISHED = {
    "ACASXU_run2a_1_1_batch_2000": (1, 1, 5),
    "ACASXU_run2a_2_5_batch_2000": (1, 1, 5),
    "mnist-net_256x2": (784, 1),
    "cifar_base_kw": (3, 32, 32),
    "Convnet_maxpool": (1, 28, 28),
}


@pytest.fixture(params=PUBLISHED)
def published_file(request: pytest.FixtureRequest) -> tuple[Path, tuple[int, ...]]:
    folder = Path(os.environ.get("LIPREG_NETS") or ROOT.parent / "shared" / "nets") / "onnx"
    if not folder.is_dir():
        pytest.skip(f"no networks at {folder}; set LIPREG_NETS to the folder that holds onnx/")
    return folder / f"{request.param}.onnx", PUBLISHED[request.param]


def test_published_networks_are_those_that_onnxruntime_runs(published_file: tuple[Path, tuple[int, ...]]) -> None:
    agrees(*published_file, points=1000)


def test_published_networks_are_equal_in_float64(published_file: tuple[Path, tuple[int, ...]]) -> None:
    """By onnx's own evaluation of the same weights: what onnxruntime differs by is its rounding in float32."""
    path, shape = published_file
    x = RANDOM.random((2, *shape)).astype(np.float32)
    evaluator = ReferenceEvaluator(in_float64(onnx.load(str(path))))
    (name,) = {value for value in evaluator.input_names} - {t.name for t in onnx.load(str(path)).graph.initializer}
    expected = np.concatenate([evaluator.run(None, {name: x[i : i + 1].astype(np.float64)})[0] for i in range(2)])
    found = capture(load_network(path), torch.from_numpy(x)).frozen()(torch.from_numpy(x).double())
    np.testing.assert_allclose(found.flatten(1).numpy(), expected.reshape(2, -1), rtol=1e-12, atol=1e-12)


def in_float64(model: Any) -> Any:
    """The same file with every tensor in float64."""
    held = [*model.graph.initializer, *(a.t for node in model.graph.node for a in node.attribute if a.HasField("t"))]
    for tensor in held:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(arrays.from_array(arrays.to_array(tensor).astype(np.float64), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    return model


def test_all_that_is_not_read_is_listed_and_where_to_end_before_it(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["p"]),
        helper.make_node("Tan", ["p"], ["y"]),
    ]
    path = saved(tmp_path / "net.onnx", nodes, {}, ROW)
    with pytest.raises(UnsupportedModel, match=r"not read: Softmax, Tan.*module='logits'"):
        load_network(path)
    assert load_network(path, module="logits")(torch.tensor([[-1.0, 2.0, 0.0, 1.0]])).tolist() == [[0.0, 2.0, 0.0, 1.0]]
    with pytest.raises(InvalidInput, match="no value 'nowhere'"):
        load_network(path, module="nowhere")


@pytest.mark.parametrize(
    ("one", "constants", "shape", "reason"),
    [
        (node("Slice", "s", "e"), {"s": whole(0), "e": whole(1)}, ROW, r"Slice \(of points"),
        (node("Gather", "i", axis=0), {"i": whole(0)}, ROW, r"Gather \(of points"),
        (helper.make_node("Gather", ["t", "x"], ["y"]), {"t": real(4, 3)}, ROW, "Gather"),
        (node("Cast", to=7), {}, ROW, r"Cast \(to type 7"),
        (node("Transpose", perm=[1, 0]), {}, ROW, "batch axis"),
        (node("Concat", "x", axis=0), {}, ROW, "of points"),
        (node("Reshape", "s"), {"s": whole(2, -1)}, ROW, "batch axis"),
        (node("Pad", mode="reflect", pads=[0, 0, 1, 0, 0, 0, 1, 0]), {}, IMAGE, r"\(mode='reflect'\)"),
        (node("Reshape", "s"), {"s": whole(7, -1)}, ROW, r"Reshape \(at 'y': .*invalid"),
        (node("Squeeze", axes=[3]), {}, ROW, "Squeeze"),
        (node("Conv", "w"), {"w": real(3, 3, 3, 3)}, IMAGE, r"Conv \(at 'y'"),
        (node("Conv", "w", kernel_shape=[2, 2]), {"w": real(3, 2, 3, 3)}, IMAGE, r"kernel_shape=\[2, 2\] for a weight"),
        (node("Conv", "w", strides=[2]), {"w": real(3, 2, 3, 3)}, IMAGE, r"strides=\[2\] in 2 dimensions"),
        (node("Conv", "w", auto_pad="SAME"), {"w": real(3, 2, 3, 3)}, IMAGE, "auto_pad='SAME'"),
        (node("MaxPool", kernel_shape=[2]), {}, IMAGE, r"kernel_shape=\[2\] in 2 dimensions"),
        (node("MaxPool", kernel_shape=[2, 2], pads=[1, 1]), {}, IMAGE, r"pads=\[1, 1\] in 2 dimensions"),
        (node("Add", "c"), {"c": real(4).astype(np.complex64)}, ROW, "with complex numbers"),
        (node("MaxPool", kernel_shape=[2, 2], pads=[1, 0, 0, 0]), {}, IMAGE, "either side"),
        (helper.make_node("MatMul", ["c", "x"], ["y"]), {"c": real(1, 1)}, ROW, "no activation"),
    ],
)
def test_a_form_that_is_not_read_says_which(
    one: Any, constants: dict[str, np.ndarray], shape: tuple[int, ...], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedModel, match=reason):
        load_network(saved(tmp_path / "net.onnx", [one], constants, shape, 10, 1))


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"cannot read .*nowhere\.onnx"):
        load_network(tmp_path / "nowhere.onnx")
    (tmp_path / "a.onnx").write_bytes(b"no onnx at all")
    with pytest.raises(InvalidInput, match="cannot read"):
        load_network(tmp_path / "a.onnx")
    (tmp_path / "b.onnx").touch()
    with pytest.raises(InvalidInput, match=r"cannot read .*b\.onnx: it is empty"):
        load_network(tmp_path / "b.onnx")
    with pytest.raises(InvalidInput, match="weights beside"):
        load_network(tmp_path / "a.onnx", weights="w.pt")
