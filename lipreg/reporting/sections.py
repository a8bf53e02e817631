"""The parts of the report that are words and tables: cards, verdict, comparison and settings, escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from lipreg.records import AuditRecord
from lipreg.reporting.runs import Entry, Run, flatten
from lipreg.reporting.wording import (
    at_most,
    between,
    comparison_rows,
    counted,
    doubts,
    epochs,
    judgement,
    measured,
    nearest,
    notes,
    plain,
    share_between,
    which_weights,
)
from lipreg.results import Certificate
from lipreg.transfer import Comparison, Metric, mean_tightness
from lipreg.transfer.comparison import mean, mean_interval


def entry_section(entry: Entry, number: int) -> str:
    """Cards, verdict and comparison of one entry; the page shows one at a time."""
    last = entry.last
    body = _compared(entry, last) if last is not None else _alone(entry)
    trouble = f'<p class="notice">{text(_sentence(entry.trouble))}</p>' if entry.trouble else ""
    return f'<section class="entry" id="entry-{number}" data-entry="{number}">{trouble}{body}</section>'


def _compared(entry: Entry, last: Comparison) -> str:
    mine, twin, moved = last.regularised, last.twin, last.movement

    def two(first: str, second: str) -> str:
        return (
            f'<div class="value run">{text(first)} <span>regularised</span></div>'
            f'<div class="value twin">{text(second)} <span>twin</span></div>'
        )

    def one(value: str, what: str = "") -> str:
        return f'<div class="value">{text(value)} <span>{what}</span></div>'

    cards = (
        *_metric_card(entry.metric, two(measured(entry.metric, mine.metric), measured(entry.metric, twin.metric))),
        (
            "Exact constant",
            two(between(mine.exact), between(twin.exact)),
            f"Mean certified interval. {certificate([p.record for p in (*mine.points, *twin.points)])}",
        ),
        (
            f"Bound ({last.bound_name})",
            two(at_most(mine.bound), at_most(twin.bound)),
            f"Mean. Tightness (bound / exact, geometric mean): {between(mine.tightness)} and {between(twin.tightness)}.",
        ),
        (
            "Movement",
            one(between(moved.exact), "truth") + one(nearest(moved.bound), "bound"),
            "Regularised / twin, geometric mean over the points.",
        ),
        ("Transfer", one(share_between(moved.transfer)), "1: all of the bound's movement is real. 0: none of it is."),
    )
    noted = [_sentence(moved.note)] if moved.note and moved.transfer is not None else []
    weights = which_weights(mine.points, mine.metric is not None)
    below = [note for note in (*noted, *notes(last)) if note not in weights]
    small = "".join(f'<p class="soft small">{text(note)}</p>' for note in below)
    twin_name = entry.twin.run.name if entry.twin else twin.run
    when = "" if last.epoch is None else f"After {epochs(last.epoch)}."
    known = " ".join(words for words in (f"{last.likeness.shared}.", when, *weights) if words)
    pair = (
        f'<span class="run">{_named("Regularised", mine.run)}</span>: penalty on {text(last.bound_name)}. '
        f'<span class="twin">{_named("Twin", twin_name)}</span>: '
        f"{text(known)}"
    )
    doubted = "".join(f'<p class="notice">{text(doubt)}</p>' for doubt in doubts(last))
    rows = table(("", "regularised", "twin", "ratio"), comparison_rows(last), numbers=(1, 2, 3))
    return (
        f'<p class="soft small">{pair}</p><div class="cards">{_cards(cards)}</div>'
        f'<p class="verdict"><strong>{text(judgement(last))}</strong></p>{doubted}'
        f'<details class="side-by-side"><summary>Side by side, in numbers</summary><div class="scroll">{rows}</div>'
        f"{small}</details>"
    )


def _alone(entry: Entry) -> str:
    side = entry.mine
    epoch = max((e for e, points in side.points.items() if points), default=None)
    if epoch is None:
        return f'<p class="notice">No point of this run has both {text(entry.bound_name)} and exact audits.</p>'
    points = list(side.points[epoch].values())
    exact, bound = mean_interval(points), mean([p.bound for p in points])
    tightness = between(mean_tightness([p.tightness for p in points]))
    cards = (
        *_metric_card(entry.metric, _value(measured(entry.metric, side.metric.get(epoch)))),
        ("Exact constant", _value(between(exact)), f"Mean interval. {certificate([p.record for p in points])}"),
        (f"Bound ({entry.bound_name})", _value(at_most(bound)), "Mean. Never below the exact constant."),
        ("Tightness", _value(tightness), "Bound / exact constant, geometric mean over the points."),
    )
    at = counted(len(points), "reference point")
    at += f" after {epochs(epoch)}" if side.run.record.of_training else ""
    weights = which_weights(points, side.metric.get(epoch) is not None)
    alone = "no twin to compare with" if entry.twin is None else f"not compared with its twin {entry.twin.run.name}"
    head = " ".join((f"{side.run.name}, audited at {at}; {alone}.", *weights))
    return f'<p class="soft small">{text(head)}</p><div class="cards">{_cards(cards)}</div>'


def _metric_card(metric: Metric | None, values: str) -> list[tuple[str, str, str]]:
    """The card of the task's own metric, if there is one."""
    if metric is None:
        return []
    said = "Inputs classified rightly." if metric.share else "As the training logged it."
    return [(metric.title[:1].upper() + metric.title[1:] if metric.share else metric.title, values, said)]


