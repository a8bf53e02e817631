"""Records that are there twice: a file is read beside its copy, or two files were joined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lipreg.records.kinds import Record
from lipreg.records.training import RunRecord

_Seen = dict[tuple[object, ...], list[Record]]


def each_once(records: Iterable[Record]) -> Iterator[Record]:
    """Yields the records of runs with ids each once, and all others as they come: without an id a copy may be another run.

    A run that is resumed may record of an epoch the same as before, and that is no copy: only the records since the run's
    own record was last written are compared.
    """
    begun: dict[str, list[tuple[RunRecord, _Seen]]] = {}  # of each run, the records since each of its own
    now: dict[str, _Seen] = {}
    for record in records:
        key = record.run_id
        if not key:
            yield record
        elif isinstance(record, RunRecord):
            parts = begun.setdefault(key, [])
            earlier = next((seen for begin, seen in parts if begin == record), None)
            now[key] = {} if earlier is None else earlier
            if earlier is None:
                parts.append((record, now[key]))
                yield record
        else:
            about = tuple(getattr(record, name, None) for name in ("kind", "epoch", "point", "estimator"))
            same = now.setdefault(key, {}).setdefault(about, [])
            if record not in same:
                same.append(record)
                yield record
