"""The parts of the report that are words and tables: cards, verdict and comparison, escaped."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lipreg.records import AuditRecord
from lipreg.reporting.checked import certified_words
from lipreg.reporting.markup import Card, cards, table, text, value
from lipreg.reporting.notes import budget_notes, calibration_notes, doubts, notes, share_notes, unsettled, which
from lipreg.reporting.penalised import penalised
from lipreg.reporting.rows import (
    AS_THEY_ARE,
    OF_AUDIT,
    SCALE_FREE,
    VALUES,
    calibrated_name,
    comparison_blocks,
    region_radius,
    task,
)
from lipreg.reporting.runs import Entry
from lipreg.reporting.verdicts import judgement, noise
from lipreg.reporting.wording import (
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
    conditions = " ".join(words for words in (f"{last.likeness.shared}.", when, *weights) if words)
    lowered, bound = penalised(entry.regularised.run.record, last.bound_name), plain(last.bound_name, 40)
    against = "" if lowered == bound else f", compared with {bound}"
    subject = f"penalty on {lowered + against}" if last.epoch is not None else f"compared with {bound}"
    pair = (
        f'<span class="run">{_named(last.roles[0].capitalize(), mine.run)}</span>: {text(subject)}. '
        f'<span class="twin">{_named("Twin", entry.pair.twin.run.label)}</span>: {text(conditions)}'
    )
    metric = _metric_cards(entry.pair.metric, two(lambda figures: measured(entry.pair.metric, figures.metric)))
    over = " / ".join(last.roles).capitalize()
    ratio = "" if last.margin_ratio is None else f" {between(last.margin_ratio)} of the twin's."
    free = [
        *scale_free_cards((mine, twin), two, ratio, last.roles),
        *_moved_cards(last.calibrated.movement, last.calibrated.with_noise.transfer, over, _calibrated_unit(last)),
    ]
    raw = [
        Card("Combined", two(lambda figures: between(figures.combined)), f"Mean certified interval. {exact}"),
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
    run, figures, metric = entry.regularised.run, entry.figures, entry.pair.metric
    if figures is None:
        return (
            f'<p class="notice">No point of this run has both {text(entry.regularised.bound)} and combined audits.</p>'
        )
    exact = certificate([run], [p.record for p in figures.points])
    at = counted(len(figures.points), "reference point")
    at += f" after {epochs(figures.epoch)}" if run.record.of_training else ""
    alone = "no twin to compare with" if entry.twin is None else f"not compared with its twin {entry.twin.run.label}"
    weights = which_weights(figures.points, figures.metric is not None)

    def one(show: Callable[[RunFigures], str]) -> str:
        return value(show(figures))

    raw = [
        Card("Combined", value(between(figures.combined)), f"Mean interval. {exact}"),
        Card(
            f"Bound ({entry.regularised.bound})", value(at_most(figures.bound)), "Mean. Never below the exact constant."
        ),
    ]
    head = _soft(text(" ".join((f"{run.label}, audited at {at}; {alone}.", *weights))))
    remarks = [*calibration_notes({"this run": figures.calibration}), *unsettled(figures), *share_notes((figures,))]
    remarks += budget_notes((figures,))
    metric_cards = _metric_cards(metric, value(measured(metric, figures.metric)))
    audit = [_tightness(value(between(figures.tightness)))]
    groups = _groups(metric_cards, (scale_free_cards((figures,), one), raw, audit), which(figures))
    return head + groups + "".join(_soft(text(note)) for note in remarks)


def _groups(
    metric: tuple[list[Card], list[Card]], blocks: tuple[list[Card], list[Card], list[Card]], sentence: Sequence[str]
) -> str:
    """The cards in the blocks of the table, scale-free figures first, below the sentence on which ones these are."""
    share, other = metric
    free, raw, audit = blocks
    if not free:
        return cards(*share, *other, *raw, *audit)
    shown = zip((SCALE_FREE, AS_THEY_ARE, OF_AUDIT), ([*share, *free], raw, [*other, *audit]), strict=True)
    introductions = ["".join(_soft(text(words)) for words in sentence), "", ""]
    heads = [(f"<h3>{capitalised(name)}</h3>", cards(*of)) for name, of in shown]
    return "".join(f"{head}{words}{row}" for (head, row), words in zip(heads, introductions, strict=True))


def _tightness(figure: str) -> Card:
    return Card("Tightness", figure, "Bound / combined, geometric mean over the points.")


def scale_free_cards(
    sides: Sequence[RunFigures],
    show: Callable[[Callable[[RunFigures], str]], str],
    ratio: str = "",
    roles: Sequence[str] = ("",),
) -> list[Card]:
    """The cards of scale-free figures, of those that at least one of the runs has.

    Args:
        sides: the runs.
        show: from a figure of a run in words to the figure of all of them in HTML.
        ratio: words beside the margins over the constants.
        roles: the names of the runs' roles; empty for one alone.
    """
    shown: list[Card] = []
    if any(side.margin_over_constant is not None for side in sides):
        meaning = f"Median over the points.{ratio}"
        shown.append(
            Card(
                "Margin over constant",
                show(lambda side: distance(side.margin_over_constant, region_radius(side))),
                meaning,
            )
        )
    if any(side.calibrated is not None for side in sides):
        name = calibrated_name(task(*sides))
        figure = show(lambda side: between(side.calibrated))
        shown.append(Card(capitalised(name), figure, "Mean certified interval."))
    if any(side.certified is not None for side in sides):
        closed, attacked = (
            _by_role([share(side) for side in sides], roles)
            for share in (lambda side: side.certified_closed, lambda side: side.attacked)
        )
        meaning = f"Of the audited points, by the combined interval. By the best bound without a search {closed}"
        meaning += f"; under attack {attacked}." if attacked else "."
        shown.append(Card("Certified accuracy", show(lambda side: percent_between(side.certified)), meaning))
    return shown


def _by_role(shares: Sequence[float | None], roles: Sequence[str]) -> str:
    """The shares of both runs, or of one alone, in words: "50.0% (regularised) and n/a (twin)"; empty without any."""
    if all(share is None for share in shares):
        return ""
    return " and ".join(
        f"{percent(share)}{f' ({role})' if role else ''}" for share, role in zip(shares, roles, strict=True)
    )


def _moved_cards(moved: Movement, transfer: Interval | None, over: str, of: str) -> list[Card]:
    """The card of movement and ``transfer``, widened by the noise of T; none where the constants' movement is undefined."""
    if moved.combined is None:
        return []
    return [
        Card(
            "Movement",
            value(between(moved.combined), "truth")
            + value(nearest(moved.bound), "bound")
            + value(share_between(transfer), "transfer"),
            f"{over}, geometric mean over the points, {of}. Transfer 1: all of the bound's movement is real; "
            "0: none of it is.",
        ),
    ]


