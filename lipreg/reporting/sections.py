"""The parts of the report that are words and tables: cards, verdict, comparison and settings, escaped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import NamedTuple

from lipreg.records import AuditRecord
from lipreg.reporting.checked import certified_words
from lipreg.reporting.notes import calibration_notes, doubts, notes, share_notes, unsettled, which
from lipreg.reporting.penalised import penalised
from lipreg.reporting.rows import (
    AS_THEY_ARE,
    OF_AUDIT,
    SCALE_FREE,
    VALUES,
    calibrated_name,
    comparison_blocks,
    reach,
    task,
)
from lipreg.reporting.runs import Entry
from lipreg.reporting.verdicts import judgement, noise
from lipreg.reporting.wording import (
    BEYOND_AUDITED,
    at_most,
    between,
    distance,
    epochs,
    measured,
    nearest,
    percent,
    percent_between,
    share_between,
    which_weights,
)
from lipreg.runs import RecordedRun
from lipreg.transfer import Comparison, Interval, Metric, Movement, RunFigures
from lipreg.words import capitalised, counted, plain

_LONG = 50
"""Lists of more lines than these are opened by a click."""


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
        return value(show(mine), last.roles[0], "run") + value(show(twin), last.roles[1], "twin")

    runs = [side.run for side in entry.pair.sides]
    exact = certificate(runs, [p.record for p in (*mine.points, *twin.points)], " of both runs")
    weights = which_weights(mine.points, mine.metric is not None)
    noted = [_sentence(moved.note)] if moved.note and moved.transfer is not None else []
    small = [note for note in (*noted, *notes(last)) if note not in weights]
    when = "" if last.epoch is None else f"After {epochs(last.epoch)}."
    known = " ".join(words for words in (f"{last.likeness.shared}.", when, *weights) if words)
    lowered, bound = penalised(entry.mine.run.record, last.bound_name), plain(last.bound_name, 40)
    against = "" if lowered == bound else f", held against {bound}"
    told = f"penalty on {lowered + against}" if last.epoch is not None else f"held against {bound}"
    pair = (
        f'<span class="run">{_named(last.roles[0].capitalize(), mine.run)}</span>: {text(told)}. '
        f'<span class="twin">{_named("Twin", entry.pair.twin.run.label)}</span>: {text(known)}'
    )
    metric = _metric_cards(entry.pair.metric, two(lambda figures: measured(entry.pair.metric, figures.metric)))
    over = " / ".join(last.roles).capitalize()
    ratio = "" if last.margin_ratio is None else f" {between(last.margin_ratio)} of the twin's."
    free = [
        *scale_free_cards((mine, twin), two, ratio, last.roles),
        *_moved_cards(last.calibrated.movement, last.calibrated.known.transfer, over, _calibrated_unit(last)),
    ]
    raw = [
        Card("Exact constant", two(lambda figures: between(figures.exact)), f"Mean certified interval. {exact}"),
        Card(f"Bound ({last.bound_name})", two(lambda figures: at_most(figures.bound)), "Mean."),
        *_moved_cards(moved, moved.transfer, over, "of the constants as they are"),
    ]
    audit = _tightness(two(lambda figures: between(figures.tightness)))
    blocks = [row for block in comparison_blocks(last) for row in ((block.name, "", "", ""), *block.rows)]
    rows = table(("", *last.roles, "ratio"), blocks, numbers=(1, 2, 3))
    return (
        f'{_soft(pair)}<p class="verdict"><strong>{text(judgement(last))}</strong></p>'
        + "".join(f'<p class="notice">{text(doubt)}</p>' for doubt in doubts(last))
        + _groups(metric, (free, raw, [audit]), which(mine, twin))
        + f'<details class="side-by-side"><summary>Side by side, in numbers</summary><div class="scroll">{rows}</div>'
        + "".join(_soft(text(note)) for note in small)
        + "</details>"
    )


def _alone(entry: Entry) -> str:
    run, figures, metric = entry.mine.run, entry.figures, entry.pair.metric
    if figures is None:
        return f'<p class="notice">No point of this run has both {text(entry.mine.bound)} and exact audits.</p>'
    exact = certificate([run], [p.record for p in figures.points])
    at = counted(len(figures.points), "reference point")
    at += f" after {epochs(figures.epoch)}" if run.record.of_training else ""
    alone = "no twin to compare with" if entry.twin is None else f"not compared with its twin {entry.twin.run.label}"
    weights = which_weights(figures.points, figures.metric is not None)

    def one(show: Callable[[RunFigures], str]) -> str:
        return value(show(figures))

    raw = [
        Card("Exact constant", value(between(figures.exact)), f"Mean interval. {exact}"),
        Card(f"Bound ({entry.mine.bound})", value(at_most(figures.bound)), "Mean. Never below the exact constant."),
    ]
    head = _soft(text(" ".join((f"{run.label}, audited at {at}; {alone}.", *weights))))
    told = [*calibration_notes({"this run": figures.calibration}), *unsettled(figures), *share_notes((figures,))]
    own = _metric_cards(metric, value(measured(metric, figures.metric)))
    audit = [_tightness(value(between(figures.tightness)))]
    groups = _groups(own, (scale_free_cards((figures,), one), raw, audit), which(figures))
    return head + groups + "".join(_soft(text(note)) for note in told)


def _groups(
    metric: tuple[list[Card], list[Card]], blocks: tuple[list[Card], list[Card], list[Card]], sentence: Sequence[str]
) -> str:
    """Cards in the blocks of the table, the figures that rescaling does not move first, and what tells these apart."""
    share, other = metric
    free, raw, audit = blocks
    if not free:
        return cards(*share, *other, *raw, *audit)
    shown = zip((SCALE_FREE, AS_THEY_ARE, OF_AUDIT), ([*share, *free], raw, [*other, *audit]), strict=True)
    said = ["".join(_soft(text(words)) for words in sentence), "", ""]
    heads = [(f"<h3>{capitalised(name)}</h3>", cards(*of)) for name, of in shown]
    return "".join(f"{head}{words}{row}" for (head, row), words in zip(heads, said, strict=True))


def _tightness(figure: str) -> Card:
    return Card("Tightness", figure, "Bound / exact constant, geometric mean over the points.")


def scale_free_cards(
    sides: Sequence[RunFigures],
    show: Callable[[Callable[[RunFigures], str]], str],
    ratio: str = "",
    roles: Sequence[str] = ("",),
) -> list[Card]:
    """The figures of runs that rescaling does not move, as far as they are known of one of them.

    Args:
        sides: the runs.
        show: from a figure of a run in words to the figure of all of them in HTML.
        ratio: what is said beside the margins over the constants.
        roles: what the runs are called; one alone is not called anything.
    """
    found: list[Card] = []
    if any(side.margin_over_constant is not None for side in sides):
        meaning = f"Median over the points.{ratio}"
        found.append(
            Card("Margin over constant", show(lambda side: distance(side.margin_over_constant, reach(side))), meaning)
        )
    if any(side.calibrated is not None for side in sides):
        name = calibrated_name(task(*sides))
        figure = show(lambda side: between(side.calibrated))
        found.append(Card(capitalised(name), figure, "Mean certified interval."))
    if any(side.certified is not None for side in sides):
        closed, attacked = (
            _by_role([share(side) for side in sides], roles)
            for share in (lambda side: side.certified_closed, lambda side: side.attacked)
        )
        meaning = f"Of the audited points, by the exact constant. By the best bound without a search {closed}"
        meaning += f"; under attack {attacked}." if attacked else "."
        found.append(Card("Certified accuracy", show(lambda side: percent_between(side.certified)), meaning))
    return found


def _by_role(shares: Sequence[float | None], roles: Sequence[str]) -> str:
    """Shares of both runs, or of one alone, in words: "50.0% (regularised) and n/a (twin)"; empty where none is known."""
    if all(share is None for share in shares):
        return ""
    return " and ".join(
        f"{percent(share)}{f' ({role})' if role else ''}" for share, role in zip(shares, roles, strict=True)
    )


def _moved_cards(moved: Movement, known: Interval | None, over: str, of: str) -> list[Card]:
    """The card of movement and transfer, ``known`` as wide as T leaves it; none where constants' movement is undefined."""
    if moved.exact is None:
        return []
    return [
        Card(
            "Movement",
            value(between(moved.exact), "truth")
            + value(nearest(moved.bound), "bound")
            + value(share_between(known), "transfer"),
            f"{over}, geometric mean over the points, {of}. Transfer 1: all of the bound's movement is real; "
            "0: none of it is.",
        ),
    ]


