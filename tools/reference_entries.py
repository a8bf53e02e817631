"""What the pages of the reference say beyond what pdoc finds by itself: entries of classes and constants, and formulas.

pdoc shows of a class what its own body defines, and of a constant what the page's own module says of it. The public names
here come from modules that have no page of their own, so that

* what a class inherits from a base without a page belongs to the entry of the class, and its base is not named;
* what it inherits from a base with a page is a link to that page;
* an override of a method of torch, Lightning or Python that says nothing of its own is left out, and so are earlier names;
* a constant has the words that stand below it where it is defined;
* an entry that names a constant without a page ends with what it is;
* a public name of another page is a link to its entry there;
* a page of a package lists its modules that have pages, each with the first sentence of its page.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache, cached_property
from typing import Any

import markdown2
import pdoc.docstrings
import pdoc.render_helpers
from pdoc.doc import Class, Doc, Function, Module, Variable
from pdoc.doc_types import empty

from lipreg.errors import RenamedAttribute

Place = tuple[str, str]
"""A page, and a name on it."""


def is_ours(thing: Any) -> bool:
    """Whether a class, or a module by its name, is lipreg's."""
    return (thing if isinstance(thing, str) else thing.__module__).partition(".")[0] == "lipreg"


def complete(modules: Mapping[str, Module]) -> None:
    """Completes the entries of all pages.

    Args:
        modules: the modules that have a page, by name.
    """
    homes, named = places(modules), entries_by_name(modules)
    for module in modules.values():
        vars(module)["submodules"] = below(module, modules)
        for member in module.members.values():
            if isinstance(member, Variable) and not member.docstring:
                member.docstring = words_of_constant(module.modulename, member.name)
            elif isinstance(member, Class):
                complete_class(member, homes)
        for entry, home in entries(module):
            words = entry.docstring + explained(entry.docstring, home, module)
            entry.docstring = linked(words, module, named)
        if module.submodules and module.name != "lipreg":
            module.docstring += listed(module.submodules)


def places(modules: Mapping[str, Module]) -> dict[type, Place]:
    """The page on which each public class has its entry; the first one, where several have it."""
    found: dict[type, Place] = {}
    for name, module in modules.items():
        for member in module.flattened_own_members:
            if isinstance(member, Class):
                found.setdefault(member.obj, (name, member.qualname))
    return found


def entries_by_name(modules: Mapping[str, Module]) -> dict[str, Doc]:
    """The entries of classes and functions by name, on the first page that has them; none of names that mean two things."""
    found: dict[str, list[Doc]] = {}
    for module in modules.values():
        for member in module.members.values():
            if isinstance(member, Class | Function):
                found.setdefault(member.name, []).append(member)
    return {name: same[0] for name, same in found.items() if all(one.obj is same[0].obj for one in same)}


def linked(text: str, page: Module, named: Mapping[str, Doc]) -> str:
    """A text with links to the entries of other pages: of classes wherever they are named, of functions behind "as for".

    Args:
        text: in Markdown.
        page: on which it stands.
        named: the entries by name.
    """

    def link(found: re.Match[str]) -> str:
        before, whole, name, _, member = found.groups(default="")
        entry = None if name in page.members else named.get(name)
        if entry is None or not (before or isinstance(entry, Class)):
            return found[0]
        if member and not (isinstance(entry, Class) and member in entry.members):
            return found[0]
        place = pdoc.render_helpers.relative_link(page.modulename, entry.modulename)
        return f"{before}[``{whole}``]({place}#{name}{member and '.'}{member})"

    return re.sub(r"(\bas (?:for|in|of) |\bsee )?``((\w+)(\.(\w+))?)``", link, text)


def below(module: Module, modules: Mapping[str, Module]) -> list[Module]:
    """The pages right below one, in their order."""
    return [page for name, page in modules.items() if name.rpartition(".")[0] == module.modulename]


def listed(modules: list[Module]) -> str:
    """A list of modules, as links with the first sentence of each."""
    lines = [f"- `{page.modulename}`: {' '.join(page.docstring.partition(chr(10) * 2)[0].split())}" for page in modules]
    return "\n\n" + "\n".join(lines)


# ---------------------------------------------------------------- constants


@cache
def words_of_constant(module: str, name: str) -> str:
    """The text below a constant, or below another name for it, in the module that defines it; "" where there is none."""
    source = inspect.getsource(importlib.import_module(module))
    body = ast.parse(source).body
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if name == (alias.asname or alias.name) and is_ours(node.module):
                    return words_of_constant(node.module, alias.name)
        assigned = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        targets = [part for one in assigned for part in (one.elts if isinstance(one, ast.Tuple) else [one])]
        after = next((one for one in body[body.index(node) + 1 :] if not isinstance(one, ast.AugAssign)), None)
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            match after:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    return inspect.cleandoc(text)
            return ""
    return ""


def entries(module: Module) -> Iterator[tuple[Doc, str]]:
    """The entries of a page, each with the module whose names its words are in."""
    yield module, module.modulename
    for member in module.flattened_own_members:
        yield member, member.obj.__module__ if isinstance(member, Class | Function) else module.modulename
        if isinstance(member, Class):
            for own in member.own_members:
                definer = next((kind for kind in member.obj.__mro__ if defines(kind, own.name)), member.obj)
                yield own, definer.__module__


def explained(docstring: str, home: str, page: Module) -> str:
    """Sentences about the constants that a text names and that its page does not list, each a paragraph.

    Args:
        docstring: the text.
        home: the module whose names it uses.
        page: its page.
    """
    sentences = []
    for name in dict.fromkeys(re.findall(r"``([A-Z][A-Z_]{2,})``", docstring)):
        words = "" if name in page.members else words_of_constant(home, name)
        if words:
            value = repr(getattr(importlib.import_module(home), name))
            known = f" is {value}: {words[0].lower()}{words[1:]}" if len(value) < 40 else f": {words}"
            sentences.append(f"\n\n``{name}``{known}")
    return "".join(sentences)


