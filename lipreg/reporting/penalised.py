"""What a run was penalised on and how, in words; records that do not tell it mean the bound."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from lipreg.plain import frozen
from lipreg.records import NewerRun, RunRecord
from lipreg.results import Certificate
from lipreg.words import plain, spelled, written

_NEAR = ("bound", "jacobian")  # kinds of quantities that, where they are no bounds, are estimates of the constant
_IN_LABELS = (
    "weight",
    "quantity",
    "bound",
    "penalty",
    "schedule",
    "every",
)  # what labels take from ``RunRecord.penalty``


NEWER = "not known, written by a newer lipreg"
"""What is said of a penalty whose record cannot be read."""


def penalised(record: RunRecord, bound: str) -> str:
    """What a run's penalties lower, such as "jacobian, an estimate", or "affine_relu, a bound, and gradient, no bound"."""
    if isinstance(record, NewerRun):
        return NEWER
    told = _told(record) or [{}]
    found = [(_name(each, bound), _kind(each, bound)) for each in told]
    if len(found) > 1 and any(kind != "a bound" for _, kind in found):  # else it reads as if one word were about all
        return ", and ".join(f"{name}, {kind}" for name, kind in found)
    return " and ".join(name if kind == "a bound" else f"{name}, {kind}" for name, kind in found)


def held_against(record: RunRecord, bound: str) -> str:
    """The bound that a run is held against, and whether its penalty lowers it.

    Args:
        record: of the run.
        bound: the name of the bound.

    Returns:
        "affine_relu, the bound that the penalty lowers", or, where that is something else, "affine_relu, the bound it is
        held against (penalised: jacobian, an estimate)".
    """
    first = (_told(record) or [{}])[0]
    if isinstance(record, NewerRun):
        return f"{plain(bound, 40)}, the bound it is held against (penalised: {NEWER})"
    if _name(first, bound) == plain(bound, 40) and _kind(first, bound) == "a bound":
        return f"{plain(bound, 40)}, the bound that the penalty lowers" if record.of_training else plain(bound, 40)
    return f"{plain(bound, 40)}, the bound it is held against (penalised: {penalised(record, bound)})"


def penalty_key(record: RunRecord) -> Hashable:
    """Equal for runs that were penalised alike: a weight that was found does not count, the rule by which it was does."""
    told = _told(record)
    if not told:
        return record.weight
    return frozen([{k: v for k, v in each.items() if k != "weight" or each.get("auto") is None} for each in told])


def quantities(record: RunRecord) -> str:
    """The names of what was penalised; empty where the record does not tell it."""
    return " and ".join(_name(each, "") for each in _told(record))


def in_words(record: RunRecord, found: bool = True) -> str:
    """Quantity and weight of each penalty, such as "jacobian, weight auto (0.028)"; empty where records do not tell it.

    Args:
        record: of the run.
        found: whether a weight that was found is said.
    """
    if isinstance(record, NewerRun):
        return f"penalty {NEWER}"
    return ", and ".join(f"{_name(each, '')}, {_weight(each, found)}" for each in _told(record))


def details(record: RunRecord) -> dict[str, str]:
    """How was penalised, beside quantities and weights, by what it is called; of other regularizers in one line."""
    told = _told(record)
    if not told:
        return {}
    return _details(told[0]) | ({"beside": "; ".join(_line(each) for each in told[1:])} if told[1:] else {})


def penalty_settings(record: RunRecord) -> dict[str, str]:
    """Rows of a table of settings: quantity, weight, penalty and whatever else is told."""
    told = _told(record)
    if not told:
        return {}
    beside = "; ".join(f"{_name(each, '')}, {_weight(each, True)}, {_line(each)}" for each in told[1:])
    own = {"quantity": _name(told[0], ""), "weight": _weight(told[0], True).removeprefix("weight ")}
    return own | _details(told[0]) | ({"beside": beside} if beside else {})


def other_settings(record: RunRecord) -> dict[str, Any]:
    """``RunRecord.settings`` without what ``penalty_settings`` says in words: descriptions that callbacks have put there."""
    told = bool(_told(record))
    return {k: v for k, v in record.settings.items() if not (told and isinstance(v, list))}


def told_elsewhere(record: RunRecord, key: str) -> bool:
    """Whether a label says a setting, by its dotted name, from ``RunRecord.penalty``."""
    first, _, rest = key.partition(".")
    return bool(_told(record)) and first == "regularizer" and rest.partition(".")[0] in _IN_LABELS


def _told(record: RunRecord) -> list[Mapping[str, Any]]:
    """What is told of each regularizer, the first of the question first."""
    first, beside = dict(record.penalty), record.penalty.get("beside", ())
    first.pop("beside", None)
    others = [each for each in beside if isinstance(each, Mapping)] if isinstance(beside, list | tuple) else []
    return [first, *others] if "quantity" in first else others


def _name(told: Mapping[str, Any], bound: str) -> str:
    return plain(str(told.get("quantity") or bound), 40)


def _kind(told: Mapping[str, Any], bound: str) -> str:
    """Whether a quantity is a bound, an estimate of the constant, or neither."""
    if told.get("certificate") != Certificate.ESTIMATE:
        return "a bound"
    options = told.get("options")
    kind = options.get("kind") if isinstance(options, Mapping) else None
    return "an estimate" if {kind, _name(told, bound)} & {*_NEAR, plain(bound, 40)} else "no bound"


def _weight(told: Mapping[str, Any], found: bool) -> str:
    weight, auto = told.get("weight"), told.get("auto") is not None
    if not auto:
        return f"weight {written(weight)}" if isinstance(weight, int | float) else f"weight {weight}"
    known = written(weight, 2) if isinstance(weight, int | float) else "not found"
    return f"weight auto ({known})" if found else "weight auto"


def _details(told: Mapping[str, Any]) -> dict[str, str]:
    own = told.get("options")
    options = _options(own) if isinstance(own, Mapping) else ""
    auto = {"fraction of auto": spelled(told["auto"])} if told.get("auto") is not None else {}
    more = {k: _described(told[k]) for k in ("penalty", "schedule", "points", "every") if k in told}
    return ({"options": options} if options else {}) | auto | more


def _line(told: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {words}" for name, words in _details(told).items())


def _described(value: Any) -> str:
    """What ``describe()`` of a penalty or the like told, in words: "hinge (target 5.0)"."""
    if isinstance(value, Mapping):
        kind, options = str(value.get("kind", "")), _options(value)
        return " ".join(part for part in (kind, options and f"({options})") if part)
    return ", ".join(map(_described, value)) if isinstance(value, list | tuple) else spelled(value)


def _options(told: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_described(value)}" for name, value in told.items() if name != "kind")
