"""Public definitions say what they are, in every package.

A definition is public where no name on the way to it begins with an underscore. An override needs no docstring of its own
where the class that it overrides has documented the name.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HELD = (
    ".",
    *sorted(
        init.parent.name for init in (ROOT / "lipreg").glob("*/__init__.py") if len([*init.parent.glob("*.py")]) > 1
    ),
)
"""Packages of lipreg, and "." for its single modules: docstrings of all of them are complete."""
FROM = 3
"""Parameters from which on a docstring names each under ``Args:``."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
each_package = pytest.mark.parametrize("package", HELD)


@dataclass(frozen=True)
class Public:
    """A public definition of a module, or of a class in it."""

    path: Path
    node: Function | ast.ClassDef
    owner: str = ""

    @property
    def where(self) -> str:
        """Where it stands, in the words of messages."""
        return f"{self.path}:{self.node.lineno} {self.owner and self.owner + '.'}{self.node.name}"

    @property
    def text(self) -> str:
        """Its docstring."""
        return ast.get_docstring(self.node) or ""

    @property
    def parameters(self) -> list[str]:
        """The parameters of a function; the fields of a class, and the parameters of its ``__init__``."""
        if isinstance(self.node, ast.ClassDef):
            body = self.node.body
            held = [
                entry.target.id
                for entry in body
                if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name)
            ]
            made = [
                name
                for entry in body
                if isinstance(entry, Function) and entry.name == "__init__"
                for name in taken(entry)
            ]
            return [name for name in dict.fromkeys(held + made) if not name.startswith("_")]
        return taken(self.node)

    @property
    def lowers(self) -> bool:
        """Whether it is a registered lowering: its parameters are those of the call that it lowers (``registry.lowers``)."""
        calls = (entry.func for entry in self.node.decorator_list if isinstance(entry, ast.Call))
        return any(ast.unparse(call).rpartition(".")[2] == "lowers" for call in calls)

    def overrides(self) -> bool:
        """Whether a base class documents the name: by a docstring of its own there, or as one of its attributes."""
        if not self.owner:
            return False
        module = importlib.import_module(".".join(self.path.with_suffix("").parts).removesuffix(".__init__"))
        bases = getattr(module, self.owner).__mro__[1:]
        return any(documents(base, self.node.name) for base in bases)


def taken(function: Function) -> list[str]:
    """The parameters of a function, without self."""
    every = function.args
    named = [*every.posonlyargs, *every.args, *every.kwonlyargs, every.vararg, every.kwarg]
    return [one.arg for one in named if one is not None and one.arg not in ("self", "cls")]


def documents(kind: type, name: str) -> bool:
    """Whether a class has a docstring for one of its names, or lists it in its own."""
    value = vars(kind).get(name)
    if inspect.isroutine(value) or isinstance(value, property | cached_property):
        return bool(value.__doc__)
    text = inspect.cleandoc(kind.__doc__ or "")
    return name in vars(kind) and bool(re.search(rf"^ {{4}}(\w+, )*{name}(, \w+)*:", text, re.MULTILINE))


def of_source(path: Path, source: str) -> Iterator[Public]:
    """The public definitions of a module, and those in its public classes."""
    for node in ast.parse(source).body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield Public(path, node)
            for own in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(own, Function) and not own.name.startswith("_"):
                    yield Public(path, own, node.name)


def of_package(package: str) -> list[Public]:
    """The public definitions of a package of lipreg; of "." those of its single modules."""
    folder = ROOT / "lipreg"
    files = sorted(folder.glob("*.py") if package == "." else (folder / package).rglob("*.py"))
    return [one for path in files for one in of_source(path.relative_to(ROOT), path.read_text(encoding="utf-8"))]


def entries(text: str, section: str) -> list[str]:
    """The names that a section explains, where one entry may stand for several: "lower, upper: the ends"."""
    lines = re.search(rf"^{section}:\n((?:[ ]+.*\n?|\n)+)", text, re.MULTILINE)
    heads = re.findall(r"^ {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*):", lines[1], re.MULTILINE) if lines else []
    return [name.lstrip("*") for head in heads for name in head.split(", ")]


def faults(public: Public) -> list[str]:
    """What a definition's docstring lacks; overrides lack nothing."""
    if not public.text:
        return [] if public.overrides() else [f"{public.where} has no docstring"]
    own, named = public.parameters, entries(public.text, "Args")
    if isinstance(public.node, ast.ClassDef):
        named += entries(public.text, "Attributes")
        needed = True
    else:
        needed = bool(named) or (len(own) >= FROM and not public.lowers and not public.overrides())
    stale = [] if isinstance(public.node, ast.ClassDef) else [name for name in named if name not in own]
    missing = [name for name in own if name not in named] if needed else []
    return [f"{public.where} explains {name}, which it does not take" for name in stale] + (
        [f"{public.where} does not explain {', '.join(missing)}"] if missing else []
    )


@each_package
def test_public_definitions_are_explained(package: str) -> None:
    found = of_package(package)
    assert found
    lacking = [fault for public in found for fault in faults(public)]
    assert not lacking, "\n".join(lacking)


SOURCE = '''
class Base:
    def _private(self):
        return 2

def two(a, b):
    """Of two."""

def three(a, *rest, c=1):
    """Of three."""

def stale(a, b):
    """Of two.

    Args:
        a, c: both.
    """

def good(a, b, *, c, **more):
    """Of several.

    Args:
        a, b: what is
            said: of two.
        c: one.
        **more: others.

    Returns:
        d: nothing.
    """

@lowers(three)
def lower_three(context, a, b):
    """Of three."""

class Held:
    """Two fields.

    Attributes:
        first: one.
    """

    first: int
    second: int
    _third: int

def _hidden(a, b, c):
    pass
'''


def test_each_fault_is_found() -> None:
    messages = [fault.partition(" ")[2] for one in of_source(Path("a.py"), SOURCE) for fault in faults(one)]
    assert messages == [
        "Base has no docstring",
        "three does not explain a, c, rest",
        "stale explains c, which it does not take",
        "stale does not explain b",
        "Held does not explain second",
    ]


def test_overrides_need_none_of_their_own() -> None:
    path = Path("lipreg/curves/functions.py")
    methods = {one.node.name: one for one in of_source(path, (ROOT / path).read_text()) if one.owner == "Elu"}
    assert not methods["value"].text and methods["value"].overrides(), "a method"
    assert not methods["inflections"].text and methods["inflections"].overrides(), (
        "an attribute, listed in the base class"
    )
    source = "class Elu:\n    def added(self):\n        return 1\n"
    (_, added) = of_source(path, source)
    assert faults(added) == [f"{path}:2 Elu.added has no docstring"]