# ---------------------------------------------------------------- classes


def complete_class(entry: Class, homes: Mapping[type, Place]) -> None:
    """Sorts the members of a class into its own and those that have a page elsewhere, and names its bases by their pages."""
    own: list[Doc] = []
    elsewhere: dict[Place, list[Doc]] = {}
    for name, member in entry.members.items():
        definer = next((kind for kind in entry.obj.__mro__ if defines(kind, name)), entry.obj)
        if isinstance(member, Class):
            complete_class(member, homes)
        if isinstance(vars(definer).get(name), RenamedAttribute) or (definer is not entry.obj and not is_ours(definer)):
            continue
        member = completed(entry.obj, name, member)
        if name == "__init__" or definer is entry.obj or definer not in homes:
            if name == "__init__" or not says_nothing(entry.obj, name):
                own.append(member)
        elif not name.startswith("_"):
            page, qualname = homes[definer]
            member.taken_from = page, f"{qualname}.{name}"
            elsewhere.setdefault(homes[definer], []).append(member)
    vars(entry).update(own_members=own, inherited_members=elsewhere, bases=list(named_bases(entry.obj, homes)))
    if not entry.obj.__doc__:
        vars(entry)["docstring"] = ""  # not that of a base


def defines(kind: type, name: str) -> bool:
    """Whether the body of a class has a name."""
    return name in vars(kind) or name in vars(kind).get("__annotations__", {})


def says_nothing(kind: type, name: str) -> bool:
    """Whether a class overrides a documented method of others and adds no words of its own."""
    for base in kind.__mro__:
        value = vars(base).get(name)
        if isinstance(value, classmethod | staticmethod):
            value = value.__func__
        if not inspect.isroutine(value) and not isinstance(value, property | cached_property):
            continue
        if value.__doc__:
            return not is_ours(base)
    return False


def completed(kind: type, name: str, member: Doc) -> Doc:
    """The entry of a member, with the types of a dataclass as they are for its readers and for who makes one.

    A field whose default is None is resolved when an object is made: the constructor takes None, the attribute never is.
    """
    held = {field.name: field for field in fields(kind)} if is_dataclass(kind) else {}
    if name in held and isinstance(member, Function | Variable):
        hints = resolved(kind)
        default = empty
        if isinstance(member, Variable) and not (member.default_value is None and lacks_none(hints.get(name))):
            default = member.default_value
        return Variable(
            member.modulename,
            member.qualname,
            taken_from=member.taken_from,
            docstring=member.docstring if isinstance(member, Variable) else "",
            annotation=hints.get(name, empty),
            default_value=default,
        )
    if name == "__init__" and isinstance(member, Function):
        if says_nothing(kind, name) or member.docstring == object.__init__.__doc__:
            vars(member)["docstring"] = ""
        if held:
            made = [
                one.replace(annotation=one.annotation | None)
                if one.default is None and lacks_none(one.annotation)
                else one
                for one in member.signature.parameters.values()
            ]
            vars(member)["signature"] = member.signature.replace(parameters=made)
    return member


def resolved(kind: type) -> dict[str, Any]:
    """The types of a class's fields; {} where a name in them is for type checkers alone."""
    try:
        return typing.get_type_hints(kind)
    except NameError:
        return {}


def lacks_none(annotation: Any) -> bool:
    """Whether a type that is known leaves None out."""
    if annotation in (Any, empty, None, type(None)) or isinstance(annotation, str | typing.TypeVar | typing.ForwardRef):
        return False
    return type(None) not in typing.get_args(annotation)


def named_bases(kind: type, homes: Mapping[type, Place]) -> Iterator[tuple[str, str, str]]:
    """The bases of a class that have a page, or are not lipreg's; in place of the others, theirs."""
    for base in kind.__bases__:
        if base in homes:
            page, qualname = homes[base]
            yield page, qualname, qualname
        elif is_ours(base):
            yield from named_bases(base, homes)
        elif base not in (object, typing.Generic):
            yield base.__module__, base.__qualname__, f"{base.__module__}.{base.__qualname__}".removeprefix("builtins.")


# ---------------------------------------------------------------- formulas


def markdown(docstring: str, module: Module, docformat: str) -> str:
    """A docstring in Markdown, of which the stars in front of ``*args`` are no markup."""
    text = pdoc.docstrings.convert(docstring, docformat, module.source_file)
    return re.sub(r"(?<=- \*\*)\*[^:]*:(?=\*\*)", lambda names: names[0].replace("*", r"\*"), text)


@cache  # pages and their index show the same texts
def html(text: str) -> markdown2.UnicodeWithAttrs:
    """Markdown as HTML, in which ``<p, q>`` and ``{k<K}`` are no markup, and ``.records`` is no relative module."""
    made = markdown2.markdown(
        text,
        extras=pdoc.render_helpers.markdown_extensions,
        link_patterns=pdoc.render_helpers.markdown_link_patterns,
        safe_mode="escape",
    )
    shown = markdown2.UnicodeWithAttrs(re.sub(r"(?<![\w.\])/\"'])\.(?=[a-z_])", "&#46;", made))
    shown.toc_html = made.toc_html  # the contents of a page, which its template reads
    return shown


def html_without_links(text: str) -> str:
    """The same for the index of the search, whose hits are shown on every page."""
    return re.sub("</?a\\b[^>]*>", "", html(text))