def _calibrated_unit(comparison: Comparison) -> str:
    if task(comparison.regularised, comparison.twin) == VALUES:
        return "in standard deviations"
    return f"per unit of calibrated output{noise(comparison.calibrated)}"


def _metric_cards(metric: Metric | None, figure: str) -> tuple[list[Card], list[Card]]:
    """The card of the task's own metric, if any: first as an accuracy, else second, as rescaling may change it."""
    if metric is None:
        return [], []
    if metric.share:
        of = " over its validation data" if "validation" in metric.title else ""
        return [
            Card(capitalised(metric.title), figure, f"Inputs classified rightly, as the training logged it{of}.")
        ], []
    return [], [Card(metric.title, figure, "As the training logged it.")]


def certificate(runs: Sequence[RecordedRun], records: Sequence[AuditRecord], of: str = "") -> str:
    """A sentence on how many of the intervals are exact, and how their certificates were checked.

    Args:
        runs: the runs of the records.
        records: the intervals.
        of: words behind their number, such as " of both runs".
    """
    exact = sum(r.is_exact for r in records)
    rest = "." if exact == len(records) else ", else wider."
    proofs = certified_words(runs, records)
    return f"Certificate: exact at {exact} of {counted(len(records), 'interval')}{of}{rest} {proofs}".rstrip()


def _soft(markup: str) -> str:
    return f'<p class="soft small">{markup}</p>'


def _named(role: str, name: str) -> str:
    return role if role.lower() == name else f"{role} {text(name)}"


def _sentence(words: str) -> str:
    return f"{capitalised(words).rstrip('.')}." if words else ""
