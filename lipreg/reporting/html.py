"""The HTML report of a regularised run against its twin: one self-contained page that a stranger can read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from lipreg.errors import InvalidInput
from lipreg.records import AuditRecord, Record, RunRecord
from lipreg.reporting.figures import NARROW, trajectory_figure
from lipreg.reporting.page import PAGE
from lipreg.reporting.svg import inline_svg
from lipreg.reporting.wording import (
    at_least,
    at_most,
    between,
    comparison_rows,
    nearest,
    notes,
    percent,
    plain,
    share_between,
    verdict,
)
from lipreg.results import Status
from lipreg.transfer import Comparison, PointFigures, RunFigures, compare

_GLOSSARY = (
    ("regional constant", "The largest slope between any two points of the region around a reference point."),
    (
        "pointed constant",
        "The largest slope between the reference point itself and any other point of its region; never above the "
        "regional one, and never compared with it.",
    ),
    (
        "certified interval",
        "The exact constant lies in [lower, upper]: a point was found that attains the lower end, and a proof holds "
        "for the upper end. The certificate is exact where the two meet.",
    ),
    (
        "bound",
        "What the penalty lowers during training. It is never below the exact constant, but may be far above it.",
    ),
    ("LP relaxation", "A tighter upper bound, from the exact problem with its on/off choices relaxed to fractions."),
    ("tightness", "Bound / exact constant. 1 is a perfect bound; 5 says that the bound is five times too large."),
    (
        "movement",
        "Regularised / twin. 0.5 says that the penalty halved it, against the same training without the penalty.",
    ),
    (
        "transfer",
        "Movement of the exact constant / movement of the bound, in logarithms. 1: every per cent taken off the bound "
        "came off the truth. 0: only the bound moved. Negative: the truth went the other way.",
    ),
    (
        "certified radius",
        "Logit margin / constant, cut to the region: no smaller change of the input, within the data range, alters the "
        "predicted class.",
    ),
    (
        "rank correlation",
        "Spearman's, of bound and exact constant over all points and epochs. 1: the bound ranks them right.",
    ),
)


def write_report(records: Sequence[Record], path: str | Path, run: str) -> Path:
    """Writes the report of a regularised run and its twin at their last shared audit.

    The page loads nothing from elsewhere and has no script. Every text from the records is escaped.

    Args:
        records: of both runs; others are ignored.
        path: the HTML file; its folder is made.
        run: the regularised run; its ``RunRecord`` names the twin and the bound.

    Returns:
        The path of the file.

    Raises:
        InvalidInput: no such run, no twin, no point audited in both runs, or a path that cannot be written.
        IncomparableResults: the records answer different questions, or a point has another functional in the twin.
        CrossingBounds: a bound lies below a witness, or the ends of a record cross.
    """
    comparison = compare(records, run)
    path = Path(path)
    page = _page(records, comparison)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            f"cannot write {path}: {error.strerror or error}",
            where="write_report",
            accepted="the name of a file",
            todo="Choose a folder that can be written",
        ) from None
    return path


def _page(records: Sequence[Record], comparison: Comparison) -> str:
    mine, twin, moved = comparison.regularised, comparison.twin, comparison.movement
    described = _text(f"Bound, LP relaxation and exact constant over training of {mine.run} and its twin {twin.run}")
    sides = zip(mine.points, twin.points, strict=True)
    noted = [f"{moved.note[:1].upper()}{moved.note[1:]}."] if moved.note and moved.transfer is not None else []
    return PAGE.substitute(
        title=_text(f"{mine.run} against {twin.run}"),
        question=_text(_sentence(comparison.sentence) or "A local Lipschitz constant at fixed reference points."),
        pair=f'<span class="run">Regularised: {_text(mine.run)}</span>, penalty on {_text(comparison.bound_name)}. '
        f'<span class="twin">Twin: {_text(twin.run)}</span>, the same seed, weights and batches without the penalty. '
        f"After {comparison.epoch} epochs.",
        cards=_cards(comparison),
        verdict=_text(verdict(moved)),
        notes="\n".join(f'<p class="soft small">{_text(note)}</p>' for note in (*noted, *notes(comparison))),
        figure=inline_svg(trajectory_figure(records, mine.run), "wide-", described),
        narrow_figure=inline_svg(trajectory_figure(records, mine.run, size=NARROW), "narrow-", described),
        comparison=_table(("", "regularised", "twin", "ratio"), comparison_rows(comparison), numbers=(1, 2, 3)),
        glossary=_definitions(_GLOSSARY),
        points=_points(list(sides), comparison),
        statuses=_definitions(_statuses([p.record for side in (mine, twin) for p in side.points])),
        settings=_table(("setting", "value"), _settings(records, comparison)),
    )


def _cards(comparison: Comparison) -> str:
    mine, twin, moved = comparison.regularised, comparison.twin, comparison.movement

    def two(show: Any) -> str:
        return (
            f'<div class="value run">{_text(show(mine))} <span>regularised</span></div>'
            f'<div class="value twin">{_text(show(twin))} <span>twin</span></div>'
        )

    def one(value: str, what: str = "") -> str:
        return f'<div class="value">{_text(value)} <span>{what}</span></div>'

    exact = f"Certified exact at {percent(mine.share_exact)} and {percent(twin.share_exact)} of the points."
    cards = (
        (
            "Validation accuracy",
            two(lambda side: percent(side.accuracy)),
            "Share of validation inputs classified rightly.",
        ),
        ("Exact constant", two(lambda side: between(side.exact)), f"Mean certified interval. {exact}"),
        (
            "Movement",
            one(between(moved.exact), "truth") + one(nearest(moved.bound), "bound"),
            "Regularised / twin, geometric mean over the points.",
        ),
        ("Transfer", one(share_between(moved.transfer)), "1: all of the bound's movement is real. 0: none of it is."),
    )
    return "\n".join(
        f'<div class="card"><h2>{_text(head)}</h2>{value}<p>{_text(note)}</p></div>' for head, value, note in cards
    )


def _points(pairs: list[tuple[PointFigures, PointFigures]], comparison: Comparison) -> str:
    heads = ("point", "functional", "run", "bound", "LP", "exact", "certificate", "status", "radius", "transfer")
    rows: list[str] = []
    for (mine, twin), moved in zip(pairs, comparison.movements, strict=True):
        for role, p in (("run", mine), ("twin", twin)):
            first = role == "run"
            cells = (
                at_most(p.bound),
                at_most(p.lp),
                between(p.exact),
                p.record.certificate,
                p.record.status,
                at_least(p.radius),
                share_between(moved.transfer) if first else "",
            )
            lead = f'<th scope="row">{p.point if first else ""}</th><td class="wrap">'
            lead += _text(p.record.functional + _truth(p.record)) if first else _text(_truth(p.record).lstrip(", "))
            name = "regularised" if first else "twin"
            rows.append(
                f'<tr{" class=first" if first else ""}>{lead}</td><td class="{role}">{name}</td>'
                + "".join(f"<td>{_text(cell)}</td>" for cell in cells)
                + "</tr>"
            )
    head = "".join(f'<th scope="col">{_text(h)}</th>' for h in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _truth(record: AuditRecord) -> str:
    return {True: "", False: ", misclassified", None: ""}[record.correct]


def _statuses(records: Iterable[AuditRecord]) -> list[tuple[str, str]]:
    advice = {status.value: status.advice for status in Status}
    found = sorted({r.status for r in records})
    return [(status, advice.get(status, "Written by another version of lipreg.")) for status in found]


def _settings(records: Sequence[Record], comparison: Comparison) -> list[tuple[str, str]]:
    names = (comparison.regularised.run, comparison.twin.run)
    runs = {r.run: r for r in records if isinstance(r, RunRecord) and r.run in names}
    rows = [*_flat("question", comparison.question)]
    for role, name in zip(("regularised", "twin"), names, strict=True):
        if name in runs:
            r = runs[name]
            rows += [(f"{role}.run", name), (f"{role}.seed", str(r.seed)), (f"{role}.weight", f"{r.weight:g}")]
            rows += _flat(f"{role}.settings", r.settings)
    for side in (comparison.regularised, comparison.twin):
        rows += [(f"weights of {side.run}", _fingerprint(side))]
    versions = {k: v for p in comparison.regularised.points for k, v in p.record.versions.items()}
    return rows + _flat("versions", versions)


def _fingerprint(side: RunFigures) -> str:
    return side.points[0].record.fingerprint


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in _flat(f"{name}.{key}", inner)]
    return [(name, str(value))]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    kinds = [' class="number"' if i in numbers else "" for i in range(len(heads))]
    head = "".join(f'<th scope="col"{kind}>{_text(text)}</th>' for text, kind in zip(heads, kinds, strict=True))
    body = "".join(
        f'<tr><th scope="row">{_text(row[0])}</th>'
        + "".join(f"<td{kind}>{_text(cell)}</td>" for cell, kind in zip(row[1:], kinds[1:], strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _definitions(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"<dt>{_text(term)}</dt><dd>{_text(meaning)}</dd>" for term, meaning in pairs)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def _text(text: str) -> str:
    return escape(plain(text, 2000), quote=True)
