"""The open registry of lowerings: one function a torch layer, found by module class, function or method name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from torch import nn

from lipreg.errors import InvalidInput
from lipreg.options import other_owner

Rows = Literal["apart", "together", "own"]
"""How calls are lowered whose activations have several rows for every point: row by row; as one tensor of all rows; or as
they are, by a lowering that takes ``BatchGroups``."""
APART, TOGETHER, OWN = get_args(Rows)


@dataclass(frozen=True)
class Lowering:
    """What makes a symbolic tensor of a traced call; see ``lowers``.

    Attributes:
        function: that makes it.
        rows: how calls on several rows of every point are lowered.
        parts: whether it takes a ``Part``.
    """

    function: Callable[..., Any]
    rows: Rows = "apart"
    parts: bool = False

    @property
    def name(self) -> str:
        """The name of the function, for messages."""
        return self.function.__name__


@dataclass(frozen=True)
class Example:
    """A small module that uses a lowering, for the suite that checks every registered one.

    Args:
        build: makes the module.
        input_shape: of one input, without the batch axis.
        accuracy: relative accuracy of torch's own gradients, which is lower for a few layers than that of float64.
    """

    build: Callable[[], nn.Module]
    input_shape: tuple[int, ...]
    accuracy: float = 1e-10


F = TypeVar("F", bound=Callable[..., Any])

MODULES: dict[type[nn.Module], Lowering] = {}
"""The lowerings of module classes."""
CALLS: dict[Callable[..., Any] | str, Lowering] = {}
"""The lowerings of functions, and of tensor methods by name."""
EXAMPLES: dict[Callable[..., Any], Example] = {}
"""The examples of lowerings, by the functions themselves: two of one name may lower two things."""


def lowers(
    *targets: type[nn.Module] | Callable[..., Any] | str,
    example: Example | None = None,
    rows: Rows = "apart",
    parts: bool = False,
    replace: bool = False,
):
    """Registers a lowering for module classes, functions, or tensor methods by name.

    A lowering of a module is called as ``lower(context, module, x)``; one of a function or method as
    ``lower(context, *args, **kwargs)``, with symbolic tensors where the traced call had tensors. It returns a symbolic
    tensor, and raises ``Refusal`` for settings that it does not cover.

    Args:
        *targets: the classes, functions or names of methods that the function lowers.
        example: a module that uses it; the conformance suite compares graph and module on random inputs.
        rows: "together" for a lowering that acts on entries, or on the last axis, alone: where activations have several rows
            for every point, one node of all rows is much faster than a node for each. "own" for one that takes the rows as
            they are (``BatchGroups``).
        parts: whether it takes the parts of a formula (``Part``), which are no values of their own: others refuse them.
        replace: whether it may take a target from another function; a function that is defined again, by a notebook's cell
            that runs again, may take its own.

    Raises:
        InvalidInput: another function lowers a target already, a target is nothing that a network can call, or there are
            no such ``rows``.
    """
    if rows not in get_args(Rows):
        raise InvalidInput(f"rows={rows!r}", where="lowers", accepted=", ".join(map(repr, get_args(Rows))))

    def register(function: F) -> F:
        for target in targets:
            name, table = getattr(target, "__name__", target), _table(target)
            before = table[target].function if target in table else None
            if (owner := other_owner(before, function)) and not replace:
                todo = "Lower a class of your own, or register it with replace=True"
                raise InvalidInput(f"{owner} lowers it", where=f"lowering of {name}", todo=todo)
            table[target] = Lowering(function, rows, parts)
        if example is not None:
            EXAMPLES[function] = example
        return function

    return register


def _table(target: Any) -> dict[Any, Lowering]:
    if isinstance(target, type) and issubclass(target, nn.Module):
        return MODULES
    if isinstance(target, type | nn.Module) or not (callable(target) or isinstance(target, str)):
        accepted = "a class of modules, a function, or the name of a tensor's method"
        raise InvalidInput(f"got {target!r}", where="lowers", accepted=accepted)
    return CALLS


def module_lowering(module: nn.Module) -> Lowering | None:
    """The lowering of a module's class, or of a base class whose ``forward`` it inherits unchanged; None without one."""
    for base in type(module).__mro__:
        if base in MODULES:
            return MODULES[base] if type(module).forward is base.forward else None
    return None


class Refusal(Exception):
    """A lowering does not cover a call.

    Args:
        kind: "never": it is neither continuous and piecewise linear nor a function of single entries with bounded slopes.
            "not yet": no lowering is written. "replace": an equivalent is covered. "settings": other settings are covered.
            "failed": somebody's lowering of it has an error.
        why: the reason, and what to do.
    """

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind, self.why = kind, why


