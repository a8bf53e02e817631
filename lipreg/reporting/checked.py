"""The certificates of a page's intervals, and whether ``lipreg check`` has confirmed or refused them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from lipreg.records import AuditRecord
from lipreg.records.verdicts import named_words
from lipreg.runs import RecordedRun, run_key
from lipreg.words import counted


def certified_words(runs: Iterable[RecordedRun], records: Sequence[AuditRecord]) -> str:
    """A sentence on the certificates of some intervals: how many there are, how they were checked, and how many exact
    intervals lack one, of runs that have some; empty where none has.

    Args:
        runs: the runs of the records.
        records: the intervals.
    """
    by_key = {run.key: run for run in runs}
    named = [record for record in records if record.certificate_file]
    if not named:
        return ""
    words_of_file: dict[str, set[str]] = {}
    for record in named:
        words = checked_words(by_key[run_key(record)], record) if run_key(record) in by_key else ""
        words_of_file.setdefault(record.certificate_file, set()).add(words)
    how = Counter("not checked" if "" in words else "; ".join(sorted(words)) for words in words_of_file.values())
    parts = [f"{n} {words}" for words, n in sorted(how.items(), key=lambda each: (each[0] == "not checked", each))]
    certified = {run_key(r) for r in named}
    without = sum(r.is_exact and not r.certificate_file and run_key(r) in certified for r in records)
    more = f" Of these runs {counted(without, 'exact interval')} without one." if without else ""
    return f"{named_words(named)}: {', '.join(parts)}.{more}"


def checked_words(run: RecordedRun, record: AuditRecord) -> str:
    """How the certificate of an interval was checked, or that it was refused; empty where neither, or there is none."""
    return run.checked.get(record.certificate_file, "") if record.certificate_file else ""
