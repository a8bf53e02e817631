"""A question in a YAML file, written and composed as Hydra's groups are, by data alone: nothing in it is run but classes of
lipreg."""

from __future__ import annotations

import importlib
import inspect
from importlib.resources import files
from pathlib import Path
from typing import Any

from lipreg.errors import InvalidInput
from lipreg.problem import LocalLipschitz
from lipreg.spelling import nearest_name
from lipreg.words import of_system

_WHERE = "question"
_TARGET, _DEFAULTS, _SELF = "_target_", "defaults", "_self_"
_GROUP = "problem"


def read_question(source: str | Path) -> LocalLipschitz:
    """The question of a YAML file, or of one of lipreg's own by its name.

        read_question("question.yaml")
        read_question("linf_margins")     # of lipreg/conf/problem

    A file holds ``_target_: lipreg.LocalLipschitz`` and its arguments, classes of lipreg by ``_target_`` and plain values;
    or these under ``problem``, as the composed configuration of a Hydra program has them. ``defaults`` names what it starts
    from: files beside it, or in lipreg/conf/problem; its own entries come last, or where ``_self_`` stands.

    Raises:
        InvalidInput: no such file or name, no YAML, or anything but classes of lipreg and plain values.
    """
    content = _composed(_question_path(str(source), None), ())
    if _TARGET not in content and isinstance(content.get(_GROUP), dict):
        content = content[_GROUP]
    question = _instance(content, str(source))
    if not isinstance(question, LocalLipschitz):
        raise InvalidInput(f"{source} holds no question", where=_WHERE, accepted="_target_: lipreg.LocalLipschitz")
    return question


def _question_path(name: str, beside: Path | None) -> Path:
    """The file of a name: beside another file, or as it is, or of lipreg's own group.

    Raises:
        InvalidInput: there is none.
    """
    if beside is None and (name.endswith((".yaml", ".yml")) or Path(name).is_file()):
        return Path(name)
    group = Path(str(files("lipreg.conf"))) / _GROUP
    file = f"{name.removesuffix('.yaml')}.yaml"
    places = [group] if beside is None else [beside, beside / _GROUP, group]
    for folder in places:
        if (folder / file).is_file():
            return folder / file
    names = sorted(path.stem for path in group.glob("*.yaml"))
    near = nearest_name(name, names)
    hint = f" (did you mean {near!r}?)" if near else ""
    raise InvalidInput(f"no question {name!r}{hint}", where=_WHERE, accepted=f"a YAML file, or {', '.join(names)}")


def _composed(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """The entries of a file, over those of its defaults.

    Args:
        path: the file.
        above: the files whose defaults led here.
    """
    if path in above:
        raise InvalidInput(f"{path} is a default of itself", where=_WHERE, accepted="files that end somewhere")
    content = _read(path)
    defaults = content.pop(_DEFAULTS, [])
    entries = [*defaults, *([] if _SELF in defaults else [_SELF])] if isinstance(defaults, list) else [defaults]
    made: dict[str, Any] = {}
    for entry in entries:
        if entry == _SELF:
            made = _merged(made, content)
        elif isinstance(entry, str):
            made = _merged(made, _composed(_question_path(entry, path.parent), (*above, path)))
        elif isinstance(entry, dict) and list(entry) == [_GROUP] and isinstance(entry[_GROUP], str):
            below = _composed(_question_path(entry[_GROUP], path.parent), (*above, path))
            made = _merged(made, {_GROUP: below})
        else:
            accepted = f"defaults that are names of questions, {_GROUP}: name, or {_SELF}"
            raise InvalidInput(f"{entry!r} among the defaults of {path}", where=_WHERE, accepted=accepted)
    return made


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(of_system(error).split())
        raise InvalidInput(f"cannot read {path}: {reason}", where=_WHERE, accepted="a YAML file") from None
    if not isinstance(content, dict):
        raise InvalidInput(f"{path} holds no question", where=_WHERE, accepted="_target_: lipreg.LocalLipschitz")
    return content


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Mappings as one, key by key; where both have a value the second one's counts."""
    made = dict(under)
    for key, value in over.items():
        below = made.get(key)
        made[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return made


def _instance(content: Any, path: str) -> Any:
    """Mappings with ``_target_`` as what their class makes of the rest."""
    if isinstance(content, str) and "${" in content:
        raise InvalidInput(f"{content} in {path}", where=_WHERE, accepted="values: a Hydra program resolves references")
    if isinstance(content, list):
        return [_instance(entry, path) for entry in content]
    if not isinstance(content, dict):
        return content
    arguments = {key: _instance(value, path) for key, value in content.items() if key != _TARGET}
    name = str(content.get(_TARGET, ""))
    module, _, attribute = name.rpartition(".")
    kind = None
    if module == "lipreg" or module.startswith("lipreg."):
        try:
            kind = getattr(importlib.import_module(module), attribute, None)
        except ModuleNotFoundError:
            kind = None
    if not isinstance(kind, type):
        got = f"{_TARGET}: {name}" if name else f"a mapping without {_TARGET}"
        raise InvalidInput(f"{got} in {path}", where=_WHERE, accepted="classes of lipreg: lipreg.LinfBall, ...")
    try:
        return kind(**arguments)
    except TypeError as error:
        parameters = inspect.signature(kind).parameters
        unused = [key for key in arguments if key not in parameters]
        todo = f"Keys of a default stay, as in Hydra: {', '.join(unused)} may be of one, which then is not to be among them"
        raise InvalidInput(
            f"{name} in {path}: {error}",
            where=_WHERE,
            accepted=f"{kind.__name__}({', '.join(parameters)})",
            todo=todo if unused else "",
        ) from None
