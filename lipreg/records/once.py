"""Records that are there twice: a file is read beside its copy, or was written one behind the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lipreg.records.kinds import Record
from lipreg.records.training import RunRecord

_Seen = dict[tuple[object, ...], list[Record]]


def each_once(records: Iterable[Record]) -> Iterator[Record]:
    """Records of runs with ids, each once; without an id nothing tells a copy from another run.

    A run that is resumed may say of an epoch what it said before, and that is no copy: what was said before the run's own
    record came anew does not count.
    """
    begun: dict[str, list[tuple[RunRecord, _Seen]]] = {}  # of each run, what was said since each of its records
    now: dict[str, _Seen] = {}
    for record in records:
        key = record.run_id
        if not key:
            yield record
        elif isinstance(record, RunRecord):
            parts = begun.setdefault(key, [])
            known = next((seen for own, seen in parts if own == record), None)
            now[key] = {} if known is None else known
            if known is None:
                parts.append((record, now[key]))
                yield record
        else:
            about = tuple(getattr(record, name, None) for name in ("kind", "epoch", "point", "estimator"))
            same = now.setdefault(key, {}).setdefault(about, [])
            if record not in same:
                same.append(record)
                yield record