def _calibrated_unit(comparison: Comparison) -> str:
    if task(comparison.regularised, comparison.twin) == VALUES:
        return "in standard deviations"
    return f"per unit of calibrated output{noise(comparison.calibrated)}"


def _metric_cards(metric: Metric | None, figure: str) -> tuple[list[Card], list[Card]]:
    """The card of the task's own metric, if there is one, as an accuracy and as anything else, which rescaling may move."""
    if metric is None:
        return [], []
    if metric.share:
        return [Card(capitalised(metric.title), figure, "Inputs classified rightly.")], []
    return [], [Card(metric.title, figure, "As the training logged it.")]


def certificate(runs: Sequence[RecordedRun], records: Sequence[AuditRecord], of: str = "") -> str:
    """How many of the intervals are exact, ``of`` one run or both, and how their certificates were checked."""
    exact = sum(r.is_exact for r in records)
    rest = "." if exact == len(records) else ", else wider."
    proofs = certified_words(runs, records)
    return f"Certificate: exact at {exact} of {counted(len(records), 'interval')}{of}{rest} {proofs}".rstrip()


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


def folded(content: str, count: int, what: str) -> str:
    """A long list behind a line that says how many there are: what is not opened costs a browser no time."""
    return f"<details><summary>{counted(count, what)}</summary>{content}</details>" if count > _LONG else content


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
    """A figure on a card, what it is, and the class of the run that it is of; words about it are set as words."""
    figure, beyond, reach = words.partition(f", {BEYOND_AUDITED}")
    about = " ".join(each for each in (f"{beyond}{reach}".removeprefix(", "), what) if each)
    kind, beside = f"value {of}".rstrip(), f" <span>{text(about)}</span>" if about else ""
    return f'<div class="{kind}">{text(figure)}{beside}</div>'


def _soft(markup: str) -> str:
    return f'<p class="soft small">{markup}</p>'


def _named(role: str, name: str) -> str:
    return role if role.lower() == name else f"{role} {text(name)}"


def _sentence(words: str) -> str:
    return f"{capitalised(words).rstrip('.')}." if words else ""
