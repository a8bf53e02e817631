"""What a run was penalised on and how, in words; in records without that it is the bound."""

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
"""The words for a penalty whose record cannot be read."""


def penalised(record: RunRecord, bound: str) -> str:
    """The quantities that a run's penalties lower, such as "jacobian, an estimate", or "affine_relu, a bound, and gradient,
    no bound"; ``bound`` is the name of a quantity that is not recorded."""
    if isinstance(record, NewerRun):
        return NEWER
    penalties = _penalties(record) or [{}]
    named = [(_name(each, bound), _kind(each, bound)) for each in penalties]
    if len(named) > 1 and any(kind != "a bound" for _, kind in named):  # else it reads as if one word were about all
        return ", and ".join(f"{name}, {kind}" for name, kind in named)
    return " and ".join(name if kind == "a bound" else f"{name}, {kind}" for name, kind in named)


def bound_description(record: RunRecord, bound: str) -> str:
    """The bound that a run is compared with, and whether its penalty lowers it.

    Args:
        record: of the run.
        bound: the name of the bound.

    Returns:
        "affine_relu, the bound that the penalty lowers", or, where that is something else, "affine_relu, the bound it is
        compared with (penalised: jacobian, an estimate)".
    """
    first = (_penalties(record) or [{}])[0]
    if isinstance(record, NewerRun):
        return f"{plain(bound, 40)}, the bound it is compared with (penalised: {NEWER})"
    if _name(first, bound) == plain(bound, 40) and _kind(first, bound) == "a bound":
        return f"{plain(bound, 40)}, the bound that the penalty lowers" if record.of_training else plain(bound, 40)
    return f"{plain(bound, 40)}, the bound it is compared with (penalised: {penalised(record, bound)})"


def penalty_key(record: RunRecord) -> Hashable:
    """A key that is equal for runs that were penalised alike: of weight "auto" the rule counts and not its result."""
    penalties = _penalties(record)
    if not penalties:
        return record.weight
    return frozen([{k: v for k, v in each.items() if k != "weight" or each.get("auto") is None} for each in penalties])


def quantities(record: RunRecord) -> str:
    """The names of the quantities that were penalised; empty where the record does not have them."""
    return " and ".join(_name(each, "") for each in _penalties(record))


def in_words(record: RunRecord, with_auto_value: bool = True) -> str:
    """The quantity and weight of each penalty, such as "jacobian, weight auto (0.028)"; empty where they are not recorded.

    Args:
        record: of the run.
        with_auto_value: whether the number that weight "auto" has come to is among the words.
    """
    if isinstance(record, NewerRun):
        return f"penalty {NEWER}"
    return ", and ".join(f"{_name(each, '')}, {_weight(each, with_auto_value)}" for each in _penalties(record))


def details(record: RunRecord) -> dict[str, str]:
    """The settings of the penalty beside quantity and weight, by their names; those of other regularizers in one line."""
    penalties = _penalties(record)
    if not penalties:
        return {}
    return _details(penalties[0]) | (
        {"beside": "; ".join(_line(each) for each in penalties[1:])} if penalties[1:] else {}
    )


def penalty_settings(record: RunRecord) -> dict[str, str]:
    """The rows of a table of settings: quantity, weight, penalty and whatever else is recorded."""
    penalties = _penalties(record)
    if not penalties:
        return {}
    beside = "; ".join(f"{_name(each, '')}, {_weight(each, True)}, {_line(each)}" for each in penalties[1:])
    first = {"quantity": _name(penalties[0], ""), "weight": _weight(penalties[0], True).removeprefix("weight ")}
    return first | _details(penalties[0]) | ({"beside": beside} if beside else {})


def other_settings(record: RunRecord) -> dict[str, Any]:
    """``RunRecord.settings`` without the descriptions by callbacks, for which ``penalty_settings`` has words."""
    described = bool(_penalties(record))
    return {k: v for k, v in record.settings.items() if not (described and isinstance(v, list))}


def is_in_label(record: RunRecord, key: str) -> bool:
    """Whether labels have a setting, given by its dotted name, from ``RunRecord.penalty``."""
    first, _, rest = key.partition(".")
    return bool(_penalties(record)) and first == "regularizer" and rest.partition(".")[0] in _IN_LABELS


def _penalties(record: RunRecord) -> list[Mapping[str, Any]]:
    """The recorded description of each regularizer, the first of the question first."""
    first, beside = dict(record.penalty), record.penalty.get("beside", ())
    first.pop("beside", None)
    others = [each for each in beside if isinstance(each, Mapping)] if isinstance(beside, list | tuple) else []
    return [first, *others] if "quantity" in first else others


def _name(penalty: Mapping[str, Any], bound: str) -> str:
    return plain(str(penalty.get("quantity") or bound), 40)


def _kind(penalty: Mapping[str, Any], bound: str) -> str:
    """Whether a quantity is a bound, an estimate of the constant, or neither."""
    if penalty.get("certificate") != Certificate.ESTIMATE:
        return "a bound"
    options = penalty.get("options")
    kind = options.get("kind") if isinstance(options, Mapping) else None
    return "an estimate" if {kind, _name(penalty, bound)} & {*_NEAR, plain(bound, 40)} else "no bound"


def _weight(penalty: Mapping[str, Any], with_auto_value: bool) -> str:
    weight, auto = penalty.get("weight"), penalty.get("auto") is not None
    if not auto:
        return f"weight {written(weight)}" if isinstance(weight, int | float) else f"weight {weight}"
    number = written(weight, 2) if isinstance(weight, int | float) else "not found"
    return f"weight auto ({number})" if with_auto_value else "weight auto"


def _details(penalty: Mapping[str, Any]) -> dict[str, str]:
    raw = penalty.get("options")
    options = _options(raw) if isinstance(raw, Mapping) else ""
    auto = {"fraction of auto": spelled(penalty["auto"])} if penalty.get("auto") is not None else {}
    more = {k: _described(penalty[k]) for k in ("penalty", "schedule", "points", "every") if k in penalty}
    return ({"options": options} if options else {}) | auto | more


def _line(penalty: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {words}" for name, words in _details(penalty).items())


def _described(value: Any) -> str:
    """The result of ``describe()`` of a penalty or the like in words: "hinge (target 5.0)"."""
    if isinstance(value, Mapping):
        kind, options = str(value.get("kind", "")), _options(value)
        return " ".join(part for part in (kind, options and f"({options})") if part)
    return ", ".join(map(_described, value)) if isinstance(value, list | tuple) else spelled(value)


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_described(value)}" for name, value in options.items() if name != "kind")