DRAWS = (
    "bernoulli bernoulli_ multinomial normal normal_ uniform_ exponential_ poisson rand rand_like randn randn_like randint "
    "randint_like randperm"
)
"""The functions that draw random numbers."""
JUMPS = (
    "a comparison jumps; covered are x times a number for each side of 0, as in x * (x > 0) + 0.1 * x * (x <= 0), and "
    "torch.where of continuous choices"
)
"""Why comparisons are refused."""
ALONE = "(pass it as the network; module=... in the callbacks)"
"""How a part of a network is given, for messages."""
NEVER: dict[str, str] = {
    name: f"its slopes grow without limit; ask about the part of the network before it, or behind it {ALONE}"
    for name in "exp exp_ log log_ log1p expm1 pow pow_ square square_ sqrt sqrt_ rsqrt reciprocal sinh cosh tan".split()
}
"""Why calls are refused that no lowering can cover, by their names."""
NEVER |= {
    name: "it is the length of its input, or divides by it: no piece of it is linear; sums and the largest of |a - b| are "
    f"covered, as torch.norm with p=1 and p=inf, or ask about the part of the network before it {ALONE}"
    for name in "norm normalize cosine_similarity CosineSimilarity pairwise_distance PairwiseDistance cdist dist".split()
}
NEVER |= {
    name: "it multiplies activations with each other, and its slopes grow without limit; ask about the part of the network "
    f"before it {ALONE}"
    for name in "glu GLU".split()
}
NEVER |= {
    name: f"its slopes depend on all entries at once; where it ends a network, ask about the logits before it {ALONE}"
    for name in "Softmax Softmax2d softmax LogSoftmax log_softmax Softmin softmin logsumexp gumbel_softmax".split()
}
NEVER |= {
    name: "it jumps, so it has no Lipschitz constant"
    for name in "Hardshrink hardshrink sign round frac heaviside".split()
}
OF_DEVIATION = (
    "it divides by the deviation of its own input, so no piece of it is linear; BatchNorm divides by a constant at "
    f"evaluation, or ask about the part of the network before it {ALONE}"
)
"""Why norms by the input's own statistics are refused."""
NEVER |= {name: OF_DEVIATION for name in ("LayerNorm layer_norm GroupNorm group_norm RMSNorm rms_norm".split())}
NEVER |= {
    name: "it multiplies activations with each other, and its slopes grow without limit; ask about a part of the network "
    f"without it {ALONE}"
    for name in (
        "MultiheadAttention scaled_dot_product_attention TransformerEncoderLayer TransformerDecoderLayer Transformer "
        "Bilinear bilinear LSTM GRU LSTMCell GRUCell"
    ).split()
}
NEVER |= {
    name: f"it jumps between whole numbers; ask about the outputs before it {ALONE}, or, where they are looked up, hold "
    "them fixed (lipreg.Select(network, fixed={...}))"
    for name in "argmax argmin argsort long int short bool floor ceil trunc".split()
}
NEVER |= {name: "it draws random numbers" for name in DRAWS.split()}
NOT_YET = "no lowering is registered; docs/extending.md shows how to write one in a few lines"
"""Why a call without a lowering is refused, where nothing more is known of it."""
SMOOTH = (
    "it bends without end, which none of lipreg's curves does; its slopes lie between -1 and 1 as those of tanh do, so the "
    "product of norms, estimator='spectral', of the same network with nn.Tanh() in its place bounds this one too; more is "
    f"said of the part of the network before it, or behind it {ALONE}"
)
"""Why sine and cosine are refused."""

COARSE = (
    "a cast to 16 bits rounds its values, which jump; float32 and float64 are covered, and weights of 16 bits are read as "
    "the numbers that they are"
)
"""Why casts to 16 bits are refused."""


def refusal_for(name: str, exported: bool = False) -> Refusal:
    """The refusal of a call that has no lowering.

    Args:
        name: of what is called.
        exported: whether an exported program makes the call.
    """
    if exported:
        why = "a call of an exported program; give the program itself in place of program.module(), or the network it is of"
        return Refusal("replace", why)
    if name in NEVER:
        return Refusal("never", NEVER[name])
    if name in ("half", "bfloat16"):
        return Refusal("settings", COARSE)
    return Refusal("not yet", SMOOTH if name in ("sin", "cos", "sin_", "cos_") else NOT_YET)