def certificate(records: Sequence[AuditRecord]) -> str:
    """How many of the intervals are exact."""
    exact = sum(r.certificate == Certificate.EXACT.value for r in records)
    return f"Certificate: exact at {exact} of {counted(len(records), 'point')}" + (
        "." if exact == len(records) else ", else wider."
    )


def settings_tables(entries: Sequence[Entry]) -> str:
    """What all runs share, once; and what differs, by entry. Then what each network and its proofs came from."""
    flat = [_settings(entry.mine.run) for entry in entries]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    shared = [(k, flat[0][k]) for k in keys if k in flat[0] and len({s.get(k) for s in flat}) == 1]
    parts = [f'<div class="scroll settings">{table(("setting", "value"), shared)}</div>']
    differing = [k for k in keys if len({s.get(k) for s in flat}) > 1]
    told = {tuple(s.get(k) for s in flat): k for k in reversed(differing)}  # a seed is written in many places
    differing = [k for k in differing if k in told.values()]
    if differing:
        rows = [(e.label, *(s.get(k, "") for k in differing)) for e, s in zip(entries, flat, strict=True)]
        parts.append('<h3>Where the runs differ</h3><div class="scroll settings differ">')
        parts.append(table(("run", *differing), rows) + "</div>")
    return "".join(parts)


def _settings(run: Run) -> dict[str, str]:
    record = run.record
    weight = run.recorded.course or f"{record.weight:g}"
    own = {"run": record.run, "seed": str(record.seed), "weight": weight, "bound": str(record.bound)}
    first = run.audits[-1] if run.audits else None
    rows = [*flatten(first.question if first else record.question, "question"), *flatten(record.settings, "settings")]
    if first is not None:
        rows += [("weights", first.fingerprint), *flatten(first.versions, "versions")]
    return own | dict(rows)


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """Terms and their meanings."""
    return "\n".join(f"<dt>{text(term)}</dt><dd>{text(meaning)}</dd>" for term, meaning in pairs)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A plain table; the first cell of each row heads it."""
    kinds = [' class="number"' if i in numbers else "" for i in range(len(heads))]
    head = "".join(f'<th scope="col"{kind}>{text(name)}</th>' for name, kind in zip(heads, kinds, strict=True))
    body = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>'
        + "".join(f"<td{kind}>{text(cell)}</td>" for cell, kind in zip(row[1:], kinds[1:], strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def text(words: str) -> str:
    """Words from anywhere as HTML: on one line, escaped."""
    return escape(plain(words, 2000), quote=True)


def _cards(cards: Iterable[tuple[str, str, str]]) -> str:
    return "".join(
        f'<div class="card"><h3>{text(head)}</h3>{value}<p>{text(note)}</p></div>' for head, value, note in cards
    )


def _named(role: str, name: str) -> str:
    return role if role.lower() == name else f"{role} {text(name)}"


def _value(words: str) -> str:
    return f'<div class="value">{text(words)}</div>'


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:].rstrip('.')}." if words else ""
