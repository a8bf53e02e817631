"""Which intervals of a page have certificates, and which of these ``lipreg check`` has confirmed or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from lipreg.records import AuditRecord
from lipreg.runs import RecordedRun, run_key
from lipreg.words import counted


def certified_words(runs: Iterable[RecordedRun], records: Sequence[AuditRecord]) -> str:
    """How many of some intervals have a certificate, how these were checked, and how many exact ones lack one, of runs that
    have some; empty where none has.

    Args:
        runs: those that the records are of.
        records: of intervals.
    """
    own = {run.key: run for run in runs}
    named = [record for record in records if record.certificate_file]
    if not named:
        return ""
    told = [checked_words(own[run_key(r)], r) if run_key(r) in own else "" for r in named]
    how = Counter(filter(None, told))
    told = [f"{n} {words}" for words, n in sorted(how.items())]
    left = len(named) - how.total()
    told += [f"{left} not checked"] if left else []
    certified = {run_key(r) for r in named}
    without = sum(r.is_exact and not r.certificate_file and run_key(r) in certified for r in records)
    more = f" Of these runs {counted(without, 'exact interval')} without one." if without else ""
    return f"{counted(len(named), 'certificate')}: {', '.join(told)}.{more}"


def checked_words(run: RecordedRun, record: AuditRecord) -> str:
    """How the certificate of an interval was checked, or that it was refused; empty where neither, or there is none."""
    return run.checked.get(record.certificate_file, "") if record.certificate_file else ""
