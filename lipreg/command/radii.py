"""The certified radius of points, one after the other, and the table of the radii."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lipreg.budget import Stop
from lipreg.command.words import number
from lipreg.disks import FullDisk, writing
from lipreg.errors import InvalidInput
from lipreg.estimators.radius import CertifiedRadius, certified_radii
from lipreg.graph import CapturedNetwork
from lipreg.records.endings import ENDED
from lipreg.words import aligned, counted, written


def radii(
    network: nn.Module | CapturedNetwork,
    x: Tensor,
    y: Tensor | None,
    settings: Mapping[str, Any],
    on_point: Callable[[int, CertifiedRadius], None],
    stop: Stop | None = None,
) -> list[CertifiedRadius]:
    """The radius of each point.

    Args:
        network: a module, or a ``capture(module, x)``.
        x, y: reference points ``(batch, *shape)``; classes ``(batch,)``, else the network's own.
        settings: norm, bounds, data range and budget, as ``certified_radii`` takes them.
        on_point: called with the number of points that are done, and the radius of the last one.
        stop: ends the work behind the point that it is at; those that are done are returned.

    Raises:
        InvalidInput, UnsupportedRequest: as ``certified_radii``.
    """
    numbers = itertools.count(1)
    return certified_radii(network, x, y, **settings, on_radius=lambda one: on_point(next(numbers), one), stop=stop)


def radii_text(results: Sequence[CertifiedRadius], settings: Mapping[str, Any]) -> str:
    """The table of radii: norm, scope, region and bounds; then a line a point, aligned."""
    rows = [("point", "class", "nearest rival", "margin", "constant", "certified radius")]
    for i, at in enumerate(results):
        rival = "misclassified" if at.rival is None else str(at.rival)
        rows.append((str(i), str(at.label), rival, written(at.margin, 4), number(at.constant), written(at.radius, 5)))
    norm = {"1": "l1", "2": "l2", "inf": "l\u221e"}[str(settings["p"])]
    region = f"balls in {norm}, {_range(settings['low'], settings['high'])}"
    head = f"certified radius in {norm}: pointed scope, {region}, bound by {' or '.join(settings['bounds'])}"
    cut = Counter(at.status for at in results if at.status in ENDED)
    lines = [f"{ENDED[status]}, so that a larger radius may hold: {counted(n, 'point')}" for status, n in cut.items()]
    return "\n".join([head, "", *aligned(rows, left_columns=0), *(["", *lines] if lines else [])])


def write_radii(results: Sequence[CertifiedRadius], path: str | Path) -> None:
    """Writes the radii, one object of strict JSON a line, each with the number of its point; infinity is "inf".

    Raises:
        InvalidInput: a path that cannot be written.
    """
    for done, at in enumerate(results, 1):
        write_radius(done, at, path)


def write_radius(done: int, at: CertifiedRadius, path: str | Path) -> None:
    """Writes the radius of the last of so many points: the first one begins the file, the others follow at once.

    Args:
        done: how many points are done.
        at: the radius of the last one.
        path: of the file.

    Raises:
        InvalidInput: a path that cannot be written.
    """
    try:
        with writing(path), Path(path).open("w" if done == 1 else "a", encoding="utf-8") as stream:
            plain = {
                name: str(value) if value in (math.inf, -math.inf) else value for name, value in asdict(at).items()
            }
            stream.write(json.dumps({"point": done - 1, **plain}, allow_nan=False) + "\n")
    except FullDisk:
        raise
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror}", where="out", accepted="a file") from None


def _range(low: float | None, high: float | None) -> str:
    ends = ("-\u221e" if low is None else written(low), "\u221e" if high is None else written(high))
    return "no data range" if low is high is None else f"data range [{ends[0]}, {ends[1]}]"
