"""The operators of ONNX that are read, each as a torch module of the calls that have a lowering."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from lipreg.loading.onnx_functions import FUNCTIONS
from lipreg.loading.onnx_modules import Arithmetic, Clip, Joined, Permuted, Single, linear
from lipreg.loading.onnx_node import NotRead, OnnxConstant, OnnxNode
from lipreg.loading.onnx_parts import PARTS
from lipreg.loading.onnx_windows import average_pool, convolution, global_average_pool, max_pool, padding

Reader = Callable[[OnnxNode], nn.Module]
"""What makes a torch module of a node."""


def _gemm(node: OnnxNode) -> nn.Module:
    """alpha A' B' + beta C, with constant B and C."""
    node.refuse(transA=0)
    node.activation()
    alpha, beta = float(node.attributes.get("alpha", 1.0)), float(node.attributes.get("beta", 1.0))
    weight, bias = node.weight(1), node.constant(2)
    weight = weight if node.flag("transB") else weight.T
    if bias is not None:
        if bias.dim() == 2 and bias.shape[0] != 1:
            raise NotRead("a summand for each point")
        bias = bias.reshape(-1).expand(len(weight)) * beta
    return linear(weight * alpha, bias)


def _matmul(node: OnnxNode) -> nn.Module:
    """x W on the last axis."""
    node.activation()
    weight = node.weight(1)
    if weight.dim() != 2:
        raise NotRead(f"a factor of shape {tuple(weight.shape)}")
    return linear(weight.T, None)


def _batch_norm(node: OnnxNode) -> nn.Module:
    """Batch norm with the moments in the file."""
    node.refuse(training_mode=0, spatial=1)
    node.refuse_training()
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}.get(node.activation().dim())
    if kind is None:
        raise NotRead(f"of {node.activation().dim()} dimensions")
    scale, shift, mean, variance = (node.weight(place) for place in range(1, 5))
    module = kind(len(scale), eps=float(node.attributes.get("epsilon", 1e-5)), dtype=scale.dtype)
    names = ("weight", "bias", "running_mean", "running_var")
    values = dict(zip(names, (scale, shift, mean, variance), strict=True))
    module.load_state_dict({**module.state_dict(), **values})
    return module


def _clip(node: OnnxNode) -> nn.Module:
    ends = []
    for place, name in ((1, "min"), (2, "max")):
        value = node.constant(place)
        ends.append(float(value) if value is not None else node.attributes.get(name))
    low, high = (None if end is None or abs(end) >= 3.4e38 else float(end) for end in ends)  # the old opsets' defaults
    if low is not None and high is not None and low > high:
        raise NotRead(f"between {low:g} and {high:g}")
    return nn.Identity() if low is None and high is None else Clip(low, high)


def _flatten(node: OnnxNode) -> nn.Module:
    axis, dims = node.flag("axis", 1), node.activation().dim()
    if axis % dims != 1:
        raise NotRead(f"axis={axis}")
    return nn.Flatten()


def _shaped(rest: list[int]) -> nn.Module:
    """Each point in another shape."""
    if not rest:
        return Single()
    return nn.Flatten() if len(rest) == 1 else nn.Sequential(nn.Flatten(), nn.Unflatten(1, rest))


def _reshape(node: OnnxNode) -> nn.Module:
    node.refuse(allowzero=0)
    example, sizes = node.activation(), node.numbers("shape", 1)
    if sizes is None or len(sizes) < 2:
        raise NotRead(f"to shape {sizes}")
    sizes = [example.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    made = example.reshape(sizes)
    if made.shape[0] != example.shape[0]:
        raise NotRead(f"to shape {sizes}, which moves the batch axis")
    return _shaped(list(made.shape[1:]))


def _squeezed(node: OnnxNode) -> nn.Module:
    """Axes of size 1 removed or added; the batch axis stays first."""
    example, axes = node.activation(), node.numbers("axes", 1)
    if node.kind == "Squeeze":
        axes = axes if axes is not None else [i for i, size in enumerate(example.shape) if size == 1 and i]
        if any(
            not -example.dim() <= axis < example.dim() or (axis % example.dim() and example.shape[axis] != 1)
            for axis in axes
        ):
            raise NotRead(f"of axes {axes} of shape {tuple(example.shape)}")
        axes_of_one = {axis % example.dim() for axis in axes}
        shape = [size for i, size in enumerate(example.shape) if i not in axes_of_one]
    else:
        dims = example.dim() + len(axes or [])
        axes_of_one = {axis % dims for axis in axes or []}
        sizes = iter(example.shape)
        shape = [1 if i in axes_of_one else next(sizes) for i in range(dims)]
    if 0 in axes_of_one:
        raise NotRead("the batch axis is moved")
    return _shaped(shape[1:])


def _transpose(node: OnnxNode) -> nn.Module:
    order = node.numbers("perm") or list(range(node.activation().dim()))[::-1]
    if order[0] != 0:
        raise NotRead("the batch axis is moved")
    return Permuted(order)


def _concat(node: OnnxNode) -> nn.Module:
    if any(isinstance(operand, OnnxConstant) for operand in node.operands):
        raise NotRead("of constants and activations")
    axis = node.flag("axis", 1) % node.activation().dim()
    if axis == 0:
        raise NotRead("of points")
    return Joined(axis)


def _arithmetic(node: OnnxNode) -> nn.Module:
    """A sum, difference, product or quotient of two activations, or of one and a constant for all points."""
    places = [i for i, operand in enumerate(node.operands) if isinstance(operand, Tensor)]
    if len(places) == 2:
        return Arithmetic(node.kind, None, True)
    example, value = node.activation(places[0]), node.weight(1 - places[0])
    if node.flag("broadcast") and "axis" in node.attributes:  # before opset 7: the constant's axes begin at this one
        after = example.dim() - node.flag("axis") % example.dim() - value.dim()
        value = value.reshape(*value.shape, *(1,) * after)
    if value.dim() > example.dim() or (value.dim() == example.dim() and value.shape[0] != 1):
        raise NotRead(f"with a constant of shape {tuple(value.shape)}")
    return Arithmetic(node.kind, value[0] if value.dim() == example.dim() else value, places[0] == 0)


def _identity(node: OnnxNode) -> nn.Module:
    node.activation()
    return nn.Identity()


def _dropout(node: OnnxNode) -> nn.Module:
    node.refuse_training()
    training = node.constant(2)
    if training is not None and bool(training):
        raise NotRead("in training mode")
    return nn.Identity()


OPERATORS: dict[str, Reader] = {
    **FUNCTIONS,
    **PARTS,
    "Add": _arithmetic,
    "AveragePool": average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": convolution,
    "Div": _arithmetic,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": global_average_pool,
    "Identity": _identity,
    "LeakyRelu": lambda node: nn.LeakyReLU(float(node.attributes.get("alpha", 0.01))),
    "MatMul": _matmul,
    "MaxPool": max_pool,
    "Mul": _arithmetic,
    "Pad": padding,
    "Relu": lambda node: nn.ReLU(),
    "Reshape": _reshape,
    "Squeeze": _squeezed,
    "Sub": _arithmetic,
    "Transpose": _transpose,
    "Unsqueeze": _squeezed,
}
"""The readers by the names in files; a node of constants alone is computed by onnx itself, whatever its operator."""
