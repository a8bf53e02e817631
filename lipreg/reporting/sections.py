"""The parts of the report that are words and tables: cards, verdict, comparison and settings, escaped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any, NamedTuple

from lipreg.records import AuditRecord
from lipreg.reporting.runs import Entry, flatten
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
from lipreg.runs import RecordedRun
from lipreg.transfer import Comparison, Metric, RunFigures


class Card(NamedTuple):
    """A figure of its own: heading, the figure in HTML, and what it is in words."""

    head: str
    figure: str
    note: str


def entry_section(entry: Entry, number: int) -> str:
    """Cards, verdict and comparison of one entry; the page shows one at a time."""
    last = entry.last
    body = _compared(entry, last) if last is not None else _alone(entry)
    trouble = f'<p class="notice">{text(_sentence(entry.trouble))}</p>' if entry.trouble else ""
    return f'<section class="entry" id="entry-{number}" data-entry="{number}">{trouble}{body}</section>'


def _compared(entry: Entry, last: Comparison) -> str:
    mine, twin, moved = last.regularised, last.twin, last.movement

    def two(show: Callable[[RunFigures], str]) -> str:
        return value(show(mine), "regularised", "run") + value(show(twin), "twin", "twin")

    exact = certificate([p.record for p in (*mine.points, *twin.points)])
    tight = f"{between(mine.tightness)} and {between(twin.tightness)}"
    weights = which_weights(mine.points, mine.metric is not None)
    noted = [_sentence(moved.note)] if moved.note and moved.transfer is not None else []
    small = [note for note in (*noted, *notes(last)) if note not in weights]
    when = "" if last.epoch is None else f"After {epochs(last.epoch)}."
    known = " ".join(words for words in (f"{last.likeness.shared}.", when, *weights) if words)
    pair = (
        f'<span class="run">{_named("Regularised", mine.run)}</span>: penalty on {text(last.bound_name)}. '
        f'<span class="twin">{_named("Twin", entry.pair.twin.run.label)}</span>: {text(known)}'
    )
    shown = cards(
        *_metric_card(entry.pair.metric, two(lambda figures: measured(entry.pair.metric, figures.metric))),
        Card("Exact constant", two(lambda figures: between(figures.exact)), f"Mean certified interval. {exact}"),
        Card(
            f"Bound ({last.bound_name})",
            two(lambda figures: at_most(figures.bound)),
            f"Mean. Tightness (bound / exact, geometric mean): {tight}.",
        ),
        Card(
            "Movement",
            value(between(moved.exact), "truth") + value(nearest(moved.bound), "bound"),
            "Regularised / twin, geometric mean over the points.",
        ),
        Card(
            "Transfer",
            value(share_between(moved.transfer)),
            "1: all of the bound's movement is real. 0: none of it is.",
        ),
    )
    rows = table(("", "regularised", "twin", "ratio"), comparison_rows(last), numbers=(1, 2, 3))
    return (
        f'{_soft(pair)}{shown}<p class="verdict"><strong>{text(judgement(last))}</strong></p>'
        + "".join(f'<p class="notice">{text(doubt)}</p>' for doubt in doubts(last))
        + f'<details class="side-by-side"><summary>Side by side, in numbers</summary><div class="scroll">{rows}</div>'
        + "".join(_soft(text(note)) for note in small)
        + "</details>"
    )


def _alone(entry: Entry) -> str:
    run, figures, metric = entry.mine.run, entry.figures, entry.pair.metric
    if figures is None:
        return f'<p class="notice">No point of this run has both {text(entry.mine.bound)} and exact audits.</p>'
    exact = certificate([p.record for p in figures.points])
    at = counted(len(figures.points), "reference point")
    at += f" after {epochs(figures.epoch)}" if run.record.of_training else ""
    alone = "no twin to compare with" if entry.twin is None else f"not compared with its twin {entry.twin.run.label}"
    weights = which_weights(figures.points, figures.metric is not None)
    return _soft(text(" ".join((f"{run.label}, audited at {at}; {alone}.", *weights)))) + cards(
        *_metric_card(metric, value(measured(metric, figures.metric))),
        Card("Exact constant", value(between(figures.exact)), f"Mean interval. {exact}"),
        Card(f"Bound ({entry.mine.bound})", value(at_most(figures.bound)), "Mean. Never below the exact constant."),
        Card(
            "Tightness",
            value(between(figures.tightness)),
            "Bound / exact constant, geometric mean over the points.",
        ),
    )


def _metric_card(metric: Metric | None, figure: str) -> list[Card]:
    """The card of the task's own metric, if there is one."""
    if metric is None:
        return []
    if metric.share:
        return [Card(metric.title[:1].upper() + metric.title[1:], figure, "Inputs classified rightly.")]
    return [Card(metric.title, figure, "As the training logged it.")]


def certificate(records: Sequence[AuditRecord]) -> str:
    """How many of the intervals are exact."""
    exact = sum(r.is_exact for r in records)
    rest = "." if exact == len(records) else ", else wider."
    return f"Certificate: exact at {exact} of {counted(len(records), 'point')}{rest}"


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


def _settings(run: RecordedRun) -> dict[str, str]:
    record = run.record
    weight = run.course or f"{record.weight:g}"
    told: dict[str, Any] = {"run": record.run, "seed": record.seed, "weight": weight, "bound": record.bound}
    told |= {"question": run.audits[-1].question if run.audits else record.question, "settings": record.settings}
    if run.audits:
        told |= {"weights": run.audits[-1].fingerprint, "versions": run.audits[-1].versions}
    return flatten(told)


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


def cards(*shown: Card) -> str:
    """Cards side by side."""
    return (
        '<div class="cards">'
        + "".join(
            f'<div class="card"><h3>{text(card.head)}</h3>{card.figure}<p>{text(card.note)}</p></div>' for card in shown
        )
        + "</div>"
    )


def value(words: str, what: str = "", of: str = "") -> str:
    """A figure on a card, what it is, and the class of the run that it is of."""
    kind, beside = f"value {of}".rstrip(), f" <span>{what}</span>" if what else ""
    return f'<div class="{kind}">{text(words)}{beside}</div>'


def _soft(markup: str) -> str:
    return f'<p class="soft small">{markup}</p>'


def _named(role: str, name: str) -> str:
    return role if role.lower() == name else f"{role} {text(name)}"


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:].rstrip('.')}." if words else ""
